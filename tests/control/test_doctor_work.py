"""Each fault in the work is made for real, found, and told with its mend; work that goes well has no finding."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from smsd.control import doctor_work as work
from smsd.control.doctor_facts import Facts, Finding
from smsd.control.processes import Process, tell
from smsd.control.revision import publish
from smsd.shell import live as lives
from smsd.shell.live import Live
from smsd.shell.presence import Presence
from smsd.store import keys
from smsd.store.holds import pause
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.pushing import ENV, endpoint
from tests.support.world import SECOND, World

Look = Callable[..., Awaitable[Facts]]


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    assert finding.mend
    return finding


def process(**more: Any) -> Process:
    now_ms = time.time_ns() // 1_000_000
    values = {"process": "h-1-x", "host": "h", "pid": 1, "version": "1", "since_ms": now_ms, "at_ms": now_ms}
    return msgspec.convert(values | {"revision": 1, "file": "in_force"} | more, Process)


async def test_nobody_works(look: Look, redis: Redis) -> None:
    """A store without a process is found, and one whose process has gone silent; one that works is well."""
    assert one(await work.processes(await look())).what == "no process works with this store"
    await tell(Shard(redis), process())
    assert await work.processes(await look()) == []
    await tell(Shard(redis), process(process="h-2-x", pid=2, at_ms=time.time_ns() // 1_000_000 - 20_000))
    assert "1 processes have not been heard of for more than 15 s: h 2" in one(await work.processes(await look())).what


async def test_receivers_that_take_nothing(look: Look, redis: Redis, tmp_path: Path) -> None:
    """One that has not taken an event for long is found, and one that is disabled; one with a fresh event is well."""
    mine = config(tmp_path, env=ENV, extra=endpoint("platform", "https://rails.example.com/x"))
    now_ms = time.time_ns() // 1_000_000
    push = keys.key(0, "push")
    await redis.zadd(push, {f"platform\0{0:016d}\0{now_ms}-0\0000\0000": 0})
    assert await work.webhooks(await look(mine=mine)) == []
    await redis.zadd(push, {f"platform\0{1:016d}\0{now_ms - 400_000}-0\0000\0000": 0})
    assert "platform has not taken 2 events, the oldest for 40" in one(await work.webhooks(await look(mine=mine))).what
    await redis.hset(keys.key(0, "shut"), "platform", '{"at_ms":1000,"why":"it answered 410 Gone"}')
    found = one(await work.webhooks(await look(mine=mine)))
    assert "told nothing since 1970-01-01 00:00:01Z: it answered 410 Gone" in found.what
    assert "smsd webhooks enable platform" in found.mend


async def test_drift(look: Look, redis: Redis, tmp_path: Path) -> None:
    """A superseded file and a process that has not followed are found by host; a host in force is well."""
    live = Live(config(tmp_path, limit="5/s"), [Shard(redis)])
    await lives.agree(live)
    presence = Presence(live)
    await presence.tell()
    assert await work.config(await look(mine=live.local)) == []
    newer = config(tmp_path, limit="9/s")
    await publish(newer, live.shards)
    assert "works by revision 1, and 2 is in force" in one(await work.config(await look(mine=newer))).what
    await lives.catch_up(live)
    await presence.tell()
    assert "its file was superseded" in one(await work.config(await look(mine=newer))).what
    found = await work.config(await look(mine=live.local))
    assert found[0].what == "revision 2 is in force, and is not the file of this command"


async def test_providers_that_cannot_be_sent_by(look: Look, redis: Redis) -> None:
    """A paused one is told with the reason, a dead one with how many processes find it so."""
    shard = Shard(redis)
    await tell(shard, process())
    await pause(shard, "t:acme", reason="not a provider")
    assert await work.providers(await look()) == []
    await tell(shard, process(dead=["main"]))
    assert "the provider main is dead, or refuses us, for 1 of 1" in one(await work.providers(await look())).what
    await tell(shard, process())
    await pause(shard, "p:main", reason="the account has no funds")
    found = one(await work.providers(await look()))
    assert (found.what, found.mend) == (
        "the provider main is paused until resumed: the account has no funds",
        "mend that, then smsd resume provider main",
    )


async def test_receipts_that_do_not_come(look: Look, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of a provider that owes most of them some minutes later; not earlier, of few messages, or for one that tells
    nothing.
    """
    world = World(redis)
    await world.put()
    for i in range(25):
        await world.send("acme", f"m-{i}")
    taken = await world.take(25)
    for leased in taken:
        await world.accept(leased, f"P{leased.attempt}-{leased.message.id}")
    now = await look()
    later = msgspec.structs.replace(now, server_us=now.server_us + work.RECEIPT_MS * 1000 + SECOND)
    assert await work.receipts(now) == []
    for leased in taken[:12]:
        await world.receipt(leased, "delivered")
    found = one(await work.receipts(later))
    assert found.what == "of the last 25 messages that main took over 10 minutes ago, 13 have no receipt"
    assert "/webhooks/main is reached" in found.mend
    with monkeypatch.context() as few:
        few.setattr(work, "RECEIPTS_LEAST", 26)
        assert await work.receipts(later) == []
    stranger = msgspec.structs.replace(later, config=msgspec.structs.replace(later.config, providers={}))
    assert await work.receipts(stranger) == []
    await world.receipt(taken[12], "undelivered")
    assert await work.receipts(later) == []
    await redis.delete(keys.key(0, "events"))
    assert await work.receipts(later) == []


async def test_leases_that_nobody_ends(look: Look, redis: Any) -> None:
    """A lease long past its end and a count with no lease behind it are found; one in time is well."""
    world = World(redis)
    world.now = world.shard.now_us = time.time_ns() // 1000
    await world.put()
    await world.send("acme", "a")
    await world.take(1)
    assert await work.leases(await look()) == []
    (fence,) = await redis.zrange(keys.key(0, "lease"), 0, -1)
    await redis.zadd(keys.key(0, "lease"), {fence: world.now - 60 * SECOND})
    assert "1 leases of shard 0 ended over 30 s ago" in one(await work.leases(await look())).what
    await redis.delete(keys.key(0, "lease"))
    assert "1 messages of shard 0 are counted as in flight" in one(await work.leases(await look())).what


async def test_dead_entries(look: Look, redis: Any) -> None:
    """What was put aside is counted by its reasons, and nothing of it is shown."""
    assert await work.dead(await look()) == []
    for reason in ("bad_number", "bad_number", "internal"):
        await redis.xadd(keys.key(0, "dead"), {"reason": reason, "in.to": "+353861234567"})
    found = one(await work.dead(await look()))
    assert found.what == "3 entries were put aside; of the newest: bad_number 2, internal 1"


async def test_a_sandbox_that_is_on(look: Look) -> None:
    """It is told as long as it is on."""
    facts = await look()
    assert await work.sandbox(facts) == []
    on = msgspec.structs.replace(facts, standing=msgspec.structs.replace(facts.standing, sandbox=True))
    assert "the sandbox is on" in one(await work.sandbox(on)).what
