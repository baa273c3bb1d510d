"""Tells receivers of the events: reads them once for all, pushes at once what has room, and keeps the rest to be due.

Never loses an event: it is acknowledged in the step that keeps it, and kept until a receiver has taken it. Never lets
one receiver wait for another: each has its own room, its own health and its own backlog. (What providers call is
webhooks.py.) Why so: docs/decisions/0016.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Self

from redis.asyncio import Redis
from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from smsd.control.revision import content_hash
from smsd.core.push import Outcome, again_us, over, payload
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.presence import LEAVE_S
from smsd.shell.status_gaps import Gaps
from smsd.shell.status_post import TIMEOUT_S, Poster, Reply
from smsd.shell.status_receivers import Lane, Lanes
from smsd.store import hooks
from smsd.store.push import Event, Push, Pushes, Shut, disable, enable, shuts
from smsd.store.shard import ClockDiffers, Shard

LEASE_US: Final = int((TIMEOUT_S + 5) * 1_000_000)  # how long others leave alone what a process pushes
TICK_S: Final = 0.5  # between looks at what is due
FOLLOW_EVERY_S: Final = 0.8  # a tenant's own receiver is told within a second or two
CLAIM_IDLE_MS: Final = 5000
CLAIM_EVERY_S: Final = 2.0
TIDY_EVERY_S: Final = 30.0
IDLE_MS: Final = 60_000
TRIMMED_MS: Final = 60_000  # what is read in time is never that old
ASKED_MOST: Final = 200  # receivers in one call
DONE_MOST: Final = 200
STOP_S: Final = 3.0
BACKOFF_S: Final = (0.05, 2.0)

Work = Callable[[], Awaitable[None]]

AWAY = (RedisError, OSError, ClockDiffers)


class StatusWebhooks:
    """All pushing of this process. Start it in the event loop that it runs in."""

    def __init__(
        self, live: Live, blocking: Redis, metrics: Metrics, log: FilteringBoundLogger, *, guard: Poster | None = None
    ) -> None:
        """`guard`: who posts to URLs that tenants chose."""
        self._posters = {False: Poster(), True: guard or Poster(guarded=True)}
        self.lanes = Lanes(live, log)
        self.desks = [Desk(shard, live, blocking, self._posters, self.lanes, metrics, log) for shard in live.shards]

    async def __aenter__(self) -> Self:
        """Makes the pools of connections and the groups of readers: nothing that happens from now on is missed."""
        for poster in self._posters.values():
            await poster.start()
        self.lanes.follow()
        for desk in self.desks:
            with contextlib.suppress(*AWAY):  # it is tried again
                await desk.follow()
                if self.lanes.any_of(desk.shard):
                    await desk.pushes.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for poster in self._posters.values():
            await poster.close()

    async def run(self) -> None:
        """Until `stop`; a store that is away is waited for."""
        async with asyncio.TaskGroup() as group:
            for desk in self.desks:
                group.create_task(desk.run())

    async def stop(self, *, hurry: bool = False) -> None:
        """Reads no more; what is under way is waited for a moment, and what is not over then is another's."""
        for desk in self.desks:
            desk.stop()
        await asyncio.gather(*(desk.drain(0 if hurry else STOP_S) for desk in self.desks))


class Desk:
    """The pushing of one shard's events."""

    def __init__(
        self, shard: Shard, live: Live, blocking: Redis, posters: Mapping[bool, Poster], lanes: Lanes, metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:  # fmt: skip
        self._shard, self._live, self._posters, self._lanes, self._metrics = shard, live, posters, lanes, metrics
        self.shard = shard.number
        self._log = log.bind(shard=shard.number)
        self.pushes = Pushes(shard, blocking, live.process)
        self._gaps = Gaps(self.pushes, lanes, metrics, self._log)
        self._under_way: dict[asyncio.Task[None], Push] = {}
        self._done: list[tuple[str, int, int]] = []
        self._due: Counter[str] = Counter()  # receiver -> pushes that wait for room, as far as is known
        self._kick = asyncio.Event()
        self._stopping = False
        self._claim_at = self._tidy_at = self._drop_at = self._follow_at = 0.0
        self._hooks = -1  # the version of tenants' own receivers that this process follows
        self._trouble: dict[str, str] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat("status_read", self._read_on))
            group.create_task(self._repeat("status_push", self._push_on))

    def stop(self) -> None:
        self._stopping = True
        self._kick.set()
        self._lanes.stop()
        self.pushes.stop()

    def tasks(self) -> list[asyncio.Task[None]]:
        """The pushes that are under way."""
        return list(self._under_way)

    async def drain(self, patience_s: float) -> None:
        """Waits for what is under way, and gives back what is not over then."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=patience_s)
        left = list(self._under_way.items())
        for task, push in left:
            task.cancel()
            self._done.append((push.member, self._now_us(), push.tries))
        with contextlib.suppress(*AWAY):
            async with asyncio.timeout(LEAVE_S):
                await self._write_done()
                await self.pushes.leave(0, self._live.process)

    async def _repeat(self, part: str, work: Work) -> None:
        failures = 0
        while self._goes_on():
            try:
                await work()
                failures = 0
            except AWAY as error:
                self._note(part, error)
            except Exception as error:  # noqa: BLE001 - what was read stays pending; who ended would push no more
                self._note(part, error, exc_info=True)
            else:
                continue
            failures += 1
            await asyncio.sleep(random.uniform(0.5, 1) * min(BACKOFF_S[1], BACKOFF_S[0] * 2 ** min(failures, 10)))

    def _goes_on(self) -> bool:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # redis-py may have swallowed it, and a group cancels only once
            raise asyncio.CancelledError
        return not self._stopping

    def _note(self, part: str, error: Exception, *, exc_info: bool = False) -> None:
        kind = type(error).__name__
        self._metrics.store_error(part)
        if self._trouble.get(part) != kind:
            self._log.warning("status_trouble", what=part, error=f"{kind}: {error}", exc_info=exc_info)
        self._trouble[part] = kind

    def _well(self, part: str) -> None:
        if self._trouble.pop(part, ""):
            self._log.info("store_back", what=part)

    def _now_us(self) -> int:
        return self._shard.now_us or time.time_ns() // 1000

    # ---- Reading -----------------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Takes over, now and then, what tenants have set for themselves."""
        if time.monotonic() < self._follow_at:
            return
        self._follow_at = time.monotonic() + FOLLOW_EVERY_S
        if news := await hooks.changed(self._shard, self._hooks):
            self._hooks = news[0]
            self._lanes.follow_hooks(self._shard.number, news[1])

    async def _read_on(self) -> None:
        """Reads events for as long as anybody is to be told of them."""
        lanes = self._lanes
        await self.follow()
        if not lanes.any_of(self.shard):
            if time.monotonic() >= self._drop_at:
                self._drop_at = time.monotonic() + TIDY_EVERY_S
                await self.pushes.forget(content_hash(self._live.config), ())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_EVERY_S):
                    await lanes.some(self.shard)
            return
        self._drop_at = 0.0
        await self.pushes.open()
        after = "0"
        while events := await self.pushes.read(after):
            await self._take_in(events)
            after = events[-1][0]
        while lanes.any_of(self.shard) and self._goes_on():
            await self.follow()
            now = time.monotonic()
            if now >= self._claim_at:
                self._claim_at = now + CLAIM_EVERY_S * random.uniform(0.8, 1.2)
                await self._take_in(await self.pushes.claim(CLAIM_IDLE_MS))
                self._gaps.lost_pending()
            if now >= self._tidy_at:
                self._tidy_at = now + TIDY_EVERY_S * random.uniform(0.8, 1.2)
                await self.pushes.leave(IDLE_MS)
                await self.pushes.forget(content_hash(self._live.config), self._live.config.status_webhooks)
                if unread := await self.pushes.trimmed(TRIMMED_MS):
                    self._gaps.lost_unread(unread)
            await self._take_in(await self.pushes.read())
            self._well("status_read")

    async def _take_in(self, events: Sequence[Event]) -> None:
        """Keeps each event for its receivers; those that have room, and nothing older that waits, are told at once."""
        if not events:
            return
        rows: list[tuple[str, list[tuple[str, bool]]]] = []
        told: list[tuple[Lane, Event, bool]] = []
        for event in events:
            wants: list[tuple[str, bool]] = []
            for receiver in self._lanes.receivers.of(event[1]):
                lane = self._lanes.of[receiver.name]
                now = not self._due[receiver.name] and not self._stopping and lane.reserve()
                wants.append((receiver.name, now))
                told.append((lane, event, now))
            rows.append((event[0], wants))
        pushes: Sequence[Push | None] = ()
        try:
            pushes = await self.pushes.keep(rows, LEASE_US)
        finally:
            for i, (lane, event, now) in enumerate(told):
                if now:
                    lane.unreserve()
                if pushes and (push := pushes[i]) is not None:
                    self._begin(lane, push, event)
                elif not now:
                    self._due[lane.name] += 1
        self._kick.set()

    # ---- Pushing -----------------------------------------------------------------------------------------------------

    async def _push_on(self) -> None:
        """One turn: writes what is over, takes what is due, reads on in gaps."""
        ticked = not await self._kicked()
        if self._stopping:
            return
        await self._write_done()
        kept = await self._take(ticked=ticked)
        if ticked:
            await self._reopen()
            for name, n in (await self._gaps.fill(kept)).items():
                self._due[name] += n
                self._kick.set()
            self._well("status_push")

    async def _kicked(self) -> bool:
        """Waits for something to do, at most a tick; False: only time has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_S * random.uniform(0.8, 1.2)):
                await self._kick.wait()
                self._kick.clear()
                return True
        return False

    async def _write_done(self) -> None:
        while self._done:
            batch, self._done = self._done[:DONE_MOST], self._done[DONE_MOST:]
            try:
                await self.pushes.done(batch)
            except BaseException:
                self._done = batch + self._done
                raise

    async def _take(self, *, ticked: bool) -> dict[str, int]:
        """Takes what is due for those who have room; after a tick the store says who has something.

        Returns how much is kept for each that was asked for.
        """
        kept: dict[str, int] = {}
        names = {name for name, n in self._due.items() if n > 0}
        if ticked:
            names.update(await self.pushes.who())
        lanes = [lane for name in names if (lane := self._lanes.of.get(name)) is not None and lane.room() > 0]
        for i in range(0, len(lanes), ASKED_MOST):
            some = lanes[i : i + ASKED_MOST]
            rooms = [lane.reserve_all() for lane in some]
            try:
                taken = await self.pushes.take(
                    [(lane.name, room) for lane, room in zip(some, rooms, strict=True)], LEASE_US
                )
                for lane, one in zip(some, taken, strict=True):
                    self._due[lane.name] = one.due
                    kept[lane.name] = one.kept
                every = [(lane, push) for lane, one in zip(some, taken, strict=True) for push in one.pushes]
                events = await self.pushes.events(push.entry for _, push in every) if every else []
            finally:
                for lane, room in zip(some, rooms, strict=True):
                    lane.unreserve(room)
            for (lane, push), event in zip(every, events, strict=True):
                if event is None:
                    self._done.append((push.member, 0, push.tries))
                    self._gaps.lost(lane, push.entry)
                else:
                    self._begin(lane, push, event)
        return kept

    def _begin(self, lane: Lane, push: Push, event: Event) -> None:
        task = asyncio.create_task(self._push(lane, push, event))
        self._under_way[task] = push
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        push = self._under_way.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a fault of ours: it is due again at the end of its lease
            self._log.error(
                "status_failed", receiver=push.receiver, entry=push.entry, error=repr(error), exc_info=error
            )

    async def _push(self, lane: Lane, push: Push, event: Event) -> None:
        fields = event[1]
        with lane.under_way() as ticket:
            signers = lane.signers()
            reply = Reply(0, lane.trouble)
            if signers:
                reply = await self._posters[lane.guarded].post(
                    lane.receiver.url, payload(fields), event_id=fields["event_id"], signers=signers,
                    at=datetime.now(UTC),
                )  # fmt: skip
            lane.hear(ticket, reply)
        if reply.ok:
            self._over(lane, push, "delivered")
            self._metrics.status_seconds(lane.label, self._now_us() / 1e6 - int(fields["at"]) / 1000)
        elif reply.status == 410:
            await self._gone(lane, push)
        else:
            self._failed(lane, push, reply)
        self._kick.set()

    def _over(self, lane: Lane, push: Push, outcome: Outcome) -> None:
        self._done.append((push.member, 0, push.tries))
        self._metrics.status(lane.label, outcome)

    def _failed(self, lane: Lane, push: Push, reply: Reply) -> None:
        self._metrics.status(lane.label, "refused" if reply.status else "failed")
        now_us = self._now_us()
        if over(now_us, push.first_us, well=lane.well()):
            self._log.warning("status_given_up", receiver=lane.name, entry=push.entry, tries=push.tries + 1)
            self._over(lane, push, "given_up")
            return
        due_us = again_us(now_us, push.tries, reply.after_s, probe_us=lane.probe_us(), rng=random.random)
        self._done.append((push.member, due_us, push.tries + 1))

    async def _gone(self, lane: Lane, push: Push) -> None:
        """410: the receiver wants nothing more. What it was not told stays, for when it is enabled again."""
        self._metrics.status(lane.label, "gone")
        self._done.append((push.member, self._now_us(), push.tries + 1))
        shut = Shut(self._now_us() // 1000, "it answered 410 Gone", lane.receiver.url)
        shards = [self._shard] if lane.guarded else self._live.shards  # all events of one tenant are in its own
        with contextlib.suppress(*AWAY):  # then the next 410 does it
            if any([await disable(shard, lane.name, shut) for shard in shards]):
                self._log.error("status_disabled", receiver=lane.name, detail=f"{shut.why}: smsd webhooks enable")

    async def _reopen(self) -> None:
        """A receiver that answered 410 and has another URL now is another receiver."""
        for name, shut in (await shuts(self._shard)).items():
            lane = self._lanes.of.get(name)
            if lane is not None and shut.url and shut.url != lane.receiver.url and await enable(self._shard, name):
                self._log.info("status_enabled", receiver=name, detail="its URL was changed")
