"""Strict durability: what a reply says is on disk, proved by a crash of a server that syncs once a second."""

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as StoreTimeout

from smsd.store import durable, keys
from smsd.store.durable import DurableScripts
from smsd.store.shard import Offer, Shard
from tests.support.valkey import Valkey
from tests.support.world import SECOND, World


async def test_a_strict_lease_survives_a_crash_of_the_store(start_valkey: Callable[..., Valkey]) -> None:
    """After kill -9 right behind the reply, the lease is there: the append-only file had it before we were told."""
    server = start_valkey(appendonly=True, fsync="everysec")
    client = Redis.from_url(server.url)
    world = World(client)
    await world.put()
    await world.send("acme", "a1")
    strict = Shard(client, clock_step_us=0, strict=True)
    strict.now_us = world.now
    lease = await strict.lease("default", [Offer("main", 1, 10)], n=5, request="r", process="p", span_us=13 * SECOND)
    assert len(lease.messages) == 1
    server.kill()
    server.start()
    await client.connection_pool.disconnect()
    record = await world.shard.record("acme/a1")
    assert record is not None
    assert record.state == "leased"
    await client.aclose()


async def test_a_lease_that_is_asked_again_is_believed_no_sooner(
    start_valkey: Callable[..., Valkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again by another connection, which has written nothing else, a lease waits for the disk as before."""
    client = Redis.from_url(start_valkey(appendonly=True, fsync="everysec").url)
    world = World(client)
    await world.put()
    await world.send("acme", "a1")
    await client.config_set("appendfsync", "no")  # from now on nothing is ever told to be on the disk
    monkeypatch.setattr(durable, "WAIT_MS", 50)
    strict = Shard(client, clock_step_us=0, strict=True)
    strict.now_us = world.now
    for _ in range(2):
        with pytest.raises(StoreTimeout, match="append-only"):
            await strict.lease("default", [Offer("main", 1, 10)], n=5, request="r", process="p", span_us=13 * SECOND)
        await client.connection_pool.disconnect()
    record = await world.shard.record("acme/a1")
    assert record is not None
    assert record.state == "leased"
    await client.aclose()


async def test_what_is_admitted_by_no_inbox_waits_for_the_disk(start_valkey: Callable[..., Valkey]) -> None:
    """Whoever handed it over is told that it is taken, so a strict shard asks; an inbox keeps its entry anyway."""
    client = Redis.from_url(start_valkey(appendonly=True, fsync="everysec").url)
    world = World(client)
    strict = Shard(client, clock_step_us=0, strict=True)
    strict.now_us = world.now
    asked: list[int] = []
    for i, from_inbox in enumerate((True, False)):
        await strict.admit([world.message("acme", f"m-{i}")], "reminder", from_inbox=from_inbox)
        stats: Any = await client.info("commandstats")  # pyright: ignore[reportUnknownMemberType]
        asked.append(stats.get("cmdstat_waitaof", {}).get("calls", 0))
    assert asked == [0, 1]
    await client.aclose()


async def test_without_an_append_only_file_strict_calls_say_so(redis: Redis) -> None:
    """A server that keeps no file cannot promise: the call fails with the server's own words."""
    with pytest.raises(ResponseError, match="appendonly"):
        await DurableScripts(redis).run("rewake", keys.every(0), ["0", "0", "0", "0"])
