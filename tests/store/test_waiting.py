"""A read that blocks, as its reader and whoever stops it see it, against the real server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from smsd.store.connect import Store, connect
from smsd.store.waiting import Waiting
from tests.support.valkey import Valkey

STREAM = "smsd:{0}:in:reminder"
LONG_MS = 4000  # below the time after which a connection counts as dead
SOON_S = 1.0
READ = ("XREADGROUP", "GROUP", "g", "me", "BLOCK", LONG_MS, "STREAMS", STREAM, ">")


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """Clients of the empty shared server, with a group that reads STREAM."""
    made = connect(store_url)
    await made.client.xgroup_create(STREAM, "g", id="0", mkstream=True)
    yield made
    await made.aclose()


async def _blocked(store: Store) -> None:
    async with asyncio.timeout(5):
        while (await store.client.info("clients"))["blocked_clients"] == 0:
            pass


async def test_a_read_that_waits_is_ended_at_once(store: Store) -> None:
    """It answers with nothing, and long before its time, when it is stopped."""
    waiting = Waiting(store.client, store.blocking)
    reading = asyncio.create_task(waiting.read(*READ))
    await _blocked(store)
    waiting.stop()
    async with asyncio.timeout(SOON_S):
        assert await reading is None


async def test_a_read_on_its_way_is_ended_too(store: Store) -> None:
    """However far a read has come when it is stopped, it waits no longer."""
    for turns in range(30):
        waiting = Waiting(store.client, store.blocking)
        reading = asyncio.create_task(waiting.read(*READ))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.stop()
        async with asyncio.timeout(SOON_S):
            assert await reading is None


async def test_after_the_end_no_read_waits(store: Store) -> None:
    """One that begins later answers at once and is handed nothing."""
    await store.client.xadd(STREAM, {"a": "1"})
    waiting = Waiting(store.client, store.blocking)
    waiting.stop()
    assert await waiting.read(*READ) is None
    assert (await store.client.xpending(STREAM, "g"))["pending"] == 0


@pytest.mark.parametrize("turns", range(0, 24, 2))
@pytest.mark.parametrize("first", ["the entry", "the end"])
async def test_what_is_handed_out_at_that_moment_is_answered(store: Store, first: str, turns: int) -> None:
    """Of an entry that comes just when the read is ended, either nothing is pending or it has been answered."""
    waiting = Waiting(store.client, store.blocking)
    reading = asyncio.create_task(waiting.read(*READ))
    await _blocked(store)
    writing = asyncio.ensure_future(store.client.xadd(STREAM, {"a": "1"})) if first == "the entry" else None
    if first == "the end":
        waiting.stop()
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.stop()
    await (writing or store.client.xadd(STREAM, {"a": "1"}))
    answered = await reading is not None
    assert (await store.client.xpending(STREAM, "g"))["pending"] == answered


async def test_other_calls_have_their_own_answers_after_a_read_was_cancelled(store: Store) -> None:
    """A read that is given up takes its connection with it, so that its late answer is nobody else's."""
    waiting = Waiting(store.client, store.blocking)
    reading = asyncio.create_task(waiting.read(*READ))
    await _blocked(store)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await store.client.xadd(STREAM, {"a": "1"})
    assert [await store.blocking.ping() for _ in range(3)] == [True] * 3


async def test_a_user_who_may_not_ask_reads_all_the_same(start_valkey: Callable[..., Valkey]) -> None:
    """Without CLIENT ID and CLIENT UNBLOCK reads work, and one that is stopped ends when its time is over."""
    server = start_valkey()
    admin = connect(server.url)
    await admin.client.execute_command("ACL", "SETUSER", "smsd", "on", ">pw", "~*", "&*", "+@all", "-client")
    await admin.client.xgroup_create(STREAM, "g", id="0", mkstream=True)
    await admin.client.xadd(STREAM, {"a": "1"})
    store = connect(server.url.replace("redis://", "redis://smsd:pw@"))
    waiting = Waiting(store.client, store.blocking)
    assert await waiting.read(*READ) is not None
    before = time.monotonic()
    reading = asyncio.create_task(waiting.read(*READ[:5], 300, *READ[6:]))
    await _blocked(admin)
    waiting.stop()
    assert await reading is None
    assert 0.2 < time.monotonic() - before < LONG_MS / 1000
    await store.aclose()
    await admin.aclose()
