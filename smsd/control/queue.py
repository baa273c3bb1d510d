"""What holds a message now, and until when: its time, a pause, a limit, its place in the queue, its providers.

Reads a bounded part of the store and reckons by the limits of the config in force (core/forecast.py). Never waits.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from smsd.config import Config
from smsd.core.forecast import Gate, forecast, rate_per_s, share_us
from smsd.core.limit import Limit, show
from smsd.store import keys
from smsd.store.holds import Pause, Withdrawal, pauses, withdrawals
from smsd.store.look import Lane, before, lanes_of, ready_flows, used
from smsd.store.record import Record
from smsd.store.shard import Shard

MOMENT_US = 1_000_000  # what is over sooner holds nothing


class Hold(msgspec.Struct, frozen=True):
    """One thing that a message waits for."""

    kind: str  # time, pause, withdrawal, limit, provider, queue, leaving, look_up, receipt
    name: str  # whose: a limit's or pause's scope, a provider
    until_ms: int | None  # None: nobody knows
    estimate: bool
    sentence: str


class Place(msgspec.Struct, frozen=True):
    """A message's place among those of its tenant."""

    lane: Lane
    others: list[tuple[Lane, int]]  # the tenant's other lanes, and how many of each come before it
    before: int  # in its own lane


async def hold_of(config: Config, shard: Shard, key: str, record: Record, now_us: int) -> list[Hold]:
    """Everything that a message waits for, the longest first; nothing once it has ended."""
    match record.state:
        case "leased":
            return [Hold("leaving", record.provider, None, False, f"it is on its way to {record.provider} right now")]
        case "unknown":
            at_ms = await _score(shard, "unsure", key)
            said = f"it may have left by {record.provider}, and that is being found out"
            return [Hold("look_up", record.provider, at_ms, False, said)]
        case "submitted":
            at_ms = await _score(shard, "await", key)
            said = f"{record.provider} has it; without a receipt until {at(at_ms)} it ends as unconfirmed"
            return [Hold("receipt", record.provider, at_ms, False, said)]
        case "queued":
            return await _queued(config, shard, record, now_us)
        case _:
            return []


async def _queued(config: Config, shard: Shard, record: Record, now_us: int) -> list[Hold]:
    tenant, *_, bound = record.lane.split("|")
    holds: list[Hold] = []
    start_us = now_us
    if record.due > now_us:
        start_us = record.due
        holds.append(Hold("time", "", record.due // 1000, False, f"its time comes at {at(record.due // 1000)}"))
    stopped = await _stopped(shard, record.lane, now_us)
    holds += [_hold(one) for one in stopped]
    if any(not isinstance(one, Pause) or one.until_us == 0 for one in stopped):
        return holds
    start_us = max([start_us, *(one.until_us for one in stopped if isinstance(one, Pause))])
    route = config.routes.get(record.route)
    providers = bound.split(",") if bound else [use.use for use in route.providers] if route else []
    marks = await pauses(shard, [f"p:{name}" for name in providers])
    away = {one.what[2:]: one for one in marks if not 0 < one.until_us <= now_us}
    if not providers or all(name in away for name in providers):
        return [*holds, _nobody(record.route, providers, away)]
    place = await _place(shard, record, tenant)
    holds += await _gates(config, shard, record, place, [p for p in providers if p not in away], start_us)
    return sorted(holds, key=lambda hold: -(hold.until_ms or 1 << 62))


async def _gates(
    config: Config, shard: Shard, record: Record, place: Place, providers: Sequence[str], start_us: int
) -> list[Hold]:
    """Its limits and its place in the queue, as one estimate each."""
    tenant, class_, route, sender, _, _ = record.lane.split("|")
    slack_us = config.dispatch.slack_ms * 1000
    mine = limits_of(config, tenant, class_, sender)
    theirs = {f"p:{name}": config.providers[name].limits for name in providers if name in config.providers}
    known = await used(shard, {**mine, **theirs}, slack_us, start_us)
    weight = {name: one.weight for name, one in config.classes.items()}

    def ahead(scope: str) -> int:
        total = place.before
        for lane, earlier in place.others:
            other = lane.parts
            if scope[0] == "s" and other[3] != sender:
                continue
            if other[1] == class_:
                total += earlier
            elif scope[0] != "c" and weight.get(other[1], 1) > weight.get(class_, 1):
                total += lane.queued
        return total

    gates = [Gate(scope, state, ahead(scope)) for scope in mine for state in known[scope]]
    holds: list[Hold] = []
    seen = forecast(gates, record.cost, start_us)
    if seen.limit is not None and seen.at_us - start_us > MOMENT_US:
        n = max(gate.ahead for gate in gates if gate.scope == seen.scope)
        waits = f", and {n} {'go' if n > 1 else 'goes'} before it" if n else ""
        said = f"{named(seen.scope)} allows {show(seen.limit)}{waits}: about {at(seen.at_us // 1000)}, an estimate"
        holds.append(Hold("limit", seen.scope, seen.at_us // 1000, True, said))
    rate = sum(rate_per_s(theirs[scope], record.cost) for scope in theirs)
    if theirs and all(theirs.values()):
        flows = await ready_flows(shard, route, list(config.classes))
        weights = sum(weight[name] for name, n in flows.items() if n)
        span_us = share_us(
            place.before, rate_per_s=rate, weight=weight.get(class_, 1), weights=weights, flows=flows.get(class_, 0)
        )
        if span_us > MOMENT_US:
            until_ms = (start_us + span_us) // 1000
            said = (
                f"route {route} takes {rate:.0f}/s, which {flows.get(class_, 0)} tenants share: about {at(until_ms)}, "
                "an estimate"
            )
            holds.append(Hold("queue", route, until_ms, True, said))
    return holds


async def _place(shard: Shard, record: Record, tenant: str) -> Place:
    lanes = await lanes_of(shard, tenant)
    counts = await before(shard, lanes, record.deadline, record.arrival)
    both = list(zip(lanes, counts, strict=True))
    own = next(((lane, n) for lane, n in both if lane.name == record.lane), (Lane(record.lane, "r", "", 0, 0), 0))
    return Place(own[0], [(lane, n) for lane, n in both if lane.name != record.lane], own[1])


def limits_of(config: Config, tenant: str, class_: str, sender: str) -> dict[str, Sequence[Limit]]:
    """The limits that are the sender's side of a message, by their scopes; those of providers are not among them."""
    terms = config.terms(tenant)
    scopes: dict[str, Sequence[Limit]] = {f"t:{tenant}": terms.limits}
    scopes[f"c:{tenant}|{class_}"] = terms.class_limits.get(class_, ())
    scopes[f"s:{sender}"] = config.senders[sender].limits if sender in config.senders else ()
    return {scope: limits for scope, limits in scopes.items() if limits}


def named(scope: str) -> str:
    """A scope in words."""
    kind, _, name = scope.partition(":")
    if kind == "c":
        tenant, _, class_ = name.partition("|")
        return f"tenant {tenant}'s limit for {class_}"
    whose = {"t": "tenant", "s": "sender", "p": "provider"}[kind]
    return f"{whose} {name}'s limit"


def at(at_ms: int | None) -> str:
    """An instant as people read it, in UTC; "some time" where none is known."""
    if at_ms is None:
        return "some time"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


async def _stopped(shard: Shard, lane: str, now_us: int) -> list[Pause | Withdrawal]:
    """Whatever somebody stopped it by."""
    tenant, class_, _, sender, campaign, _ = lane.split("|")
    kinds = [f"t:{tenant}", f"c:{class_}", *([f"k:{tenant}|{campaign}"] if campaign else [])]
    held = await pauses(shard, ["all", f"s:{sender}", *kinds])
    busy = await withdrawals(shard, [*kinds, f"tc:{tenant}|{class_}"])
    return [*(one for one in held if not 0 < one.until_us <= now_us), *(one for one in busy if not one.done)]


def _hold(one: Pause | Withdrawal) -> Hold:
    if isinstance(one, Pause):
        return Hold("pause", one.what, one.until_us // 1000 or None, False, _paused(one))
    said = f"it is being cancelled, as {one.by} ordered at {at(one.at_us // 1000)}"
    return Hold("withdrawal", one.what, None, False, said)


def _paused(pause: Pause) -> str:
    kind, _, name = pause.what.partition(":")
    words = {"t": "its tenant", "c": f"class {name}", "s": f"sender {name}", "k": "its campaign"}
    until = f"until {at(pause.until_us // 1000)}" if pause.until_us else "until somebody resumes it"
    by = f" by {pause.by}" if pause.by not in ("", "-") else ""
    why = f" ({pause.reason})" if pause.reason else ""
    return f"{words.get(kind, 'everything')} is paused{by} since {at(pause.at_us // 1000)}, {until}{why}"


def _nobody(route: str, providers: Sequence[str], away: dict[str, Pause]) -> Hold:
    if not providers:
        return Hold("provider", "", None, False, f"no provider serves route {route}: give it one in [routes.{route}]")
    untils = [away[name].until_us for name in providers]
    until_ms = None if 0 in untils else min(untils) // 1000
    why = "; ".join(f"{name}: {away[name].reason or 'paused'}" for name in providers)
    return Hold("provider", ",".join(providers), until_ms, False, f"every provider that may take it is paused ({why})")


async def _score(shard: Shard, kind: str, key: str) -> int | None:
    score = await shard.client.zscore(keys.key(shard.number, kind), key)
    return None if score is None else int(score) // 1000
