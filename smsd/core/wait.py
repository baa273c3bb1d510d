"""Who waits at one limit, first first: the order that keeps a shared limit from starving anybody (docs/decisions/0004).

Pure: knows no limit and no message. Ordered by class weight, then by when the head was first refused. Of one flow one
lane at a time stands here, the one with the earliest deadline. A lane that came through this limit and was then refused
by another holds its place until the time that the other gave it, and nobody behind it passes.
"""

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from _typeshed import SupportsRichComparisonT

Head = tuple[int, int]
"""(deadline, number of arrival) of the message that leads a lane."""


class Order(NamedTuple):
    """The heavier class first, then who was refused first."""

    lightness: int  # minus the class's weight
    refused_us: int


class Entry(NamedTuple):
    """One who waits. Of equal order, a lane that holds its place comes before flows."""

    order: Order
    is_place: bool  # True: of a flow; False: held by a lane that has passed
    till_us: int  # of a held place: when it is over
    name: str  # flow or lane


class Line:
    """The line at one limit. A line that nobody stands in and that has no wake time can be thrown away."""

    def __init__(self) -> None:
        self.wake_us: int | None = None  # when its first may be admitted
        self._entries: list[Entry] = []
        self._places: dict[str, Order] = {}
        self._lanes: dict[str, list[tuple[Head, str]]] = {}

    def front(self, now_us: int) -> Entry | None:
        """Who is first; held places whose time is over are dropped on the way."""
        while self._entries:
            first = self._entries[0]
            if first.is_place or first.till_us > now_us:
                return first
            del self._entries[0]
        return None

    def wake_by(self, at_us: int) -> None:
        """Looked at again at `at_us`, or earlier."""
        self.wake_us = at_us if self.wake_us is None else min(self.wake_us, at_us)

    def park(self, flow: str, head: Head, lane: str, order: Order) -> None:
        """A lane begins to wait. Its flow's place is as early as the earliest that any of its lanes brought."""
        insort(self._lanes.setdefault(flow, []), (head, lane))
        self.take_place(flow, order)

    def unpark(self, flow: str, head: Head, lane: str) -> bool:
        """A lane waits no more; True while others of its flow do. The last one gives the flow's place up."""
        _discard(self._lanes[flow], (head, lane))
        if self._lanes[flow]:
            return True
        self.give_place(flow)
        return False

    def first_lane(self, flow: str) -> str:
        """Of a flow that waits here, the lane with the earliest deadline."""
        return self._lanes[flow][0][1]

    def move(self, flow: str, old: Head, new: Head, lane: str) -> None:
        """A waiting lane is led by another message now; the flow keeps its place."""
        _discard(self._lanes[flow], (old, lane))
        insort(self._lanes[flow], (new, lane))

    def take_place(self, flow: str, order: Order) -> None:
        """Places the flow, never later than where it stands."""
        had = self._places.get(flow)
        if had is not None and had <= order:
            return
        if had is not None:
            _discard(self._entries, Entry(had, True, 0, flow))
        self._places[flow] = order
        insort(self._entries, Entry(order, True, 0, flow))

    def give_place(self, flow: str) -> None:
        """Takes the flow out of the line; an empty line is not woken."""
        had = self._places.pop(flow, None)
        if not self._lanes.get(flow):
            self._lanes.pop(flow, None)
        if had is None:
            return
        _discard(self._entries, Entry(had, True, 0, flow))
        if not self._entries:
            self.wake_us = None

    def hold(self, order: Order, till_us: int, lane: str) -> Entry:
        """Keeps a place for a lane that has passed; the entry is what `drop` wants."""
        entry = Entry(order, False, till_us, lane)
        _discard(self._entries, entry)
        insort(self._entries, entry)
        return entry

    def drop(self, entry: Entry) -> None:
        """Gives a held place up, if it is still there."""
        _discard(self._entries, entry)

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[Entry]:
        """Who stands here, first first."""
        return list(self._entries)


def _discard(entries: "list[SupportsRichComparisonT]", entry: "SupportsRichComparisonT") -> None:
    at = bisect_left(entries, entry)
    if at < len(entries) and entries[at] == entry:
        del entries[at]
