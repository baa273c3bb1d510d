"""Tells the store what this process is and has in force (control/processes.py), so that `smsd status` can show drift.

Never more than a small write every few seconds, and one when something changes. A store that is away when a process
starts or ends hears of it later, or from the time alone.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Collection
from typing import Self

from smsd.control import processes
from smsd.control.processes import Process
from smsd.shell.live import Live
from smsd.shell.metrics import release
from smsd.store.connect import AWAY

LEAVE_S = 1.0  # for a store that hangs to take the last word of a process; the others find out what it does not take


class Presence:
    """One process in the list of all. Also a context manager: whoever hears that it is ready finds it in the list."""

    def __init__(self, live: Live, *, dead_providers: Callable[[], Collection[str]] = tuple) -> None:
        self._live, self._dead_providers = live, dead_providers
        self._since_ms = time.time_ns() // 1_000_000
        self._told: Process | None = None

    async def __aenter__(self) -> Self:
        with contextlib.suppress(*AWAY):
            await self.tell()
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(*AWAY):
            async with asyncio.timeout(LEAVE_S):
                await self.leave()

    async def tell(self) -> bool:
        """Writes what is true now, unless that was told within the last seconds. Returns whether it was written."""
        now, told = self._now(), self._told
        if told is not None and now.at_ms - told.at_ms < processes.TELL_S * 1000 and _same(now, told):
            return False
        await processes.tell(self._live.shards[0], now)
        self._told = now
        return True

    async def leave(self) -> None:
        """This process ends."""
        await processes.leave(self._live.shards[0], self._live.process)

    def _now(self) -> Process:
        live = self._live
        return Process(
            process=live.process,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=release(),
            since_ms=self._since_ms,
            at_ms=time.time_ns() // 1_000_000,
            revision=live.revision,
            file=live.file,
            dead=sorted(self._dead_providers()),
            why=live.trouble or (live.refused if live.file == "refused" else ""),
        )


def _same(one: Process, other: Process) -> bool:
    return (one.revision, one.file, one.dead, one.why) == (other.revision, other.file, other.dead, other.why)
