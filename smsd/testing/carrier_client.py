"""The carrier's way to call back: a small HTTP/1.1 client over few keep-alive connections for each origin.

Never retries and never knows what it posts: each request ends exactly once, in one word. Hand-written for the same
reason as the server; one request is in flight per connection. Who posts bounds how many errands wait
(carrier_receipts.PENDING_MAX).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from smsd.testing.carrier_dialect import Origin
from smsd.testing.carrier_timers import Timers

SWEEP_S = 1.0
ANSWER_MAX = 1024 * 1024


class Errand(Protocol):
    """A request that waits for its turn; it is made only then, for those that wait may be many."""

    def request(self) -> bytes | None:
        """The whole request; None: there is nothing to send any more, and nothing follows."""
        ...

    def ended(self, answer: str) -> None:
        """How it ended: an HTTP status ("200"), or `unreachable`, `reset` or `timeout`."""
        ...


class Poster:
    """Runs errands to origins. `connect_to`: all of them are reached there, without TLS, as behind a proxy."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timers: Timers,
        connections: int,
        connect_to: tuple[str, int] | None,
        timeout_s: float,
    ) -> None:
        """`timeout_s`: a target that has not answered by then is given up, up to SWEEP_S later."""
        self._loop = loop
        self._timeout_s = timeout_s
        self._timers = timers
        self._connections = connections
        self._connect_to = connect_to
        self._pools: dict[Origin, Pool] = {}
        self._sweep()

    def post(self, origin: Origin, errand: Errand) -> None:
        """Sends the errand's request when a connection is free, in the order of asking."""
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(self._loop, origin, self._connections, self._connect_to, self._timeout_s)
        pool.post(errand)

    def _sweep(self) -> None:
        now = time.monotonic()
        for pool in self._pools.values():
            pool.sweep(now)
        self._timers.at(now + min(SWEEP_S, self._timeout_s), self._sweep)


class Pool:
    """The connections to one origin."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        size: int,
        connect_to: tuple[str, int] | None,
        timeout_s: float,
    ) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._host, self._port = connect_to or (origin.host, origin.port)
        self._tls = origin.tls and connect_to is None
        self._size = size
        self._idle: list[Line] = []
        self._lines: set[Line] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._waiting: deque[Errand] = deque()

    def post(self, errand: Errand) -> None:
        self._waiting.append(errand)
        if self._idle:
            self.ready(self._idle.pop())
        else:
            self._grow()

    def _grow(self) -> None:
        busy = len(self._lines) + len(self._dials)
        if busy < self._size and len(self._dials) < len(self._waiting):
            dial = self._loop.create_task(self._dial())
            self._dials.add(dial)
            dial.add_done_callback(self._dials.discard)

    async def _dial(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._loop.create_connection(lambda: Line(self), self._host, self._port, ssl=self._tls or None)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError; a host may be no name at all
            if not self._lines:  # nobody else will serve them: they fail at once, not one by one
                failed, self._waiting = self._waiting, deque()
                for errand in failed:
                    errand.ended("timeout" if isinstance(error, TimeoutError) else "unreachable")

    def ready(self, line: "Line") -> None:
        """A connection is made, or free again."""
        self._lines.add(line)
        while self._waiting:
            errand = self._waiting.popleft()
            request = errand.request()
            if request is not None:
                line.send(request, errand.ended)
                return
        self._idle.append(line)

    def lost(self, line: "Line") -> None:
        self._lines.discard(line)
        if line in self._idle:
            self._idle.remove(line)
        if self._waiting:
            self._grow()

    def sweep(self, now: float) -> None:
        for line in [line for line in self._lines if line.busy_since(now - self._timeout_s)]:
            line.give_up()


class Line(asyncio.Protocol):
    """One connection to a target."""

    _transport: asyncio.Transport  # from connection_made on: a line that is not connected is in no pool

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._done: Callable[[str], None] | None = None
        self._since = 0.0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pool.ready(self)

    def send(self, request: bytes, done: Callable[[str], None]) -> None:
        self._done = done
        self._since = time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > ANSWER_MAX:
                self._end("reset", keep=False)
            return
        status = buffer[9:12]
        if self._done is None or not status.isdigit():
            self._end("reset", keep=False)  # it speaks out of turn, or no HTTP
            return
        head = buffer[:end].lower()
        if _whole(status, head, buffer, end + 4):
            self._end(status.decode("ascii"), keep=b"\r\nconnection: close" not in head and buffer[:8] == b"HTTP/1.1")
        elif len(buffer) > ANSWER_MAX:
            self._end(status.decode("ascii"), keep=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)
        self._end(self._buffer[9:12].decode("ascii", "replace") if b"\r\n\r\n" in self._buffer else "reset", keep=False)

    def busy_since(self, since: float) -> bool:
        return self._done is not None and self._since < since

    def give_up(self) -> None:
        self._end("timeout", keep=False)

    def _end(self, answer: str, *, keep: bool) -> None:
        done, self._done, self._buffer = self._done, None, b""
        if keep:
            self._pool.ready(self)
        else:
            self._transport.abort()
        if done is not None:
            done(answer)


def _whole(status: bytes, head: bytes, buffer: bytes, start: int) -> bool:
    """Whether the answer's body has come (RFC 9112 §6.3); one without a length ends with its connection."""
    if status in (b"204", b"304"):
        return True
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return len(buffer) - start >= int(head[at + 17 :].partition(b"\r\n")[0])
    return b"\r\ntransfer-encoding:" in head and buffer.endswith(b"0\r\n\r\n")
