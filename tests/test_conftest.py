"""The footing of the other tests: a fixture that lies would make them all lie. Never tests smsd itself."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import redis as redis_py
from redis.asyncio import Redis

from tests.support.running import Said, smsd
from tests.support.valkey import Valkey


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_meets_an_empty_store(redis: Redis, turn: int) -> None:
    """What one test writes, the next one does not find."""
    assert await redis.dbsize() == 0
    await redis.set("turn", turn)
    assert await redis.get("turn") == str(turn).encode()


def test_killed_server_keeps_what_it_synced(start_valkey: Callable[..., Valkey]) -> None:
    """With appendfsync always, a write that was answered is there after SIGKILL and a restart on the same port."""
    server = start_valkey(appendonly=True, fsync="always")
    url = server.url
    with redis_py.Redis.from_url(url) as client:
        client.set("kept", "yes")
    server.kill()
    server.start()
    assert server.url == url
    with redis_py.Redis.from_url(url) as client:
        assert client.get("kept") == b"yes"


def test_server_that_cannot_start_says_why(start_valkey: Callable[..., Valkey]) -> None:
    """A server that refuses its options fails at once, with its own words, and leaves no process."""
    with pytest.raises(RuntimeError, match="maxmemory"):
        start_valkey(maxmemory="nonsense")


def test_ended_server_leaves_no_process(start_valkey: Callable[..., Valkey]) -> None:
    """Stop ends the process, also one that SIGSTOP had halted."""
    server = start_valkey()
    pid = server.pid
    os.kill(pid, 19)
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "words",
    [("segments", "hi"), ("status", "--config", "none.toml"), ("sned",), ("--version",), ("vet", "nosuch:Thing")],
    ids=" ".join,
)
def test_a_forked_command_is_what_a_typed_one_is(words: tuple[str, ...]) -> None:
    """Its exit code and all that it says are those of `python -m smsd`, which starts from nothing."""
    typed = subprocess.run([sys.executable, "-m", "smsd", *words], capture_output=True, text=True, check=False)
    assert smsd(*words) == Said(typed.returncode, typed.stdout, typed.stderr)


def test_a_forked_command_that_hangs_is_ended() -> None:
    """It costs its test and no other: the next command gets its own answer."""
    assert smsd("carrier", "--listen", "127.0.0.1:0", limit_s=1).code == -14
    assert smsd("segments", "hi").out.startswith("1 segment")
