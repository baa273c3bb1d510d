"""Pauses and withdrawals: one mark stops any number of messages at once, and each of them hears of it."""

from redis.asyncio import Redis

from smsd.store import keys
from smsd.store.holds import lift, pause, pauses, resume, withdraw, withdrawals
from tests.support.world import HOUR, SECOND, World, retry


async def test_a_pause_says_who_set_it_when_and_why(world: World) -> None:
    """What is kept with the mark is what its lister tells, in one line each."""
    await pause(world.shard, "t:acme", until_us=world.now + HOUR, reason="asked by\nthe tenant", by="ann at host")
    (told,) = await pauses(world.shard)
    assert (told.what, told.until_us, told.at_us) == ("t:acme", world.now + HOUR, world.now)
    assert (told.by, told.reason) == ("ann_at_host", "asked by the tenant")
    assert await resume(world.shard, "t:acme")
    assert await pauses(world.shard) == []


async def test_nothing_of_a_withdrawn_campaign_leaves_from_now_on(world: World) -> None:
    """The mark holds for the next lease, before any sweep; another campaign of the tenant goes its way."""
    await world.send("acme", "m1", campaign="spring")
    await world.send("acme", "m2", campaign="summer")
    assert await withdraw(world.shard, "k:acme|spring", by="ann", reason="wrong price")
    assert [m.message.id for m in await world.take()] == ["m2"]


async def test_every_withdrawn_message_has_its_event(world: World) -> None:
    """However many there are, in lanes or due later, each ends cancelled, and the mark then says that it is done."""
    for i in range(250):
        later = {"not_before": world.now + HOUR} if i % 3 == 0 else {}
        await world.send("acme", f"m{i}", "marketing", **later)
    await world.send("other", "m", "marketing")
    await withdraw(world.shard, "tc:acme|marketing")
    assert [one.done for one in await withdrawals(world.shard)] == [False]
    await world.sweep()
    assert [one.done for one in await withdrawals(world.shard)] == [True]
    ended = [e for e in await world.events() if e["state"] == "cancelled"]
    assert {e["id"] for e in ended if e["tenant"] == "acme"} == {f"m{i}" for i in range(250)}
    assert {e["reason"] for e in ended} == {"cancelled"}
    assert await world.states("other/m") == ["queued"]


async def test_a_tenants_withdrawal_is_over_for_what_comes_later(world: World) -> None:
    """What is taken after it goes as ever, also while the sweeps are still at work."""
    await world.send("acme", "old")
    await withdraw(world.shard, "t:acme")
    world.pass_time(1)
    await world.send("acme", "new")
    await world.sweep()
    assert await world.states("acme/old") == ["queued", "cancelled"]
    assert [m.message.id for m in await world.take()] == ["new"]


async def test_a_campaign_stays_cancelled_until_it_is_lifted(world: World) -> None:
    """A message that comes later ends at once; after the lift the next one is sent."""
    await withdraw(world.shard, "k:acme|spring")
    await world.sweep()
    world.pass_time(1000 * HOUR)
    await world.sweep()
    assert await world.send("acme", "m1", campaign="spring") == "cancelled"
    assert await lift(world.shard, "k:acme|spring")
    assert not await lift(world.shard, "k:acme|spring")
    assert await world.send("acme", "m2", campaign="spring") == "taken"


async def test_a_withdrawn_message_that_was_leaving_is_not_tried_again(world: World) -> None:
    """If the attempt turns out not to have been taken, it ends cancelled instead of going back."""
    await world.send("acme", "m1")
    (leased,) = await world.take()
    await withdraw(world.shard, "t:acme")
    assert await world.settle(retry(leased, world.now + SECOND)) == ["cancelled"]


async def test_what_still_lay_in_the_inbox_is_withdrawn_too(world: World, redis: Redis) -> None:
    """An entry that was written before the withdrawal and is read after it ends cancelled."""
    written = f"{world.now // 1000 - 5}-0"
    await withdraw(world.shard, "t:acme")
    assert await world.send("acme", "old", entry=written) == "cancelled"
    world.pass_time(10_000)
    assert await world.send("acme", "new", entry=f"{world.now // 1000}-0") == "taken"
    for made_up in ("5-0", "99999999999-1"):  # no time: such an entry is not older than everything
        assert await world.send("acme", made_up, entry=made_up) == "taken"


async def test_marks_that_cover_nothing_any_more_go(world: World, redis: Redis) -> None:
    """A tenant's withdrawal is kept for as long as an attempt may be unknown, a month, and no longer."""
    await withdraw(world.shard, "t:acme")
    await world.sweep()
    world.pass_time(719 * HOUR)
    await world.sweep()
    assert len(await withdrawals(world.shard)) == 1
    world.pass_time(2 * HOUR)
    await world.sweep()
    assert await withdrawals(world.shard) == []
    assert not await redis.exists(keys.key(0, "withdrawing"))


async def test_a_single_cancel_beside_a_withdrawal_is_answered_as_ever(world: World) -> None:
    """The message counts as withdrawn already, whichever came first."""
    await world.send("acme", "m1")
    await withdraw(world.shard, "t:acme")
    assert await world.cancel("acme", "m1") == "cancelled"
