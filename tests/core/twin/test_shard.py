"""The verbs together."""

from smsd.core.state import first_unlawful
from smsd.core.twin.values import Receipt
from smsd.message import State
from tests.support.twin import SECOND, accepted, send, shard, states, take


def test_the_way_of_a_message() -> None:
    """Admitted, leased, taken, delivered: its events tell it, in lawful order."""
    twin = shard()
    send(twin, "acme", "a")
    [leased] = take(twin)
    assert twin.settle([accepted(leased, "SM-1")]) == ["submitted"]
    assert twin.receipts([Receipt("", 0, "main", "SM-1", "delivered")]) == ["delivered"]
    told = states(twin, "acme/a")
    assert told == ["queued", "submitted", "delivered"]
    assert first_unlawful(told) is None
    assert (twin.count(State.DELIVERED), twin.count("open")) == (1, 0)


def test_the_clock_never_goes_back_behind_a_lease() -> None:
    """A caller whose clock is behind sees the shard's: nothing that was charged leaves the window early."""
    twin = shard()
    send(twin, "acme", "a")
    take(twin)
    twin.now_us -= 10 * SECOND
    send(twin, "acme", "b", span=3600 * SECOND)
    record = twin.record("acme/b")
    assert record is not None
    assert record.entered == twin.now_us + 10 * SECOND


def test_pausing_again_changes_nothing() -> None:
    """The answer says whether a mark changed."""
    twin = shard()
    assert twin.pause("t:acme")
    assert not twin.pause("t:acme")
    assert twin.resume("t:acme")
    assert not twin.resume("t:acme")
