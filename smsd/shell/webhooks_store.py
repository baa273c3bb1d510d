"""What callbacks bring, on its way into the store: receipts by the hundred in one call, a text in time, or not.

Never says that something is stored before it is, and never lets anybody wait longer for that than STORE_S.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from smsd.shell.metrics import Metrics
from smsd.store.shard import UNFIT, ClockDiffers, ReceiptFor, Shard

if TYPE_CHECKING:
    from smsd.shell.traces import Traces

STORE_S = 1.0  # for the store to take it; then the provider is asked to come again
BATCH = 100  # receipts in one call of the store
LINGER_S = 0.004  # between two calls while many come, for more of them to share one
WAITING_MAX = 5000  # receipts that wait for the store; more are asked to come again

_NOT_HERE = frozenset({"early", "orphan", "dropped"})  # words for a receipt whose message another shard may have


class Away(Exception):
    """The store did not take it, or not in time."""


class Awaited:
    """A callback whose receipts are on their way: hears once, of all of them stored (None) or of the first failure."""

    __slots__ = ("_left", "_tell", "at", "told")

    def __init__(self, offers: int, tell: Callable[[Away | None], None]) -> None:
        self._left, self._tell = offers, tell
        self.at = asyncio.get_running_loop().time()
        self.told = False

    @property
    def since_ns(self) -> int:
        """When it came, in nanoseconds since the epoch."""
        return time.time_ns() - int((asyncio.get_running_loop().time() - self.at) * 1e9)

    def stored(self) -> None:
        self._left -= 1
        if not self._left:
            self._end(None)

    def failed(self, why: Away) -> None:
        self._end(why)

    def _end(self, why: Away | None) -> None:
        if not self.told:
            self.told = True
            self._tell(why)


class Offer:
    """A receipt, offered to the shard of its reference. One with the provider's id only is offered to all: one knows
    it, or all keep it.
    """

    __slots__ = ("_asked", "awaited", "receipt", "word")

    def __init__(self, receipt: ReceiptFor, asked: int, awaited: Awaited) -> None:
        self.receipt, self._asked, self.awaited = receipt, asked, awaited
        self.word = ""

    def heard(self, word: str) -> bool:
        """Takes a shard's word, that of the one which knows the message before the others'; whether it was the last."""
        if self.word in _NOT_HERE or not self.word:
            self.word = word
        self._asked -= 1
        return not self._asked


class Batch:
    """Receipts on their way to one shard: whatever waits goes in the next call, and one call is under way at a time."""

    def __init__(self, shard: Shard, metrics: Metrics, traces: "Traces | None" = None) -> None:
        self._shard, self._metrics, self._traces = shard, metrics, traces
        self._waiting: deque[Offer] = deque()
        self._offered: Sequence[Offer] = ()
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def put(self, offer: Offer) -> None:
        """Who awaits it hears of it, at once where it cannot be taken."""
        if len(self._waiting) >= WAITING_MAX:
            offer.awaited.failed(Away("too many receipts wait for the store"))
            return
        self._waiting.append(offer)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STORE_S, self._tell_late)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    def _tell_late(self) -> None:
        """One timer for all: whoever waits too long hears so, and the next to be late sets the timer anew."""
        loop, self._timer = asyncio.get_running_loop(), None
        for awaited in (offer.awaited for offer in chain(self._offered, self._waiting)):
            if awaited.told:
                continue
            if awaited.at + STORE_S > loop.time():
                self._timer = loop.call_at(awaited.at + STORE_S, self._tell_late)
                return
            awaited.failed(Away("the store is slow"))

    async def _write(self) -> None:
        try:
            while batch := self._next():
                self._offered = batch
                await self._write_batch(batch)
                if len(batch) > 1 and len(self._waiting) < BATCH:  # busy: fewer and fuller calls cost half as much
                    await asyncio.sleep(LINGER_S)
        finally:
            self._writing, self._offered = None, ()

    def _next(self) -> Sequence[Offer]:
        """Those that somebody still waits for: the others were told to come again."""
        batch: list[Offer] = []
        while self._waiting and len(batch) < BATCH:
            offer = self._waiting.popleft()
            if not offer.awaited.told:
                batch.append(offer)
        return batch

    async def _write_batch(self, batch: Sequence[Offer]) -> None:
        receipts = [offer.receipt for offer in batch]
        try:
            traced = await self._traces.known(self._shard, receipts) if self._traces is not None else None
            words = await self._shard.receipts(receipts)
        except UNFIT as error:
            if len(batch) > 1:  # the guilty one must not hold up the others
                for one in batch:
                    await self._write_batch([one])
                return
            self._fail(batch, error)
        except (RedisError, OSError, ClockDiffers) as error:
            self._fail(batch, error)
        else:
            self._stored(batch, words)
            if traced and self._traces is not None:
                self._traces.receipts(traced, [(offer.receipt, offer.awaited.since_ns) for offer in batch], words)

    def _stored(self, batch: Sequence[Offer], words: Sequence[str]) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        for offer, word in zip(batch, words, strict=True):
            receipt = offer.receipt
            if offer.heard(word):
                counts[receipt.provider, offer.word] += 1
            offer.awaited.stored()
        for (provider, word), n in counts.items():
            self._metrics.receipts(provider, word, n)

    def _fail(self, batch: Iterable[Offer], error: Exception) -> None:
        self._metrics.store_error("receipts")
        for offer in batch:
            offer.awaited.failed(Away(f"{type(error).__name__}: {error}"))


async def in_time(work: Coroutine[Any, Any, None]) -> None:
    """Waits for a write, no longer than STORE_S. It goes on when we no longer wait, for one that was cut off may have
    run. Raises Away.
    """
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait([task], timeout=STORE_S)
    if not done:
        task.add_done_callback(lambda late: late.exception())
        raise Away("the store is slow")
    error = task.exception()
    if isinstance(error, (RedisError, OSError, ClockDiffers)):
        raise Away(f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
