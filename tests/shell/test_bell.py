"""The bell on a real server: rings arrive, nothing is missed over a lost line, and a dead line is noticed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from smsd.config import Config
from smsd.shell import bell as bell_module
from smsd.shell.bell import ALL, Bell
from smsd.shell.live import Live
from smsd.store import keys
from smsd.store.connect import Store, connect
from smsd.store.shard import Shard
from tests.support.logs import Logs
from tests.support.valkey import Valkey


class Heard:
    """What the bell told, in order, and whoever waits for it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    def ring(self, route: str, who: str) -> None:
        self._queue.put_nowait(f"route:{route}" + f" for {who}" * bool(who))

    def config(self) -> None:
        self._queue.put_nowait("config")

    def pause(self) -> None:
        self._queue.put_nowait("pause")

    async def next(self, count: int = 1) -> list[str]:
        async with asyncio.timeout(20):
            return [await self._queue.get() for _ in range(count)]


EVERYTHING = ["config", "pause", f"route:{ALL}"]


@pytest.fixture
def heard() -> Heard:
    """Collects what the bell tells."""
    return Heard()


class Hung:
    """A bell that listens, and what it says in the log."""

    def __init__(self, store: Store, heard: Heard, shards: int) -> None:
        self.logs = Logs()
        self._bell = Bell(
            Live(Config(), [Shard(store.client, n) for n in range(shards)]),
            store.blocking,
            on_ring=heard.ring,
            on_config=heard.config,
            on_pause=heard.pause,
            log=self.logs.logger,
        )
        self._task = asyncio.create_task(self._bell.run())

    @property
    def running(self) -> bool:
        return not self._task.done()

    async def stop(self) -> None:
        """Return when it has ended."""
        self._bell.stop()
        async with asyncio.timeout(5):
            await self._task


Hang = Callable[..., Hung]


@pytest.fixture
async def hang(heard: Heard) -> AsyncIterator[Hang]:
    """Hangs up bells that listen until the test ends: `hang(store, shards=1)`."""
    hung: list[Hung] = []

    def one(store: Store, shards: int = 1) -> Hung:
        hung.append(Hung(store, heard, shards))
        return hung[-1]

    yield one
    for bell in hung:
        await bell.stop()


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """Clients of the shared server."""
    made = connect(store_url)
    yield made
    await made.aclose()


async def test_a_new_line_tells_everything(store: Store, heard: Heard, hang: Hang) -> None:
    """Once it listens it tells all at once, for what rang before was not heard."""
    hang(store)
    assert await heard.next(3) == EVERYTHING


async def test_rings_arrive_in_order(store: Store, heard: Heard, hang: Hang) -> None:
    """A route, with who looks first, and the words for config and pause come to whom they are for, from every shard."""
    hang(store, shards=3)
    await heard.next(3)
    for shard, payload in [(0, "default"), (2, "us\tp1"), (1, "config"), (0, "pause")]:
        await store.client.publish(keys.key(shard, "bell"), payload)
    assert await heard.next(4) == ["route:default", "route:us for p1", "config", "pause"]


async def test_a_lost_line_is_taken_up_again(start_valkey: Callable[..., Valkey], heard: Heard, hang: Hang) -> None:
    """After a crash of the store it listens again by itself, tells everything, and hears what rings then."""
    server = start_valkey()
    store = connect(server.url)
    hung = hang(store)
    await heard.next(3)
    server.kill()
    await hung.logs.wait("store_away")
    server.start()
    assert await heard.next(3) == EVERYTHING
    await store.client.publish(keys.key(0, "bell"), "default")
    assert await heard.next() == ["route:default"]
    assert hung.logs.events() == ["store_away", "store_back"]
    await store.aclose()


async def test_a_store_that_comes_later_is_waited_for(
    start_valkey: Callable[..., Valkey], heard: Heard, hang: Hang
) -> None:
    """A bell that finds no store tries again, and logs its absence and its return once each."""
    server = start_valkey()
    server.kill()
    store = connect(server.url)
    hung = hang(store)
    await hung.logs.wait("store_away")
    server.start()
    assert await heard.next(3) == EVERYTHING
    assert hung.logs.events() == ["store_away", "store_back"]
    await store.aclose()


async def test_a_line_that_died_in_silence_is_noticed(
    start_valkey: Callable[..., Valkey], heard: Heard, hang: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stands still closes no connection, yet the bell gives the line up and takes a new one."""
    monkeypatch.setattr(bell_module, "SILENCE_S", 0.1)
    server = start_valkey()
    store = connect(server.url)
    hung = hang(store)
    await heard.next(3)
    os.kill(server.pid, signal.SIGSTOP)
    assert "the line is dead" in (await hung.logs.wait("store_away"))["error"]
    os.kill(server.pid, signal.SIGCONT)
    assert await heard.next(3) == EVERYTHING
    await store.aclose()


async def test_it_stops_at_once(store: Store, heard: Heard, hang: Hang) -> None:
    """Stopping waits for no ring, and gives the connection back."""
    hung = hang(store)
    await heard.next(3)
    await hung.stop()
    assert store.blocking.connection_pool._in_use_connections == set()


async def test_it_stops_also_when_its_clients_were_closed_first(store: Store, heard: Heard, hang: Hang) -> None:
    """Whatever order a process ends its parts in, the bell does not hang."""
    hung = hang(store)
    await heard.next(3)
    await store.aclose()
    await hung.stop()
    assert not hung.running
