"""The fake provider against the real built-in carrier: both were written from Twilio's pages, apart from each other."""

import http.client
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from smsd.message import Message
from smsd.provider import (
    Accepted,
    Attempt,
    BadSignature,
    Callback,
    Deferred,
    Found,
    HttpRequest,
    HttpResponse,
    LookUpResult,
    More,
    NotFound,
    ReceiptStatus,
    Unusable,
)
from smsd.testing import carrier
from smsd.testing.conformance import Check, Outcome, checks
from smsd_providers.fake import ACCOUNT_SID, AUTH_TOKEN, BASE_URL, Fake, FakeOptions

WAIT_S = 20


@pytest.mark.parametrize("check", checks(Fake), ids=str)
def test_conforms(check: Check) -> None:
    """The fake keeps the contract, made without a word of configuration."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_its_defaults_are_the_carriers() -> None:
    """Provider and carrier find each other without configuration, though neither imports the other."""
    defaults = carrier.parser().parse_args([])
    assert (defaults.account_sid, defaults.auth_token) == (ACCOUNT_SID, AUTH_TOKEN)
    assert "http://{}:{}".format(*defaults.listen) == BASE_URL


def test_blind_is_without_look_up() -> None:
    """A blind fake behaves as a provider that offers no look-up; what is written in the code is no secret."""
    blind = Fake("fake", FakeOptions(blind=True))
    assert (blind.capabilities.look_up, Fake("fake", FakeOptions()).capabilities.look_up) == ("none", "listing")
    assert blind.secrets() == frozenset()


def test_a_wrong_base_url_is_named() -> None:
    """A base_url that is none is found when the config is read."""
    with pytest.raises(ValueError, match=r"^base_url: "):
        FakeOptions(base_url="127.0.0.1:8778")


# ---- Against the carrier ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running() -> Iterator[carrier.CarrierProcess]:
    """A carrier of this file's own."""
    with carrier.start() as process:
        yield process


@pytest.fixture
def callbacks() -> Iterator[tuple[str, "Queue[Callback]"]]:
    """The URL of a server that takes callbacks, and where they come in."""
    arrived: Queue[Callback] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            arrived.put(Callback("POST", f"http://{self.headers['Host']}{self.path}", headers, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/webhooks/fake/status?ref=", arrived
    server.shutdown()
    thread.join(WAIT_S)
    server.server_close()


def ask(request: HttpRequest) -> HttpResponse:
    """Sends one request over a real connection."""
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=WAIT_S)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(request.method, target, request.body, dict(request.headers))
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return HttpResponse(answer.status, headers, answer.read())
    finally:
        connection.close()


def look_up(provider: Fake, attempt: Attempt) -> LookUpResult:
    """Follows the listing to its end."""
    result = provider.found(attempt, ask(provider.look_up(attempt)))
    while isinstance(result, More):
        result = provider.found(attempt, ask(result.request))
    return result


def fake(running: carrier.CarrierProcess, **options: Any) -> Fake:
    return Fake("fake", FakeOptions(base_url=running.url, **options))


def attempt(to: str, body: str = "Grüße & 👍 = {to} 100 %", callback: str = "") -> Attempt:
    message = Message("acme", "m1", to, "Salon", body, "reminder", "default", "UCS-2", 1, "US")
    return Attempt(message, "1.acme/m1", callback, "", 0, 60)


def test_a_message_goes_there_and_its_receipts_come_back(
    running: carrier.CarrierProcess, callbacks: tuple[str, "Queue[Callback]"]
) -> None:
    """What the carrier takes is Accepted, found in its listing, and told of with our reference, rightly signed."""
    url, arrived = callbacks
    provider, one = fake(running), attempt("+15558675310", callback=url + "1.acme%2Fm1")
    answer = provider.answer(ask(provider.submit(one)))
    assert isinstance(answer, Accepted)
    status = ReceiptStatus.QUEUED
    callback = Callback("POST", "", {}, b"")
    while not status.final:
        callback = arrived.get(timeout=WAIT_S)
        (receipt,) = provider.receipts(callback)
        assert (receipt.provider_id, receipt.reference) == (answer.provider_id, "1.acme/m1")
        status = receipt.status
    assert status is ReceiptStatus.DELIVERED
    with pytest.raises(BadSignature):
        provider.receipts(msgspec.structs.replace(callback, body=callback.body.replace(b"delivered", b"failed")))
    found = look_up(provider, one)
    assert isinstance(found, Found)
    assert [(one.provider_id, one.status) for one in found.candidates] == [(answer.provider_id, status)]


def test_what_was_never_sent_is_not_found(running: carrier.CarrierProcess) -> None:
    """The listing of a number that got another text, or none, is a complete no."""
    provider = fake(running)
    assert isinstance(provider.answer(ask(provider.submit(attempt("+15558675311")))), Accepted)
    assert look_up(provider, attempt("+15558675311", "Another text")) == NotFound()
    assert look_up(provider, attempt("+15558675312")) == NotFound()


def test_a_wrong_token_is_nobodys_message(running: carrier.CarrierProcess) -> None:
    """The carrier's 401 is Unusable in this process, and its 404 of another account everywhere."""
    wrong = fake(running, auth_token="wrong")
    answer = wrong.answer(ask(wrong.submit(attempt("+15558675310"))))
    assert isinstance(answer, Unusable)
    assert (answer.scope, answer.code) == ("process", "20003")


def test_a_full_queue_defers(running: carrier.CarrierProcess) -> None:
    """The carrier's error for a full queue of one sender slows nobody else down."""
    provider = fake(running)
    full = attempt("+15558675310")
    full = msgspec.structs.replace(full, message=msgspec.structs.replace(full.message, sender="+15005550008"))
    answer = provider.answer(ask(provider.submit(full)))
    assert isinstance(answer, Deferred), answer
    assert answer.code == "21611"
