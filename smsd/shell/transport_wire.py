"""One HTTP/1.1 connection: writes a request that is ready, and gathers the one answer to it.

Never opens, keeps or chooses connections (aiohttp's connector does, with its DNS and TLS), never decides when a request
may leave or how long its answer may take, never writes anything twice. The framing of answers is llhttp's.
"""

import asyncio
import select
from typing import Final, cast

from aiohttp.client_proto import ResponseHandler
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from smsd.provider import HttpResponse

BODY_MAX: Final = 256 * 1024
BYTES_MAX: Final = 8 * BODY_MAX  # with its head and its framing, however small its chunks are

_TOO_LARGE: Final = f"the answer has more than {BODY_MAX // 1024} KB"


class Broken(Exception):
    """No whole answer came, and none will; says why."""


class Wire(ResponseHandler):
    """What aiohttp's connector makes of each connection, in place of its own reader.

    What the connector asks and tells it is inherited; what comes over the connection is read here.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._asked: asyncio.Future[HttpResponse] | None = None
        self._input = HttpResponseParser(self)
        self._input.set_dangerous_leniencies(  # aiohttp's own client has them: gateways are old
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._taken = self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def exchange(self, request: bytes) -> asyncio.Future[HttpResponse]:
        """Writes it, in one piece; the future becomes the answer, or Broken."""
        self._asked = asked = self._loop.create_future()
        self._taken = self._status = 0
        cast("asyncio.Transport", self.transport).write(request)
        return asked

    def expire(self, timeout_s: float) -> None:
        """The time for the answer is over."""
        self._break(f"no whole answer within {timeout_s:g} s")

    async def unfit(self) -> str | None:
        """Why no request can be written here; suspends only where something is on its way in or out.

        A server may have closed the connection while it was idle, as some do after each answer without a word. Its end
        is then in the kernel, and the loop tells of it in its next turn; what is written in between is lost. However
        long the connection idled, only the kernel knows, so it is asked each time: one system call, for the poll is
        made already. Out goes at most the last of a TLS handshake, which uvloop writes after it has told of its end.
        """
        for _ in range(2):  # the loop may get to it only after it has gone on with us
            if self.transport is None or not (self._poll.poll(0) or self.transport.get_write_buffer_size()):
                break
            await asyncio.sleep(0)
        transport, reason = self.transport, None
        if transport is None or transport.is_closing() or self.should_close:
            reason = "the connection was closed by the other side"
        elif transport.get_write_buffer_size():
            reason = "the connection has bytes that nobody took"
        if reason is not None:
            self.force_close()
        return reason

    @property
    def should_close(self) -> bool:
        """Whether it is of no further use: asked by the pool when the connection is given back."""
        return self._should_close or self._asked is not None

    # ---- Called by the loop ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self._taken += len(data)
        try:
            self._input.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:  # after a whole answer, only the connection is to blame
            self._break(f"the answer is no HTTP: {error}")
        if self._taken > BYTES_MAX:
            self._break(_TOO_LARGE)

    def connection_lost(self, exc: BaseException | None) -> None:
        """An answer without a length ends with its connection (RFC 9112 §6.3); any other is cut off, also by us."""
        headers, by_peer = self._headers, exc is None and self.transport is not None
        has_end = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
        if self._status and by_peer and not has_end:
            self._answer()
        self._fail(f"the connection was closed: {exc}" if exc else "the connection was closed")
        super().connection_lost(exc)

    # ---- Called by the parser ----

    def on_message_begin(self) -> None:
        if self._asked is None:  # an answer that nobody asked for, such as a 408 on an idle connection
            self._break("")
        self._status, self._headers, self._body = 0, {}, bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # else it is a trailer, which nobody reads
            text = value.rstrip(b" \t").decode("utf-8", "surrogateescape")
            self._headers[name.decode("latin-1").lower()] = text

    def on_headers_complete(self) -> None:
        self._status = self._input.get_status_code()
        if not self._input.should_keep_alive():
            self.force_close()

    def on_body(self, part: bytes) -> None:
        self._body += part
        if len(self._body) > BODY_MAX:
            self._break(_TOO_LARGE)

    def on_message_complete(self) -> None:
        """The end of the answer, unless it is an interim one (RFC 9110 §15.2), which the answer follows."""
        if self._status >= 200 or self._status == 101:
            self._answer()
        self._status = 0

    def _answer(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None and not asked.done():
            asked.set_result(HttpResponse(self._status, self._headers, bytes(self._body)))

    def _break(self, why: str) -> None:
        self._fail(why)
        if self.transport is not None:
            self.transport.abort()

    def _fail(self, why: str) -> None:
        self.force_close()
        asked, self._asked = self._asked, None
        if asked is not None and not asked.done():
            asked.set_exception(Broken(why))
