"""The only outgoing HTTP: one request, one answer, and the truth about whether a byte of it left.

Never decides what an answer means, never follows a redirect, never repeats a request, never sends one whose time to
start is over: that check is the last act before the write, on a connection that exists and whose buffer is empty. (An
event loop that collects writes, as uvloop does, hands them to the kernel at the end of that turn.)
"""

import asyncio
import select
from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from asyncio_throttle.throttler import Throttler
from yarl import URL

from smsd.provider import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

BODY_MAX: Final = 256 * 1024
KEEPALIVE_S: Final = 4.0  # below the 5 s after which common servers close: a lost race is an unknown outcome
OPENINGS_PER_S: Final = 250  # new connections to one host


class Answered(msgspec.Struct, frozen=True):
    """The whole answer, whatever it says, and when our first byte left."""

    response: HttpResponse
    started_monotonic: float


class NotStarted(msgspec.Struct, frozen=True):
    """Not a byte of the request left: no connection, or its time to start was over."""

    detail: str
    unreachable: bool  # the provider's side: DNS, refused, TLS; False: our own time was over


class Lost(msgspec.Struct, frozen=True):
    """Bytes left and no whole answer came: timeout, reset, an answer cut off or too large."""

    detail: str
    started_monotonic: float


Sent = Answered | NotStarted | Lost


class Transport:
    """One session and one pool of connections. Make it and call it in the event loop that it is used in."""

    def __init__(self) -> None:
        self._gate = _Gate()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Opens the session; no connection yet. How many there are is bounded by the attempts in flight."""
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_Request,
            auto_decompress=False,
            timeout=_connect_within(10.0),
        )

    async def close(self) -> None:
        """Closes every connection, also those in use."""
        if self._session is not None:
            await self._session.close()

    def hold(self) -> None:
        """From now on no message starts: what has not left is answered by NotStarted, at once."""
        self._gate.closed = True
        for departure in self._gate.waiting:
            if not departure.left_at:
                departure.task.cancel()

    async def submit(self, provider: str, request: HttpRequest, *, timeout_s: float, start_by: float | None) -> Sent:
        """Sends one message. `start_by` is an instant of time.monotonic() after which no first byte may leave;
        `timeout_s` counts from that byte to the whole answer. Raises nothing, and is not to be cancelled.
        """
        departure = _Departure(request.body, start_by, timeout_s, self._gate)
        self._gate.waiting.add(departure)
        try:
            return await self._send(departure, request, provider)
        except asyncio.CancelledError:
            if departure.left_at or not self._gate.closed:
                raise
            departure.task.uncancel()
            return NotStarted(_DRAINING, unreachable=False)
        finally:
            self._gate.waiting.discard(departure)

    async def fetch(self, provider: str, request: HttpRequest, *, timeout_s: float) -> Sent:
        """Asks for something that changes nothing at the provider, such as a look-up."""
        return await self._send(_Departure(request.body, None, timeout_s, _Gate()), request, provider)

    async def _send(self, departure: "_Departure", request: HttpRequest, provider: str) -> Sent:
        if self._session is None:
            raise RuntimeError("start() comes first")
        _departure.set(departure)
        headers = request.headers
        if request.body:
            headers = (*headers, ("Content-Length", str(len(request.body))))
        wait_s = departure.wait_s()
        try:
            if wait_s <= 0:
                raise _Held(_TOO_LATE)
            answer = await self._session.request(
                request.method, _url(request.url), headers=headers, allow_redirects=False,
                timeout=_connect_within(wait_s),
            )  # fmt: skip
            body = await _whole(answer)
        except _Held as held:
            return NotStarted(str(held), unreachable=False)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            return departure.failed(error, provider)
        finally:
            if departure.timer is not None:
                departure.timer.cancel()
        if departure.timed_out:  # an answer without a length ends with its connection, so also by our timeout
            return departure.failed(TimeoutError(), provider)
        if body is None:
            return Lost(f"the answer has more than {BODY_MAX // 1024} KB", departure.left_at)
        named = {name.lower(): value for name, value in answer.headers.items()}
        return Answered(HttpResponse(answer.status, named, body), departure.left_at)


_TOO_LATE: Final = "its time to start was over"
_DRAINING: Final = "the process drains"


async def _whole(answer: aiohttp.ClientResponse) -> bytes | None:
    """The body; None when it is too large, and then nothing more is read of it."""
    content, body = answer.content, b""
    try:
        while len(body) <= BODY_MAX and not content.at_eof():
            body += await content.readany()
    except BaseException:
        answer.close()
        raise
    if len(body) <= BODY_MAX:
        return body
    answer.close()
    return None


@lru_cache(maxsize=256)
def _url(url: str) -> URL:
    return URL(url, encoded=True)  # the provider has written it as it shall be


def _connect_within(wait_s: float) -> aiohttp.ClientTimeout:
    """Only for finding a connection: the answer's own time is counted by the departure."""
    return _connect_timeout(-int(-wait_s * 20 // 1))


@lru_cache(maxsize=256)
def _connect_timeout(twentieths: int) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=twentieths / 20)


# ---- Beneath aiohttp -------------------------------------------------------------------------------------------------


class _Held(Exception):
    """The request was not written, for a reason of ours or of the connection."""


class _Gate:
    """Closed while the process drains; knows who has yet to pass it."""

    def __init__(self) -> None:
        self.closed = False
        self.waiting: set[_Departure] = set()


class _Departure:
    """One request on its way out: until when it may start, whether it has, and how long its answer may take."""

    __slots__ = (
        "_gate",
        "_start_by",
        "_timeout_s",
        "body",
        "fresh",
        "left_at",
        "opening",
        "task",
        "timed_out",
        "timer",
    )

    def __init__(self, body: bytes, start_by: float | None, timeout_s: float, gate: _Gate) -> None:
        self.body = body
        self.fresh = False  # on a connection that was made for it
        self.opening = False  # that connection's turn has come
        self.left_at = 0.0
        self.timed_out = False
        self.timer: asyncio.TimerHandle | None = None
        self.task = cast("asyncio.Task[object]", asyncio.current_task())
        self._start_by = start_by
        self._timeout_s = timeout_s
        self._gate = gate

    def wait_s(self) -> float:
        """How long it may wait for a connection."""
        if self._gate.closed:
            return 0.0
        return self._timeout_s if self._start_by is None else self._start_by - monotonic()

    def leave(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> bool:
        """The check: from True on, the request counts as one of which bytes may have left."""
        now = monotonic()
        if self._gate.closed or (self._start_by is not None and now > self._start_by):
            return False
        self.left_at = now
        self.timer = loop.call_later(self._timeout_s, self._expire, transport)
        return True

    def failed(self, error: Exception, provider: str) -> Sent:
        """What an error means: it depends on whether a byte had left."""
        detail = f"{provider}: {error}" if str(error) else f"{provider}: {type(error).__name__}"
        if self.timed_out:
            return Lost(f"{provider}: no whole answer within {self._timeout_s:g} s", self.left_at)
        if self.left_at:
            return Lost(f"{detail} (after the request was written)", self.left_at)
        no_url = isinstance(error, ValueError | aiohttp.NonHttpUrlClientError)  # what cannot be sent reaches nobody
        return NotStarted(detail, unreachable=self.opening or no_url)

    def _expire(self, transport: asyncio.Transport) -> None:
        self.timed_out = True
        transport.abort()  # the reader hears of it; the send itself is never cancelled


_departure: ContextVar[_Departure] = ContextVar("departure")


class _Request(aiohttp.ClientRequest):
    """aiohttp's request, written in one piece, and without headers that nobody asked for."""

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """None: the provider names its headers (smsd.provider.HttpRequest)."""

    async def send(self, conn: "Connection") -> aiohttp.ClientResponse:
        departure, protocol = _departure.get(), cast("ResponseHandler", conn.protocol)
        if departure.left_at:  # aiohttp repeats GET, PUT and DELETE when an old connection broke
            raise aiohttp.ClientConnectionError("the connection broke")
        writer = StreamWriter(protocol, self.loop)
        line = f"{self.method} {self.url.raw_path_qs} HTTP/1.1"
        await writer.write_headers(line, self.headers)  # into a buffer of the writer's
        if not departure.fresh and _readable(protocol.transport):
            for _ in range(2):  # nothing can come on an idle connection but its end: let the loop hear of it
                await asyncio.sleep(0)
        transport = protocol.transport
        if transport is None or not protocol.is_connected() or protocol.should_close:
            raise _Held("the connection was closed by the other side")
        if transport.get_write_buffer_size():
            raise _Held("the connection has bytes that nobody took")
        if not departure.leave(transport, self.loop):
            conn.release()
            raise _Held(_TOO_LATE)
        await writer.write_eof(departure.body)  # one write with the headers; suspends only after it
        self.response = self.response_class(
            self.method, self.original_url, writer=None, continue100=None, timer=self._timer,
            request_info=self.request_info, traces=[], loop=self.loop, session=self.session, stream_writer=writer,
        )  # fmt: skip
        return self.response


def _readable(transport: asyncio.BaseTransport | None) -> bool:
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class _Connector(aiohttp.TCPConnector):
    """aiohttp's, with a guard in front of new connections: one waiter for each host, a bounded number a second."""

    def __init__(self, *, limit: int, keepalive_timeout: float) -> None:
        super().__init__(limit=limit, keepalive_timeout=keepalive_timeout)  # pyright: ignore[reportUnknownMemberType]
        self._guards: dict[tuple[str, int | None], tuple[asyncio.Lock, Throttler]] = {}

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
    ) -> ResponseHandler:
        departure = _departure.get()
        departure.fresh = True
        key: ConnectionKey = req.connection_key
        guard = self._guards.get((key.host, key.port))
        if guard is None:
            guard = self._guards[key.host, key.port] = asyncio.Lock(), Throttler(OPENINGS_PER_S)
        async with guard[0]:  # the throttler polls: one waiter is cheap, a crowd takes a whole core
            await guard[1].acquire()
        departure.opening = True
        return await super()._create_connection(req, traces, timeout)
