"""One message's story: what happened to it, what holds it now, and when it will leave as far as today's queue tells.

Never shows a number or a text, never changes anything. An instant that is reckoned says that it is an estimate.
"""

from collections.abc import Sequence

import msgspec

from smsd.config import Config
from smsd.control.processes import processes
from smsd.control.queue import Hold, hold_of
from smsd.core.state import FINAL
from smsd.message import State
from smsd.store import optouts
from smsd.store.dead import newest
from smsd.store.record import FLAG_CANCEL, FLAG_DOUBLE, Record
from smsd.store.shard import Shard

DEAD_READ = 2_000


class Step(msgspec.Struct, frozen=True):
    """One line of a message's history. `what`: taken, a state, or receipt."""

    at_ms: int
    what: str
    facts: dict[str, str]


class Delays(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the time went, in ms; None where there was no such time yet."""

    queue_ms: int | None = None  # from taking it (or its not_before) to its last leaving
    limit_ms: int | None = None  # the part of it that it was first in line and a limit refused it
    submit_ms: int | None = None  # from its last leaving to the provider's answer
    receipt_ms: int | None = None  # from that to the receipt that ended it


class OptedOut(msgspec.Struct, frozen=True):
    """What is closed to the recipient now, of the message's tenant or from its sender."""

    whose: str  # tenant, sender
    scope: str
    at_ms: int
    source: str
    provider: str


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one message."""

    tenant: str
    id: str
    state: str  # queued, leased (it is leaving right now), submitted, …; `tomb`: only its cancel is known yet
    final: bool
    class_: str = msgspec.field(name="class")
    route: str
    campaign: str
    attempts: int
    taken_ms: int
    deadline_ms: int
    cancel_asked: bool  # while it was leaving
    possible_duplicate: bool
    delays: Delays
    holds: list[Hold]  # what it waits for now, the longest first
    history: list[Step]
    opted_out: list[OptedOut] = []  # told of a message that an opt-out has stopped


async def story(config: Config, shard: Shard, tenant: str, id_: str, now_us: int) -> Story | None:
    """The story of `tenant/id`; None where nothing is known of it (any more)."""
    record = await shard.record(f"{tenant}/{id_}")
    if record is None:
        return None
    holds = await hold_of(config, shard, f"{tenant}/{id_}", record, now_us)
    history = [] if record.state == "tomb" else steps(record)
    return Story(
        tenant=tenant,
        id=id_,
        state=record.state,
        final=record.state in FINAL,
        class_=record.class_,
        route=record.route,
        campaign=record.echoed.get("campaign", ""),
        attempts=record.attempt,
        taken_ms=record.entered // 1000,
        deadline_ms=record.deadline // 1000,
        cancel_asked=bool(record.flags & FLAG_CANCEL) and record.state in ("leased", "unknown"),
        possible_duplicate=bool(record.flags & FLAG_DOUBLE),
        delays=delays(record, history),
        holds=holds,
        history=history,
        opted_out=await _opted_out(shard, tenant, record) if _stopped(history) else [],
    )


def _stopped(history: Sequence[Step]) -> bool:
    return any(step.facts.get("reason") == "opted_out" for step in history)


async def _opted_out(shard: Shard, tenant: str, record: Record) -> list[OptedOut]:
    lists = {"tenant": optouts.of_tenant(tenant), "sender": optouts.of_sender(record.lane.split("|")[3])}
    found = [(whose, await optouts.known(shard, name, record.who)) for whose, name in lists.items()]
    return [OptedOut(whose, one.scope, one.at_ms, one.source, one.provider) for whose, one in found if one]


async def held_by_nobody(config: Config, story: Story, first: Shard, now_us: int, *, here: bool = False) -> Story:
    """The story with what no record tells: that no process works, or that none of them finds a provider of its route
    alive (while it waits for its time, that does not matter yet).

    `first`: the first shard, where processes tell of themselves. `here`: a process asks, so that one works.
    """
    if story.state != State.QUEUED:
        return story
    there = await processes(first, now_us // 1000)
    if not there and not here:
        nobody = Hold("process", "", None, False, "no smsd runs on this store: smsd run starts one")
        return msgspec.structs.replace(story, holds=[nobody, *story.holds])
    route = config.routes.get(story.route)
    names = [use.use for use in route.providers] if route else []
    told = {hold.kind for hold in story.holds} & {"time", "provider"}
    if told or not names or not there or any(not {*names} <= {*process.dead} for process in there):
        return story
    said = f"no provider of its route answers, or all refuse us ({', '.join(names)}): smsd tries them again by itself"
    return msgspec.structs.replace(story, holds=[Hold("provider", ",".join(names), None, False, said), *story.holds])


class Refused(msgspec.Struct, frozen=True):
    """An entry that asked for this id and was not taken."""

    at_ms: int
    reason: str
    detail: str
    dead_id: str  # what `smsd dead show` wants


async def refused(shards: Sequence[Shard], tenant: str, id_: str) -> Refused | None:
    """The newest rejected entry of the tenant that asked for the id, or that would have got it; among the last
    DEAD_READ dead letters of each shard, for one in the wrong shard lies there.
    """
    found: list[Refused] = []
    for shard in shards:
        async for one in newest(shard, DEAD_READ):
            if one.tenant == tenant and id_ in (one.given_id, f"{one.class_}-{one.entry_id}"):
                found.append(Refused(one.at_ms, one.reason, one.detail, one.id))
                break
    return max(found, key=lambda one: one.at_ms, default=None)


def steps(record: Record) -> list[Step]:
    """The history: how it came, and every change since."""
    facts = record.echoed
    came = {name: facts[name] for name in ("segments", "encoding", "to_country", "campaign") if name in facts}
    told = [Step(record.entered // 1000, "taken", {"class": record.class_, "route": record.route, **came})]
    for line in record.hist.splitlines():
        at, what, *rest = line.split("\t")
        told.append(Step(int(at), what, pairs(rest)))
    return told


def delays(record: Record, history: Sequence[Step]) -> Delays:
    """Of the last attempt: an earlier one that was not taken is part of the waiting."""
    if not record.leased or not record.attempt:  # one that was given back has not left
        return Delays()
    queue_ms, limit_ms = max(0, record.leased - record.since_us) // 1000, record.limited // 1000
    if not record.submitted or record.submitted < record.leased:
        return Delays(queue_ms, limit_ms)
    submit_ms = (record.submitted - record.leased) // 1000
    ends = [s.at_ms for s in history if s.what in (State.DELIVERED, State.UNDELIVERED)]
    return Delays(queue_ms, limit_ms, submit_ms, ends[0] - record.submitted // 1000 if ends else None)


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """name, value, name, value …"""
    return dict(zip(flat[::2], flat[1::2], strict=False))
