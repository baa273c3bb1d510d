"""What the shell's tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.site import Site
from tests.support.site import site as make


@pytest.fixture
async def api(store_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """An API over the shared store, empty."""
    async with make(store_url, tmp_path) as one:
        yield one


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """A provider's gateway that answers what the test says."""
    gateway = Gateway()
    await gateway.start()
    yield gateway
    await gateway.stop()
