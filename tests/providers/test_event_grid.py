"""Event Grid's questions and events, in both schemas."""

import msgspec
import pytest

from smsd.provider import BadCallback, Callback
from smsd_providers import _event_grid

URL = "https://sms.example.com/webhooks/main/status"
GRID = {"eventType": "Microsoft.Communication.SMSReceived", "data": {"messageId": "1"}}
CLOUD = {"type": "Microsoft.Communication.SMSReceived", "specversion": "1.0", "data": {"messageId": "2"}}


def told(document: object) -> Callback:
    return Callback("POST", URL, {}, msgspec.json.encode(document))


@pytest.mark.parametrize(
    ("document", "ids"), [([GRID, GRID], ["1", "1"]), (CLOUD, ["2"]), ([CLOUD, GRID], ["2", "1"]), (GRID, ["1"])]
)
def test_events_are_read_in_either_schema(document: object, ids: list[str]) -> None:
    """One alone, or several in a list."""
    found = _event_grid.events(told(document))
    assert found == [("Microsoft.Communication.SMSReceived", {"messageId": id_}) for id_ in ids]


@pytest.mark.parametrize(
    "document", [None, {}, [{}], "x", [1], CLOUD | {"specversion": "0.3"}, [GRID, {}], {"type": "x"}]
)
def test_what_is_no_event_cannot_be_read(document: object) -> None:
    """Neither one of Event Grid's schema nor a CloudEvent of 1.0."""
    with pytest.raises(BadCallback, match=r"in the Event Grid schema or as CloudEvents"):
        _event_grid.events(told(document))


def test_events_are_no_question() -> None:
    """A question is an event of its own kind, or comes by OPTIONS."""
    assert not _event_grid.asks(told([GRID]))
    assert not _event_grid.asks(told(CLOUD))
    assert _event_grid.asks(told([{"eventType": _event_grid.VALIDATION}]))
    assert _event_grid.asks(Callback("OPTIONS", URL, {}, b""))


@pytest.mark.parametrize("origin", ["", "a b", "x\udcff", "*", "a\r\nX: y", "a" * 300])
def test_an_origin_that_is_none_is_not_repeated(origin: str) -> None:
    """It would become a header of our answer."""
    with pytest.raises(BadCallback, match="WebHook-Request-Origin"):
        _event_grid.welcome(Callback("OPTIONS", URL, {"webhook-request-origin": origin}, b""))
