"""What the differential test or the reading for it found in the scripts: each the shortest story that shows it."""

import pytest

from smsd.core.outcome import Found, Look
from smsd.message import Leased
from smsd.store import holds, keys
from smsd.store.shard import ReceiptFor
from tests.support.world import (
    HOUR,
    SECOND,
    World,
    accepted,
    ask,
    back,
    clear,
    fail,
    limits,
    resend,
    retry,
    unknown,
)


async def in_doubt_then_again(world: World, id_: str = "a1"):
    """A message whose first attempt is in doubt, leased once more by policy: both leases."""
    await world.send("acme", id_)
    [first] = await world.take()
    await world.settle(unknown(first, world.now))
    await world.settle(resend(first))
    [second] = await world.take()
    return first, second


# ---- Attempts known to have been taken -------------------------------------------------------------------------------


async def test_a_give_back_of_a_resend_whose_first_attempt_was_taken_sends_nothing_more(world: World) -> None:
    """When the late answer to the first attempt was yes, the resend that is given back is not needed any more."""
    first, second = await in_doubt_then_again(world)
    assert await world.settle(accepted(first, "SM-1")) == ["late"]
    assert await world.settle(back(second)) == ["submitted"]
    assert await world.take() == []


async def test_a_late_yes_to_the_first_attempt_ends_a_resend_that_was_throttled(world: World) -> None:
    """A resend that waits after a throttle is withdrawn when the first attempt turns out to have been taken."""
    first, second = await in_doubt_then_again(world)
    await world.settle(retry(second, world.now + SECOND, counted=0))
    assert await world.settle(accepted(first, "SM-1")) == ["submitted"]
    world.pass_time(2 * SECOND)
    assert await world.take() == []


async def test_a_repeated_give_back_says_nothing_of_a_later_lease(world: World) -> None:
    """Attempt numbers are used again after a give-back, so that only the fence tells whose attempt is unknown."""
    await world.send("acme", "a1")
    [first] = await world.take()
    await world.settle(back(first))
    [second] = await world.take()
    assert second.attempt == first.attempt
    world.pass_time(14 * SECOND)
    await world.sweep()
    assert await world.settle(back(first)) == ["late"]
    record = await world.shard.record("acme/a1")
    assert record is not None
    assert record.state == "unknown"


async def test_a_resend_under_a_key_says_until_when(world: World) -> None:
    """The instant goes with the message, also when it is given back, until a look-up has cleared the doubt."""
    await world.send("acme", "a1")
    [first] = await world.take()
    until = world.now + HOUR
    await world.settle(unknown(first, world.now))
    await world.settle(resend(first, "main", until))
    for _ in range(2):
        [second] = await world.take()
        assert (second.key_until_us, second.resend) == (until, False)
        await world.settle(back(second))
    [third] = await world.take()
    await world.settle(unknown(third, world.now))
    await world.settle(clear(third))
    [fourth] = await world.take()
    assert fourth.key_until_us == 0


async def forgotten(world: World) -> Leased:
    """An attempt that a failover has lost: the store has everything as it was before."""
    await world.send("acme", "a1")
    before = {name: await ask(world.client, "DUMP", name) for name in await ask(world.client, "KEYS", "*")}
    [first] = await world.take()
    await world.client.flushall()
    for name, packed in before.items():
        await ask(world.client, "RESTORE", name, 0, packed)
    return first


async def test_what_was_taken_before_a_failover_is_not_sent_again(world: World) -> None:
    """Its answer is believed though the store knows of no such attempt, and so is the receipt for it."""
    first = await forgotten(world)
    assert await world.accept(first, "SM-1") == "submitted"
    assert await world.take() == []
    assert await world.receipt(first, "delivered", provider_id="SM-1") == "delivered"


async def test_what_a_failover_sends_again_is_flagged(world: World) -> None:
    """Where another attempt has begun by then, under a fence of its own, its events say that it may be a duplicate."""
    first = await forgotten(world)
    world.pass_time(SECOND)
    [second] = await world.take()
    assert await world.accept(first, "SM-1") == "late"
    assert await world.accept(second, "SM-2") == "submitted"
    assert (await world.last("acme/a1"))["possible_duplicate"] == "1"


# ---- Events ----------------------------------------------------------------------------------------------------------


async def test_a_withdrawn_resend_that_was_not_taken_tells_that_it_is_held(world: World) -> None:
    """The change from queued to unknown is told when a cancelled resend was not taken, but the first may have been."""
    _, second = await in_doubt_then_again(world)
    assert await world.cancel("acme", "a1") == "leaving"
    assert await world.settle(retry(second, world.now)) == ["unknown"]
    assert (await world.last("acme/a1"))["state"] == "unknown"


async def test_a_repeated_refusal_of_a_resend_tells_nothing_twice(world: World) -> None:
    """A settle whose reply was lost changes nothing when it comes again: the held message has no second event."""
    _, second = await in_doubt_then_again(world)
    assert await world.settle(fail(second)) == ["unknown"]
    told = await world.states("acme/a1")
    await world.settle(fail(second))
    assert await world.states("acme/a1") == told


# ---- Receipts --------------------------------------------------------------------------------------------------------


async def test_a_repeated_receipt_does_not_push_the_true_one_out(world: World) -> None:
    """While a message is leased the same receipt is parked once, and one that says more still finds room."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    assert await world.receipt(leased, "sent") == "parked"
    for _ in range(4):
        assert await world.receipt(leased, "sent") == "repeated"
    assert await world.receipt(leased, "delivered") == "parked"
    assert await world.accept(leased) == "delivered"


async def test_a_repeated_receipt_that_changes_nothing_does_not_grow_the_history(world: World) -> None:
    """The same `sent` told again is counted as repeated and leaves the record as it was."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.accept(leased)
    assert await world.receipt(leased, "sent", raw="sent") == "noted"
    before = await world.shard.record("acme/a1")
    assert await world.receipt(leased, "sent", raw="sent") == "repeated"
    assert await world.shard.record("acme/a1") == before


async def test_a_receipt_finds_the_id_that_an_earlier_one_of_its_batch_brought(world: World) -> None:
    """Receipts of one call count in their order: the second is found by the id that the first one told."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.settle(unknown(leased, world.now))
    both = [
        ReceiptFor("acme/a1", 1, "main", "SM-1", "sent"),
        ReceiptFor("", 0, "main", "SM-1", "delivered"),
    ]
    assert await world.shard.receipts(both) == ["noted", "delivered"]


async def test_a_second_id_of_an_attempt_goes_with_its_record(world: World) -> None:
    """Each provider id that leads to a message is forgotten when its record is."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.accept(leased, "SM-1")
    await world.receipt(leased, "delivered", provider_id="SM-2")
    world.pass_time(73 * HOUR)
    assert (await world.sweep()).purged == 1
    assert await world.client.hlen(keys.key(0, "ref")) == 0


async def test_an_id_that_another_provider_told_goes_with_its_record_too(world: World) -> None:
    """An id is kept with the provider that told it, so that it can be found and forgotten."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.settle(unknown(leased, world.now))
    await world.shard.receipts([ReceiptFor("acme/a1", 1, "spare", "", "sent")])
    await world.shard.receipts([ReceiptFor("acme/a1", 1, "main", "SM-1", "delivered")])
    world.pass_time(73 * HOUR)
    assert (await world.sweep()).purged == 1
    assert await world.client.hlen(keys.key(0, "ref")) == 0


# ---- Waiting ---------------------------------------------------------------------------------------------------------


async def test_paused_lanes_do_not_use_up_the_wakes_of_a_limit(world: World) -> None:
    """When the first who wait at a limit are paused, the next who is not wakes in the same pass."""
    await world.put(s__Shared=limits("1/s"))
    for tenant in ("t1", "t2", "t3", "t4"):
        await world.send(tenant, "m", sender="Shared")
    assert [m.message.tenant for m in await world.take()] == ["t1"]
    await holds.pause(world.shard, "t:t2")
    await holds.pause(world.shard, "t:t3")
    world.pass_time(SECOND + 20_000)
    assert [m.message.tenant for m in await world.take()] == ["t4"]


async def test_a_resumed_tenant_is_not_behind_those_that_stay_paused(world: World) -> None:
    """However many marks are set, lanes whose mark was lifted are ready again after a few sweeps."""
    for i in range(30):
        await world.send(f"t{i:02}", "m")
        await holds.pause(world.shard, f"t:t{i:02}")
    assert await world.take(100) == []
    await holds.resume(world.shard, "t:t29")
    for _ in range(5):
        await world.sweep()
    assert [m.message.tenant for m in await world.take(100)] == ["t29"]


async def test_a_resume_needs_no_rest_however_many_stay_paused(world: World) -> None:
    """Of a thousand paused tenants the one that is resumed leaves after passes without a rest between them."""
    for i in range(1000):
        await world.send(f"t{i:03}", "m")
        await holds.pause(world.shard, f"t:t{i:03}")
    while await world.client.zcard(keys.key(0, "paused")) < 1000:
        await world.take(100)
    await holds.resume(world.shard, "t:t999")
    await world.sweep()
    assert [m.message.tenant for m in await world.take(100)] == ["t999"]
    assert not (await world.shard.sweep({}))[0]


async def test_a_resumed_class_needs_no_rest_however_many_lanes_it_has(world: World) -> None:
    """All its lanes are ready after passes without a rest between them."""
    for i in range(1000):
        await world.send(f"t{i:03}", "m")
    await holds.pause(world.shard, "c:reminder")
    while await world.client.zcard(keys.key(0, "paused")) < 1000:
        await world.take(100)
    await holds.resume(world.shard, "c:reminder")
    await world.sweep(most=100)
    assert await world.client.zcard(keys.key(0, "paused")) == 0
    assert len(await world.take(1000)) == 1000


async def test_a_due_message_of_a_class_that_is_gone_expires(world: World) -> None:
    """A message that waits for its time ends at its deadline also when the config does not name its class any more."""
    await world.send("acme", "a1", "marketing", not_before=world.now + HOUR)
    await world.put(classes=[["reminder", 8, 1000, 48 * HOUR]])
    world.pass_time(13 * HOUR)
    await world.sweep()
    assert (await world.last("acme/a1"))["state"] == "expired"


# ---- Limits ----------------------------------------------------------------------------------------------------------


async def test_a_period_that_comes_back_gives_no_second_burst(world: World) -> None:
    """When a limit's period is changed and changed back, what left under the other one still counts."""
    for i in range(20):
        await world.send("acme", f"m{i}")
    await world.limit("acme", "5/s burst 5")
    assert len(await world.take(20)) == 5
    world.pass_time(2 * SECOND)
    await world.limit("acme", "5/2s burst 5")
    assert await world.take(20) == []
    world.pass_time(12 * SECOND)
    assert len(await world.take(20)) == 5
    await world.limit("acme", "5/s burst 5")
    assert await world.take(20) == []


async def test_a_give_back_takes_nothing_from_a_limit_that_came_after_its_lease(world: World) -> None:
    """A charge that a counted limit never saw is not refunded to it, so that no more than N leave."""
    for i in range(9):
        await world.send("acme", f"m{i}")
    before = await world.take(3)
    world.pass_time(1000)
    await world.limit("acme", "4/90s")
    assert len(await world.take(9)) == 4
    await world.settle(*(back(leased) for leased in before))
    assert await world.take(9) == []


@pytest.mark.parametrize("swept", [False, True])
async def test_what_a_sweep_forgets_of_a_limit_changes_nothing(world: World, swept: bool) -> None:
    """A limit under which nothing left for longer than its period starts full after a change, swept or not."""
    await world.limit("acme", "5/s burst 1")
    await world.send("acme", "first")
    assert len(await world.take()) == 1
    world.pass_time(HOUR)
    if swept:
        await world.sweep()
    await world.limit("acme", "5/s burst 3")
    for i in range(5):
        await world.send("acme", f"m{i}")
    assert len(await world.take()) == 3


# ---- Leaks -----------------------------------------------------------------------------------------------------------


async def test_the_last_requests_of_processes_that_are_gone_are_forgotten(world: World) -> None:
    """After all that a process leased has been settled, sweeps leave nothing of its name behind."""
    await world.send("acme", "a1")
    [leased] = await world.take(process="host-1-abc")
    await world.accept(leased)
    await world.sweep()
    assert await world.client.hgetall(keys.key(0, "batch")) == {}


async def test_a_late_look_up_that_found_the_message_keeps_its_id(world: World) -> None:
    """A look-up that found it after another one had cleared it still says that it was taken: nothing is sent again."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.settle(unknown(leased, world.now))
    await world.settle(Look("acme/a1", 0, "look", 1, "main", world.now, 1, 0))
    await world.settle(clear(leased))
    assert await world.settle(Found("acme/a1", 0, "found", 1, "main", "SM-1", ())) == ["submitted"]
    assert await world.take() == []


# ---- Found by a second reading ---------------------------------------------------------------------------------------


async def test_a_resend_that_was_not_taken_leaves_the_first_attempts_receipt_as_the_end(world: World) -> None:
    """When the first attempt's receipt has come, nothing more is awaited once the resend is known not to have left."""
    first, second = await in_doubt_then_again(world)
    await world.settle(unknown(second, world.now))
    assert await world.settle(accepted(first, "SM-1")) == ["late"]
    assert await world.receipt(first, "undelivered", provider_id="SM-1") == "noted"
    assert await world.settle(clear(second)) == ["undelivered"]
    assert (await world.events("acme/a1"))[-1]["attempt"] == "1"


async def test_a_receipt_by_another_provider_than_the_attempts_is_an_orphan(world: World) -> None:
    """Who proves to be one provider can say nothing about a message that another one has."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    forged = ReceiptFor("acme/a1", leased.attempt, "spare", "SM-9", "delivered")
    assert await world.shard.receipts([forged]) == ["orphan"]
    await world.accept(leased, "SM-1")
    assert await world.shard.receipts([forged]) == ["orphan"]
    assert await world.receipt(leased, "delivered") == "delivered"


async def test_a_message_whose_leases_end_unsettled_again_and_again_goes_no_more(world: World) -> None:
    """Three leases in a row that nobody settled: known not to have left, it fails as internal and is kept in dead."""
    await world.send("acme", "a1")
    for n in range(3):
        [leased] = await world.take()
        world.pass_time(20 * SECOND)
        await world.sweep()
        words = await world.settle(clear(leased))
        assert words == (["queued"] if n < 2 else ["failed"])
    assert (await world.events("acme/a1"))[-1]["reason"] == "internal"
    [(_, told)] = await ask(world.client, "XRANGE", keys.key(0, "dead"), "-", "+")
    assert (told[b"tenant"], told[b"id"], told[b"reason"]) == (b"acme", b"a1", b"internal")
    assert b"See you at ten." in told[b"message"]


async def test_what_may_have_left_and_kills_whoever_takes_it_up_is_held_and_kept_once(world: World) -> None:
    """Where nobody can say whether it left, it is not sent again; a settle told twice leaves one entry in dead."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    for _ in range(2):
        world.pass_time(20 * SECOND)
        await world.sweep()
        assert await world.settle(clear(leased)) == ["queued"]
        [leased] = await world.take()
    world.pass_time(20 * SECOND)
    await world.sweep()
    for _ in range(2):
        assert await world.settle(resend(leased)) == ["unknown"]
    [(_, told)] = await ask(world.client, "XRANGE", keys.key(0, "dead"), "-", "+")
    assert told[b"detail"].endswith(b"an attempt may have left")
    world.pass_time(49 * HOUR)
    await world.sweep()
    assert await world.states("acme/a1") == [*["queued", "unknown"] * 3, "unconfirmed"]


async def test_a_settled_lease_ends_the_count_of_unsettled_ones(world: World) -> None:
    """Only leases in a row count: a process that dies now and then under a busy message is no fault of the message."""
    await world.send("acme", "a1")
    for _ in range(4):
        [leased] = await world.take()
        world.pass_time(20 * SECOND)
        await world.sweep()
        assert await world.settle(clear(leased)) == ["queued"]
        [leased] = await world.take()
        assert await world.settle(retry(leased, 0)) == ["queued"]


async def test_the_sweep_mends_what_is_in_flight_when_a_count_is_wrong(world: World) -> None:
    """What a script that failed half way left in the counts takes no room from a provider for good."""
    await world.put(p__main=[3, []])
    for name in ("a", "b", "c"):
        await world.send("acme", name)
    [leased] = await world.take(1)
    inflight = keys.key(0, "inflight")
    await ask(world.client, "HSET", inflight, "p:main", 3, "p:spare", 7)
    await ask(world.client, "HDEL", inflight, "c:default|reminder")
    world.pass_time(11 * SECOND)
    assert (await world.sweep()).miscounted == 3
    counts = await ask(world.client, "HGETALL", inflight)
    assert counts == {b"p:main": b"1", b"c:default|reminder": b"1", f"n:{leased.fence}".encode(): b"1"}
    assert (await world.sweep()).miscounted == 0


async def test_a_charge_ahead_of_its_time_is_waited_for_in_its_turn(world: World) -> None:
    """A message above N is counted later than now; what was counted before that leaves the window before it, too."""
    await world.put(s__Salon=limits("8 segments/2h"))
    await world.send("acme", "big", segments=9)
    assert len(await world.take()) == 1
    await world.put(s__Salon=limits("12 segments/2h"))
    await world.send("acme", "a")
    assert len(await world.take()) == 1
    await world.send("acme", "b", segments=3)
    lease = await world.ask()
    assert lease.messages == []
    assert lease.wake_us < world.now + 2 * HOUR + 3 * 60 * SECOND


async def test_what_a_message_above_the_limit_rests_is_not_tidied_away(world: World) -> None:
    """The sweep keeps a limit while a charge written ahead of its time still counts."""
    await world.put(s__Salon=limits("1 segments/2h"))
    await world.send("acme", "big", segments=3)
    assert len(await world.take()) == 1
    await world.put(s__Salon=limits("4 segments/2h"))
    world.pass_time(2 * HOUR + 600 * SECOND)
    await world.send("acme", "a")
    assert len(await world.take()) == 1
    world.pass_time(2 * HOUR + 600 * SECOND)
    await world.sweep()
    await world.send("acme", "b", segments=2)
    assert await world.take() == []


async def test_what_a_give_back_makes_room_for_leaves_at_once(world: World) -> None:
    """Whoever waits at a limit hears of a refund, also when what was given back stands behind it."""
    await world.limit("acme", "2/h")
    later = world.now + HOUR
    await world.send("acme", "late", deadline=later)
    [late] = await world.take()
    for name in ("a", "b"):
        await world.send("acme", name, deadline=later - SECOND)
    assert [m.message.id for m in await world.take()] == ["a"]
    await world.settle(back(late))
    assert [m.message.id for m in await world.take()] == ["b"]


async def test_what_was_found_belongs_to_one_message(world: World) -> None:
    """Of two alike that were looked for at once, the second whose look-up brings the same id is looked at again."""
    for name in ("a", "b"):
        await world.send("acme", name)
    one, two = await world.take()
    await world.settle(unknown(one, world.now), unknown(two, world.now))
    both = [Found(m.message.key, 0, "found", m.attempt, "main", "SM-1", ()) for m in (one, two)]
    assert await world.settle(*both) == ["submitted", "unknown"]
    assert [u.key for u in await world.shard.claim(10, SECOND)] == [two.message.key]
    assert await world.settle(both[1]) == ["unknown"]


async def test_a_pause_that_is_over_leaves_no_mark(world: World) -> None:
    """A provider's pause that ends by itself is tidied away, though no lane ever stood at it."""
    await holds.pause(world.shard, "p:main", until_us=world.now + SECOND)
    await world.sweep()
    assert await world.client.hlen(keys.key(0, "pause")) == 1
    world.pass_time(2 * SECOND)
    await world.sweep()
    assert await world.client.hlen(keys.key(0, "pause")) == 0


async def test_a_pause_of_ours_never_shortens_one_that_is_in_force(world: World) -> None:
    """An operator's pause without end outlasts what a process sets for a minute; one that is over does not stand."""
    assert await holds.pause(world.shard, "p:main", reason="maintenance")
    assert not await holds.pause(world.shard, "p:main", until_us=world.now + SECOND, reason="refused us", over=False)
    (told,) = await holds.pauses(world.shard)
    assert (told.until_us, told.reason) == (0, "maintenance")
    await holds.pause(world.shard, "p:main", until_us=world.now + SECOND)
    world.pass_time(2 * SECOND)
    assert await holds.pause(world.shard, "p:main", until_us=world.now + SECOND, reason="refused us", over=False)


async def test_what_was_charged_ahead_of_a_new_limit_is_not_given_back_to_it(world: World) -> None:
    """It was leased for an instant after the change, but charged before it: the limit never counted it."""
    await world.put(s__Salon=limits("5/s"))
    for i in range(2):
        await world.send("acme", f"m{i}")
    first, ahead = await world.take(2, ahead_us=300_000)
    assert ahead.start_us > world.now
    world.pass_time(1)
    await world.limit("acme", "3/h")
    for i in range(6):
        await world.send("acme", f"n{i}", sender="Other")
    counted = await world.take(2)
    await world.settle(accepted(first, "SM1"), back(ahead))
    world.pass_time(SECOND)
    assert len(counted) + len(await world.take(10)) == 3
