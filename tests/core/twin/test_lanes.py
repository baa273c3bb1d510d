"""Where lanes stand."""

from smsd.core.twin import lanes
from tests.support.twin import send, shard, take, taken_ids


def test_a_lane_is_ordered_by_deadline_and_arrival() -> None:
    """The earliest deadline leads; equals keep the order of their arrival."""
    twin = shard()
    for id_, span in (("late", 30), ("b", 20), ("a", 20), ("first", 10)):
        send(twin, "acme", id_, span=span)
    assert taken_ids(twin) == ["acme/first", "acme/b", "acme/a", "acme/late"]


def test_an_emptied_lane_leaves_every_place() -> None:
    """Nothing is left of a lane but its flow's finish tag."""
    twin = shard()
    send(twin, "acme", "a")
    take(twin)
    book = twin.book
    assert (book.lanes, book.ready, len(book.deadlines)) == ({}, {}, 0)
    assert len(book.flows["default", "reminder"]) == 0


def test_a_lane_that_two_limits_refuse_keeps_its_place_at_the_first() -> None:
    """Refused by a second limit, a lane holds its place at the one that had let it through."""
    twin = shard()
    send(twin, "acme", "a")
    lane = next(iter(twin.book.lanes.values()))
    twin.book.now_us = twin.now_us
    lanes.park(twin.book, lane, "t:acme", twin.now_us + 5)
    twin.book.lines["t:acme"].unpark(lane.flow, lane.head, lane.name)
    lane.via = "t:acme"
    lanes.make_ready(twin.book, lane)
    lanes.park(twin.book, lane, "s:Salon", twin.now_us + 9)
    [(limit, held)] = lane.holds
    assert (limit, held.till_us, held.name) == ("t:acme", twin.now_us + 9, lane.name)
    assert twin.book.lines["t:acme"].front(twin.now_us) == held


def test_a_withdrawn_head_lets_the_next_one_lead() -> None:
    """The indexes follow the lane's new head."""
    twin = shard()
    send(twin, "acme", "a", span=10)
    send(twin, "acme", "b", span=20)
    record = twin.record("acme/a")
    assert record is not None
    lanes.withdraw(twin.book, record)
    [lane] = twin.book.lanes.values()
    assert twin.book.deadlines.all() == {lane.name: twin.now_us + 20}
    assert taken_ids(twin) == ["acme/b"]
