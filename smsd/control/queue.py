"""What holds a message now, and until when: its time, a pause, a limit, its place in the queue, its providers.

Reads a bounded part of the store and reckons by the limits of the config in force (core/forecast.py). Never waits.
"""

from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any

import msgspec

from smsd.config import Config
from smsd.control.overview import Rates
from smsd.core.forecast import Door, Gate, Share, forecast, routed_us, turns
from smsd.core.limit import Limit, show
from smsd.store import keys
from smsd.store.holds import Pause, Withdrawal, pauses, withdrawals
from smsd.store.look import Lane, before, lanes_of, line_at, on_route, used
from smsd.store.record import Record
from smsd.store.shard import Shard

MOMENT_US = 1_000_000  # what is over sooner holds nothing


class Hold(msgspec.Struct, frozen=True):
    """One thing that a message waits for."""

    kind: str  # time, pause, withdrawal, limit, provider, queue, process, leaving, look_up, receipt
    name: str  # whose: a limit's or pause's scope, a provider, a route
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
    if record.due > now_us:
        words = "it is tried again" if record.attempt else "its time comes"
        holds.append(Hold("time", "", record.due // 1000, False, f"{words} at {at(record.due // 1000)}"))
    stopped = await _stopped(shard, record, now_us)
    holds += [_hold(one, record) for one in stopped]
    if any(one.until_us == 0 if isinstance(one, Pause) else _covers(one, record) for one in stopped):
        return holds
    goes_on_us = max([now_us, *(one.until_us for one in stopped if isinstance(one, Pause))])
    route = config.routes.get(record.route)
    providers = bound.split(",") if bound else [use.use for use in route.providers] if route else []
    marks = await pauses(shard, [f"p:{name}" for name in providers])
    away = {one.what[2:]: one for one in marks if not 0 < one.until_us <= now_us}
    if not providers or all(name in away for name in providers):
        return [*holds, _nobody(record.route, providers, away)]
    place = await _place(shard, record, tenant, {one.what for one in stopped})
    holds += await _gates(config, shard, record, place, [p for p in providers if p not in away], goes_on_us)
    return sorted(holds, key=lambda hold: -(hold.until_ms or 1 << 62))


async def _gates(
    config: Config, shard: Shard, record: Record, place: Place, providers: Sequence[str], goes_on_us: int
) -> list[Hold]:
    """Its limits, and its place on its route where that takes longer, as one estimate each.

    `goes_on_us`: when those before it begin to leave, which is before its own time comes.
    """
    tenant, class_, _, sender, _, _ = record.lane.split("|")
    mine = limits_of(config, tenant, class_, sender)
    known = await used(shard, mine, config.dispatch.slack_ms * 1000, goes_on_us)
    waiting = await line_at(shard, f"s:{sender}") if f"s:{sender}" in mine else {}
    ahead = {scope: _ahead(config, record, place, scope, waiting) for scope in mine}
    gates = [Gate(scope, state, ahead[scope]) for scope in mine for state in known[scope]]
    holds: list[Hold] = []
    start_us = max(goes_on_us, record.due)
    seen = forecast(gates, record.cost, goes_on_us)
    if seen.limit is not None and seen.at_us - start_us > MOMENT_US:
        n = ahead[seen.scope]
        waits = f", and {n} {'go' if n > 1 else 'goes'} before it" if n else ""
        said = f"{named(seen.scope)} allows {show(seen.limit)}{waits}: about {at(seen.at_us // 1000)}, an estimate"
        holds.append(Hold("limit", seen.scope, seen.at_us // 1000, True, said))
    n = await _turns(config, shard, record, place)
    doors = await _doors(config, shard, class_, providers, goes_on_us)
    at_us = routed_us(list(doors.values()), n, record.cost, goes_on_us)
    if at_us - start_us > MOMENT_US and at_us > seen.at_us:
        rates = ", ".join(_allows(config, name, door, n, record.cost, goes_on_us) for name, door in doors.items())
        waits = f", and by fair shares about {n} {'go' if n > 1 else 'goes'} before it" if n else ""
        said = f"route {record.route}'s providers allow {rates}{waits}: about {at(at_us // 1000)}, an estimate"
        holds.append(Hold("queue", record.route, at_us // 1000, True, said))
    return holds


def _ahead(config: Config, record: Record, place: Place, scope: str, waiting: Mapping[str, int]) -> int:
    """How many messages pass a limit before this one. `waiting`: who stands at its sender's limit, by flow."""
    tenant, class_, _, sender, _, _ = record.lane.split("|")
    weight = {name: one.weight for name, one in config.classes.items()}
    mine = weight.get(class_, 1)
    total = place.before
    for lane, earlier in place.others:
        _, its_class, _, its_sender, *_ = lane.parts
        if scope[0] == "s" and its_sender != sender:
            continue
        if its_class == class_:
            total += earlier
        elif scope[0] != "c" and weight.get(its_class, 1) > mine:
            total += lane.queued
    if scope[0] != "s":
        return total
    # Other tenants' flows take turns with its own at the limit; those of a heavier class go first.
    turn = total + 1
    for flow, n in waiting.items():
        whose, its_class, *_ = flow.split("|")
        if whose != tenant and weight.get(its_class, 1) >= mine:
            total += n if its_class != class_ else min(n, turn)
    return total


async def _doors(config: Config, shard: Shard, class_: str, providers: Sequence[str], now_us: int) -> dict[str, Door]:
    """Its providers, each by its limits and by how fast it answers, as far as messages of the last seconds tell."""
    there = {name: config.providers[name] for name in providers if name in config.providers}
    limits = {f"p:{name}": one.limits for name, one in there.items()}
    known = await used(shard, limits, config.dispatch.slack_ms * 1000, now_us)
    rates = Rates()
    await rates.read(shard)
    client: Any = shard.client
    flying: list[bytes | None] = await client.hmget(keys.key(shard.number, "inflight"), list(limits)) if limits else []
    share = config.classes[class_].max_in_flight_share if class_ in config.classes else 1.0
    doors: dict[str, Door] = {}
    for (name, one), n in zip(there.items(), flying, strict=True):
        most, answer_ms = max(1, int(one.max_in_flight * share)), rates.answer_ms(name)
        each_us = int(answer_ms * 1000 / most) if answer_ms else 0
        doors[name] = Door(known[f"p:{name}"], max(0, most - int(n or 0)), each_us)
    return doors


def _allows(config: Config, name: str, door: Door, ahead: int, segments: int, now_us: int) -> str:
    """What bounds a provider, in words."""
    one = config.providers[name]
    if door.answered_us(ahead, now_us) > door.limited_us(ahead, segments, now_us):
        return f"{one.max_in_flight} in flight, answered about {1_000_000 / door.each_us:.3g} a second"
    return " and ".join(map(show, one.limits))


async def _turns(config: Config, shard: Shard, record: Record, place: Place) -> int:
    """How many messages go before it on its route."""
    found = await on_route(shard, record.route, list(config.classes))
    shares = {name: Share(config.classes[name].weight, *pair) for name, pair in found.items()}
    mine = shares.pop(record.class_, Share(1, 1, 1))
    return turns(place.before, mine, shares.values())


async def _place(shard: Shard, record: Record, tenant: str, stopped: Set[str]) -> Place:
    """`stopped`: marks that hold this message too. What others hold is before nobody."""
    lanes = {lane.name: lane for lane in await lanes_of(shard, tenant)}
    own = lanes.setdefault(record.lane, Lane(record.lane, "r", "", 0, 0))
    moving = [lane for lane in lanes.values() if lane is own or lane.status != "p" or lane.scope in stopped]
    counts = await before(shard, moving, record.deadline, record.arrival)
    both = list(zip(moving, counts, strict=True))
    return Place(own, [pair for pair in both if pair[0] is not own], next(n for lane, n in both if lane is own))


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


async def _stopped(shard: Shard, record: Record, now_us: int) -> list[Pause | Withdrawal]:
    """Whatever somebody stopped it by."""
    tenant, class_, _, sender, campaign, _ = record.lane.split("|")
    kinds = [f"t:{tenant}", f"c:{class_}", *([f"k:{tenant}|{campaign}"] if campaign else [])]
    held = await pauses(shard, ["all", f"s:{sender}", *kinds])
    busy = await withdrawals(shard, [*kinds, f"tc:{tenant}|{class_}"])
    return [*(one for one in held if not 0 < one.until_us <= now_us), *(one for one in busy if not one.done)]


def _covers(one: Withdrawal, record: Record) -> bool:
    """What came after the cancel of a tenant or class only waits until that is done; a campaign's covers it too."""
    return one.what.startswith("k:") or record.entered <= one.at_us


def _hold(one: Pause | Withdrawal, record: Record) -> Hold:
    if isinstance(one, Pause):
        return Hold("pause", one.what, one.until_us // 1000 or None, False, paused(one))
    ordered = f"ordered{_by(one.by)} at {at(one.at_us // 1000)}{_because(one.reason)}"
    said = f"it is being cancelled, as {ordered}"
    if not _covers(one, record):
        said = f"what came before it is being cancelled, as {ordered}; it goes on when that is done, within moments"
    return Hold("withdrawal", one.what, None, False, said)


def paused(pause: Pause) -> str:
    """What is paused, by whom, since when, until when and why, of whatever a message may have."""
    kind, _, name = pause.what.partition(":")
    words = {"t": "its tenant", "c": f"class {name}", "s": f"sender {name}", "k": "its campaign"}
    words["p"] = f"provider {name}"
    until = f"until {at(pause.until_us // 1000)}" if pause.until_us else "until somebody resumes it"
    since = f"since {at(pause.at_us // 1000)}"
    return f"{words.get(kind, 'everything')} is paused{_by(pause.by)} {since}, {until}{_because(pause.reason)}"


def _by(who: str) -> str:
    return f" by {who}" if who not in ("", "-") else ""


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _nobody(route: str, providers: Sequence[str], away: dict[str, Pause]) -> Hold:
    if not providers:
        return Hold("provider", "", None, False, f"no provider serves route {route}: give it one in [routes.{route}]")
    untils = [away[name].until_us for name in providers]
    until_ms = None if 0 in untils else min(untils) // 1000
    why = "; ".join(paused(away[name]) for name in providers)
    return Hold("provider", ",".join(providers), until_ms, False, f"no provider of its route takes any: {why}")


async def _score(shard: Shard, kind: str, key: str) -> int | None:
    score = await shard.client.zscore(keys.key(shard.number, kind), key)
    return None if score is None else int(score) // 1000
