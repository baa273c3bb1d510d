"""MessageBird's older API: held to the contract by the kit, to the vendor's documents by vectors."""

import hashlib
from pathlib import Path

import jwt
import msgspec
import pytest

from smsd.provider import BadSignature, Callback
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks
from smsd.testing.conformance_subject import attempt
from smsd_providers._proof import Callbacks
from smsd_providers.messagebird import MessageBird, MessageBirdOptions

VECTORS = Path(__file__).parent / "vectors" / "messagebird.json"
KEY = "k" * 32  # long enough for PyJWT to sign with in silence
ENV = {"ACCESS": "live_1", "SIGNING": KEY, "TOKEN": "token-1"}


def sign(callback: Callback, key: str = "other-secret", **other: object) -> Callback:
    """As MessageBird would, with whatever claims are to be others."""
    now_s = callback.received_us // 1_000_000
    told: dict[str, object] = {"iss": "MessageBird", "nbf": now_s, "exp": now_s + 60}
    told["url_hash"] = hashlib.sha256(callback.url.encode()).hexdigest()
    if callback.body:
        told["payload_hash"] = hashlib.sha256(callback.body).hexdigest()
    claims = {name: value for name, value in (told | other).items() if value is not None}
    token = jwt.encode(claims, key, "HS256")
    return msgspec.structs.replace(callback, headers={**callback.headers, "messagebird-signature-jwt": token})


@pytest.fixture(autouse=True)
def quiet(recwarn: pytest.WarningsRecorder) -> None:
    """The key of the vectors is shorter than PyJWT would have it."""


def messagebird(**options: object) -> MessageBird:
    told: dict[str, object] = {"access_key": Secret("env:ACCESS", env=ENV), **options}
    return MessageBird("main", MessageBirdOptions(**told))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("check", checks(MessageBird, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """MessageBird's older API keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what the vendor does not have: a look-up, and a key that it recognises."""
    every = checks(MessageBird, VECTORS, sign)
    assert [check.name for check in every if check.run().outcome is Outcome.SKIPPED] == ["idempotency", "look-up"]


RECEIPT = Callback("GET", "https://x/?ref=1.a%2Fb&id=m1&status=delivered", {}, b"", 1_795_561_297_000_000)


@pytest.mark.parametrize(
    "other",
    [
        {"iss": "Else"},
        {"nbf": 1_795_561_299},
        {"exp": 1_795_561_295},
        {"nbf": None},
        {"exp": None},
        {"exp": "9" * 12},
        {"url_hash": None},
        {"payload_hash": "of nothing"},
    ],
    ids=str,
)
def test_every_claim_counts(other: dict[str, object]) -> None:
    """A token of ours is not enough: it must be MessageBird's, in force, and about this very call."""
    provider = messagebird(signing_key=(Secret("env:SIGNING", env=ENV),))
    (read,) = provider.receipts(sign(RECEIPT, KEY))
    assert (read.provider_id, read.reference) == ("m1", "1.a/b")
    with pytest.raises(BadSignature):
        provider.receipts(sign(RECEIPT, KEY, **other))


def test_without_a_signing_key_a_secret_path_is_the_proof() -> None:
    """The told URL carries it, and only what comes back there is believed."""
    provider = messagebird(callbacks=Callbacks(by="path", secrets=(Secret("env:TOKEN", env=ENV),)))
    told = msgspec.json.decode(provider.submit(attempt()).body)["reportUrl"]
    assert told == "https://sms.example.com/webhooks/vetted/token-1/status?ref=1.acme%2Fm1"
    (read,) = provider.receipts(Callback("GET", f"{told}&id=m1&status=delivered", {}, b""))
    assert (read.provider_id, read.reference) == ("m1", "1.acme/m1")
    with pytest.raises(BadSignature):
        provider.receipts(RECEIPT)


@pytest.mark.parametrize(("body", "coding"), [("Grüße", "plain"), ("👋", "unicode")])
def test_text_that_gsm_lacks_is_sent_as_unicode(body: str, coding: str) -> None:
    """Else MessageBird would replace what it cannot encode."""
    assert msgspec.json.decode(messagebird().submit(attempt(body)).body)["datacoding"] == coding
