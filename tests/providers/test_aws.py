"""AWS End User Messaging: held to the contract by the kit, to AWS's documents by vectors."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from smsd.config.read import Reader
from smsd.message import Message
from smsd.provider import Attempt, BadSignature, Callback, Greeting, HttpRequest
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks, read_vectors
from smsd.testing.conformance_subject import attempt
from smsd_providers._sigv4 import Key, authorization
from smsd_providers.aws import Aws, AwsOptions

VECTORS = Path(__file__).parent / "vectors" / "aws.json"
TOPIC = "arn:aws:sns:us-east-1:123456789012:smsd-dlr"
ENV = {"ID": "AKIDEXAMPLE", "SECRET": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "TOKEN": "session-1"}
KEY = rsa.generate_private_key(65537, 2048)


def certificate() -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.example.com")])
    first, last = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2049))
    made = x509.CertificateBuilder(name, name, KEY.public_key(), 1, first, last).sign(KEY, SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def options(**more: object) -> AwsOptions:
    id_, secret = (Secret(f"env:{name}", env=ENV) for name in ("ID", "SECRET"))
    told: dict[str, object] = {"region": "us-east-1", "topics": (TOPIC,), **more}
    return AwsOptions(access_key_id=id_, secret_access_key=secret, **told)  # pyright: ignore[reportArgumentType]


def sign(callback: Callback) -> Callback:
    """As SNS would sign what looks like a message of its own, with our certificate."""
    told = msgspec.json.decode(callback.body)
    if not isinstance(told, dict) or not isinstance(told.get("Type"), str):
        raise ValueError("SNS signs its own messages only")
    at = datetime.fromtimestamp(callback.received_us / 1e6, UTC)
    told |= {"TopicArn": TOPIC, "Timestamp": f"{at:%Y-%m-%dT%H:%M:%S.000Z}", "SignatureVersion": "2"}
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    left_out = {"SubscribeURL", "Token"} if told["Type"] == "Notification" else {"Subject"}
    signed = "".join(
        f"{name}\n{told[name]}\n" for name in names if name not in left_out and isinstance(told.get(name), str)
    )
    signature = KEY.sign(signed.encode(), padding.PKCS1v15(), SHA256())
    told["Signature"] = base64.b64encode(signature).decode()
    url = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-2222.pem"
    told["SigningCertURL"] = url
    body = msgspec.json.encode(told)
    return msgspec.structs.replace(callback, body=body, fetched={url: certificate().encode()})


@pytest.mark.parametrize("check", checks(Aws, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """AWS keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what AWS does not have: a URL with each message, a look-up, a key that it recognises."""
    skipped = [check.name for check in checks(Aws, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["callback url", "idempotency", "look-up"]


def test_a_request_is_signed_as_botocore_signs_it() -> None:
    """The vector sigv4-request-SendTextMessage, by botocore 1.44.5 with its clock fixed."""
    said = {
        "DestinationPhoneNumber": "+14255550156",
        "OriginationIdentity": "+12065550152",
        "MessageBody": "hi",
        "MessageType": "TRANSACTIONAL",
        "ConfigurationSetName": "smsd",
        "TimeToLive": 3600,
        "Context": {"ref": "smsd-01J9ZK3N7Q"},
    }
    message = Message(
        "acme", "m1", "+14255550156", "+12065550152", "hi", "reminder", "default", "GSM-7", 1, "US", not_after_us=0
    )
    leased_us = 1_795_430_531_000_000  # 2026-11-23T10:42:11Z
    made = Aws("main", options(configuration_set="smsd")).submit(
        Attempt(message, "smsd-01J9ZK3N7Q", "", "", leased_us, 3600)
    )
    assert made.body == json.dumps(said, separators=(",", ":")).encode()
    assert made.url == "https://sms-voice.us-east-1.amazonaws.com/"
    assert dict(made.headers) == {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "PinpointSMSVoiceV2.SendTextMessage",
        "X-Amz-Date": "20261123T104211Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/sms-voice/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date;x-amz-target, "
        "Signature=ae59585c529fcfab14ebbc0b47243c5ab0ace2fbca1ae6b8fe89247cfe7dc95f",
    }


def test_a_session_token_is_told_and_signed() -> None:
    """Keys of a role that somebody assumed have one."""
    made = Aws("main", options(session_token=Secret("env:TOKEN", env=ENV))).submit(attempt())
    headers = dict(made.headers)
    proof = headers.pop("Authorization")
    assert headers["X-Amz-Security-Token"] == "session-1"
    key = Key(ENV["ID"], ENV["SECRET"], "us-east-1", "sms-voice")
    signed = {**headers, "Host": "sms-voice.us-east-1.amazonaws.com"}
    assert proof == authorization(key, ("POST", "/", ""), signed, made.body, headers["X-Amz-Date"])


@pytest.mark.parametrize(("valid_s", "ttl"), [(0, None), (2, 5), (7200, 7200), (10**7, 259_200)])
def test_the_deadline_is_told_within_bounds(valid_s: int, ttl: int | None) -> None:
    """In seconds, from 5 to three days."""
    made = Aws("main", options()).submit(msgspec.structs.replace(attempt(), valid_s=valid_s))
    assert msgspec.json.decode(made.body).get("TimeToLive") == ttl


def test_a_subscription_is_confirmed_where_amazon_says() -> None:
    """The question is proven first, and what is no question is none."""
    by_name = {vector.name: vector.callback for vector in read_vectors(VECTORS)}
    provider = Aws("main", options())
    asked = by_name["subscription-confirmation"]
    url = (
        "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription"
        "&TopicArn=arn:aws:sns:us-east-1:123456789012:smsd-dlr&Token=2336412f37"
    )
    assert provider.greeting(asked) == Greeting(request=HttpRequest("GET", url))
    assert provider.greeting(by_name["ttl-expired"]) is None
    with pytest.raises(BadSignature):
        provider.greeting(msgspec.structs.replace(asked, body=asked.body.replace(b"2336412f37", b"2336412f38")))


def question(url: str) -> Callback:
    told = {"Type": "SubscriptionConfirmation", "MessageId": "1", "Message": "You may", "Token": "2"}
    body = msgspec.json.encode({**told, "SubscribeURL": url})
    return sign(Callback("POST", "https://sms.example.com/", {}, body, 1_795_430_531_000_000))


def test_a_subscription_leads_nowhere_else() -> None:
    """Not even when it is signed; in a rehearsal, with a certificate of our own, it leads to base_url."""
    carrier = "http://127.0.0.1:8778"
    rehearsed = Aws("main", options(sns_certificate=certificate(), base_url=carrier))
    url = f"{carrier}/?Action=ConfirmSubscription&Token=2"
    assert rehearsed.greeting(question(url)) == Greeting(request=HttpRequest("GET", url))
    for provider, elsewhere in (
        (Aws("main", options(base_url=carrier)), url),
        (rehearsed, "http://10.0.0.1/?Action=x"),
    ):
        with pytest.raises(BadSignature):
            provider.greeting(question(elsewhere))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"region": "europe"}, "region: is one of AWS's"),
        ({"topics": ["receipts"]}, "topics: are ARNs"),
        ({"sns_certificate": "-----"}, "sns_certificate: is a PEM certificate"),
    ],
)
def test_a_mistake_is_named_by_its_key(more: dict[str, object], sentence: str) -> None:
    """And the sentence says what belongs there."""
    reader = Reader("", ENV)
    table = {"region": "us-east-1", "access_key_id": "env:ID", "secret_access_key": "env:SECRET", **more}
    assert reader.struct(AwsOptions, table, ("providers", "main")) is None
    assert any(sentence.partition(": ")[2] in told for _, told in reader.mistakes), reader.mistakes
