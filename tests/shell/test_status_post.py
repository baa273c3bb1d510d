"""One POST to a receiver: what it says, what of the answer counts, and where a stranger's URL cannot lead it."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from smsd.shell import status_post as module
from smsd.shell.status_post import Barred, Names, Poster, Reply
from tests.support.receiver import SECRET, Receiver, receiver

SIGNERS = [Webhook(SECRET)]
CERTIFICATE = Path(__file__).with_name("localhost.pem")


@pytest.fixture
async def poster() -> AsyncIterator[Poster]:
    """For what an operator configured."""
    one = Poster()
    await one.start()
    yield one
    await one.close()


@pytest.fixture
async def guarded() -> AsyncIterator[Poster]:
    """For what a stranger chose."""
    one = Poster(guarded=True)
    await one.start()
    yield one
    await one.close()


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    async with receiver() as one:
        yield one


async def post(poster: Poster, url: str, signers: list[Webhook] = SIGNERS) -> Reply:
    return await poster.post(url, b'{"type": "x"}', event_id="acme/r-1/2", signers=signers, at=datetime.now(UTC))


async def test_it_carries_the_headers_of_the_standard(poster: Poster, there: Receiver) -> None:
    """Id, time and a signature that the library verifies; and who sent it."""
    assert await post(poster, there.url) == Reply(204, "HTTP 204")
    headers = there.taken[0].headers
    assert headers["webhook-id"] == "acme/r-1/2"
    assert headers["webhook-signature"].startswith("v1,")
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("smsd/")


async def test_each_secret_signs(poster: Poster, there: Receiver) -> None:
    """So that a receiver may change from one to the next without missing anything."""
    await post(poster, there.url, [Webhook("whsec_" + "QUJD" * 8), *SIGNERS])
    assert len(there.taken[0].headers["webhook-signature"].split(" ")) == 2


async def test_a_redirect_is_an_answer(poster: Poster, there: Receiver) -> None:
    """It is not followed."""
    there.answer = lambda _: (307, {"Location": there.url})
    assert (await post(poster, there.url)).status == 307
    assert len(there.got) == 1


async def test_a_wait_that_is_asked_for_is_told(poster: Poster, there: Receiver) -> None:
    """In seconds or as a date; what is neither is none."""
    waits = iter(["7", "Fri, 28 Nov 2025 00:00:00 GMT", "soon"])
    there.answer = lambda _: (503, {"Retry-After": next(waits)})
    assert (await post(poster, there.url)).after_s == 7
    past = (await post(poster, there.url)).after_s
    assert past is not None
    assert past < 0
    assert (await post(poster, there.url)).after_s is None


async def test_one_that_hangs_is_given_its_time(
    poster: Poster, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no more."""
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    impatient = Poster()
    await impatient.start()
    there.hang = True
    assert await post(impatient, there.url) == Reply(0, "no answer within 0.1 s")
    await impatient.close()


async def test_one_that_is_not_there_is_no_answer(poster: Poster) -> None:
    """The reason is told."""
    reply = await post(poster, "http://127.0.0.1:9/events")
    assert reply.status == 0
    assert "127.0.0.1" in reply.detail


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nX: " + b"hers" * 9000 + b"\r\n\r\n", b"hers\r\n\r\n"])
async def test_an_answer_that_is_no_http_is_told_without_it(poster: Poster, answer: bytes) -> None:
    """Nor with the URL's path, for the log keeps it: a token may be in it."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'"x"}')
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        reply = await post(poster, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/T0KEN")
    assert reply == Reply(0, "its answer is no HTTP that can be read")


async def test_a_long_answer_is_not_read(poster: Poster) -> None:
    """Its status counts, however much follows."""
    done = asyncio.Event()

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=200)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except (ConnectionError, aiohttp.ClientConnectionError):
            done.set()
            raise

    async with serving(flood) as url:
        assert (await post(poster, url)).ok
        async with asyncio.timeout(10):
            await done.wait()


class serving:  # noqa: N801 - used as a context
    """One handler over HTTP; with `tls` a certificate for localhost."""

    def __init__(self, handle: Callable[[web.Request], Any], tls: ssl.SSLContext | None = None) -> None:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", handle)
        self.runner, self.tls = web.AppRunner(app, access_log=None, shutdown_timeout=0.1), tls

    async def __aenter__(self) -> str:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.runner.addresses[0][1]}/"

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()


# ---- What a stranger chose -------------------------------------------------------------------------------------------


class Said(AbstractResolver):
    """A resolver's answers, each for one question: DNS that changes its mind, as an attacker's does."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self.answers.pop(0)
        return [
            ResolveResult(hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0) for one in found
        ]

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1:1/",
        "https://0x7f000001:1/",
        "https://0177.0.0.1:1/",
        "https://[::1]:1/",
        "https://169.254.169.254/latest/",
    ],
)
async def test_a_url_that_tells_it_is_not_called(guarded: Poster, url: str) -> None:
    """Nothing is even looked up."""
    assert "the URL is not called" in (await post(guarded, url)).detail


async def test_a_name_of_this_host_is_not_called(guarded: Poster) -> None:
    """What it resolves to decides."""
    reply = await post(guarded, "https://localhost:1/")
    assert reply.status == 0
    assert "address" in reply.detail


async def test_one_bad_address_bars_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it resolves to are looked at, not the first."""

    def mixed(*_: object, **__: object) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::ffff:10.0.0.1", 443, 0, 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", mixed)
    names = Names(guarded=True)
    with pytest.raises(Barred, match="private"):
        await names.resolve("rebound.example", 443)
    await names.close()
    free = Names(guarded=False)
    assert [one["host"] for one in await free.resolve("rebound.example", 443)] == ["93.184.216.34", "::ffff:10.0.0.1"]
    await free.close()


async def test_a_name_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask for it, it is looked up once at a time; nor does it hold up the end of the process."""
    go_on, asked = threading.Event(), list[str]()

    def slow(host: str, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        if host == "hangs.example":
            go_on.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    names = Names(guarded=True)
    waiting = [asyncio.create_task(names.resolve("hangs.example", 443)) for _ in range(2 * module.RESOLVERS)]
    assert await names.resolve("well.example", 443)
    threads = [one for one in threading.enumerate() if one.name.startswith("status-names")]
    assert threads
    assert all(one.daemon for one in threads)
    waiting.pop().cancel()
    go_on.set()
    assert len(await asyncio.gather(*waiting)) == 2 * module.RESOLVERS - 1
    assert asked.count("hangs.example") == 1
    await names.close()


async def test_a_resolver_that_fails_is_no_way_in(guarded: Poster) -> None:
    """A name that cannot be resolved is no answer."""
    assert (await post(guarded, "https://nowhere.invalid/")).status == 0


async def test_a_connection_goes_to_the_address_that_was_looked_at() -> None:
    """One question for each connection, and the name stays in Host and in the certificate's check."""
    hosts: list[str] = []

    async def note(request: web.Request) -> web.Response:
        hosts.append(request.host)
        return web.Response()

    async with serving(note) as url:
        port = url.rstrip("/").rpartition(":")[2]
        resolver = Said(["127.0.0.1"])  # a second question would find no answer
        one = Poster(names=resolver)
        await one.start()
        assert (await post(one, f"http://hooks.example:{port}/")).ok
        assert (await post(one, f"http://hooks.example:{port}/")).ok
        await one.close()
    assert hosts == [f"hooks.example:{port}"] * 2
    assert resolver.answers == []


async def test_a_certificate_has_to_be_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address; what is asked for by SNI, Host and the certificate's check is the name."""
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def note(_request: web.Request) -> web.Response:
        return web.Response()

    async with serving(note, context) as url:
        port = url.rstrip("/").rpartition(":")[2]
        one = Poster(names=Said(["127.0.0.1"], ["127.0.0.1"]))
        await one.start()
        assert (await post(one, f"https://localhost:{port}/")).ok
        assert "certificate" in (await post(one, f"https://hooks.example:{port}/")).detail
        await one.close()
    assert asked == ["localhost", "hooks.example"]
