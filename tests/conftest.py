"""What every test may ask for: a real store, empty, and who writes and reads it; a carrier. And how a run is laid out.

Never a mock: the store is Valkey from the wheel, one server for each process of the test run.
"""

import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_py
import redis.asyncio as redis_asyncio
from hypothesis import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from smsd.testing.carrier import CarrierProcess
from smsd.testing.carrier import start as start_carrier
from tests.support.running import Platform
from tests.support.valkey import Valkey

# How long an example takes is the machine's doing: what must be fast has a test that is marked `alone`.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: many tests wait for a time-out or a process, and leave theirs idle."""
    return 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m alone` is a few tests: a file that does not name the mark is not even imported."""
    if config.option.markexpr != "alone" or collection_path.suffix != ".py":
        return None
    return "pytest.mark.alone" not in collection_path.read_text("utf-8") or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole stories first: they wait more than they work, so another process's share is what fills their waits."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)


def pytest_collection_finish() -> None:
    """Thousands of collected tests are no garbage: the collector need not walk through them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The server that this process's tests share. One that stops or configures it takes `start_valkey` instead."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def store_url(valkey: Valkey) -> str:
    """The shared server's URL, its data gone."""
    with redis_py.Redis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url


@pytest.fixture
async def redis(store_url: str) -> AsyncIterator[redis_asyncio.Redis]:
    """A client of the empty shared server; bytes come back as bytes, and no call is ever repeated."""
    client = redis_asyncio.Redis.from_url(store_url, retry=Retry(NoBackoff(), 0))
    yield client
    await client.aclose()


@pytest.fixture
def start_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Valkey]]:
    """Starts servers of the test's own: `start_valkey(appendonly=True, fsync="always", maxmemory="50mb")`."""
    servers: list[Valkey] = []

    def start(folder: Path | None = None, **options: str | bool) -> Valkey:
        server = Valkey(folder or tmp_path_factory.mktemp("valkey"), **options)  # pyright: ignore[reportArgumentType]
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def platform(store_url: str) -> Iterator[Platform]:
    """Who enqueues to the empty shared server, and reads its events."""
    made = Platform(store_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_carrier() -> Iterator[CarrierProcess]:
    """The built-in carrier, one process for the tests of a file, whose receipts come soon."""
    with start_carrier(receipt_min_ms=10, receipt_max_ms=50) as running:
        yield running


@pytest.fixture
def carrier(shared_carrier: CarrierProcess) -> CarrierProcess:
    """The same, its book empty. The faults that a test sets, it takes away again."""
    shared_carrier.reset()
    return shared_carrier
