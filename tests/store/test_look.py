"""What the store knows of lanes, queues and limits, read as it stands."""

from smsd.core.limit import Counted, Paced, parse
from smsd.store import holds
from smsd.store.look import before, lanes_of, line_at, on_route, used, waiting
from tests.support.world import HOUR, SECOND, SLACK, World, limits


async def test_a_tenants_lanes_are_told_with_what_is_in_them(world: World) -> None:
    """Each lane with its messages and how it stands; no other tenant's, whose name begins alike."""
    for i in range(3):
        await world.send("acme", f"m{i}")
    await world.send("acme", "c", "marketing", campaign="spring")
    await world.send("acme2", "m")
    await holds.pause(world.shard, "k:acme|spring")
    await world.take(0)
    lanes = await lanes_of(world.shard, "acme")
    assert [(lane.parts[1], lane.parts[4], lane.queued) for lane in lanes] == [
        ("marketing", "spring", 1),
        ("reminder", "", 3),
    ]
    assert await lanes_of(world.shard, "nobody") == []


async def test_places_count_by_deadline(world: World) -> None:
    """In a lane a message comes behind those with an earlier deadline, and behind equals that came before."""
    for i in range(4):
        await world.send("acme", f"m{i}", deadline=world.now + HOUR * (1 + i // 2))
    (lane,) = await lanes_of(world.shard, "acme")
    record = await world.shard.record("acme/m3")
    assert record is not None
    assert await before(world.shard, [lane], record.deadline, record.arrival) == [3]


async def test_what_a_limit_has_used_is_read_as_the_scripts_keep_it(world: World) -> None:
    """A paced and a counted limit after five messages; a scope that nothing has left under has rested."""
    await world.limit("acme", "5/s", "100/h")
    for i in range(9):
        await world.send("acme", f"m{i}")
    taken = 0
    while taken < 5:
        taken += len(await world.take(5 - taken))
        world.pass_time(SECOND)
    mine = [parse("5/s"), parse("100/h")]
    states = await used(world.shard, {"t:acme": mine, "t:other": mine}, SLACK, world.now)
    paced, counted = states["t:acme"]
    assert isinstance(paced, Paced)
    assert isinstance(counted, Counted)
    assert sum(units for _, units in counted.parts) == 5
    assert paced.tat_us > world.now - 2 * SECOND
    assert [one.admit(world.now, 1) for one in states["t:other"]] == [None, None]


async def test_a_limit_that_was_changed_is_read_as_it_will_be(world: World) -> None:
    """Until a script looks at it the store has the old one; what is told is what the script will make of it."""
    await world.limit("acme", "1/m")
    await world.send("acme", "m0")
    await world.send("acme", "m1")
    await world.take(1)
    states = await used(world.shard, {"t:acme": [parse("60/m")]}, SLACK, world.now)
    wake_us = states["t:acme"][0].admit(world.now, 1)
    assert wake_us is not None
    assert world.now < wake_us < world.now + 5 * SECOND


async def test_who_waits_and_who_is_ready_is_counted(world: World) -> None:
    """Lanes at a limit, flows of a route that may be tried."""
    await world.limit("acme", "1/m")
    for i in range(3):
        await world.send("acme", f"m{i}")
    await world.send("other", "m")
    assert await on_route(world.shard, "default", ["reminder", "marketing"]) == {
        "reminder": (4, 2),
        "marketing": (0, 0),
    }
    await world.take(10)
    assert await waiting(world.shard, ["t:acme", "t:other"]) == {"t:acme": 1, "t:other": 0}
    assert await on_route(world.shard, "default", ["reminder"]) == {"reminder": (2, 0)}


async def test_who_waits_at_a_limit_is_told_by_flows(world: World) -> None:
    """All messages of the lanes that stand there, whosever; of no more lanes than asked for."""
    await world.put(s__Salon=limits("1/m"))
    for i in range(3):
        await world.send("acme", f"m{i}", campaign=("", "x")[i % 2])
        await world.send("b", f"m{i}")
    await world.take(10)
    line = await line_at(world.shard, "s:Salon")
    assert set(line) == {"acme|reminder|default", "b|reminder|default"}
    assert sum(line.values()) == 5
    assert len(await line_at(world.shard, "s:Salon", 1)) == 1
    assert await line_at(world.shard, "s:Other") == {}
