"""`smsd run --workers N`: one parent, N workers. What dies is started again; what the parent is told, they are told.

Never sends a message and never talks to the store. A worker's standard input is a socket to its parent. Through it the
worker says in lines that it serves and how long it may drain under the config in force, "ready 25", and that it needs
the sandbox's carrier, "sandbox"; when it closes, because the parent ends or was killed, the worker drains and ends. No
worker outlives its parent for long, and the carrier no worker.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from smsd.config import Config
from smsd.shell import log as logs
from smsd.shell.listening import PortTaken, address, bound_at, reserve
from smsd.shell.notify import Notify
from smsd.shell.sandbox import Carrier, Place
from smsd.shell.startup import EXIT_MISTAKE, EXIT_PART_FAILED, Refused, Settings, end, prepare

FIRST_WAIT_S, LARGEST_WAIT_S = 0.1, 10.0
STEADY_S = 1.0  # a worker that served so long is replaced at once; the waits of others double
MARGIN_S = 8.0  # past the drain, before what still runs is killed: a store that hangs is given up in less

METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"
FOLDERS = "smsd-metrics-"


class Supervisor:
    """The parent of `count` workers that run `command`."""

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        log: FilteringBoundLogger,
        *,
        env: Mapping[str, str] = os.environ,
        drain_s: float = 25.0,
        pass_fds: Collection[int] = (),
        on_sandbox: Callable[[], None] = lambda: None,
    ) -> None:
        self._command, self._count, self._log, self._on_sandbox = list(command), count, log, on_sandbox
        asked = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}  # of the parent, which speaks for all
        self._notify = Notify(env)
        self._env = {name: value for name, value in env.items() if name not in asked}
        self._drain_s, self._pass_fds = drain_s, tuple(pass_fds)
        self._workers: dict[int, _Child] = {}
        self._stopping = asyncio.Event()
        self._code = 0

    @property
    def pids(self) -> list[int]:
        """Of the workers that run now."""
        return [worker.process.pid for worker in self._workers.values()]

    async def run(self) -> int:
        """Until told to stop, and every worker has ended. Returns the exit code."""
        places = [asyncio.create_task(self._keep(place)) for place in range(self._count)]
        await self._stopping.wait()
        self._notify.stopping()
        patience_s = self._budget_s + MARGIN_S
        for worker in self._workers.values():
            worker.let_go()
        _, late = await asyncio.wait(places, timeout=patience_s)
        if late:
            self._log.error("workers_killed", pids=self.pids, after_s=patience_s)
            for worker in self._workers.values():
                worker.process.kill()
            await asyncio.wait(late)
            self._code = self._code or EXIT_PART_FAILED  # what they held is found by the ends of its leases
        return self._code

    def stop(self) -> None:
        """The first time, workers drain; the second time, they end at once, giving back what has not left."""
        if not self._stopping.is_set():
            self._log.info("stopping", workers=len(self._workers), drain_s=self._budget_s)
            self._stopping.set()
        else:
            for worker in self._workers.values():
                worker.tell(signal.SIGTERM)

    def stop_once(self) -> None:
        """As `stop`, but never a second time: who gave us our standard input has closed it."""
        if not self._stopping.is_set():
            self.stop()

    def reload(self) -> None:
        """Every worker reads the file again, and says in its log what came of it; one that is starting, once it serves:
        until then the signal would end it.
        """
        self._notify.reloading()
        for worker in self._workers.values():
            worker.reload()
        self._notify.ready(f"{len(self._workers)} workers serve")

    @property
    def _budget_s(self) -> float:
        """The longest that a worker may drain; a reload may have changed what the file said when the parent read it."""
        return max((worker.drain_s for worker in self._workers.values()), default=self._drain_s)

    def _serves(self) -> None:
        """A worker does. The service manager hears of it once all do."""
        serving = sum(worker.serves_since < float("inf") for worker in self._workers.values())
        if serving == self._count:
            self._notify.ready(f"{serving} workers serve")

    async def _keep(self, place: int) -> None:
        """One worker's place: filled until the end."""
        wait_s = 0.0
        while not self._stopping.is_set():
            try:
                worker = self._workers[place] = await self._start()
            except OSError as error:  # no memory, no process, no file is to be had; an empty place sends nothing
                wait_s = _longer(wait_s)
                self._log.error("worker_not_started", place=place, error=str(error), again_in_s=wait_s)
                await self._rest(wait_s)
                continue
            pid = worker.process.pid
            self._log.info("worker_started", place=place, pid=pid)
            if self._stopping.is_set():
                worker.let_go()
            code = await worker.process.wait()
            del self._workers[place]
            worker.let_go()
            if self._stopping.is_set():
                self._code = self._code or (code if code > 0 else 0)
                return
            if code == EXIT_MISTAKE:  # the next one would end so too
                self._code = code
                self._stopping.set()
                return
            steady = time.monotonic() - worker.serves_since > STEADY_S
            wait_s = FIRST_WAIT_S if steady else _longer(wait_s)
            self._log.warning("worker_ended", place=place, pid=pid, code=code, again_in_s=wait_s)
            await self._rest(wait_s)

    async def _rest(self, wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()

    async def _start(self) -> "_Child":
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *self._command, stdin=theirs.fileno(), env=self._env, pass_fds=self._pass_fds
                )
        except BaseException:
            ours.close()
            raise
        return _Child(process, ours, self._drain_s, self._on_sandbox, self._serves)


def _longer(wait_s: float) -> float:
    return min(LARGEST_WAIT_S, wait_s * 2) or FIRST_WAIT_S


class _Child:
    """A worker, and our end of its standard input."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        ours: socket.socket,
        drain_s: float,
        on_sandbox: Callable[[], None],
        serves: Callable[[], None],
    ) -> None:
        self.process, self._ours, self._on_sandbox, self._serves = process, ours, on_sandbox, serves
        self.drain_s = drain_s  # under the config that it has in force
        self.serves_since = float("inf")
        self._said = b""  # of a line that is not whole yet
        self._reload_later = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(ours, self._heard)

    def _heard(self) -> None:
        said = b""
        with contextlib.suppress(ConnectionResetError):
            said = self._ours.recv(64)
        *lines, self._said = (self._said + said).split(b"\n")
        for line in lines:
            word, _, told = line.partition(b" ")
            if word == b"ready":
                self._ready(float(told))
            elif word == b"sandbox":
                self._on_sandbox()
        if not said:
            self._loop.remove_reader(self._ours)

    def _ready(self, drain_s: float) -> None:
        """It serves, or has put another config in force."""
        self.drain_s = drain_s
        if self.serves_since < float("inf"):
            return
        self.serves_since = time.monotonic()
        if self._reload_later:
            self.reload()
        self._serves()

    def reload(self) -> None:
        """Now, or as soon as it serves."""
        self._reload_later = self.serves_since == float("inf")
        if not self._reload_later:
            self.tell(signal.SIGHUP)

    def tell(self, number: signal.Signals) -> None:
        """Sends it a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def let_go(self) -> None:
        """Closes its standard input: it is to drain and end."""
        if self._ours.fileno() >= 0:
            self._loop.remove_reader(self._ours)
            self._ours.close()


def run_many(settings: Settings, count: int) -> int:
    """`smsd run` with several workers. Returns the exit code."""
    log = logs.setup(verbose=settings.verbose)
    with contextlib.ExitStack() as down:
        try:
            config, embedded = prepare(settings)
            down.callback(end, embedded, log)
            place = Place(down)
            env = dict(os.environ) | _ports(config, down) | place.env
        except Refused as refused:
            for said in refused.said:
                log.error("not_started", detail=said)
            return refused.code
        env[METRICS_DIR], lock = metrics_folder(down)
        command = [sys.executable, "-m", "smsd.shell.daemon", str(settings.config)]
        if settings.verbose:
            command.append("--verbose")
        held = [lock, place.lifeline]
        return asyncio.run(supervise(command, count, log, env, settings, config.dispatch.drain_s, held, place))


def metrics_folder(down: contextlib.ExitStack) -> tuple[str, int]:
    """A new folder for what the workers count, and the lock on it. They inherit the lock, so that the kernel holds it
    for as long as any of us lives. Those of whom nobody does, because somebody killed the parent, are removed here.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        with contextlib.suppress(OSError), _opened(left) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    unnamed = Path(tempfile.mkdtemp(prefix=f"new-{FOLDERS}"))
    lock = down.enter_context(_opened(unnamed))
    fcntl.flock(lock, fcntl.LOCK_SH)
    named = unnamed.rename(unnamed.with_name(unnamed.name.removeprefix("new-")))  # without a lock it was nobody's
    down.callback(shutil.rmtree, named, ignore_errors=True)
    return str(named), lock


@contextlib.contextmanager
def _opened(folder: Path) -> Generator[int, None, None]:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield number
    finally:
        os.close(number)


def _ports(config: Config, down: contextlib.ExitStack) -> dict[str, str]:
    """Reserves both addresses for the workers; where the port was 0, tells them which it became. Raises Refused."""
    env: dict[str, str] = {}
    listens = {"http": config.http.listen, "webhooks": config.webhooks.listen}
    if listens["http"] == listens["webhooks"]:
        del listens["webhooks"]
    for section, listen in listens.items():
        try:
            bound = reserve(address(listen), section)
        except PortTaken as error:
            raise Refused(EXIT_MISTAKE, [str(error)]) from None
        down.callback(bound.close)
        if address(listen).port == 0:
            env[f"SMSD_{section.upper()}__LISTEN"] = str(bound_at(bound))
    return env


async def supervise(
    command: Sequence[str],
    count: int,
    log: FilteringBoundLogger,
    env: Mapping[str, str],
    settings: Settings,
    drain_s: float,
    pass_fds: Collection[int] = (),
    place: Place | None = None,
) -> int:
    carrier = Carrier(place, log) if place else None
    on_sandbox = carrier.start if carrier else lambda: None
    supervisor = Supervisor(command, count, log, env=env, drain_s=drain_s, pass_fds=pass_fds, on_sandbox=on_sandbox)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
    if settings.with_parent:
        loop.add_reader(sys.stdin.fileno(), _watch_parent, loop, supervisor)
    try:
        return await supervisor.run()
    finally:
        if carrier:
            await carrier.stop()


def _watch_parent(loop: asyncio.AbstractEventLoop, supervisor: Supervisor) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        supervisor.stop_once()
