"""Facts are gathered once, under the config that is in force."""

import time
from pathlib import Path

from redis.asyncio import Redis

from smsd.control.doctor_facts import gather
from smsd.control.revision import publish
from smsd.store.shard import Shard
from tests.support.config import config


async def test_facts_are_of_the_config_in_force(redis: Redis, tmp_path: Path) -> None:
    """A host whose file was superseded is looked at by what holds, and both clocks are read at one moment."""
    shard = Shard(redis)
    await publish(config(tmp_path, extra="[classes.otp]\n"), [shard])
    facts = await gather(config(tmp_path), [shard])
    assert "otp" in facts.config.classes
    assert facts.standing.revision == 1
    assert abs(facts.now_us - facts.server_us) < 500_000
    assert abs(facts.now_ms - time.time_ns() // 1_000_000) < 5000
    assert (await gather(config(tmp_path), [shard], now_us=7)).now_us == 7
