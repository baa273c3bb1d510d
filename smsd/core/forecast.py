"""When a message will leave, by what its limits have used and by what waits before it. An estimate, and called one.

Pure. Never promises: who comes later may have an earlier deadline, a limit may change, a provider may fail.
"""

from collections.abc import Iterable

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


def share_us(ahead: int, *, rate_per_s: float, weight: int, weights: int, flows: int) -> int:
    """How long so many messages of one flow take on a busy route: a flow has its part of its class's part.

    `rate_per_s`: of the route; 0: nothing bounds it. `weights`: of all classes with something ready. `flows`: of this
    class that have.
    """
    if rate_per_s <= 0:
        return 0
    mine = rate_per_s * weight / max(weight, weights) / max(1, flows)
    return int((ahead + 1) / mine * 1e6)


def rate_per_s(limits: Iterable[Limit], segments: int) -> float:
    """Messages a second that all of them allow for good; 0: no limit."""
    rates = [limit.n / limit.cost(segments) / (limit.period_us / 1e6) for limit in limits]
    return min(rates, default=0.0)
