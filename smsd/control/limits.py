"""A tenant's limits: what each is, where it comes from, how much of it is used, who waits at it, and which binds now.

Only reads. What is reckoned is for a message of one segment, now.
"""

from collections.abc import Sequence

import msgspec

from smsd.config import Config
from smsd.control.queue import paused
from smsd.core.forecast import passes_us
from smsd.core.limit import Counted, Limit, Paced, show
from smsd.store.holds import pauses
from smsd.store.look import lanes_of, used, waiting
from smsd.store.shard import Shard


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One limit as it stands."""

    scope: str  # tenant, class, sender or provider
    name: str  # whose
    limit: str  # as it is written
    source: str  # command or API, [tenants.T], [plans.P], [tenant_defaults], [senders.S], [providers.P]
    used: int  # messages or segments that count now
    of: int  # as many may: its burst where it is paced, else its N
    paced: bool  # spread over its period; else all N may leave at once
    opens_ms: int  # when it admits one more; 0: now
    waiting: int  # lanes that wait at it
    binds: bool  # of all that a message of one class, sender and route has to pass, this one opens last


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `smsd limits TENANT`."""

    tenant: str
    known: bool  # somebody configured it; else the defaults hold
    plan: str
    route: str
    pool: tuple[str, ...] = ()  # of senders, of which each person always gets the same one
    queued: int  # messages in its lanes
    uses: list[Use]
    paused: list[str] = []  # what is paused of all that its messages pass, a sentence each


async def limits(config: Config, shard: Shard, tenant: str, now_us: int) -> Limits:
    """Of the config in force (with what was made for the tenant) and the store as it is now."""
    lanes = await lanes_of(shard, tenant)
    terms, own = config.terms(tenant), config.own(tenant)
    scopes: dict[str, tuple[Sequence[Limit], str]] = {f"t:{tenant}": (terms.limits, _source(config, tenant, ""))}
    for class_, some in sorted(terms.class_limits.items()):
        scopes[f"c:{tenant}|{class_}"] = (some, _source(config, tenant, class_))
    pool = config.tenant(tenant).pool
    senders = sorted({terms.sender, *pool, *(lane.parts[3] for lane in lanes)})
    routes = sorted({terms.route, *(lane.parts[2] for lane in lanes)} & config.routes.keys())
    for sender in senders:
        if sender in config.senders:
            scopes[f"s:{sender}"] = (config.senders[sender].limits, f"[senders.{sender}]")
    for route in routes:
        for use in config.routes[route].providers:
            if use.use in config.providers:
                scopes[f"p:{use.use}"] = (config.providers[use.use].limits, f"[providers.{use.use}]")
    scopes = {scope: pair for scope, pair in scopes.items() if pair[0]}
    known = await used(
        shard, {scope: some for scope, (some, _) in scopes.items()}, config.dispatch.slack_ms * 1000, now_us
    )
    waits = await waiting(shard, list(scopes))
    opens = {(scope, i): passes_us(one, 0, 1, now_us) for scope, some in known.items() for i, one in enumerate(some)}
    binding = set[tuple[str, int]]()
    for passed in _ways(config, tenant, senders, routes):
        binding |= _binding({at: opens[at] for at in opens if at[0] in passed}, now_us)
    stops = ["all", f"t:{tenant}", *(f"c:{name}" for name in config.classes), *(f"s:{sender}" for sender in senders)]
    stops += dict.fromkeys(f"p:{use.use}" for route in routes for use in config.routes[route].providers)
    stopped = [one for one in await pauses(shard, stops) if not 0 < one.until_us <= now_us]
    return Limits(
        tenant=tenant,
        known=config.knows(tenant),
        plan=(own.plan if own is not None else None) or "",
        route=terms.route,
        pool=pool,
        queued=sum(lane.queued for lane in lanes),
        paused=[paused(one) for one in stopped],
        uses=[
            Use(
                scope=_SCOPES[scope[0]],
                name=scope[2:].partition("|")[2] if scope[0] == "c" else scope[2:],
                limit=show(one.limit),
                source=scopes[scope][1],
                used=_used(one, now_us),
                of=one.limit.burst,
                paced=one.limit.paced,
                opens_ms=0 if opens[scope, i] <= now_us else opens[scope, i] // 1000,
                waiting=waits[scope],
                binds=(scope, i) in binding,
            )
            for scope, some in known.items()
            for i, one in enumerate(some)
        ],
    )


_SCOPES = {"t": "tenant", "c": "class", "s": "sender", "p": "provider"}


def _ways(config: Config, tenant: str, senders: Sequence[str], routes: Sequence[str]) -> list[set[str]]:
    """The scopes that a message of this tenant passes, for each class, sender and route that it may have."""
    return [
        {
            f"t:{tenant}",
            f"c:{tenant}|{class_}",
            f"s:{sender}",
            *(f"p:{use.use}" for use in config.routes[route].providers),
        }
        for class_ in config.classes
        for sender in senders
        for route in routes
    ]


def _binding(opens: dict[tuple[str, int], int], now_us: int) -> set[tuple[str, int]]:
    """Of the sender's side the limit that opens last; of providers one, when none of them has room: any would do."""
    own = {at: opens[at] for at in opens if at[0][0] != "p"}
    theirs: dict[str, int] = {}
    for (scope, _), at_us in opens.items():
        if scope[0] == "p":
            theirs[scope] = max(theirs.get(scope, 0), at_us)
    first = min(theirs, key=lambda scope: theirs[scope], default=None)
    if first is not None:
        own |= {at: opens[at] for at in opens if at[0] == first}
    last = max(own.values(), default=now_us)
    return {at for at, at_us in own.items() if at_us == last} if last > now_us else set()


def _used(state: Paced | Counted, now_us: int) -> int:
    if isinstance(state, Counted):
        return sum(units for number, units in state.parts if state.leaves_us(number) > now_us)
    return min(state.limit.burst, -(-max(0, state.tat_us - now_us) // state.spacing_us))


def _source(config: Config, tenant: str, class_: str) -> str:
    """Where the tenant's limits come from: those of a class, or ("") its own."""

    def says(terms: object) -> bool:
        if class_:
            return class_ in (getattr(terms, "class_limits", None) or {})
        return getattr(terms, "limits", None) is not None

    if says(config.made.get(tenant)):
        return "command or API"
    if says(config.tenants.get(tenant)):
        return f"[tenants.{tenant}]"
    own = config.own(tenant)
    if own is not None and own.plan is not None and says(config.plans.get(own.plan)):
        return f"[plans.{own.plan}]"
    return "[tenant_defaults]"
