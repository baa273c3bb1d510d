"""What leaves a place of waiting when its time has come: due messages, limits that admit again, ends of pauses.

Never reserves: a wake is a chance to be tried. All loops are bounded by arguments.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from smsd.core.twin.book import FROM_THE_START, Book
from smsd.core.twin.lanes import enqueue, make_ready, pause
from smsd.core.twin.limits import admits_at, charged
from smsd.core.twin.ways import expire, let_go
from smsd.core.wait import Order

POLL_US = 50_000  # when nothing tells a better time
MARKS = 200  # that lanes are paused by, looked at in a pass


class Moved(NamedTuple):
    """How many were moved, and when the next is due (None: none waits)."""

    messages: int
    next_us: int | None


def move_due(book: Book, most: int) -> Moved:
    """Due messages enter their lanes, the heavier class first; classes that are not configured any more come last."""
    moved, soonest = 0, None
    gone = sorted(set(book.due) - set(book.settings.classes))
    for class_ in [*book.settings.classes, *gone]:
        timers = book.due[class_]
        for key in timers.due(book.now_us, most - moved):
            timers.drop(key)
            moved += 1
            r = book.records[key]
            if book.is_withdrawn(r.lane, r.entered):
                r.due = 0
                let_go(book, r)
            elif r.deadline <= book.now_us:
                r.due = 0
                expire(book, r)
            else:
                enqueue(book, r)
        soonest = min((at for at in (soonest, timers.next()) if at is not None), default=None)
    return Moved(moved, soonest)


def wake_limits(book: Book, most: int, ahead_us: int, rooms: Mapping[str, int]) -> tuple[bool, set[str]]:
    """Looks at every limit whose time comes within `ahead_us`, but not for lanes that only providers without room may
    serve. Returns whether there were more than `most` let through, and the limits that were left out.
    """
    due = sorted((line.wake_us, scope) for scope, line in book.lines.items() if line.wake_us is not None)
    woken, without_room = 0, set[str]()
    for at_us, scope in due[:most]:
        if at_us > book.now_us + ahead_us:
            break
        room = most
        if scope.startswith("p:") and book.lines[scope].front(book.now_us):
            room = sum(max(0, rooms.get(name, 0)) for name in scope[2:].split(","))
        if room:
            woken += _wake(book, scope, min(room, max(1, most - woken)), ahead_us)
        else:
            without_room.add(scope)
    for scope in [scope for scope, line in book.lines.items() if not line and line.wake_us is None]:
        del book.lines[scope]
    return woken >= most, without_room


def next_wake(book: Book, without_room: Collection[str]) -> int | None:
    """When the next limit is to be looked at: those that were left out after a while, so as to see if there is room."""
    times = (line.wake_us for scope, line in book.lines.items() if scope not in without_room)
    polls = [book.now_us + POLL_US] if without_room else []
    return min((at for at in (*times, *polls) if at is not None), default=None)


def _wake(book: Book, scope: str, most: int, ahead_us: int) -> int:
    """Wakes from the front of one limit what it can admit now, whether or not those woken before have used it.

    The lane takes over its flow's place, if that is earlier; what else of the flow waits goes to the end, so that flows
    take turns. A lane that is paused leaves the line without using the limit, and the next one wakes.
    """
    now_us, line, woken = book.now_us, book.lines[scope], 0
    trial = list(book.limits.states(scope, now_us))
    while True:
        front = line.front(now_us)
        line.wake_us = None
        if front is None:
            return woken
        if not front.is_place or woken >= most:
            line.wake_us = now_us if front.is_place else front.till_us
            return woken
        lane = book.lanes[line.first_lane(front.name)]
        mark = book.paused_by(lane)
        if not mark:
            cost = book.records[lane.messages[0][2]].cost
            at_us = admits_at(trial, cost, now_us)
            if at_us > now_us + ahead_us:
                line.wake_us = at_us
                return woken
            trial = charged(trial, cost, now_us, at_us)
        line.give_place(lane.flow)
        if line.unpark(lane.flow, lane.head, lane.name):
            line.take_place(lane.flow, Order(front.order.lightness, now_us))
        lane.refused_us = min(lane.refused_us, front.order.refused_us)
        if mark:
            pause(book, lane, mark)
        else:
            lane.via = scope
            make_ready(book, lane)
        woken += 1


def resume(book: Book, most: int) -> int:
    """Lanes whose pause is over or lifted become ready, whatever paused them: `most` at once, MARKS marks at once, from
    where the last pass has come to. Returns how many.
    """
    resumed, (since, seen) = 0, book.paused_from
    for _ in range(MARKS):
        marks = {lane.scope for lane in book.lanes.values() if lane.where == "paused"}
        ahead = [mark for mark in marks if mark > since or (mark == since and not seen)]
        if resumed >= most or not ahead:
            break
        since = min(ahead)
        if not book.is_paused(since):
            book.pauses.pop(since, None)
            paused = sorted(name for name, lane in book.lanes.items() if lane.where == "paused" and lane.scope == since)
            for name in paused[: most - resumed]:
                make_ready(book, book.lanes[name])
                resumed += 1
        seen = resumed < most
    left = any(
        lane.scope > since or (lane.scope == since and not seen)
        for lane in book.lanes.values()
        if lane.where == "paused"
    )
    book.paused_from = (since, seen) if left else FROM_THE_START
    book.lifted = book.lifted and left
    return resumed


def drop_ended(book: Book) -> None:
    """Pauses whose time is over; the next pass looks for their lanes from the start."""
    for mark in [mark for mark, until in book.pauses.items() if 0 < until <= book.now_us]:
        del book.pauses[mark]
        book.lift_mark(mark)
