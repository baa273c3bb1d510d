"""shell/transport.py against a server of raw sockets: what left, what did not, and that it is told truly."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from asyncio_throttle.throttler import Throttler

from smsd.provider import HttpRequest
from smsd.shell.transport import Answered, Lost, NotStarted, Transport
from smsd.shell.transport_wire import BODY_MAX

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nX-Odd-Name: yes\r\n\r\nok"
SOON_S = 30.0
TO = "+353861234567"


class Server:
    """Answers each request by `reply`, and keeps what it read."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[bytes] = []
        self.connections = 0
        self.reply: Handler = self.ok
        self.read = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/send"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def ok(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(v) for k, _, v in (line.partition(b": ") for line in head.split(b"\r\n"))
                               if k.lower() == b"content-length"), 0)  # fmt: skip
                self.requests.append(head + await reader.readexactly(length))
                self.read.set()
                await self.reply(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport(nobody)
    await transport.start()
    yield transport
    await transport.close()


def nobody(_provider: str, _to: str) -> bool:
    """Bars nobody."""
    return False


def post(url: str, body: bytes = b"a=1") -> HttpRequest:
    return HttpRequest("POST", url, (("Authorization", "Basic eA=="),), body)


def in_s(seconds: float) -> float:
    return time.monotonic() + seconds


async def test_a_request_leaves_as_the_provider_wrote_it(transport: Transport, server: Server) -> None:
    """Nothing is added to the request but Host and Content-Length, and the answer comes back whole."""
    before = time.monotonic()
    sent = await transport.submit("main", TO, post(server.url + "?q=%2B1"), timeout_s=SOON_S, start_by=in_s(SOON_S))
    assert isinstance(sent, Answered)
    assert (sent.response.status, sent.response.body) == (201, b"ok")
    assert sent.response.headers["x-odd-name"] == "yes"
    assert before <= sent.started_monotonic <= time.monotonic()
    host = server.url.split("/")[2].encode()
    assert server.requests == [
        b"POST /send?q=%2B1 HTTP/1.1\r\nHost: "
        + host
        + b"\r\nAuthorization: Basic eA==\r\nContent-Length: 3\r\n\r\na=1"
    ]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_without_a_body_leaves(transport: Transport, server: Server, method: str) -> None:
    """Some gateways take everything in the query."""
    sent = await transport.submit("main", TO, HttpRequest(method, server.url), timeout_s=SOON_S, start_by=in_s(SOON_S))
    assert isinstance(sent, Answered)
    assert server.requests[0].startswith(method.encode() + b" /send HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("tail", "target"),
    [("", b"/"), ("/", b"/"), ("?to=%2B1", b"/?to=%2B1"), ("/a/../b%20?c=%C3%A9#part", b"/a/../b%20?c=%C3%A9")],
)
async def test_the_target_is_what_the_url_says(transport: Transport, server: Server, tail: str, target: bytes) -> None:
    """Nothing is encoded or tidied up: only a part of the page is for nobody but us."""
    url = server.url.removesuffix("/send") + tail
    assert isinstance(await transport.submit("main", TO, post(url), timeout_s=SOON_S, start_by=None), Answered)
    assert server.requests[0].startswith(b"POST " + target + b" HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_a_provider_may_name_the_host(transport: Transport, server: Server) -> None:
    """Behind a proxy the name that counts may be another than the address."""
    request = HttpRequest("GET", server.url, (("HOST", "sms.example"), ("X-A", "b")))
    assert isinstance(await transport.submit("main", TO, request, timeout_s=SOON_S, start_by=None), Answered)
    assert server.requests == [b"GET /send HTTP/1.1\r\nHOST: sms.example\r\nX-A: b\r\n\r\n"]


async def test_a_post_without_a_body_says_so(transport: Transport, server: Server) -> None:
    """Its length is zero, and not unknown (RFC 9110 §8.6)."""
    sent = await transport.submit("main", TO, HttpRequest("POST", server.url), timeout_s=SOON_S, start_by=None)
    assert isinstance(sent, Answered)
    assert b"\r\nContent-Length: 0\r\n" in server.requests[0]


async def test_connections_are_kept(transport: Transport, server: Server) -> None:
    """Requests one after another use one connection."""
    for _ in range(5):
        assert isinstance(
            await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None), Answered
        )
    assert server.connections == 1


async def test_a_refused_connection_is_not_started(transport: Transport, server: Server) -> None:
    """Where nobody listens, nothing left, and it is the provider that cannot be reached."""
    await server.stop()
    sent = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=in_s(SOON_S))
    assert isinstance(sent, NotStarted)
    assert sent.unreachable


async def test_a_name_that_leads_nowhere_is_not_started(transport: Transport) -> None:
    """A failure of DNS is not an attempt (RFC 6761: .invalid never resolves)."""
    sent = await transport.submit("main", TO, post("http://nowhere.invalid/"), timeout_s=SOON_S, start_by=in_s(SOON_S))
    assert isinstance(sent, NotStarted)
    assert sent.unreachable


async def test_a_failed_handshake_is_not_started(transport: Transport, server: Server) -> None:
    """Of a request whose TLS was never agreed on, nothing left."""
    url = server.url.replace("http:", "https:")
    plain = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    url = f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/"
    async with plain:
        sent = await transport.submit("main", TO, post(url), timeout_s=SOON_S, start_by=in_s(SOON_S))
    assert isinstance(sent, NotStarted)
    assert sent.unreachable


@pytest.mark.parametrize(
    "url",
    ["nonsense", "http:///x", "ftp://127.0.0.1/", "http://127.0.0.1:x/", "http://127.0.0.1/a b",
     f"http://{'x' * 64}.invalid/", "http://2130706433/"],
)  # fmt: skip
async def test_a_url_that_is_none_is_not_started(transport: Transport, url: str) -> None:
    """A provider that writes nonsense for a URL is as good as away."""
    sent = await transport.submit("main", TO, post(url), timeout_s=SOON_S, start_by=in_s(SOON_S))
    assert isinstance(sent, NotStarted)
    assert sent.unreachable


async def test_a_url_holds_no_credentials(transport: Transport, server: Server) -> None:
    """They belong into a header, which the provider writes; nobody writes them into a log with the URL."""
    url = server.url.replace("://", "://user:secret@")
    sent = await transport.submit("main", TO, post(url), timeout_s=SOON_S, start_by=None)
    assert isinstance(sent, NotStarted)
    assert "secret" not in sent.detail
    assert server.connections == 0


@pytest.mark.parametrize("bad", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\ud800"])
@pytest.mark.parametrize("place", ["name", "value", "method"])
async def test_a_header_cannot_be_split(transport: Transport, server: Server, bad: str, place: str) -> None:
    """What holds a line break or another control character is not sent at all."""
    name, value, method = (bad if place == part else "X" for part in ("name", "value", "method"))
    request = HttpRequest(method, server.url, ((name, value),), b"a=1")
    sent = await transport.submit("main", TO, request, timeout_s=SOON_S, start_by=None)
    assert isinstance(sent, NotStarted)
    assert sent.unreachable
    assert server.requests == []


async def test_a_header_may_hold_a_tab_and_letters(transport: Transport, server: Server) -> None:
    """What is no control character is sent as it is (RFC 9110 §5.5)."""
    request = HttpRequest("POST", server.url, (("X-A", "b\tc é"),), b"a=1")
    assert isinstance(await transport.submit("main", TO, request, timeout_s=SOON_S, start_by=None), Answered)
    assert b"\r\nX-A: b\tc \xc3\xa9\r\n" in server.requests[0]


async def test_too_late_before_it_began_leaves_nothing(transport: Transport, server: Server) -> None:
    """A start_by that has passed is looked at before anything is opened."""
    sent = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=in_s(-0.001))
    assert sent == NotStarted("its time to start was over", unreachable=False)
    assert server.connections == 0


async def test_too_late_for_a_connection_leaves_nothing(transport: Transport) -> None:
    """When no connection comes about in time, the message did not start, and whoever did not answer is to blame."""
    with socket.socket() as full:  # listens, and takes nobody: the queue of one is soon full
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others: list[socket.socket] = []
        for _ in range(8):
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(full.getsockname())
            others.append(other)
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        sent = await transport.submit("main", TO, post(url), timeout_s=SOON_S, start_by=in_s(0.2))
        for other in others:
            other.close()
    assert isinstance(sent, NotStarted)
    assert sent.unreachable


async def test_the_start_by_is_looked_at_last(
    transport: Transport, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped after its connection was made writes nothing when it wakes."""
    await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None)
    now = time.monotonic()
    instants = iter([now, now + 60.0])  # the first look finds it in time, the one before the write does not
    monkeypatch.setattr("smsd.shell.transport.monotonic", lambda: next(instants, now + 60.0))
    sent = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=now + 1.0)
    monkeypatch.undo()
    assert sent == NotStarted("its time to start was over", unreachable=False)
    assert len(server.requests) == 1
    again = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=in_s(SOON_S))
    assert isinstance(again, Answered)
    assert server.connections == 1  # the connection was not to blame


async def test_a_connection_that_comes_too_late_is_kept(
    transport: Transport, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing leaves after start_by, nobody is to blame before connect_by, and whoever starts next need not wait."""
    now = time.monotonic()
    instants = iter([now, now])  # the looks before the connection is made
    monkeypatch.setattr("smsd.shell.transport.monotonic", lambda: next(instants, now + 1.0))
    sent = await transport.submit(
        "main", TO, post(server.url), timeout_s=SOON_S, start_by=now + 0.02, connect_by=now + SOON_S
    )
    monkeypatch.undo()
    assert sent == NotStarted("its time to start was over", unreachable=False)
    again = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=in_s(SOON_S))
    assert isinstance(again, Answered)
    assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("looks", [1, 2])
async def test_what_is_barred_leaves_nothing(transport: Transport, server: Server, looks: int) -> None:
    """Before a connection is opened, and again as the last act before the write, on one that exists by then."""
    asked: list[tuple[str, str]] = []

    def barred(provider: str, to: str) -> bool:
        asked.append((provider, to))
        return len(asked) == looks

    careful = Transport(barred)
    await careful.start()
    sent = await careful.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=in_s(SOON_S))
    await careful.close()
    assert isinstance(sent, NotStarted)
    assert (sent.barred, sent.unreachable) == (True, False)
    assert asked == [("main", TO)] * looks
    assert (server.connections, server.requests) == (looks - 1, [])


async def test_a_look_up_is_never_barred(server: Server) -> None:
    """It changes nothing at the provider, and texts nobody."""
    careful = Transport(lambda _provider, _to: True)
    await careful.start()
    assert isinstance(await careful.fetch("main", HttpRequest("GET", server.url), timeout_s=SOON_S), Answered)
    await careful.close()


async def test_no_answer_in_time_is_lost(transport: Transport, server: Server) -> None:
    """After the first byte a timeout says nothing about whether the message was taken."""

    async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server.reply = silence
    sent = await transport.submit("main", TO, post(server.url), timeout_s=0.1, start_by=in_s(SOON_S))
    assert isinstance(sent, Lost)
    assert sent.detail == "main: no whole answer within 0.1 s"
    assert 0.05 < time.monotonic() - sent.started_monotonic < SOON_S / 2


async def test_the_time_of_an_answered_request_is_over(transport: Transport, server: Server) -> None:
    """It does not run on into the next request of its connection."""
    assert isinstance(await transport.submit("main", TO, post(server.url), timeout_s=0.05, start_by=None), Answered)
    let_go = asyncio.Event()

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        writer.write(OK)

    server.reply = slow
    asyncio.get_running_loop().call_later(0.1, let_go.set)
    assert isinstance(await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None), Answered)
    assert server.connections == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", b"HTTP/1.1 200 OK\r\n\r\nab"])
async def test_an_answer_that_stops_coming_is_lost(transport: Transport, server: Server, head: bytes) -> None:
    """The time counts to the end of the answer, also of one that ends with its connection."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await reader.read()

    server.reply = half
    sent = await transport.submit("main", TO, post(server.url), timeout_s=0.1, start_by=None)
    assert isinstance(sent, Lost)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 201 Cre", b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nab"])
@pytest.mark.parametrize("reset", [True, False])
async def test_a_broken_connection_is_lost(transport: Transport, server: Server, first: bytes, reset: bool) -> None:
    """Wherever in the answer the connection breaks, the message may have been taken."""

    async def broken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        if reset:
            writer.transport.abort()
        else:
            writer.close()

    server.reply = broken
    sent = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None)
    assert isinstance(sent, Lost)
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
async def test_nothing_is_sent_twice_by_itself(transport: Transport, server: Server, method: str) -> None:
    """A kept connection that breaks under a request is no reason to repeat it, whatever HTTP says of the method."""
    request = HttpRequest(method, server.url, (), b"a=1")
    assert isinstance(await transport.submit("main", TO, request, timeout_s=SOON_S, start_by=None), Answered)

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server.reply = close
    assert isinstance(await transport.submit("main", TO, request, timeout_s=SOON_S, start_by=None), Lost)
    assert len(server.requests) == 2


async def test_a_connection_that_was_closed_meanwhile_is_not_used(transport: Transport, server: Server) -> None:
    """The end of an idle connection that the loop has not yet heard of is seen before the write, so nothing is lost."""
    for _ in range(20):
        closed = asyncio.Event()

        async def answer_and_close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(OK)
            writer.close()
            await writer.wait_closed()
            closed.set()  # noqa: B023 - awaited before the next round

        server.reply = answer_and_close
        first = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None)
        assert isinstance(first, Answered)
        await closed.wait()
        server.reply = server.ok
        second = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None)
        assert isinstance(second, Answered | NotStarted)


async def test_what_nobody_asked_for_is_not_taken_for_the_answer(transport: Transport, server: Server) -> None:
    """An answer that comes on an idle connection, as a 408 before its end, answers no later request."""

    async def chatty(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    server.reply = chatty
    assert isinstance(await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None), Answered)
    server.reply = server.ok
    second = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None)
    assert not isinstance(second, Answered) or second.response.status == 201


async def test_a_redirect_is_an_answer(transport: Transport, server: Server) -> None:
    """Credentials and text go where the config says, and nowhere else."""

    async def elsewhere(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {server.url}2\r\nContent-Length: 0\r\n\r\n".encode()
        )

    server.reply = elsewhere
    sent = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None)
    assert isinstance(sent, Answered)
    assert (sent.response.status, len(server.requests)) == (307, 1)


async def test_cookies_are_not_kept(transport: Transport, server: Server) -> None:
    """What an answer sets is not sent with the next request."""

    async def sets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

    server.reply = sets
    for _ in range(2):
        await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None)
    assert b"ookie" not in server.requests[1]


@pytest.mark.parametrize("size", [BODY_MAX, BODY_MAX + 1])
async def test_a_huge_answer_is_lost(transport: Transport, server: Server, size: int) -> None:
    """Up to 256 KB an answer is read; of a longer one nobody can say what it means."""

    async def huge(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n")

    server.reply = huge
    sent = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None)
    assert isinstance(sent, Answered if size == BODY_MAX else Lost)


async def test_what_is_no_http_is_lost(transport: Transport, server: Server) -> None:
    """Garbage in place of an answer says nothing about the message."""

    async def garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x01 what?\r\n\r\n")

    server.reply = garbage
    assert isinstance(await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None), Lost)


async def test_a_drain_holds_back_what_has_not_left(transport: Transport, server: Server) -> None:
    """After hold() what waits for a connection is given up at once, what has left is waited for, look-ups still go."""
    let_go = asyncio.Event()

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        writer.write(OK)

    server.reply = slow
    with socket.socket() as deaf:  # never accepts, so its TLS handshake never comes about
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}/"
        left = asyncio.create_task(transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None))
        waits = asyncio.create_task(transport.submit("main", TO, post(url), timeout_s=SOON_S, start_by=in_s(SOON_S)))
        await server.read.wait()
        transport.hold()
        assert await waits == NotStarted("the process drains", unreachable=False)
    after = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=in_s(SOON_S))
    assert after == NotStarted("its time to start was over", unreachable=False)
    assert server.connections == 1
    let_go.set()
    assert isinstance(await left, Answered)
    looked = await transport.fetch("main", HttpRequest("GET", server.url), timeout_s=SOON_S)
    assert isinstance(looked, Answered)
    assert len(server.requests) == 2


async def test_a_drain_holds_back_who_waits_for_a_turn_to_connect(
    transport: Transport, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New connections to one host are guarded, and whoever waits before the guard is given up with the rest."""
    monkeypatch.setattr("smsd.shell.transport.OPENINGS_PER_S", 1)
    let_go = asyncio.Event()

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        writer.write(OK)

    server.reply = slow
    left = asyncio.create_task(transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None))
    await server.read.wait()
    crowd = [transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None) for _ in range(5)]
    waits = asyncio.gather(*crowd)
    await asyncio.sleep(0)
    transport.hold()
    assert await waits == [NotStarted("the process drains", unreachable=False)] * 5
    assert server.connections == 1
    let_go.set()
    assert isinstance(await left, Answered)


async def test_a_drain_is_looked_at_last_too(transport: Transport) -> None:
    """A request that waits for the loop to hear what came on its connection has not left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        first = asyncio.create_task(transport.submit("main", TO, post(url), timeout_s=SOON_S, start_by=None))
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        end, _ = await loop.sock_accept(listener)
        with end:
            assert await loop.sock_recv(end, 1000)
            await loop.sock_sendall(end, OK)
            assert isinstance(await first, Answered)
            loop.call_soon(end.sendall, b"\r\n")  # what some servers add, and nobody minds
            second = asyncio.create_task(transport.submit("main", TO, post(url), timeout_s=SOON_S, start_by=None))
            loop.call_soon(transport.hold)  # in the same turn, after the other two
            assert await second == NotStarted("its time to start was over", unreachable=False)
            with pytest.raises(BlockingIOError):
                end.recv(1)


async def test_a_task_that_is_cancelled_for_another_reason_stays_cancelled(
    transport: Transport, server: Server
) -> None:
    """Only a drain turns a cancelled wait into an answer."""

    async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server.reply = silence
    task = asyncio.create_task(transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None))
    await server.read.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_crowd_gets_its_connections(
    transport: Transport, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many connections are opened at once as are asked for, each through the guard, and then they are kept."""
    taken: list[Throttler] = []

    class Counted(Throttler):
        async def acquire(self) -> None:
            taken.append(self)
            await super().acquire()

    monkeypatch.setattr("smsd.shell.transport.Throttler", Counted)
    together = asyncio.Barrier(50)

    async def when_all_are_there(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await together.wait()
        writer.write(OK)

    server.reply = when_all_are_there
    for _ in range(2):
        crowd = [transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=None) for _ in range(50)]
        assert all(isinstance(sent, Answered) for sent in await asyncio.gather(*crowd))
    assert server.connections == len(taken) == 50
    assert len(set(taken)) == 1


async def test_a_transport_that_was_not_started_says_so() -> None:
    """The session belongs to the event loop, so start() comes first."""
    with pytest.raises(RuntimeError, match="start"):
        await Transport(nobody).submit("main", TO, post("http://127.0.0.1/"), timeout_s=1, start_by=None)


# ---- Over TLS --------------------------------------------------------------------------------------------------------

CERTIFICATE = Path(__file__).with_name("localhost.pem")  # made for this test, with its key; good until 2120


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_leave_over_tls(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request leaves on its new connection and the second on the same, whatever loop and version it is."""
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.minimum_version = context.maximum_version = version

    async def story() -> None:
        server, transport = Server(), Transport(nobody)
        await server.start(context)
        await transport.start()
        try:
            for _ in range(3):
                sent = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=in_s(SOON_S))
                assert isinstance(sent, Answered), sent
            assert (server.connections, len(server.requests)) == (1, 3)
        finally:
            await transport.close()
            await server.stop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(story())


async def test_an_unknown_certificate_is_not_started(transport: Transport) -> None:
    """Credentials go to nobody who cannot prove a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = Server()
    await server.start(context)
    sent = await transport.submit("main", TO, post(server.url), timeout_s=SOON_S, start_by=in_s(SOON_S))
    await server.stop()
    assert isinstance(sent, NotStarted)
    assert sent.unreachable
    assert server.requests == []
