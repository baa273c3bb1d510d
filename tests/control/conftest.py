"""What tests of the doctor share: facts of a store, gathered as the command does."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.config import Config
from smsd.control.doctor_facts import Facts, gather
from smsd.store.shard import Shard
from tests.support.config import config

Look = Callable[..., Awaitable[Facts]]


@pytest.fixture
def look(redis: Redis, tmp_path: Path) -> Look:
    """`await look()`: the facts of the shared server, or of another client, under a config, by a clock."""

    async def gathered(
        client: Redis | None = None, mine: Config | None = None, *, shards: int = 1, now_us: int = 0
    ) -> Facts:
        made = [Shard(client or redis, number) for number in range(shards)]
        return await gather(mine or config(tmp_path), made, now_us=now_us)

    return gathered
