"""What a service manager hears: ready, reloading, stopping, and that the process lives."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.shell.notify import Notify
from tests.support.config import write
from tests.support.running import Daemon

WAIT_S = 20.0


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._line.settimeout(WAIT_S)

    def hears(self, first: str) -> dict[str, str]:
        """The next datagram that begins so, as its names and values."""
        while True:
            lines = self._line.recv(4096).decode().splitlines()
            if lines[0] == first:
                return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._line.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    if request.param == "abstract" and not Path("/proc/net/unix").exists():
        pytest.skip("ABSTRACT SOCKETS are Linux's")
    made = Manager(str(tmp_path / "n") if request.param == "path" else f"@smsd-test-{os.getpid()}-{tmp_path.name}")
    yield made
    made.close()


async def test_the_watchdog_hears_that_the_loop_turns(manager: Manager) -> None:
    """Twice in the time that it gives, from ready on, and again and again."""
    notify = Notify({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "40000", "WATCHDOG_PID": str(os.getpid())})
    notify.ready("serving")
    assert manager.hears("READY=1")["STATUS"] == "serving"
    for _ in range(3):
        await asyncio.to_thread(manager.hears, "WATCHDOG=1")


async def test_a_watchdog_of_another_process_hears_nothing(manager: Manager) -> None:
    """WATCHDOG_PID names whom it is about."""
    notify = Notify({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "40000", "WATCHDOG_PID": "1"})
    notify.ready("serving")
    notify.stopping()
    assert manager.hears("READY=1")
    assert manager.hears("STOPPING=1")["STATUS"] == "draining"


def test_nobody_who_asked_is_told_nothing(tmp_path: Path) -> None:
    """Without NOTIFY_SOCKET, or with one that nobody listens at, nothing happens."""
    Notify({}).ready("serving")
    Notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}).stopping()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [(), ("--workers", "2")])
async def test_a_daemon_tells_its_whole_life(
    redis: Redis, store_url: str, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """Ready once it (or every worker) serves, a reload by SIGHUP with its instant, and that it drains."""
    manager = Manager(str(tmp_path / "n"))
    path = write(tmp_path, store=store_url)
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "500000"}
    with Daemon(path, *flags, env=env) as daemon:
        assert "serv" in (await asyncio.to_thread(manager.hears, "READY=1"))["STATUS"]
        await asyncio.to_thread(manager.hears, "WATCHDOG=1")
        daemon.process.send_signal(signal.SIGHUP)
        assert int((await asyncio.to_thread(manager.hears, "RELOADING=1"))["MONOTONIC_USEC"]) > 0
        await asyncio.to_thread(manager.hears, "READY=1")
        daemon.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(manager.hears, "STOPPING=1")
        assert await asyncio.to_thread(daemon.process.wait, WAIT_S) == 0
    manager.close()
