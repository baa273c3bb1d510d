"""The one way to change a state, to tell it and to end a message."""

from smsd.core.twin.values import Lane
from smsd.message import State
from tests.support.twin import SECOND, accepted, send, shard, take


def test_the_backlog_counts_what_is_queued() -> None:
    """Leased messages are not in the backlog, given back ones are again."""
    twin = shard()
    send(twin, "acme", "a")
    send(twin, "acme", "b")
    assert twin.book.backlog["reminder"] == 2
    take(twin, 1)
    assert twin.book.backlog["reminder"] == 1


def test_an_end_erases_the_body_and_awaits_nothing() -> None:
    """A final state takes the message out of every wait, and its text with it."""
    twin = shard()
    send(twin, "acme", "a")
    [leased] = take(twin)
    twin.settle([accepted(leased)])
    record = twin.record("acme/a")
    assert record is not None
    twin.book.finish(record, State.DELIVERED)
    assert twin.message("acme/a") is None
    assert (len(twin.book.awaited), twin.book.ended.all().keys()) == (0, {"acme/a"})
    assert twin.events[-1]["final"] == "1"


def test_marks_pause_what_they_name_until_their_time() -> None:
    """Everything, a tenant, class, sender or campaign; a mark that is over pauses nothing."""
    twin = shard()
    book, lane = twin.book, Lane.empty("acme|reminder|us|Salon|spring|", (1, 1))
    for mark in ("all", "t:acme", "c:reminder", "s:Salon", "k:acme|spring"):
        book.pauses = {mark: 0}
        assert book.paused_by(lane) == mark
    book.pauses = {"t:acme": SECOND}
    book.now_us = SECOND
    assert book.paused_by(lane) == ""
