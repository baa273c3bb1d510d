"""The settings of tenants that lie in a shard, as they were made, and what has changed since a look.

Never judges them: who made them did (tenants.py). A version counts the changes of each shard.
"""

from collections.abc import Awaitable, Mapping
from typing import cast

import msgspec

from smsd.config import Config, TenantConfig, tenant_settings
from smsd.store import keys
from smsd.store.shard import Shard

Table = Mapping[str, object]
"""Settings as [tenants.NAME] of smsd.toml has them: limits, class_limits, plan, sender, region, route, and so on."""


class Made(msgspec.Struct, frozen=True):
    """Settings of tenants of one shard, at a version. None: they were dropped."""

    version: int
    tables: dict[str, Table | None]
    whole: bool  # whether these are all


async def made(shard: Shard) -> Made:
    """All that there is."""
    pipe = shard.client.pipeline(transaction=True)
    pipe.hget(keys.key(shard.number, "meta"), "tenants")
    pipe.hgetall(keys.key(shard.number, "tenant"))
    version, found = cast("tuple[bytes | None, dict[bytes, bytes]]", tuple(await pipe.execute()))
    return Made(int(version or 0), {name.decode(): _table(text) for name, text in found.items()}, whole=True)


async def changed(shard: Shard, version: int) -> Made | None:
    """What was made after a version, or all where that is too long ago; None: nothing."""
    meta = keys.key(shard.number, "meta")
    asked = await cast("Awaitable[list[bytes | None]]", shard.client.hmget(meta, ["tenants", "tenants:floor"]))
    now, floor = (int(value or 0) for value in asked)
    if now == version:
        return None
    if version < floor or now < version:  # of which too many were dropped; the store has lost what it knew
        return await made(shard)
    at = keys.key(shard.number, "tenantat")
    found = shard.client.zrangebyscore(at, f"({version}", now)  # pyright: ignore[reportUnknownMemberType]
    names = await cast("Awaitable[list[bytes]]", found)
    if not names:
        return Made(now, {}, whole=False)
    key = keys.key(shard.number, "tenant")
    texts = await cast("Awaitable[list[bytes | None]]", shard.client.hmget(key, [name.decode() for name in names]))
    tables = {name.decode(): _table(text) if text else None for name, text in zip(names, texts, strict=True)}
    return Made(now, tables, whole=False)


def read(config: Config, tables: Mapping[str, Table | None]) -> dict[str, TenantConfig]:
    """As far as this release can read them: another may have written them."""
    given = {name: table for name, table in tables.items() if table is not None}
    return {name: tenant_settings(config, name, table, strict=False) for name, table in given.items()}


def _table(text: bytes) -> Table:
    return msgspec.json.decode(text, type=dict[str, object])
