"""shell/webhooks_store.py with a real store: who hears what of his receipts and when, and what is counted."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from smsd.control.revision import publish
from smsd.shell import webhooks_store as module
from smsd.shell.metrics import Metrics
from smsd.shell.webhooks_store import Awaited, Away, Batch, Offer, in_time
from smsd.store.connect import connect
from smsd.store.shard import ReceiptFor, Shard
from tests.support import config as configs
from tests.support.valkey import Valkey

SOON_S = 30.0
Connected = Callable[[str], Awaitable[Shard]]


@pytest.fixture
async def connected(tmp_path: Path) -> AsyncIterator[Connected]:
    """The one shard of a store: `await connected(url)`."""
    stores = []

    async def one(url: str) -> Shard:
        store = connect(url)
        stores.append(store)
        shard = Shard(store.client, 0)
        await publish(configs.config(tmp_path), [shard])
        return shard

    yield one
    for store in stores:
        await store.aclose()


class Callback:
    """A callback of some receipts that no message waits for, and what it heard."""

    def __init__(self, *ids: str) -> None:
        self.heard: list[Away | None] = []
        self.came = asyncio.Event()
        awaited = Awaited(len(ids), self._hear)
        self.offers = [Offer(ReceiptFor("", 0, "main", id_, "delivered"), 1, awaited) for id_ in ids]

    def _hear(self, why: Away | None) -> None:
        self.heard.append(why)
        self.came.set()

    def put(self, batch: Batch) -> None:
        for offer in self.offers:
            batch.put(offer)

    async def told(self) -> str:
        async with asyncio.timeout(SOON_S):
            await self.came.wait()
        [why] = self.heard
        return str(why or "stored")


async def test_a_callback_hears_once(connected: Connected, store_url: str) -> None:
    """Of all its receipts together when the last is stored; what comes after that, or after a failure, it does not."""
    callback = Callback("a", "b", "c")
    first, second, third = callback.offers
    for offer in (first, second):
        offer.awaited.stored()
        assert callback.heard == []
    third.awaited.stored()
    third.awaited.failed(Away("late"))
    assert callback.heard == [None]
    failed = Callback("a", "b")
    failed.offers[0].awaited.failed(Away("away"))
    failed.offers[1].awaited.failed(Away("too"))
    assert [str(why) for why in failed.heard] == ["away"]


@pytest.mark.parametrize(
    ("words", "counted"),
    [
        (["delivered"], "delivered"),
        (["early", "delivered", "early"], "delivered"),
        (["repeated", "early"], "repeated"),
        (["early", "orphan", "repeated"], "repeated"),
        (["early", "early"], "early"),
    ],
)
async def test_who_knows_the_message_has_the_word(words: list[str], counted: str) -> None:
    """Of many shards' words the one that counts is that of the shard which has the message, once all have spoken."""
    offer = Offer(ReceiptFor("", 0, "main", "a", "delivered"), len(words), Callback("a").offers[0].awaited)
    assert [offer.heard(word) for word in words] == [False] * (len(words) - 1) + [True]
    assert offer.word == counted


async def test_all_are_stored_and_counted(connected: Connected, store_url: str) -> None:
    """More receipts than one call takes, of callbacks with one and with many, are each told and counted once."""
    metrics = Metrics()
    batch = Batch(await connected(store_url), metrics)
    callbacks = [Callback(f"one-{n}") for n in range(150)] + [Callback(*(f"many-{n}" for n in range(150)))]
    for callback in callbacks:
        callback.put(batch)
    assert {await callback.told() for callback in callbacks} == {"stored"}
    assert b'smsd_receipts_total{outcome="early",provider="main"} 300.0' in metrics.render()


async def test_what_cannot_be_written_hinders_no_other(connected: Connected, store_url: str) -> None:
    """A receipt with an id which is no text is refused alone, and those that came with it are stored."""
    batch = Batch(await connected(store_url), Metrics())
    callbacks = [Callback("one"), Callback("\ud800"), Callback("two")]
    for callback in callbacks:
        callback.put(batch)
    good, bad, other = [await callback.told() for callback in callbacks]
    assert (good, other) == ("stored", "stored")
    assert "surrogates" in bad


async def test_who_waits_too_long_hears_so(
    connected: Connected, start_valkey: Callable[..., Valkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each after its own time, whether its receipt is under way or still waits; and it is not offered any more."""
    monkeypatch.setattr(module, "STORE_S", 0.2)
    server = start_valkey()
    batch = Batch(await connected(server.url), Metrics())
    os.kill(server.pid, signal.SIGSTOP)
    first, second, third = Callback("a"), Callback("b"), Callback("c")
    first.put(batch)
    await asyncio.sleep(0)
    second.put(batch)
    assert await first.told() == "the store is slow"
    third.put(batch)
    assert await second.told() == "the store is slow"
    assert third.heard == []
    assert await third.told() == "the store is slow"
    os.kill(server.pid, signal.SIGCONT)
    monkeypatch.undo()
    after = Callback("d")
    after.put(batch)
    assert await after.told() == "stored"


async def test_a_store_that_is_away_is_told_of(
    connected: Connected, start_valkey: Callable[..., Valkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that wait hear of it at once, and it is counted as an error of the store; so does who writes by himself."""
    server = start_valkey()
    metrics = Metrics()
    shard = await connected(server.url)
    batch = Batch(shard, metrics)
    server.kill()
    callback = Callback("a", "b")
    callback.put(batch)
    assert "ConnectionError" in await callback.told()
    assert b'smsd_store_errors_total{part="receipts"} 1.0' in metrics.render()
    with pytest.raises(Away, match="ConnectionError"):
        await in_time(_ping(shard))


async def _ping(shard: Shard) -> None:
    await shard.client.ping()  # pyright: ignore[reportUnknownMemberType]


async def test_a_write_that_takes_too_long_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits hears that the store is slow; what was begun is not cut off."""
    monkeypatch.setattr(module, "STORE_S", 0.01)
    may, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await may.wait()
        done.set()

    with pytest.raises(Away, match="slow"):
        await in_time(work())
    may.set()
    async with asyncio.timeout(SOON_S):
        await done.wait()


async def test_what_waits_is_bounded(connected: Connected, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than the bound hears at once that it should come again; the others are stored."""
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    batch = Batch(await connected(store_url), Metrics())
    callbacks = [Callback(id_) for id_ in "abc"]
    for callback in callbacks:
        callback.put(batch)
    assert [await callback.told() for callback in callbacks] == [
        "stored",
        "stored",
        "too many receipts wait for the store",
    ]
