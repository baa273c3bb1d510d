"""Writes what attempts came to, each as the very next thing after its answer: one call in flight takes whatever waits.

Never drops an outcome while the store may come back: a settle is harmless when repeated, for its fence names the lease.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from smsd.core.health import Health, Ticket
from smsd.core.outcome import Outcome
from smsd.message import Leased
from smsd.store.connect import AWAY
from smsd.store.shard import UNFIT, ClockDiffers, Shard

BATCH_MAX = 100
WAIT_FIRST_S = 0.05
WAIT_LAST_S = 1.0


class Done(msgspec.Struct, frozen=True, gc=False):
    """One attempt that is over, and what is told about it once that is written."""

    leased: Leased
    outcome: Outcome
    heard: str  # what the attempt came to, for the metric
    health: Health
    ticket: Ticket
    queue_us: int  # from taking the message to its leaving; 0: it did not leave
    limit_us: int  # the part of it that was spent at limits
    submit_us: int  # from the first byte to the answer


class Settler:
    """The outcomes of one shard. `settled` hears of each batch with the words that the store answered."""

    def __init__(
        self,
        shard: Shard,
        settled: Callable[[Sequence[Done], Sequence[str]], None],
        trouble: Callable[[Exception], None],
    ) -> None:
        self._shard, self._settled, self._trouble = shard, settled, trouble
        self._waiting: list[Done] = []
        self._writer: asyncio.Task[None] | None = None

    def put(self, done: Done) -> None:
        """Takes an outcome; a lone one is written at once."""
        self._waiting.append(done)
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def idle(self) -> None:
        """Returns once everything that was put is written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def abandon(self) -> None:
        """The process ends: what the store has not taken by now is left to the leases' ends."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                self._settled(batch, await self._write([done.outcome for done in batch]))
        finally:
            self._writer = None

    async def _write(self, outcomes: list[Outcome]) -> list[str]:
        wait_s = WAIT_FIRST_S
        while True:
            try:
                return await self._shard.settle(outcomes)
            except (*AWAY, ClockDiffers) as error:
                self._trouble(error)
            except UNFIT as error:
                self._trouble(error)
                if len(outcomes) > 1:  # Lua does not roll back: one by one, so that only the guilty one suffers
                    return [(await self._write([one]))[0] for one in outcomes]
                return ["refused"]  # its lease ends unsettled
            await asyncio.sleep(wait_s)
            wait_s = min(WAIT_LAST_S, wait_s * 2)
