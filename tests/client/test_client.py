"""Both clients on a real store: written once, read without losing any."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from smsd.client import BadMessage, Client, NotSetUp, Outgoing, SyncClient
from smsd.client import client_talk as talks
from smsd.store import keys
from tests.support.valkey import Valkey
from tests.support.world import ask


async def told(redis: Redis, n: int, *, first: int = 0) -> None:
    """Writes events as smsd would."""
    for i in range(first, first + n):
        fields: dict[Any, Any] = {
            "v": "1", "event_id": f"acme/m{i}/1", "id": f"m{i}", "tenant": "acme", "class": "reminder", "seq": "1",
            "state": "queued", "final": "0", "at": "1700000000000",
        }  # fmt: skip
        await redis.xadd(keys.key(0, "events"), fields)


@pytest.fixture
async def store(redis: Redis) -> Redis:
    """One that some smsd has used."""
    await redis.hset(keys.META, mapping={"shards": "1", "classes": "reminder,marketing", "schema": "1"})
    return redis


async def first(client: Client, n: int, group: str = "g", consumer: str = "c") -> list[str]:
    """Ids of the next n events; the last one is acknowledged too."""
    got: list[str] = []
    async with contextlib.aclosing(client.events(group, consumer)) as events:
        async for event in events:
            got.append(event.id)
            if len(got) == n:
                break
    return got


async def test_a_message_is_written_to_its_inbox(store: Redis, store_url: str) -> None:
    """One entry with the fields of the contract; the id is handed back."""
    async with Client(store_url) as client:
        assert await client.send("acme", "+353861234567", "See you", id="m1", meta={"a": 1}) == "m1"
        await client.cancel("acme", "m1")
    sent, cancelled = await ask(store, "XRANGE", "smsd:{0}:in:reminder", "-", "+")
    assert sent[1][b"id"] == b"m1"
    assert cancelled[1][b"op"] == b"cancel"


async def test_many_go_in_a_few_round_trips(store: Redis, store_url: str) -> None:
    """A thousand and more, each under its own id."""
    async with Client(store_url) as client:
        ids = await client.send_many(
            [Outgoing(tenant=f"t{i % 7}", to="+353861234567", body="hi", class_="marketing") for i in range(1200)]
        )
    assert len(set(ids)) == 1200
    assert await ask(store, "XLEN", "smsd:{0}:in:marketing") == 1200


async def test_mistakes_are_told_before_anything_is_written(store: Redis, store_url: str) -> None:
    """A class that nobody reads, other shards than the store's, a bad message among good ones."""
    async with Client(store_url) as client:
        with pytest.raises(BadMessage, match='no "remainder"'):
            await client.send("acme", "+353861234567", "hi", class_="remainder")
        good = Outgoing(tenant="acme", to="+353861234567", body="hi")
        with pytest.raises(BadMessage, match="body"):
            await client.send_many([good, Outgoing(tenant="acme", to="+353861234567", body="")])
    async with Client(store_url, shards=4) as client:
        with pytest.raises(BadMessage, match="has 1, not 4"):
            await client.send("acme", "+353861234567", "hi")
    assert await ask(store, "XLEN", "smsd:{0}:in:reminder") == 0


async def test_a_store_that_no_smsd_has_used_says_so(redis: Redis, store_url: str) -> None:
    """Unless the number of shards is given: then messages may wait there for the first smsd."""
    async with Client(store_url) as client:
        with pytest.raises(NotSetUp, match="start smsd run"):
            await client.send("acme", "+353861234567", "hi")
    async with Client(store_url, shards=2) as client:
        await client.send("salon-42", "+353861234567", "hi")
    assert await ask(redis, "KEYS", "smsd:*:in:reminder") != []


async def test_events_come_in_order_and_once(store: Redis, store_url: str) -> None:
    """What was acknowledged does not come again, what came later does; a repeat of an event is dropped."""
    await told(store, 3)
    async with Client(store_url) as client:
        assert await first(client, 3) == ["m0", "m1", "m2"]
        await told(store, 3, first=1)  # two of them again
        await told(store, 1, first=9)
    async with Client(store_url) as client:
        # The loop never came back after the third, so that one was not acknowledged.
        assert await first(client, 4) == ["m2", "m1", "m3", "m9"]


async def test_an_event_whose_handling_failed_comes_again(store: Redis, store_url: str) -> None:
    """It is acknowledged only when the loop comes back for the next one."""
    await told(store, 2)
    async with Client(store_url) as client:

        async def fails() -> None:
            async with contextlib.aclosing(client.events("g", "c")) as events:
                async for _ in events:
                    raise RuntimeError("the database is away")

        with pytest.raises(RuntimeError):
            await fails()
    async with Client(store_url) as client:
        assert await first(client, 2) == ["m0", "m1"]


async def test_consumers_of_a_group_share(store: Redis, store_url: str) -> None:
    """Each event goes to one of them; another group has all."""
    await told(store, 150)
    async with Client(store_url) as one, Client(store_url) as two:
        mine, theirs = await first(one, 100, consumer="one"), await first(two, 50, consumer="two")
        assert sorted(mine + theirs) == sorted(f"m{i}" for i in range(150))
        assert len(await first(two, 150, group="other")) == 150


KILLED = """
import asyncio, os, sys
from smsd.client import Client

async def main():
    async with Client(sys.argv[1]) as client:
        async for event in client.events("g", "c"):
            print(event.id, flush=True)
            if event.id == "m2":
                await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_nothing_is_lost_by_a_reader_that_is_killed(store: Redis, store_url: str) -> None:
    """kill -9 between reading and acknowledging: the same consumer has it again, and everything behind it."""
    await told(store, 5)
    reader = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, store_url, stdout=subprocess.PIPE)
    assert reader.stdout is not None
    assert [await reader.stdout.readline() for _ in range(3)] == [b"m0\n", b"m1\n", b"m2\n"]
    reader.send_signal(signal.SIGKILL)
    await reader.wait()
    async with Client(store_url) as client:
        assert await first(client, 5) == [f"m{i}" for i in range(5)]


async def test_what_a_dead_consumer_left_is_taken_over(
    store: Redis, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a minute of silence its open events are another's."""
    monkeypatch.setattr(talks, "CLAIM_IDLE_MS", 0)
    await told(store, 2)
    await store.xgroup_create(keys.key(0, "events"), "g", id="0")
    await ask(store, "XREADGROUP", "GROUP", "g", "gone", "COUNT", "1", "STREAMS", keys.key(0, "events"), ">")
    async with Client(store_url) as client:
        assert sorted(await first(client, 2, consumer="alive")) == ["m0", "m1"]


async def test_a_store_that_restarts_is_waited_for(start_valkey: Callable[..., Valkey]) -> None:
    """A message that is sent meanwhile is written once it is back, and a reader goes on where it was."""
    server = start_valkey(appendonly=True)
    client = Client(server.url)
    async with Redis.from_url(server.url) as redis:
        await redis.hset(keys.META, mapping={"shards": "1", "classes": "reminder"})
        await client.send("acme", "+353861234567", "hi", id="before")
        server.stop()
        sending = asyncio.create_task(client.send("acme", "+353861234567", "hi", id="meanwhile"))
        reading = asyncio.create_task(first(client, 1))
        await asyncio.to_thread(server.start)
        assert await asyncio.wait_for(sending, 30) == "meanwhile"
    async with Redis.from_url(server.url) as redis:
        await told(redis, 1)
        assert await asyncio.wait_for(reading, 30) == ["m0"]
        assert await ask(redis, "XLEN", "smsd:{0}:in:reminder") == 2
        await client.aclose()


def test_the_plain_client_does_the_same(start_valkey: Callable[..., Valkey]) -> None:
    """Without asyncio: sends, cancels, and reads from a group without losing any."""
    server = start_valkey()
    import redis as plain

    with plain.Redis.from_url(server.url) as store, SyncClient(server.url) as client:
        store.hset(keys.META, mapping={"shards": "1", "classes": "reminder"})
        assert client.send("acme", "+353861234567", "See you", id="m1") == "m1"
        client.cancel("acme", "m1")
        assert store.xlen("smsd:{0}:in:reminder") == 2
        fields: dict[Any, Any] = {"v": "1", "event_id": "acme/m1/1", "id": "m1", "tenant": "acme", "class": "reminder",
                                  "seq": "1", "state": "queued", "final": "0", "at": "1"}  # fmt: skip
        store.xadd(keys.key(0, "events"), fields)
        events = client.events("g", "c")
        assert next(events).state == "queued"
        events.close()
        assert next(client.events("g", "c")).id == "m1"  # the loop never came back for the next


def test_the_clients_need_little() -> None:
    """Of smsd only the package itself is imported, and no HTTP library."""
    said = subprocess.run(
        [sys.executable, "-c", "import smsd.client, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name for name in said if name.startswith("smsd.")} == {
        "smsd.client", "smsd.client.client", "smsd.client.client_plain", "smsd.client.letters", "smsd.client.received",
        "smsd.client.client_talk",
    }  # fmt: skip
    assert not {"aiohttp", "structlog", "phonenumbers"} & set(said)
