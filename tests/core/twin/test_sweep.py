"""The sweep ends what is over and leaves nothing behind."""

import pytest

from smsd.core.twin.values import HOUR_US, Receipt
from tests.support.twin import SECOND, accepted, limits, send, shard, states, take


@pytest.mark.parametrize(
    ("what", "reason"),
    [("nothing", "expired"), ("limit", "throttled_out"), ("pause", "paused"), ("dead route", "provider_down")],
)
def test_an_expiry_says_what_the_message_waited_for(what: str, reason: str) -> None:
    """A message ends at its deadline wherever it is, with the reason for which it was still there."""
    twin = shard(tenants={"acme": limits("1/d")} if what == "limit" else {})
    send(twin, "acme", "first")
    take(twin)
    send(twin, "acme", "a")
    if what == "pause":
        twin.pause("t:acme")
    if what in ("limit", "pause"):
        assert take(twin) == []
    twin.now_us += 13 * HOUR_US
    twin.sweep({}, dead_routes=["default"] if what == "dead route" else [])
    assert [e["reason"] for e in twin.events if e["id"] == "a" and e["state"] == "expired"] == [reason]


def test_a_lease_that_ended_unsettled_is_unknown() -> None:
    """The attempt may have left; it is looked at after the provider's settle time, and its room is free."""
    twin = shard()
    send(twin, "acme", "a")
    take(twin)
    twin.now_us += 13 * SECOND
    _, swept = twin.sweep({"main": 2 * SECOND})
    assert swept.unleased == 1
    assert twin.claim(9, SECOND) == []
    twin.now_us += 2 * SECOND
    assert [u.key for u in twin.claim(9, SECOND)] == ["acme/a"]
    assert not twin.book.in_flight


def test_what_got_no_receipt_is_unconfirmed_and_goes_in_time() -> None:
    """After the receipt timeout it ends, after the retention its record and its ids are gone."""
    twin = shard()
    send(twin, "acme", "a")
    [leased] = take(twin)
    twin.settle([accepted(leased)])
    twin.now_us += 48 * HOUR_US
    twin.sweep({})
    assert states(twin, "acme/a")[-1] == "unconfirmed"
    twin.now_us += 72 * HOUR_US
    twin.sweep({})
    assert (twin.book.records, twin.book.refs, len(twin.book.ended)) == ({}, {}, 0)


def test_a_due_message_of_a_class_that_is_gone_expires() -> None:
    """No class is needed to end a message."""
    twin = shard()
    send(twin, "acme", "a", "gone", not_before=twin.now_us + SECOND)
    twin.now_us += 13 * HOUR_US
    twin.sweep({})
    assert states(twin, "acme/a")[-1] == "expired"


def test_a_pass_is_bounded() -> None:
    """With more to do than the bound, a pass says so."""
    twin = shard()
    for i in range(5):
        send(twin, "acme", f"a{i}", span=10)
    twin.now_us += 10
    again, swept = twin.sweep({}, most=3)
    assert (again, swept.expired) == (True, 3)
    assert twin.sweep({}, most=3)[1].expired == 2


def test_receipts_that_nothing_claims_are_forgotten() -> None:
    """After an hour an id that nobody told is not waited for any more."""
    twin = shard()
    twin.receipts([Receipt("", 0, "main", "SM-9", "delivered")])
    twin.now_us += HOUR_US
    assert twin.sweep({})[1].forgotten == 1
    assert twin.book.early == {}
