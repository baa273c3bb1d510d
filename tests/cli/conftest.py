"""What tests of commands share: commands typed against a real store, and a world of messages in it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.support.config import write
from tests.support.running import Said, smsd
from tests.support.world import World


@pytest.fixture
async def world(redis: Redis) -> World:
    """A shard with settings in force and no messages."""
    made = World(redis)
    await made.put()
    return made


@pytest.fixture
def typed(tmp_path: Path, store_url: str) -> Callable[..., Said]:
    """Runs a command on that store: its words in one line, then such as have blanks."""
    config = write(tmp_path, store=store_url)
    return lambda line, *more: smsd(*line.split(), *more, "--config", str(config))
