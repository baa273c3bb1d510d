"""Status webhooks that tenants set for themselves: in a shard, by tenant, with a version that counts their changes.

Never judges a URL and never calls one: control/hooks.py and core/address.py judge, a process's Poster calls.
"""

from collections.abc import Awaitable
from typing import cast

import msgspec

from smsd.store import keys
from smsd.store.shard import Shard

VERSION = "hooks"  # field of the shard's meta


class Hook(msgspec.Struct, frozen=True):
    """Where one tenant is told of its events. `secret`: whsec_…, made by us."""

    url: str
    states: tuple[str, ...]
    secret: str

    def __repr__(self) -> str:
        return f"Hook(url={self.url!r}, states={self.states!r}, secret='***')"


def name_of(tenant: str) -> str:
    """The receiver's name: no table of the config can have it."""
    return f"tenant:{tenant}"


def tenant_of(name: str) -> str:
    """The tenant whose own receiver it is; "": one of the config."""
    return name.partition(":")[2]


async def put(shard: Shard, tenant: str, hook: Hook) -> None:
    """In the place of what was there; whoever was disabled is told again."""
    text = msgspec.json.encode(hook).decode()
    async with shard.client.pipeline(transaction=True) as pipe:
        pipe.hset(keys.key(shard.number, "hook"), tenant, text)
        pipe.hdel(keys.key(shard.number, "shut"), name_of(tenant))
        pipe.hincrby(keys.key(shard.number, "meta"), VERSION, 1)
        await cast("Awaitable[object]", pipe.execute())


async def drop(shard: Shard, tenant: str) -> bool:
    """What waits for it goes in the passes that follow. Returns whether there was one."""
    async with shard.client.pipeline(transaction=True) as pipe:
        pipe.hdel(keys.key(shard.number, "hook"), tenant)
        pipe.hincrby(keys.key(shard.number, "meta"), VERSION, 1)
        gone, _ = await cast("Awaitable[tuple[int, int]]", pipe.execute())
    return bool(gone)


async def hook(shard: Shard, tenant: str) -> Hook | None:
    """One tenant's."""
    text = await cast("Awaitable[bytes | None]", shard.client.hget(keys.key(shard.number, "hook"), tenant))
    return msgspec.json.decode(text, type=Hook) if text else None


async def changed(shard: Shard, version: int) -> tuple[int, dict[str, Hook]] | None:
    """All that there are, with their version; None: it is that version still."""
    meta = keys.key(shard.number, "meta")
    if int(await cast("Awaitable[bytes | None]", shard.client.hget(meta, VERSION)) or 0) == version:
        return None
    async with shard.client.pipeline(transaction=True) as pipe:
        pipe.hget(meta, VERSION)
        pipe.hgetall(keys.key(shard.number, "hook"))
        now, found = await cast("Awaitable[tuple[bytes | None, dict[bytes, bytes]]]", pipe.execute())
    return int(now or 0), {name.decode(): msgspec.json.decode(text, type=Hook) for name, text in found.items()}
