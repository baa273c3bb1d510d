"""One message's story: what happened, what holds it now and until when, where the time went."""

from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from smsd.config import Config
from smsd.control.processes import Process, leave, tell
from smsd.control.revision import publish
from smsd.control.story import Delays, Story, held_by_nobody, refused, story
from smsd.message import Rejection
from smsd.store import holds, optouts
from smsd.store.dead import fields_of
from tests.support.config import config
from tests.support.world import HOUR, SECOND, World, accepted, back, retry, unknown

EXTRA = '[tenants.slow]\nlimits = ["5/s"]\n[tenants.busy]\nlimits = ["3/h"]\n'


class Desk:
    """A shard under a virtual clock, with a config in force whose route has limits."""

    def __init__(self, world: World, mine: Config) -> None:
        self.world, self.mine = world, mine

    async def ask(self, tenant: str, id_: str) -> Story:
        told = await story(self.mine, self.world.shard, tenant, id_, self.world.now)
        assert told is not None
        return told


@pytest.fixture
async def desk(redis: Redis, tmp_path: Path) -> Desk:
    made = Desk(World(redis), config(tmp_path, extra=EXTRA))
    await publish(made.mine, [made.world.shard])
    return made


async def test_a_delivered_message_tells_where_its_time_went(desk: Desk) -> None:
    """The four delays are those between taking, leaving, answer and receipt; nothing holds it any more."""
    world = desk.world
    await world.send("acme", "m1", campaign="spring")
    world.pass_time(2 * SECOND)
    (leased,) = await world.take(1)
    world.pass_time(300_000)
    await world.settle(accepted(leased, "SM1"))
    world.pass_time(5 * SECOND)
    await world.receipt(leased, "delivered", provider_id="SM1")
    told = await desk.ask("acme", "m1")
    assert (told.state, told.final, told.campaign, told.holds) == ("delivered", True, "spring", [])
    delays = told.delays
    assert (delays.queue_ms, delays.limit_ms, delays.submit_ms, delays.receipt_ms) == (2000, 0, 300, 5000)
    assert [step.what for step in told.history] == ["taken", "submitted", "delivered"]


async def test_the_time_at_a_limit_is_told_apart(desk: Desk) -> None:
    """Of the queue's delay, how long the message was first in line and a limit refused it."""
    world = desk.world
    for i in range(2):
        await world.send("slow", f"m{i}")
    (first,) = await world.take(10)
    await world.settle(accepted(first, "SM0"))
    world.pass_time(SECOND)
    (second,) = await world.take(10)
    told = await desk.ask("slow", second.message.id)
    assert told.delays.limit_ms is not None
    assert 150 < told.delays.limit_ms <= 1000


async def test_a_message_behind_many_is_told_when_its_limit_lets_it_out(desk: Desk) -> None:
    """The estimate is within a tenth of when the scripts then take it."""
    world = desk.world
    for i in range(100):
        await world.send("slow", f"m{i}", deadline=world.now + HOUR)
    told = await desk.ask("slow", "m99")
    (hold,) = told.holds
    assert (hold.kind, hold.name, hold.estimate) == ("limit", "t:slow", True)
    assert "an estimate" in hold.sentence
    assert hold.until_ms is not None
    began, left_us = world.now, 0
    while not left_us:
        lease = await world.ask(50)
        for leased in lease.messages:
            await world.accept(leased)
            left_us = world.now if leased.message.id == "m99" else left_us
        if not lease.messages:
            world.pass_time(max(1, lease.wake_us - world.now))
    assert hold.until_ms * 1000 - began == pytest.approx(left_us - began, rel=0.1)


async def test_a_used_up_window_says_when_it_opens(desk: Desk) -> None:
    """Under 3/h the fourth message waits for the first to leave the window."""
    world = desk.world
    for i in range(4):
        await world.send("busy", f"m{i}")
    taken = await world.take(10)
    assert len(taken) == 3
    told = await desk.ask("busy", "m3")
    (hold,) = told.holds
    assert hold.until_ms is not None
    assert hold.until_ms * 1000 - world.now == pytest.approx(HOUR, rel=0.03)


async def test_a_pause_says_who_why_and_until_when(desk: Desk) -> None:
    """What a person did is told as that, and without an end nobody guesses one."""
    world = desk.world
    await world.send("acme", "m1")
    await holds.pause(world.shard, "t:acme", by="ann", reason="wrong prices")
    (hold,) = (await desk.ask("acme", "m1")).holds
    assert (hold.kind, hold.until_ms, hold.estimate) == ("pause", None, False)
    assert "paused by ann" in hold.sentence
    assert "wrong prices" in hold.sentence
    assert "until somebody resumes it" in hold.sentence
    await holds.pause(world.shard, "t:acme", until_us=world.now + HOUR, by="ann")
    (hold,) = (await desk.ask("acme", "m1")).holds
    assert hold.until_ms == (world.now + HOUR) // 1000


async def test_a_message_whose_time_has_not_come_says_when(desk: Desk) -> None:
    """Its not_before, and that is no estimate."""
    world = desk.world
    await world.send("acme", "m1", not_before=world.now + HOUR)
    (hold,) = (await desk.ask("acme", "m1")).holds
    assert (hold.kind, hold.until_ms, hold.estimate) == ("time", (world.now + HOUR) // 1000, False)


async def test_a_retry_waits_for_its_time(desk: Desk) -> None:
    """What the provider answered is in the history, and the next attempt's time is what holds it."""
    world = desk.world
    await world.send("acme", "m1")
    (leased,) = await world.take(1)
    await world.settle(retry(leased, world.now + 30 * SECOND))
    told = await desk.ask("acme", "m1")
    assert [hold.kind for hold in told.holds] == ["time"]
    assert told.attempts == 1


async def test_providers_that_are_all_paused_hold_it(desk: Desk) -> None:
    """With the reason of each, and when the first is offered again."""
    world = desk.world
    await world.send("acme", "m1")
    await holds.pause(world.shard, "p:main", until_us=world.now + SECOND, reason="no funds")
    (hold,) = (await desk.ask("acme", "m1")).holds
    assert (hold.kind, hold.until_ms) == ("provider", (world.now + SECOND) // 1000)
    assert "no funds" in hold.sentence


async def test_what_is_being_cancelled_says_so(desk: Desk) -> None:
    """Before its event is there, the order is what holds it."""
    await desk.world.send("acme", "m1")
    await holds.withdraw(desk.world.shard, "t:acme", by="ann")
    (hold,) = (await desk.ask("acme", "m1")).holds
    assert hold.kind == "withdrawal"


async def test_what_has_left_waits_for_its_receipt_or_to_be_found_out(desk: Desk) -> None:
    """Submitted until its receipt's time is over; unknown until the next look."""
    world = desk.world
    await world.send("acme", "m1")
    await world.send("acme", "m2")
    first, second = await world.take(2)
    assert [(await desk.ask("acme", m.message.id)).holds[0].kind for m in (first, second)] == ["leaving", "leaving"]
    await world.settle(accepted(first, "SM1"), unknown(second, world.now + SECOND))
    kinds = [(await desk.ask("acme", m.message.id)).holds[0].kind for m in (first, second)]
    assert kinds == ["receipt", "look_up"]


async def test_a_cancel_that_came_first_is_all_that_is_known(desk: Desk) -> None:
    """The tomb of an id has no history."""
    await desk.world.cancel("acme", "later")
    told = await desk.ask("acme", "later")
    assert (told.state, told.history, told.holds) == ("tomb", [], [])


async def test_an_unknown_id_has_no_story_but_perhaps_a_rejection(desk: Desk) -> None:
    """An entry that was not taken is found by the id that it asked for, with what would mend it."""
    world = desk.world
    fields = ((b"tenant", b"acme"), (b"id", b"m1"), (b"to", b"x"))
    rejection = Rejection("bad_number", "to: is no number", "5-1", "acme", "m1", fields)
    await world.shard.admit([rejection], "reminder", from_inbox=False)
    assert await story(desk.mine, world.shard, "acme", "m1", world.now) is None
    no = await refused([world.shard], "acme", "m1")
    assert no is not None
    assert (no.reason, no.detail) == ("bad_number", "to: is no number")
    assert await fields_of(world.shard, no.dead_id) is not None
    assert [await refused([world.shard], *whose) for whose in (("acme", "m2"), ("b", "m1"))] == [None, None]


async def test_a_rejection_is_found_however_it_was_written(desk: Desk) -> None:
    """As one json field; without an id, by the one that it would have got; in the wrong shard; the newest of two."""
    first, second = desk.world, World(desk.world.client, 1)
    fields = ((b"json", b'{"tenant": "acme", "id": "j1"}'),)
    for world, detail in ((first, "older"), (second, "newer")):
        await world.shard.admit(
            [Rejection("bad_number", detail, "", "acme", "j1", fields)], "reminder", from_inbox=False
        )
        second.pass_time(2 * SECOND)
    nameless = Rejection("bad_number", "no id", "7-1", "acme", "", ((b"tenant", b"acme"),))
    await first.shard.admit([nameless], "reminder", from_inbox=False)
    shards = [first.shard, second.shard]
    found = [await refused(shards, "acme", id_) for id_ in ("j1", "reminder-7-1")]
    assert [one and one.detail for one in found] == ["newer", "no id"]


async def test_a_retrys_time_is_no_not_before(desk: Desk) -> None:
    """The queue's delay counts from the taking also where the first thing told was a retry; and from a not_before."""
    world = desk.world
    await world.send("acme", "m1")
    (leased,) = await world.take(1)
    world.pass_time(SECOND)
    await world.settle(retry(leased, world.now + 30 * SECOND))
    assert (await desk.ask("acme", "m1")).holds[0].sentence.startswith("it is tried again at")
    world.pass_time(32 * SECOND)
    await world.take(1)
    assert (await desk.ask("acme", "m1")).delays.queue_ms == 33_000
    await world.send("acme", "m2", not_before=world.now + 10 * SECOND)
    assert (await desk.ask("acme", "m2")).holds[0].sentence.startswith("its time comes at")
    world.pass_time(12 * SECOND)
    await world.take(1)
    assert (await desk.ask("acme", "m2")).delays.queue_ms == 2000


async def test_one_that_was_given_back_has_not_left(desk: Desk) -> None:
    """What no attempt is counted for has no delays yet."""
    world = desk.world
    await world.send("acme", "m1")
    (leased,) = await world.take(1)
    assert (await desk.ask("acme", "m1")).delays.queue_ms == 0
    await world.settle(back(leased))
    assert (await desk.ask("acme", "m1")).delays == Delays()


async def test_where_nobody_works_that_is_what_it_waits_for(desk: Desk) -> None:
    """Told to who asks from outside, before all else; not while a process works, nor of what has ended."""
    world = desk.world
    await world.send("acme", "m1", not_before=world.now + HOUR)
    told = await desk.ask("acme", "m1")
    seen = await held_by_nobody(desk.mine, told, world.shard, world.now)
    assert [hold.kind for hold in seen.holds] == ["process", "time"]
    now_ms = world.now // 1000
    one = Process(process="h-1-x", host="h", pid=1, version="1", since_ms=0, at_ms=now_ms, revision=1, file="in_force")
    await tell(world.shard, one)
    assert await held_by_nobody(desk.mine, told, world.shard, world.now) == told
    await leave(world.shard, "h-1-x")
    assert await held_by_nobody(desk.mine, told, world.shard, world.now, here=True) == told
    await world.cancel("acme", "m1")
    ended = await desk.ask("acme", "m1")
    assert await held_by_nobody(desk.mine, ended, world.shard, world.now) == ended


async def test_where_no_provider_answers_that_is_what_it_waits_for(desk: Desk) -> None:
    """As soon as every process finds all of its route dead, and not before its own time has come."""
    world = desk.world
    await world.send("acme", "m1")
    await world.send("acme", "later", not_before=world.now + HOUR)
    now, later = await desk.ask("acme", "m1"), await desk.ask("acme", "later")
    one = Process(
        process="h-1-x", host="h", pid=1, version="1", since_ms=0, at_ms=world.now // 1000, revision=1, file="in_force",
        dead=["other", "main"],
    )  # fmt: skip
    await tell(world.shard, one)
    (hold,) = (await held_by_nobody(desk.mine, now, world.shard, world.now, here=True)).holds
    assert (hold.kind, hold.name, hold.until_ms) == ("provider", "main", None)
    assert await held_by_nobody(desk.mine, later, world.shard, world.now) == later
    await tell(world.shard, msgspec.structs.replace(one, process="h-2-x", dead=[]))
    assert await held_by_nobody(desk.mine, now, world.shard, world.now) == now


async def test_a_message_that_an_opt_out_stopped_tells_of_the_list(desk: Desk) -> None:
    """What is closed now, of the tenant and from the sender; nothing of others, and nothing once it is opened."""
    world, anna = desk.world, "+353861234567"
    await optouts.close(world.shard, "t:acme", [optouts.OptOut(anna, "all", source="inbound", provider="main")])
    await world.send("acme", "m1")
    await optouts.close(world.shard, "s:Salon", [optouts.OptOut(anna, "marketing", source="api")])
    told = await desk.ask("acme", "m1")
    assert (told.state, told.history[-1].facts["detail"]) == ("suppressed", "all of this tenant")
    assert [(one.whose, one.scope, one.source) for one in told.opted_out] == [
        ("tenant", "all", "inbound"),
        ("sender", "marketing", "api"),
    ]
    await optouts.open_(world.shard, "t:acme", [anna])
    await world.send("acme", "m2")
    assert [one.whose for one in (await desk.ask("acme", "m1")).opted_out] == ["sender"]
    assert (await desk.ask("acme", "m2")).opted_out == []
