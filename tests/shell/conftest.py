"""What the API's tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.support.site import Site
from tests.support.site import site as make


@pytest.fixture
async def api(redis: Redis, tmp_path: Path) -> AsyncIterator[Site]:
    """An API over the shared store, empty."""
    async with make(redis, tmp_path) as one:
        yield one
