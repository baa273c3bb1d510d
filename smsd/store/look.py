"""What the store knows of where things stand: a lane's place, who waits where, how much a limit has been used.

Only reads, each look bounded whatever waits. Never decides and never estimates (core/forecast.py does).
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, cast

import msgspec

from smsd.core.limit import Counted, Limit, Paced, idle
from smsd.store import keys
from smsd.store.record import decode_lane
from smsd.store.shard import Shard

LANES_MAX = 300  # of one tenant, that are looked at


class Lane(msgspec.Struct, frozen=True):
    """A lane that is not empty: tenant|class|route|sender|campaign|providers, and how it stands."""

    name: str
    status: str  # "r" ready, "w" waits at the limit `scope`, "p" is paused by the mark `scope`
    scope: str
    refused_us: int  # when a limit first refused its head; 0: none did
    queued: int  # messages in it

    @property
    def parts(self) -> tuple[str, str, str, str, str, str]:
        """tenant, class, route, sender, campaign, the only providers that may serve it (comma separated)."""
        return cast("tuple[str, str, str, str, str, str]", tuple(self.name.split("|")))


async def lanes_of(shard: Shard, tenant: str, most: int = LANES_MAX) -> list[Lane]:
    """A tenant's lanes, by their names; at most so many."""
    names, after = list[str](), f"[{tenant}|".encode()
    while len(names) < most:
        asked = shard.client.zrangebylex(_key(shard, "lanes"), after, _end(f"{tenant}|"), start=0, num=1)
        members = await cast("Awaitable[list[bytes]]", asked)
        if not members:
            break
        names.append(members[0].partition(b"\0")[0].decode())
        after = _end(f"{names[-1]}\0")
    if not names:
        return []
    pipe = shard.client.pipeline(transaction=False)
    pipe.hmget(_key(shard, "lane"), names)
    for name in names:
        pipe.zlexcount(_key(shard, "lanes"), f"[{name}\0", _end(f"{name}\0"))
    packed, *counts = await pipe.execute()
    out: list[Lane] = []
    for name, state, queued in zip(names, packed, counts, strict=True):
        if state:
            known = decode_lane(state)
            out.append(Lane(name, known.status, known.scope, known.refused, int(queued)))
    return out


async def before(shard: Shard, lanes: Sequence[Lane], deadline_us: int, arrival: int) -> list[int]:
    """How many messages of each lane have an earlier deadline than this one (or the same, and came before)."""
    pipe = shard.client.pipeline(transaction=False)
    for lane in lanes:
        start = f"{lane.name}\0"
        pipe.zlexcount(_key(shard, "lanes"), f"[{start}", f"({start}{deadline_us:016}{arrival:09x}")
    return [int(n) for n in await pipe.execute()]


async def on_route(shard: Shard, route: str, classes: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Of each class, how many messages it has (on any route), and how many flows have something ready on this one."""
    pipe = shard.client.pipeline(transaction=False)
    for class_ in classes:
        start = f"{route}\0{class_}\0"
        pipe.hget(_key(shard, "meta"), f"n:{class_}")
        pipe.zlexcount(_key(shard, "flows"), f"[{start}", _end(start))
    found = [int(n or 0) for n in await pipe.execute()]
    return dict(zip(classes, zip(found[::2], found[1::2], strict=True), strict=True))


async def waiting(shard: Shard, scopes: Sequence[str]) -> dict[str, int]:
    """How many lanes wait at each of these limits."""
    pipe = shard.client.pipeline(transaction=False)
    for scope in scopes:
        pipe.zlexcount(_key(shard, "park"), f"[{scope}\0", _end(f"{scope}\0"))
    return dict(zip(scopes, (int(n) for n in await pipe.execute()), strict=True))


async def line_at(shard: Shard, scope: str, most: int = LANES_MAX) -> dict[str, int]:
    """Who waits at a limit: messages in the lanes that stand there, by flow (tenant|class|route); of so many lanes."""
    asked = shard.client.zrangebylex(_key(shard, "park"), f"[{scope}\0", _end(f"{scope}\0"), start=0, num=most)
    members = [member.split(b"\0") for member in await cast("Awaitable[list[bytes]]", asked)]
    pipe = shard.client.pipeline(transaction=False)
    for *_, lane in members:
        pipe.zlexcount(_key(shard, "lanes"), b"[" + lane + b"\0", b"(" + lane + b"\0\xff")
    flows: dict[str, int] = {}
    for (_, flow, *_), n in zip(members, await pipe.execute(), strict=True):
        flows[flow.decode()] = flows.get(flow.decode(), 0) + int(n)
    return flows


async def used(
    shard: Shard, limits: Mapping[str, Sequence[Limit]], slack_us: int, now_us: int
) -> dict[str, list[Paced | Counted]]:
    """Where the limits of each scope stand, in their order; one that the store knows nothing of has rested."""
    if not limits:
        return {}
    asked = shard.client.hmget(_key(shard, "limit"), list(limits))
    found = await cast("Awaitable[list[bytes | None]]", asked)
    return {
        scope: _states(defined, msgspec.msgpack.decode(packed) if packed else [], slack_us, now_us)
        for (scope, defined), packed in zip(limits.items(), found, strict=True)
    }


def _states(defined: Sequence[Limit], known: list[list[Any]], slack_us: int, now_us: int) -> list[Paced | Counted]:
    return [_state(limit, known, slack_us, now_us) for limit in defined]


def _state(limit: Limit, known: list[list[Any]], slack_us: int, now_us: int) -> Paced | Counted:
    """As lua/lib/limit.lua keeps it: {segments, P, N, b, T, TAT} paced, {segments, P, N, since, 0, sum, cell, count,
    first, tail} counted.
    """
    for one in known:
        if (bool(one[0]), int(one[1])) != limit.key:
            continue
        if limit.paced:
            state = Paced(limit, slack_us, int(one[5]))
            same = (int(one[2]), int(one[3])) == (limit.n, limit.burst)
            old = msgspec.structs.replace(limit, n=int(one[2]), burst=int(one[3]))
            return state if same else Paced(old, slack_us, int(one[5])).changed(limit, slack_us, now_us)
        tail = [pair.split(":") for pair in _text(one[9]).split(",") if pair]
        parts = [*((int(at), int(n)) for at, n in tail), (int(one[6]), int(one[7]))]
        return Counted(limit, slack_us, tuple(sorted(part for part in parts if part[1] > 0)))
    return idle(limit, slack_us)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _end(prefix: str) -> bytes:
    """Behind everything that begins so."""
    return b"(" + prefix.encode() + b"\xff"


def _key(shard: Shard, kind: str) -> str:
    return keys.key(shard.number, kind)
