"""The way of a command to the store."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.cli.reach import configured, reach
from smsd.cli.say import Code, Trouble
from smsd.store import keys
from smsd.store.embedded import Embedded
from smsd.store.holds import pause
from tests.support.config import write


async def test_a_store_that_answers(tmp_path: Path, store_url: str) -> None:
    """The block has the config, a client and the shards."""
    async with reach(write(tmp_path, store=store_url)) as store:
        assert await store.client.ping()
        assert [shard.number for shard in store.shards] == [0]


async def test_an_embedded_store_is_found_where_it_runs(tmp_path: Path) -> None:
    """The port is that of the server, whatever the config asked for."""
    store = Embedded(tmp_path / "store", "127.0.0.1:0")
    url = store.start()
    try:
        async with reach(write(tmp_path)) as reached:
            port = reached.client.connection_pool.connection_kwargs["port"]
            assert url == f"redis://127.0.0.1:{port}/0"
            assert await reached.client.ping()
    finally:
        store.stop()


async def test_a_store_with_other_shards(tmp_path: Path, store_url: str, redis: Redis) -> None:
    """A command does not look for tenants in shards that are not there."""
    await redis.hset(keys.META, "shards", "4")  # pyright: ignore[reportGeneralTypeIssues]
    with pytest.raises(Trouble, match="has 4 shards, the config says 1") as trouble:
        async with reach(write(tmp_path, store=store_url)):
            pass
    assert trouble.value.code == Code.MISTAKE


async def test_a_store_that_goes_away_inside(tmp_path: Path, store_url: str) -> None:
    """A store that fails later is told as one that cannot be reached."""
    with pytest.raises(Trouble, match="does not answer") as trouble:
        async with reach(write(tmp_path, store=store_url)):
            raise ConnectionError("cut off")
    assert trouble.value.code == Code.STORE


def test_secrets_are_read_only_by_who_needs_them(tmp_path: Path) -> None:
    """A command that only talks to the store works on a host without the providers' secrets."""
    named = '[providers.spare]\ntype = "twilio"\naccount_sid = "env:NO_SID"\nauth_token = "env:NO_TOKEN"\n'
    path = write(tmp_path, extra=named)
    assert "spare" in configured(path).providers
    with pytest.raises(Trouble, match=r"NO_SID.*1 more: smsd check --config"):
        configured(path, secrets=True)


async def test_clocks_that_differ(tmp_path: Path, store_url: str) -> None:
    """A host whose clock is far from the store's changes nothing, and is told to set it."""

    async def paused() -> None:
        async with reach(write(tmp_path, store=store_url)) as store:
            store.shards[0].clock_step_us = 1
            await pause(store.shards[0], "all")

    with pytest.raises(Trouble, match=r"the store is at [0-9]+ us.*: set this host's clock") as trouble:
        await paused()
    assert trouble.value.code == Code.NOT


async def test_a_store_that_refuses(tmp_path: Path, store_url: str) -> None:
    """What the store does not allow is told as that, and not as if nobody answered."""

    async def refused() -> None:
        async with reach(write(tmp_path, store=store_url)) as store:
            await store.client.execute_command("NOSUCH")

    with pytest.raises(Trouble, match="refuses this: unknown command") as trouble:
        await refused()
    assert trouble.value.code == Code.STORE


async def test_a_store_that_lets_nobody_in(tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers, so that there is nothing to start: the user or the password is wrong."""
    monkeypatch.setenv("WRONG", "wrong")
    config = write(tmp_path, store=store_url.replace("redis://", "redis://nobody:{env:WRONG}@"))
    with pytest.raises(Trouble, match=r"lets nobody in by that user and password .*: mend \[store\] url") as trouble:
        async with reach(config):
            pass
    assert trouble.value.code == Code.STORE
