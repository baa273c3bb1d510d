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
        (Wanted(ids=frozenset(["4000-0", "1000-0@0", "2000-0@1", "no name"])), "14"),
        (Wanted(ids=frozenset(["4000-0", "1000-0"]), tenant="acme", before_ms=2000), "1"),
        (Wanted(tenant="nobody"), ""),
    ],
)
async def test_what_is_wanted_is_found(shards: list[Shard], wanted: Wanted, times: str) -> None:
    """All that is asked for holds, and the oldest comes first."""
    assert "".join(str(one.at_ms // 1000) for one in await dead.found(shards, wanted)) == times


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("read", [1, 2, 9])
async def test_pages_show_each_entry_once(
    shards: list[Shard], redis: Redis, monkeypatch: pytest.MonkeyPatch, newest: bool, most: int, read: int
) -> None:
    """Over all shards in order, also where two have the same id, however few are read or shown at once."""
    monkeypatch.setattr(dead, "READ_MAX", read)
    await redis.xadd(keys.key(1, "dead"), {"reason": "internal"}, id="5000-0")
    await redis.xadd(keys.key(0, "dead"), {"reason": "internal"}, id="5000-0")
    seen: list[str] = []
    after, more = "", True
    while more:
        page = await dead.page(shards, Wanted(since_ms=2000, before_ms=6000), most, after=after, newest=newest)
        assert (len(page.dead) <= most, page.kept) == (True, 6)
        seen += [dead.name_of(one, 2) for one in page.dead]
        after, more = page.next, bool(page.next)
    all_ = ["2000-0@0", "3000-0@1", "4000-0@1", "5000-0@0", "5000-0@1"]
    assert seen == (all_[::-1] if newest else all_)


@pytest.mark.parametrize(
    ("after", "newest", "times"), [("2000-0", False, "34"), ("3000-0", True, "21"), ("1-0", False, "234")]
)
async def test_a_page_begins_where_time_and_name_say(shards: list[Shard], after: str, newest: bool, times: str) -> None:
    """A name needs no shard, and a bound of time that is narrower holds."""
    since = 2000 if after == "1-0" else 0
    page = await dead.page(shards, Wanted(since_ms=since), 9, after=after, newest=newest)
    assert "".join(str(one.at_ms // 1000) for one in page.dead) == times


async def test_one_is_shown_whole(shards: list[Shard]) -> None:
    """With what it says to whom only where that is asked for; by its name, in its shard or in any."""
    letter = await dead.show(shards, "3000-0", private=False)
    assert letter is not None
    assert (letter.shard, letter.tenant, letter.fields["reason"], letter.hidden) == (1, "other", "unroutable", {})
    assert await dead.show(shards, "3000-0@0", private=True) is None


async def test_redriving_and_purging_are_exact(shards: list[Shard], redis: Redis) -> None:
    """What was found is acted on once, whoever else does the same, and what has no inbox stays."""
    these = await dead.found(shards, Wanted())
    assert await dead.redrive(shards, these) == Redriven(redriven=3, gone=0, left=1)
    assert await dead.redrive(shards, these) == Redriven(redriven=0, gone=3, left=1)
    assert await redis.xlen(keys.inbox(1, "marketing")) == 1
    assert await dead.purge(shards, these) == 1
    assert await dead.found(shards, Wanted()) == []
