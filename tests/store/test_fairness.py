"""Fair shares on a virtual clock: waits are exact, and no machine's speed is in them.

`make bench-fairness` measures the same on real processes.
"""

import pytest
from redis.asyncio import Redis

from smsd.message import Leased, Send
from tests.support.world import SECOND, World, limits

TICK = SECOND // 10


@pytest.fixture
async def world(redis: Redis) -> World:
    """A route that takes 500 messages a second, and reminders that count eight times as much as marketing."""
    made = World(redis)
    await made.put(
        classes=[["reminder", 8, 1000, 48 * 3600 * SECOND], ["marketing", 1, 800, 48 * 3600 * SECOND]],
        p__main=[100, limits("500/s")],
    )
    return made


async def flood(world: World, entries: list[Send]) -> None:
    """Admits many at once."""
    for i in range(0, len(entries), 100):
        await world.shard.admit(entries[i : i + 100], "marketing", from_inbox=False)


async def run_tick(world: World) -> list[Leased]:
    """A tenth of a second of a healthy route: everything that may leave leaves and is taken."""
    got: list[Leased] = []
    for _ in range(5):
        lease = await world.ask(100)
        got += lease.messages
        for leased in lease.messages:
            await world.accept(leased)
        world.pass_time(TICK // 5)
    return got


async def waits(world: World, arrivals: list[list[Send]]) -> tuple[dict[str, int], int]:
    """Feeds one list of messages a tick; the waits (us) of those, and how many others left meanwhile."""
    entered: dict[str, int] = {}
    waited: dict[str, int] = {}
    others = 0
    for batch in [*arrivals, *([[]] * 15)]:
        for entry in batch:
            entered[entry.message.key] = world.now
        if batch:
            await world.admit(*batch)
        for leased in await run_tick(world):
            if leased.message.key in entered:
                waited[leased.message.key] = world.now - entered[leased.message.key]
            else:
                others += 1
    assert len(waited) == len(entered), f"{len(entered) - len(waited)} never left"
    return waited, others


async def test_reminders_of_others_leave_within_a_second_beside_one_tenants_blast(world: World) -> None:
    """While one tenant has thousands of marketing messages queued, others' single reminders wait < 1 s each."""
    await flood(world, [world.message("blast", f"m{i}", "marketing") for i in range(5000)])
    arrivals = [[world.message(f"t{10 * tick + i}", "r") for i in range(10)] for tick in range(30)]
    waited, others = await waits(world, arrivals)
    assert max(waited.values()) < SECOND
    assert others > 900  # the blast goes on with what the reminders leave


async def test_reminders_leave_within_a_second_beside_many_tenants_marketing(world: World) -> None:
    """Many marketing tenants together never outweigh the reminders: classes are shared before flows."""
    await flood(world, [world.message(f"ad{i % 200}", f"m{i}", "marketing") for i in range(6000)])
    arrivals = [[world.message(f"t{10 * tick + i}", "r") for i in range(10)] for tick in range(30)]
    waited, _ = await waits(world, arrivals)
    assert max(waited.values()) < SECOND


async def test_single_marketing_messages_leave_beside_a_tenants_thousands(world: World) -> None:
    """Fair shares hold inside a class too: single messages pass one tenant's long queue within a second."""
    await flood(world, [world.message("blast", f"m{i}", "marketing") for i in range(5000)])
    arrivals = [[world.message(f"t{10 * tick + i}", "m", "marketing") for i in range(10)] for tick in range(20)]
    waited, _ = await waits(world, arrivals)
    assert max(waited.values()) < SECOND


async def test_a_tenants_own_reminder_passes_its_own_blast_at_its_limit(world: World) -> None:
    """At a tenant limit of 5/s a reminder waits for the next token, never for the tenant's own marketing."""
    await world.limit("acme", "5/s")
    await flood(world, [world.message("acme", f"m{i}", "marketing") for i in range(500)])
    await run_tick(world)
    waited, _ = await waits(world, [[world.message("acme", f"r{i}")] if i % 5 == 0 else [] for i in range(50)])
    assert max(waited.values()) < SECOND


async def test_marketing_keeps_its_share_under_a_flood_of_reminders(world: World) -> None:
    """Weights are shares, not ranks: at 8 to 1 marketing gets a ninth of the route while reminders flood it."""
    await flood(world, [world.message("blast", f"m{i}", "marketing") for i in range(2000)])
    reminders = [world.message(f"t{i}", f"r{i}") for i in range(3000)]
    for i in range(0, len(reminders), 100):
        await world.shard.admit(reminders[i : i + 100], "reminder", from_inbox=False)
    taken = [leased for _ in range(40) for leased in await run_tick(world)]
    share = sum(m.message.class_ == "marketing" for m in taken) / len(taken)
    assert 0.95 / 9 < share < 1.05 / 9


async def test_a_trickling_tenant_is_not_always_first(world: World) -> None:
    """A flow that empties and comes back keeps its finish tag: it gets its share, not a place before everybody."""
    await flood(world, [world.message("steady", f"m{i}", "marketing") for i in range(2000)])
    left = {"steady": 0, "trickle": 0}
    for tick in range(40):
        await flood(world, [world.message("trickle", f"x{tick}-{i}", "marketing") for i in range(40)])
        for leased in await run_tick(world):
            left[leased.message.tenant] += 1
    assert 0.8 < left["steady"] / left["trickle"] < 1.25


@pytest.mark.parametrize("segments", [1, 5])
async def test_routes_take_turns_at_the_limit_of_a_provider_that_they_share(world: World, segments: int) -> None:
    """One route's reminders leave beside another's blast, whoever looks first, and however many segments they have."""
    await world.put(p__main=[1000, limits("10 segments/s")])
    await flood(world, [world.message("blast", f"b{i}", "marketing") for i in range(150)])
    for i in range(3):
        await world.send("acme", f"r{i}", route="us", segments=segments)
    left: list[str] = []
    for _ in range(500):
        for route in ("default", "us"):
            for leased in await world.take(50, route=route, ahead_us=12_000):
                left.append(leased.message.tenant)
                await world.accept(leased)
        world.pass_time(SECOND // 100)
    assert left.count("acme") == 3
    assert len(left[: left.index("acme")]) <= 4
    assert left.count("blast") > 20
