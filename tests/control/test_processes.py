"""What processes say of themselves: the last word of each, and nobody who is gone for long."""

from typing import Any

import pytest
from redis.asyncio import Redis

from smsd.control import processes
from smsd.control.processes import Process, leave, tell
from smsd.store import keys
from smsd.store.shard import Shard

AT_MS = 1_700_000_000_000


def process(name: str, at_ms: int = AT_MS, **more: Any) -> Process:
    values: dict[str, Any] = {
        "host": "a",
        "pid": 1,
        "version": "1",
        "since_ms": AT_MS,
        "revision": 3,
        "file": "in_force",
    } | more
    return Process(process=name, at_ms=at_ms, **values)


async def names(shard: Shard, now_ms: int) -> list[str]:
    return [one.process for one in await processes.processes(shard, now_ms)]


async def test_the_last_word_of_each_is_kept(redis: Redis) -> None:
    """A process that says something new replaces what it said before; one that ends is not told of."""
    shard = Shard(redis)
    await tell(shard, process("b"))
    await tell(shard, process("a"))
    newer = process("a", AT_MS + 10, revision=4, file="superseded", why="because")
    await tell(shard, newer)
    assert await processes.processes(shard, AT_MS) == [newer, process("b")]
    await leave(shard, "a")
    assert await names(shard, AT_MS) == ["b"]


async def test_who_is_silent_is_told_and_then_forgotten(redis: Any) -> None:
    """A process that crashed is silent for a while, and the next one that speaks drops it from the store."""
    shard = Shard(redis)
    await tell(shard, process("crashed"))
    (one,) = await processes.processes(shard, AT_MS + processes.SILENT_MS)
    assert one.silent_ms(AT_MS + processes.SILENT_MS) == processes.SILENT_MS
    assert one.silent_ms(AT_MS + 1000) == 0
    late = AT_MS + processes.GONE_MS + 1
    assert await names(shard, late) == []
    await tell(shard, process("well", late))
    assert await redis.hkeys(keys.key(0, "procs")) == [b"well"]


async def test_their_number_is_bounded(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a process crashes at its start, only the latest names stay; what nobody can read goes too."""
    monkeypatch.setattr(processes, "MOST", 3)
    shard = Shard(redis)
    await redis.hset(keys.key(0, "procs"), "odd", "{")
    for n in range(5):
        await tell(shard, process(f"p{n}", AT_MS + n))
    assert sorted(await redis.hkeys(keys.key(0, "procs"))) == [b"p2", b"p3", b"p4"]
