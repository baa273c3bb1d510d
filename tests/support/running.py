"""Processes under test: `smsd` as a user starts it, with its log as lines that can be waited for.

Never leaves one behind, and never sleeps: a line of the log or an entry of a stream is the signal.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import redis

from smsd.store import keys
from tests.support.forked import Request, forks

WAIT_S = 30.0
TO = "+353861234567"


class Daemon:
    """One `smsd run`, in a process group of its own. Also a context manager, which kills the group."""

    def __init__(self, config: Path, *flags: str, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "smsd", "run", "--config", str(config), *flags],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(config.parent), **(env or {})}, start_new_session=True,
        )  # fmt: skip
        self.lines: list[dict[str, Any]] = []
        self._told = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._told:
                try:
                    self.lines.append(msgspec.json.decode(line))
                except msgspec.DecodeError:
                    self.lines.append({"event": "", "text": line.decode("utf-8", "replace")})
                self._told.notify_all()
        with self._told:
            self._ended = True
            self._told.notify_all()

    def heard(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        """The log's lines of an event, once there are so many."""
        until = time.monotonic() + WAIT_S
        with self._told:
            while len(found := [line for line in self.lines if line["event"] == event]) < times:
                left_s = until - time.monotonic()
                if self._ended or left_s <= 0:
                    raise AssertionError(f"the log does not tell of {event} {times} times: {self.lines[-20:]}")
                self._told.wait(left_s)
        return found

    def ready(self, workers: int = 1) -> "Daemon":
        """Itself, once it serves; one that does not is ended, for nobody has entered it yet."""
        try:
            self.heard("ready", workers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def gone(self) -> None:
        """Waits until nobody holds the log any more: the process and every child have ended."""
        self._reader.join(WAIT_S)
        assert not self._reader.is_alive(), "somebody still runs"

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signals it and waits for its end."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(WAIT_S)
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe is not None:
                pipe.close()


class Platform:
    """What a platform does: writes inboxes, and reads events until it has seen what it waits for."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self._after = "0"
        self.events: list[dict[str, str]] = []

    def enqueue(self, id: str, *, class_: str = "reminder", **fields: str) -> None:
        entry = {"tenant": "acme", "id": id, "to": TO, "body": "See you at 10:00", **fields}
        self.client.xadd(keys.inbox(0, class_), entry)  # pyright: ignore[reportArgumentType]

    def wait(self, *states: str, id: str = "", times: int = 1) -> list[dict[str, str]]:
        """Blocks until so many events of these states (of this message) have come."""
        until = time.monotonic() + WAIT_S
        while True:
            found = [event for event in self.events if event["state"] in states and id in ("", event["id"])]
            if len(found) >= times:
                return found
            assert time.monotonic() < until, f"no {states} of {id or 'any'}: {self.events[-10:]}"
            read: Any = self.client.xread({keys.key(0, "events"): self._after}, block=1000)
            for entry_id, fields in read[0][1] if read else ():
                self._after = entry_id
                self.events.append(fields)

    def close(self) -> None:
        self.client.close()


def smsd(*words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, limit_s: int = 60) -> "Said":
    """Runs one command to its end, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        where = str(cwd or Path.cwd())
        code = forks().run(Request(words, {**os.environ, **(env or {})}, where, str(out), str(err), limit_s))
        return Said(code, out.read_text("utf-8"), err.read_text("utf-8"))


class Said(msgspec.Struct, frozen=True):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return msgspec.json.decode(self.out)
