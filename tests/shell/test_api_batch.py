"""How entries of many requests share the calls of the store, on a real one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from smsd.message import Entry
from smsd.shell import api_batch as module
from smsd.shell.api_batch import BATCH, NOT_TRIED, UNSURE, Batch
from smsd.shell.metrics import Metrics
from tests.support.valkey import Valkey
from tests.support.world import World, ask


@pytest.fixture
def world(redis: Redis) -> World:
    return World(redis)


@pytest.fixture
def batch(world: World) -> Batch:
    return Batch(world.shard, Metrics())


async def calls(world: World) -> int:
    """How often scripts were called."""
    stats: Any = await world.client.info("commandstats")  # pyright: ignore[reportUnknownMemberType]
    return stats.get("cmdstat_evalsha", {}).get("calls", 0)


async def test_concurrent_requests_share_calls(world: World, batch: Batch) -> None:
    """A hundred that come at once need a few calls, and each hears of its own."""
    await world.send("acme", "first")  # the script is known now
    before = await calls(world)
    entries = [world.message("acme", f"m-{i}") for i in range(99)]
    words = await asyncio.gather(*[batch.put([one]) for one in entries], batch.put([entries[0], entries[1]]))
    assert words == [["taken"]] * 99 + [["repeated", "repeated"]]
    assert await calls(world) - before <= 4


async def test_a_long_list_goes_in_pieces_and_others_between_them(world: World, batch: Batch) -> None:
    """Of one list the order holds over its pieces; one that comes later waits for no more than those before it."""
    long: list[Entry] = [world.message("acme", f"m-{i}") for i in range(3 * BATCH)]
    long.append(world.message("acme", "last", replaces="m-0"))
    words, short = await asyncio.gather(batch.put(long), batch.put([world.message("acme", "short")]))
    assert words == ["taken"] * len(long)
    assert short == ["taken"]
    assert await world.states("acme/m-0") == ["queued", "cancelled"]


async def test_a_store_that_cannot_take_it_is_away(start_valkey: Callable[..., Valkey]) -> None:
    """Without memory for it nothing is taken, whoever waits hears of it, and what comes later is tried anew."""
    client = Redis.from_url(start_valkey().url)
    world = World(client)
    batch = Batch(world.shard, Metrics())
    await client.config_set("maxmemory", "1")
    for _ in range(2):
        assert await batch.put([world.message("acme", "m")]) == [UNSURE]
    await client.config_set("maxmemory", "0")
    assert await batch.put([world.message("acme", "m")]) == ["taken"]
    await client.aclose()


async def test_a_list_of_which_the_store_takes_a_part(start_valkey: Callable[..., Valkey]) -> None:
    """What was taken, what the store was given, and what it was not is told apart; the same list again is harmless."""
    client = Redis.from_url(start_valkey().url)
    world = World(client)
    batch = Batch(world.shard, Metrics())
    many: list[Entry] = [world.message("acme", f"m-{i}", body="x" * 1000) for i in range(10 * BATCH)]
    memory: Any = await client.info("memory")  # pyright: ignore[reportUnknownMemberType]
    await client.config_set("maxmemory", memory["used_memory"] + 1_000_000)
    words = await batch.put(many)
    taken = words.count("taken")
    assert (0 < taken < 9 * BATCH, taken % BATCH) == (True, 0)
    assert words == ["taken"] * taken + [UNSURE] * BATCH + [NOT_TRIED] * (9 * BATCH - taken)
    await client.config_set("maxmemory", "0")
    assert await batch.put(many) == ["repeated"] * taken + ["taken"] * (10 * BATCH - taken)
    await client.aclose()


async def test_who_waits_too_long_is_let_go(
    world: World, batch: Batch, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow store is told of in time; what was not handed over by then never is."""
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    await ask(redis, "CLIENT", "PAUSE", 400, "WRITE")
    first, second = batch.put([world.message("acme", "a")]), batch.put([world.message("acme", "b")] * (BATCH + 1))
    assert await asyncio.gather(first, second) == [[UNSURE], [UNSURE] * (BATCH - 1) + [NOT_TRIED] * 2]
    await ask(redis, "CLIENT", "UNPAUSE")
    monkeypatch.setattr(module, "ANSWER_S", 10.0)
    assert await batch.put([world.message("acme", "c")]) == ["taken"]


async def test_too_many_are_turned_away(world: World, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog that the store does not keep up with has an end."""
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    three = [world.message("acme", f"m-{i}") for i in range(3)]
    assert await batch.put(three) == [NOT_TRIED] * 3
    assert await batch.put(three[:2]) == ["taken", "taken"]
