"""Names by the instant at which something is due for them. Never reads a clock."""

from bisect import bisect_left, insort


class Timers:
    """One instant for each name; of equal instants the lesser name comes first."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._order: list[tuple[int, str]] = []

    def set(self, name: str, at_us: int) -> None:
        """Due at `at_us`, whatever it was before."""
        self.drop(name)
        self._at[name] = at_us
        insort(self._order, (at_us, name))

    def drop(self, name: str) -> None:
        """Not due any more."""
        at = self._at.pop(name, None)
        if at is not None:
            del self._order[bisect_left(self._order, (at, name))]

    def due(self, now_us: int, most: int) -> list[str]:
        """Those whose time has come, the earliest first."""
        return [name for at, name in self._order[:most] if at <= now_us]

    def next(self) -> int | None:
        """When the first is due."""
        return self._order[0][0] if self._order else None

    def all(self) -> dict[str, int]:
        """Each name with its instant."""
        return dict(self._at)

    def __len__(self) -> int:
        return len(self._order)
