"""The only HTTP to providers: one request, one answer, and the truth about whether a byte of it left.

Never decides what an answer means, never follows a redirect, never repeats a request (but once with a new access token
where a 401 has refused the old one), never sends one whose time to start is over, or that the sandbox bars: that check
is the last act before the write, on a connection that exists and whose buffer is empty. (An event loop that collects
writes, as uvloop does, hands them to the kernel at the end of that turn.)

Connections are aiohttp's: it finds, opens, keeps and closes them. Its session is not used, for it takes several times
what one write and one answer need (transport_wire.py).
"""

import asyncio
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler
from asyncio_throttle.throttler import Throttler
from yarl import URL

from smsd.provider import HttpRequest, HttpResponse
from smsd.shell.tokens import NoToken, Tokens
from smsd.shell.transport_wire import Broken, Wire

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection

KEEPALIVE_S: Final = 4.0  # below the 5 s after which common servers close: a lost race is an unknown outcome
OPENINGS_PER_S: Final = 250  # new connections to one host
TOKEN_S: Final = 5.0  # for an access token to come


class Answered(msgspec.Struct, frozen=True):
    """The whole answer, whatever it says, and when our first byte left."""

    response: HttpResponse
    started_monotonic: float


class NotStarted(msgspec.Struct, frozen=True):
    """Not a byte of the request left: no connection, or its time to start was over."""

    detail: str
    unreachable: bool  # the provider's side: DNS, refused, TLS; False: our own time was over
    barred: bool = False  # the sandbox keeps that number from that provider
    refused: bool = False  # whoever gives the access tokens that it wants does not know us


class Lost(msgspec.Struct, frozen=True):
    """Bytes left and no whole answer came: timeout, reset, an answer cut off or too large."""

    detail: str
    started_monotonic: float


Sent = Answered | NotStarted | Lost

Barred = Callable[[str, str], bool]
"""Whether a text to this E.164 number must not go to this provider: (provider, to)."""


class Transport:
    """One pool of connections. Start it and call it in the event loop that it is used in."""

    def __init__(self, barred: Barred, clock: Callable[[], float] = monotonic) -> None:
        """`clock`: seconds, for the lives of access tokens."""
        self._barred = barred
        self._gate = _Gate()
        self._tokens = Tokens(self._ask, clock)
        self._connector: _Connector | None = None
        self._origins: dict[str, _Origin] = {}

    async def start(self) -> None:
        """Makes the pool; no connection yet. How many there are is bounded by the attempts in flight."""
        self._connector = _Connector(limit=0, keepalive_timeout=KEEPALIVE_S)

    async def close(self) -> None:
        """Closes every connection, also those in use."""
        self._tokens.close()
        if self._connector is not None:
            await self._connector.close()

    def hold(self) -> None:
        """From now on no message starts: what has not left is answered by NotStarted, at once."""
        self._gate.close()

    async def submit(
        self,
        provider: str,
        to: str,
        request: HttpRequest,
        *,
        timeout_s: float,
        start_by: float | None,
        connect_by: float | None = None,
    ) -> Sent:
        """Sends one message to the number `to`. `start_by` is an instant of time.monotonic() after which no first byte
        may leave; `timeout_s` counts from that byte to the whole answer. Raises nothing, and is not to be cancelled.

        `connect_by`, where it is later: until then a connection or an access token is waited for all the same, so that
        whoever starts next finds it. Less than one takes to make says nothing about the provider.
        """
        due = _Due(start_by, start_by if connect_by is None else connect_by)
        if request.token is not None:
            return await self._shown(provider, to, request, request.token, timeout_s, due, self._gate)
        return await self._send(provider, to, request, timeout_s, due, self._gate)

    async def fetch(self, provider: str, request: HttpRequest, *, timeout_s: float) -> Sent:
        """Asks for something that changes nothing at the provider, such as a look-up."""
        if request.token is not None:
            return await self._shown(provider, None, request, request.token, timeout_s, _ANY_TIME, _Gate())
        return await self._send(provider, None, request, timeout_s, _ANY_TIME, _Gate())

    # ---- With an access token ----------------------------------------------------------------------------------------

    async def _shown(
        self,
        provider: str,
        to: str | None,
        request: HttpRequest,
        by: HttpRequest,
        timeout_s: float,
        due: "_Due",
        gate: "_Gate",
    ) -> Sent:
        """Sends it with the token that it wants. One that is refused may have ended too early, and nothing was done:
        another one is shown, once.
        """
        again = False
        while True:
            if (held := self._held(provider, to, due, gate)) is not None:
                return held
            token = self._tokens.kept(provider, by) or await self._token(provider, by, due.wait_s(timeout_s), gate)
            if isinstance(token, NotStarted):
                return token
            headers = (*request.headers, ("Authorization", f"Bearer {token}"))
            shown = HttpRequest(request.method, request.url, headers, request.body)
            sent = await self._send(provider, to, shown, timeout_s, due, gate)
            if again or not isinstance(sent, Answered) or sent.response.status != 401:
                return sent
            if not self._tokens.refused(by, token):
                return sent
            again = True

    async def _token(self, provider: str, by: HttpRequest, wait_s: float, gate: "_Gate") -> str | NotStarted:
        try:
            async with asyncio.timeout(wait_s) as patience:
                with gate.waiting(patience):
                    return await self._tokens.fetched(provider, by)
        except TimeoutError:
            why = _DRAINING if gate.closed else f"{provider}: no access token within {wait_s:.3g} s"
            return NotStarted(why, unreachable=False)
        except NoToken as error:
            return NotStarted(f"{provider}: no access token: {error}", unreachable=True, refused=error.refused)

    async def _ask(self, provider: str, by: HttpRequest) -> HttpResponse | str:
        sent = await self._send(provider, None, by, TOKEN_S, _ANY_TIME, _Gate())
        return sent.response if isinstance(sent, Answered) else sent.detail

    # ---- Without one -------------------------------------------------------------------------------------------------

    async def _send(
        self,
        provider: str,
        to: str | None,
        request: HttpRequest,
        timeout_s: float,
        due: "_Due",
        gate: "_Gate",
    ) -> Sent:
        if self._connector is None:
            raise RuntimeError("start() comes first")
        if (held := self._held(provider, to, due, gate)) is not None:
            return held
        try:
            origin, octets = self._written(request)
        except ValueError as error:  # what cannot be sent reaches nobody
            return NotStarted(f"{provider}: {error}", unreachable=True)
        connection = await self._connector.idle(origin.key)
        if connection is None:
            connection = await self._open(self._connector, origin, due.wait_s(timeout_s), gate, provider)
            if isinstance(connection, NotStarted):
                return connection
        try:
            wire = cast("Wire", connection.protocol)
            if (reason := await wire.unfit()) is not None:
                return NotStarted(reason, unreachable=False)
            now = monotonic()
            if gate.closed or due.over(now):
                return NotStarted(_TOO_LATE, unreachable=False)
            if to is not None and self._barred(provider, to):  # by a swap while it waited for its turn
                return _BARRED
            answer = wire.exchange(octets)  # from here on the request counts as one of which bytes may have left
            timer = asyncio.get_running_loop().call_later(timeout_s, wire.expire, timeout_s)
            try:
                return Answered(await answer, now)
            except Broken as broken:
                return Lost(f"{provider}: {broken}", now)
            finally:
                timer.cancel()
        finally:
            connection.release()  # closes it where nothing more is to be had from it

    def _held(self, provider: str, to: str | None, due: "_Due", gate: "_Gate") -> NotStarted | None:
        """Why it does not even begin to start."""
        if to is not None and self._barred(provider, to):
            return _BARRED
        return NotStarted(_TOO_LATE, unreachable=False) if gate.closed or due.over(monotonic()) else None

    async def _open(
        self, connector: "_Connector", origin: "_Origin", wait_s: float, gate: "_Gate", provider: str
    ) -> "Connection | NotStarted":
        """A connection that is made for this request, or was given back while this one waited for its turn."""
        opening = False
        try:
            async with asyncio.timeout(wait_s) as patience:
                with gate.waiting(patience):
                    async with origin.turn:  # the throttler polls: one waiter is cheap, a crowd takes a whole core
                        await origin.throttler.acquire()
                    opening = True
                    return await connector.connect(origin.request, [], _NO_TIMEOUT)
        except TimeoutError:
            if gate.closed:
                return NotStarted(_DRAINING, unreachable=False)
            return NotStarted(f"{provider}: no connection within {wait_s:.3g} s", unreachable=opening)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # the last: a name that DNS cannot hold
            return NotStarted(f"{provider}: {str(error) or type(error).__name__}", unreachable=opening)

    def _written(self, request: HttpRequest) -> "tuple[_Origin, bytes]":
        """Where it goes, and its octets (RFC 9112 §3); ValueError when it cannot be sent."""
        parts = _URL.fullmatch(request.url)  # the provider has written it as it shall be
        if parts is None:
            raise ValueError("its URL is none of HTTP")
        where, target = parts.groups()
        origin = self._origins.get(where)
        if origin is None:
            origin = self._origins[where] = _Origin(where)
        lines = [f"{request.method} {target if target[:1] == '/' else '/' + target} HTTP/1.1", origin.host]
        for name, value in request.headers:
            if name.lower() == "host":
                lines[1] = f"{name}: {value}"
            else:
                lines.append(f"{name}: {value}")
        if request.body or request.method not in _BODILESS:
            lines.append(f"Content-Length: {len(request.body)}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        if len(head) - len(head.translate(None, _CONTROLS)) != 2 * len(lines) + 2:
            raise ValueError("a control character in its head")  # it could end a line, and begin one of its own
        return origin, head + request.body


_TOO_LATE: Final = "its time to start was over"
_DRAINING: Final = "the process drains"
_BARRED: Final = NotStarted("the sandbox keeps it from this provider", unreachable=False, barred=True)
_URL: Final = re.compile(r"(https?://[^/?#\s]+)([^#\s]*)(?:#.*)?", re.IGNORECASE)
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # without a body, they need no Content-Length
_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {ord("\t")})  # RFC 9110 §5.5: none of them belongs into a field
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)  # the time to find a connection is counted here


class _Due(msgspec.Struct, frozen=True, gc=False):
    """Instants of time.monotonic(); None: any."""

    start_by: float | None  # for the first byte
    connect_by: float | None  # for what it leaves by

    def over(self, now: float) -> bool:
        return self.start_by is not None and now > self.start_by

    def wait_s(self, most_s: float) -> float:
        """For a connection or an access token."""
        return most_s if self.connect_by is None else self.connect_by - monotonic()


_ANY_TIME: Final = _Due(None, None)


class _Gate:
    """Closed while the process drains; then nobody waits before it any longer."""

    def __init__(self) -> None:
        self.closed = False
        self._waiting: set[asyncio.Timeout] = set()

    def close(self) -> None:
        """From now on nobody passes."""
        self.closed = True
        for patience in self._waiting:
            if not patience.expired():
                patience.reschedule(0.0)

    @contextmanager
    def waiting(self, patience: asyncio.Timeout) -> Generator[None]:
        """While this one may be told to wait no longer."""
        self._waiting.add(patience)
        try:
            yield
        finally:
            self._waiting.discard(patience)


# ---- Beneath aiohttp -------------------------------------------------------------------------------------------------


class _Origin:
    """A scheme, host and port: what aiohttp asks about it, its name in a head, the guard before new connections."""

    def __init__(self, where: str) -> None:
        url = URL(where, encoded=True)
        if url.raw_user is not None or url.raw_password is not None or not url.raw_host:
            raise ValueError("its URL has no host, or credentials, which belong into a header")
        self.request = aiohttp.ClientRequest("GET", url)  # asked for the way there only, never sent
        self.key = self.request.connection_key
        self.host = f"Host: {url.host_port_subcomponent}"
        self.turn = asyncio.Lock()
        self.throttler = Throttler(OPENINGS_PER_S)


class _Connector(aiohttp.TCPConnector):
    """aiohttp's, whose connections are our wires, and which tells an idle one apart from a new one."""

    def __init__(self, *, limit: int, keepalive_timeout: float) -> None:
        super().__init__(limit=limit, keepalive_timeout=keepalive_timeout)  # pyright: ignore[reportUnknownMemberType]
        self._factory = partial[ResponseHandler](Wire, asyncio.get_running_loop())

    async def idle(self, key: "ConnectionKey") -> "Connection | None":
        """The one that has idled longest; does not wait."""
        return await self._get(key, [])
