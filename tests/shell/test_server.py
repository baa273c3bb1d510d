"""shell/server.py over raw sockets: what reaches the handler, and what the client is answered."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from smsd.shell import server as module
from smsd.shell.server import BODY_MAX, HEAD_MAX, PIPELINED_MAX, Answer, Reply, Request, Response, Server
from tests.support.serving import served

SOON_S = 30.0
TAKEN = Response(204)
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a?b=%2F HTTP/1.1\r\nHost: x\r\n"
Parts = tuple[int, dict[str, str], bytes]


class Told:
    """A handler that keeps what it was told, and answers by what `answer` says."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.replies: list[Reply] = []
        self.answer: Callable[[Request], Answer] = lambda _: TAKEN
        self.came = asyncio.Event()

    def handle(self, request: Request, reply: Reply) -> Answer:
        self.requests.append(request)
        self.replies.append(reply)
        self.came.set()
        return self.answer(request)


class Client:
    """A connection of raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, *pieces: bytes) -> Parts:
        await self.send(*pieces)
        return await self.hear()

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)  # a piece of its own for the other side, mostly

    async def hear(self) -> Parts:
        """An answer: status, headers, body."""
        async with asyncio.timeout(SOON_S):
            line, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().removesuffix("\r\n\r\n").split("\r\n")
            headers = dict(one.split(": ", 1) for one in lines)
            body = await self.reader.readexactly(int(headers.get("Content-Length", "0")))
            return int(line.split()[1]), headers, body

    async def ended(self) -> bool:
        """Whether the server has closed the connection, with nothing more to say."""
        async with asyncio.timeout(SOON_S):
            return await self.reader.read() == b""


class Site:
    """A server, what it was told, and clients for it."""

    def __init__(self, server: Server, told: Told, port: int) -> None:
        self.server, self.told, self.port = server, told, port
        self.clients: list[Client] = []

    async def client(self) -> Client:
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.clients[-1]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    told = Told()
    async with served(told.handle) as (server, at):
        site = Site(server, told, at.port)
        yield site
        for client in site.clients:
            client.writer.close()


# ---- What reaches the handler ----------------------------------------------------------------------------------------


async def test_a_request_is_handed_on_whole(site: Site) -> None:
    """Method, target and body come as they were sent, in however many pieces; header names in lower case."""
    client = await site.client()
    whole = POST + b"X-Odd-NAME:  Gr\xc3\xbc\xc3\x9fe \r\nContent-Length: 5\r\n\r\na=b&c"
    for pieces in ([whole], [bytes([byte]) for byte in whole]):
        assert (await client.ask(*pieces))[0] == 204
    expected = Request(
        "POST", "/a?b=%2F", {"host": "x", "x-odd-name": "Grüße", "content-length": "5"}, b"a=b&c", peer="127.0.0.1"
    )  # fmt: skip
    assert site.told.requests == [expected, expected]


@pytest.mark.parametrize("where", [b"http://x", b"HTTPS://sms.example.com:8443", b""])
async def test_a_whole_url_is_asked_for_as_its_path(site: Site, where: bytes) -> None:
    """What a client asks for by a whole URL, as to a proxy, is what it asks for by the path and query alone."""
    client = await site.client()
    assert (await client.ask(b"GET %b/a?b=http://c/d HTTP/1.1\r\nHost: x\r\n\r\n" % where))[0] == 204
    assert site.told.requests[0].target == "/a?b=http://c/d"


async def test_each_proxy_is_heard(site: Site) -> None:
    """Lines of X-Forwarded-For are one list in their order, any other header is its last line, and the peer is told."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: a, b\r\nX: 1\r\nX-forwarded-for: c\r\nX: 2\r\n\r\n"
    await (await site.client()).ask(head)
    [request] = site.told.requests
    assert (request.headers["x-forwarded-for"], request.headers["x"], request.peer) == ("a, b,c", "2", "127.0.0.1")


async def test_a_chunked_body_is_joined_and_its_trailers_are_dropped(site: Site) -> None:
    """What stands behind the body adds nothing to the head."""
    client = await site.client()
    chunks = b"3;x=y\r\na=b\r\n2\r\n&c\r\n0\r\nX-Signature: forged\r\nX-More: y\r\n\r\n"
    assert (await client.ask(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks))[0] == 204
    [request] = site.told.requests
    assert (request.body, request.headers) == (b"a=b&c", {"host": "x", "transfer-encoding": "chunked"})


async def test_another_protocol_is_not_spoken(site: Site) -> None:
    """The wish for h2c, which Java's client sends with every first request, costs neither the body nor the next one."""
    client = await site.client()
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\nContent-Length: 3\r\n\r\n"
    assert (await client.ask(POST + wish, b"a=", b"b" + GET))[0] == 204
    assert (await client.hear())[0] == 204
    assert [(one.method, one.target, one.body) for one in site.told.requests] == [
        ("POST", "/a?b=%2F", b"a=b"),
        ("GET", "/a", b""),
    ]


async def test_requests_that_come_together_are_answered_in_their_order(site: Site) -> None:
    """The next is not opened before the one at hand has its answer, whether that comes at once or later."""
    site.told.answer = lambda request: None if request.target == "/later" else Response(404, (), b"here")
    client = await site.client()
    await client.send(GET.replace(b"/a", b"/later") + GET + GET.replace(b"/a", b"/later"), GET)
    for seen in (1, 3):
        async with asyncio.timeout(SOON_S):
            while len(site.told.requests) < seen:
                site.told.came.clear()
                await site.told.came.wait()
        assert len(site.told.requests) == seen
        site.told.replies[-1](TAKEN)
        assert [(await client.hear())[0] for _ in range(2)] == [204, 404]


async def test_how_much_is_sent_ahead_is_bounded(site: Site) -> None:
    """Of more requests in one piece than the bound some are answered, then the connection ends."""
    client = await site.client()
    await client.send(GET * (PIPELINED_MAX * 10))
    async with asyncio.timeout(SOON_S):
        answers = await client.reader.read()
    assert answers.count(b"HTTP/1.1 204 ") == len(site.told.requests) == PIPELINED_MAX + 1


# ---- Answers ---------------------------------------------------------------------------------------------------------


async def test_an_answer_is_whole(site: Site) -> None:
    """Status, date, length and the handler's headers are told; 204 has no length, and HEAD no body."""
    site.told.answer = lambda _: Response(200, (("Content-Type", "text/plain"),), b"alive")
    client = await site.client()
    status, headers, body = await client.ask(GET)
    assert (status, headers["Content-Type"], headers["Content-Length"], body) == (200, "text/plain", "5", b"alive")
    assert headers["Date"].endswith(" GMT")
    await client.send(GET.replace(b"GET", b"HEAD"))
    async with asyncio.timeout(SOON_S):
        assert b"\r\nContent-Length: 5\r\n" in await client.reader.readuntil(b"\r\n\r\n")
    site.told.answer = lambda _: TAKEN
    status, headers, _ = await client.ask(GET)
    assert (status, list(headers)) == (204, ["Date"])


@pytest.mark.parametrize("asks", [b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET /a HTTP/1.0\r\n\r\n"])
async def test_a_connection_ends_when_the_client_wants_it(site: Site, asks: bytes) -> None:
    """The last answer says so, and what comes after it is not read."""
    client = await site.client()
    status, headers, _ = await client.ask(asks + GET)
    assert (status, headers["Connection"]) == (204, "close")
    assert await client.ended()
    assert len(site.told.requests) == 1


async def test_who_has_closed_his_side_is_answered(site: Site) -> None:
    """A client that says by closing that it sends no more still hears the answer."""
    site.told.answer = lambda _: None
    client = await site.client()
    await client.send(GET)
    client.writer.write_eof()
    await site.told.came.wait()
    await asyncio.sleep(0)
    site.told.replies[0](TAKEN)
    assert (await client.hear())[0] == 204
    assert await client.ended()


async def test_who_has_left_harms_nobody(site: Site) -> None:
    """An answer to a connection that is gone is dropped."""
    site.told.answer = lambda _: None
    client = await site.client()
    await client.send(GET)
    await site.told.came.wait()
    client.writer.transport.abort()
    other = await site.client()
    site.told.answer = lambda _: TAKEN
    assert (await other.ask(GET))[0] == 204
    site.told.replies[0](TAKEN)
    assert (await other.ask(GET))[0] == 204


async def test_a_handler_may_take_its_time(site: Site) -> None:
    """A coroutine's result is the answer."""

    async def later() -> Response:
        await asyncio.sleep(0)
        return Response(404, (), b"x")

    site.told.answer = lambda _: later()
    assert (await (await site.client()).ask(GET))[::2] == (404, b"x")


async def test_a_handler_that_fails_is_answered_and_told(site: Site) -> None:
    """At once or later, a failure is a bare 500, and the loop's handler of exceptions hears of it."""

    async def later() -> Response:
        raise ZeroDivisionError

    def at_once() -> Response:
        raise ZeroDivisionError

    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    client = await site.client()
    for fails in (later, at_once):
        site.told.answer = lambda _, fails=fails: fails()
        assert (await client.ask(GET))[::2] == (500, b"")
    assert [type(context["exception"]) for context in heard] == [ZeroDivisionError] * 2


async def test_who_does_not_read_is_not_read(site: Site) -> None:
    """While answers wait for the client no more requests are opened; they are when it reads, and none is lost."""
    site.told.answer = lambda _: Response(200, (), b"x" * 2_000_000)
    client = await site.client()
    await client.send(GET * 10)
    await site.told.came.wait()
    assert len(site.told.requests) < 10
    for _ in range(10):
        assert len((await client.hear())[2]) == 2_000_000
    assert len(site.told.requests) == 10


# ---- Bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * HEAD_MAX + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_MAX + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X:\r\n" * HEAD_MAX + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"a" * (HEAD_MAX + 100),
        b"GET /" + b"a" * (HEAD_MAX + 100),
    ],
    ids=["target", "header", "headers", "endless name", "endless target"],
)
@pytest.mark.parametrize("size", [1000, 10**6], ids=["pieces", "whole"])
async def test_a_large_head_is_refused(site: Site, head: bytes, size: int) -> None:
    """More than the bound, whether it comes to an end or not, is 431, and the connection ends."""
    client = await site.client()
    pieces = [head[at : at + size] for at in range(0, len(head), size)]
    status, headers, body = await client.ask(*pieces)
    assert (status, headers["Connection"], body) == (431, "close", b"")
    client.writer.write_eof()
    assert await client.ended()
    assert site.told.requests == []


async def test_a_head_of_the_allowed_size_is_read(site: Site) -> None:
    """Just below the bound nothing is refused, again and again on one connection."""
    client = await site.client()
    for _ in range(3):
        assert (await client.ask(b"GET / HTTP/1.1\r\nX: " + b"a" * (HEAD_MAX - 30) + b"\r\n\r\n"))[0] == 204


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: %d\r\n\r\n" % (BODY_MAX + 1) + b"x" * 1000,
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"20000\r\n" + b"x" * 2 * BODY_MAX,
        b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * (HEAD_MAX + module.FRAMED * BODY_MAX),
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * (HEAD_MAX + module.FRAMED * BODY_MAX),
    ],
    ids=["declared", "beyond all numbers", "found out", "one chunk", "endless extension", "endless trailer"],
)
async def test_a_large_body_is_refused_unread(site: Site, rest: bytes) -> None:
    """The handler hears of it without the body, the client its answer though it goes on sending, then it is over."""
    site.told.answer = lambda request: Response(request.unread)
    client = await site.client()
    await client.send(POST + rest)
    if b"\r\n400\r\n" in rest:
        await client.send(*[rest.partition(b"\r\n\r\n")[2]] * (BODY_MAX // 1024))
    status, headers, _ = await client.hear()
    assert headers["Connection"] == "close"
    await client.send(b"x" * 1_000_000)
    client.writer.write_eof()
    assert await client.ended()
    if status != 400:  # a length that is no number to llhttp
        assert status == 413
        assert [(one.target, one.body, one.unread) for one in site.told.requests] == [("/a?b=%2F", b"", 413)]


async def test_a_body_of_the_allowed_size_is_read(site: Site) -> None:
    """Exactly the bound is no more than it, declared or chunked, in pieces of any size."""
    client = await site.client()
    declared = POST + b"Content-Length: %d\r\n\r\n" % BODY_MAX + b"x" * BODY_MAX
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * BODY_MAX + b"0\r\n\r\n"
    for whole in (declared, chunked):
        assert (await client.ask(*[whole[at : at + 50_000] for at in range(0, len(whole), 50_000)]))[0] == 204
    assert [len(request.body) for request in site.told.requests] == [BODY_MAX] * 2


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(site: Site, rubbish: bytes) -> None:
    """A bare 400 after what was asked before it, and the end; what could be read in two ways counts as that."""
    client = await site.client()
    assert (await client.ask(GET + rubbish))[0] == 204
    status, headers, body = await client.hear()
    assert (status, headers["Connection"], body) == (400, "close", b"")
    client.writer.write_eof()
    assert await client.ended()
    assert [request.method for request in site.told.requests] == ["GET"]


async def test_who_waits_to_be_asked_for_the_body_is(site: Site) -> None:
    """`Expect: 100-continue` is answered before the body comes, unless the body would be refused."""
    client = await site.client()
    status, headers, _ = await client.ask(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert (status, headers) == (100, {})
    assert (await client.ask(b"a=b"))[0] == 204
    assert (await client.ask(POST + b"Content-Length: 99999\r\nExpect: 100-continue\r\n\r\n"))[0] == 204
    assert [request.unread for request in site.told.requests] == [0, 413]


@pytest.mark.parametrize(
    ("begun", "known"),
    [(b"GET / HT", False), (POST + b"Content-Length: 3\r\n\r\na", True), (POST + b"X: y\r\n", False)],
)
async def test_what_does_not_come_in_time_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch, begun: bytes, known: bool
) -> None:
    """408, by the handler where the head has come, and the end even if the client stays."""
    monkeypatch.setattr(module, "READ_S", 0.05)
    monkeypatch.setattr(module, "LINGER_S", 0.05)
    site.told.answer = lambda request: Response(request.unread)
    client = await site.client()
    status, headers, _ = await client.ask(begun)
    assert (status, headers["Connection"]) == (408, "close")
    assert await client.ended()
    assert [request.unread for request in site.told.requests] == [408] * known


async def test_a_connection_that_nobody_uses_is_closed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its first request or after one, but not while one is open."""
    site.told.answer = lambda request: None if request.method == "POST" else TAKEN
    never, once, waits = [await site.client() for _ in range(3)]
    assert (await once.ask(GET))[0] == 204
    await waits.send(POST + b"Content-Length: 0\r\n\r\n")
    async with asyncio.timeout(SOON_S):
        while len(site.told.requests) < 2:
            site.told.came.clear()
            await site.told.came.wait()
    monkeypatch.setattr(module, "KEEPALIVE_S", 0.05)
    for client in (never, once):
        async with asyncio.timeout(SOON_S):
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await client.reader.readexactly(1)
    site.told.replies[-1](TAKEN)
    assert (await waits.hear())[0] == 204


# ---- The end ---------------------------------------------------------------------------------------------------------


async def test_the_end_waits_for_open_answers_only(site: Site) -> None:
    """Idle connections are closed at once, an open request is answered, and no new connection is taken."""
    site.told.answer = lambda _: None
    idle, open_ = await site.client(), await site.client()
    await open_.send(GET)
    await site.told.came.wait()
    closing = asyncio.create_task(site.server.close())
    assert await idle.ended()
    with pytest.raises(ConnectionRefusedError):
        await site.client()
    assert not closing.done()
    site.told.replies[0](TAKEN)
    status, headers, _ = await open_.hear()
    assert (status, headers["Connection"]) == (204, "close")
    assert await open_.ended()
    await closing


async def test_the_end_does_not_wait_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that finds no answer is cut off."""
    monkeypatch.setattr(module, "CLOSE_S", 0.05)
    site.told.answer = lambda _: None
    client = await site.client()
    await client.send(GET)
    await site.told.came.wait()
    await site.server.close()
    async with asyncio.timeout(SOON_S):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.reader.readexactly(1)
