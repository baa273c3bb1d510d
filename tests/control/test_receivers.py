"""How receivers stand over shards, and what a replay would tell."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.control import receivers as module
from smsd.control.receivers import count, enable, receiver, receivers, replay
from smsd.store import keys
from smsd.store.push import Shut, gaps
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.pushing import ENV, endpoint

URL = "https://rails.example.com/events"


async def tell(redis: Redis, shard: int, at_ms: int, tenant: str = "acme", state: str = "delivered") -> None:
    fields = {"event_id": f"{tenant}/m/1", "tenant": tenant, "state": state, "at": "1"}
    await redis.xadd(keys.key(shard, "events"), fields, id=f"{at_ms}-*")  # pyright: ignore[reportArgumentType]


async def test_each_is_told_of_over_all_shards(redis: Redis, tmp_path: Path) -> None:
    """What waits is added up, the oldest is the oldest of all, and who is shut anywhere is disabled."""
    told = config(tmp_path, env=ENV, extra=endpoint("a", URL) + endpoint("b", URL))
    shards = [Shard(redis, 0), Shard(redis, 1)]
    for shard, at_ms in ((0, 5000), (1, 2000)):
        await redis.zadd(keys.key(shard, "push"), {f"a\0{at_ms * 1000:016d}\0{at_ms}-0\0000\0000": 0})
        shards[shard].now_us = 12_000_000
    shut = Shut(7, "it answered 410 Gone", URL)
    await redis.hset(keys.key(1, "shut"), "b", f'{{"at_ms":{shut.at_ms},"why":"{shut.why}"}}')
    a, b = await receivers(told, shards)
    assert (a.name, a.waiting, a.oldest_s, a.disabled_at_ms, a.url) == ("a", 2, 10, 0, "https://rails.example.com")
    assert (b.waiting, b.disabled_at_ms, b.why) == (0, 7, "it answered 410 Gone")
    assert await enable(shards, "b")
    assert not await enable(shards, "b")
    assert await receivers(config(tmp_path), shards) == []


async def test_a_replay_counts_what_it_would_tell(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By time, tenant and state, over shards and pages; beyond its bound it says that there are more."""
    monkeypatch.setattr(module, "PAGE", 2)
    one = receiver(config(tmp_path, env=ENV, extra=endpoint("a", URL)), "a")
    shards = [Shard(redis, 0), Shard(redis, 1)]
    for at_ms in range(1000, 1006):
        await tell(redis, at_ms % 2, at_ms)
        await tell(redis, at_ms % 2, at_ms, "other")
        await tell(redis, at_ms % 2, at_ms, state="queued")
    found = await count(one, shards, 1001, 1005, "*")
    assert (found.events, found.at_least, found.first_ms) == (8, False, 1000)
    assert (await count(one, shards, 1001, 1005, "acme")).events == 4
    monkeypatch.setattr(module, "LOOKED_MOST", 2)
    assert (await count(one, shards, 1001, 1005, "*")).at_least
    assert await replay(one, shards, 1001, 1005, "acme")
    assert not await replay(one, shards, 1001, 1005, "*")
    assert [gap.tenant for shard in shards for gap in await gaps(shard)] == ["acme", "acme"]
