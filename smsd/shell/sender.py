"""Takes messages from the store and sends them: a lease loop for each shard and route, and a task for each attempt.

Never decides what an answer means (core/attempt.py) or how a provider fares (core/health.py), never waits for one
message before it starts another, and never cancels a send after its first byte.
"""

import asyncio
import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError
from structlog.typing import FilteringBoundLogger

from smsd.core import outcome
from smsd.core.health import Ticket
from smsd.provider import Accepted
from smsd.shell.live import Live
from smsd.shell.log import Settled, settled
from smsd.shell.metrics import Metrics
from smsd.shell.sender_flight import HEARD, LEASE_LEAST, Flight, Round
from smsd.shell.sender_providers import Choice, Providers, Seat
from smsd.shell.sender_settle import Done, Settler
from smsd.shell.transport import Transport
from smsd.store.connect import AWAY
from smsd.store.shard import ClockDiffers, Lease, Shard

if TYPE_CHECKING:
    from smsd.shell.traces import Traces

ATTEMPTS_MAX = 1000  # in flight in one process, whatever the providers would take
LEASE_MAX = 100
MARGIN_S = 2.0  # contract.md §5: a lease lasts start_by_s + timeout_s + 2 s
IDLE_S = 1.0  # between polls when nothing is known to come
START_COST_S = 0.0003  # at first: what it takes to start one attempt of a lease, measured from then on
POLL_S = 0.05  # between polls that nothing asked for
WAKE_S = 0.005  # between passes that were asked for, by a bell or a limit: not one for each message
AHEAD_US = 12_000  # what a limit admits so soon is leased now, and starts on time: a pass need not meet its instant
GATHER_S = 0.002  # under a backlog, for a quarter of the room to become free
BEHIND_S = 0.05  # how much later than the process that the bell names
AWAY_LAST_S = 1.0
GIVE_BACK_S = 0.5  # a drain without a budget still gives back what has not left


class Sender:
    """All sending of one process."""

    def __init__(
        self,
        live: Live,
        transport: Transport,
        metrics: Metrics,
        log: FilteringBoundLogger,
        traces: "Traces | None" = None,
    ) -> None:
        self.live, self.transport, self.metrics, self.log = live, transport, metrics, log
        self._traces = traces
        self.providers = Providers(live, metrics, log)
        self.rng = random.Random()
        self.stopping = False
        self.unsettled = 0
        self.start_cost_s = START_COST_S
        self._settlers = {id(shard): Settler(shard, self._settled, self._trouble) for shard in live.shards}
        self.attempts: set[asyncio.Task[None]] = set()
        self._loops: dict[tuple[int, str], _Loop] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.hurried: Counter[str] = Counter()  # messages, how often given back because they would have left late
        self._behind: set[str] = set()  # routes that another process was woken for
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Until drained or cancelled; raises what a loop failed of. Routes that a reload brings are served at once."""
        self.live.on_swap(self._follow)
        self._follow()
        try:
            await self._ended.wait()
            if self._failure is not None:
                raise self._failure
        finally:
            self._stop()
            for task in self._tasks:
                task.cancel()

    def nudge(self, route: str | None = None) -> None:
        """Something is ready on a route, or on all: the sleeping loops look at once."""
        for loop in self._loops.values():
            if route is None or loop.route == route:
                loop.wake.set()

    def ring(self, route: str, who: str) -> None:
        """The bell has rung for a route ("": for all), and the process that it names ("": each) looks at once; the
        others look a little later, in case that one does not.
        """
        if who in ("", self.live.process):
            self.nudge(route or None)
        elif route not in self._behind:
            self._behind.add(route)
            asyncio.get_running_loop().call_later(BEHIND_S, self._look_behind, route)

    def _look_behind(self, route: str) -> None:
        self._behind.discard(route)
        self.nudge(route)

    async def drain(self, budget_s: float) -> None:
        """Stops leasing, gives back what has not left, waits for the answers to the rest; all within the budget.

        What has no answer by then is settled by the sweep when its lease ends, as one that may have left.
        """
        end = time.monotonic() + max(budget_s, GIVE_BACK_S)
        self._stop()
        while (waiting := self._tasks | self.attempts) and (left_s := end - time.monotonic()) > 0:
            await asyncio.wait(waiting, timeout=left_s)
        for settler in self._settlers.values():
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + max(0.0, end - time.monotonic())):
                    await settler.idle()
            except TimeoutError:
                await settler.abandon()
        self._ended.set()

    def free(self) -> int:
        """How many more attempts the process may have in flight."""
        return ATTEMPTS_MAX - self.unsettled

    def start(self, shard: Shard, lease: Lease, choice: Choice, asked: float, asked_us: int, span_us: int) -> None:
        """Starts an attempt for each message that was leased."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        now_us = int(now * 1e6)
        # The store's instant on our clock, as far as the two clocks agree: it lies between asking and the answer.
        charged = min(now, max(asked, asked + (lease.taken_us - asked_us) / 1e6))
        round_ = Round(
            self, self._settlers[id(shard)], asked, asked_us, wall_us(shard) + span_us, charged, now, lease.taken_us
        )
        self.unsettled += len(lease.messages)
        for place, leased in enumerate(lease.messages, 1):
            seat = choice.seats[leased.provider]
            flight = Flight(round_, seat, seat.health.begin(now_us), leased, place)
            flight.task = loop.create_task(flight.fly())
            self.attempts.add(flight.task)

    def can_start(self) -> int:
        """How many of one lease leave within half of `slack`, which every limit allows for between charge and byte."""
        return max(LEASE_LEAST, int(self.live.config.dispatch.slack_ms / 2000 / self.start_cost_s))

    def started(self, place: int, since_s: float) -> None:
        """The attempt at this place of its lease left so long after the lease was answered."""
        self.start_cost_s += (max(since_s / place, 1e-5) - self.start_cost_s) * 0.02

    def lost(self, seat: Seat, ticket: Ticket) -> None:
        """An attempt of which nothing will be settled: its place is free."""
        self.unsettled -= 1
        seat.health.release(ticket)

    def _follow(self) -> None:
        self.providers.follow()
        if self.stopping:
            return
        for shard in self.live.shards:
            for route in self.live.config.routes:
                if (id(shard), route) not in self._loops:
                    loop = self._loops[id(shard), route] = _Loop(self, shard, route)
                    task = asyncio.get_running_loop().create_task(loop.run())
                    self._tasks.add(task)
                    task.add_done_callback(self._loop_ended)
        self.nudge()

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = failure
            self._ended.set()

    def _stop(self) -> None:
        self.stopping = True
        self.transport.hold()
        self.nudge()

    def _settled(self, batch: Sequence[Done], words: Sequence[str]) -> None:
        metrics, counted, ready, lines = self.metrics, Counter[tuple[str, str]](), set[str](), list[Settled]()
        submits, queues = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
        for done, word in zip(batch, words, strict=True):
            leased = done.leased
            done.health.release(done.ticket)
            counted[leased.provider, done.heard] += 1
            if done.queue_us:
                submits[leased.provider].append(done.submit_us / 1e6)
                queues[leased.message.class_].append(done.queue_us / 1e6)
            if word == "queued":
                ready.add(leased.message.route)
            reason = _reason(done.outcome, word)
            lines.append(Settled.of(leased, word, reason, done.queue_us, done.limit_us, done.submit_us))
        for (provider, heard), n in counted.items():
            metrics.attempt(provider, heard, n)
            seat = self.providers.seat(provider) if heard == HEARD[Accepted] else None
            if seat is not None and seat.provider.capabilities.receipts:
                metrics.receipts_expected(provider, n)
        for provider, seconds in submits.items():
            metrics.submit_seconds(provider, *seconds)
        for class_, seconds in queues.items():
            metrics.queue_seconds(class_, *seconds)
        settled(self.log, lines)
        if self._traces is not None:
            self._traces.attempts(batch, words)
        self.unsettled -= len(batch)
        for loop in self._loops.values():
            if loop.wants_room or loop.route in ready:
                loop.wake.set()

    def _trouble(self, error: Exception) -> None:
        self.metrics.store_error("settle")
        if not isinstance(error, (*AWAY, ClockDiffers)):
            self.log.error("settle_failed", error=str(error))


class _Loop:
    """Leases the messages of one route in one shard."""

    def __init__(self, sender: Sender, shard: Shard, route: str) -> None:
        self.route = route
        self.wake = asyncio.Event()
        self.wants_room = False  # a place that becomes free is worth another lease
        self._backlog = False  # the last lease was full, so there is more
        self._punctual = True  # of the last lease some had to leave within the slack, so no more than can
        self._gathered = False
        self._sender, self._shard = sender, shard
        self._serial = itertools.count(1)

    async def run(self) -> None:
        while not self._sender.stopping:
            try:
                await self._pass()
            except (ClockDiffers, ResponseError) as error:  # nothing was leased: a skewed clock, a full store, a fault
                self._sender.metrics.store_error("lease")
                self._sender.log.error("lease_failed", route=self.route, error=str(error))
                await self._rest(IDLE_S)

    async def _pass(self) -> None:
        """One lease, and the rest that it earns."""
        sender = self._sender
        self.wake.clear()
        choice = sender.providers.choice(self.route)
        most = min(LEASE_MAX, sender.can_start()) if self._punctual else LEASE_MAX
        n = min(most, sender.free(), choice.room)
        if n <= 0:
            self.wants_room = True
            wake_us = choice.wake_us
            await self._rest(IDLE_S if wake_us is None else wake_us / 1e6 - time.monotonic())
            return
        if self._backlog and n < min(most, choice.capacity // 4) and not self._gathered:
            self._gathered = True  # some more places, and the next lease is cheaper for the store
            await asyncio.sleep(GATHER_S)
            return
        self.wants_room = self._gathered = False
        asked, asked_us = time.monotonic(), wall_us(self._shard)
        span_us = int((sender.live.config.dispatch.start_by_s + choice.timeout_s + MARGIN_S) * 1_000_000)
        lease = await self._lease(choice, n, span_us)
        sender.start(self._shard, lease, choice, asked, asked_us, span_us)
        await asyncio.sleep(0)  # they start before anything more is charged
        self._backlog = len(lease.messages) >= n
        self._punctual = any(leased.punctual for leased in lease.messages)
        if lease.again or self._backlog:
            return
        wait_s = IDLE_S if lease.wake_us == 0 else (lease.wake_us - wall_us(self._shard)) / 1e6
        self.wants_room = wait_s <= 2 * POLL_S  # the store had none either
        if choice.wake_us is not None:
            wait_s = min(wait_s, choice.wake_us / 1e6 - time.monotonic())
        await self._rest(wait_s, WAKE_S)
        if (spare_s := asked + WAKE_S - time.monotonic()) > 0:
            await asyncio.sleep(spare_s)

    async def _lease(self, choice: Choice, n: int, span_us: int) -> Lease:
        """Asked again under the same name until it is answered, so that what a lost reply gave us is not lost."""
        sender, request, wait_s = self._sender, str(next(self._serial)), POLL_S
        while True:
            try:
                return await self._shard.lease(
                    self.route, choice.offers, n=n, request=request, process=sender.live.process, span_us=span_us,
                    seed=sender.rng.getrandbits(31), ahead_us=AHEAD_US,
                )  # fmt: skip
            except AWAY:
                sender.metrics.store_error("lease")
                await asyncio.sleep(wait_s)
                wait_s = min(AWAY_LAST_S, wait_s * 2)

    async def _rest(self, wait_s: float, least_s: float = POLL_S) -> None:
        """Until something is ready, a place is free, or the time is over."""
        if self._sender.stopping:
            return
        handle = asyncio.get_running_loop().call_later(min(IDLE_S, max(least_s, wait_s)), self.wake.set)
        await self.wake.wait()
        handle.cancel()


def wall_us(shard: Shard) -> int:
    """Now on the shard's clock, as near as this process knows it."""
    return shard.now_us or time.time_ns() // 1000


def _reason(decided: outcome.Outcome, word: str) -> str:
    if word == "failed":
        return decided.reason if isinstance(decided, outcome.Fail) else ""
    if word == "expired":
        return (decided.waited if isinstance(decided, outcome.Retry) else "") or "expired"
    return ""
