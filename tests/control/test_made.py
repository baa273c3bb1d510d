"""What was made for tenants, as processes read it: all at first, then what has changed."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.control.made import changed, made, read
from smsd.control.revision import publish
from smsd.control.tenants import Tenants
from smsd.store import keys
from smsd.store.shard import Shard
from tests.support.config import config


@pytest.fixture
async def shard(redis: Redis, tmp_path: Path) -> Shard:
    one = Shard(redis)
    await publish(config(tmp_path), [one])
    return one


@pytest.fixture
def tenants(shard: Shard, tmp_path: Path) -> Tenants:
    return Tenants(config(tmp_path), [shard])


async def test_only_what_changed_is_read(shard: Shard, tenants: Tenants) -> None:
    """From one version to the next: what was made, and (None) what was dropped."""
    assert await changed(shard, 0) is None
    await tenants.put_many({"a": {"region": "FI"}, "b": {"region": "FI"}})
    first = await made(shard)
    await tenants.put("c", {"region": "IE"})
    await tenants.drop("a")
    news = await changed(shard, first.version)
    assert news is not None
    assert (dict(news.tables), news.whole) == ({"c": {"region": "IE"}, "a": None}, False)
    assert await changed(shard, news.version) is None


async def test_who_has_missed_too_much_reads_all(shard: Shard, tenants: Tenants, redis: Redis) -> None:
    """Of dropped tenants only the last ten thousand are remembered; a process from before hears of everything."""
    await tenants.put("a", {"region": "FI"})
    await tenants.put_many({f"t{i}": {"region": "FI"} for i in range(200)})
    await redis.zadd(keys.key(0, "tenantat"), {f"gone{i}": 1 for i in range(10_001)})
    await tenants.put("b", {"region": "IE"})
    news = await changed(shard, 0)
    assert news is not None
    assert news.whole
    assert len(news.tables) == 202


async def test_what_another_release_wrote_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """A key that this release does not know takes nothing away from those that it knows."""
    (one,) = read(config(tmp_path), {"a": {"region": "FI", "colour": "red"}, "gone": None}).values()
    assert one.region == "FI"
