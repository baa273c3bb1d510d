"""Asks providers about messages whose receipts do not come, and takes what they say as a receipt.

Never ends a message by itself, never asks a provider that cannot be asked, never takes the word about another message.
One process asks for all; a second one that does so too does no harm.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import cast

from redis.exceptions import ResponseError
from structlog.typing import FilteringBoundLogger

from smsd.core import asking
from smsd.message import Message
from smsd.provider import Attempt, Found, NotFound, Provider
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.resolver import look_up
from smsd.shell.sender import wall_us
from smsd.shell.transport import Transport
from smsd.store import keys
from smsd.store.connect import AWAY
from smsd.store.record import Record, Taken, decode
from smsd.store.shard import ClockDiffers, ReceiptFor, Shard

PERIOD_S = 30.0
TURN_US = 120_000_000
PAGE = 200  # messages of one class and wait that are asked about in a pass; the rest follow in the next
PAGES = 20  # of so many, looked at for them
ASKING_MAX = 5  # at a time
_ENDED = frozenset({"delivered", "undelivered", "late"})


class Asker:
    """The questions of one process, over all shards."""

    def __init__(self, live: Live, transport: Transport, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._live, self._transport, self._metrics, self._log = live, transport, metrics, log
        self._asking = asyncio.Semaphore(ASKING_MAX)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for shard in self._live.shards:
                try:
                    await self.ask(shard)
                except (*AWAY, ClockDiffers, ResponseError) as error:
                    self._metrics.store_error("ask")
                    self._log.warning("ask_failed", shard=shard.number, error=str(error))
            await asyncio.sleep(PERIOD_S)

    async def ask(self, shard: Shard) -> int:
        """One pass. Returns how many messages were asked about."""
        now_us, asked = wall_us(shard), 0
        if not await self._turn(shard, now_us):
            return 0
        for name, class_ in self._live.config.classes.items():
            timeout_us = class_.receipt_timeout_us
            for n, wait_us in enumerate(asking.waits(class_.ask_after_us, timeout_us)):
                asked += await self._ask_about(shard, name, n, wait_us, timeout_us, now_us)
        return asked

    async def _turn(self, shard: Shard, now_us: int) -> bool:
        """Whether this process asks: nobody else does, or who did has not come back."""
        name, mine = keys.key(shard.number, "asked"), self._live.process
        told = await cast("Awaitable[bytes | None]", shard.client.hget(name, "turn"))
        who, _, until = (told or b"").decode().rpartition(" ")
        if who not in ("", mine) and until.isdigit() and int(until) > now_us:
            return False
        await shard.client.hset(name, "turn", f"{mine} {now_us + TURN_US}")
        return True

    async def _ask_about(self, shard: Shard, class_: str, n: int, wait_us: int, timeout_us: int, now_us: int) -> int:
        """Those that have waited so long since the last pass."""
        name, field = keys.key(shard.number, "asked"), f"{class_}|{n}"
        since = await cast("Awaitable[bytes | None]", shard.client.hget(name, field))
        from_us, until_us = asking.span(int(since) if since else None, now_us, wait_us, timeout_us)
        waiting: list[tuple[bytes, Record]] = []
        came_to, after = from_us - (timeout_us - wait_us), from_us
        for _ in range(PAGES):  # many of them may be of other classes, or of providers that cannot be asked
            page = cast(
                "list[tuple[bytes, float]]",
                await shard.client.zrangebyscore(  # pyright: ignore[reportUnknownMemberType]
                    keys.key(shard.number, "await"), f"({after}", until_us, start=0, num=PAGE, withscores=True
                ),
            )
            waiting += [one for one in await self._waiting(shard, page) if one[1].class_ == class_]
            if len(page) < PAGE:
                came_to = now_us
                break
            after = int(page[-1][1])
            came_to = after - (timeout_us - wait_us)
            if len(waiting) >= PAGE:
                break
        await asyncio.gather(*(self._ask_one(shard, key.decode(), record) for key, record in waiting))
        await shard.client.hset(name, field, str(came_to))
        return len(waiting)

    async def _waiting(self, shard: Shard, page: Sequence[tuple[bytes, float]]) -> list[tuple[bytes, Record]]:
        """Of these, the ones that a provider took which can be asked."""
        if not page:
            return []
        asked = shard.client.hmget(keys.key(shard.number, "msg"), [key for key, _ in page])
        packed = await cast("Awaitable[list[bytes | None]]", asked)
        records = [(key, decode(one)) for (key, _), one in zip(page, packed, strict=True) if one]
        return [(key, one) for key, one in records if one.state == "submitted" and self._able(one) is not None]

    def _able(self, record: Record) -> Provider | None:
        """The provider of the last attempt that was taken, where it can be asked."""
        name = record.taken[-1].provider if record.taken else ""
        if name not in self._live.config.providers:
            return None
        try:
            provider = self._live.config.provider(name)
        except ValueError:  # a secret that this host cannot read
            return None
        return provider if provider.capabilities.look_up != "none" else None

    async def _ask_one(self, shard: Shard, key: str, record: Record) -> None:
        provider, taken = self._able(record), record.taken[-1]
        message = await shard.message(key)
        if provider is None or message is None:
            return
        attempt = self._attempt(key, record, taken, message)
        async with self._asking:
            settings = self._live.config.providers.get(taken.provider)
            if settings is None:  # dropped by a reload while this one waited for its turn
                return
            looked = await look_up(self._transport, taken.provider, provider, attempt, settings.timeout_s)
        if not isinstance(looked, Found):
            told = "not_found" if isinstance(looked, NotFound) else "failed"
            self._metrics.asked(taken.provider, told)
            return
        ids = {one.provider_id for one in record.taken if one.attempt == taken.attempt}
        receipts = [
            ReceiptFor(
                key, taken.attempt, taken.provider, one.provider_id, one.status.value, one.reason, one.error_code,
                one.raw_status, one.parts,
            )
            for one in looked.candidates
            if one.provider_id in ids
        ]  # fmt: skip
        words = await shard.receipts(receipts) if receipts else []
        ended = not _ENDED.isdisjoint(words)
        self._metrics.asked(taken.provider, "ended" if ended else "open" if words else "not_found")
        if ended:
            self._log.info("receipt_asked_for", message=key, provider=taken.provider, word=words[-1])

    def _attempt(self, key: str, record: Record, taken: Taken, message: Message) -> Attempt:
        reference = f"{taken.attempt}.{key}"
        url = self._live.callback_url(taken.provider, reference)
        return Attempt(message, reference, url, "", record.leased)
