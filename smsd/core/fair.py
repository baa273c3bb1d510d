"""Start-time fair queueing (Goyal, Vin and Cheng, 1996): whose turn it is among names that each have a weight.

Pure: counts turns, knows no message and no clock. The store's lease script keeps two levels of it: over the classes of
a route, and over the ready flows of a class. Per level: S = max(V, F); the least S is served; V = S; F = S + cost /
weight.
"""

from bisect import bisect_left, insort
from typing import Final

SCALE: Final = 5040
"""Makes 1/weight whole for the weights to 10. Tags are integers, so that no rounding favours anybody."""


class Turns:
    """One level whose start tags are read at the pick: a name that was skipped does not save up its turns."""

    def __init__(self) -> None:
        self.virtual = 0  # V: the start tag that was served last
        self.finish: dict[str, int] = {}  # F: where the last turn of each name ended

    def start(self, name: str) -> int:
        """S: where the next turn of `name` begins."""
        return max(self.virtual, self.finish.get(name, 0))

    def served(self, name: str, start: int, cost: int, weight: int = 1) -> None:
        """A turn of `name` that began at `start` took `cost`."""
        self.virtual = max(self.virtual, start)
        self.finish[name] = start + cost * SCALE // weight

    def forget(self) -> None:
        """Drops finish tags that V has passed: they decide nothing. Sooner, a trickling name would always be first."""
        self.finish = {name: tag for name, tag in self.finish.items() if tag > self.virtual}


class Queue(Turns):
    """One level whose names come and go, each with the start tag that it got when it came; ties go by name."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[tuple[int, str]] = []
        self._start: dict[str, int] = {}

    def join(self, name: str) -> None:
        """Something of `name` is ready. Has no effect on one that is there."""
        if name not in self._start:
            self._enter(name, self.start(name))

    def leave(self, name: str) -> None:
        """Nothing of `name` is ready any more; its finish tag stays."""
        start = self._start.pop(name, None)
        if start is not None:
            del self._order[bisect_left(self._order, (start, name))]

    def first(self) -> tuple[int, str] | None:
        """(start tag, name) of whose turn it is."""
        return self._order[0] if self._order else None

    def served(self, name: str, start: int, cost: int, weight: int = 1) -> None:
        """As above; one that is still there is queued behind the turn that it had."""
        super().served(name, start, cost, weight)
        if name in self._start:
            self.leave(name)
            self._enter(name, self.finish[name])

    def forget(self) -> None:
        """As above. When nobody is there the busy period is over, and V passes every finish tag."""
        if not self._order:
            self.virtual = max([self.virtual, *self.finish.values()])
        super().forget()

    def order(self) -> list[tuple[int, str]]:
        """All that are there, as they would be served."""
        return list(self._order)

    def __contains__(self, name: str) -> bool:
        return name in self._start

    def __len__(self) -> int:
        return len(self._order)

    def _enter(self, name: str, start: int) -> None:
        self._start[name] = start
        insort(self._order, (start, name))
