"""Reads the inboxes and admits what comes: one reader per shard over all classes, the heavier class first.

Never loses an entry: what it has read is pending until the store has admitted it, is read again after every trouble,
and is claimed by another process within seconds when this one dies. Never holds more than two reads in memory.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from structlog.typing import FilteringBoundLogger

from smsd.core.admit import judge, unknown_fields
from smsd.message import Cancel, Entry, Rejection, Send
from smsd.shell.live import Live, look
from smsd.shell.metrics import Metrics
from smsd.store.inbox import Inbox, Read
from smsd.store.shard import PASSING, ClockDiffers, Fields, Shard

if TYPE_CHECKING:
    from smsd.shell.traces import Traces

CLAIM_IDLE_MS = 5000  # an entry that is pending for so long belongs to a process that is dead, or not doing well
CLAIM_EVERY_S = 2.0
CLAIM_PAGES = 50  # before reading on
FORGET_IDLE_MS = 60_000  # a live consumer reads every second
FORGET_EVERY_S = 30.0
MEMORY_EVERY_S = 1.0
MEMORY_UNBOUNDED_S = 60.0  # between looks at a store without maxmemory: it may be given one
BACKOFF_S = (0.05, 2.0)
CONFLICT = "id: was used for a message with other content"
FIELDS_KEPT = 500  # of a rejected entry; many more do not fit one call of a script

Nudge = Callable[[str], None]


class Intake:
    """All readers of this process. `nudge` hears of each route that something new is ready for."""

    def __init__(
        self,
        live: Live,
        blocking: Redis,
        metrics: Metrics,
        nudge: Nudge,
        log: FilteringBoundLogger,
        traces: "Traces | None" = None,
    ) -> None:
        self._readers = [Reader(shard, live, blocking, metrics, nudge, log, traces) for shard in live.shards]

    def sheds(self, shard: int) -> frozenset[str]:
        """The classes of which a shard takes nothing now, for its memory is short."""
        return self._readers[shard].shed

    async def run(self) -> None:
        """Until `stop`; a store that is away is waited for."""
        await asyncio.gather(*(reader.run() for reader in self._readers))

    def stop(self) -> None:
        """Reads no more. `run` returns when what was read has been admitted."""
        for reader in self._readers:
            reader.stop()


class Reader:
    """The reader of one shard's inboxes."""

    def __init__(
        self,
        shard: Shard,
        live: Live,
        blocking: Redis,
        metrics: Metrics,
        nudge: Nudge,
        log: FilteringBoundLogger,
        traces: "Traces | None" = None,
    ) -> None:
        self._shard, self._live = shard, live
        self._inbox = Inbox(shard.number, shard.client, blocking, live.process)
        self._metrics, self._nudge, self._log = metrics, nudge, log.bind(shard=shard.number)
        self._traces = traces
        self._trouble, self._failures = "", 0
        self._stopping = False
        self._stopped = asyncio.Event()
        self._claim_at = self._forget_at = self._memory_at = 0.0
        self.shed: frozenset[str] = frozenset()  # classes whose inboxes are left unread
        self._opened: list[str] = []  # classes whose inboxes are read
        self._barred: list[str] = []  # classes whose inboxes are no streams

    def stop(self) -> None:
        self._stopping = True
        self._stopped.set()
        self._inbox.stop()

    async def run(self) -> None:
        while not self._stopping:
            try:
                self._opened = []
                await self._open()
                await self._own()
                await self._read_on()
            except (RedisError, OSError, ClockDiffers) as error:
                self._note("store_away", error)
            except Exception as error:  # noqa: BLE001 - what was read stays pending; who ended would read no more
                self._note("intake_failed", error, exc_info=True)
            if not self._stopping:
                await self._rest(_backoff_s(self._failures))
                self._failures += 1
        with contextlib.suppress(RedisError, OSError):
            for class_ in self._opened:
                await self._inbox.forget(class_, 0, self._live.process)

    def _note(self, event: str, error: Exception, *, exc_info: bool = False) -> None:
        """Counts each failure, and logs the first of a kind in a row."""
        kind = type(error).__name__
        self._metrics.store_error("intake")
        if kind != self._trouble:
            self._log.warning(event, what="intake", error=f"{kind}: {error}", exc_info=exc_info)
        self._trouble = kind

    def _well(self) -> None:
        if self._trouble:
            self._log.info("store_back", what="intake")
        self._trouble, self._failures = "", 0

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _classes(self) -> list[str]:
        """All, the heavier first."""
        classes = self._live.config.classes
        return sorted(classes, key=lambda name: (-classes[name].weight, name))

    async def _open(self) -> None:
        """The groups of all inboxes, also of a class that a reload has brought. One that is no stream stops no other,
        and is tried again until it is one.
        """
        classes = self._classes()
        if classes == self._opened:
            return
        self._opened = await self._inbox.open(classes)
        barred = [class_ for class_ in classes if class_ not in self._opened]
        if barred != self._barred:
            self._log.warning("inbox_is_no_stream", classes=barred)
        self._barred = barred

    # ---- Reading -----------------------------------------------------------------------------------------------------

    async def _own(self) -> None:
        """What this process has read before and not seen through: a reply was lost, or the store was away."""
        for class_ in self._opened:
            after = "0"
            while not self._stopping and (reads := await self._inbox.pending(class_, after)):
                await self._admit(class_, reads)
                after = reads[-1][0]

    async def _read_on(self) -> None:
        """Reads on while what was read last is being admitted."""
        admitting: asyncio.Task[None] | None = None
        try:
            while not self._stopping:
                await self._keep_up()
                classes = [class_ for class_ in self._opened if class_ not in self.shed]
                got: Mapping[str, list[Read]] = {}
                if classes:
                    got = await self._inbox.read(classes)
                else:
                    await self._rest(MEMORY_EVERY_S)
                if admitting is not None:
                    ended, admitting = admitting, None
                    await ended
                if got:
                    admitting = asyncio.create_task(self._admit_all(got))
                self._well()
        finally:
            if admitting is not None:
                await admitting

    async def _keep_up(self) -> None:
        """What is to be done now and then, between two reads."""
        await self._open()
        now = time.monotonic()
        if now >= self._memory_at:
            self._memory_at = now + await self._watch_memory()
        if now >= self._claim_at:
            self._claim_at = now + CLAIM_EVERY_S * random.uniform(0.8, 1.2)
            for class_ in self._opened:
                await self._claim(class_)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_S * random.uniform(0.8, 1.2)
            for class_ in self._opened:
                await self._inbox.forget(class_, FORGET_IDLE_MS)

    async def _watch_memory(self) -> float:
        """Leaves inboxes unread while memory is short, for there an entry takes least. Returns when to look again."""
        memory = await self._shard.client.info("memory")  # pyright: ignore[reportUnknownMemberType]
        used, most = int(memory["used_memory"]), int(memory.get("maxmemory", 0))
        shed = too_much(used, most, self._live.config.dispatch.memory_mark, self._classes()[::-1])
        if shed != self.shed:
            self._log.warning("intake_sheds", classes=sorted(shed), used=used, maxmemory=most)
            self.shed = shed
        for class_ in shed:
            self._metrics.intake_shed(class_)
        return MEMORY_EVERY_S if most else MEMORY_UNBOUNDED_S

    async def _claim(self, class_: str) -> None:
        """Takes over what processes that are gone have left pending."""
        cursor = "0-0"
        for _ in range(CLAIM_PAGES):
            cursor, reads = await self._inbox.claim(class_, CLAIM_IDLE_MS, cursor)
            if reads:
                self._log.info("intake_claims", entries=len(reads), **{"class": class_})
                await self._admit(class_, reads)
            if cursor == "0-0":
                return

    # ---- Admitting ---------------------------------------------------------------------------------------------------

    async def _admit_all(self, got: Mapping[str, list[Read]]) -> None:
        for class_, reads in got.items():
            await self._admit(class_, reads)

    async def _admit(self, class_: str, reads: Sequence[Read]) -> None:
        now_ns, shard = time.time_ns(), self._shard.number
        entries = self._judged(class_, reads, now_ns)
        if any(isinstance(entry, Rejection) for entry in entries) and await look(self._live):
            entries = self._judged(class_, reads, now_ns)
        if class_ not in self._live.config.classes:  # a reload dropped it meanwhile: nothing of it would ever leave
            return  # still pending, as all that its inbox holds, until the class is back
        words = await self._put(entries, class_, dict(reads))
        clashes = {
            i: _conflict(entry, reads[i])
            for i, (entry, word) in enumerate(zip(entries, words, strict=True))
            if word == "conflict" and isinstance(entry, Send)
        }
        if clashes:
            answers = await self._put(list(clashes.values()), class_, {})
            for (i, rejection), word in zip(clashes.items(), answers, strict=True):
                entries[i], words[i] = rejection, word
        count(self._metrics, class_, entries, words)
        if self._traces is not None:
            self._traces.admitted(shard, class_, entries, words, now_ns)
        if unknown := sum(unknown_fields(fields) for _, fields in reads):
            self._metrics.unknown_fields(class_, unknown)
        for route in {
            entry.message.route
            for entry, word in zip(entries, words, strict=True)
            if word == "taken" and isinstance(entry, Send)
        }:
            self._nudge(route)

    def _judged(self, class_: str, reads: Sequence[Read], now_ns: int) -> list[Entry]:
        now_us = self._shard.now_us or now_ns // 1000
        rules, shard = self._live.config, self._shard.number
        return [
            _kept(judge(fields, class_=class_, shard=shard, entry_id=entry_id, now_us=now_us, rules=rules))
            for entry_id, fields in reads
        ]

    async def _put(self, entries: Sequence[Entry], class_: str, originals: Mapping[str, Fields]) -> list[str]:
        try:
            return await self._shard.admit(entries, class_, originals=originals)
        except ResponseError as error:
            if isinstance(error, PASSING) or not any(isinstance(e, Rejection) and e.fields for e in entries):
                raise
            # A rejection whose own fields the store cannot take is told without them, for it would come back for ever.
            self._log.error("rejection_bare", error=str(error), **{"class": class_})
            return await self._shard.admit([_bare(entry) for entry in entries], class_)


def count(metrics: Metrics, class_: str, entries: Sequence[Entry], words: Sequence[str]) -> None:
    """Counts what became of entries, whichever way they came."""
    outcomes, reasons = Counter[str](), Counter[str]()
    for entry, word in zip(entries, words, strict=True):
        outcomes[f"cancel_{word}" if isinstance(entry, Cancel) else word] += 1
        if isinstance(entry, Rejection) and word == "rejected":
            reasons[entry.reason] += 1
    for outcome, n in outcomes.items():
        metrics.intake(class_, outcome, n)
    for reason, n in reasons.items():
        metrics.rejected(class_, reason, n)


def too_much(used: int, most: int, mark: float, lightest_first: Sequence[str]) -> frozenset[str]:
    """The classes whose inboxes are left unread at so many bytes of `most` (0: no bound): the lightest at the mark, the
    others at even steps between it and the full memory.
    """
    if most <= 0:
        return frozenset()
    step = (1 - mark) / max(1, len(lightest_first))
    return frozenset(name for i, name in enumerate(lightest_first) if used >= most * (mark + i * step))


def _backoff_s(failures: int) -> float:
    return random.uniform(0.5, 1.0) * min(BACKOFF_S[1], BACKOFF_S[0] * 2 ** min(failures, 10))


def _kept(entry: Entry) -> Entry:
    if not isinstance(entry, Rejection) or len(entry.fields) <= FIELDS_KEPT:
        return entry
    detail = f"{entry.detail} (of its {len(entry.fields)} fields the first {FIELDS_KEPT} are kept)"
    return msgspec.structs.replace(entry, detail=detail, fields=entry.fields[:FIELDS_KEPT])


def _bare(entry: Entry) -> Entry:
    return msgspec.structs.replace(entry, fields=()) if isinstance(entry, Rejection) else entry


def _conflict(entry: Send, read: Read) -> Entry:
    m = entry.message
    return _kept(
        Rejection("id_conflict", CONFLICT, entry.entry_id, m.tenant, m.id, read[1], campaign=m.campaign, meta=m.meta)
    )
