"""Receipts of a message that was sent again: one attempt's receipt waits for another's only where one can come."""

import pytest

from smsd.message import Leased
from smsd.provider import ReceiptStatus
from tests.support.world import SECOND, World, accepted, clear, fail, resend, retry, unknown

UNDELIVERED = ReceiptStatus.UNDELIVERED.value
SPARE = {"spare": (1, 10)}


async def sent_again(world: World) -> tuple[Leased, Leased]:
    """Both attempts: of the first nobody knows whether it was taken, the second is leased."""
    await world.send("acme", "a1")
    [first] = await world.take()
    await world.settle(unknown(first, world.now))
    await world.settle(resend(first))
    [second] = await world.take(offers=SPARE)
    return first, second


@pytest.mark.parametrize("early", [True, False])
async def test_a_refused_resend_is_not_waited_for(world: World, early: bool) -> None:
    """The first attempt's undelivered ends the message with its reason, before or after the refusal of the second."""
    first, second = await sent_again(world)
    if early:
        assert await world.receipt(first, UNDELIVERED, provider_id="X", reason="bad_number") == "parked"
    await world.settle(fail(second))
    if not early:
        assert await world.receipt(first, UNDELIVERED, provider_id="X", reason="bad_number") == UNDELIVERED
    told = await world.last("acme/a1")
    assert (told["state"], told["reason"], told["attempt"]) == (UNDELIVERED, "bad_number", "1")


async def test_a_resend_that_was_withdrawn_is_not_waited_for(world: World) -> None:
    """Throttled, the second attempt has not left; cancelled, it never will."""
    first, second = await sent_again(world)
    await world.settle(retry(second, world.now + SECOND))
    assert await world.cancel("acme", "a1") == "left"
    assert await world.receipt(first, UNDELIVERED, provider_id="X", reason="bad_number") == UNDELIVERED


async def test_a_resend_that_was_not_found_is_not_waited_for(world: World) -> None:
    """A cancel came while the second attempt's outcome was looked up: it was not taken, and no third one follows."""
    first, second = await sent_again(world)
    await world.settle(unknown(second, world.now))
    assert await world.cancel("acme", "a1") == "leaving"
    await world.settle(clear(second))
    assert await world.states("acme/a1") == ["queued", "unknown", "queued", "unknown"]
    assert await world.receipt(first, UNDELIVERED, provider_id="X", reason="bad_number") == UNDELIVERED


async def test_a_resend_that_may_have_left_is_waited_for(world: World) -> None:
    """Undelivered of the first changes nothing while the second may still be delivered."""
    first, second = await sent_again(world)
    await world.settle(unknown(second, world.now))
    assert await world.receipt(first, UNDELIVERED, provider_id="X", reason="bad_number") == "noted"
    assert await world.receipt(second, "delivered", provider_id="Y") == "delivered"


async def test_a_third_attempt_that_may_have_left_is_waited_for(world: World) -> None:
    """That the second was refused, and its word came late, does not count for one that follows."""
    first, second = await sent_again(world)
    await world.settle(unknown(second, world.now))
    await world.cancel("acme", "a1")
    await world.settle(clear(second))  # held for the first
    await world.settle(retry(second, world.now))  # its own process, which was away, says so too
    assert await world.receipt(first, "sent", provider_id="X") == "noted"
    assert await world.receipt(first, UNDELIVERED, provider_id="X", reason="bad_number") == UNDELIVERED


async def test_attempts_under_one_key_have_one_receipt(world: World) -> None:
    """A vendor that took the first gives the second the same id: what it says of that id it says of both."""
    await world.send("acme", "a1")
    [first] = await world.take()
    world.pass_time(20 * SECOND)
    await world.sweep()
    await world.settle(resend(first, "main"))
    [second] = await world.take()
    assert await world.settle(accepted(first, "X")) == ["late"]
    assert await world.settle(accepted(second, "X")) == ["submitted"]
    assert await world.receipt(second, UNDELIVERED, provider_id="X", reason="bad_number") == UNDELIVERED


@pytest.mark.parametrize("parts", [1, 2])
async def test_a_word_from_the_way_after_the_end_proves_nothing(world: World, parts: int) -> None:
    """Told out of order, `sent` of the undelivered attempt does not stand in the way of what became of the resend."""
    first, second = await sent_again(world)
    await world.settle(unknown(second, world.now))
    assert await world.receipt(first, UNDELIVERED, provider_id="X", parts=parts, reason="blocked") == "noted"
    assert await world.receipt(first, "sent", provider_id="X", parts=parts) == "noted"
    assert await world.states("acme/a1") == ["queued", "unknown", "queued", "unknown"]
    assert await world.settle(clear(second)) == [UNDELIVERED]
    assert (await world.last("acme/a1"))["reason"] == "blocked"


@pytest.mark.parametrize("first_told", ["delivered", "sent"])
async def test_one_undelivered_segment_decides_when_the_resend_was_not_taken(world: World, first_told: str) -> None:
    """Whatever its other segments came to or still may, the attempt has ended, with the reason that was told."""
    first, second = await sent_again(world)
    await world.settle(unknown(second, world.now))
    assert await world.receipt(first, UNDELIVERED, provider_id="X-2", parts=2, reason="blocked") == "noted"
    assert await world.receipt(first, first_told, provider_id="X-1", parts=2) == "noted"
    assert await world.settle(clear(second)) == [UNDELIVERED]
    assert (await world.last("acme/a1"))["reason"] == "blocked"
