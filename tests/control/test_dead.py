"""Dead entries of all shards, found by what they are."""

from typing import Any

import pytest
from redis.asyncio import Redis

from smsd.control import dead
from smsd.control.dead import Redriven, Wanted
from smsd.store import keys
from smsd.store.shard import Shard

ENTRIES = [
    (0, "1000-0", "acme", "bad_number", "reminder"),
    (0, "2000-0", "acme", "unroutable", "marketing"),
    (1, "3000-0", "other", "unroutable", "marketing"),
    (1, "4000-0", "other", "internal", ""),
]


@pytest.fixture
async def shards(redis: Redis) -> list[Shard]:
    """Two shards with two dead entries each, the last of which came from no inbox."""
    made = [Shard(redis, number, clock_step_us=0) for number in range(2)]
    for number, id_, tenant, reason, class_ in ENTRIES:
        inbox = {"stream": keys.inbox(number, class_)} if class_ else {}
        fields: dict[Any, Any] = {"reason": reason, "at": id_.split("-")[0], "in.tenant": tenant, **inbox}
        await redis.xadd(keys.key(number, "dead"), fields, id=id_)
    return made


@pytest.mark.parametrize(
    ("wanted", "times"),
    [
        (Wanted(), "1234"),
        (Wanted(tenant="acme"), "12"),
        (Wanted(reason="unroutable"), "23"),
        (Wanted(class_="marketing", tenant="other"), "3"),
        (Wanted(since_ms=2000, before_ms=4000), "23"),
        (Wanted(ids=frozenset(["4000-0"])), "4"),
        (Wanted(tenant="nobody"), ""),
    ],
)
async def test_what_is_wanted_is_found(shards: list[Shard], wanted: Wanted, times: str) -> None:
    """All that is asked for holds, and the oldest comes first."""
    assert "".join(str(one.at_ms // 1000) for one in await dead.found(shards, wanted)) == times


async def test_redriving_and_purging_are_exact(shards: list[Shard], redis: Redis) -> None:
    """What was found is acted on once, whoever else does the same, and what has no inbox stays."""
    these = await dead.found(shards, Wanted())
    assert await dead.redrive(shards, these) == Redriven(redriven=3, gone=0, left=1)
    assert await dead.redrive(shards, these) == Redriven(redriven=0, gone=3, left=1)
    assert await redis.xlen(keys.inbox(1, "marketing")) == 1
    assert await dead.purge(shards, these) == 1
    assert await dead.found(shards, Wanted()) == []
