"""How a store stands: each number is that of what was put there, over all shards, under the config in force."""

from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from smsd.control import processes
from smsd.control.revision import publish
from smsd.control.standing import Group, standing
from smsd.shell.live import Live, agree
from smsd.shell.presence import Presence
from smsd.store import keys
from smsd.store.holds import Pause, pause, withdraw
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.world import HOUR, SECOND, World


async def test_an_empty_store_stands_still(redis: Redis, tmp_path: Path) -> None:
    """Where nobody ever worked, nothing waits, nobody reads and no config was published."""
    now = await standing(config(tmp_path), [Shard(redis)])
    assert (now.revision, now.config_is_file, now.sandbox) == (0, False, False)
    assert now.backlog == now.inbox == {"reminder": 0, "marketing": 0}
    assert (now.in_flight, now.dead, now.events, now.groups, now.processes) == ({"main": 0}, 0, 0, [], [])
    assert now.store.startswith("Valkey ")
    assert now.store_memory_bytes > 100_000


async def test_everything_is_counted_where_it_is(redis: Any, tmp_path: Path) -> None:
    """Queued, due later, in flight, in the inbox, dead, paused: over two shards each is summed."""
    worlds, mine = [World(redis, number) for number in range(2)], config(tmp_path)
    await publish(mine, [world.shard for world in worlds])
    for world in worlds:
        await world.send("acme", "a")
        await world.send("acme", "b")
        await world.send("acme", "later", "marketing", not_before=world.now + HOUR)
        await world.take(1)
        world.pass_time(30 * SECOND)
        await redis.xadd(keys.inbox(world.shard.number, "marketing"), {"tenant": "acme"})
        await redis.xadd(keys.key(world.shard.number, "dead"), {"reason": "bad_number"})
    until_us = worlds[0].now + HOUR
    await pause(worlds[1].shard, "c:marketing", until_us=until_us, reason="a holiday", by="kim")
    await pause(worlds[0].shard, "t:over", until_us=worlds[0].now - 1)
    await withdraw(worlds[0].shard, "t:acme")
    now = await standing(mine, [world.shard for world in worlds])
    assert now.config_is_file
    assert (now.backlog, now.inbox) == ({"reminder": 2, "marketing": 2}, {"reminder": 0, "marketing": 2})
    assert (now.in_flight, now.dead, now.oldest_s) == ({"main": 2}, 2, {"reminder": 30.0, "marketing": 0.0})
    assert now.paused == [Pause("c:marketing", until_us, worlds[1].now, "kim", "a holiday")]
    assert (now.withdrawing, now.withdrawn) == (["t:acme"], 1)
    assert list(now.backlog) == ["reminder", "marketing"], "the heavier class is first"


async def test_readers_of_events_and_how_far_behind_they_are(redis: Any, tmp_path: Path) -> None:
    """Each consumer group of the events is told with what it has not read and not acknowledged."""
    world = World(redis)
    await world.put()
    await redis.xgroup_create(keys.key(0, "events"), "rails", "0", mkstream=True)
    for id_ in ("a", "b", "c"):
        await world.send("acme", id_)
    await redis.xreadgroup("rails", "one", {keys.key(0, "events"): ">"}, count=1)
    (group,) = (await standing(config(tmp_path), [world.shard])).groups
    assert group == Group(stream="events", shard=0, group="rails", consumers=1, pending=1, lag=2)


async def test_the_config_in_force_names_the_classes(redis: Redis, tmp_path: Path) -> None:
    """A host whose file was superseded shows the classes and providers that are at work, not its own."""
    shard = Shard(redis)
    await publish(config(tmp_path, extra="[classes.otp]\nweight = 50\n"), [shard])
    now = await standing(config(tmp_path), [shard])
    assert list(now.backlog) == ["otp", "reminder", "marketing"]
    assert not now.config_is_file


async def test_drift_is_who_works_by_something_else(redis: Redis, tmp_path: Path) -> None:
    """A process with an older revision or another file is drift, one that has followed is none."""
    live = Live(config(tmp_path, limit="5/s"), [Shard(redis)])
    await agree(live)
    await Presence(live).tell()
    now = await standing(live.config, live.shards)
    assert [one.process for one in now.processes] == [live.process]
    assert now.drift == []
    newer = config(tmp_path, limit="9/s")
    await publish(newer, live.shards)
    (behind,) = (await standing(newer, live.shards)).drift
    assert (behind.revision, behind.file) == (1, "in_force")
    assert processes.SILENT_MS > processes.TELL_S * 1000
