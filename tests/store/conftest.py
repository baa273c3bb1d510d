"""What the store's tests share: a shard under a virtual clock. Never a clock of its own."""

import pytest
from redis.asyncio import Redis

from tests.support.world import World


@pytest.fixture
async def world(redis: Redis) -> World:
    """An empty shard with the usual settings in force."""
    made = World(redis)
    await made.put()
    return made
