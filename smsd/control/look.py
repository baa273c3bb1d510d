"""One look at a shard: how much there is of everything that may grow, and since when the oldest message waits.

Never scans and never changes anything: each look costs the store the same, whatever waits in it.
"""

import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, cast

from redis.exceptions import ResponseError

from smsd.store import keys
from smsd.store.record import decode
from smsd.store.shard import Shard

LANES_READ = 2000  # by their heads' deadlines
LANES_AT_RANDOM = 500  # for a class of which none of those is
HEADS = 100  # looked at, of each class

SIZES: dict[str, str] = {
    **dict.fromkeys(("events", "inbound", "dead"), "XLEN"),
    **dict.fromkeys(("msg", "lane", "ref", "early", "pause", "optout"), "HLEN"),
    **dict.fromkeys(("due", "await", "unsure"), "ZCARD"),
}
"""What may grow in a shard, by its name there, and the command that tells how much of it there is."""


class Look:
    """One look at one shard."""

    def __init__(self, shard: Shard, classes: Iterable[str], providers: Iterable[str]) -> None:
        self._shard, self._client, self._number = shard, shard.client, shard.number
        self._classes, self._providers = list(classes), list(providers)
        self.counts: dict[str, dict[str, int]] = {}
        self.ages: dict[str, float] = {}

    def _key(self, kind: str) -> str:
        return keys.key(self._number, kind)

    async def read(self) -> "Look":
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(self._key("meta"))
            pipe.hmget(self._key("inflight"), [f"p:{name}" for name in self._providers] or ["p:"])
            for class_ in self._classes:
                pipe.xlen(keys.inbox(self._number, class_))
            for kind, command in SIZES.items():
                pipe.execute_command(command, self._key(kind))  # pyright: ignore[reportUnknownMemberType]
            pipe.zrange(self._key("dline"), 0, LANES_READ - 1)  # pyright: ignore[reportUnknownMemberType]
            found = await cast("Awaitable[list[Any]]", pipe.execute(raise_on_error=False))
        meta, flying, *sizes, lanes = [_there(one) for one in found]
        backlog = dict.fromkeys(self._classes, 0)
        backlog |= {name[2:].decode(): max(0, int(n)) for name, n in meta.items() if name.startswith(b"n:")}
        self.counts = {
            "smsd_backlog_messages": backlog,
            "smsd_inbox_entries": dict(zip(self._classes, sizes, strict=False)),
            "smsd_in_flight": {name: int(n or 0) for name, n in zip(self._providers, flying, strict=False)},
            "smsd_store_entries": dict(zip(SIZES, sizes[len(self._classes) :], strict=True)),
        }
        await self._read_ages(lanes, backlog)
        return self

    async def _read_ages(self, lanes: list[bytes], backlog: dict[str, int]) -> None:
        heads: dict[str, list[bytes]] = {class_: [] for class_ in backlog}
        _sort(lanes, heads)
        if any(n and not heads[class_] for class_, n in backlog.items()):
            some = self._client.hrandfield(self._key("lane"), LANES_AT_RANDOM)
            _sort(await cast("Awaitable[list[bytes]]", some), heads, missing=True)
        now_us = self._shard.now_us or time.time_ns() // 1000
        since = await self._since([lane for some in heads.values() for lane in some])
        self.ages = {
            class_: max(((now_us - since[lane]) / 1e6 for lane in some if lane in since), default=0.0)
            for class_, some in heads.items()
        }

    async def _since(self, lanes: list[bytes]) -> dict[bytes, int]:
        """When the head of each lane could first leave, in µs."""
        async with self._client.pipeline(transaction=False) as pipe:
            for lane in lanes:
                pipe.zrangebylex(self._key("lanes"), b"[" + lane + b"\0", b"(" + lane + b"\0\xff", start=0, num=1)
            found = await cast("Awaitable[list[list[bytes]]]", pipe.execute()) if lanes else []
        messages = {
            lane: lane.split(b"|", 1)[0] + b"/" + m[0].rsplit(b"\0", 1)[1]
            for lane, m in zip(lanes, found, strict=True)
            if m
        }
        if not messages:
            return {}
        asked = self._client.hmget(self._key("msg"), [key.decode() for key in messages.values()])
        records = await cast("Awaitable[list[bytes | None]]", asked)
        return {lane: decode(packed).since_us for lane, packed in zip(messages, records, strict=True) if packed}


def _there(found: Any) -> Any:
    """An answer; 0 where somebody wrote another kind of key in an inbox's place, which `smsd doctor` tells of."""
    if isinstance(found, ResponseError) and str(found).startswith("WRONGTYPE"):
        return 0
    if isinstance(found, Exception):
        raise found
    return found


def _sort(lanes: Sequence[bytes], heads: dict[str, list[bytes]], *, missing: bool = False) -> None:
    """Gives each class the first HEADS of its lanes; `missing`: only to those that have none yet."""
    open_ = {class_ for class_, some in heads.items() if not (missing and some)}
    for lane in lanes:
        class_ = lane.split(b"|", 2)[1].decode()
        if class_ in open_ and len(heads[class_]) < HEADS:
            heads[class_].append(lane)
