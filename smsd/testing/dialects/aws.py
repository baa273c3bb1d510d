"""The words of AWS End User Messaging SMS: signed JSON requests, errors by `__type`, events in messages of SNS.

Never does IO and never decides. Written from the service model of pinpoint-sms-voice-v2 (2022-03-31),
https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html (2026-11).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, cast

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

CODES: Mapping[int, tuple[int, str, dict[str, object]]] = {
    20003: (400, "UnrecognizedClientException", {}),
    20404: (400, "UnknownOperationException", {}),
    20429: (400, "ThrottlingException", {}),
    20500: (500, "InternalServerException", {}),
    20503: (503, "ServiceUnavailableException", {}),
    21211: (400, "ValidationException", {"Fields": [{"Name": "DestinationPhoneNumber", "Message": "is not valid"}]}),
    21408: (400, "ValidationException", {"Reason": "COUNTRY_NOT_ENABLED"}),
    21610: (400, "ConflictException", {"Reason": "DESTINATION_PHONE_NUMBER_OPTED_OUT"}),
    21614: (400, "ValidationException", {"Fields": [{"Name": "DestinationPhoneNumber", "Message": "is a landline"}]}),
    21617: (400, "ValidationException", {"Fields": [{"Name": "MessageBody", "Message": "is too long"}]}),
    21602: (400, "ValidationException", {"Fields": [{"Name": "MessageBody", "Message": "is empty"}]}),
}
"""What AWS says for the carrier's codes: HTTP status, `__type` and what else stands in the answer."""

EVENTS: Mapping[int, str] = {
    30003: "UNREACHABLE",
    30005: "INVALID",
    30006: "CARRIER_UNREACHABLE",
    30007: "SPAM",
    30008: "TTL_EXPIRED",
}
"""And in an event's messageStatus."""

_OTHER: tuple[int, str, dict[str, object]] = (400, "ConflictException", {"Reason": "NO_ORIGINATION_IDENTITIES_FOUND"})
_REGION, _TOPIC = "eu-west-1", "arn:aws:sns:eu-west-1:123456789012:receipts"
_PROOF = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(([0-9]{8})/([^/]+)/([^/]+)/aws4_request), ")
_REST = re.compile(r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})")
_MUST = {"host", "x-amz-date", "x-amz-target", "content-type"}


class Aws:
    """One account: `user` is its access key, `secret` that key's secret. It has a certificate of its own for SNS."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "answer"

    def __init__(self, account: Account) -> None:
        self._user, self._secret = account.user, account.secret
        self._key = rsa.generate_private_key(65537, 2048)

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told: dict[str, object] = {
            "type": "aws",
            "base_url": base_url,
            "region": _REGION,
            "access_key_id": "env:CARRIER_USER",
            "secret_access_key": "env:CARRIER_SECRET",
            "configuration_set": "receipts",
            "topics": [_TOPIC],
            "sns_certificate": self._certificate(),
        }
        return told, {"CARRIER_USER": self._user, "CARRIER_SECRET": self._secret}

    def _certificate(self) -> str:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.example.com")])
        years = datetime(2020, 1, 1, tzinfo=UTC), datetime(2049, 1, 1, tzinfo=UTC)
        made = x509.CertificateBuilder(name, name, self._key.public_key(), 1, *years)
        return made.sign(self._key, SHA256()).public_bytes(Encoding.PEM).decode()

    def sid_prefix(self, digits: str) -> str:
        return dialect.uuid_prefix(digits)

    def admits(self, request: Request) -> bool:
        fields = {name.decode(): value.decode("latin-1") for name, value in request.head.fields.items()}
        head = _PROOF.match(fields.get("authorization", ""))
        rest = _REST.fullmatch(fields["authorization"][head.end() :]) if head else None
        if head is None or rest is None or head[1] != self._user or not set(rest[1].split(";")) >= _MUST:
            return False
        lines = "".join(f"{name}:{fields.get(name, '')}\n" for name in rest[1].split(";"))
        body = hashlib.sha256(request.body).hexdigest()
        told = f"{request.head.method.decode()}\n{request.head.path.decode()}\n\n{lines}\n{rest[1]}\n{body}"
        at, hashed = fields.get("x-amz-date", ""), hashlib.sha256(told.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{at}\n{head[2]}\n{hashed}"
        key = b"AWS4" + self._secret.encode()
        for part in (head[3], _REGION, "sms-voice", "aws4_request"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        return dialect.same(rest[2], hmac.new(key, text.encode(), "sha256").hexdigest())

    def read(self, request: Request) -> Asked | None:
        target = request.head.fields.get(b"x-amz-target", b"")
        if request.head.method != b"POST" or target != b"PinpointSMSVoiceV2.SendTextMessage":
            return None
        told = dialect.json_object(request.body)
        names = ("DestinationPhoneNumber", "OriginationIdentity", "MessageBody", "ConfigurationSetName")
        to, sender, body, service = (dialect.text_of(told, name) for name in names)
        context = told.get("Context")
        reference = dialect.text_of(cast("dict[str, object]", context), "ref") if isinstance(context, dict) else ""
        code = dialect.mistake(to, sender, body)
        return Asked(to=to, sender=sender, body=body, service=service, reference=reference, code=code)

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        return Said(200, msgspec.json.encode({"MessageId": sids[0]}), content=b"application/x-amz-json-1.0")

    def refused(self, code: int, after_s: float) -> Said:
        status, kind, more = CODES.get(code, _OTHER)
        body = msgspec.json.encode({"__type": f"com.amazonaws.smsvoice#{kind}", "Message": "It was refused.", **more})
        return Said(status, body, dialect.retry_after(after_s), b"application/x-amz-json-1.0")

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        return None  # nothing can be asked for

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        status = EVENTS.get(told.error_code, told.status.upper())
        event = {
            "eventType": f"TEXT_{status}",
            "eventVersion": "1.0",
            "eventTimestamp": (told.done_us or told.now_us) // 1000,
            "isFinal": told.status != "sent",
            "originationPhoneNumber": told.sender,
            "destinationPhoneNumber": told.to,
            "messageId": told.parent,
            "messageType": "TRANSACTIONAL",
            "messageStatus": status,
            "context": {"ref": told.reference},
            "totalMessageParts": told.segments,
        }
        return self._notify(event, f"{told.sid}-{told.event}", told.now_us, origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        event = {
            "originationNumber": text.sender,
            "destinationNumber": text.to,
            "messageKeyword": "KEYWORD_123456789012",
            "messageBody": text.body,
            "inboundMessageId": sid,
        }
        return self._notify(event, sid, now_us, origin, target)

    def _notify(self, event: Mapping[str, object], id_: str, now_us: int, origin: Origin, target: str) -> bytes:
        at = f"{datetime.fromtimestamp(now_us / 1e6, UTC):%Y-%m-%dT%H:%M:%S}.{now_us // 1000 % 1000:03}Z"
        signed = {
            "Message": msgspec.json.encode(event).decode(),
            "MessageId": id_,
            "Timestamp": at,
            "TopicArn": _TOPIC,
            "Type": "Notification",
        }
        text = "".join(f"{name}\n{value}\n" for name, value in signed.items())
        signature = base64.b64encode(self._key.sign(text.encode(), padding.PKCS1v15(), SHA256())).decode()
        told = {**signed, "SignatureVersion": "2", "Signature": signature}
        told["SigningCertURL"] = f"https://sns.{_REGION}.amazonaws.com/SimpleNotificationService-0.pem"
        content, kind = ("Content-Type", "text/plain; charset=UTF-8"), ("x-amz-sns-message-type", "Notification")
        return dialect.post(origin.netloc, target, msgspec.json.encode(told), content, kind)
