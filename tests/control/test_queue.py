"""What holds a message in the queue, reckoned from limits, places and shares."""

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from smsd.config import Config, load
from smsd.control.queue import Hold, hold_of, limits_of, named
from smsd.control.revision import publish
from smsd.store import holds
from smsd.store.look import lanes_of
from tests.support.config import config, write
from tests.support.world import HOUR, SECOND, World

SHARED = '[senders.Salon]\nlimits = ["2/s"]\n[tenants.acme]\nlimits = ["50/s"]\nclass_limits.marketing = ["1/s"]\n'


async def test_a_tenants_heavier_class_goes_before(redis: Redis, tmp_path: Path) -> None:
    """At the tenant's limit its reminders count before its marketing, whatever their deadlines; not the other way."""
    world, mine = World(redis), config(tmp_path, extra='[tenants.acme]\nlimits = ["1/s"]\n')
    await publish(mine, [world.shard])
    await world.send("acme", "ad", "marketing", deadline=world.now + HOUR)
    for i in range(30):
        await world.send("acme", f"r{i}", deadline=world.now + 2 * HOUR)
    ad, last = await world.shard.record("acme/ad"), await world.shard.record("acme/r29")
    assert ad is not None
    assert last is not None
    (slow,) = await hold_of(mine, world.shard, "acme/ad", ad, world.now)
    (fast,) = await hold_of(mine, world.shard, "acme/r29", last, world.now)
    assert slow.until_ms is not None
    assert fast.until_ms is not None
    assert slow.until_ms > fast.until_ms > world.now // 1000 + 25_000


async def test_each_limit_has_its_scope(redis: Redis, tmp_path: Path) -> None:
    """A tenant's, its class's and its sender's; a scope without a limit is none."""
    mine = config(tmp_path, extra=SHARED)
    assert list(limits_of(mine, "acme", "marketing", "Salon")) == ["t:acme", "c:acme|marketing", "s:Salon"]
    assert list(limits_of(mine, "acme", "reminder", "Other")) == ["t:acme"]
    assert named("c:acme|marketing") == "tenant acme's limit for marketing"


async def played(world: World, wanted: str, **more: Any) -> int:
    """How long until the scripts lease the message, each other one being taken as soon as it may; in us."""
    began = world.now
    while True:
        lease = await world.ask(50, **more)
        for leased in lease.messages:
            if leased.message.key == wanted:
                return world.now - began
            await world.accept(leased)
        if not lease.messages:
            world.pass_time(max(1, lease.wake_us - world.now))


async def asked(mine: Config, world: World, key: str) -> list[Hold]:
    record = await world.shard.record(key)
    assert record is not None
    return await hold_of(mine, world.shard, key, record, world.now)


async def test_a_busy_route_is_shared(redis: Redis, tmp_path: Path) -> None:
    """With a provider's limit and many tenants at work, the estimate is within a tenth of when the scripts take it."""
    world, path = World(redis), write(tmp_path)
    path.write_text(path.read_text().replace("timeout_s = 2", 'timeout_s = 2\nlimits = ["10/s"]'))
    limited = load(path, {})
    await publish(limited, [world.shard])
    for i in range(60):
        await world.send("acme", f"m{i}", deadline=world.now + HOUR)
    for i in range(160):
        await world.send(f"t{i % 4}", f"m{i}", ("reminder", "marketing")[i % 2])
    (hold,) = await asked(limited, world, "acme/m59")
    assert (hold.kind, hold.name, hold.estimate) == ("queue", "default", True)
    assert "allow 10/s" in hold.sentence
    assert hold.until_ms is not None
    told_us = hold.until_ms * 1000 - world.now
    assert told_us == pytest.approx(await played(world, "acme/m59"), rel=0.1)


async def test_a_slow_provider_with_little_room_is_waited_for(redis: Redis, tmp_path: Path) -> None:
    """Without any limit, what it answers a second is what leaves; the estimate is within a tenth of it."""
    world, path = World(redis), write(tmp_path)
    path.write_text(path.read_text().replace("timeout_s = 2", "timeout_s = 2\nmax_in_flight = 2"))
    narrow = load(path, {})
    await publish(narrow, [world.shard])
    for i in range(60):
        await world.send("acme", f"m{i}", deadline=world.now + HOUR)
    assert await asked(narrow, world, "acme/m59") == []  # nobody knows how fast it answers
    began, hold = world.now, None
    while True:
        taken = await world.take()
        if any(leased.message.id == "m59" for leased in taken):
            break
        world.pass_time(SECOND // 2)
        for leased in taken:
            await world.accept(leased)
        if world.now == began + 2 * SECOND:
            (hold,) = await asked(narrow, world, "acme/m59")
    assert hold is not None
    assert hold.until_ms is not None
    assert (hold.kind, "allow 2 in flight, answered about 4 a second" in hold.sentence) == ("queue", True)
    assert hold.until_ms * 1000 - began == pytest.approx(world.now - began, rel=0.1)


async def test_a_shared_sender_counts_other_tenants_turns(redis: Redis, tmp_path: Path) -> None:
    """At a sender's limit tenants take turns, and the estimate is within a tenth of when the scripts take it."""
    world, mine = World(redis), config(tmp_path, extra='[senders.Salon]\nlimits = ["2/s"]\n')
    await publish(mine, [world.shard])
    for i in range(40):
        for tenant in ("acme", "b", "c"):
            await world.send(tenant, f"m{i}", deadline=world.now + HOUR)
    for leased in await world.take(3):  # so that all know that they wait
        await world.accept(leased)
    (hold,) = await asked(mine, world, "acme/m19")
    assert (hold.kind, hold.name) == ("limit", "s:Salon")
    assert hold.until_ms is not None
    told_us = hold.until_ms * 1000 - world.now
    assert told_us == pytest.approx(await played(world, "acme/m19"), rel=0.1)


async def test_what_is_paused_is_before_nobody(redis: Redis, tmp_path: Path) -> None:
    """A paused campaign of the tenant is not counted for what goes on, and is for what waits with it."""
    world, mine = World(redis), config(tmp_path, extra='[tenants.acme]\nlimits = ["1/s"]\n')
    await publish(mine, [world.shard])
    await holds.pause(world.shard, "k:acme|spring")
    for i in range(50):
        await world.send("acme", f"c{i}", campaign="spring", deadline=world.now + HOUR)
    for i in range(20):
        await world.send("acme", f"m{i}", deadline=world.now + HOUR)
    await world.accept((await world.take(1))[0])
    (hold,) = await asked(mine, world, "acme/m19")
    assert hold.until_ms is not None
    assert hold.until_ms < world.now // 1000 + 25_000
    assert [hold.kind for hold in await asked(mine, world, "acme/c1")] == ["pause"]


async def test_who_goes_before_has_gone_when_a_time_comes(redis: Redis, tmp_path: Path) -> None:
    """One whose time comes in an hour does not wait for what leaves within a minute; one of soon waits for both."""
    world, mine = World(redis), config(tmp_path, extra='[tenants.acme]\nlimits = ["1/s"]\n')
    await publish(mine, [world.shard])
    for i in range(30):
        await world.send("acme", f"m{i}", deadline=world.now + HOUR)
    await world.send("acme", "later", not_before=world.now + HOUR, deadline=world.now + 2 * HOUR)
    await world.send("acme", "soon", not_before=world.now + 5 * SECOND, deadline=world.now + 2 * HOUR)
    assert [hold.kind for hold in await asked(mine, world, "acme/later")] == ["time"]
    limit, time = await asked(mine, world, "acme/soon")
    assert (limit.kind, time.kind) == ("limit", "time")
    assert limit.until_ms is not None
    assert limit.until_ms == pytest.approx(world.now // 1000 + 31_000, abs=2000)


async def test_what_comes_after_a_cancel_is_not_told_to_be_cancelled(redis: Redis, tmp_path: Path) -> None:
    """While a tenant's cancel is being done, one that was taken later waits for its end, and one before it ends."""
    world, mine = World(redis), config(tmp_path)
    await publish(mine, [world.shard])
    await world.send("acme", "old")
    world.pass_time(SECOND)
    await holds.withdraw(world.shard, "t:acme", reason="closed")
    world.pass_time(SECOND)
    await world.send("acme", "new")
    (old,), (new,) = await asked(mine, world, "acme/old"), await asked(mine, world, "acme/new")
    assert old.sentence.startswith("it is being cancelled, as ordered at")
    assert old.sentence.endswith("(closed)")
    assert "goes on when that is done" in new.sentence
    await world.sweep()
    assert [await asked(mine, world, f"acme/{id_}") for id_ in ("old", "new")] == [[], []]


async def test_a_place_is_known_however_many_lanes_a_tenant_has(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its lane is beyond those that are looked at, its own lane counts all the same."""
    world, mine = World(redis), config(tmp_path, extra='[tenants.acme]\nlimits = ["1/s"]\n')
    await publish(mine, [world.shard])
    monkeypatch.setattr(lanes_of, "__defaults__", (1,))
    await world.send("acme", "first", campaign="a")
    for i in range(10):
        await world.send("acme", f"m{i}", campaign="z", deadline=world.now + HOUR)
    (hold,) = await asked(mine, world, "acme/m9")
    assert "9 go before it" in hold.sentence
