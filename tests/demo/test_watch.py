"""What the demo reads of the events stream."""

from typing import Any

from redis.asyncio import Redis

from smsd.demo.watch import Watch, rate, standing


def event(id: str, state: str, final: int, at: int, **more: str) -> dict[bytes, bytes]:
    fields = {"tenant": "a", "id": id, "state": state, "final": str(final), "at": str(at), **more}
    return {name.encode(): value.encode() for name, value in fields.items()}


async def test_it_counts_each_message_once(redis: Redis) -> None:
    """A message counts under the state that it has now."""
    watch = Watch(redis, "events")
    watch.hear([event("1", "queued", 0, 1000), event("1", "submitted", 0, 1500), event("2", "queued", 0, 1600)])
    watch.hear([event("1", "delivered", 1, 2000), event("2", "unknown", 0, 2100, possible_duplicate="1")])
    assert {state: n for state, n in watch.states.items() if n} == {"delivered": 1, "unknown": 1}
    assert (watch.final, watch.flagged, watch.first_ms, watch.submitted_ms) == (1, 1, 1000, [1500])


async def test_a_late_receipt_ends_nothing_twice(redis: Redis) -> None:
    """A final state that changes is still one end."""
    watch = Watch(redis, "events")
    watch.hear([event("1", "unconfirmed", 1, 1000), event("1", "delivered", 1, 2000, late="1")])
    assert watch.final == 1


async def test_a_rejected_entry_is_the_message_that_it_asked_for(redis: Redis) -> None:
    """The event about an entry is found under the id that the producer gave."""
    watch = Watch(redis, "events")
    watch.hear([event("reminder-1-0", "rejected", 1, 1000, given_id="r-1", reason="bad_number")])
    assert watch.told["a/r-1"].reason == "bad_number"


async def test_it_reads_the_stream_from_its_beginning(redis: Redis) -> None:
    """Every event is read once, and without more there is nothing to tell."""
    for id in ("1", "2"):
        fields = {k.decode(): v.decode() for k, v in event(id, "queued", 0, 1000).items()}
        await redis.xadd("events", {**fields})
    watch = Watch(redis, "events")
    assert await watch.read()
    assert not await watch.read(block=False)
    assert set(watch.told) == {"a/1", "a/2"}


def test_the_rate_is_that_of_the_many() -> None:
    """One straggler of twenty does not hide how fast the others went."""
    assert rate(0, [*range(100, 2000, 100), 60_000]) == 10.0
    assert rate(0, []) == 0.0


async def test_the_store_tells_backlog_and_flights(redis: Any) -> None:
    """Backlog is by class, flights are summed over providers."""
    await redis.hset("s:meta", mapping={"n:reminder": "3", "fence": "9"})
    await redis.hset("s:inflight", mapping={"p:main": "2", "p:spare": "1", "n:4": "3"})
    assert await standing(redis, "s") == {"backlog": {"reminder": 3}, "in_flight": 3}
