"""A carrier as a child process: what tests, the demo and the benchmark hold in their hands.

Never talks to the carrier but over HTTP, and never leaves one behind: the child ends with this process.
"""

import http.client
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar, cast
from urllib.parse import urlsplit

import msgspec

from smsd.testing.carrier_control import Idle, LedgerPage
from smsd.testing.carrier_faults import Faults
from smsd.testing.carrier_ledger import Line, Stats

START_S = 20.0
STOP_S = 5.0

S = TypeVar("S")


class CarrierProcess:
    """A running carrier. All methods block; each asks it over its control side. Also a context manager."""

    def __init__(self, process: "subprocess.Popen[bytes]", said: "Listening") -> None:
        self._process = process
        self.url = said.listening
        """Its address, `http://127.0.0.1:PORT`: the `base_url` of a provider that speaks its dialect."""
        self.provider, self.env = said.provider, said.env
        """What `[providers.<name>]` says to send here, and the environment that its secrets are read from."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def stats(self) -> Stats:
        return self._ask("GET", "stats", Stats)

    def ledger(self) -> list[Line]:
        """Every request for a message that the carrier remembers, in the order of arrival."""
        lines: list[Line] = []
        after: int | None = 0
        while after is not None:
            page = self._ask("GET", f"ledger?after={after}", LedgerPage)
            lines.extend(page.records)
            after = page.next
        return lines

    def faults(self, **changes: object) -> Faults:
        """Changes some faults (`profile="calm"` starts from that one) and returns all as they are now."""
        return self._ask("POST", "faults", Faults, changes) if changes else self._ask("GET", "faults", Faults)

    def reset(self, seed: int | None = None) -> Stats:
        """Empties ledger, counts and callbacks, and throws the dice from the seed again. The faults stay."""
        return self._ask("POST", "reset", Stats, {"seed": seed})

    def wait_idle(self, timeout_s: float = 30.0) -> bool:
        """Waits until every callback has been told or given up; False when the time was over before."""
        return self._ask("GET", f"idle?timeout_s={timeout_s}", Idle, timeout_s=timeout_s + START_S).idle

    def text(self, sender: str, to: str, body: str, url: str) -> str:
        """Brings a text that a person sends to one of the account's numbers; returns what `url` answered: a status,
        `unreachable`, `reset` or `timeout`.
        """
        return self._ask("POST", "texts", Brought, {"from": sender, "to": to, "body": body, "url": url}).answer

    def stop(self) -> int:
        """Ends the carrier and returns its exit code. Harmless when it has ended."""
        self._process.terminate()
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _ask(self, method: str, path: str, answer: type[S], body: object = None, *, timeout_s: float = START_S) -> S:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout_s)
        try:
            connection.request(method, f"/_carrier/{path}", None if body is None else msgspec.json.encode(body))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"the carrier answered {response.status}: {content.decode('utf-8', 'replace')}")
        return msgspec.json.decode(content, type=answer)


class Listening(msgspec.Struct, frozen=True):
    """The line that a carrier prints when it is bound."""

    listening: str
    provider: dict[str, object] = {}
    env: dict[str, str] = {}


class Brought(msgspec.Struct, frozen=True):
    """How a text was received."""

    sid: str
    answer: str


def start(**options: object) -> CarrierProcess:
    """Starts a carrier on a free port of loopback and returns when it is bound.

    `options` are the flags of `smsd carrier` with underscores: `start(seed=7, profile="calm", throttle=0.1)`; a tuple
    is written with commas. Raises RuntimeError when it does not start; the carrier says why on standard error.
    """
    command = [sys.executable, "-m", "smsd.testing.carrier", "--with-parent"]
    for name, value in {"listen": "127.0.0.1:0", **options}.items():
        command += [f"--{name.replace('_', '-')}", _flag(value)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own module
    line = process.stdout.readline() if process.stdout else b""  # empty when the child has ended
    if not line:
        code = process.wait()
        CarrierProcess(process, Listening("")).stop()
        raise RuntimeError(f"the carrier did not start: exit code {code}, and why is on standard error")
    return CarrierProcess(process, msgspec.json.decode(line, type=Listening))


def _flag(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ",".join(map(str, cast("Sequence[object]", value)))
    return str(value)
