"""What a limit says and when it admits: the grammar, and the limiter in pure Python (the twin of the store's script).

Never reads a clock, never stores, never rounds in favour of more: in no window of the period, wherever it starts, do
more than N leave (contract §5). Instants and spans are integers in microseconds.
"""

import re
from functools import lru_cache

import msgspec

PACED_UP_TO_US = 60_000_000
"""Limits with a period up to this are paced; longer ones are counted, and all N may leave at once."""

SUB_WINDOWS = 60
"""A counted limit's period is cut into so many parts; a charge counts until its whole part is out of the window."""

LARGEST_N = 1_000_000_000
LARGEST_PERIOD_US = 366 * 86_400_000_000  # with LARGEST_N still far below 2^53, where Lua's numbers stop being exact

_UNIT_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
GRAMMAR = re.compile(r"(\d+)( segments)?/(\d*)([smhd])(?: burst (\d+))?", re.ASCII)
_EXAMPLES = '"20/s", "30 segments/m", "100/90s", "50/s burst 5" or "50000/d"'


class Limit(msgspec.Struct, frozen=True, array_like=True):
    """At most `n` messages (or segments) in any window of `period_us`."""

    segments: bool  # a message costs its segments; else 1
    n: int
    period_us: int
    burst: int  # how many may leave at once after a rest; n where the limit is counted
    paced: bool

    @property
    def key(self) -> tuple[bool, int]:
        """What its state is kept under, inside one scope: two limits of one list may not share it."""
        return self.segments, self.period_us

    def cost(self, segments: int) -> int:
        """What a message of so many segments costs here."""
        return segments if self.segments else 1


def default_burst(n: int, *, segments: bool) -> int:
    """The burst of a limit that names none: small, because every unit of it is taken from the steady rate."""
    return max(1, n // 50, min(3, n // 3) if segments else 1)


@lru_cache(maxsize=4096)
def parse(text: str) -> Limit:
    """Reads `N[ segments]/[k](s|m|h|d)[ burst B]` (contract §5). Raises ValueError with a sentence that mends it."""
    match = GRAMMAR.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text[:60]}" is no limit: write N[ segments]/[k](s|m|h|d)[ burst B], as {_EXAMPLES}')
    n, periods = int(match[1][:12]), int(match[3][:12] or 1)
    period_us = periods * _UNIT_US[match[4]]
    segments, paced = match[2] is not None, period_us <= PACED_UP_TO_US
    if n == 0:
        raise ValueError(f'"{text}" would hold everything for ever: give at least 1, or pause instead')
    if n > LARGEST_N:
        raise ValueError(f'"{text[:60]}" allows more than {LARGEST_N:,}: leave the limit out')
    if not 0 < period_us <= LARGEST_PERIOD_US:
        raise ValueError(f'"{text[:60]}": the period must be between 1s and 366d')
    if match[5] is None:
        burst = default_burst(n, segments=segments) if paced else n
    elif not paced:
        raise ValueError(
            f'"{text}": under a period of more than a minute all {n} may leave at once, so leave out "burst"'
        )
    else:
        burst = int(match[5][:12])
        if not 1 <= burst <= n:
            raise ValueError(f'"{text[:60]}": the burst must be between 1 and {n}')
    return Limit(segments=segments, n=n, period_us=period_us, burst=burst, paced=paced)


def show(limit: Limit) -> str:
    """The limit as it is written: parse(show(x)) == x."""
    unit = next(u for u in reversed(_UNIT_US) if limit.period_us % _UNIT_US[u] == 0)
    periods = limit.period_us // _UNIT_US[unit]
    burst = limit.paced and limit.burst != default_burst(limit.n, segments=limit.segments)
    return (
        f"{limit.n}{' segments' if limit.segments else ''}/{periods if periods > 1 else ''}{unit}"
        f"{f' burst {limit.burst}' if burst else ''}"
    )


def spacing_us(limit: Limit, slack_us: int) -> int:
    """T of a paced limit: the rest after each unit of cost. Slack is how much later than charged a byte may leave."""
    return _ceil(limit.period_us + slack_us, limit.n - limit.burst + 1)


class Paced(msgspec.Struct, frozen=True):
    """A paced limit and where it stands. `tat_us` 0: nothing has left for at least a period."""

    limit: Limit
    slack_us: int
    tat_us: int = 0

    @classmethod
    def rekeyed(cls, limit: Limit, slack_us: int, now_us: int) -> "Paced":
        """A limit that begins while messages may have just left under another period: it starts without its burst."""
        return cls(limit, slack_us, now_us + limit.burst * spacing_us(limit, slack_us))

    def admit(self, now_us: int, cost: int) -> int | None:
        """None: may leave now. Else the earliest instant at which it may. Charges nothing."""
        wake_us = self.tat_us + (min(cost, self.limit.n) - self.limit.burst) * self.spacing_us
        return None if wake_us <= now_us else wake_us

    def charge(self, now_us: int, cost: int, at_us: int = 0) -> "Paced":
        """The state after a message of that cost has left, or will at `at_us`."""
        return Paced(self.limit, self.slack_us, max(self.tat_us, now_us, at_us) + cost * self.spacing_us)

    def refund(self, charged_us: int, cost: int) -> "Paced":
        """Gives a charge back whose message is known not to have left, where it stands alone: nothing before it still
        counts, nothing came after it. Any other stays, for what was charged meanwhile has counted on it.
        """
        alone = self.tat_us == charged_us + cost * self.spacing_us
        return Paced(self.limit, self.slack_us, charged_us) if alone else self

    def nearly_used(self, now_us: int, at_us: int = 0) -> bool:
        """Whether what was charged last, for `at_us`, has to leave in time, lest a window is over."""
        return 4 * (self.tat_us - max(now_us, at_us)) >= self.limit.burst * self.spacing_us

    def changed(self, limit: Limit, slack_us: int, now_us: int) -> "Paced":
        """The state under a new N, burst or slack of the same period: nothing slips through, a raise helps at once."""
        old_us, new_us = self.spacing_us, spacing_us(limit, slack_us)
        owed_us = _ceil(max(self.tat_us - now_us, 0) * new_us, old_us) + new_us
        return Paced(limit, slack_us, now_us + max(limit.burst * new_us, owed_us))

    @property
    def spacing_us(self) -> int:
        return spacing_us(self.limit, self.slack_us)


class Counted(msgspec.Struct, frozen=True):
    """A counted limit and what it remembers: (number of the sub-window, cost), oldest first.

    With a slack below a sub-window's length, a window touches at most SUB_WINDOWS + 2 of them.
    """

    limit: Limit
    slack_us: int
    parts: tuple[tuple[int, int], ...] = ()

    def admit(self, now_us: int, cost: int) -> int | None:
        """None: may leave now. Else the earliest instant at which it may. Charges nothing."""
        live = [part for part in self.parts if self.leaves_us(part[0]) > now_us]
        excess = sum(charged for _, charged in live) + min(cost, self.limit.n) - self.limit.n
        wake_us = None
        for number, charged in live:
            if excess <= 0:
                break
            excess -= charged
            wake_us = self.leaves_us(number)
        return wake_us

    def charge(self, now_us: int, cost: int, at_us: int = 0) -> "Counted":
        """The state after a message of that cost has left, or will at `at_us`; what left the window is forgotten."""
        parts = {number: charged for number, charged in self.parts if self.leaves_us(number) > now_us}
        number = self.part(max(now_us, at_us), cost)
        parts[number] = parts.get(number, 0) + cost
        return Counted(self.limit, self.slack_us, tuple(sorted(parts.items())))

    def part(self, now_us: int, cost: int) -> int:
        """The sub-window that a charge goes to, for its refund.

        A cost above N leaves alone and is written that much later, so that the limit rests for cost/N periods.
        """
        ahead_us = _ceil(max(cost - self.limit.n, 0) * self.limit.period_us, self.limit.n)
        return (now_us + ahead_us) * SUB_WINDOWS // self.limit.period_us

    def refund(self, part: int, cost: int) -> "Counted":
        """Gives a charge back to its own sub-window: its message is known not to have left."""
        given = ((number, charged - cost if number == part else charged) for number, charged in self.parts)
        return Counted(self.limit, self.slack_us, tuple((number, left) for number, left in given if left > 0))

    def nearly_used(self, now_us: int, at_us: int = 0) -> bool:
        """Whether what was charged last has to leave in time, lest a window is over."""
        return 4 * sum(charged for number, charged in self.parts if self.leaves_us(number) > now_us) >= self.limit.n

    def changed(self, limit: Limit, slack_us: int, now_us: int) -> "Counted":
        """The state under a new N or slack of the same period: what was counted stays counted."""
        return Counted(limit, slack_us, self.parts)

    def leaves_us(self, number: int) -> int:
        """The first instant at which no window that ends there reaches into the sub-window."""
        ends_us = _ceil((number + 1) * self.limit.period_us, SUB_WINDOWS)
        return ends_us + self.limit.period_us + self.slack_us


def idle(limit: Limit, slack_us: int) -> Paced | Counted:
    """The state of a limit under which nothing has left for at least a period."""
    return Paced(limit, slack_us) if limit.paced else Counted(limit, slack_us)


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
