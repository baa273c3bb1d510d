"""Bandwidth: held to the contract by the kit, to the vendor's documents by vectors."""

from pathlib import Path

import msgspec
import pytest

from smsd.provider import BadCallback, Callback
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks
from smsd.testing.conformance_subject import attempt
from smsd_providers._proof import Callbacks
from smsd_providers._wire import basic
from smsd_providers.bandwidth import Bandwidth, BandwidthOptions

VECTORS = Path(__file__).parent / "vectors" / "bandwidth.json"
ENV = {"PASSWORD": "bw-password-1", "CALLBACK": "cbpass"}
PROVEN = Callbacks(by="basic", name="cbuser", secrets=(Secret("env:CALLBACK", env=ENV),))


def sign(callback: Callback) -> Callback:
    """As Bandwidth would."""
    headers = {**callback.headers, "authorization": basic("cbuser", ENV["CALLBACK"])}
    return msgspec.structs.replace(callback, headers=headers)


def options(account_id: str = "9900000") -> BandwidthOptions:
    password = Secret("env:PASSWORD", env=ENV)
    return BandwidthOptions(account_id=account_id, application_id="app-1", user="apiuser", password=password)


@pytest.mark.parametrize("check", checks(Bandwidth, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """Bandwidth keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what Bandwidth does not have: a URL with each message, a look-up, a key that it recognises."""
    skipped = [check.name for check in checks(Bandwidth, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["callback url", "idempotency", "look-up"]


def test_the_deadline_is_told_as_a_time() -> None:
    """Counted from when the attempt was leased, so that the same attempt makes the same request."""
    said = msgspec.json.decode(Bandwidth("main", options()).submit(attempt()).body)
    assert said["expiration"] == "2026-11-25T01:01:37Z"
    silent = Bandwidth("main", options()).submit(msgspec.structs.replace(attempt(), valid_s=0))
    assert "expiration" not in msgspec.json.decode(silent.body)


def test_an_account_that_is_none_is_a_mistake() -> None:
    """It goes into the URL, and the sentence says what belongs there."""
    with pytest.raises(ValueError, match="account_id: is the number that the dashboard shows"):
        options("../9900000")


@pytest.mark.parametrize("body", [b"{}", b'[{"type": "message-delivered"}]', b'[{"type": "news"}]', b"[7]"])
def test_what_is_no_list_of_events_is_a_bad_callback(body: bytes) -> None:
    """It is proven, and says nothing that can be read."""
    provider = Bandwidth("main", msgspec.structs.replace(options(), callbacks=PROVEN))
    with pytest.raises(BadCallback):
        provider.receipts(sign(Callback("POST", "https://sms.example.com/", {}, body)))
