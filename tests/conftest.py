"""What every test may ask for: a real store, empty, and a client for it.

Never a mock: the store is Valkey from the wheel, one server for each process of the test run.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_py
import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.support.valkey import Valkey


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
