"""Vonage's older SMS API: held to the contract by the kit, to the vendor's documents by vectors."""

from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import pytest

from smsd.provider import BadSignature, Callback
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks
from smsd.testing.conformance_subject import attempt
from smsd_providers._proof import Callbacks
from smsd_providers._vendor import fields
from smsd_providers.vonage_sms import VonageSms, VonageSmsOptions, signature

VECTORS = Path(__file__).parent / "vectors" / "vonage_sms.json"
KEY = "abcdefghijklmnop0123456789ABCDEF"  # the one of the vectors
ENV = {"KEY": "abcd1234", "SECRET": "secret", "TOKEN": "token-1"}


def sign(callback: Callback) -> Callback:
    """As Vonage would: a field among the fields."""
    told = {**fields(callback), "timestamp": str(callback.received_us // 1_000_000)}
    told.pop("sig", None)
    body = msgspec.json.encode({**told, "sig": signature("sha256", KEY, told)})
    return msgspec.structs.replace(callback, body=body)


def unsigned() -> VonageSms:
    """An account whose callbacks nobody signs."""
    key, secret, token = (Secret(f"env:{name}", env=ENV) for name in ENV)
    proven = Callbacks(by="path", secrets=(token,))
    return VonageSms("main", VonageSmsOptions(api_key=key, api_secret=secret, callbacks=proven))


@pytest.mark.parametrize("check", checks(VonageSms, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """Vonage's older API keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what the vendor does not have: a look-up, and a key that it recognises."""
    skipped = [check.name for check in checks(VonageSms, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["idempotency", "look-up"]


def test_where_nothing_is_signed_a_secret_path_is_the_proof() -> None:
    """The told URL carries it, and only what comes back there is believed."""
    provider = unsigned()
    told = parse_qs(provider.submit(attempt()).body.decode())["callback"][0]
    assert told == "https://sms.example.com/webhooks/vetted/token-1/status?ref=1.acme%2Fm1"
    receipt = b"messageId=0A1&status=delivered&err-code=0&msisdn=447700900000"
    (read,) = provider.receipts(Callback("POST", told, {}, receipt))
    assert (read.provider_id, read.reference, read.parts) == ("0A1", "1.acme/m1", 0)
    with pytest.raises(BadSignature):
        provider.receipts(Callback("POST", told.replace("token-1", "token-2"), {}, receipt))


def test_two_fields_cannot_be_made_one() -> None:
    """What is signed reads the same, and a field would be gone."""
    key, secret = (Secret(f"env:{name}", env=ENV | {"SECRET": KEY}) for name in ("KEY", "SECRET"))
    provider = VonageSms("main", VonageSmsOptions(api_key=key, api_secret=secret, signature_secret=(secret,)))

    def called(told: dict[str, str]) -> Callback:
        return sign(Callback("POST", "https://x/", {}, msgspec.json.encode(told), 1_795_561_297_000_000))

    genuine = {"client-ref": "1.a/b", "err-code": "9", "messageId": "0A1", "status": "failed"}
    assert provider.receipts(called(genuine))[0].reference == "1.a/b"
    with pytest.raises(BadSignature):
        provider.receipts(called({"client-ref=1.a/b&err-code": "9", "messageId": "0A1", "status": "failed"}))


def test_what_is_too_long_for_vonage_is_not_told() -> None:
    """A long reference goes untold rather than refused: the receipt still has the vendor's id."""
    reference = f"1.{'t' * 64}/{'m' * 128}"
    said = parse_qs(unsigned().submit(attempt(reference=reference)).body.decode())
    assert not {"callback", "client-ref"} & set(said)


@pytest.mark.parametrize(("valid_s", "ttl"), [(0, None), (5, "20000"), (7200, "7200000"), (10**7, "604800000")])
def test_the_deadline_is_told_within_vonages_bounds(valid_s: int, ttl: str | None) -> None:
    """In milliseconds, from 20 seconds to 7 days."""
    said = parse_qs(unsigned().submit(msgspec.structs.replace(attempt(), valid_s=valid_s)).body.decode())
    assert said.get("ttl", [None]) == [ttl]


@pytest.mark.parametrize(("body", "kind"), [("Grüße", None), ("👋", ["unicode"])])
def test_text_that_gsm_lacks_is_sent_as_unicode(body: str, kind: list[str] | None) -> None:
    """Else Vonage would send question marks."""
    assert parse_qs(unsigned().submit(attempt(body)).body.decode()).get("type") == kind
