"""One look at a shard tells how much there is of what, also of classes and providers that hold nothing."""

from redis.asyncio import Redis

from smsd.control.look import SIZES, Look
from smsd.store import keys
from tests.support.world import HOUR, SECOND, World


async def test_an_empty_shard_shows_zeros(redis: Redis) -> None:
    """Every class, provider and kind is there, with nothing."""
    look = await Look(World(redis).shard, ["reminder", "otp"], ["main"]).read()
    assert look.counts == {
        "smsd_backlog_messages": {"reminder": 0, "otp": 0},
        "smsd_inbox_entries": {"reminder": 0, "otp": 0},
        "smsd_in_flight": {"main": 0},
        "smsd_store_entries": dict.fromkeys(SIZES, 0),
    }
    assert look.ages == {"reminder": 0.0, "otp": 0.0}


async def test_what_waits_is_counted_and_aged(redis: Redis) -> None:
    """A backlog has the age of what could leave now; a class that is not configured any more is seen by its backlog."""
    world = World(redis)
    await world.put()
    await world.send("acme", "old")
    await world.send("acme", "later", "otp", not_before=world.now + HOUR)
    world.pass_time(20 * SECOND)
    await world.send("acme", "new")
    await redis.xadd(keys.inbox(0, "reminder"), {"tenant": "acme"})
    look = await Look(world.shard, ["reminder"], ["main"]).read()
    assert look.counts["smsd_backlog_messages"] == {"reminder": 2, "otp": 1}
    assert look.counts["smsd_inbox_entries"] == {"reminder": 1}
    assert look.counts["smsd_store_entries"]["msg"] == 3
    assert look.ages == {"reminder": 20.0, "otp": 0.0}


async def test_lanes_that_empty_between_two_reads_have_no_age(redis: Redis) -> None:
    """What the first read has seen may be gone by the second: nothing waits then, and that is no error."""
    await redis.zadd(keys.key(0, "dline"), {"acme|reminder|default|S||": 1})
    look = await Look(World(redis).shard, ["reminder"], ["main"]).read()
    assert look.ages == {"reminder": 0.0}
