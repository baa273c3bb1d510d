"""shell/transport_wire.py against a peer that says what it is told to: what is taken for an answer, and what is not."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import uvloop

from smsd.provider import HttpResponse
from smsd.shell.transport_wire import BODY_MAX, BYTES_MAX, Broken, Wire

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
REQUEST = b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """Says `parts` to each request, one write a turn, and then stays, closes or resets."""

    def __init__(self) -> None:
        self.parts: Sequence[bytes] = [OK]
        self.then = "stay"
        self.port = 0
        self.said = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                for part in self.parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                self.said.set()
                if self.then == "close":
                    writer.close()
                elif self.then == "reset":
                    writer.transport.abort()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        except asyncio.LimitOverrunError:
            pass  # a request that is not read


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    yield peer
    server.close()
    for writer in peer.writers:
        writer.transport.abort()
    await server.wait_closed()


async def opened(port: int) -> Wire:
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(lambda: Wire(loop), "127.0.0.1", port)
    return wire


async def asked(wire: Wire) -> HttpResponse | str:
    """The answer, or why there is none."""
    async with asyncio.timeout(30):
        try:
            return await wire.exchange(REQUEST)
        except Broken as broken:
            return str(broken)


WHOLE = [
    pytest.param(OK, "stay", 200, b"ok", id="a length"),
    pytest.param(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "stay", 200, b"", id="no reason"),
    pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "stay", 200, b"ok", id="bare line feeds"),
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", "stay", 204, b"", id="a status without a body"),
    pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "stay", 304, b"", id="not modified"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1 \r\nc\r\n0\r\nA: b\r\n\r\n",
                 "stay", 200, b"abc", id="chunks and a trailer"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, "stay", 200, b"ok",
                 id="interim answers"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\nto the end", "close", 200, b"to the end", id="to the end"),
    pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", "close", 200, b"", id="to the end, nothing"),
    pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "close", 200, b"ok",
                 id="a length and the end"),
    pytest.param(b"HTTP/1.1 200 OK\r\nUpgrade: h2\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nok", "stay", 200,
                 b"ok", id="an offer to upgrade"),
]  # fmt: skip


@pytest.mark.parametrize("piecemeal", [False, True])
@pytest.mark.parametrize(("said", "then", "status", "body"), WHOLE)
async def test_an_answer_is_read_whole(
    peer: Peer, said: bytes, then: str, status: int, body: bytes, piecemeal: bool
) -> None:
    """Whatever its framing, and however it is cut on its way (RFC 9112 §6)."""
    peer.parts, peer.then = [said[i : i + 1] for i in range(len(said))] if piecemeal else [said], then
    answer = await asked(await opened(peer.port))
    assert isinstance(answer, HttpResponse), answer
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_an_answer_that_is_cut_off_is_none(peer: Peer, said: bytes, then: str) -> None:
    """Only a body without a length may end with its connection."""
    peer.parts, peer.then = [said], then
    wire = await opened(peer.port)
    why = await asked(wire)
    assert isinstance(why, str)
    assert why.startswith("the connection was closed")
    assert wire.should_close


@pytest.mark.parametrize("said", [b"220 smtp ready\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"])
async def test_what_is_no_http_is_no_answer(peer: Peer, said: bytes) -> None:
    """It is told as what it is, at once."""
    peer.parts = [said]
    why = await asked(await opened(peer.port))
    assert isinstance(why, str)
    assert why.startswith("the answer is no HTTP")


async def test_our_own_close_is_not_the_end_of_an_answer(peer: Peer) -> None:
    """What was there of a body without a length when the process closed the connection is not all of it."""
    peer.parts = [b"HTTP/1.1 200 OK\r\n\r\npart"]
    wire = await opened(peer.port)
    answer = asyncio.create_task(asked(wire))
    await peer.said.wait()
    wire.close()
    assert await answer == "the connection was closed"


async def test_the_time_for_an_answer_can_be_over(peer: Peer) -> None:
    """Whoever counts it says so, and the connection ends."""
    peer.parts = [b"HTTP/1.1 200 OK\r\n\r\npart"]
    wire = await opened(peer.port)
    answer = asyncio.create_task(asked(wire))
    await peer.said.wait()
    wire.expire(1.5)
    assert await answer == "no whole answer within 1.5 s"
    assert not wire.is_connected()


CHUNK = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"


@pytest.mark.parametrize(
    ("start", "again"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK, id="a body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 65536 + b"\r\nx\r\n",
                     id="framing"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, id="interim answers"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 65536 + b"\r\n", id="a head"),
    ],
)  # fmt: skip
async def test_an_endless_answer_is_given_up(peer: Peer, start: bytes, again: bytes) -> None:
    """Whatever it is that does not end, it does not fill the memory."""
    peer.parts = [start, *[again] * (BYTES_MAX // len(again) + 2)]
    assert await asked(await opened(peer.port)) == f"the answer has more than {BODY_MAX // 1024} KB"


async def test_headers_are_read_as_text(peer: Peer) -> None:
    """Their names are in lower case, the last of a name counts, and a trailer is none."""
    peer.parts = [
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:  2\t \r\nX-Empty:\r\nX-Odd: \xc3\xa9\xff\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: 3\r\n\r\n"
    ]
    answer = await asked(await opened(peer.port))
    assert isinstance(answer, HttpResponse)
    assert answer.headers == {"x-a": "2", "x-empty": "", "x-odd": "é\udcff", "transfer-encoding": "chunked"}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (OK, True),
        (OK + b"\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", False),
        (OK + b"more", False),
        (OK + OK, False),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz", False),
    ],
)
async def test_a_connection_is_kept_only_when_it_is_clean(peer: Peer, said: bytes, kept: bool) -> None:
    """Nothing that came with one answer can be taken for the next."""
    peer.parts = [said]
    wire = await opened(peer.port)
    assert isinstance(await asked(wire), HttpResponse)
    assert wire.should_close is not kept
    assert (await wire.unfit() is None) is kept
    if kept:
        peer.parts = [b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"]
        again = await asked(wire)
        assert isinstance(again, HttpResponse)
        assert (again.status, again.headers, again.body) == (201, {"content-length": "0"}, b"")


LOOPS = pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends an RST, and what was not taken is gone


@LOOPS
@pytest.mark.parametrize("reset", [False, True])
def test_the_end_of_an_idle_connection_is_seen(loop_factory: LoopFactory, reset: bool) -> None:
    """Also when it came in this very turn of the loop, which has not told of it yet."""

    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            wire = await opened(listener.getsockname()[1])
            end, _ = listener.accept()
            assert await wire.unfit() is None
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.close()
            assert await wire.unfit() == "the connection was closed by the other side"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(story())


@LOOPS
def test_a_reset_is_not_the_end_of_an_answer(loop_factory: LoopFactory) -> None:
    """What came before it may be all of a body without a length, or not."""

    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            wire = await opened(listener.getsockname()[1])
            end, _ = listener.accept()
            answer = wire.exchange(REQUEST)
            end.sendall(b"HTTP/1.1 200 OK\r\n\r\npart")
            for _ in range(3):
                await asyncio.sleep(0)  # it is read
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.close()
            with pytest.raises(Broken, match="the connection was closed: "):
                await answer

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(story())


async def test_an_abandoned_exchange_spoils_its_connection(peer: Peer) -> None:
    """The answer to a request that nobody waits for any more is not the answer to the next."""
    peer.parts = []
    wire = await opened(peer.port)
    answer = asyncio.create_task(asked(wire))
    await peer.said.wait()
    answer.cancel()
    await asyncio.wait([answer])
    assert wire.should_close


async def test_a_request_that_nobody_took_is_in_the_way(peer: Peer) -> None:
    """After an answer that did not wait for the whole request, another one would queue behind the rest of it."""
    wire = await opened(peer.port)
    answer = wire.exchange(REQUEST + bytes(64 * 1024 * 1024))
    assert (await answer).status == 200
    assert await wire.unfit() == "the connection has bytes that nobody took"
    assert wire.should_close
