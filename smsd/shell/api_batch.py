"""Entries that came by HTTP on their way into a shard: those of many requests share a script call.

Never says that an entry is taken before the store has it, and never lets anybody wait longer for that than ANSWER_S:
what the store has not told of by then is told as such, each entry by itself.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from redis.exceptions import RedisError

from smsd.message import Entry
from smsd.shell.metrics import Metrics
from smsd.store.shard import ClockDiffers, Shard

UNSURE, NOT_TRIED = "unsure", "not_tried"  # words of entries: given to the store, which did not answer; not given
ANSWER_S = 5.0  # for the store to take all of a request; then the platform is asked to come again
BATCH = 100  # entries in one call, so that a long list does not hold the store up
LINGER_S = 0.002  # between two calls while many come, for more of them to share one
WAITING_MAX = 20_000  # entries that wait for the store; more are asked to come again


class _Order:
    """What one request wants: its entries in order, how many were handed over, and the words for them."""

    __slots__ = ("done", "entries", "handed", "words")

    def __init__(self, entries: Sequence[Entry], done: asyncio.Future[None]) -> None:
        self.entries, self.done = entries, done
        self.handed = 0
        self.words: list[str] = []

    def end(self) -> None:
        """Nothing more will be known."""
        if not self.done.done():
            self.done.set_result(None)

    def told(self) -> list[str]:
        """A word for each, as far as they are known by now."""
        unsure, not_tried = self.handed - len(self.words), len(self.entries) - self.handed
        return [*self.words, *[UNSURE] * unsure, *[NOT_TRIED] * not_tried]


class Batch:
    """The way into one shard: whatever waits goes in the next call, and one call is under way at a time."""

    def __init__(self, shard: Shard, metrics: Metrics) -> None:
        self._shard, self._metrics = shard, metrics
        self._waiting: deque[_Order] = deque()
        self._held = 0
        self._writing: asyncio.Task[None] | None = None

    async def put(self, entries: Sequence[Entry]) -> list[str]:
        """A word for each, as Shard.admit has them, in order; UNSURE and NOT_TRIED while the store is away or slow."""
        order = _Order(entries, asyncio.get_running_loop().create_future())
        if self._held + len(entries) > WAITING_MAX:
            return order.told()
        self._waiting.append(order)
        self._held += len(entries)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await order.done
        return order.told()

    async def _write(self) -> None:
        try:
            while pieces := self._next():
                await self._write_batch(pieces)
                if len(pieces) > 1 and self._held < BATCH:  # busy: fewer and fuller calls cost less
                    await asyncio.sleep(LINGER_S)
        finally:
            self._writing = None

    def _next(self) -> list[tuple[_Order, Sequence[Entry]]]:
        """Of those that somebody still waits for, in the order that they came."""
        pieces: list[tuple[_Order, Sequence[Entry]]] = []
        room = BATCH
        while self._waiting and room:
            order = self._waiting[0]
            if order.done.done():
                self._held -= len(order.entries) - order.handed
                self._waiting.popleft()
                continue
            part = order.entries[order.handed : order.handed + room]
            pieces.append((order, part))
            order.handed += len(part)
            room -= len(part)
            self._held -= len(part)
            if order.handed == len(order.entries):
                self._waiting.popleft()
        return pieces

    async def _write_batch(self, pieces: Sequence[tuple[_Order, Sequence[Entry]]]) -> None:
        entries = [entry for _, part in pieces for entry in part]
        try:
            words = iter(await self._shard.admit(entries, "", from_inbox=False))
        except (RedisError, OSError, ClockDiffers):
            self._metrics.store_error("api")
            for order, _ in pieces:
                order.end()
            return
        for order, part in pieces:
            order.words += [next(words) for _ in part]
            if len(order.words) == len(order.entries):
                order.end()
