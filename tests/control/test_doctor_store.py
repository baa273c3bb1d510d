"""Each fault of a store is made for real, found, and told with its mend; a store without it has no finding."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from smsd.control import doctor_store as store
from smsd.control.doctor_facts import Facts, Finding
from smsd.store import keys
from tests.support.config import config
from tests.support.valkey import Valkey
from tests.support.world import World, ask

Look = Callable[..., Awaitable[Facts]]
Start = Callable[..., Valkey]
OLD_MS = 1_600_000_000_000


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    assert finding.mend
    return finding


@asynccontextmanager
async def client(server: Valkey) -> AsyncIterator[Any]:
    made = Redis.from_url(server.url)
    yield made
    await made.aclose()


async def test_clocks_that_differ(look: Look) -> None:
    """A host whose clock is seconds from the store's is told by how much and which way; a true clock is well."""
    facts = await look()
    assert await store.clock(facts) == []
    ahead = one(await store.clock(await look(now_us=facts.server_us + 600_000_000))).what
    assert re.search(r"(600\.0|59\d\.\d) s ahead of", ahead), ahead  # less what passed between the two looks
    assert "s behind the store's" in one(await store.clock(await look(now_us=facts.server_us - 60_000_000))).what


async def test_a_clock_that_has_gone_back(look: Look, redis: Redis) -> None:
    """A shard whose time stands still until the store's clock has come so far again is told, and for how long."""
    facts = await look()
    await ask(redis, "HSET", keys.key(0, "meta"), "hwm", str(facts.server_us + 500_000))
    assert await store.clock(facts) == []
    await ask(redis, "HSET", keys.key(0, "meta"), "hwm", str(facts.server_us + 600_000_000))
    assert "has gone back by 600 s" in one(await store.clock(facts)).what


async def test_durability(look: Look, start_valkey: Start) -> None:
    """No append-only file, and one that is never synced, are found; everysec is well."""
    assert "no append-only file" in one(await store.durability(await look())).what
    async with client(start_valkey(appendonly=True)) as good:
        assert await store.durability(await look(good)) == []
        await good.config_set("appendfsync", "no")
        assert "appendfsync no" in one(await store.durability(await look(good))).what


async def test_a_file_that_cannot_be_written(look: Look, start_valkey: Start, tmp_path: Path) -> None:
    """A failed rewrite of the append-only file is found by what the server says of it."""
    server = start_valkey(tmp_path, appendonly=True)
    async with client(server) as failing:
        facts = await look(failing)
        facts.info["aof_last_bgrewrite_status"] = "err"
        assert "aof_last_bgrewrite_status err" in one(await store.durability(facts)).what


async def test_a_replica(look: Look, start_valkey: Start) -> None:
    """A store that can only be read is found, though it answers; one that is a primary again is well."""
    async with client(start_valkey()) as server:
        assert await store.writes(await look(server)) == []
        await server.execute_command("REPLICAOF", "127.0.0.1", "1")
        assert "is a replica" in one(await store.writes(await look(server))).what
        await server.execute_command("REPLICAOF", "NO", "ONE")
        assert await store.writes(await look(server)) == []


async def test_a_primary_that_misses_its_replicas(look: Look, start_valkey: Start) -> None:
    """A store that refuses writes until replicas are there is found; one that asks for none is well."""
    async with client(start_valkey()) as server:
        await server.config_set("min-replicas-to-write", 2)
        found = one(await store.writes(await look(server)))
        assert "0 replicas that keep up, of the 2" in found.what
        assert "min-replicas-to-write 0" in found.mend
        await server.config_set("min-replicas-to-write", 0)
        assert await store.writes(await look(server)) == []


async def test_eviction(look: Look, start_valkey: Start) -> None:
    """A policy that throws keys away is found."""
    assert await store.eviction(await look()) == []
    async with client(start_valkey(maxmemory_policy="allkeys-lru")) as bad:
        assert "allkeys-lru" in one(await store.eviction(await look(bad))).what


async def test_version(look: Look) -> None:
    """A server older than the scripts need is found; the bundled one is new enough."""
    facts = await look()
    assert await store.version(facts) == []
    facts.info["redis_version"] = "6.2.14"
    assert "run Valkey 7.2" in one(await store.version(facts)).mend


async def test_memory(look: Look, start_valkey: Start, tmp_path: Path) -> None:
    """No bound, and a bound that is nearly reached, are found; the embedded store needs none."""
    file = config(tmp_path, store="redis://127.0.0.1:1/0")
    assert "no maxmemory" in one(await store.memory(await look(mine=file))).what
    assert await store.memory(await look()) == []
    async with client(start_valkey(maxmemory="12mb")) as small:
        assert await store.memory(await look(small)) == []
        for n in range(17):
            await small.set(f"filler-{n}", b"x" * 500_000)
        assert "% of its maxmemory" in one(await store.memory(await look(small))).what


async def test_streams_that_nobody_reads(look: Look, redis: Any) -> None:
    """A mistyped class, lost braces, another shard and an unknown name are each told with what would be right."""
    await redis.xadd(keys.inbox(0, "reminder"), {"tenant": "a"})
    await redis.xadd(keys.key(0, "events"), {"v": 1})
    await redis.set("smsd-other-tool", "x")
    assert await store.streams(await look()) == []
    for name in ("smsd:{0}:in:remainder", "smsd:0:in:reminder", "smsd:{1}:in:reminder", "smsd:{0}:input"):
        await redis.xadd(name, {"tenant": "a"})
    found = [finding.what for finding in await store.streams(await look())]
    assert found == [
        'nobody reads the stream "smsd:0:in:reminder" (1 entries): the braces are lost: write smsd:{0}:in:reminder, '
        "where they are part of the key",
        'nobody reads the stream "smsd:{0}:in:remainder" (1 entries): there is no class "remainder" (did you mean '
        '"reminder"?): there are reminder, marketing',
        'nobody reads the stream "smsd:{0}:input" (1 entries): no key of smsd is called so; inboxes are '
        "smsd:{N}:in:CLASS",
        'nobody reads the stream "smsd:{1}:in:reminder" (1 entries): there is no shard 1: with [store] shards = 1 it '
        "is 0 only",
    ]
    assert await store.streams(await look(shards=2)) != []


async def test_an_inbox_that_is_no_stream(look: Look, redis: Any) -> None:
    """A producer that pushes to a list under an inbox's name is told what to write, and nothing else breaks by it."""
    await redis.lpush(keys.inbox(0, "reminder"), "{}")
    facts = await look()
    assert "is a list, where smsd reads a stream" in one(await store.streams(facts)).what
    assert await store.inbox(facts) == []


async def test_many_streams_are_a_few_findings(look: Look, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names were got wrong, the answer fits on a screen; a scan ends at its bound."""
    for n in range(30):
        await redis.xadd(f"smsd:{{0}}:in:c{n}", {"tenant": "a"})
    found = await store.streams(await look())
    assert len(found) == store.SHOWN + 1
    assert found[-1].what == "20 more streams that nobody reads"
    monkeypatch.setattr(store, "SCAN_MOST", 1)
    monkeypatch.setattr(store, "SCAN_PAGE", 1)
    assert len(await store.streams(await look())) <= store.SHOWN


async def test_entries_that_wait_long(look: Look, redis: Any) -> None:
    """An old entry in an inbox is found, also one that a dead consumer has read; a new one is well."""
    name = keys.inbox(0, "reminder")
    await redis.xadd(keys.inbox(0, "marketing"), {"tenant": "a"})
    assert await store.inbox(await look()) == []
    await redis.xadd(name, {"tenant": "a"}, id=f"{OLD_MS}-1")
    assert (
        "1 entries wait in the inbox of reminder, shard 0, the first for" in one(await store.inbox(await look())).what
    )
    await redis.xgroup_create(name, keys.GROUP, "0")
    await redis.xreadgroup(keys.GROUP, "dead", {name: ">"})
    await redis.xclaim(name, keys.GROUP, "dead", 0, [f"{OLD_MS}-1"], idle=120_000)
    assert "; 1 of them were read and never settled" in one(await store.inbox(await look())).what


async def test_readers_of_events(look: Look, redis: Any, tmp_path: Path) -> None:
    """A reader near the bound, one that has lost events and one that forgot some are found; one in time is well."""
    mine = config(tmp_path, extra="[retention]\nevents_max = 1000\n")
    world, name = World(redis), keys.key(0, "events")
    await world.put()
    await redis.xgroup_create(name, "rails", "0", mkstream=True)
    await world.send("acme", "a")
    assert await store.events(await look(mine=mine)) == []
    async with redis.pipeline() as pipe:
        for _ in range(600):
            pipe.xadd(name, {"v": 1})
        await pipe.execute()
    assert "601 events behind, and 1,000 are kept" in one(await store.events(await look(mine=mine))).what
    await redis.xreadgroup("rails", "c", {name: ">"}, count=1)
    await redis.xtrim(name, maxlen=500, approximate=False)
    assert "has lost 100 events" in one(await store.events(await look(mine=mine))).what
    await redis.xreadgroup("rails", "c", {name: ">"}, count=1000)
    await redis.xack(name, "rails", *[entry for entry, _ in await redis.xrange(name)][1:])
    kept = (await redis.xrange(name, count=1))[0][0]
    await redis.xclaim(name, "rails", "c", 0, [kept], idle=store.HELD_MS + 1)
    held = one(await store.events(await look(mine=mine)))
    assert "1 events that a consumer read over an hour ago" in held.what
