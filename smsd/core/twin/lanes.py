"""Lanes: every move of a lane between ready, waiting at a limit, paused and empty, and of a message into and out of it.

Never decides whether a limit admits. The heads that the indexes know are kept true: `Lane.head` is `Lane.messages[0]`.
"""

from bisect import bisect_left, insort

from smsd.core.twin.book import Book
from smsd.core.twin.values import Lane, Record, Where
from smsd.core.wait import Line, Order
from smsd.message import State

KEPT_US = 1_000_000  # a place at a limit is kept for so long in any case


def enqueue(book: Book, r: Record) -> None:
    """Puts a message into its lane."""
    r.due = 0
    if r.state is not State.QUEUED:
        book.set_state(r, State.QUEUED)
    lane = book.lanes.get(r.lane)
    if lane is None:
        lane = book.lanes[r.lane] = Lane.empty(r.lane, (r.deadline, r.arrival))
        make_ready(book, lane)
        book.deadlines.set(lane.name, r.deadline)
    insort(lane.messages, (r.deadline, r.arrival, r.key))
    _follow_head(book, lane)


def put_due(book: Book, r: Record, at_us: int) -> None:
    """Lets a message wait until then, or until its deadline."""
    if r.state is not State.QUEUED:
        book.set_state(r, State.QUEUED)
    r.due = min(at_us, r.deadline)
    book.due[r.class_].set(r.key, r.due)


def withdraw(book: Book, r: Record) -> None:
    """Takes a queued message out of wherever it waits."""
    if r.due:
        book.due[r.class_].drop(r.key)
        r.due = 0
    else:
        remove(book, book.lanes[r.lane], [(r.deadline, r.arrival, r.key)])


def remove(book: Book, lane: Lane, messages: list[tuple[int, int, str]]) -> None:
    """Takes messages out of a lane: the next one leads, or the lane is gone."""
    for message in messages:
        del lane.messages[bisect_left(lane.messages, message)]
    if not lane.messages:
        _drop(book, lane)
    else:
        _follow_head(book, lane)


def make_ready(book: Book, lane: Lane) -> None:
    """A lane may be tried."""
    lane.where, lane.scope = Where.READY, ""
    insort(book.ready.setdefault(lane.flow, []), (lane.head, lane.name))
    book.flows[lane.route, lane.class_].join(lane.tenant)


def pause(book: Book, lane: Lane, mark: str) -> None:
    """A lane that stood nowhere (any more) is put to the paused ones."""
    lane.where, lane.scope = Where.PAUSED, mark


def leave_ready(book: Book, lane: Lane) -> None:
    """The flow's last ready lane takes the flow out of its class's queue."""
    ready = book.ready[lane.flow]
    ready.remove((lane.head, lane.name))
    if not ready:
        del book.ready[lane.flow]
        book.flows[lane.route, lane.class_].leave(lane.tenant)


def park(book: Book, lane: Lane, scope: str, at_us: int) -> None:
    """A ready lane whose head a limit refused waits there, until `at_us` at the earliest."""
    leave_ready(book, lane)
    lane.refused_us = lane.refused_us or book.now_us
    lane.where, lane.scope = Where.WAITING, scope
    _keep_places(book, lane, scope, at_us)
    line = book.lines.setdefault(scope, Line())
    line.park(lane.flow, lane.head, lane.name, order_of(book, lane))
    line.wake_by(at_us)


def order_of(book: Book, lane: Lane) -> Order:
    """Where a lane stands among those who wait."""
    return Order(-book.class_(lane.class_).weight, lane.refused_us)


def _keep_places(book: Book, lane: Lane, scope: str, at_us: int) -> None:
    """Whatever let this lane through keeps its place there until `scope` lets it be tried again, unless those behind it
    would wait for too long.
    """
    passed = [lane.via, *(limit for limit, _ in lane.holds)]
    for limit, entry in lane.holds:
        book.lines.setdefault(limit, Line()).drop(entry)
    lane.via, lane.holds = "", []
    for limit in passed:
        if limit and limit != scope:
            line = book.lines.setdefault(limit, Line())
            if at_us <= book.now_us + _kept_us(book, limit, book.records[lane.messages[0][2]].cost):
                lane.holds.append((limit, line.hold(order_of(book, lane), at_us, lane.name)))
            elif line:
                line.wake_by(book.now_us)


def _kept_us(book: Book, scope: str, segments: int) -> int:
    """How long a place at a limit is kept at most: while the limit lets two such messages through, or a second."""
    return max([KEPT_US, *(2 * one.cost(segments) * one.period_us // one.n for one in book.limits.defined(scope))])


def _drop_holds(book: Book, lane: Lane) -> None:
    """Those behind a place that is given up are looked at again."""
    for limit, entry in lane.holds:
        line = book.lines.setdefault(limit, Line())
        line.drop(entry)
        if line:
            line.wake_by(book.now_us)
    lane.holds = []


def _follow_head(book: Book, lane: Lane) -> None:
    """When another message leads, refusals and kept places were the old one's; the flow's place stays the flow's."""
    head = lane.messages[0][:2]
    if head == lane.head:
        return
    match lane.where:
        case Where.READY:
            ready = book.ready[lane.flow]
            ready.remove((lane.head, lane.name))
            insort(ready, (head, lane.name))
        case Where.WAITING:
            line = book.lines[lane.scope]
            line.move(lane.flow, lane.head, head, lane.name)
            line.wake_by(book.now_us)
        case Where.PAUSED:
            pass
    _drop_holds(book, lane)
    lane.head, lane.via = head, ""
    lane.refused_us = book.now_us if lane.where is Where.WAITING else 0
    book.deadlines.set(lane.name, head[0])


def _drop(book: Book, lane: Lane) -> None:
    """An empty lane leaves every place."""
    match lane.where:
        case Where.READY:
            leave_ready(book, lane)
        case Where.WAITING:
            line = book.lines[lane.scope]
            line.unpark(lane.flow, lane.head, lane.name)
            if line:
                line.wake_by(book.now_us)
        case Where.PAUSED:
            pass
    _drop_holds(book, lane)
    book.deadlines.drop(lane.name)
    del book.lanes[lane.name]
