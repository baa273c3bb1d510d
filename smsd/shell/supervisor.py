"""`smsd run --workers N`: one parent, N workers. What dies is started again; what the parent is told, they are told.

Never sends a message and never talks to the store. A worker's standard input is a pipe that only its parent holds: when
that closes, because the parent ends or was killed, the worker drains and ends. No worker outlives its parent for long.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from smsd.config import Config
from smsd.shell import log as logs
from smsd.shell.listening import PortTaken, address, bound_at, reserve
from smsd.shell.startup import EXIT_MISTAKE, Refused, Settings, prepare
from smsd.store.embedded import Embedded

FIRST_WAIT_S, LARGEST_WAIT_S = 0.1, 10.0
STEADY_S = 30.0  # a worker that lived so long starts its waits anew
MARGIN_S = 5.0  # past the drain, before what still runs is killed

METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"


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
    ) -> None:
        self._command, self._count, self._log = list(command), count, log
        self._env, self._drain_s = dict(env), drain_s
        self._workers: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._code = 0

    @property
    def pids(self) -> list[int]:
        """Of the workers that run now."""
        return [worker.pid for worker in self._workers.values()]

    async def run(self) -> int:
        """Until told to stop, and every worker has ended. Returns the exit code."""
        places = [asyncio.create_task(self._keep(place)) for place in range(self._count)]
        await self._stopping.wait()
        for worker in self._workers.values():
            _let_go(worker)
        _, late = await asyncio.wait(places, timeout=self._drain_s + MARGIN_S)
        if late:
            self._log.error("workers_killed", pids=self.pids, after_s=self._drain_s + MARGIN_S)
            for worker in self._workers.values():
                worker.kill()
            await asyncio.wait(late)
        return self._code

    def stop(self) -> None:
        """The first time, workers drain; the second time, they end at once, giving back what has not left."""
        if not self._stopping.is_set():
            self._log.info("stopping", workers=len(self._workers), drain_s=self._drain_s)
            self._stopping.set()
        else:
            self.tell(signal.SIGTERM)

    def stop_once(self) -> None:
        """As `stop`, but never a second time: who gave us our standard input has closed it."""
        if not self._stopping.is_set():
            self.stop()

    def tell(self, number: signal.Signals) -> None:
        """Sends a signal to every worker."""
        for worker in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                worker.send_signal(number)

    async def _keep(self, place: int) -> None:
        """One worker's place: filled until the end."""
        wait_s = 0.0
        while not self._stopping.is_set():
            since = time.monotonic()
            worker = await asyncio.create_subprocess_exec(*self._command, stdin=asyncio.subprocess.PIPE, env=self._env)
            self._workers[place] = worker
            self._log.info("worker_started", place=place, pid=worker.pid)
            if self._stopping.is_set():
                _let_go(worker)
            code = await worker.wait()
            del self._workers[place]
            if self._stopping.is_set():
                self._code = self._code or (code if code > 0 else 0)
                return
            if code == EXIT_MISTAKE:  # the next one would end so too
                self._code = code
                self._stopping.set()
                return
            steady = time.monotonic() - since > STEADY_S
            wait_s = FIRST_WAIT_S if steady or not wait_s else min(LARGEST_WAIT_S, wait_s * 2)
            self._log.warning("worker_ended", place=place, pid=worker.pid, code=code, again_in_s=wait_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stopping.wait()


def _let_go(worker: asyncio.subprocess.Process) -> None:
    if worker.stdin is not None:
        worker.stdin.close()


def run_many(settings: Settings, count: int) -> int:
    """`smsd run` with several workers. Returns the exit code."""
    log = logs.setup(verbose=settings.verbose)
    embedded: Embedded | None = None
    with contextlib.ExitStack() as down:
        try:
            config, embedded = prepare(settings)
            if embedded is not None:
                down.callback(embedded.stop)
            env = dict(os.environ) | _ports(config, down)
        except Refused as refused:
            for said in refused.said:
                log.error("not_started", detail=said)
            return refused.code
        env[METRICS_DIR] = tempfile.mkdtemp(prefix="smsd-metrics-")
        down.callback(shutil.rmtree, env[METRICS_DIR], ignore_errors=True)
        command = [sys.executable, "-m", "smsd.shell.daemon", str(settings.config)]
        if settings.verbose:
            command.append("--verbose")
        return asyncio.run(supervise(command, count, log, env, settings, config.dispatch.drain_s))


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
) -> int:
    supervisor = Supervisor(command, count, log, env=env, drain_s=drain_s)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    loop.add_signal_handler(signal.SIGHUP, supervisor.tell, signal.SIGHUP)
    if settings.with_parent:
        loop.add_reader(sys.stdin.fileno(), _watch_parent, loop, supervisor)
    return await supervisor.run()


def _watch_parent(loop: asyncio.AbstractEventLoop, supervisor: Supervisor) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        supervisor.stop_once()
