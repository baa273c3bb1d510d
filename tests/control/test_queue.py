"""What holds a message in the queue, reckoned from limits, places and shares."""

from pathlib import Path

from redis.asyncio import Redis

from smsd.config import load
from smsd.control.queue import hold_of, limits_of, named
from smsd.control.revision import publish
from tests.support.config import config, write
from tests.support.world import HOUR, World

SHARED = '[senders.Salon]\nlimits = ["2/s"]\n[tenants.acme]\nlimits = ["50/s"]\nclass_limits.marketing = ["1/s"]\n'


async def test_a_tenants_heavier_class_goes_before(redis: Redis, tmp_path: Path) -> None:
    """At the tenant's limit its reminders count before its marketing, whatever their deadlines; not the other way."""
    world, mine = World(redis), config(tmp_path, extra='[tenants.acme]\nlimits = ["1/s"]\n')
    await publish(mine, [world.shard])
    await world.send("acme", "ad", "marketing", deadline=world.now + HOUR)
    for i in range(30):
        await world.send("acme", f"r{i}", deadline=world.now + 2 * HOUR)
    ad, last = await world.shard.record("acme/ad"), await world.shard.record("acme/r29")
    assert ad is not None
    assert last is not None
    (slow,) = await hold_of(mine, world.shard, "acme/ad", ad, world.now)
    (fast,) = await hold_of(mine, world.shard, "acme/r29", last, world.now)
    assert slow.until_ms is not None
    assert fast.until_ms is not None
    assert slow.until_ms > fast.until_ms > world.now // 1000 + 25_000


async def test_each_limit_has_its_scope(redis: Redis, tmp_path: Path) -> None:
    """A tenant's, its class's and its sender's; a scope without a limit is none."""
    mine = config(tmp_path, extra=SHARED)
    assert list(limits_of(mine, "acme", "marketing", "Salon")) == ["t:acme", "c:acme|marketing", "s:Salon"]
    assert list(limits_of(mine, "acme", "reminder", "Other")) == ["t:acme"]
    assert named("c:acme|marketing") == "tenant acme's limit for marketing"


async def test_a_busy_route_is_shared(redis: Redis, tmp_path: Path) -> None:
    """With a provider's limit and many tenants at work, a flow's part of the route is what its message waits for."""
    world = World(redis)
    path = write(tmp_path)
    path.write_text(path.read_text().replace("timeout_s = 2", 'timeout_s = 2\nlimits = ["10/s"]'))
    limited = load(path, {})
    await publish(limited, [world.shard])
    for i in range(100):
        await world.send("acme", f"m{i}", deadline=world.now + HOUR)
    for tenant in range(4):
        await world.send(f"t{tenant}", "m")
    record = await world.shard.record("acme/m99")
    assert record is not None
    (hold,) = await hold_of(limited, world.shard, "acme/m99", record, world.now)
    assert (hold.kind, hold.estimate) == ("queue", True)
    assert hold.until_ms == world.now // 1000 + 50_000
