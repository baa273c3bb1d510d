"""A store, a carrier and `smsd run` for a measurement: what they did, what each of them cost, and ways to hurt them.

Never measures by itself, and leaves nothing behind: folder and processes are gone when the block is left.
"""

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from bench.ports import free_port
from smsd.store import keys
from smsd.store.embedded import Embedded, Fsync
from smsd.testing.carrier import CarrierProcess
from smsd.testing.carrier import start as start_carrier

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = 5_000
READY_S = 30.0
STORE_ANSWERS_S = 20.0

HEAD = """\
[store]
url = "{store}"
[http]
listen = "{http}"
[webhooks]
listen = "{webhooks}"
public_url = "http://{webhooks}"
"""

Entry = tuple[str, dict[str, str]]
"""A class, and the fields of an inbox's entry."""


class Rig:
    """One run's processes. `start_daemon` may be called again after `end_daemon`."""

    def __init__(self, folder: Path, fsync: Fsync, carrier: CarrierProcess, config: str) -> None:
        self.folder, self.carrier = folder, carrier
        self._fsync: Fsync = fsync
        self._store = Embedded(folder / "store", f"127.0.0.1:{free_port()}", fsync=fsync)
        self.store_url = self._store.start()
        # No call is repeated by itself: who enqueues while the store is killed decides what to write again.
        self.redis = Redis.from_url(self.store_url, retry=Retry(NoBackoff(), 0), socket_timeout=STORE_ANSWERS_S)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.http = f"127.0.0.1:{free_port()}"
        self.path = folder / "smsd.toml"
        head = HEAD.format(store=self.store_url, http=self.http, webhooks=f"127.0.0.1:{free_port()}")
        self.path.write_text(head + config.format(carrier=carrier.url))

    def close(self) -> None:
        """Ends what this object started."""
        self.end_daemon()
        self.redis.close()
        self._store.stop()

    # ---- The daemon --------------------------------------------------------------------------------------------------

    def start_daemon(self, workers: int = 1) -> None:
        """Returns when all workers are ready."""
        command = [sys.executable, "-m", "smsd", "run", "--workers", str(workers), "--config", str(self.path)]
        with (self.folder / "smsd.log").open("ab") as log:
            self.daemon = subprocess.Popen([*command, "--with-parent"], stdin=subprocess.PIPE, stdout=log, stderr=log)
            begins = log.tell()
        self.wait_for(lambda: self._ready_lines(begins) >= workers, READY_S, "smsd run is not ready")
        self.wait_for(lambda: self._get("/readyz")[0] == 200, READY_S, "smsd run is not ready")

    def end_daemon(self) -> None:
        """Drains it."""
        if self.daemon is not None:
            if self.daemon.stdin is not None:
                self.daemon.stdin.close()
            try:
                self.daemon.wait(60)
            except subprocess.TimeoutExpired:
                self.daemon.kill()  # its workers see that it is gone
                self.daemon.wait()
            self.daemon = None

    def workers(self) -> list[int]:
        """The pids of the worker processes that run now; with one worker the daemon itself."""
        assert self.daemon is not None
        return children(self.daemon.pid) or [self.daemon.pid]

    def metric(self, name: str, having: str = "") -> float:
        """The sum over all workers, and over the labels that have this text in them; 0 when nothing was counted."""
        status, text = self._get("/metrics")
        if status != 200:
            raise SystemExit(f"/metrics answers {status}")
        lines = (line.split() for line in text.decode().splitlines() if line.startswith(name))
        return sum(float(line[-1]) for line in lines if line[0].partition("{")[0] == name and having in line[0])

    def last_lines(self) -> str:
        """Of the daemon's log."""
        with contextlib.suppress(OSError):
            return "\n".join((self.folder / "smsd.log").read_text("utf-8", "replace").splitlines()[-8:])
        return ""

    def _ready_lines(self, begins: int) -> int:
        """How many workers said that they are, from that place of the log on."""
        with (self.folder / "smsd.log").open("rb") as log:
            log.seek(begins)
            return log.read().count(b'"event":"ready"')

    def _get(self, path: str) -> tuple[int, bytes]:
        """0 when nobody answers."""
        connection = http.client.HTTPConnection(self.http, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    # ---- Waiting -----------------------------------------------------------------------------------------------------

    def wait_for(self, done: Callable[[], bool], limit_s: float, why: str, poll_s: float = 0.1) -> None:
        """Polls, since that disturbs what is measured the least; ends the run with `why` when the time is over."""
        if not self.comes(done, limit_s, poll_s):
            raise SystemExit(f"{why} after {limit_s:.0f} s; the log's end:\n{self.last_lines()}")

    def comes(self, done: Callable[[], bool], limit_s: float, poll_s: float = 0.1) -> bool:
        """As `wait_for`; False when the time is over."""
        until = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > until:
                return False
            time.sleep(poll_s)
        return True

    def pass_time(self, seconds: float) -> None:
        """Lets the processes work for so long."""
        time.sleep(max(0.0, seconds))

    # ---- The store ---------------------------------------------------------------------------------------------------

    def enqueue(self, entries: Iterable[Entry], chunk: int = 500) -> int:
        """XADDs; returns how many."""
        count = 0
        pipe = self.redis.pipeline(transaction=False)
        for class_, fields in entries:
            pipe.xadd(keys.inbox(0, class_), fields)  # pyright: ignore
            count += 1
            if count % chunk == 0:
                pipe.execute()
        pipe.execute()
        return count

    def ended(self) -> int:
        """Messages whose state is final; 0 while the store is away."""
        with contextlib.suppress(RedisError, OSError):
            return int(self.redis.zcard(keys.key(0, "ended")))  # pyright: ignore[reportArgumentType]
        return 0

    def admitted(self) -> int:
        """Messages, and cancels of unknown ones, of which there is a record."""
        return int(self.redis.hlen(keys.key(0, "msg")))  # pyright: ignore[reportArgumentType]

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Each message's key, and its record as it is packed."""
        for name, packed in self.redis.hscan_iter(keys.key(0, "msg"), count=1000):
            yield name.decode(), packed

    def events(self) -> Iterator[dict[str, str]]:
        """The whole stream of events, as a platform reads it."""
        after = "-"
        while page := cast("list[Any]", self.redis.xrange(keys.key(0, "events"), after, count=PAGE)):
            for _, fields in page:
                yield {name.decode(): value.decode() for name, value in fields.items()}
            after = f"({page[-1][0].decode()}"

    @property
    def store_pid(self) -> int:
        """Of the running server, for signals."""
        assert self._store.where is not None
        return self._store.where.pid

    @property
    def allocator(self) -> str:
        """Where the store's memory comes from: `jemalloc` where the system has it, else `libc`."""
        with contextlib.suppress(OSError):
            return "jemalloc" if "jemalloc" in Path(f"/proc/{self.store_pid}/maps").read_text() else "libc"
        return "unknown"

    def kill_store(self) -> None:
        """As a crash: SIGKILL."""
        os.kill(self.store_pid, signal.SIGKILL)
        self._store.stop()  # it only sees to its end

    def start_store(self) -> None:
        """Back on the same address and folder; returns when it answers."""
        address = self.store_url.removeprefix("redis://").removesuffix("/0")
        self._store = Embedded(self.folder / "store", address, fsync=self._fsync)
        self._store.start()

    # ---- What it costs -----------------------------------------------------------------------------------------------

    def cpu(self) -> dict[str, float]:
        """User and system seconds so far of smsd (all workers), store and carrier."""
        daemon = self.daemon.pid if self.daemon else 0
        info = self.redis.info("server")  # pyright: ignore[reportUnknownMemberType]
        return {
            "smsd": sum(cpu_s(pid) for pid in [daemon, *children(daemon)]),
            "store": cpu_s(int(info["process_id"])),  # pyright: ignore
            "carrier": cpu_s(self.carrier.pid),
        }


@contextlib.contextmanager
def rig(
    config: str, *, profile: str = "bench", seed: int = 1, fsync: Fsync = "everysec", **carrier: object
) -> Generator[Rig]:
    """Store and carrier run; the daemon is started by the caller. `config` is the shared part, with {carrier} in it."""
    folder = Path(tempfile.mkdtemp(prefix="smsd-bench-"))
    with contextlib.ExitStack() as down:
        down.enter_context(_ended_by_sigterm())
        down.callback(shutil.rmtree, folder, ignore_errors=True)
        running = down.enter_context(start_carrier(profile=profile, seed=seed, **carrier))  # pyright: ignore
        made = Rig(folder, fsync, running, config)
        down.callback(made.close)
        yield made


def cpu_s(pid: int) -> float:
    """User and system seconds of one process; 0 when there is none."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0


def rss_kb(pid: int) -> int:
    """Resident memory of one process; 0 when there is none."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def children(pid: int) -> list[int]:
    """All that descend from it."""
    with contextlib.suppress(OSError):
        own = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return own + [grandchild for one in own for grandchild in children(one)]
    return []


def number(i: int) -> str:
    """The i-th of ten million Irish mobile numbers: each message of a run has its own."""
    return f"+35386{i % 10_000_000:07d}"


@contextlib.contextmanager
def _ended_by_sigterm() -> Generator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that everything is put away. (Only the main thread may handle signals.)"""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
