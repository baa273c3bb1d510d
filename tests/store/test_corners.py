"""The corner cases that the design decides, each a test that names the rule. On a real store, under a virtual clock."""

from collections import Counter

import pytest

from smsd.store import holds, keys
from tests.support.world import (
    HOUR,
    SECOND,
    World,
    accepted,
    back,
    clear,
    elsewhere,
    fail,
    limits,
    resend,
    retry,
    unknown,
)


async def count(world: World, tenant: str, id_: str, n: int, class_: str = "reminder", **more: object) -> None:
    """Admits n messages of one tenant."""
    for i in range(n):
        await world.send(tenant, f"{id_}{i}", class_, **more)


# ---- Cancels ---------------------------------------------------------------------------------------------------------


async def test_a_cancel_that_overtakes_its_message_is_remembered(world: World) -> None:
    """A send that meets its own earlier cancel ends cancelled at once and never leaves."""
    assert await world.cancel("acme", "a1") == "unknown"
    assert await world.send("acme", "a1") == "cancelled"
    assert await world.take() == []
    assert await world.states("acme/a1") == ["cancelled"]
    assert await world.send("acme", "a1") == "repeated"


async def test_a_send_that_was_cancelled_before_still_replaces(world: World) -> None:
    """The replaces of a message whose cancel came first still withdraws the earlier one."""
    await world.send("acme", "old")
    await world.cancel("acme", "new")
    assert await world.send("acme", "new", replaces="old") == "cancelled"
    assert await world.states("acme/old") == ["queued", "cancelled"]
    assert (await world.last("acme/new"))["replaced"] == "cancelled"


async def test_a_cancel_of_a_leaving_message_holds_when_the_attempt_was_not_taken(world: World) -> None:
    """A message marked while it was leaving ends cancelled instead of being tried again."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    assert await world.cancel("acme", "a1") == "leaving"
    assert await world.settle(retry(leased, world.now + SECOND)) == ["cancelled"]
    assert await world.states("acme/a1") == ["queued", "cancelled"]


async def test_a_cancel_of_a_leaving_message_changes_nothing_when_it_was_taken(world: World) -> None:
    """A message that was taken although a cancel was under way is submitted, and its receipt counts."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.cancel("acme", "a1")
    assert await world.accept(leased) == "submitted"
    assert await world.receipt(leased, "delivered") == "delivered"


async def test_a_cancel_of_a_leaving_message_is_answered_when_it_was_taken(world: World) -> None:
    """It came too late after all, which an event in the unchanged state says, once."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.cancel("acme", "a1")
    await world.accept(leased)
    told = [(e["state"], e.get("reason", "")) for e in await world.events("acme/a1")]
    assert told == [("queued", ""), ("submitted", ""), ("submitted", "cancel_too_late")]


async def test_a_cancel_that_comes_too_late_is_answered_with_the_unchanged_state(world: World) -> None:
    """A cancel of what has left changes nothing and says cancel_too_late."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.accept(leased)
    assert await world.cancel("acme", "a1") == "left"
    event = await world.last("acme/a1")
    assert (event["state"], event["reason"], event["final"]) == ("submitted", "cancel_too_late", "0")


# ---- Late settles and receipts ---------------------------------------------------------------------------------------


async def test_a_late_settle_never_touches_anothers_lease_but_keeps_the_id(world: World) -> None:
    """An answer under an old fence leaves the new lease alone; its provider id finds the message for later receipts."""
    await world.send("acme", "a1")
    [first] = await world.take()
    world.pass_time(14 * SECOND)
    assert (await world.sweep()).unleased == 1
    await world.settle(resend(first))
    [second] = await world.take()
    assert (second.attempt, second.resend) == (2, True)
    assert await world.settle(accepted(first, "SM-first")) == ["late"]
    record = await world.shard.record("acme/a1")
    assert record is not None
    assert (record.state, record.fence, record.taken[0].provider_id) == ("leased", second.fence, "SM-first")
    assert await world.accept(second, "SM-second") == "submitted"


async def test_a_late_accept_of_an_unknown_outcome_makes_it_submitted(world: World) -> None:
    """While no later attempt has begun, the answer that came after the lease's end decides."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    world.pass_time(14 * SECOND)
    await world.sweep()
    assert await world.accept(leased) == "submitted"
    assert await world.states("acme/a1") == ["queued", "unknown", "submitted"]


async def test_a_late_give_back_of_an_unknown_outcome_makes_it_queued(world: World) -> None:
    """A process that was stopped and then gives back unsent says that nothing left; the message goes on unflagged."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    world.pass_time(14 * SECOND)
    await world.sweep()
    assert await world.settle(back(leased)) == ["queued"]
    [again] = await world.take()
    assert not again.resend
    assert "possible_duplicate" not in await world.last("acme/a1")


async def test_a_late_refusal_of_an_unknown_outcome_ends_it(world: World) -> None:
    """A clear no that came after the lease's end ends the message as failed."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    world.pass_time(14 * SECOND)
    await world.sweep()
    assert await world.settle(fail(leased, "bad_number")) == ["failed"]


async def test_a_receipt_of_an_earlier_attempt_ends_a_resend_that_still_waits(world: World) -> None:
    """The resend is withdrawn: the receipt proves that the first attempt was taken."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.settle(unknown(leased, world.now))
    await world.settle(resend(leased))
    assert await world.receipt(leased, "delivered") == "delivered"
    assert await world.take() == []
    assert (await world.last("acme/a1"))["state"] == "delivered"


async def test_a_receipt_before_its_settle_is_parked(world: World) -> None:
    """A receipt that overtakes the answer waits in the record and is merged right after the settle."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    assert await world.receipt(leased, "delivered") == "parked"
    assert await world.accept(leased) == "delivered"
    assert await world.states("acme/a1") == ["queued", "submitted", "delivered"]


async def test_a_receipt_before_its_settle_counts_when_the_process_died(world: World) -> None:
    """A parked receipt decides when the lease ends unsettled: nothing is unknown about a delivered message."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.receipt(leased, "delivered")
    world.pass_time(14 * SECOND)
    await world.sweep()
    assert await world.states("acme/a1") == ["queued", "unknown", "delivered"]
    assert await world.shard.claim(10, SECOND) == []


async def test_a_receipt_under_an_id_that_is_not_known_yet_is_kept(world: World) -> None:
    """A receipt that names only the provider's id waits for the settle that brings the id."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    from smsd.store.shard import ReceiptFor

    early = ReceiptFor("", 0, "main", "SM-x", "delivered")
    assert await world.shard.receipts([early]) == ["early"]
    assert await world.accept(leased, "SM-x") == "delivered"


# ---- Limits ----------------------------------------------------------------------------------------------------------


async def test_several_segments_at_a_small_limit_leave_alone(world: World) -> None:
    """A message that costs more than N leaves alone, and the limit then rests for cost/N periods."""
    await world.limit("acme", "2 segments/s")
    await world.send("acme", "big", segments=6)
    await world.send("acme", "small", segments=1)
    [big] = await world.take()
    assert big.message.id == "big"
    world.pass_time(2 * SECOND)
    assert await world.take() == []
    world.pass_time(2 * SECOND)
    assert [m.message.id for m in await world.take()] == ["small"]


async def test_a_changed_burst_lets_nothing_slip_through(world: World) -> None:
    """When N and b change under a busy limit, no window of the period lets more than the new N leave."""
    await world.limit("acme", "10/s burst 6")
    await count(world, "acme", "m", 40)
    assert len(await world.take(40)) == 6
    await world.limit("acme", "10/s burst 5")
    left = 6
    for _ in range(49):
        world.pass_time(SECOND // 50)
        left += len(await world.take(40))
    assert 6 < left <= 10
    for _ in range(50):
        world.pass_time(SECOND // 50)
        left += len(await world.take(40))
    assert 13 < left <= 20


async def test_a_lane_under_two_busy_limits_is_not_starved(world: World) -> None:
    """A lane that needs its tenant's and a shared sender's limit gets its turn though others keep both busy."""
    await world.limit("*", "1/s")
    await world.put(s__Shared=limits("1/s"))
    both = world.message("acme", "both", sender="Shared")
    for i in range(60):
        await world.send("acme", f"own{i}", sender="Own")
        await world.send(f"other{i}", "m", sender="Shared")
        if i == 5:
            await world.admit(both)
    for second in range(40):
        for leased in await world.take(100):
            if leased.message.id == "both":
                assert second < 30
                return
            await world.accept(leased)
        world.pass_time(SECOND + 2 * 20_000)
    pytest.fail("the lane under two limits never left")


async def test_who_has_used_up_a_day_keeps_nobody_back_at_a_shared_limit(world: World) -> None:
    """A lane that a shared sender lets through and its tenant's day stops keeps nobody back till then."""
    await world.limit("acme", "3/d")
    await world.put(s__Shared=limits("20/s"))
    for i in range(6):
        for campaign in ("spring", "summer"):
            await world.send("acme", f"{campaign}{i}", sender="Shared", campaign=campaign)
        for j in range(5):
            await world.send(f"other{j}", f"m{i}", sender="Shared")
    left: Counter[bool] = Counter()
    for _ in range(40):
        for leased in await world.take(100):
            left[leased.message.tenant == "acme"] += 1
            await world.accept(leased)
        world.pass_time(SECOND // 10)
    assert left == {True: 3, False: 30}


async def test_a_big_message_is_not_passed_by_newcomers_forever(world: World) -> None:
    """A message of several segments that waits at a limit is not overtaken by every single segment that comes later."""
    await world.put(s__Shared=limits("3 segments/s"))
    await world.send("aaa", "m", sender="Shared", segments=3)
    await world.send("acme", "big", sender="Shared", segments=3)
    assert [m.message.tenant for m in await world.take()] == ["aaa"]
    passed = 0
    for i in range(100):
        await world.send(f"new{i}", "m", sender="Shared", segments=1)
        for leased in await world.take():
            if leased.message.id == "big":
                assert passed <= 3
                return
            passed += 1
        world.pass_time(SECOND // 10)
    pytest.fail("the big message never left")


async def test_a_raised_limit_helps_those_who_wait_at_once(world: World) -> None:
    """After a raise, the waiting messages leave without waiting for the wake time of the old limit."""
    await world.limit("acme", "1/m")
    await count(world, "acme", "m", 5)
    assert len(await world.take()) == 1
    world.pass_time(SECOND)
    await world.limit("acme", "60/m")
    assert await world.take() == []
    world.pass_time(2 * SECOND)
    assert len(await world.take()) >= 1


async def test_a_removed_limit_empties_its_waiting_set(world: World) -> None:
    """When the limit is gone, whoever waited at it is ready again."""
    await world.limit("acme", "1/h")
    await count(world, "acme", "m", 5)
    assert len(await world.take()) == 1
    await world.limit("acme")
    assert len(await world.take()) == 4
    assert await world.client.zcard(keys.key(0, "wait")) == 0


async def test_a_limit_with_a_new_period_starts_with_an_empty_burst(world: World) -> None:
    """A re-keyed limit gives no fresh burst: it starts at now + b·T, and those who wait leave by the new one."""
    await world.limit("acme", "10/s burst 10")
    await count(world, "acme", "m", 30)
    assert len(await world.take(30)) == 10
    await world.limit("acme", "10/2s burst 2")
    assert await world.take(30) == []
    left = 0
    for _ in range(20):
        world.pass_time(SECOND // 10)
        left += len(await world.take(30))
    assert 6 <= left <= 10


async def test_a_limit_that_has_rested_is_no_new_one(world: World) -> None:
    """Beside a counted limit that still remembers, a paced one that nothing has used for long admits at once."""
    await world.limit("acme", "5/s", "500/d")
    for name in ("a", "b", "c"):
        await world.send("acme", name)
        assert [m.message.id for m in await world.take()] == [name]
        world.pass_time(3 * SECOND)


async def test_a_deleted_tenants_backlog_goes_on_under_the_defaults(world: World) -> None:
    """Dropping a tenant's settings drops no message."""
    await world.limit("acme", "1/h")
    await count(world, "acme", "m", 3)
    assert len(await world.take()) == 1
    await world.put(t__acme=None)
    assert len(await world.take()) == 2


async def test_a_provider_limit_beside_many_small_tenants_serves_all_in_turn(world: World) -> None:
    """A route's room is no place to wait: at a busy provider limit the fair order stands, all 200 are served."""
    await world.put(p__main=[1000, limits("50/s")])
    for i in range(200):
        await world.send(f"t{i}", "m")
        await world.send(f"t{i}", "n")
    served: list[str] = []
    while len(served) < 200:
        served += [m.message.tenant for m in await world.take(100)]
        world.pass_time(SECOND // 10)
    assert await world.client.zcard(keys.key(0, "wait")) == 0
    assert len(set(served[:200])) >= 190


# ---- Routes, providers, pauses ---------------------------------------------------------------------------------------


async def test_a_lane_bound_to_a_dead_provider_holds_up_nobody_and_expires(world: World) -> None:
    """What only a dead provider may take waits by itself; the tenant's others leave, and it ends unconfirmed."""
    await world.send("acme", "bound")
    [leased] = await world.take()
    await world.settle(unknown(leased, world.now))
    await world.settle(resend(leased, "main"))
    await world.send("acme", "free")
    got = await world.take(offers={"spare": (1, 10)})
    assert [m.message.id for m in got] == ["free"]
    world.pass_time(13 * HOUR)
    await world.sweep()
    assert (await world.last("acme/bound"))["state"] == "unconfirmed"
    assert await world.client.zcard(keys.key(0, "lanes")) == 0


async def test_many_lanes_bound_to_dead_providers_hold_up_nobody(world: World) -> None:
    """However many tenants wait for a provider that is away, other messages leave, and what another may serve too."""
    for i in range(300):
        await world.send(f"tenant{i}", "m")
    await world.send("acme", "both")
    taken = await world.take(400)
    at = {True: "spare,third", False: "spare"}
    await world.settle(*[elsewhere(leased, at[leased.message.tenant == "acme"]) for leased in taken])
    await count(world, "other", "m", 100, "marketing")
    left: Counter[str] = Counter()
    asked_again = 0
    for _ in range(60):
        lease = await world.ask(10, offers={"main": (1, 100), "third": (1, 100)})
        asked_again += lease.again
        for leased in lease.messages:
            left[leased.message.tenant] += 1
            await world.accept(leased)
        world.pass_time(SECOND // 200)
    assert left == {"acme": 1, "other": 100}
    assert asked_again < 20
    assert len(await world.take(400, offers={"spare": (1, 1000)})) == 300


async def test_a_message_expires_in_a_paused_lane(world: World) -> None:
    """The sweep ends what is over whatever it waits for, and says that it was paused."""
    await world.send("acme", "a1")
    await holds.pause(world.shard, "t:acme", reason="asked by the tenant")
    assert await world.take() == []
    world.pass_time(13 * HOUR)
    assert (await world.sweep()).expired == 1
    event = await world.last("acme/a1")
    assert (event["state"], event["reason"]) == ("expired", "paused")


async def test_a_message_expires_at_a_limit(world: World) -> None:
    """What a limit held until its deadline ends as expired, throttled_out."""
    await world.limit("acme", "1/d")
    await count(world, "acme", "m", 2)
    assert len(await world.take()) == 1
    world.pass_time(13 * HOUR)
    await world.sweep()
    event = await world.last("acme/m1")
    assert (event["state"], event["reason"]) == ("expired", "throttled_out")


@pytest.mark.parametrize(("limit", "reason"), [("1/h", "provider_down"), ("1/d", "throttled_out")])
async def test_a_limit_that_has_opened_is_not_what_a_message_waited_for(world: World, limit: str, reason: str) -> None:
    """On a route that nobody serves nobody asks the limits: it waited for a provider once the limit had opened."""
    await world.limit("acme", limit)
    await count(world, "acme", "m", 2)
    assert len(await world.take()) == 1
    world.pass_time(13 * HOUR)
    await world.sweep(dead_routes=["default"])
    assert (await world.last("acme/m1"))["reason"] == reason


async def test_what_expires_behind_the_head_of_a_lane_waited_at_the_same_limit(world: World) -> None:
    """Also when a lease finds it, once the limit has woken the lane."""
    await world.limit("acme", "1/s")
    await count(world, "acme", "m", 4, deadline=world.now + SECOND // 2)
    assert len(await world.take()) == 1
    world.pass_time(2 * SECOND)
    assert await world.take() == []
    events = [await world.last(f"acme/m{n}") for n in (1, 2, 3)]
    assert [event.get("reason") for event in events] == ["throttled_out"] * 3


@pytest.mark.parametrize("swept", [False, True])
async def test_a_provider_s_limit_is_what_a_message_waited_for(world: World, swept: bool) -> None:
    """Whether a lease or the sweep finds what expired; one that came once the limit had room was only too late."""
    await world.put(p__main=[1000, limits("1/s")])
    await count(world, "acme", "m", 3, deadline=world.now + SECOND // 2)
    assert len(await world.take(offers={"main": (1, 9)})) == 1
    world.pass_time(2 * SECOND)
    await count(world, "acme", "late", 1, deadline=world.now + SECOND)
    world.pass_time(2 * SECOND)
    if swept:
        await world.sweep()
    assert await world.take(offers={"main": (1, 9)}) == []
    events = [await world.last(f"acme/{id_}") for id_ in ("m1", "m2", "late0")]
    assert [event.get("reason") for event in events] == ["throttled_out", "throttled_out", "expired"]


async def test_a_woken_lane_that_is_paused_lets_the_next_one_wake(world: World) -> None:
    """A wake that meets a pause goes to the paused ones; the next waiter is woken; resume makes it ready."""
    await world.put(s__Shared=limits("1/s"))
    for tenant in ("first", "second", "third"):
        await world.send(tenant, "m", sender="Shared")
    assert [m.message.tenant for m in await world.take()] == ["first"]
    await holds.pause(world.shard, "t:second")
    world.pass_time(SECOND + 20_000)
    got = await world.take()
    world.pass_time(SECOND + 20_000)
    got += await world.take()
    assert [m.message.tenant for m in got] == ["third"]
    await holds.resume(world.shard, "t:second")
    await world.sweep()
    world.pass_time(SECOND + 20_000)
    assert [m.message.tenant for m in await world.take()] == ["second"]


async def test_a_woken_lane_on_a_dead_route_keeps_nobody_back(world: World) -> None:
    """A lane that was woken but whose route nobody leases does not keep the limit from those behind it."""
    await world.put(s__Shared=limits("1/s"))
    await world.send("zero", "m", sender="Shared")
    await world.take()
    await world.send("dead", "m", sender="Shared", route="dead")
    assert await world.take(route="dead") == []
    await world.send("alive", "m", sender="Shared")
    got = []
    for _ in range(4):
        world.pass_time(SECOND + 20_000)
        got += await world.take()
    assert [m.message.tenant for m in got] == ["alive"]


async def test_a_class_at_its_share_is_skipped(world: World) -> None:
    """Marketing holds at most its share of what the offered providers may have in flight; reminders take the rest."""
    await world.put(
        classes=[["reminder", 8, 1000, HOUR], ["marketing", 1, 500, HOUR]],
        p__main=[10, []],
    )
    await count(world, "acme", "ad", 20, "marketing")
    assert len(await world.take(20)) == 5
    await count(world, "acme", "r", 20)
    assert len(await world.take(20)) == 5
    assert await world.take(20) == []


async def test_room_comes_back_with_every_settle(world: World) -> None:
    """What is in flight is what is leased: every end of a lease gives its room back, also by sweep."""
    await world.put(p__main=[3, []])
    await count(world, "acme", "m", 9)
    one, two, three = await world.take(9)
    await world.accept(one)
    await world.settle(back(two))
    assert len(await world.take(9)) == 2
    world.pass_time(14 * SECOND)
    await world.sweep()
    assert len(await world.take(9)) == 3
    assert await world.settle(accepted(three, "SM-3")) == ["submitted"]


async def test_a_message_that_was_surely_not_taken_is_not_flagged(world: World) -> None:
    """Two complete looks by our own reference clear the doubt; by listing, the second try is flagged."""
    await world.send("acme", "sure")
    await world.send("acme", "listed")
    one, two = await world.take()
    await world.settle(unknown(one, world.now), unknown(two, world.now))
    await world.settle(clear(one, 0), clear(two, 1))
    flags = {m.message.id: m.resend for m in await world.take()}
    assert flags == {one.message.id: False, two.message.id: True}
