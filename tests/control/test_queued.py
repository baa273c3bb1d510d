"""What waits under a name, over all shards."""

from zlib import crc32

from redis.asyncio import Redis

from smsd.control.holding import Target
from smsd.control.queued import queued
from tests.support.world import World


async def test_every_shard_is_counted(redis: Redis) -> None:
    """A class lies in all shards, a tenant in its own."""
    worlds = [World(redis, number) for number in range(3)]
    for tenant in ("a", "b", "c", "d", "e"):
        await worlds[crc32(tenant.encode()) % 3].send(tenant, "m1", "marketing", campaign="spring")
    shards = [world.shard for world in worlds]
    targets = [Target(), Target(class_="marketing"), Target(tenant="b"), Target(tenant="b", campaign="spring")]
    assert [await queued(shards, target) for target in targets] == [5, 5, 1, 1]
