"""What a new config drops is only dropped when nothing waits for it, and what waits is counted wherever it waits."""

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from smsd.config import shared
from smsd.control import dropping, revision
from smsd.control.dropping import Held, Waiting, waiting
from smsd.control.tenants import Tenants
from smsd.store import keys
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.world import HOUR, World, elsewhere, retry

OTP = "[classes.otp]\nweight = 3\n"
US = '[routes.us]\nproviders = [{ use = "main" }]\n'
SPARE = '[providers.spare]\ntype = "fake"\n'


@pytest.fixture
async def world(redis: Redis) -> World:
    return World(redis)


async def counted(folder: Path, world: World, extra: str, then: str = "") -> list[Waiting]:
    """What waits when a config that has all of `extra` is replaced by one with `then` instead."""
    return await waiting(shared(config(folder, extra=extra)), config(folder, extra=then), [world.shard])


async def test_a_config_that_drops_nothing_looks_at_no_store(tmp_path: Path) -> None:
    """Where every name stays, the store is not asked at all."""
    away = Shard(Redis.from_url("redis://127.0.0.1:1/0"))
    same = config(tmp_path, extra=OTP)
    assert await waiting(shared(same), config(tmp_path, extra=OTP + US), [away]) == []
    assert await waiting(b"", same, [away]) == []


async def test_an_empty_name_is_dropped_without_a_word(world: World, tmp_path: Path) -> None:
    """A class, route or provider that nothing waits for may go."""
    await world.put()
    assert await counted(tmp_path, world, OTP + US + SPARE) == []


async def test_the_default_classes_are_dropped_by_naming_others(tmp_path: Path) -> None:
    """A file without [classes] had the two of the contract."""
    assert dropping.dropped(b"{}", config(tmp_path))["class"] == set()
    assert dropping.dropped(b'{"classes": {"otp": {}}}', config(tmp_path))["class"] == {"otp"}


async def test_a_class_is_held_by_its_backlog_inbox_and_leases(world: World, tmp_path: Path) -> None:
    """What is queued, due later, in flight or in the inbox of a class is counted, each where it is."""
    known = world.settings["classes"]
    assert isinstance(known, list)
    await world.put(classes=[["otp", 3, 1000, 48 * HOUR], *known])
    for id_ in ("a", "b", "c"):
        await world.send("acme", id_, "otp")
    await world.send("acme", "later", "otp", not_before=world.now + HOUR)
    await world.take(1)
    await world.client.xadd(keys.inbox(0, "otp"), {"tenant": "acme"})
    (found,) = await counted(tmp_path, world, OTP)
    assert found == Waiting(kind="class", name="otp", queued=3, inbox=1, in_flight=1)
    assert str(found).startswith("class otp: 3 queued, 1 in its inbox, 1 in flight; smsd cancel class otp ends them")


async def test_a_route_is_held_by_lanes_retries_and_leases(world: World, tmp_path: Path) -> None:
    """Ready, waiting at a limit, waiting for its time: whatever is to go by the route is counted once."""
    await world.limit("acme", "1/d")
    for id_ in ("a", "b", "c"):
        await world.send("acme", id_, route="us")
    await world.send("zed", "z", route="us")
    await world.send("zed", "other")
    taken = await world.take(2, route="us")
    await world.settle(retry(taken[0], world.now + HOUR))
    (found,) = await counted(tmp_path, world, US)
    assert found == Waiting(kind="route", name="us", queued=3, in_flight=1)
    assert "keep [routes.us] until it is empty" in str(found)


async def test_a_provider_is_held_by_what_only_it_may_take(world: World, tmp_path: Path) -> None:
    """Messages that every other provider has refused, and those that it is just being given."""
    await world.put()
    for id_ in ("a", "b"):
        await world.send("acme", id_)
    first, _second = await world.take(2, offers={"spare": (1, 10)})
    await world.settle(elsewhere(first, "spare"))
    (found,) = await counted(tmp_path, world, SPARE)
    assert found == Waiting(kind="provider", name="spare", queued=1, in_flight=1)
    assert "take it out of the routes first" in str(found)


async def test_receipts_to_come_are_told_but_do_not_hold(world: World, tmp_path: Path) -> None:
    """A provider that has taken everything may be dropped: its receipts are then refused, which is said."""
    await world.put()
    await world.send("acme", "a")
    (leased,) = await world.take(1, offers={"spare": (1, 10)})
    await world.accept(leased)
    (found,) = await counted(tmp_path, world, SPARE)
    assert (found.awaiting, found.holds) == (1, False)
    assert "their receipts are refused" in str(found)


async def test_counts_are_bounded(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies behind the bound is told as at least so many."""
    monkeypatch.setattr(dropping, "PAGE", 2)
    monkeypatch.setattr(dropping, "DUE_MOST", 4)
    await world.put()
    for n in range(7):
        await world.send("acme", f"m{n}", route="us", not_before=world.now + HOUR)
    (found,) = await counted(tmp_path, world, US)
    assert (found.queued, found.at_least) == (4, True)
    assert "at least 4 queued" in str(found)


async def test_what_waits_is_summed_over_shards(redis: Any, tmp_path: Path) -> None:
    """A class's messages are counted in every shard."""
    worlds = [World(redis, number) for number in range(2)]
    for world in worlds:
        await world.put()
        await world.send("acme", "a", "otp")
    was, now = config(tmp_path, extra=OTP), config(tmp_path)
    (found,) = await waiting(shared(was), now, [world.shard for world in worlds])
    assert found.queued == 2


async def test_publish_refuses_until_it_is_empty_or_forced(redis: Redis, tmp_path: Path) -> None:
    """The one door to what is in force stays shut over a backlog, and opens once that is gone or by force."""
    shard, was = Shard(redis, clock_step_us=0), config(tmp_path, extra=OTP)
    await revision.publish(was, [shard])
    world = World(redis)
    await world.send("acme", "a", "otp")
    now = config(tmp_path)
    with pytest.raises(Held, match="drops what is still needed: class otp: 1 queued"):
        await revision.publish(now, [shard])
    assert (await revision.published(shard)).revision == 1
    warned: list[Waiting] = []
    assert await revision.publish(now, [shard], force=True, warn=warned.append) == 2
    assert [one.name for one in warned] == ["otp"]
    await revision.publish(was, [shard])
    await world.cancel("acme", "a")
    assert await revision.publish(now, [shard]) == 4


async def test_what_tenants_were_given_is_held(redis: Redis, tmp_path: Path) -> None:
    """A route, a plan and a pool that settings by command or API name stay, as they must for tenants of the file."""
    pool = '[sender_pools.uk]\nsenders = ["+447700900001"]\n'
    shard, was = Shard(redis, clock_step_us=0), config(tmp_path, extra=US + pool + "[plans.gold]\n")
    await revision.publish(was, [shard])
    tenants = Tenants(was, [shard])
    await tenants.put_many({"acme": {"route": "us", "plan": "gold"}, "b": {"route": "us", "sender_pool": "uk"}})
    found = await waiting(shared(was), config(tmp_path), [shard])
    assert {(one.kind, one.name): one.named for one in found} == {
        ("route", "us"): 2,
        ("plan", "gold"): 1,
        ("sender pool", "uk"): 1,
    }
    with pytest.raises(Held, match=r"plan gold: 1 tenant\(s\) given it.*smsd tenant set TENANT --plan NAME gives each"):
        await revision.publish(config(tmp_path), [shard])
    await tenants.put_many({"acme": None, "b": {"sender": "Salon"}})
    assert await revision.publish(config(tmp_path), [shard]) == 2


async def test_the_sandbox_is_held_by_what_it_would_leave_behind(world: World, tmp_path: Path) -> None:
    """No section names its route, yet what waits there, also for its time, would be served by nobody."""
    on = "[sandbox]\nenabled = true\n"
    await world.put()
    assert await counted(tmp_path, world, on) == []
    await world.send("acme", "now", route="sandbox")
    await world.send("acme", "later", route="sandbox", not_before=world.now + HOUR)
    assert await counted(tmp_path, world, on, then=on) == []
    (route,) = await counted(tmp_path, world, on)
    assert (route.kind, route.name, route.queued, route.holds) == ("route", "sandbox", 2, True)
    assert "keep [sandbox] on until these are through" in str(route)
    (leased,) = await world.take(1, route="sandbox", offers={"sandbox": (1, 9)})
    await world.accept(leased)
    await world.cancel("acme", "later")
    (provider,) = await counted(tmp_path, world, on)
    assert (provider.kind, provider.awaiting, provider.holds) == ("provider", 1, False)
    assert "receipts are refused" in str(provider)
