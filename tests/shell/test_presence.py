"""What this process tells the store: at once when something changes, and every few seconds."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.config import ConfigErrors
from smsd.control import processes
from smsd.control.revision import publish
from smsd.shell import live as lives
from smsd.shell import presence as module
from smsd.shell.live import Live
from smsd.shell.presence import Presence
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.valkey import Valkey
from tests.support.world import World


async def test_it_is_told_when_it_changes(redis: Redis, tmp_path: Path) -> None:
    """A process in force tells its revision once, and again as soon as its file is superseded."""
    live = Live(config(tmp_path, limit="5/s"), [Shard(redis)])
    await lives.agree(live)
    presence = Presence(live)
    assert [await presence.tell() for _ in range(3)] == [True, False, False]
    (one,) = await processes.processes(live.shards[0])
    assert (one.process, one.revision, one.file, one.why) == (live.process, 1, "in_force", "")
    await publish(config(tmp_path, limit="9/s"), live.shards)
    await lives.catch_up(live)
    assert await presence.tell()
    (one,) = await processes.processes(live.shards[0])
    assert (one.revision, one.file) == (2, "superseded")
    await presence.leave()
    assert await processes.processes(live.shards[0]) == []


async def test_it_is_in_the_list_for_as_long_as_it_works(redis: Redis, tmp_path: Path) -> None:
    """Who asks between its start and its end finds it; a store that is away hinders neither."""
    live = Live(config(tmp_path), [Shard(redis)])
    async with Presence(live):
        assert [one.process for one in await processes.processes(live.shards[0])] == [live.process]
    assert await processes.processes(live.shards[0]) == []
    nowhere = Redis.from_url("redis://127.0.0.1:1")
    async with nowhere, Presence(Live(config(tmp_path), [Shard(nowhere)])):
        pass


async def test_a_store_that_hangs_keeps_nobody_from_ending(
    start_valkey: Callable[..., Valkey], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that the store does not answer any more leaves without its last word."""
    monkeypatch.setattr(module, "LEAVE_S", 0.05)
    server = start_valkey()
    async with Redis.from_url(server.url) as redis:
        presence = Presence(Live(config(tmp_path), [Shard(redis)]))
        await presence.__aenter__()
        os.kill(server.pid, signal.SIGSTOP)
        leaving = asyncio.create_task(presence.__aexit__())
        ended, _ = await asyncio.wait([leaving], timeout=3)  # its own time-out, which no call of the store can swallow
        assert ended == {leaving}


async def test_it_is_told_again_after_a_while(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing changes, a process still says that it is there."""
    monkeypatch.setattr(processes, "TELL_S", 0.0)
    live = Live(config(tmp_path), [Shard(redis)])
    presence = Presence(live)
    assert [await presence.tell() for _ in range(2)] == [True, True]


async def test_why_a_file_is_not_in_force_is_told(redis: Redis, tmp_path: Path) -> None:
    """A host whose file was refused says so, with the reason."""
    await lives.agree(Live(config(tmp_path, extra="[classes.otp]\n"), [Shard(redis)]))
    await World(redis).send("acme", "a", "otp")
    live = Live(config(tmp_path), [Shard(redis)])
    await lives.agree(live)
    await Presence(live).tell()
    (one,) = await processes.processes(live.shards[0])
    assert one.file == "refused"
    assert "class otp: 1 queued" in one.why


async def test_trouble_with_the_stores_revision_is_told(redis: Redis, tmp_path: Path) -> None:
    """A host that cannot use the store's revision tells which one it has instead, and why."""
    live = Live(config(tmp_path, env={}), [Shard(redis)])
    await lives.agree(live)
    named = '[providers.spare]\ntype = "twilio"\naccount_sid = "env:SID"\nauth_token = "env:TOKEN"\n'
    there = {"SID": "AC" + "0" * 32, "TOKEN": "secret"}
    await publish(config(tmp_path, env=there, extra=named), live.shards)
    with pytest.raises(ConfigErrors):
        await lives.catch_up(live)
    await Presence(live).tell()
    (one,) = await processes.processes(live.shards[0])
    assert one.revision == 1
    assert "revision 2 cannot be used here" in one.why
