"""What each process says of itself in the store: which revision it has in force, and what became of its host's file.

Never decides about a message. One field of one hash of the first shard per process, written every few seconds, dropped
when the process ends, or once it has been silent for long.
"""

import contextlib
import time
from collections.abc import Awaitable
from typing import Literal, cast

import msgspec

from smsd.store import keys
from smsd.store.shard import Shard

TELL_S = 3.0
SILENT_MS = 15_000  # after so long a process is told of as silent
GONE_MS = 60_000  # and after so long it is forgotten
MOST = 1000  # processes; those heard of last are kept

File = Literal["in_force", "superseded", "refused"]
"""What became of the file of a process's host: it is what is in force; another one, published later, is; or it could
not be put in force there."""


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process of `smsd run`, as it told."""

    process: str  # host-pid-nonce, as in leases and consumer groups
    host: str
    pid: int
    version: str
    since_ms: int
    at_ms: int  # when it told this
    revision: int
    file: File
    dead: list[str] = []  # providers that it finds dead by their answers, or that refuse us
    why: str = ""  # the file could not be put in force, or the store's revision cannot be used there

    def silent_ms(self, now_ms: int) -> int:
        """How long it has not been heard of; 0 for one that works."""
        return 0 if now_ms - self.at_ms < SILENT_MS else now_ms - self.at_ms


async def tell(shard: Shard, process: Process) -> None:
    """Writes what a process says of itself, and forgets who has not been heard of for long."""
    client, name = shard.client, keys.key(shard.number, "procs")
    await client.hset(name, process.process, msgspec.json.encode(process).decode())
    _, gone = await _told(shard, process.at_ms)
    if gone:
        await client.hdel(name, *gone)


async def leave(shard: Shard, process: str) -> None:
    """A process that ends in an orderly way is not told of any more."""
    await shard.client.hdel(keys.key(shard.number, "procs"), process)


async def processes(shard: Shard, now_ms: int = 0) -> list[Process]:
    """Every process that was heard of within a minute, by name. `now_ms` 0: by this machine's clock."""
    told, _ = await _told(shard, now_ms or time.time_ns() // 1_000_000)
    return sorted(told, key=lambda process: process.process)


async def _told(shard: Shard, now_ms: int) -> tuple[list[Process], list[str]]:
    """Who was heard of lately, and the names of all others; what cannot be read counts as one of these."""
    asked = shard.client.hgetall(keys.key(shard.number, "procs"))
    said = await cast("Awaitable[dict[bytes, bytes]]", asked)
    told: list[Process] = []
    for text in said.values():
        with contextlib.suppress(msgspec.MsgspecError):
            told.append(msgspec.json.decode(text, type=Process))
    heard = sorted((one for one in told if now_ms - one.at_ms <= GONE_MS), key=lambda one: -one.at_ms)[:MOST]
    return heard, sorted({name.decode() for name in said} - {one.process for one in heard})
