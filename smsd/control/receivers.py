"""How receivers of status webhooks stand: what waits for each, who is disabled; to enable one, and to replay to it.

Never talks to a receiver, and never decides what one wants: its config does. (Incoming callbacks are another matter.)
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

import msgspec

from smsd.config import Config
from smsd.core.push import Receiver
from smsd.store import hooks, keys, push
from smsd.store.push import Gap, now_ms
from smsd.store.shard import Shard

PAGE = 1000  # events of one look
LOOKED_MOST = 200_000  # in one shard; what lies behind is told as "at least"


class ReceiverNow(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver, over all shards."""

    name: str
    url: str  # scheme, host and port: what follows may be a secret of its own
    waiting: int  # events that it is yet to be told
    more: bool  # and others, which are read from the stream when these are through
    oldest_s: float  # age of the oldest of them; 0: there is none
    replaying: bool
    disabled_at_ms: int = 0  # 0: it is not
    why: str = ""


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """Events that a replay would tell again."""

    events: int
    at_least: bool  # there were more than could be looked at
    first_ms: int  # the oldest event that is kept; 0: none is


def receiver(config: Config, name: str) -> Receiver:
    """What the config says of one. Raises KeyError."""
    said = config.status_webhooks[name]
    return Receiver(name, said.url, frozenset(said.tenants), frozenset(said.states))


async def receivers_own(shards: Sequence[Shard], name: str) -> Receiver | None:
    """The one that a tenant has set for itself, by its name tenant:TENANT; None: there is none of that name."""
    tenant = hooks.tenant_of(name)
    if not tenant or name != hooks.name_of(tenant):
        return None
    there = await hooks.hook(shards[crc32(tenant.encode()) % len(shards)], tenant)
    return Receiver(name, there.url, frozenset((tenant,)), frozenset(there.states)) if there else None


async def receivers(config: Config, shards: Sequence[Shard]) -> list[ReceiverNow]:
    """All that the config names."""
    names = sorted(config.status_webhooks)
    if not names:
        return []
    backlogs = [await push.backlog(shard, names) for shard in shards]
    gaps = [gap for shard in shards for gap in await push.gaps(shard)]
    shut = {name: one for shard in shards for name, one in (await push.shuts(shard)).items()}
    now = now_ms(shards[0])
    told: list[ReceiverNow] = []
    for name in names:
        oldest = [backlog[name][1] for backlog in backlogs if backlog[name][1]]
        mine: list[Gap] = [gap for gap in gaps if gap.receiver == name and gap.open]
        told.append(
            ReceiverNow(
                name=name,
                url=_origin(config.status_webhooks[name].url),
                waiting=sum(backlog[name][0] for backlog in backlogs),
                more=any(not gap.replay for gap in mine),
                oldest_s=max(0.0, (now - min(oldest)) / 1000) if oldest else 0.0,
                replaying=any(gap.replay for gap in mine),
                disabled_at_ms=shut[name].at_ms if name in shut else 0,
                why=shut[name].why if name in shut else "",
            )
        )
    return told


async def enable(shards: Sequence[Shard], name: str) -> bool:
    """Tells a receiver again, from where it stopped. Returns whether it was disabled."""
    return any([await push.enable(shard, name) for shard in shards])


async def count(one: Receiver, shards: Sequence[Shard], since_ms: int, until_ms: int, tenant: str) -> Replay:
    """How much a replay of [since, until) would tell; `tenant` "*": of all."""
    events, at_least, first_ms = 0, False, 0
    for shard in shards:
        client: Any = shard.client
        name = keys.key(shard.number, "events")
        for entry_id, _ in await client.xrange(name, count=1):
            at_ms = int(entry_id.partition(b"-")[0])
            first_ms = min(first_ms or at_ms, at_ms)
        start, looked = f"{since_ms}-0", 0
        while page := await client.xrange(name, start, str(until_ms - 1), count=PAGE):
            told = [{key.decode(): value.decode("utf-8", "replace") for key, value in of.items()} for _, of in page]
            events += sum(tenant in ("*", event.get("tenant", "")) and one.wants(event) for event in told)
            start, looked = push.after(page[-1][0].decode()), looked + len(page)
            if looked >= LOOKED_MOST:
                at_least = True
                break
    return Replay(events=events, at_least=at_least, first_ms=first_ms)


async def replay(one: Receiver, shards: Sequence[Shard], since_ms: int, until_ms: int, tenant: str) -> bool:
    """Tells a receiver the events of [since, until) again. False: in some shard another replay is not over yet."""
    gaps = [gap for shard in shards for gap in await push.gaps(shard)]
    if any(gap.replay and gap.receiver == one.name for gap in gaps):
        return False
    words = [await push.replay(shard, one.name, since_ms, until_ms, tenant) for shard in shards]
    return not any(words)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
