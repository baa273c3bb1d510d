"""HTTP/1.1 as both listeners serve it: each request read whole by llhttp, within bounds of size and time, and answered.

Never knows what a request means, never hands on more than the bounds allow, and never lets an answer overtake another.
Our own, for a server library costs as much as all the rest that is done for a receipt; what is hard about HTTP, reading
it, is llhttp's, by way of httptools.
"""

import asyncio
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

import httptools
import msgspec

HEAD_MAX = 16 * 1024
BODY_MAX = 64 * 1024
FRAMED = 8  # times the bound of a body: what may come for it at most, with what frames its chunks
PIPELINED_MAX = 16  # requests of one connection that wait for the answer to another
READ_S = 10.0  # for a request to arrive, from its first byte on
KEEPALIVE_S = 75.0
LINGER_S = 2.0  # what a refused request still sends is read and dropped so long, for a reset would overtake the answer
CLOSE_S = 2.0  # given to answers that are under way when the process ends
SWEEP_S = 0.5  # between two looks at what is overdue
BACKLOG = 1024


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request. `unread`: its body is not here, for it is too large (413) or did not come in time (408)."""

    method: str
    target: str  # as it came: path and query, also where a proxy has asked for a whole URL
    headers: Mapping[str, str]  # names in lower case; of a repeated one the last, but for X-Forwarded-For
    body: bytes
    unread: int = 0
    peer: str = ""  # whose connection it came by, an address: a client's or a proxy's


class Response(msgspec.Struct, frozen=True):
    """An answer, whole."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


Reply = Callable[[Response], None]
Answer = Response | Coroutine[Any, Any, Response] | None
Handler = Callable[[Request, Reply], Answer]
"""Answers at once, by a coroutine, or (None) by calling the reply later, once."""
Room = Callable[[str, str, Mapping[str, str]], int]
"""How many bytes of a body may be read, by method, target and headers; asked where BODY_MAX is too few."""


class Server:
    """All connections of one listening socket. How many there are only the system bounds."""

    def __init__(self, handle: Handler, room: Room | None = None) -> None:
        self.handle, self.room = handle, room
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[Response]] = set()
        self._connections: set[Connection] = set()
        self._listening: asyncio.Server | None = None
        self._ended: asyncio.Future[None] | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def start(self, bound: socket.socket) -> None:
        """Raises OSError."""
        self._listening = await self.loop.create_server(lambda: Connection(self), sock=bound, backlog=BACKLOG)
        self._sweep()

    async def close(self) -> None:
        """Takes no more connections, and lets requests that have begun be answered; after CLOSE_S it ends them."""
        if self._listening is not None:
            self._listening.close()
        self._ended = self.loop.create_future()
        for connection in tuple(self._connections):
            connection.finish()
        if self._connections:
            await asyncio.wait([self._ended], timeout=CLOSE_S)
        for connection in tuple(self._connections):
            connection.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def made(self, connection: "Connection") -> None:
        self._connections.add(connection)
        if self._ended is not None:
            connection.finish()

    def lost(self, connection: "Connection") -> None:
        self._connections.discard(connection)
        if self._ended is not None and not self._connections and not self._ended.done():
            self._ended.set_result(None)

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in tuple(self._connections):
            connection.sweep(now)
        self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)


class Unreadable(Exception):
    """What comes is not read on. Raised inside the parser, which is of no more use then."""


class Connection(asyncio.Protocol):
    """A client's connection. Of its requests one is open at a time, the others wait; `on_…` are the parser's calls."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._parser = httptools.HttpRequestParser(self)
        self._open: Request | None = None
        self._waiting: deque[Request] = deque()
        self._since = server.loop.time()  # when the request that is read began, or the last answer was given
        self._last = False  # nothing more is read
        self._unread = False  # and something more comes
        self._blocked = False  # the client does not take our answers
        self._flowing = True
        self._status = 400  # told when the parser stops
        self._begin(reading=False)

    def _begin(self, *, reading: bool) -> None:
        """A request's parts are gathered anew."""
        self._reading, self._headed, self._continues = reading, False, False
        self._raw = self._size = self._length = 0  # as it came; of head and trailers; of the body
        self._most = BODY_MAX
        self._asked = False  # for more room than that
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    # ---- The transport's calls ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        self._server.made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._last = True
        self._waiting.clear()
        del self._parser  # it knows us, as we know it
        self._server.lost(self)

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            self._decline(data[wish.args[0] :])
        except httptools.HttpParserError:
            if not self._last:  # else it is what comes after the last request
                self._stop(self._status)
        else:
            if self._reading:
                self._go_on(len(data))
        if self._waiting:
            self._next()
            self._flow()

    def eof_received(self) -> bool:
        self._last = True
        return self._open is not None or bool(self._waiting)  # it has closed its own side, and waits for our answers

    def pause_writing(self) -> None:
        self._blocked = True
        self._flow()

    def resume_writing(self) -> None:
        self._blocked = False
        self._next()
        self._flow()

    # ---- The parser's calls ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._begin(reading=True)
        self._since = self._server.loop.time()

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._grow(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value) + 4)
        if not self._headed:  # a trailer must not add to what the head says (RFC 9110 §6.5.1)
            named, told = _name(name), value.rstrip(b" \t").decode(*_CODED)
            if named == _FORWARDED and named in self._headers:  # a proxy may add a line rather than to one
                told = f"{self._headers[named]},{told}"
            self._headers[named] = told

    def on_headers_complete(self) -> None:
        self._headed = True
        headers = self._headers
        self._target = _WHERE.sub(b"", self._target)  # whose name the client used is no matter (RFC 9112 §3.2.2)
        if (length := int(headers.get("content-length", "0"))) > BODY_MAX and not self._fits(length):
            self._refuse(413)
        if "expect" in headers:
            asks = headers["expect"].lower() == "100-continue"
            self._continues = asks and self._parser.get_http_version() == "1.1"

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._length += len(body)
        if self._length > BODY_MAX and not self._fits(self._length):
            self._refuse(413)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        self._reading = False
        self._waiting.append(self._request(b"".join(self._body)))
        if not self._parser.should_keep_alive():
            self._last = True
        elif len(self._waiting) > PIPELINED_MAX:
            self._last = self._unread = True
            raise Unreadable

    def _fits(self, size: int) -> bool:
        """Whether a body of more than BODY_MAX may be read: few requests may have one."""
        if not self._asked and (room := self._server.room) is not None:
            self._asked = True
            self._most = room(self._parser.get_method().decode(), self._target.decode(*_CODED), self._headers)
        return size <= self._most

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > HEAD_MAX:
            self._refuse(413 if self._headed else 431)

    def _refuse(self, status: int) -> None:
        self._status = status
        raise Unreadable

    # ---- From what came to requests ----------------------------------------------------------------------------------

    def _request(self, body: bytes, unread: int = 0) -> Request:
        target = self._target.decode(*_CODED)
        return Request(self._parser.get_method().decode(), target, self._headers, body, unread, self._peer)

    def _go_on(self, size: int) -> None:
        """The request that is read is not whole yet."""
        self._raw += size
        if self._raw > (HEAD_MAX + FRAMED * self._most if self._headed else HEAD_MAX):
            self._stop(413 if self._headed else 431)
        elif self._continues and not (self._open or self._waiting):
            self._continues = False
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _stop(self, status: int) -> None:
        """Reads no more. If the head is known the handler judges all the same, for it knows whom to tell of it."""
        known = self._headed and status != 400
        self._waiting.append(self._request(b"", status) if known else Request("", "", {}, b"", status))
        self._last = self._unread = True

    def _decline(self, rest: bytes) -> None:
        """Leaves the wish for another protocol unheard (RFC 9110 §7.8), as that of Java's client for h2c: reads the
        request again without it, for to llhttp all that follows the head is the other protocol's.
        """
        if self._headers.pop("upgrade", None) is None:  # CONNECT
            return self._stop(400)
        line = f" HTTP/{self._parser.get_http_version()}\r\n"
        lines = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        head = b"%b %b" % (self._parser.get_method(), self._target) + f"{line}{lines}\r\n".encode(*_CODED)
        self._parser = httptools.HttpRequestParser(self)
        return self.data_received(head + rest)

    # ---- From requests to answers ------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Opens the request whose turn it is."""
        if self._open is not None or self._blocked or not self._waiting:
            return None
        request = self._open = self._waiting.popleft()
        if not request.method:
            return self.reply(Response(request.unread))
        try:
            answer = self._server.handle(request, self.reply)
        except Exception as error:  # noqa: BLE001 - whatever failed, the client has its answer
            return self._failed(error)
        if isinstance(answer, Response):
            return self.reply(answer)
        if answer is not None:
            task = self._server.loop.create_task(answer)
            self._server.tasks.add(task)
            task.add_done_callback(self._worked)
        return None

    def _worked(self, task: asyncio.Task[Response]) -> None:
        self._server.tasks.discard(task)
        if task.cancelled():
            self.reply(Response(503))
        elif error := task.exception():
            self._failed(error)
        else:
            self.reply(task.result())

    def _failed(self, error: BaseException) -> None:
        self._server.loop.call_exception_handler({"message": "a request's handler failed", "exception": error})
        self.reply(Response(500))

    def reply(self, response: Response) -> None:
        """Answers the open request. Harmless when the client has left."""
        request, self._open = self._open, None
        if request is None or self._transport is None:
            return
        last = self._last and not self._waiting
        self._write(_written(response, last=last, bare=request.method == "HEAD"))
        self._since = self._server.loop.time()
        if last:
            self._end()
        else:
            self._next()
        if not self._flowing:
            self._flow()

    # ---- The connection ----------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _flow(self) -> None:
        """Reads only while nobody waits: neither a request for its turn, nor our answers for the client."""
        flowing = not (self._waiting or self._blocked)
        if flowing is self._flowing or self._transport is None or self._transport.is_closing():
            return
        self._flowing = flowing
        (self._transport.resume_reading if flowing else self._transport.pause_reading)()

    def _end(self) -> None:
        """After the last answer. A reset, which closing on unread bytes is, would overtake it (RFC 9112 §9.6)."""
        if self._transport is not None:
            (self._transport.write_eof if self._unread else self._transport.close)()

    def finish(self) -> None:
        """Takes no more requests, and closes: when one is open, after its answer."""
        self._last = True
        if self._open is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """Ends what takes too long, but for an open request: who handles it has bounds of his own."""
        waited = now - self._since
        if self._open is not None:
            return
        if self._reading and not self._last:
            if waited > READ_S:
                self._stop(408)
                self._next()
        elif waited > (LINGER_S if self._unread else KEEPALIVE_S):
            self.abort()


# ---- As text ---------------------------------------------------------------------------------------------------------

_CODED = ("utf-8", "surrogateescape")
_WHERE = re.compile(rb"\Ahttps?://[^/?#]*(?=/)", re.IGNORECASE)
_FORWARDED = "x-forwarded-for"
_LINES = {int(status): f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


@lru_cache(maxsize=128)
def _name(name: bytes) -> str:
    return name.decode("latin-1").lower()


@lru_cache(maxsize=1)
def _date(at_s: int) -> str:
    return f"Date: {formatdate(at_s, usegmt=True)}\r\n"


def _written(response: Response, *, last: bool, bare: bool) -> bytes:
    """An answer as it is sent (RFC 9112 §6); `bare`: without its body, to HEAD."""
    head = _LINES[response.status] + _date(int(time.time()))
    for name, value in response.headers:
        head += f"{name}: {value}\r\n"
    if response.status != 204:
        head += f"Content-Length: {len(response.body)}\r\n"
    if last:
        head += "Connection: close\r\n"
    return f"{head}\r\n".encode() + (b"" if bare else response.body)
