"""The built-in carrier over real loopback HTTP: each fault, each receipt, each answer, and what the ledger tells."""

import base64
import contextlib
import hashlib
import http.client
import json
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from smsd.testing import carrier as carrier_module
from smsd.testing.carrier import ACCOUNT_SID, AUTH_TOKEN, CarrierProcess, main, start
from smsd.testing.carrier_faults import MAGIC, MAGIC_SENDERS, PROFILES, TAKEN, Dice, Faults, Outcome
from smsd.testing.carrier_ledger import Line

TO, FROM, BODY = "+353861234567", "+353867654321", "Your table is booked for 19:30."
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
AT_ONCE = {"profile": "plain", "receipt_min_ms": 0, "receipt_max_ms": 0}
PATIENCE_S = 20.0


class Answer(NamedTuple):
    """What the carrier answered."""

    status: int
    headers: dict[str, str]
    json: dict[str, Any]


class Got(NamedTuple):
    """One callback that came to the receiver."""

    path: str
    headers: dict[str, str]
    form: dict[str, str]


class Receiver:
    """A real web server for status callbacks. Answers 204, or first what is in `answers`; not while `open` is clear."""

    def __init__(self) -> None:
        self.got: queue.Queue[Got] = queue.Queue()
        self.answers: queue.Queue[int] = queue.Queue()
        self.open = threading.Event()
        self.open.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = dict(parse_qsl(body, strict_parsing=True))
                receiver.got.put(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, form))
                receiver.open.wait(PATIENCE_S)
                status = receiver.answers.get() if receiver.answers.qsize() else 204
                with contextlib.suppress(OSError):  # the carrier may have given us up
                    self.send_response(status)
                    if status != 204:
                        self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"" if status == 204 else b"ok")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base names it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def url(self, reference: str = "1.acme/r1", **query: str) -> str:
        return f"http://{self.address}/webhooks/main/status?{urlencode({**query, 'ref': reference})}"

    def take(self, n: int) -> list[Got]:
        return [self.got.get(timeout=PATIENCE_S) for _ in range(n)]

    def stop(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def shared() -> Iterator[CarrierProcess]:
    """One process for all tests that can share it."""
    with start(seed=7, callback_timeout_s=1) as process:
        yield process


@pytest.fixture
def carrier(shared: CarrierProcess) -> CarrierProcess:
    """The shared carrier, empty, without faults; receipts come at once."""
    shared.faults(**AT_ONCE)
    shared.reset()
    return shared


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.stop()


def ask(
    carrier: CarrierProcess,
    method: str,
    path: str,
    body: str | None = None,
    *,
    credentials: tuple[str, str] = (ACCOUNT_SID, AUTH_TOKEN),
    timeout_s: float = PATIENCE_S,
) -> Answer:
    basic = base64.b64encode(":".join(credentials).encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    connection = http.client.HTTPConnection(urlsplit(carrier.url).netloc, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, lower, json.loads(response.read()))
    finally:
        connection.close()


def send(carrier: CarrierProcess, **fields: str) -> Answer:
    return ask(carrier, "POST", MESSAGES, urlencode({"To": TO, "From": FROM, "Body": BODY, **fields}))


def listed(carrier: CarrierProcess, **asked: str) -> Answer:
    return ask(carrier, "GET", f"{MESSAGES}?{urlencode(asked)}")


def statuses(line: Line) -> list[str]:
    return [posted.status for posted in line.receipts]


# ---- Sending ---------------------------------------------------------------------------------------------------------


def test_a_message_is_taken_as_twilio_takes_it(carrier: CarrierProcess) -> None:
    """A good request is answered 201 with the message resource: numbers as text, no price yet, queued."""
    answer = send(carrier, Body="ł" * 71)
    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["sid"].startswith("SM")
    assert len(bytes.fromhex(answer.json["sid"][2:])) == 16
    assert answer.json["uri"] == f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{answer.json['sid']}.json"
    datetime.strptime(answer.json["date_created"], "%a, %d %b %Y %H:%M:%S %z")
    expected = {"status": "queued", "num_segments": "2", "to": TO, "from": FROM, "body": "ł" * 71, "price": None}
    assert {name: answer.json[name] for name in expected} == expected
    assert answer.json["date_sent"] is None


def test_a_messaging_service_chooses_the_sender_later(carrier: CarrierProcess) -> None:
    """With a service and no sender the answer says accepted, no sender and "0" segments."""
    answer = send(carrier, From="", MessagingServiceSid="MG" + "a" * 32)
    assert answer.status == 201
    assert (answer.json["status"], answer.json["from"], answer.json["num_segments"]) == ("accepted", None, "0")


@pytest.mark.parametrize("wrong", [(ACCOUNT_SID, "wrong"), ("AC" + "0" * 32, AUTH_TOKEN), (ACCOUNT_SID, "")])
def test_wrong_credentials_are_refused_and_counted(carrier: CarrierProcess, wrong: tuple[str, str]) -> None:
    """Another token or account gets 401 with Twilio's 20003, and nothing is taken."""
    answer = ask(carrier, "POST", MESSAGES, urlencode({"To": TO, "From": FROM, "Body": BODY}), credentials=wrong)
    assert answer.status == 401
    assert answer.json == {
        "code": 20003,
        "message": "Authenticate",
        "more_info": "https://www.twilio.com/docs/errors/20003",
        "status": 401,
    }
    assert (carrier.stats().unauthorised, carrier.stats().requests) == (1, 0)


def test_another_path_is_not_found(carrier: CarrierProcess) -> None:
    """What is no resource of the account is answered 404 with 20404."""
    answer = ask(carrier, "GET", f"/2010-04-01/Accounts/{'AC' + '0' * 32}/Messages.json")
    assert (answer.status, answer.json["code"]) == (404, 20404)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": ""}, 21604),
        ({"To": "0861234567"}, 21211),
        ({"From": ""}, 21603),
        ({"From": "Twelve letters"}, 21212),
        ({"From": "Salon & Co"}, 0),
        ({"From": "51444"}, 0),
        ({"Body": ""}, 21602),
        ({"Body": "x" * 1600}, 0),
        ({"Body": "x" * 1601}, 21617),
        ({"StatusCallback": "sms.example.com/status"}, 21609),
        ({"StatusCallback": "http://sms.example.com/status\r\nX-Forged: 1"}, 21609),
        ({"StatusCallback": "http://sms.example.com:port/"}, 21609),
    ],
)
def test_a_bad_request_is_refused_with_its_code(carrier: CarrierProcess, fields: dict[str, str], code: int) -> None:
    """Each mistake gets 400 and Twilio's code for it, and the ledger tells that nothing was taken."""
    answer = send(carrier, **fields)
    assert (answer.status, answer.json.get("code", 0)) == ((400, code) if code else (201, 0))
    (line,) = carrier.ledger()
    assert (line.outcome in TAKEN, line.code) == (not code, code)


@pytest.mark.parametrize("code", sorted({21211, 21610, 21408, 21614}))
def test_refusals_have_the_codes_that_were_asked_for(carrier: CarrierProcess, code: int) -> None:
    """A refused message is answered 400 with one of refuse_codes and is not taken."""
    carrier.faults(refuse=1, refuse_codes=[code])
    answer = send(carrier)
    assert (answer.status, answer.json["code"]) == (400, code)
    assert [(line.outcome, line.code, line.sid) for line in carrier.ledger()] == [(Outcome.REFUSED, code, None)]


@pytest.mark.parametrize(
    ("to", "code"), [(to, fate["code"]) for to, fate in MAGIC.items() if fate["outcome"] == Outcome.REFUSED]
)
def test_magic_recipients_are_always_refused(carrier: CarrierProcess, to: str, code: int) -> None:
    """Twilio's magic recipients meet their refusal whatever the rates are."""
    assert send(carrier, To=to).json["code"] == code


@pytest.mark.parametrize(("sender", "code"), list(MAGIC_SENDERS.items()))
def test_magic_senders_are_always_refused(carrier: CarrierProcess, sender: str, code: int) -> None:
    """Twilio's magic senders meet their refusal, a full queue with 429."""
    answer = send(carrier, From=sender)
    assert (answer.status, answer.json["code"]) == (429 if code == 21611 else 400, code)


def test_a_throttled_request_is_not_taken(carrier: CarrierProcess) -> None:
    """The answer is 429 with 20429 and, where configured, Retry-After."""
    carrier.faults(throttle=1)
    answer = send(carrier)
    assert (answer.status, answer.json["code"], "retry-after" in answer.headers) == (429, 20429, False)
    carrier.faults(retry_after_s=2)
    assert send(carrier).headers["retry-after"] == "2"
    assert carrier.stats().outcomes == {"throttled": 2}


def test_no_window_of_a_second_takes_more_than_the_cap(carrier: CarrierProcess) -> None:
    """Whatever is tried, no second holds more than max_per_s taken messages, and the rest is 429 and counted."""
    carrier.faults(max_per_s=5)
    since = time.monotonic()
    codes = [send(carrier).status]
    while time.monotonic() - since < 1.5:
        codes.append(send(carrier).status)
    arrivals = [line.mono_us for line in carrier.ledger() if line.outcome is Outcome.ACCEPTED]
    assert 10 >= len(arrivals) > 5
    assert all(later - earlier >= 1_000_000 for earlier, later in zip(arrivals, arrivals[5:], strict=False))
    assert carrier.stats().outcomes["capped"] == codes.count(429) > 0


@pytest.mark.parametrize(("fault", "taken"), [("error_before", False), ("error_after", True)])
def test_a_server_error_says_nothing_about_what_was_taken(
    carrier: CarrierProcess, receiver: Receiver, fault: str, taken: bool
) -> None:
    """Before or after the taking, the answer is the same 5xx; only the ledger and the receipts tell."""
    carrier.faults(**{fault: 1})
    answer = send(carrier, StatusCallback=receiver.url())
    assert (answer.status, answer.json["code"]) in {(500, 20500), (503, 20503)}
    assert carrier.wait_idle()
    (line,) = carrier.ledger()
    assert (line.outcome, line.sid is not None) == (fault, taken)
    assert statuses(line) == (["sent", "delivered"] if taken else [])


@pytest.mark.parametrize(("fault", "taken"), [("hang_before", False), ("hang_after", True)])
def test_a_hanging_request_is_never_answered(
    carrier: CarrierProcess, receiver: Receiver, fault: str, taken: bool
) -> None:
    """The client gives up; the message was taken or not, and only then its receipts come."""
    carrier.faults(**{fault: 1})
    good = urlencode({"To": TO, "From": FROM, "Body": BODY, "StatusCallback": receiver.url()})
    with pytest.raises(TimeoutError):
        ask(carrier, "POST", MESSAGES, good, timeout_s=0.2)
    assert carrier.wait_idle()
    (line,) = carrier.ledger()
    assert (line.outcome, line.sid is not None) == (fault, taken)
    assert statuses(line) == (["sent", "delivered"] if taken else [])


@pytest.mark.parametrize(("fault", "taken"), [("reset_before", False), ("reset_after", True)])
def test_a_connection_is_reset(carrier: CarrierProcess, receiver: Receiver, fault: str, taken: bool) -> None:
    """The client sees a TCP reset; the message was taken or not, and only then its receipts come."""
    carrier.faults(**{fault: 1})
    with pytest.raises(ConnectionResetError) as broken:
        send(carrier, StatusCallback=receiver.url())
    assert type(broken.value) is ConnectionResetError  # RemoteDisconnected is one too, and means an orderly end
    assert carrier.wait_idle()
    (line,) = carrier.ledger()
    assert (line.outcome, line.sid is not None) == (fault, taken)
    assert statuses(line) == (["sent", "delivered"] if taken else [])


def test_an_answer_takes_its_time(carrier: CarrierProcess) -> None:
    """No answer comes sooner than latency_ms, nor is the taking put off."""
    carrier.faults(latency_ms=80, jitter_ms=20)
    since_us = time.monotonic_ns() // 1000
    assert send(carrier).status == 201
    assert time.monotonic_ns() // 1000 - since_us >= 80_000
    assert carrier.ledger()[0].mono_us - since_us < 80_000


# ---- Receipts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail", ["", "#rc=3&rp=all", "&x=a%20b%2Bc", "&empty="], ids=["plain", "fragment", "escapes", "empty"]
)
def test_receipts_are_signed_for_the_exact_url(carrier: CarrierProcess, receiver: Receiver, tail: str) -> None:
    """Each callback's signature is Twilio's, over the URL as it was given, without its fragment."""
    url = receiver.url("1.acme/r 1") + tail
    answer = send(carrier, StatusCallback=url, From="Salon & Co")
    for got in receiver.take(2):
        said = url.partition("#")[0]
        assert got.path == said.removeprefix(f"http://{receiver.address}")
        assert RequestValidator(AUTH_TOKEN).validate(said, got.form, got.headers["x-twilio-signature"])
        assert not RequestValidator("other").validate(said, got.form, got.headers["x-twilio-signature"])
        assert got.headers["host"] == receiver.address
        assert got.headers["i-twilio-idempotency-token"]
        assert (got.form["MessageSid"], got.form["To"], got.form["From"]) == (answer.json["sid"], TO, "Salon & Co")
        assert got.form["AccountSid"] == ACCOUNT_SID


def test_the_receipts_are_sent_and_then_delivered(carrier: CarrierProcess, receiver: Receiver) -> None:
    """A message that goes well has two callbacks, in this order, and the ledger keeps their answers."""
    receiver.answers.put(200)
    send(carrier, StatusCallback=receiver.url())
    first, second = receiver.take(2)
    assert (first.form["MessageStatus"], first.form["SmsStatus"]) == ("sent", "sent")
    assert (second.form["MessageStatus"], second.form["SmsStatus"]) == ("delivered", "delivered")
    assert len(second.form["RawDlrDoneDate"]) == 10
    assert first.headers["i-twilio-idempotency-token"] != second.headers["i-twilio-idempotency-token"]
    assert carrier.wait_idle()
    (line,) = carrier.ledger()
    assert [(posted.status, posted.answer) for posted in line.receipts] == [("sent", "200"), ("delivered", "204")]
    assert (carrier.stats().receipts.answered, carrier.stats().receipts.done, carrier.stats().pending) == (2, 1, 0)


def test_sent_receipts_can_be_left_out(carrier: CarrierProcess, receiver: Receiver) -> None:
    """Without sent_receipts only the last status is told."""
    carrier.faults(sent_receipts=False)
    send(carrier, StatusCallback=receiver.url())
    assert carrier.wait_idle()
    assert statuses(carrier.ledger()[0]) == ["delivered"]


def test_a_message_without_a_callback_url_has_no_receipts(carrier: CarrierProcess) -> None:
    """Nothing is told where nothing was asked for, and the ledger counts that no reference came with it."""
    send(carrier)
    assert carrier.ledger()[0].receipts == ()
    assert (carrier.stats().receipts.planned, carrier.stats().without_reference) == (0, 1)


def test_an_undelivered_message_names_its_error(carrier: CarrierProcess, receiver: Receiver) -> None:
    """The last callback says undelivered with one of undelivered_codes, and so do ledger and listing."""
    carrier.faults(undelivered=1, undelivered_codes=[30005])
    answer = send(carrier, StatusCallback=receiver.url())
    sent, undelivered = receiver.take(2)
    assert "ErrorCode" not in sent.form
    assert (undelivered.form["MessageStatus"], undelivered.form["ErrorCode"]) == ("undelivered", "30005")
    line = carrier.ledger()[0]
    assert (line.ends, line.error_code) == ("undelivered", 30005)
    shown = ask(carrier, "GET", answer.json["uri"]).json
    assert (shown["status"], shown["error_code"]) == ("undelivered", 30005)


def test_a_receipt_is_missing(carrier: CarrierProcess, receiver: Receiver) -> None:
    """The last callback never comes, though the message was delivered, and is counted."""
    carrier.faults(receipt_missing=1)
    answer = send(carrier, StatusCallback=receiver.url())
    assert carrier.wait_idle()
    assert statuses(carrier.ledger()[0]) == ["sent"]
    assert carrier.stats().receipts.missing == 1
    assert ask(carrier, "GET", answer.json["uri"]).json["status"] == "delivered"


def test_a_receipt_is_late(carrier: CarrierProcess, receiver: Receiver) -> None:
    """The last callback comes late_ms after its time, the first does not."""
    carrier.faults(receipt_late=1, late_ms=300)
    send(carrier, StatusCallback=receiver.url())
    assert carrier.wait_idle()
    (line,) = carrier.ledger()
    sent, delivered = line.receipts
    assert delivered.at_us - line.at_us >= 300_000 > sent.at_us - line.at_us


def test_an_early_receipt_comes_before_the_answer(carrier: CarrierProcess, receiver: Receiver) -> None:
    """The 201 is written only when the callback has been answered."""
    carrier.faults(receipt_early=1)
    receiver.open.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, carrier, StatusCallback=receiver.url())
        (got,) = receiver.take(1)
        assert got.form["MessageStatus"] == "delivered"
        assert not answer.done()
        receiver.open.set()
        assert answer.result(PATIENCE_S).status == 201


def test_a_receipt_comes_twice(carrier: CarrierProcess, receiver: Receiver) -> None:
    """A duplicated callback says the same thing again."""
    carrier.faults(receipt_duplicate=1)
    send(carrier, StatusCallback=receiver.url())
    assert [got.form["MessageStatus"] for got in receiver.take(3)] == ["sent", "delivered", "delivered"]


def test_receipts_come_in_the_wrong_order(carrier: CarrierProcess, receiver: Receiver) -> None:
    """In disorder `sent` follows `delivered`."""
    carrier.faults(receipt_disorder=1)
    send(carrier, StatusCallback=receiver.url())
    assert [got.form["MessageStatus"] for got in receiver.take(2)] == ["delivered", "sent"]


def test_a_callback_that_fails_is_tried_again(carrier: CarrierProcess, receiver: Receiver) -> None:
    """After a 5xx the same callback comes again, with the same token, before the next one, which has its own tries."""
    carrier.faults(receipt_backoff_ms=1, receipt_tries=3)
    for status in (503, 500, 204, 503):
        receiver.answers.put(status)
    send(carrier, StatusCallback=receiver.url())
    assert carrier.wait_idle()
    (line,) = carrier.ledger()
    assert [(posted.status, posted.answer) for posted in line.receipts] == [
        ("sent", "503"),
        ("sent", "500"),
        ("sent", "204"),
        ("delivered", "503"),
        ("delivered", "204"),
    ]
    tokens = [got.headers["i-twilio-idempotency-token"] for got in receiver.take(5)]
    assert len(set(tokens[:3])) == len(set(tokens[3:])) == 1
    assert tokens[3] != tokens[0]
    assert (carrier.stats().receipts.failed, carrier.stats().receipts.given_up) == (3, 0)


@pytest.mark.parametrize("status", [302, 403, 404])
def test_a_callback_that_is_refused_is_not_tried_again(
    carrier: CarrierProcess, receiver: Receiver, status: int
) -> None:
    """A redirect is not followed, a 4xx is taken for an answer; both are counted as refused."""
    carrier.faults(sent_receipts=False)
    receiver.answers.put(status)
    send(carrier, StatusCallback=receiver.url())
    assert carrier.wait_idle()
    assert [posted.answer for posted in carrier.ledger()[0].receipts] == [str(status)]
    assert (carrier.stats().receipts.refused, carrier.stats().receipts.answered) == (1, 0)


def test_an_unreachable_target_is_given_up_in_the_end(carrier: CarrierProcess) -> None:
    """Where nobody listens the callback is tried receipt_tries times, then given up and counted."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and not listening: connections are refused
        carrier.faults(sent_receipts=False, receipt_tries=3, receipt_backoff_ms=1)
        send(carrier, StatusCallback=f"http://127.0.0.1:{closed.getsockname()[1]}/?ref=1.acme%2Fr1")
        assert carrier.wait_idle()
    assert [posted.answer for posted in carrier.ledger()[0].receipts] == ["unreachable"] * 3
    receipts = carrier.stats().receipts
    assert (receipts.unreachable, receipts.given_up, receipts.done) == (3, 1, 1)


def test_a_hanging_target_is_given_up(carrier: CarrierProcess, receiver: Receiver) -> None:
    """A target that takes a callback and does not answer is left after the timeout, and counted."""
    carrier.faults(sent_receipts=False, receipt_tries=1)
    receiver.open.clear()
    send(carrier, StatusCallback=receiver.url())
    assert carrier.wait_idle()
    assert [posted.answer for posted in carrier.ledger()[0].receipts] == ["timeout"]
    assert (carrier.stats().receipts.timeout, carrier.stats().receipts.given_up) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
    ids=["length", "chunked", "close", "old", "empty"],
)
def test_every_form_of_answer_to_a_callback_is_read(carrier: CarrierProcess, answer: bytes, kept: bool) -> None:
    """However the target ends its answer, in how many pieces, its status is known and the connection kept or not."""
    carrier.faults(sent_receipts=False)
    with socket.create_server(("127.0.0.1", 0)) as target:
        send(carrier, StatusCallback=f"http://127.0.0.1:{target.getsockname()[1]}/")
        target.settimeout(PATIENCE_S)
        peer, _ = target.accept()
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert peer.recv(65536).startswith(b"POST / HTTP/1.1\r\n")
            for i in range(0, len(answer) - 1, 7):
                peer.sendall(answer[i : min(i + 7, len(answer) - 1)])
            assert not carrier.wait_idle(timeout_s=0.05)
            peer.sendall(answer[-1:])
            if not kept:
                peer.shutdown(socket.SHUT_WR)
            assert carrier.wait_idle()
            assert [posted.answer for posted in carrier.ledger()[0].receipts] == [answer[9:12].decode()]
            send(carrier, StatusCallback=f"http://127.0.0.1:{target.getsockname()[1]}/")
            peer.settimeout(PATIENCE_S)
            assert (peer.recv(65536) != b"") == kept


def test_callbacks_go_over_few_connections(receiver: Receiver) -> None:
    """Many receipts share the bounded number of keep-alive connections, and all of them arrive."""
    with start(connections=2, **AT_ONCE) as carrier:
        for i in range(30):
            send(carrier, StatusCallback=receiver.url(f"1.acme/{i}"))
        assert carrier.wait_idle()
        assert carrier.stats().receipts.answered == 60
        assert len({got.headers["host"] for got in receiver.take(60)}) == 1


def test_callbacks_can_be_led_to_another_address(receiver: Receiver) -> None:
    """With connect_to a public https URL is called at the given address and signed for the URL itself."""
    with start(connect_to=receiver.address, **AT_ONCE) as carrier:
        url = "https://sms.example.com/hooks/status?ref=1.acme%2Fr1"
        send(carrier, StatusCallback=url)
        for got in receiver.take(2):
            assert (got.headers["host"], got.path) == ("sms.example.com", "/hooks/status?ref=1.acme%2Fr1")
            assert RequestValidator(AUTH_TOKEN).validate(url, got.form, got.headers["x-twilio-signature"])


@pytest.mark.parametrize(
    ("to", "outcome", "told"),
    [
        ("+15005550022", Outcome.ERROR_AFTER, ["sent", "delivered"]),
        ("+15005550026", Outcome.RESET_AFTER, ["sent", "delivered"]),
        ("+15005550030", Outcome.ACCEPTED, ["sent"]),
        ("+15005550033", Outcome.ACCEPTED, ["sent", "delivered", "delivered"]),
        ("+15005550034", Outcome.ACCEPTED, ["delivered", "sent"]),
        ("+15005550040", Outcome.ACCEPTED, ["sent", "undelivered"]),
    ],
)
def test_magic_recipients_have_their_receipts(
    carrier: CarrierProcess, receiver: Receiver, to: str, outcome: Outcome, told: list[str]
) -> None:
    """A magic recipient meets its fate although all rates are zero."""
    with contextlib.suppress(ConnectionResetError):
        send(carrier, To=to, StatusCallback=receiver.url())
    assert carrier.wait_idle()
    (line,) = carrier.ledger()
    assert (line.outcome, statuses(line)) == (outcome, told)


# ---- Looking up ------------------------------------------------------------------------------------------------------


def test_the_listing_is_newest_first_and_pages(carrier: CarrierProcess) -> None:
    """Following next_page_uri tells every message to a number once, newest first, and then ends."""
    sids = [send(carrier, Body=f"{i}").json["sid"] for i in range(5)]
    send(carrier, To="+353860000000")
    page = listed(carrier, To=TO, PageSize="2").json
    seen: list[str] = []
    while True:
        seen += [message["sid"] for message in page["messages"]]
        assert len(page["messages"]) <= page["page_size"] == 2
        if page["next_page_uri"] is None:
            break
        page = ask(carrier, "GET", page["next_page_uri"]).json
    assert seen == sids[::-1]


def test_the_listing_is_filtered(carrier: CarrierProcess) -> None:
    """Sender and date narrow the listing; a date that is no date is refused."""
    sid = send(carrier, From="Salon").json["sid"]
    send(carrier)
    now = datetime.now(UTC)

    def sids(**asked: str) -> list[str]:
        return [message["sid"] for message in listed(carrier, **asked).json["messages"]]

    assert sids(From="Salon") == [sid]
    assert len(sids(**{"DateSent>": (now - timedelta(minutes=1)).isoformat()})) == 2
    assert sids(**{"DateSent>": (now + timedelta(minutes=1)).isoformat()}) == []
    assert sids(**{"DateSent<": (now - timedelta(minutes=1)).isoformat()}) == []
    assert sids(DateSent=(now - timedelta(days=2)).date().isoformat()) == []
    assert (listed(carrier, DateSent="soon").status, listed(carrier, PageSize="x").status) == (400, 400)


def test_a_message_is_shown_by_its_sid(carrier: CarrierProcess) -> None:
    """What was taken can be fetched, with its text; another sid is 404."""
    answer = send(carrier)
    shown = ask(carrier, "GET", answer.json["uri"])
    assert (shown.status, shown.json["body"], shown.json["status"]) == (200, BODY, "delivered")
    assert ask(carrier, "GET", answer.json["uri"].replace(answer.json["sid"], "SM" + "0" * 32)).status == 404


def test_a_message_that_is_on_its_way_says_so(carrier: CarrierProcess) -> None:
    """Until half of its time has passed a message is shown as queued."""
    carrier.faults(receipt_min_ms=60_000, receipt_max_ms=60_000)
    assert ask(carrier, "GET", send(carrier).json["uri"]).json["status"] == "queued"


def test_a_blind_carrier_cannot_be_asked(carrier: CarrierProcess) -> None:
    """With `blind` neither the listing nor a message is there."""
    uri = send(carrier).json["uri"]
    carrier.faults(blind=True)
    assert (listed(carrier, To=TO).status, ask(carrier, "GET", uri).status) == (404, 404)


def test_a_message_can_be_looked_up_only_after_the_lag(carrier: CarrierProcess) -> None:
    """While listing_lag_ms lasts the message is taken and not listed."""
    carrier.faults(listing_lag_ms=60_000)
    send(carrier)
    assert (listed(carrier, To=TO).json["messages"], carrier.stats().taken) == ([], 1)
    carrier.faults(listing_lag_ms=0)
    assert len(listed(carrier, To=TO).json["messages"]) == 1


def test_a_look_up_fails(carrier: CarrierProcess) -> None:
    """With listing_error the listing is answered 503, and sending goes on."""
    carrier.faults(listing_error=1)
    answer = listed(carrier, To=TO)
    assert (answer.status, answer.json["code"]) == (503, 20503)
    assert send(carrier).status == 201
    assert carrier.stats().look_ups == 1


class Local(TwilioHttpClient):
    """Twilio's own client, which has no option for another host, led to the carrier."""

    def __init__(self, url: str) -> None:
        super().__init__(pool_connections=True)
        self._url = url

    def request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
        return super().request(method, url.replace("https://api.twilio.com", self._url), *args, **options)

    def close(self) -> None:
        if self.session is not None:
            self.session.close()


def test_the_twilio_sdk_is_at_home(carrier: CarrierProcess, receiver: Receiver) -> None:
    """Twilio's SDK sends, lists over several pages, fetches, and understands a refusal."""
    local = Local(carrier.url)
    client = Client(ACCOUNT_SID, AUTH_TOKEN, http_client=local)
    made = [
        client.messages.create(to=TO, from_=FROM, body=f"No. {i}", status_callback=receiver.url()) for i in range(5)
    ]
    assert {message.status for message in made} == {"queued"}
    since = datetime.now(UTC) - timedelta(minutes=1)
    found = client.messages.list(to=TO, date_sent_after=since, page_size=2)
    assert [message.sid for message in found] == [message.sid for message in reversed(made)]
    assert client.messages(made[0].sid or "").fetch().body == "No. 0"
    with pytest.raises(TwilioRestException) as refused:
        client.messages.create(to="+15005550004", from_=FROM, body=BODY)
    assert (refused.value.status, refused.value.code) == (400, 21610)
    local.close()


# ---- The ledger ------------------------------------------------------------------------------------------------------


def test_the_ledger_holds_what_a_checker_needs(carrier: CarrierProcess, receiver: Receiver) -> None:
    """Reference, numbers, text with its hash, segments and arrival by both clocks are kept for each message."""
    before_us, before_mono_us = time.time_ns() // 1000, time.monotonic_ns() // 1000
    body = "Grüße & 100 % Rabatt = ja + nein?"
    answer = send(carrier, Body=body, StatusCallback=receiver.url("3.acme:north/appt-9.b"))
    (line,) = carrier.ledger()
    assert (line.reference, line.sid, line.to, line.sender) == ("3.acme:north/appt-9.b", answer.json["sid"], TO, FROM)
    assert (line.body, line.body_hash) == (body, hashlib.blake2b(body.encode(), digest_size=8).hexdigest())
    assert (line.segments, line.outcome, line.code) == (1, Outcome.ACCEPTED, 0)
    assert before_us <= line.at_us <= time.time_ns() // 1000
    assert before_mono_us <= line.mono_us <= time.monotonic_ns() // 1000
    assert carrier.stats().first_us == carrier.stats().last_us == line.at_us


@pytest.mark.parametrize("reference", ["", "plain", "0.acme/r1", "x.acme/r1", "1.acme", "01.acme/r1"])
def test_a_reference_of_another_form_is_kept_whole(carrier: CarrierProcess, receiver: Receiver, reference: str) -> None:
    """What is not `attempt.tenant/id` is told as it came."""
    send(carrier, StatusCallback=receiver.url(reference))
    assert carrier.ledger()[0].reference == reference


def test_a_message_that_is_taken_twice_is_found(carrier: CarrierProcess, receiver: Receiver) -> None:
    """Attempts of one message of a tenant count as one message; other tenants' ids and what was refused do not."""
    references = ["1.acme/a", "1.acme/b", "1.other/a", "2.acme/a", "3.acme/a"]
    for reference in references:
        send(carrier, StatusCallback=receiver.url(reference))
    send(carrier, StatusCallback=receiver.url("2.acme/b"), To="+15005550004")
    stats = carrier.stats()
    assert (stats.taken, stats.taken_twice, stats.without_reference) == (5, 1, 0)
    assert stats.taken_twice_references == [["1.acme/a", "2.acme/a", "3.acme/a"]]


def test_the_ledger_is_bounded(receiver: Receiver) -> None:
    """Past `keep` the oldest message is forgotten in ledger, listing and duplicate detection, and counted."""
    with start(keep=3, **AT_ONCE) as carrier:
        for i in range(5):
            send(carrier, To=f"+35386000000{i % 2}", Body=f"{i}", StatusCallback=receiver.url(f"1.acme/{i}"))
        assert carrier.wait_idle()
        assert [line.body for line in carrier.ledger()] == ["2", "3", "4"]
        assert [message["body"] for message in listed(carrier, To="+353860000000").json["messages"]] == ["4", "2"]
        assert (carrier.stats().taken, carrier.stats().forgotten) == (5, 2)
        send(carrier, StatusCallback=receiver.url("2.acme/0"))  # its first attempt is forgotten
        assert carrier.stats().taken_twice == 0
        send(carrier, StatusCallback=receiver.url("2.acme/4"))
        assert carrier.stats().taken_twice == 1


def test_refusals_do_not_push_messages_out_of_the_ledger() -> None:
    """What was not taken has a bound of its own, a tenth of the messages'."""
    with start(keep=20, **AT_ONCE) as carrier:
        send(carrier)
        for _ in range(5):
            send(carrier, To="+15005550004")
        assert [line.n for line in carrier.ledger()] == [1, 5, 6]
        assert carrier.stats().forgotten == 3


def test_the_ledger_comes_in_pages(carrier: CarrierProcess) -> None:
    """`after` and `limit` walk through the ledger in the order of arrival, refused and taken alike."""
    for i in range(5):
        send(carrier, To="+15005550004" if i % 2 else TO)
    first = carrier.ledger()[0].n  # it counts on over a reset, for the sids are made of it
    page = ask(carrier, "GET", f"/_carrier/ledger?after={first}&limit=3").json
    assert ([line["n"] - first for line in page["records"]], page["next"]) == ([1, 2, 3], first + 3)
    page = ask(carrier, "GET", f"/_carrier/ledger?after={first + 3}&limit=3").json
    assert ([line["n"] - first for line in page["records"]], page["next"]) == ([4], None)


def test_the_bench_profile_keeps_no_bodies(receiver: Receiver) -> None:
    """It keeps the hash of a text and not the text, tells only `delivered`, half a second later, and has no faults."""
    with start(profile="bench") as carrier:
        send(carrier, StatusCallback=receiver.url())
        assert carrier.wait_idle()
        (line,) = carrier.ledger()
        assert (line.body, line.body_hash) == ("", hashlib.blake2b(BODY.encode(), digest_size=8).hexdigest())
        assert statuses(line) == ["delivered"]
        assert line.receipts[0].at_us - line.at_us >= 500_000
        assert carrier.faults() == PROFILES["bench"]


def test_a_reset_empties_everything_but_the_faults(carrier: CarrierProcess, receiver: Receiver) -> None:
    """Ledger, counts and callbacks to come are gone; the faults are as they were."""
    carrier.faults(receipt_min_ms=200, receipt_max_ms=200)
    send(carrier, StatusCallback=receiver.url("1.acme/before"))
    assert carrier.stats().pending == 1
    stats = carrier.reset()
    assert (stats.requests, stats.taken, stats.pending, stats.receipts.planned) == (0, 0, 0, 0)
    assert (carrier.ledger(), carrier.wait_idle(), carrier.faults().receipt_min_ms) == ([], True, 200)
    send(carrier, StatusCallback=receiver.url("1.acme/after"))
    assert carrier.wait_idle()
    assert ["after" in got.path for got in receiver.take(receiver.got.qsize())] == [True, True]


def test_waiting_for_the_receipts_has_an_end(carrier: CarrierProcess, receiver: Receiver) -> None:
    """wait_idle says False when callbacks are still to come at the end of its time."""
    carrier.faults(receipt_min_ms=60_000, receipt_max_ms=60_000)
    send(carrier, StatusCallback=receiver.url())
    assert not carrier.wait_idle(timeout_s=0.05)


# ---- Luck and faults -------------------------------------------------------------------------------------------------

MIXED: dict[str, object] = {
    "throttle": 0.2,
    "error_before": 0.1,
    "error_after": 0.1,
    "refuse": 0.2,
    "undelivered": 0.3,
    "receipt_missing": 0.2,
    "receipt_duplicate": 0.3,
    "receipt_disorder": 0.3,
}


def story(carrier: CarrierProcess, receiver: Receiver, n: int = 60) -> list[tuple[object, ...]]:
    """What becomes of n messages."""
    for i in range(n):
        send(carrier, StatusCallback=receiver.url(f"1.acme/{i}"))
    assert carrier.wait_idle()
    return [(line.outcome, line.code, line.ends, line.error_code, statuses(line)) for line in carrier.ledger()]


def test_the_same_seed_brings_the_same_luck(carrier: CarrierProcess, receiver: Receiver) -> None:
    """Another carrier of the seed, and this one after a reset, decide alike; another seed decides otherwise."""
    carrier.faults(**MIXED)
    first = story(carrier, receiver)
    carrier.reset()
    assert story(carrier, receiver) == first
    carrier.reset(seed=8)
    assert story(carrier, receiver) != first
    with start(seed=7, **AT_ONCE, **MIXED) as twin:
        assert story(twin, receiver) == first
    assert len({outcome for outcome, *_ in first}) == 5


def test_each_request_takes_the_same_number_of_draws() -> None:
    """Whatever the rates were for the first requests, the next one meets the luck that its seed has for it."""
    quiet, loud = Dice(3, Faults()), Dice(3, PROFILES["demo"])
    for _ in range(10):
        quiet.cast(TO)
        loud.cast("+15005550004")
        loud.look_up_fails()
    quiet.faults = PROFILES["demo"]
    assert [quiet.cast(TO) for _ in range(50)] == [loud.cast(TO) for _ in range(50)]


def test_rates_are_shares_of_the_requests() -> None:
    """Over many casts each outcome and each receipt's fault comes about as often as its rate says."""
    n, dice = 20_000, Dice(5, Faults(throttle=0.2, reset_after=0.1, receipt_late=0.3, undelivered=0.5, jitter_ms=9))
    fates = [dice.cast(TO) for _ in range(n)]
    for share, hits in (
        (0.2, [fate.outcome is Outcome.THROTTLED for fate in fates]),
        (0.1, [fate.outcome is Outcome.RESET_AFTER for fate in fates]),
        (0.7, [fate.outcome is Outcome.ACCEPTED for fate in fates]),
        (0.3, [fate.timing == "late" for fate in fates]),
        (0.5, [bool(fate.error_code) for fate in fates]),
    ):
        assert abs(sum(hits) / n - share) < 0.02
    assert (min(fate.delay_ms for fate in fates), max(fate.delay_ms for fate in fates)) == (50, 199)
    assert all(0 <= fate.latency_ms <= 9 for fate in fates)
    assert max(fate.latency_ms for fate in fates) > 8


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trottle": 0.1}, "trottle"),
        ({"throttle": 1.5}, "throttle"),
        ({"throttle": 0.6, "refuse": 0.6}, "at most 1"),
        ({"receipt_min_ms": 10, "receipt_max_ms": 5}, "receipt_max_ms"),
        ({"profile": "wild"}, "demo"),
        ({"refuse_codes": []}, "refuse_codes"),
    ],
)
def test_faults_that_make_no_sense_are_refused(carrier: CarrierProcess, changes: dict[str, object], said: str) -> None:
    """The answer names what is wrong, and nothing changes."""
    before = carrier.faults()
    with pytest.raises(ValueError, match=said):
        carrier.faults(**changes)
    assert carrier.faults() == before


def test_an_unknown_control_says_what_there_is(carrier: CarrierProcess) -> None:
    """A control path that does not exist is answered with those that do."""
    answer = ask(carrier, "GET", "/_carrier/leger")
    assert answer.status == 404
    assert "GET /_carrier/ledger" in answer.json["message"]


@pytest.mark.parametrize("name", list(PROFILES))
def test_profiles_are_what_they_say(name: str) -> None:
    """Each profile is valid, and none but demo has faults."""
    dice = Dice(2, PROFILES[name])
    fates = [dice.cast(TO) for _ in range(2000)]
    assert msgspec.convert(msgspec.to_builtins(dice.faults), Faults) == PROFILES[name]
    assert (len({fate.outcome for fate in fates}) > 1) == (name == "demo")
    assert (len({fate.timing for fate in fates}) > 1) == (name == "demo")


# ---- HTTP ------------------------------------------------------------------------------------------------------------


def raw(carrier: CarrierProcess, *pieces: bytes) -> bytes:
    """Sends pieces of bytes over one connection and reads until the carrier closes it."""
    address = urlsplit(carrier.url)
    with socket.create_connection((address.hostname or "", address.port or 0), PATIENCE_S) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            peer.sendall(piece)
        said = b""
        while data := peer.recv(65536):
            said += data
        return said


def post(body: str, *more: str, close: bool = False) -> bytes:
    credentials = base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
    head = [f"POST {MESSAGES} HTTP/1.1", "host: x", f"AUTHORIZATION: basic {credentials}", *more]
    head += [f"content-LENGTH: {len(body)}", *(["Connection: close"] if close else [])]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def form(body: str) -> str:
    return urlencode({"To": TO, "From": FROM, "Body": body}, quote_via=quote)


def test_pipelined_requests_are_answered_in_order(carrier: CarrierProcess) -> None:
    """Requests that come together are taken one after the other, also when answers take their time."""
    carrier.faults(latency_ms=10)
    said = raw(carrier, post(form("one")) + post(form("two")) + post(form("three"), close=True))
    assert said.count(b"HTTP/1.1 201 Created") == 3
    assert said.index(b'"body":"one"') < said.index(b'"body":"two"') < said.index(b'"body":"three"')
    assert [line.body for line in carrier.ledger()] == ["one", "two", "three"]


def test_a_request_may_come_in_pieces(carrier: CarrierProcess) -> None:
    """Wherever the network cuts a request, it is read whole."""
    request = post(form("in pieces"), close=True)
    said = raw(carrier, *(request[i : i + 50] for i in range(0, len(request), 50)))
    assert said.startswith(b"HTTP/1.1 201 Created")
    assert b"Connection: close" in said
    assert carrier.ledger()[0].body == "in pieces"


def test_a_client_that_asks_may_go_on(carrier: CarrierProcess) -> None:
    """Expect: 100-continue is answered before the body comes."""
    request = post(form("go on"), "Expect: 100-continue", close=True)
    address = urlsplit(carrier.url)
    with socket.create_connection((address.hostname or "", address.port or 0), PATIENCE_S) as peer:
        cut = request.index(b"\r\n\r\n") + 4
        peer.sendall(request[:cut])
        assert peer.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(request[cut:])
        assert peer.recv(65536).startswith(b"HTTP/1.1 201")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / SPDY/3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
    ],
)
def test_what_is_no_request_is_refused(carrier: CarrierProcess, request_: bytes, status: int) -> None:
    """The answer says why, and the connection ends."""
    said = raw(carrier, request_)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert b'"message":' in said


def test_a_connection_is_kept(carrier: CarrierProcess) -> None:
    """Requests one after the other go over one connection, and leaving it is noticed."""
    connection = http.client.HTTPConnection(urlsplit(carrier.url).netloc, timeout=PATIENCE_S)
    for _ in range(3):
        connection.request("GET", "/_carrier/stats")
        assert msgspec.json.decode(connection.getresponse().read())["connections"] == 1
    connection.close()


# ---- The process -----------------------------------------------------------------------------------------------------


def test_a_carrier_ends_with_its_parent() -> None:
    """When the parent's end of its standard input is closed the carrier exits by itself, and well."""
    command = [sys.executable, "-m", carrier_module.__name__, "--listen", "127.0.0.1:0", "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["listening"].startswith("http://127.0.0.1:")
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


def test_a_stopped_carrier_exits_well() -> None:
    """SIGTERM ends a carrier with code 0, and stopping it again does no harm."""
    carrier = start()
    assert carrier.stop() == 0
    assert carrier.stop() == 0


def test_a_carrier_that_cannot_start_is_an_error() -> None:
    """start() raises when the flags are wrong."""
    with pytest.raises(RuntimeError, match="exit code 2"):
        start(no_such_flag=1)


@pytest.mark.parametrize(
    "argv", [["--listen", "somewhere"], ["--throttle", "2"], ["--keep", "0"], ["--refuse", "0.6", "--throttle", "0.6"]]
)
def test_wrong_flags_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that makes no sense ends with code 2 and a sentence on standard error that names it."""
    try:
        code = main(argv)
    except SystemExit as ended:  # argparse's way
        code = ended.code
    assert code == 2
    assert argv[0].removeprefix("--") in capsys.readouterr().err


def test_a_taken_port_is_refused(carrier: CarrierProcess, capsys: pytest.CaptureFixture[str]) -> None:
    """An address in use ends with code 2 and says so."""
    assert main(["--listen", urlsplit(carrier.url).netloc]) == 2
    assert "in use" in capsys.readouterr().err
