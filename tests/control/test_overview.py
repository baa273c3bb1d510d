"""What moves in a store: rates, providers, tenants with most to send, what binds."""

from pathlib import Path

from redis.asyncio import Redis

from smsd.config import load
from smsd.control.overview import overview
from smsd.control.revision import publish
from smsd.store import holds
from smsd.store.shard import Shard
from tests.support.config import config, write
from tests.support.world import World


async def test_a_store_at_rest_has_nothing_to_tell(redis: Redis, tmp_path: Path) -> None:
    """No rate, nobody who waits, and each provider of the config with all its room."""
    mine, shards = config(tmp_path), [Shard(redis)]
    await publish(mine, shards)
    now = await overview(mine, shards)
    assert (now.per_s, now.tenants, now.binds) == ({}, [], [])
    (one,) = now.providers
    assert (one.name, one.health, one.in_flight, one.max_in_flight, one.answer_ms) == ("main", "ok", 0, 64, None)


async def test_what_waits_and_what_binds_is_counted(redis: Redis, tmp_path: Path) -> None:
    """The tenant with the most comes first; a limit says how many lanes wait at it and when it opens."""
    path = write(tmp_path, extra='[tenants.blast]\nlimits = ["1/m"]\n')
    mine, world = load(path, {}), World(redis)
    await publish(mine, [world.shard])
    for i in range(5):
        await world.send("blast", f"m{i}", "marketing")
    await world.send("small", "m")
    first, second = await world.take(2)
    world.pass_time(30_000)
    for leased in (first, second):
        await world.accept(leased)
    await world.take(1)
    now = await overview(mine, [world.shard])
    assert [(one.tenant, one.queued) for one in now.tenants] == [("blast", 4)]
    (bind,) = now.binds
    assert (bind.scope, bind.limit, bind.lanes) == ("t:blast", "1/m", 1)
    assert bind.opens_ms > world.now // 1000
    assert now.per_s == {"queued": 0.6, "submitted": 0.2}
    (provider,) = now.providers
    assert (provider.submitted_per_s, provider.answer_ms) == (0.2, 30.0)


async def test_a_paused_provider_says_why(redis: Redis, tmp_path: Path) -> None:
    """Whoever looks sees who holds the messages back."""
    mine, shards = config(tmp_path), [Shard(redis)]
    await publish(mine, shards)
    await holds.pause(shards[0], "p:main", reason="no funds", by="ann")
    (one,) = (await overview(mine, shards)).providers
    assert (one.health, one.why) == ("paused", "no funds")


async def test_old_events_count_for_no_rate(redis: Redis, tmp_path: Path) -> None:
    """A rate is of the last ten seconds: what was written before them is none."""
    mine, world = config(tmp_path), World(redis)
    await publish(mine, [world.shard])
    await redis.xadd("smsd:{0}:events", {"state": "queued", "tenant": "a", "id": "m"}, id="1700000000000-0")
    assert (await overview(mine, [world.shard])).per_s == {}
