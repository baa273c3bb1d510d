"""Every dialect against the provider that speaks it: sent over real HTTP, refused, repeated, looked up, told back."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping

import msgspec
import pytest

from smsd.config.plugin import make, provider_class
from smsd.config.read import Reader
from smsd.message import Message
from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    Callback,
    Found,
    HttpRequest,
    HttpResponse,
    NotFound,
    Provider,
    Receipt,
    ReceiptStatus,
    Refused,
    Throttled,
    Unknown,
    Unusable,
)
from smsd.shell.listening import Address, address, bind, bound_at, reserve
from smsd.shell.server import Reply, Request, Response, Server
from smsd.shell.transport import Answered, NotStarted, Transport
from smsd.testing.carrier import CarrierProcess, start
from smsd.testing.carrier_dialect import DIALECTS, kind_of, plus
from smsd.text import segment

PATIENCE_S = 10
TO = "+447700900123"
GONE = "+15005550004"  # has opted out
LONG = "Grüße 👋 " * 20  # UCS-2, several segments
REFERENCE = "2.acme/m-1"
WRONG = "d3Jvbmdz"  # base64, as some secrets must be
KEYED = ("telnyx", "azure", "infobip")  # know a message again by a key, or by an id that was taken


def made(carrier: CarrierProcess, env: Mapping[str, str]) -> Provider:
    """The provider that speaks the carrier's dialect, with secrets from `env`."""
    reader = Reader("", env)
    kind = provider_class(str(carrier.provider["type"]))
    table = {key: value for key, value in carrier.provider.items() if key != "type"}
    options = reader.struct(kind.Options, table, ("providers", "main"))
    assert options is not None, reader.mistakes
    return make(kind, "main", options)


class Meeting:
    """A provider, a stranger with other secrets, the carrier that speaks its dialect, and the webhook in between."""

    def __init__(self, carrier: CarrierProcess, transport: Transport, url: str) -> None:
        self.carrier, self.transport, self.url = carrier, transport, url
        self.provider, self.stranger = (
            made(carrier, carrier.env),
            made(carrier, carrier.env | {"CARRIER_SECRET": WRONG}),
        )
        self.called: asyncio.Queue[Callback] = asyncio.Queue()

    def handle(self, request: Request, _: Reply) -> Response:
        url = self.url + request.target
        now_us = time.time_ns() // 1000
        self.called.put_nowait(Callback(request.method, url, request.headers, request.body, now_us))
        return Response(200)

    def attempt(self, to: str = TO, body: str = "Hello", reference: str = REFERENCE) -> Attempt:
        counted = segment(body)
        message = Message(
            "acme", "m-1", to, "+447700900999", body, "reminder", "default", counted.encoding, counted.count, "GB"
        )
        url = f"{self.url}/webhooks/main/status?ref={reference.replace('/', '%2F')}"
        key = f"key-{reference.replace('/', '-').replace('.', '-')}"
        return Attempt(message, reference, url, key, leased_us=time.time_ns() // 1000, valid_s=3600)

    async def send(self, attempt: Attempt) -> Answer:
        return self.provider.answer(await self.exchange(self.provider.submit(attempt)))

    async def look_up(self, attempt: Attempt) -> object:
        return self.provider.found(attempt, await self.exchange(self.provider.look_up(attempt)))

    async def exchange(self, request: HttpRequest) -> HttpResponse:
        sent = await self.transport.fetch("main", request, timeout_s=PATIENCE_S)
        assert isinstance(sent, Answered), sent
        return sent.response

    async def receipts(self, until: int) -> list[Receipt]:
        """What comes until so many final ones have."""
        got: list[Receipt] = []
        async with asyncio.timeout(PATIENCE_S):
            while sum(one.status.final for one in got) < until:
                got += self.provider.receipts(await self.called.get())
        return got


@pytest.fixture(scope="module")
def webhooks() -> Iterator[Address]:
    """Where each meeting listens: the account's own URL leads there, where none travels with a message."""
    held = reserve(address("127.0.0.1:0"), "webhooks")
    yield bound_at(held)
    held.close()


@pytest.fixture(scope="module", params=list(DIALECTS))
def carrier(request: pytest.FixtureRequest, webhooks: Address) -> Iterator[CarrierProcess]:
    told = f"http://{webhooks}/webhooks/main/status"
    with start(dialect=request.param, receipt_min_ms=0, receipt_max_ms=5, callback_url=told) as started:
        yield started


@pytest.fixture
async def meeting(carrier: CarrierProcess, webhooks: Address) -> AsyncIterator[Meeting]:
    carrier.reset()
    transport = Transport(lambda provider, to: False)
    await transport.start()
    bound = bind(webhooks, "webhooks", shared=True)
    met = Meeting(carrier, transport, f"http://{webhooks}")
    server = Server(met.handle)
    await server.start(bound)
    yield met
    await server.close()
    await transport.close()


async def test_a_message_is_taken_and_delivered(meeting: Meeting) -> None:
    """Our reference comes back with every receipt, and the last one is final."""
    answer = await meeting.send(meeting.attempt())
    assert isinstance(answer, Accepted), answer
    got = await meeting.receipts(1)
    assert got[-1].status is ReceiptStatus.DELIVERED
    assert {(one.reference or REFERENCE, one.provider_id) for one in got} == {(REFERENCE, answer.provider_id)}
    assert any(one.reference for one in got) or got[-1].provider_id
    (line,) = meeting.carrier.ledger()
    assert (line.to, line.body, line.sender) == (TO, "Hello", "+447700900999")


async def test_every_segment_arrives(meeting: Meeting) -> None:
    """A long text is one message, whether its receipts come for the whole or for each segment, whose ids the answer or
    the receipts alone tell.
    """
    answer = await meeting.send(meeting.attempt(body=LONG))
    assert isinstance(answer, Accepted), answer
    ids = {answer.provider_id, *answer.segment_ids}
    got = await meeting.receipts(1)
    parts = max(len(ids), *(one.parts for one in got), 1)
    got += await meeting.receipts(parts - sum(one.status.final for one in got))
    told = {one.provider_id for one in got}
    assert (len(told), told & ids) == (parts, ids)
    (line,) = meeting.carrier.ledger()
    assert line.body == LONG


@pytest.mark.parametrize("number", ["+15005550040", "+15005550041", "+15005550042", "+15005550043"])
async def test_a_message_is_not_delivered(meeting: Meeting, number: str) -> None:
    """The reason is one of ours, from the vendor's own table."""
    assert isinstance(await meeting.send(meeting.attempt(number)), Accepted)
    last = (await meeting.receipts(1))[-1]
    assert last.status is ReceiptStatus.UNDELIVERED
    assert last.reason not in ("", "unlisted")


@pytest.mark.parametrize(
    ("number", "reasons"),
    [
        ("+15005550001", {"bad_number", "refused", "config"}),
        ("+15005550003", {"config", "refused", "bad_number", "blocked"}),
        ("+15005550009", {"bad_number", "refused", "blocked"}),
    ],
)
async def test_a_refusal_is_read_as_one(meeting: Meeting, number: str, reasons: set[str]) -> None:
    """A vendor's clear no ends the message, for a reason that its table has."""
    answer = await meeting.send(meeting.attempt(number))
    assert isinstance(answer, Refused), answer
    assert answer.reason in reasons


async def test_an_opt_out_is_read_where_the_vendor_tells_of_it(meeting: Meeting) -> None:
    """Who has opted out at the vendor is told of in its answer or in a receipt, or declared not to be told of."""
    told, answer = kind_of(str(meeting.carrier.provider["type"])).opt_outs, await meeting.send(meeting.attempt(GONE))
    if told == "answer":
        assert isinstance(answer, Refused), answer
        assert answer.reason == "opted_out"
        return
    assert isinstance(answer, Accepted), answer
    last = (await meeting.receipts(1))[-1]
    assert last.status is ReceiptStatus.UNDELIVERED
    assert last.reason == ("refused" if told == "untold" else "opted_out")


async def test_what_is_no_answer_to_the_message_is_none(meeting: Meeting) -> None:
    """Throttled is not taken, a failure of theirs is in doubt, a wrong key is our own affair."""
    meeting.carrier.faults(retry_after_s=2)
    throttled = await meeting.send(meeting.attempt("+15005550020"))
    meeting.carrier.faults(retry_after_s=0)
    assert throttled == msgspec.structs.replace(throttled, after_s=2), throttled
    assert isinstance(throttled, Throttled)
    assert isinstance(await meeting.send(meeting.attempt("+15005550021")), Unknown)
    sent = await meeting.transport.fetch("main", meeting.stranger.submit(meeting.attempt()), timeout_s=PATIENCE_S)
    if isinstance(sent, NotStarted):  # who gives access tokens has refused one
        assert sent.refused
    else:
        assert isinstance(sent, Answered)
        assert isinstance(meeting.provider.answer(sent.response), Unusable)


@pytest.mark.parametrize("carrier", ["aws"], indirect=True)
async def test_a_request_that_says_it_is_signed_and_lacks_what_was_signed_is_refused(meeting: Meeting) -> None:
    """A date that only the list of signed headers names: the carrier says no, and serves on."""
    asked = meeting.provider.submit(meeting.attempt())
    bare = tuple((name, value) for name, value in asked.headers if name.lower() != "x-amz-date")
    for request, status in ((msgspec.structs.replace(asked, headers=bare), 400), (asked, 200)):
        sent = await meeting.transport.fetch("main", request, timeout_s=PATIENCE_S)
        assert isinstance(sent, Answered)
        assert sent.response.status == status


async def test_a_repeat_under_the_same_key_is_one_text(meeting: Meeting) -> None:
    """Where the vendor recognises a key, the resend is answered like the first, and nothing goes out twice."""
    if not meeting.provider.capabilities.idempotency_s:
        pytest.skip("the vendor recognises no key")
    first, second = [await meeting.send(meeting.attempt()) for _ in range(2)]
    assert isinstance(first, Accepted)
    assert first == second
    assert meeting.carrier.stats().taken == 1


async def test_a_key_that_comes_again_with_another_body_says_that_the_first_was_taken(meeting: Meeting) -> None:
    """Whatever words the vendor has for that: nothing goes out twice, and no answer reads as a yes or a no."""
    if meeting.carrier.provider["type"] not in KEYED:
        pytest.skip("the vendor recognises no key")
    assert isinstance(await meeting.send(meeting.attempt()), Accepted)
    answer = await meeting.send(meeting.attempt(body="Another text"))
    assert isinstance(answer, Unknown), answer
    stats = meeting.carrier.stats()
    assert (stats.taken, stats.repeated) == (1, 1)


async def test_what_was_taken_is_found(meeting: Meeting) -> None:
    """Where the vendor can be asked, it has what it took, and not what it did not take."""
    if meeting.provider.capabilities.look_up == "none":
        pytest.skip("the vendor cannot be asked")
    answer = await meeting.send(meeting.attempt())
    assert isinstance(answer, Accepted)
    found = await meeting.look_up(meeting.attempt())
    assert isinstance(found, Found)
    assert [one.provider_id for one in found.candidates] == [answer.provider_id]
    assert isinstance(await meeting.look_up(meeting.attempt("+447700900124", reference="1.acme/m-2")), NotFound)


async def test_a_text_comes_in(meeting: Meeting) -> None:
    """What a person texts is read as she wrote it; the numbers are told as the vendor tells them, with a + or none."""
    if not meeting.provider.capabilities.inbound:
        pytest.skip("the vendor brings no texts")
    url = f"{meeting.url}/webhooks/main/inbound"
    brought = await asyncio.to_thread(meeting.carrier.text, TO, "+447700900999", "Stop, bitte! 👋", url)
    assert brought == "200"
    (got,) = meeting.provider.inbound(await meeting.called.get())
    assert [plus(number) for number in (got.sender, got.to)] == [TO, "+447700900999"]
    assert got.body == "Stop, bitte! 👋"
    assert got.provider_id
