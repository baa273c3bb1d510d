"""The verbs of a shard, each on its own: words, repeats, bad batches, memory, clocks. test_corners.py has the rules."""

import asyncio

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from smsd.message import Cancel, Rejection
from smsd.store import holds, keys
from smsd.store.record import INDEX
from smsd.store.shard import ClockDiffers, Offer, ReceiptFor, Shard
from tests.support.valkey import Valkey
from tests.support.world import (
    HOUR,
    SECOND,
    SLACK,
    World,
    accepted,
    ask,
    elsewhere,
    fail,
    hold,
    limits,
    moved,
    resend,
    retry,
    unknown,
)


def rejection(**more: object) -> Rejection:
    """An entry that could not be taken."""
    fields = {"reason": "bad_json", "detail": "no JSON object", "entry_id": "7-0", "tenant": "", "given_id": "",
              "fields": ((b"json", b"\xff{"),)} | more  # fmt: skip
    return Rejection(**fields)  # pyright: ignore[reportArgumentType]


async def inbox_entry(world: World) -> str:
    """An entry of the reminders' inbox, read by a consumer and not acknowledged; its id."""
    stream = keys.inbox(0, "reminder")
    await world.client.xgroup_create(stream, keys.GROUP, "0", mkstream=True)
    entry: bytes = await ask(world.client, "XADD", stream, "*", "tenant", "acme")
    await world.client.xreadgroup(keys.GROUP, "c", {stream: ">"})  # pyright: ignore[reportUnknownMemberType]
    return entry.decode()


async def test_an_admitted_entry_leaves_the_inbox_with_its_acknowledgement(world: World) -> None:
    """XACK and XDEL are part of the admission: nothing stays in the stream or pending."""
    entry = await inbox_entry(world)
    assert await world.shard.admit([world.message("acme", "a1", entry=entry)], "reminder") == ["taken"]
    assert await world.client.xlen(keys.inbox(0, "reminder")) == 0
    assert (await world.client.xpending(keys.inbox(0, "reminder"), keys.GROUP))["pending"] == 0
    assert (await world.last("acme/a1"))["entry_id"] == entry


async def test_the_same_message_is_taken_once(world: World) -> None:
    """A repeat changes nothing, and is acknowledged all the same."""
    assert await world.send("acme", "a1") == "taken"
    assert await world.send("acme", "a1") == "repeated"
    assert await world.states("acme/a1") == ["queued"]
    assert len(await world.take()) == 1


async def test_the_same_id_with_other_content_conflicts_and_stays_pending(world: World) -> None:
    """A conflict does nothing yet: the caller admits a rejection with the original fields, which acknowledges it."""
    await world.send("acme", "a1")
    entry = await inbox_entry(world)
    other = world.message("acme", "a1", body="Something else.", entry=entry)
    assert await world.shard.admit([other], "reminder") == ["conflict"]
    assert (await world.client.xpending(keys.inbox(0, "reminder"), keys.GROUP))["pending"] == 1
    refused = rejection(reason="id_conflict", entry_id=entry, tenant="acme", given_id="a1")
    assert await world.shard.admit([refused], "reminder") == ["rejected"]
    assert (await world.client.xpending(keys.inbox(0, "reminder"), keys.GROUP))["pending"] == 0


async def test_a_rejected_entry_is_told_and_kept_whole(world: World) -> None:
    """The event is about the entry (seq 0); the dead stream keeps the original fields, whatever bytes they hold."""
    entry = await inbox_entry(world)
    assert await world.shard.admit([rejection(entry_id=entry, tenant="acme", given_id="x")], "reminder") == ["rejected"]
    [event] = await world.events()
    assert event["id"] == f"reminder-{entry}"
    assert (event["state"], event["seq"], event["reason"], event["given_id"]) == ("rejected", "0", "bad_json", "x")
    [(_, dead)] = await ask(world.client, "XRANGE", keys.key(0, "dead"), "-", "+")
    assert dead[b"in.json"] == b"\xff{"
    assert (dead[b"reason"], dead[b"entry_id"]) == (b"bad_json", entry.encode())


async def test_a_repeated_rejection_is_told_once(world: World) -> None:
    """When the reply was lost and the call is made again, the entry has been handled."""
    entry = await inbox_entry(world)
    await world.shard.admit([rejection(entry_id=entry)], "reminder")
    assert await world.shard.admit([rejection(entry_id=entry)], "reminder") == ["handled"]
    assert len(await world.events()) == 1


async def test_one_guilty_entry_does_not_keep_back_its_batch(world: World) -> None:
    """When the script fails on a batch, the entries go one by one and the guilty one is rejected as internal."""
    await world.client.hset(keys.key(0, "msg"), "acme/bad", b"\xc1 not a record")  # pyright: ignore
    batch = [world.message("acme", "a1"), world.message("acme", "bad"), world.message("acme", "a2")]
    assert await world.shard.admit(batch, "reminder", from_inbox=False) == ["taken", "rejected", "taken"]
    reasons = [event["reason"] for event in await world.events() if event["state"] == "rejected"]
    assert reasons == ["internal"]


async def test_a_lease_that_is_asked_for_again_gives_the_same_messages(world: World) -> None:
    """A lost reply costs nothing: under the same request the same messages come back, charged once and as they were."""
    await world.send("acme", "a1")
    ask = {"n": 5, "request": "r-lost", "process": "p1", "span_us": 13 * SECOND}
    first = await world.shard.lease("default", [Offer("main", 1, 10)], **ask)
    world.pass_time(SECOND // 2)
    again = await world.shard.lease("default", [Offer("main", 1, 10)], **ask)
    assert again.messages == first.messages
    assert len(again.messages) == 1
    assert again.taken_us == first.taken_us == world.now - SECOND // 2
    await world.accept(first.messages[0])
    assert (await world.shard.lease("default", [Offer("main", 1, 10)], **ask)).messages == []


async def test_a_settle_that_is_repeated_changes_nothing(world: World) -> None:
    """The fence and the state make the repeat harmless."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    assert await world.accept(leased) == "submitted"
    assert await world.accept(leased) == "late"
    assert await world.states("acme/a1") == ["queued", "submitted"]


async def test_a_settle_of_an_unknown_message_says_so(world: World) -> None:
    """What the store never knew is gone, and harms nothing."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.client.hdel(keys.key(0, "msg"), "acme/a1")
    assert await world.accept(leased) == "gone"


async def test_heads_leave_by_deadline_and_equals_by_arrival(world: World) -> None:
    """Inside a flow the order is that of the deadlines; equal ones keep their order of arrival."""
    deadline = world.now + HOUR
    for id_ in ("z", "m", "a"):
        await world.send("acme", id_, deadline=deadline)
    await world.send("acme", "urgent", deadline=deadline - SECOND)
    assert [m.message.id for m in await world.take()] == ["urgent", "z", "m", "a"]


async def test_a_message_waits_for_its_time(world: World) -> None:
    """not_before keeps it in the due set; the lease says when to wake, and it leaves then."""
    assert await world.send("acme", "later", not_before=world.now + 5 * SECOND) == "due"
    lease = await world.ask()
    assert (lease.messages, lease.wake_us) == ([], world.now + 5 * SECOND)
    assert (await world.last("acme/later"))["due"] == str((world.now + 5 * SECOND) // 1000)
    world.pass_time(5 * SECOND)
    assert len(await world.take()) == 1


async def test_one_process_looks_when_the_time_has_come_and_the_others_only_in_case_it_does_not(world: World) -> None:
    """Of two that find nothing, the second is told a later time, until the first one's is over."""
    at = world.now + 5 * SECOND
    await world.send("acme", "later", not_before=at)
    assert (await world.ask(process="p1")).wake_us == at
    assert (await world.ask(process="p2")).wake_us == at + SECOND // 20
    assert (await world.ask(process="p1")).wake_us == at
    await world.send("acme", "sooner", not_before=at - SECOND)
    assert (await world.ask(process="p2")).wake_us == at - SECOND
    world.pass_time(6 * SECOND)
    assert {m.message.id for m in (await world.ask(process="p3")).messages} == {"sooner", "later"}


async def test_what_a_limit_admits_soon_is_leased_for_its_own_instant(world: World) -> None:
    """A lease may look ahead: each message is charged for the instant at which its limit admits it, and no earlier."""
    await world.limit("acme", "10/s")
    for name in ("a", "b", "c", "d"):
        await world.send("acme", name)
    spacing = limits("10/s")[0][4]
    lease = await world.ask(ahead_us=2 * spacing)
    assert [m.start_us - world.now for m in lease.messages] == [0, spacing, 2 * spacing]
    assert all(m.punctual for m in lease.messages)
    assert lease.wake_us == world.now + spacing
    assert (await world.ask()).messages == []
    world.pass_time(3 * spacing - 1)
    assert (await world.ask()).messages == []
    world.pass_time(1)
    assert [m.message.id for m in (await world.ask()).messages] == ["d"]


async def test_the_bell_names_who_went_to_sleep_last(world: World) -> None:
    """One process is woken for a message that becomes ready, once; who takes a full lease does not sleep."""
    async with world.client.pubsub() as line:
        await line.subscribe(keys.key(0, "bell"))
        for process in ("p1", "p2"):
            await world.ask(process=process)
        await world.send("acme", "a1")
        await world.send("acme", "a2")
        assert len((await world.ask(1, process="p1")).messages) == 1
        await world.send("acme", "a3")
        await world.ask(process="p3")
        await world.send("acme", "a4")
        rung: list[bytes] = []
        async with asyncio.timeout(10):
            while len(rung) < 2:
                message = await line.get_message(ignore_subscribe_messages=True, timeout=5)
                rung += [message["data"]] if message else []
        assert rung == [b"default\tp2", b"default\tp3"]


async def test_a_retry_comes_back_at_its_time_and_counts(world: World) -> None:
    """A deferred message waits out its delay; the attempt counts where it was one."""
    await world.send("acme", "a1")
    [one] = await world.take()
    await world.settle(retry(one, world.now + 2 * SECOND))
    assert await world.take() == []
    world.pass_time(2 * SECOND)
    [two] = await world.take()
    assert (two.attempt, two.tries) == (2, 1)
    await world.settle(retry(two, world.now, counted=0))
    [three] = await world.take()
    assert three.tries == 1


async def test_a_refused_message_may_be_tried_by_the_others_only(world: World) -> None:
    """What one provider refused for itself waits in a lane that only the others serve."""
    await world.send("acme", "a1")
    [one] = await world.take()
    await world.settle(elsewhere(one, "spare"))
    assert await world.take() == []
    world.pass_time(SECOND)
    [two] = await world.take(offers={"main": (1, 9), "spare": (1, 9)})
    assert two.provider == "spare"


async def test_a_moved_message_is_served_by_the_other_route_only(world: World) -> None:
    """What did not leave by one route waits in the other's lane, no attempt counted, and its event says why."""
    await world.send("acme", "a1")
    [one] = await world.take()
    assert await world.settle(moved(one, "other")) == ["queued"]
    assert (await world.last("acme/a1"))["detail"] == "moved"
    assert await world.take() == []
    [two] = await world.take(route="other", offers={"spare": (1, 9)})
    assert (two.provider, two.attempt, two.tries, two.bound) == ("spare", 1, 0, "")
    assert await world.accept(two) == "submitted"


async def test_what_bound_a_message_does_not_bind_it_on_another_route(world: World) -> None:
    """A resend that only one provider may make is moved as any other, and stays flagged as possibly doubled."""
    await world.send("acme", "a1")
    [one] = await world.take()
    await world.settle(unknown(one, world.now))
    await world.settle(resend(one, "main"))
    world.pass_time(SECOND)
    [two] = await world.take()
    assert two.bound == "main"
    assert await world.settle(moved(two, "other")) == ["queued"]
    [three] = await world.take(route="other", offers={"spare": (1, 9)})
    assert (three.provider, three.bound, three.attempt) == ("spare", "", 2)


async def test_a_refusal_ends_the_message_and_erases_its_body(world: World) -> None:
    """The body goes with the final state; the record stays for retention.messages."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    assert await world.settle(fail(leased, "bad_number")) == ["failed"]
    assert await world.shard.message("acme/a1") is None
    assert (await world.last("acme/a1"))["reason"] == "bad_number"
    world.pass_time(72 * HOUR)
    assert (await world.sweep()).purged == 1
    assert await world.shard.record("acme/a1") is None
    assert await world.send("acme", "a1") == "taken"


async def test_a_body_may_be_kept_for_a_time_after_the_end(world: World) -> None:
    """It is erased then, and the record stays; one that would outlive its record goes with it."""
    await world.put(keep=[72 * HOUR, HOUR, SLACK])
    await world.send("acme", "a1")
    await world.settle(fail((await world.take())[0], "bad_number"))
    world.pass_time(HOUR - 1)
    await world.sweep()
    assert await world.shard.message("acme/a1") is not None
    world.pass_time(1)
    await world.sweep()
    assert await world.shard.message("acme/a1") is None
    assert await world.shard.record("acme/a1") is not None
    await world.put(keep=[72 * HOUR, 100 * HOUR, SLACK])
    await world.send("acme", "a2")
    await world.settle(fail((await world.take())[0], "bad_number"))
    world.pass_time(72 * HOUR)
    assert (await world.sweep()).purged == 2
    assert await world.shard.message("acme/a2") is None
    assert await world.client.zcard(keys.key(0, "bodyat")) == 0


async def test_a_receipt_that_never_comes_ends_as_unconfirmed_and_a_late_one_still_counts(world: World) -> None:
    """After receipt_timeout the end is unconfirmed; a true receipt that comes late replaces it and says so."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.accept(leased)
    world.pass_time(48 * HOUR)
    assert (await world.sweep()).unconfirmed == 1
    submitted, event = (await world.events("acme/a1"))[-2:]
    assert (event["state"], event["reason"]) == ("unconfirmed", "no_receipt")
    assert [event[name] == submitted[name] for name in ("provider", "provider_id", "attempt")] == [True] * 3
    assert await world.receipt(leased, "delivered") == "late"
    event = await world.last("acme/a1")
    assert (event["state"], event["late"]) == ("delivered", "1")


async def test_what_may_have_left_ends_with_whom_to_ask(world: World) -> None:
    """The provider and the attempt that stands as unknown; nobody, where that is an attempt before the last."""
    await world.send("acme", "last")
    [leased] = await world.take()
    await world.settle(unknown(leased, world.now))
    await world.settle(hold(leased))
    await world.send("acme", "first")
    [leased] = await world.take()
    await world.settle(unknown(leased, world.now))
    await world.settle(resend(leased))
    await world.settle(fail((await world.take())[0], "bad_number"))
    world.pass_time(49 * HOUR)
    await world.sweep()
    last, first = await world.last("acme/last"), await world.last("acme/first")
    assert (last["state"], last["provider"], last["attempt"]) == ("unconfirmed", "main", "1")
    assert first["state"] == "unconfirmed"
    assert "provider" not in first


@pytest.mark.parametrize(
    ("first", "second", "words", "state"),
    [
        ("delivered", "delivered", ["delivered", "repeated"], "delivered"),
        ("delivered", "undelivered", ["delivered", "contradicting"], "delivered"),
        ("undelivered", "delivered", ["undelivered", "late"], "delivered"),
        ("sent", "delivered", ["noted", "delivered"], "delivered"),
        ("undelivered", "sent", ["undelivered", "noted"], "undelivered"),
    ],
)
async def test_receipts_merge_by_the_monotonic_table(
    world: World, first: str, second: str, words: list[str], state: str
) -> None:
    """delivered replaces every other end; a repeated, reordered or contradicting receipt never takes a message back."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.accept(leased)
    assert [await world.receipt(leased, first), await world.receipt(leased, second)] == words
    assert (await world.last("acme/a1"))["state"] == state


async def test_an_orphaned_receipt_is_kept_in_bounds_and_forgotten_in_time(world: World) -> None:
    """Receipts that nothing claims are bounded in count and age."""
    orphans = [ReceiptFor("", 0, "main", f"SM-{i}", "delivered") for i in range(3)]
    assert await world.shard.receipts(orphans, most_early=2) == ["early", "early", "dropped"]
    assert await world.shard.receipts(orphans[:1], most_early=2) == ["repeated"]
    world.pass_time(2 * HOUR)
    assert (await world.sweep()).forgotten == 2
    assert await world.client.hlen(keys.key(0, "early")) == 0  # pyright: ignore


async def test_an_unknown_outcome_is_claimed_by_one_process_at_a_time(world: World) -> None:
    """A claim keeps the others away for a while, and comes back when nothing was settled."""
    await world.send("acme", "a1")
    await world.take()
    world.pass_time(13 * SECOND)
    assert (await world.sweep()).unleased == 1
    world.pass_time(5 * SECOND)
    [claimed] = await world.shard.claim(10, 30 * SECOND)
    assert (claimed.key, claimed.provider, claimed.attempt) == ("acme/a1", "main", 1)
    assert await world.shard.claim(10, 30 * SECOND) == []
    world.pass_time(30 * SECOND)
    assert len(await world.shard.claim(10, 30 * SECOND)) == 1


async def test_publishing_the_same_config_again_changes_nothing(world: World) -> None:
    """The revision moves with the content, and a field that is gone is removed."""
    first = await world.shard.publish("same", b"source", world.settings)
    assert await world.shard.publish("same", b"source", world.settings) == first
    del world.settings["p:spare"]
    assert await world.shard.publish("other", b"source", world.settings) == first + 1
    assert not await world.client.hexists(keys.key(0, "conf"), "p:spare")  # pyright: ignore


async def test_a_process_whose_clock_differs_from_the_stores_does_nothing(redis: Redis) -> None:
    """When the two clocks disagree by more than the step, the script refuses and the shard is as it was."""
    shard = Shard(redis, clock_step_us=1)
    with pytest.raises(ClockDiffers):
        await shard.lease("default", [], n=1, request="r", process="p", span_us=SECOND)
    assert await redis.keys("smsd:*") == []


async def test_admission_stops_when_memory_is_short_and_settling_does_not(start_valkey: object) -> None:
    """What only ends or tidies up may always run; what grows is refused by the server before it writes."""
    server: Valkey = start_valkey()  # pyright: ignore
    client = Redis.from_url(server.url)
    world = World(client)
    await world.put()
    await world.send("acme", "a1")
    [leased] = await world.take()
    await client.config_set("maxmemory", "1mb")
    with pytest.raises(OutOfMemoryError):
        await world.send("acme", "a2")
    assert await world.accept(leased) == "submitted"
    assert await world.receipt(leased, "delivered") == "delivered"
    await client.aclose()


async def test_pausing_everything_stops_every_lease(world: World) -> None:
    """Under `all` nothing leaves, and nothing is moved; lifted, everything goes on."""
    await world.send("acme", "a1")
    assert await holds.pause(world.shard, "all", reason="maintenance")
    assert not await holds.pause(world.shard, "all", reason="maintenance")
    assert await world.take() == []
    assert await holds.resume(world.shard, "all")
    assert len(await world.take()) == 1


async def test_a_pause_with_an_end_ends_by_itself(world: World) -> None:
    """After its time the mark is dropped and the lanes are ready again."""
    await world.send("acme", "a1")
    await holds.pause(world.shard, "t:acme", until_us=world.now + 10 * SECOND)
    assert await world.take() == []
    world.pass_time(10 * SECOND)
    await world.sweep()
    assert len(await world.take()) == 1


async def test_nothing_is_left_behind_when_everything_has_ended(world: World) -> None:
    """Lanes, flows, places and leases vanish with their messages: only records, events and counters remain."""
    await world.limit("acme", "2/s", "100/d", marketing=["1/s"])
    for i in range(12):
        await world.send("acme", f"m{i}", "marketing" if i % 2 else "reminder", campaign=f"c{i % 3}")
    done = 0
    while done < 12:
        for leased in await world.take():
            await world.settle(accepted(leased, f"SM-{leased.message.id}"))
            await world.receipt(leased, "delivered")
            done += 1
        world.pass_time(SECOND)
    world.pass_time(80 * HOUR)
    for _ in range(20):
        await world.sweep()
    left = {key.decode().rsplit(":", 1)[1] for key in await ask(world.client, "KEYS", "smsd:*")}
    assert left - {"conf", "meta", "events", "tags", "batch"} == set()
    batch = await ask(world.client, "HGETALL", keys.key(0, "batch"))
    assert all(field.startswith(b"q:") for field in batch)


async def test_a_cancel_from_the_inbox_is_acknowledged_once(world: World) -> None:
    """A repeated cancel call is handled already, and tells nothing twice."""
    entry = await inbox_entry(world)
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.accept(leased)
    assert await world.shard.admit([Cancel("acme", "a1", entry)], "reminder") == ["left"]
    assert await world.shard.admit([Cancel("acme", "a1", entry)], "reminder") == ["handled"]
    assert [e["reason"] for e in await world.events("acme/a1") if "reason" in e] == ["cancel_too_late"]


async def test_what_ends_is_counted_for_the_caller_whichever_call_ended_it(world: World) -> None:
    """Ends by cancel, refusal, receipt and sweep, and refusals by limits, are told to who made the call."""
    await world.limit("acme", "1/h")
    for id_ in ("cancelled", "delivered", "expired"):
        await world.send("acme", id_, deadline=world.now + (2 if id_ == "expired" else 1) * HOUR)
    await world.cancel("acme", "cancelled")
    [leased] = await world.take()
    await world.accept(leased)
    await world.receipt(leased, "delivered")
    await world.take()
    world.pass_time(3 * HOUR)
    await world.sweep()
    assert world.shard.ended == {
        ("reminder", "cancelled", "cancelled"): 1,
        ("reminder", "delivered", ""): 1,
        ("reminder", "expired", "throttled_out"): 1,
    }
    assert world.shard.limited["tenant"] >= 1


async def test_the_record_reads_back_typed(world: World) -> None:
    """What the scripts pack, record.py decodes: the indexes of both are one."""
    await world.send("acme", "a1", segments=2, campaign="spring")
    [leased] = await world.take()
    await world.accept(leased, "SM-1")
    record = await world.shard.record("acme/a1")
    assert record is not None
    assert (record.state, record.cost, record.provider, record.entered) == ("submitted", 2, "main", leased.entered_us)
    assert record.lane == "acme|reminder|default|Salon|spring|"
    assert msgspec.structs.asdict(record.taken[0]) == {
        "attempt": 1, "provider": "main", "provider_id": "SM-1", "receipt": "", "segments": None,
        "reason": "", "error_code": "",
    }  # fmt: skip


async def test_a_message_of_an_older_store_is_told_of_as_before(world: World) -> None:
    """Its record has as text what its events repeat; nothing fails and nothing is left out."""
    await world.send("acme", "a1")
    packed: bytes = await ask(world.client, "HGET", keys.key(0, "msg"), "acme/a1")
    fields = msgspec.msgpack.decode(packed, type=list[msgspec.Raw])
    fields[INDEX["ECHO"] - 1] = msgspec.Raw(msgspec.msgpack.encode("segments\x1f1\x1fto_country\x1fIE"))
    await ask(world.client, "HSET", keys.key(0, "msg"), "acme/a1", msgspec.msgpack.encode(fields))
    [leased] = await world.take()
    assert await world.accept(leased, "SM1") == "submitted"
    told = await world.last("acme/a1")
    assert (told["state"], told["segments"], told["to_country"]) == ("submitted", "1", "IE")


async def test_how_long_a_receipt_took_is_told_of_those_that_end_a_message(world: World) -> None:
    """From the provider's taking to the receipt, by provider; a repeat and one that ends nothing say nothing."""
    await world.send("acme", "a1")
    [leased] = await world.take()
    await world.accept(leased, "SM1")
    world.shard.now_us += 3 * SECOND
    assert await world.receipt(leased, "sent", provider_id="SM1") == "noted"
    assert await world.receipt(leased, "delivered", provider_id="SM1") == "delivered"
    world.shard.now_us += SECOND
    assert await world.receipt(leased, "delivered", provider_id="SM1") == "repeated"
    assert world.shard.took_us == {leased.provider: [3 * SECOND]}
