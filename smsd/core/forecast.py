"""When a message will leave, by what its limits have used and by what waits before it. An estimate, and called one.

Pure. Never promises: who comes later may have an earlier deadline, a limit may change, a provider may fail.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence

import msgspec

from smsd.core.limit import Counted, Limit, Paced

State = Paced | Counted


class Gate(msgspec.Struct, frozen=True):
    """A limit that a message has to pass, and how many messages use it before this one."""

    scope: str  # t:TENANT, c:TENANT|CLASS, s:SENDER or p:PROVIDER
    state: State
    ahead: int


class Forecast(msgspec.Struct, frozen=True):
    """When, and which limit decides it ("": none does)."""

    at_us: int
    scope: str
    limit: Limit | None


def forecast(gates: Iterable[Gate], segments: int, now_us: int) -> Forecast:
    """The latest of all gates: a message leaves when every one of them admits it.

    Those before it are taken to cost as many segments as it does itself.
    """
    worst = Forecast(now_us, "", None)
    for gate in gates:
        at_us = passes_us(gate.state, gate.ahead, segments, now_us)
        if at_us > worst.at_us:
            worst = Forecast(at_us, gate.scope, gate.state.limit)
    return worst


def passes_us(state: State, ahead: int, segments: int, now_us: int) -> int:
    """When a limit admits a message that so many go before, each as soon as it admits them; `now_us`: at once."""
    cost = state.limit.cost(segments)
    if isinstance(state, Counted):
        return _counted(state, (ahead + 1) * cost, now_us)
    at_us = state.admit(now_us, cost) or now_us
    if not ahead:
        return at_us
    # From the first charge on each follows its predecessor; one above the burst rests for what it exceeds, too.
    tat_us, over = state.charge(at_us, cost).tat_us, min(cost, state.limit.n) - state.limit.burst
    step_us = (cost + max(0, over)) * state.spacing_us
    return max(at_us, tat_us + (ahead - 1) * step_us + over * state.spacing_us)


def _counted(state: Counted, wanted: int, now_us: int) -> int:
    """What leaves the window makes room for as much, which leaves it a period later: so N units have their instants,
    and the next N have the same ones a period on.
    """
    n, period_us = state.limit.n, state.limit.period_us + state.slack_us
    live = sorted(
        part for part in ((state.leaves_us(number), units) for number, units in state.parts) if part[0] > now_us
    )
    rounds, rest = divmod(wanted - 1, n)
    for at_us, room in [(now_us, n - sum(units for _, units in live)), *live]:
        rest -= max(0, room)
        if rest < 0:
            return at_us + rounds * period_us
    return now_us + (rounds + 1) * period_us  # more has left than N: one message of many segments


class Share(msgspec.Struct, frozen=True):
    """A class on a route."""

    weight: int
    queued: int  # messages of it
    flows: int  # tenants of it that have something ready


def turns(place: int, mine: Share, others: Iterable[Share]) -> int:
    """How many messages of a route go before one with so many before it in its own flow: while it waits for its turns,
    each other flow of its class has as many, each other class its share by weight, and none more than it has.
    """
    own = max(place, min(mine.queued - 1, (place + 1) * max(1, mine.flows) - 1))
    return own + sum(min(one.queued, (own + 1) * one.weight // mine.weight) for one in others if one.flows)


class Door(msgspec.Struct, frozen=True):
    """One provider; without limits, and where nobody knows how long it takes to answer, it takes everything at once."""

    states: Sequence[State] = ()  # of its limits
    room: int = 0  # messages that may leave by it now, before it has answered any
    each_us: int = 0  # between two that leave later: its time to the answer, over max_in_flight; 0: not known

    def limited_us(self, ahead: int, segments: int, now_us: int) -> int:
        """When its limits admit a message that so many go before."""
        return max((passes_us(state, ahead, segments, now_us) for state in self.states), default=now_us)

    def answered_us(self, ahead: int, now_us: int) -> int:
        """When so many before it are answered that it has room."""
        return now_us + max(0, ahead + 1 - self.room) * self.each_us

    def passes_us(self, ahead: int, segments: int, now_us: int) -> int:
        """The later of both."""
        return max(self.limited_us(ahead, segments, now_us), self.answered_us(ahead, now_us))


def routed_us(doors: Sequence[Door], ahead: int, segments: int, now_us: int) -> int:
    """When one of several providers has room for a message that so many go before, which spread over all as each has
    room.
    """

    def taken(at_ms: int) -> int:
        return sum(bisect_right(range(ahead + 1), at_ms * 1000, key=door_of(door)) for door in doors)

    def door_of(door: Door) -> Callable[[int], int]:
        return lambda before: door.passes_us(before, segments, now_us)

    # No instant is later than that of the one door which takes them all.
    last_us = min((door.passes_us(ahead, segments, now_us) for door in doors), default=now_us)
    if last_us <= now_us:
        return now_us
    moments = range(now_us // 1000, -(-last_us // 1000) + 1)
    return moments[bisect_left(moments, ahead + 1, hi=len(moments) - 1, key=taken)] * 1000
