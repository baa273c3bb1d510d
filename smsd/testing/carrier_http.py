"""The carrier's side of HTTP/1.1: one connection that reads requests one after the other and writes their answers.

Never knows what a request means, and never reads ahead of an answer: a request that comes while one is open waits in
the buffer. Written by hand (asyncio.Protocol, Content-Length bodies only) because the carrier shares its cores with
what it measures: a server library costs several times as much as all the rest of it.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import cast

import msgspec

HEAD_MAX = 16 * 1024
BODY_MAX = 256 * 1024
BUFFER_MAX = HEAD_MAX + BODY_MAX

_RST = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close() sends a reset
_REASONS = {
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    409: b"Conflict",
    411: b"Length Required",
    413: b"Content Too Large",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}
_HEADS = {status: b"HTTP/1.1 %d %b\r\nContent-Type: " % (status, reason) for status, reason in _REASONS.items()}


class Head(msgspec.Struct, frozen=True):
    """What a request's head says, so far as anybody here wants to know it."""

    method: bytes
    path: bytes
    query: bytes
    fields: Mapping[bytes, bytes]  # names in lower case; of a repeated one the last
    basic: bytes  # the credentials of Basic authorization; b"" for none
    length: int  # of the body
    close: bool  # the connection ends with the answer
    expects: bool  # waits for 100 Continue before the body


class Request(msgspec.Struct, frozen=True, gc=False):
    """One whole request."""

    head: Head
    body: bytes


class BadRequest(Exception):
    """What came is no request that this server reads: HTTP status and a sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@lru_cache(maxsize=1024)  # a client's heads differ in little but their Content-Length, and are few
def read_head(head: bytes) -> Head:
    """Reads a head, without the empty line at its end. Raises BadRequest."""
    line, *lines = head.split(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        raise BadRequest(400, "this is no HTTP/1.1 request")
    fields: dict[bytes, bytes] = {}
    for name, _, value in (line.partition(b":") for line in lines):
        fields[name.lower()] = value.strip()
    if b"transfer-encoding" in fields:
        raise BadRequest(411, "bodies need a Content-Length here; Transfer-Encoding is not read")
    length = fields.get(b"content-length", b"0")
    if not length.isdigit():
        raise BadRequest(400, "Content-Length is not a number")
    if int(length) > BODY_MAX:
        raise BadRequest(413, f"a body may have {BODY_MAX} bytes")
    path, _, query = words[1].partition(b"?")
    scheme, _, credentials = fields.get(b"authorization", b"").partition(b" ")
    connection = fields.get(b"connection", b"").lower()
    return Head(
        method=words[0],
        path=path,
        query=query,
        fields=fields,
        basic=credentials.strip() if scheme.lower() == b"basic" else b"",
        length=int(length),
        close=connection == b"close" or (words[2] == b"HTTP/1.0" and connection != b"keep-alive"),
        expects=fields.get(b"expect", b"").lower() == b"100-continue",
    )


class Link(asyncio.Protocol):
    """A client's connection. `handle` gets each request and calls `reply`, `hang` or `reset` once, now or later."""

    def __init__(self, handle: Callable[["Link", Request], None], links: set["Link"]) -> None:
        self._handle = handle
        self._links = links
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._open = False  # a request waits for its answer
        self._pumping = False
        self._paused = False
        self._close_after = False
        self._continued = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._links.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._buffer = b""
        self._links.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._open:
            self._pump()
        elif len(self._buffer) > BUFFER_MAX and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def reply(self, status: int, body: bytes, headers: bytes = b"", content: bytes = b"application/json") -> None:
        """Answers the open request. `headers`: whole lines, each ended. Harmless when the client has left."""
        self._open = False
        if self._transport is None:
            return
        if self._close_after:
            headers += b"Connection: close\r\n"
        self._transport.write(
            b"%b%b\r\nContent-Length: %d\r\n%b\r\n%b" % (_HEADS[status], content, len(body), headers, body)
        )
        if self._close_after:
            self._transport.close()
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._buffer and not self._pumping:
            self._pump()

    def hang(self) -> None:
        """Leaves the open request without an answer for as long as the client waits."""

    def reset(self) -> None:
        """Breaks the connection with a TCP reset."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        self._transport.abort()

    def _pump(self) -> None:
        self._pumping = True
        try:
            while self._buffer and not self._open and self._transport is not None:
                request = self._next()
                if request is None:
                    return
                self._open = True
                self._handle(self, request)
        except BadRequest as bad:
            self._close_after = True
            self.reply(bad.status, msgspec.json.encode({"status": bad.status, "message": str(bad)}))
        finally:
            self._pumping = False

    def _next(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_MAX:
                raise BadRequest(431, f"the head of a request may have {HEAD_MAX} bytes")
            return None
        head = read_head(self._buffer[:end])
        start, end = end + 4, end + 4 + head.length
        if len(self._buffer) < end:
            if head.expects and not self._continued and self._transport is not None:
                self._continued = True
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        body = self._buffer[start:end]
        self._buffer = self._buffer[end:]
        self._continued = False
        self._close_after = head.close
        return Request(head, body)
