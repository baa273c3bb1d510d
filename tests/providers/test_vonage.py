"""Vonage's Messages API: held to the contract by the kit, to the vendor's documents by vectors."""

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
from smsd_providers.vonage import Vonage, VonageOptions

VECTORS = Path(__file__).parent / "vectors" / "vonage.json"
KEY = "XsA09z2MhsTuZB2p4fSIdUF7UgWpJ8Ft"  # the one of the vectors
ENV = {"KEY": "a1b2c3d", "SECRET": "secret", "TOKEN": "token-1"}


def sign(callback: Callback) -> Callback:
    """As Vonage would."""
    told = {"iat": callback.received_us // 1_000_000, "payload_hash": hashlib.sha256(callback.body).hexdigest()}
    headers = {**callback.headers, "authorization": f"Bearer {jwt.encode(told, KEY, 'HS256')}"}
    return msgspec.structs.replace(callback, headers=headers)


def unsigned() -> Vonage:
    """An account whose callbacks nobody signs."""
    key, secret, token = (Secret(f"env:{name}", env=ENV) for name in ENV)
    proven = Callbacks(by="query", name="token", secrets=(token,))
    return Vonage("main", VonageOptions(api_key=key, api_secret=secret, callbacks=proven))


@pytest.mark.parametrize("check", checks(Vonage, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """Vonage's Messages API keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what the vendor does not have: a look-up, and a key that it recognises."""
    skipped = [check.name for check in checks(Vonage, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["idempotency", "look-up"]


def test_where_nothing_is_signed_a_secret_in_the_url_is_the_proof() -> None:
    """The told URL carries it, and only what comes back there is believed."""
    provider = unsigned()
    told = msgspec.json.decode(provider.submit(attempt()).body)["webhook_url"]
    assert told == "https://sms.example.com/webhooks/vetted/status?ref=1.acme%2Fm1&token=token-1"
    receipt = b'{"message_uuid": "u-1", "status": "delivered", "to": "447700900000"}'
    (read,) = provider.receipts(Callback("POST", told, {}, receipt))
    assert (read.provider_id, read.reference) == ("u-1", "1.acme/m1")
    with pytest.raises(BadSignature):
        provider.receipts(Callback("POST", told.replace("token-1", "token-2"), {}, receipt))


@pytest.mark.parametrize(("valid_s", "ttl"), [(0, None), (5, 20), (7200, 7200), (10**7, 604_800)])
def test_the_deadline_is_told_within_vonages_bounds(valid_s: int, ttl: int | None) -> None:
    """In seconds, from 20 seconds to 7 days."""
    body = unsigned().submit(msgspec.structs.replace(attempt(), valid_s=valid_s)).body
    assert msgspec.json.decode(body).get("ttl") == ttl


def test_a_reference_that_is_too_long_is_told_in_the_url_alone() -> None:
    """Vonage would refuse the message for it."""
    said = msgspec.json.decode(unsigned().submit(attempt(reference=f"1.{'t' * 64}/{'m' * 128}")).body)
    assert "client_ref" not in said
    assert "ttt%2Fmmm" in said["webhook_url"]
