"""One worker process: start, run, drain, end. Makes the parts, keeps them running, and answers signals.

Never touches a message: intake, sender, resolver, webhooks and sweeper do. A part that fails ends the process in an
orderly way, with an exit code that makes its parent, or the service manager, start it anew.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from smsd.config import Config, ConfigErrors, Mistake, load
from smsd.control.dropping import Held
from smsd.control.revision import content_hash
from smsd.secret import SecretError
from smsd.shell import log as logs
from smsd.shell.api import Api
from smsd.shell.asker import Asker
from smsd.shell.bell import Bell
from smsd.shell.documents import FETCH_S, Documents
from smsd.shell.intake import Intake
from smsd.shell.listeners import Listeners
from smsd.shell.listening import PortTaken
from smsd.shell.live import Live, agree, reload
from smsd.shell.metrics import Metrics
from smsd.shell.metrics_store import StoreGauges
from smsd.shell.notify import Notify
from smsd.shell.resolver import Resolver
from smsd.shell.sandbox import Carrier, Place, Watch, loopback
from smsd.shell.sender import Sender
from smsd.shell.startup import EXIT_MISTAKE, EXIT_OK, EXIT_PART_FAILED, EXIT_STORE, Refused, Settings, end, prepare
from smsd.shell.status_webhooks import StatusWebhooks
from smsd.shell.sweeper import Sweeper
from smsd.shell.transport import Transport
from smsd.shell.webhooks import Webhooks
from smsd.store.connect import StoreAway, StoreError, open_store
from smsd.store.embedded import Embedded
from smsd.store.shard import ClockDiffers, Shard

if TYPE_CHECKING:
    from smsd.shell.traces import Traces

PING_S = 1.0
STOP_S = 3.0  # for a part to end by itself
SAME_STOP_S = 0.5  # a terminal's ^C reaches the parent too, which then tells us again: that is no second signal


class Worker:
    """One process's parts. `run` is its whole life."""

    def __init__(
        self, settings: Settings, config: Config, log: FilteringBoundLogger, url: str, place: Place | None = None
    ) -> None:
        self._settings, self._config, self._log, self._url, self._place = settings, config, log, url, place
        self._notify = Notify()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopped_at = 0.0
        self._parts: dict[asyncio.Task[None], str] = {}
        self._reloading: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Until a signal, the parent's end, or the failure of a part. Returns the exit code. Raises Refused."""
        async with contextlib.AsyncExitStack() as down:
            self._watch_signals()
            await self._start(down)
            gc.collect()
            gc.freeze()  # what was imported lives as long as the process: no collection need look at it again
            gc.set_threshold(20_000, 20, 20)  # hardly anything here is a cycle: 700 objects are a few attempts
            code = await self._until_stopped()
            await self._drain()
        self._log.info("ended", code=code)
        return code

    def stop(self) -> None:
        """The first time, drain; again, give back what has not left and end at once."""
        if not self._stopping.is_set():
            self._stopped_at = time.monotonic()
            self._stopping.set()
        elif time.monotonic() - self._stopped_at > SAME_STOP_S:
            self._hurry.set()

    # ---- Start -------------------------------------------------------------------------------------------------------

    async def _start(self, down: contextlib.AsyncExitStack) -> None:
        config = self._config
        try:
            strict = config.store.durability == "strict"
            store, facts = await open_store(self._url, shards=config.shards, classes=config.classes, strict=strict)
        except StoreAway as error:
            raise Refused(EXIT_STORE, [str(error)]) from None
        except StoreError as error:
            raise Refused(EXIT_MISTAKE, [str(error)]) from None
        down.push_async_callback(store.aclose)
        self.store = store
        for warning in facts.warnings:
            self._log.warning("store", detail=warning)
        shards = [Shard(store.client, number, strict=strict) for number in range(config.shards)]
        self.live = live = Live(config, shards)
        await self._agree()
        self._watch_sandbox(down)
        metrics, traces = Metrics(), self._traces(down)
        self.transport = Transport(live.barred)
        await self.transport.start()
        down.push_async_callback(self.transport.close)
        documents = Documents(partial(self.transport.fetch, timeout_s=FETCH_S))
        self.webhooks = Webhooks(live, metrics, documents, self._log, traces)
        self.sender = Sender(live, self.transport, metrics, self._log, traces)
        self.resolver = Resolver(live, self.transport, metrics, self._log)
        self.asker = Asker(live, self.transport, metrics, self._log)
        self.intake = Intake(live, store.blocking, metrics, self.sender.nudge, self._log, traces)
        self.sweeper = Sweeper(
            live,
            self._log,
            dead_providers=self.sender.providers.dead,
            swapped=self._read_again,
            swept=lambda shard, _: metrics.take_over(shard),
        )
        self.status = await down.enter_async_context(StatusWebhooks(live, store.blocking, metrics, self._log))
        await down.enter_async_context(self.sweeper.presence)
        self.bell = Bell(
            live, store.blocking, on_ring=self.sender.ring, on_config=self.sweeper.config_rung,
            on_pause=self.sweeper.hurry, log=self._log,
        )  # fmt: skip
        self.api = Api(live, metrics, self._log, nudge=self.sender.nudge, sheds=self.intake.sheds, traces=traces)
        self.listeners = Listeners(
            config,
            ready=self._not_ready,
            metrics=StoreGauges(live, metrics).scrape,
            api=self.api.handle,
            room=self.api.room,
            webhooks=self.webhooks.handle,
            shared=self._settings.shared_ports,
        )
        await self._listen(down)
        for part in ("bell", "sweeper", "sender", "resolver", "asker", "intake", "webhooks", "status"):
            self._begin(part, getattr(self, part).run())
        self._notify.ready(f"serving, revision {live.revision}")
        self._log.info(
            "ready", process=live.process, revision=live.revision, store=store.address, version=facts.version,
            http=str(self.listeners.http), webhooks=str(self.listeners.webhooks),
        )  # fmt: skip
        if self._settings.shared_ports:
            live.on_swap(self._tell_ready)
            self._tell_ready()
        if self._settings.hups:
            self.reload_soon()

    async def _listen(self, down: contextlib.AsyncExitStack) -> None:
        try:
            await self.listeners.start()
        except PortTaken as error:
            raise Refused(EXIT_MISTAKE, [str(error)]) from None
        down.push_async_callback(self.listeners.close)
        if self.listeners.webhooks is not None:
            self.live.loopback = loopback(self.listeners.webhooks)

    async def _agree(self) -> None:
        try:
            step = await agree(self.live)
        except ConfigErrors as errors:
            said = [f"the store's config cannot be used here: {mistake}" for mistake in errors.mistakes]
            raise Refused(EXIT_MISTAKE, said) from None
        except (RedisError, OSError, ClockDiffers) as error:
            raise Refused(EXIT_STORE, [f"the store does not take the config: {error}"]) from None
        if step == "superseded":
            told = "this file was superseded: the store's config holds; smsd reload publishes the file on purpose"
            self._log.warning("config_superseded", revision=self.live.revision, detail=told)
        elif step == "held":
            told = f"{self.live.refused}. The store's config holds; smsd reload --force publishes the file anyway"
            self._log.warning("config_held", revision=self.live.revision, detail=told)
        else:
            self._log.info("config_in_force", revision=self.live.revision, how=step)

    def _traces(self, down: contextlib.AsyncExitStack) -> "Traces | None":
        """None unless this host's file asks for them; then nothing of OpenTelemetry is imported."""
        otel = self._config.otel
        if not otel.enabled:
            return None
        from smsd.shell.traces import FLUSH_S, Traces

        try:
            traces = Traces(otel, self.live, self._log)
        except Exception as error:  # noqa: BLE001 - the SDK reads its variables in its own ways
            raise Refused(EXIT_MISTAKE, [f"[otel], or an OTEL_ variable, cannot be used: {error}"]) from None
        down.push_async_callback(lambda: traces.close(0.1 if self._hurry.is_set() else FLUSH_S))
        return traces

    def _watch_sandbox(self, down: contextlib.AsyncExitStack) -> None:
        """The carrier is this process's own child, or that of the parent of all workers."""
        start = self._tell_parent
        if self._place is not None:
            carrier = Carrier(self._place, self._log)
            down.push_async_callback(carrier.stop)
            start = carrier.start
        Watch(self.live, self._log, start).follow()

    def _tell_parent(self, word: bytes = b"sandbox\n") -> None:
        with contextlib.suppress(OSError):  # the parent is gone already
            os.write(sys.stdin.fileno(), word)

    def _tell_ready(self) -> None:
        """By this the parent decides how soon we are replaced, and how long it lets us drain."""
        self._tell_parent(b"ready %g\n" % self.live.config.dispatch.drain_s)

    def _begin(self, part: str, work: Coroutine[object, object, None]) -> None:
        self._parts[asyncio.create_task(work, name=part)] = part

    def _watch_signals(self) -> None:
        """The handlers outlive the loop, which would take its own ones away: a signal that comes while the embedded
        store is being ended must not end us before it.
        """
        loop = asyncio.get_running_loop()
        stops = ((signal.SIGTERM, self.stop), (signal.SIGINT, self.stop))
        for number, told in (*stops, (signal.SIGHUP, self.reload_soon)):
            signal.signal(number, partial(_heard, loop, told))
        if self._settings.with_parent:
            loop.add_reader(sys.stdin.fileno(), self._parent_spoke)

    def _parent_spoke(self) -> None:
        heard = b""
        with contextlib.suppress(ConnectionResetError):  # it was killed before it had read what we said
            heard = os.read(sys.stdin.fileno(), 4096)
        if not heard:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            if not self._stopping.is_set():
                self.stop()

    # ---- Run ---------------------------------------------------------------------------------------------------------

    async def _until_stopped(self) -> int:
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopping, *self._parts], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        code = EXIT_OK
        for task in [task for task in self._parts if task.done()]:
            self._log.error("part_ended", part=self._parts.pop(task), exc_info=task.exception())
            code = EXIT_PART_FAILED
        return code

    async def _not_ready(self) -> str:
        """Why, in a sentence; "" when ready. Providers do not count (contract.md §4)."""
        if self._stopping.is_set():
            return "draining"
        if self.live.trouble:
            return self.live.trouble
        try:
            async with asyncio.timeout(PING_S):
                await self.store.client.ping()  # pyright: ignore[reportUnknownMemberType]
        except (RedisError, OSError, TimeoutError) as error:
            return f"the store does not answer: {str(error) or 'too slow'}"
        return ""

    def reload_soon(self) -> None:
        """SIGHUP: reads the file again, once we serve. What comes while it is read means what it says afterwards."""
        self._settings.hups.append(signal.SIGHUP)
        if self._parts and (self._reloading is None or self._reloading.done()):
            self._reloading = asyncio.create_task(self._reload_told())

    async def _reload_told(self) -> None:
        self._notify.reloading()
        try:
            while self._settings.hups:
                self._settings.hups.clear()
                await self._reload()
        finally:
            self._notify.ready(f"serving, revision {self.live.revision}")

    async def _reload(self) -> None:
        try:
            local = await asyncio.to_thread(load, self._settings.config, os.environ)
            if local.shards != (there := len(self.live.shards)):
                said = f"the store has {there}, fixed when it was first used, and the file says {local.shards}"
                raise ConfigErrors([Mistake(str(self._settings.config), 0, "store.shards", said)])
        except ConfigErrors as errors:
            self.live.read = ""
            self._refuse("; ".join(map(str, errors.mistakes)))
            return
        holds = self._config
        if (local.store, local.otel, local.http.listen, local.webhooks.listen) != (
            holds.store, holds.otel, holds.http.listen, holds.webhooks.listen,
        ):  # fmt: skip
            self._log.warning("config_restart", detail="[store], [otel] and addresses hold until a restart")
        try:
            step = await reload(self.live, local, warn=lambda one: self._log.warning("config_drops", detail=str(one)))
        except Held as held:
            self._refuse(f"{held}. smsd reload --force publishes the file anyway")
            return
        except (RedisError, OSError, ClockDiffers) as error:
            self._refuse(f"the store does not take it: {error}")
            return
        self._log.info("config_in_force", revision=self.live.revision, how=step)

    async def _read_again(self) -> None:
        """Somebody has published another config: is it our file's, which may have been brought up to date before?"""
        with contextlib.suppress(ConfigErrors):  # what is wrong with it is told when it is to be put in force
            found = await asyncio.to_thread(load, self._settings.config, os.environ, secrets=False)
            self.live.read = content_hash(found)

    def _refuse(self, why: str) -> None:
        self.live.refused = why
        self._log.error("config_refused", kept=self.live.revision, mistakes=why)

    # ---- End ---------------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """What has left is waited for, what has not is given back; receipts are taken until the end."""
        budget_s = self.live.config.dispatch.drain_s
        self._notify.stopping()
        self._log.info("draining", budget_s=budget_s)
        self.intake.stop()
        await self._end({"resolver", "asker"})
        draining = asyncio.create_task(self.sender.drain(budget_s))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            self._log.warning("hurried", detail="leases of what has left run out by themselves")
            self.transport.hold()
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            await self.sender.drain(0)
        hurry.cancel()
        self.bell.stop()
        await self.status.stop(hurry=self._hurry.is_set())
        stopped = [task for task, part in self._parts.items() if part in ("intake", "bell", "status")]
        if stopped:
            await asyncio.wait(stopped, timeout=0.1 if self._hurry.is_set() else STOP_S)
        await self._end({"intake", "bell", "sender", "sweeper", "webhooks", "status"})

    async def _end(self, parts: set[str]) -> None:
        """Cancels parts, again and again: redis-py may swallow a cancellation."""
        open_ = {task for task, part in self._parts.items() if part in parts}
        until = time.monotonic() + STOP_S
        while open_ and time.monotonic() < until:
            for task in open_:
                task.cancel()
            _, open_ = await asyncio.wait(open_, timeout=0.1)


def _heard(loop: asyncio.AbstractEventLoop, told: Callable[[], None], _number: int, _frame: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: we are ending
        loop.call_soon_threadsafe(told)


def run_one(settings: Settings) -> int:
    """`smsd run` with one worker, or one of several. Returns the exit code."""
    log = logs.setup(verbose=settings.verbose)
    embedded: Embedded | None = None
    down = contextlib.ExitStack()
    try:
        place = None if settings.shared_ports else Place(down)
        os.environ.update(place.env if place else {})
        config, embedded = prepare(settings)
        url = embedded.where.url if embedded and embedded.where else config.store.url.reveal()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(Worker(settings, config, log, url, place).run())
    except Refused as refused:
        for said in refused.said:
            log.error("not_started", detail=said)
        return refused.code
    except SecretError as error:
        log.error("not_started", detail=f"[store] url: {error}")
        return EXIT_MISTAKE
    finally:
        end(embedded, log)
        down.close()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def main(argv: Sequence[str] | None = None) -> int:
    """One worker of several, as its parent starts it."""
    parser = argparse.ArgumentParser(prog="smsd.shell.daemon", allow_abbrev=False)
    parser.add_argument("config", type=Path)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args(argv)
    return run_one(Settings(config=args.config, with_parent=True, shared_ports=True, verbose=args.verbose))


if __name__ == "__main__":
    sys.exit(main())
