"""Messages by their recipient: an index that comes and goes with the records, and has no number in it."""

from redis.asyncio import Redis

from smsd.store import keys
from smsd.store.find import find
from tests.support.world import HOUR, World, ask

ANNA, BEN = "+353861234567", "+353861234568"


async def test_messages_to_a_number_are_found_the_newest_first(world: World) -> None:
    """Of that tenant and that number only, whatever state they are in."""
    for id_ in ("first", "second"):
        await world.send("acme", id_, to=ANNA)
        world.pass_time(1)
    await world.send("acme", "to-ben", to=BEN)
    await world.send("other", "elsewhere", to=ANNA)
    await world.cancel("acme", "first")
    assert await find(world.shard, "acme", ANNA) == ["second", "first"]
    assert await find(world.shard, "acme", ANNA, limit=1) == ["second"]
    assert await find(world.shard, "acme", "+353861234569") == []


async def test_the_index_goes_with_the_record(world: World, redis: Redis) -> None:
    """When the record is purged nothing of the number is left."""
    await world.send("acme", "m1", to=ANNA)
    await world.cancel("acme", "m1")
    world.pass_time(73 * HOUR)
    await world.sweep()
    assert await find(world.shard, "acme", ANNA) == []
    assert not await redis.exists(keys.key(0, "who"))


async def test_the_index_has_no_number_in_it(world: World, redis: Redis) -> None:
    """What lies in the store until the record goes tells nobody whom it was for."""
    await world.send("acme", "m1", to=ANNA)
    (member,) = await ask(redis, "ZRANGE", keys.key(0, "who"), 0, -1)
    assert ANNA.strip("+").encode() not in member
