"""Clickatell: held to the contract by the kit, to what is known of its API by vectors."""

from pathlib import Path

import msgspec
import pytest

from smsd.provider import BadCallback, Callback
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks
from smsd.testing.conformance_subject import attempt
from smsd_providers._proof import Callbacks
from smsd_providers._wire import basic
from smsd_providers.clickatell import Clickatell, ClickatellOptions

VECTORS = Path(__file__).parent / "vectors" / "clickatell.json"
ENV = {"KEY": "VOP9dEM8SZCYyTWX2Dp4xg==", "CALLBACK": "cbpass"}


def made() -> Clickatell:
    proven = Callbacks(by="basic", name="clickatell", secrets=(Secret("env:CALLBACK", env=ENV),))
    return Clickatell("main", ClickatellOptions(api_key=Secret("env:KEY", env=ENV), callbacks=proven))


def sign(callback: Callback) -> Callback:
    """As Clickatell would."""
    headers = {**callback.headers, "authorization": basic("clickatell", ENV["CALLBACK"])}
    return msgspec.structs.replace(callback, headers=headers)


def called(document: object) -> Callback:
    return sign(Callback("POST", "https://sms.example.com/", {}, msgspec.json.encode(document)))


@pytest.mark.parametrize("check", checks(Clickatell, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """Clickatell keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what Clickatell does not have: a URL with each message, a look-up, a key."""
    skipped = [check.name for check in checks(Clickatell, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["callback url", "idempotency", "look-up"]


def test_a_request_has_one_message_without_a_plus() -> None:
    """And the key bare in its header, as Clickatell wants both."""
    request = made().submit(attempt())
    assert dict(request.headers)["Authorization"] == ENV["KEY"]
    assert msgspec.json.decode(request.body) == {
        "messages": [
            {
                "channel": "sms",
                "to": "447700900123",
                "from": "353861234567",
                "content": "Your appointment is tomorrow at 9.",
                "clientMessageId": "1.acme/m1",
            }
        ]
    }


def test_a_reference_that_is_too_long_is_not_told() -> None:
    """The receipt still has the vendor's id."""
    request = made().submit(attempt(reference=f"1.{'t' * 64}/{'m' * 128}"))
    assert "clientMessageId" not in msgspec.json.decode(request.body)["messages"][0]


def test_what_is_of_another_kind_is_passed_over() -> None:
    """A text is no receipt and a receipt no text, should one URL get both."""
    text, receipt = {"messageId": "1", "from": "2"}, {"messageId": "1", "status": "READ"}
    assert made().receipts(called({"event": {"moText": [text]}})) == []
    assert made().inbound(called({"event": {"messageStatusUpdate": [receipt]}})) == []
    flat = {"messageId": "1", "replyMessageId": "3", "fromNumber": "2"}
    assert (made().receipts(called(flat)), len(made().inbound(called(flat)))) == ([], 1)
    assert (made().inbound(called(receipt)), len(made().receipts(called(receipt)))) == ([], 1)


@pytest.mark.parametrize(
    "document", [{}, [], {"event": {"messageStatusUpdate": [{}]}}, {"status": "DEVICE_ACK"}, {"status": "NEWS"}]
)
def test_what_cannot_be_read_is_a_bad_callback(document: object) -> None:
    """It is proven, and says nothing that is known."""
    with pytest.raises(BadCallback):
        made().receipts(called(document))
