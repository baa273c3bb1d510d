"""Telnyx: held to the contract by the kit, to the vendor's documents by vectors."""

import base64
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from smsd.provider import Callback
from smsd.testing.conformance import Check, Outcome, checks
from smsd_providers.telnyx import Telnyx, TelnyxOptions

VECTORS = Path(__file__).parent / "vectors" / "telnyx.json"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # the one of the vectors


def sign(callback: Callback) -> Callback:
    """As Telnyx would."""
    told = str(callback.received_us // 1_000_000)
    signature = base64.b64encode(KEY.sign(told.encode() + b"|" + callback.body)).decode()
    headers = {**callback.headers, "telnyx-timestamp": told, "telnyx-signature-ed25519": signature}
    return msgspec.structs.replace(callback, headers=headers)


@pytest.mark.parametrize("check", checks(Telnyx, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """Telnyx keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what Telnyx does not have: a look-up, and a URL for each message."""
    skipped = [check.name for check in checks(Telnyx, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["callback url", "look-up"]


def test_a_public_key_that_is_none_is_a_mistake() -> None:
    """The sentence names the key and where the right one is."""
    with pytest.raises(ValueError, match="public_key: is base64 of the 32 bytes that the portal shows"):
        msgspec.convert({"api_key": "env:X", "public_key": ["short"]}, TelnyxOptions, strict=False, dec_hook=_dummy)


def _dummy(kind: type, value: object) -> object:
    return kind(value)
