"""Access tokens over real HTTP: asked for once, renewed in time, and never shown to anybody but the vendor."""

import asyncio
import base64
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from smsd.provider import HttpRequest
from smsd.shell.server import Response
from smsd.shell.tokens import AGAIN_S, EARLY_S, LIFE_S
from smsd.shell.transport import Answered, NotStarted, Transport
from tests.support import granting
from tests.support.granting import SECRET, Vendor, response

SOON_S = 30.0
TO = "+353861234567"


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with granting.vendor() as vendor:
        yield vendor


@pytest.fixture
async def transport(vendor: Vendor) -> AsyncIterator[Transport]:
    transport = Transport(lambda _provider, to: to == "barred", lambda: vendor.now)
    await transport.start()
    yield transport
    await transport.close()


async def send(transport: Transport, vendor: Vendor, within_s: float = SOON_S, to: str = TO) -> Any:
    start_by = time.monotonic() + within_s
    return await transport.submit("main", to, vendor.message(), timeout_s=SOON_S, start_by=start_by)


def statuses(sent: list[Any]) -> Counter[object]:
    return Counter(one.response.status if isinstance(one, Answered) else one.detail for one in sent)


async def test_one_token_serves_all(transport: Transport, vendor: Vendor) -> None:
    """It is asked for once, however many want it at once, and shown as the vendor wants it; so in look-ups."""
    sent = await asyncio.gather(*(send(transport, vendor) for _ in range(20)))
    sent.append(await transport.fetch("main", vendor.message(), timeout_s=SOON_S))
    assert statuses(sent) == {201: 21}
    [asked] = vendor.asked
    assert base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode() == f"us:{SECRET}"
    assert asked.body == b"grant_type=x"
    assert set(vendor.shown) == {"t1"}


async def test_a_token_is_renewed_before_its_end(transport: Transport, vendor: Vendor) -> None:
    """Near its end the next one is fetched, once, while the old one serves; the new one then does."""
    vendor.holds = lambda _: True
    await send(transport, vendor)
    vendor.now += 3600 - EARLY_S - 1
    await send(transport, vendor)
    assert len(vendor.asked) == 1
    vendor.now += 2
    fetched, may = asyncio.Event(), asyncio.Event()

    async def slowly() -> Response:
        fetched.set()
        await may.wait()
        return vendor.give()

    vendor.grant = slowly
    sent = await asyncio.gather(*(send(transport, vendor) for _ in range(5)))
    assert statuses(sent) == {201: 5}
    assert vendor.shown == ["t1"] * 7
    may.set()
    async with asyncio.timeout(SOON_S):
        await fetched.wait()
        while vendor.shown[-1] != "t2":
            await send(transport, vendor)
    assert (len(vendor.asked), vendor.most) == (2, 1)


async def test_a_renewal_that_fails_is_tried_again_while_the_old_one_lasts(
    transport: Transport, vendor: Vendor
) -> None:
    """Not with each message, and nobody is the worse for it before the old one's end."""
    vendor.holds = lambda _: True
    await send(transport, vendor)
    vendor.now += 3600 - EARLY_S
    vendor.grant = lambda: response(503)
    assert statuses([await send(transport, vendor) for _ in range(10)]) == {201: 10}
    assert len(vendor.asked) == 2
    vendor.now += AGAIN_S
    await send(transport, vendor)
    await send(transport, vendor)
    assert len(vendor.asked) == 3
    vendor.now += EARLY_S
    late = await send(transport, vendor)
    assert isinstance(late, NotStarted)


@pytest.mark.parametrize(
    ("life", "lasts_s"), [({}, LIFE_S), ({"expires_in": "60"}, 60), ({"expires_in": 1e300}, 86400)]
)
async def test_a_token_lasts_as_long_as_it_says(
    transport: Transport, vendor: Vendor, life: dict[str, object], lasts_s: float
) -> None:
    """As a number or a text; one that says nothing is not believed for long, and none for longer than a day."""
    vendor.life, vendor.holds = life, lambda _: True
    await send(transport, vendor)
    vendor.now += lasts_s - min(EARLY_S, lasts_s / 5) - 1
    await send(transport, vendor)
    assert len(vendor.asked) == 1
    vendor.now += lasts_s
    await send(transport, vendor)
    assert vendor.shown == ["t1", "t1", "t2"]


async def test_a_token_that_ends_too_early_is_replaced_once(transport: Transport, vendor: Vendor) -> None:
    """A 401 has taken no message: all that see it leave again with one new token, and are taken."""
    await send(transport, vendor)
    vendor.now += AGAIN_S
    vendor.given += 1  # the vendor has taken the first one back
    sent = await asyncio.gather(*(send(transport, vendor) for _ in range(20)))
    assert statuses(sent) == {201: 20}
    assert (len(vendor.asked), vendor.most) == (2, 1)
    assert Counter(vendor.shown) == {"t1": 21, "t3": 20}


async def test_a_new_token_that_is_refused_is_the_vendors_answer(transport: Transport, vendor: Vendor) -> None:
    """Then it is not its age: the 401 is handed on, and no other token is asked for a while."""
    vendor.holds = lambda _: False
    assert statuses([await send(transport, vendor) for _ in range(3)]) == {401: 3}
    assert len(vendor.asked) == 1
    vendor.now += AGAIN_S
    assert statuses([await send(transport, vendor)]) == {401: 1}
    assert (len(vendor.asked), vendor.shown[-2:]) == (2, ["t1", "t2"])


async def test_who_is_not_known_sends_nothing(transport: Transport, vendor: Vendor) -> None:
    """The sentence says who refused us and what to look at, and nothing of what was sent or said; all share it."""
    told = f"the secret {SECRET} is wrong"
    vendor.grant = lambda: response(401, error="invalid_client", error_description=told)
    sent = await asyncio.gather(*(send(transport, vendor) for _ in range(5)))
    host = vendor.url.removeprefix("http://")
    why = f"main: no access token: {host} answered 401 (invalid_client): are the id and the secret right?"
    assert sent == [NotStarted(why, unreachable=True, refused=True)] * 5
    assert (len(vendor.asked), vendor.shown) == (1, [])


@pytest.mark.parametrize(
    ("granted", "says"),
    [
        (response(503, error="later " + SECRET), "answered 503"),
        (response(302), "answered 302"),
        (Response(200, (), b"<html>"), "answered 200 without one"),
        (Response(200, (), b"[" * 5000), "answered 200 without one"),
        (response(200, token_type="bearer"), "answered 200 without one"),
        (response(200, access_token="", token_type="bearer"), "answered 200 with one that is no bearer token"),
        (response(200, access_token="t1\r\nX: y"), "answered 200 with one that is no bearer token"),
        (response(200, access_token="t1", token_type="mac"), "answered 200 with one that is no bearer token"),
        (response(200, access_token="t1", expires_in="soon"), "answered 200 without one"),
    ],
)
async def test_what_is_no_token_is_none(transport: Transport, vendor: Vendor, granted: Response, says: str) -> None:
    """Nothing leaves; the provider counts as out of reach, for this may pass, and is asked again the next time."""
    vendor.grant = lambda: granted
    sent = await send(transport, vendor)
    assert sent == NotStarted(sent.detail, unreachable=True)
    assert sent.detail.endswith(says)
    assert vendor.shown == []
    vendor.grant = vendor.give
    assert statuses([await send(transport, vendor)]) == {201: 1}


async def test_who_gives_tokens_may_be_out_of_reach(transport: Transport, vendor: Vendor) -> None:
    """As if the vendor itself were."""
    message = vendor.message()
    by = HttpRequest("POST", "http://127.0.0.1:9/token", (), b"x")
    sent = await transport.fetch("main", msgspec.structs.replace(message, token=by), timeout_s=SOON_S)
    assert isinstance(sent, NotStarted)
    assert (sent.unreachable, sent.refused) == (True, False)
    assert sent.detail.startswith("main: no access token: 127.0.0.1:9: ")


async def test_a_message_waits_for_its_token_no_longer_than_it_may(transport: Transport, vendor: Vendor) -> None:
    """It goes back when its time is over, and the token still comes, for those that follow."""
    may = asyncio.Event()

    async def slowly() -> Response:
        await may.wait()
        return vendor.give()

    vendor.grant = slowly
    late = await send(transport, vendor, within_s=0.05)
    assert isinstance(late, NotStarted)
    assert (late.unreachable, vendor.shown) == (False, [])
    assert "no access token within" in late.detail
    may.set()
    assert statuses([await send(transport, vendor)]) == {201: 1}
    assert len(vendor.asked) == 1


async def test_a_drain_ends_the_wait(transport: Transport, vendor: Vendor) -> None:
    """What waits for a token when the process drains goes back at once."""
    asked = asyncio.Event()

    async def never() -> Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    vendor.grant = never
    waits = asyncio.create_task(send(transport, vendor))
    async with asyncio.timeout(SOON_S):
        await asked.wait()
        transport.hold()
        assert await waits == NotStarted("the process drains", unreachable=False)
    assert isinstance(await send(transport, vendor), NotStarted)


async def test_for_a_barred_message_no_token_is_asked(transport: Transport, vendor: Vendor) -> None:
    """Nothing of what the sandbox keeps back leaves this machine."""
    sent = await send(transport, vendor, to="barred")
    assert isinstance(sent, NotStarted)
    assert sent.barred
    assert vendor.asked == []


async def test_a_repeat_after_a_refusal_keeps_to_its_time(transport: Transport, vendor: Vendor) -> None:
    """Where the time to start is over when the new token comes, the message goes back: nothing of it was taken."""
    await send(transport, vendor)
    vendor.now += AGAIN_S
    vendor.given += 1
    may = asyncio.Event()

    async def slowly() -> Response:
        await may.wait()
        return vendor.give()

    vendor.grant = slowly
    sent = await send(transport, vendor, within_s=0.2)
    assert isinstance(sent, NotStarted)
    assert vendor.shown == ["t1", "t1"]
    may.set()


async def test_the_end_ends_what_is_under_way(vendor: Vendor) -> None:
    """Nothing is left behind when the transport closes while a token is on its way."""
    asked = asyncio.Event()

    async def never() -> Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    vendor.grant = never
    transport = Transport(lambda _provider, _to: False)
    await transport.start()
    waits = asyncio.create_task(send(transport, vendor))
    async with asyncio.timeout(SOON_S):
        await asked.wait()
        await transport.close()
        with contextlib.suppress(asyncio.CancelledError):
            await waits
    assert waits.done()
