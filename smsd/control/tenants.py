"""Tenants' settings that are made by command or API: kept in the store, in force before the file's, field by field.

A change is judged by the config that is in force, written with what the scripts read of it in one step, and followed by
every process within a second. Never touches a message: what is queued goes on under the new settings.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import cast
from zlib import crc32

import msgspec

from smsd.config import Config, ConfigErrors, Mistake, TenantConfig, compiled_tenant, tenant_settings
from smsd.control.made import Table, read
from smsd.control.revision import in_force
from smsd.store import keys
from smsd.store.shard import Shard

BATCH = 200  # tenants in one call of the store
SLICE = 25  # that are judged in one go: meanwhile this process does nothing else


class Tenants:
    """The settings of all tenants. `config`: this host's, for what it does not share."""

    def __init__(self, config: Config, shards: Sequence[Shard]) -> None:
        self._config, self._shards = config, shards

    async def show(self, tenant: str) -> Table | None:
        """What was made for this tenant, as it was written; None: nothing."""
        shard = self._shard_of(tenant)
        asked = shard.client.hget(keys.key(shard.number, "tenant"), tenant)
        text = await cast("Awaitable[bytes | None]", asked)
        return msgspec.json.decode(text, type=dict[str, object]) if text else None

    async def put(self, tenant: str, table: Table) -> None:
        """In the place of all that was made for it before. Raises ConfigErrors, with a path for each mistake."""
        await self.put_many({tenant: table})

    async def put_many(self, tables: Mapping[str, Table | None]) -> None:
        """Each as `put`, or (None) as `drop`; every one is judged before the first is written. Raises ConfigErrors."""
        for shard in self._shards:
            mine = {name: table for name, table in tables.items() if self._shard_of(name) is shard}
            await self._judged(shard, mine)
        for shard in self._shards:
            mine = [pair for pair in tables.items() if self._shard_of(pair[0]) is shard]
            for at in range(0, len(mine), BATCH):
                await self._write(shard, dict(mine[at : at + BATCH]))

    async def put_each(self, tables: Mapping[str, Table]) -> dict[str, list[Mistake]]:
        """Each as `put`, whatever the others are. Returns the mistakes of those that were not put."""
        wrong: dict[str, list[Mistake]] = {}
        while True:
            wrong |= await self.mistakes({name: table for name, table in tables.items() if name not in wrong})
            try:
                await self.put_many({name: table for name, table in tables.items() if name not in wrong})
            except ConfigErrors:  # of a config that was put in force since
                continue
            return wrong

    async def mistakes(self, tables: Mapping[str, Table]) -> dict[str, list[Mistake]]:
        """What the config in force does not allow, of each tenant where there is such a thing."""
        rules = {shard.number: (await in_force(self._config, shard))[1] for shard in self._shards}
        wrong: dict[str, list[Mistake]] = {}
        for i, (name, table) in enumerate(tables.items()):
            if i % SLICE == 0:
                await asyncio.sleep(0)
            try:
                tenant_settings(rules[self._shard_of(name).number], name, table)
            except ConfigErrors as errors:
                wrong[name] = list(errors.mistakes)
        return wrong

    async def drop(self, tenant: str) -> bool:
        """What was made for it goes, and no message: it goes on under the file's or the default settings."""
        there = await self.show(tenant) is not None
        if there:
            await self.put_many({tenant: None})
        return there

    async def _write(self, shard: Shard, tables: Mapping[str, Table | None]) -> None:
        version = -1
        while version < 0:  # another config was put in force between our look and our write: it judges
            revision, config = await self._judged(shard, tables)
            words: list[bytes | str] = []
            for name, table in tables.items():
                limits = compiled_tenant(config, name)
                words += [name, msgspec.json.encode(table) if table is not None else b""]
                words += [msgspec.msgpack.encode(limits) if limits is not None else b""]
            version = int(await shard.run("tenant", revision, *words))

    async def _judged(self, shard: Shard, tables: Mapping[str, Table | None]) -> tuple[int, Config]:
        """The config in force with these settings, and its revision."""
        revision, config = await in_force(self._config, shard)
        made: dict[str, TenantConfig] = {}
        for i, (name, table) in enumerate(tables.items()):
            if i % SLICE == 0:
                await asyncio.sleep(0)
            if table is not None:
                made[name] = tenant_settings(config, name, table)
        return revision, config.with_made(made)

    def _shard_of(self, tenant: str) -> Shard:
        return self._shards[crc32(tenant.encode()) % len(self._shards)]


async def config_for(local: Config, shard: Shard, tenant: str) -> Config:
    """What holds for one tenant: the config in force, with what was made for it. `local`: this host's."""
    _, config = await in_force(local, shard)
    asked = shard.client.hget(keys.key(shard.number, "tenant"), tenant)
    text = await cast("Awaitable[bytes | None]", asked)
    return config.with_made(read(config, {tenant: msgspec.json.decode(text)})) if text else config
