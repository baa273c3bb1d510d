"""Receipts for each segment: one truth for each message."""

from itertools import permutations

import pytest

from smsd.store import keys
from smsd.store.shard import ReceiptFor
from tests.support.world import HOUR, World, accepted, unknown

IDS = ("V-1", "V-2", "V-3")


async def states(world: World) -> list[str]:
    return [event["state"] for event in await world.events("acme/a1")]


@pytest.mark.parametrize("order", list(permutations(IDS)))
async def test_delivered_when_all_segments_are(world: World, order: tuple[str, ...]) -> None:
    """Whichever comes last ends the message, and each is told once."""
    await world.send("acme", "a1", segments=3)
    [leased] = await world.take()
    await world.settle(accepted(leased, *IDS))
    words = [await world.receipt(leased, "delivered", provider_id=id_, parts=0) for id_ in order]
    assert words == ["noted", "noted", "delivered"]
    assert await world.receipt(leased, "delivered", provider_id="V-2", parts=0) == "repeated"
    assert await states(world) == ["queued", "submitted", "delivered"]


async def test_undelivered_when_one_segment_is(world: World) -> None:
    """What the others come to changes nothing any more."""
    await world.send("acme", "a1", segments=3)
    [leased] = await world.take()
    await world.settle(accepted(leased, *IDS))
    assert await world.receipt(leased, "delivered", provider_id="V-1", parts=0) == "noted"
    assert await world.receipt(leased, "undelivered", provider_id="V-2", parts=0, reason="blocked") == "undelivered"
    assert await world.receipt(leased, "delivered", provider_id="V-3", parts=0) == "noted"
    assert await states(world) == ["queued", "submitted", "undelivered"]


async def test_a_segment_that_arrives_after_all_makes_it_late(world: World) -> None:
    """A true receipt for the one segment that was missing replaces the end."""
    await world.send("acme", "a1", segments=2)
    [leased] = await world.take()
    await world.settle(accepted(leased, "V-1", "V-2"))
    for status, id_, word in (("undelivered", "V-1", "undelivered"), ("delivered", "V-2", "noted")):
        assert await world.receipt(leased, status, provider_id=id_, parts=2) == word
    assert await world.receipt(leased, "delivered", provider_id="V-1", parts=2) == "late"
    assert (await states(world))[-1] == "delivered"


async def test_receipts_before_the_settle_wait_for_all_segments(world: World) -> None:
    """By our reference they are parked, by the vendor's id kept early; the settle brings them together."""
    await world.send("acme", "a1", segments=3)
    [leased] = await world.take()
    assert await world.receipt(leased, "delivered", provider_id="V-1", parts=0) == "parked"
    assert await world.receipt(leased, "delivered", provider_id="V-2", parts=0) == "parked"
    early = ReceiptFor("", 0, leased.provider, "V-3", "delivered", parts=0)
    assert await world.shard.receipts([early]) == ["early"]
    assert await world.settle(accepted(leased, *IDS)) == ["delivered"]
    assert await states(world) == ["queued", "submitted", "delivered"]


async def test_a_lost_answer_waits_for_as_many_segments_as_we_counted(world: World) -> None:
    """Where the vendor says neither ids nor how many, our own count of segments is what is waited for."""
    await world.send("acme", "a1", segments=2)
    [leased] = await world.take()
    await world.settle(unknown(leased, world.now))
    assert await world.receipt(leased, "delivered", provider_id="V-1", parts=0) == "noted"
    assert await world.receipt(leased, "delivered", provider_id="V-2", parts=0) == "delivered"
    assert await states(world) == ["queued", "unknown", "submitted", "delivered"]


async def test_the_vendor_s_count_goes_before_ours(world: World) -> None:
    """A vendor that made one segment of what we counted as two ends the message with its one receipt."""
    await world.send("acme", "a1", segments=2)
    [leased] = await world.take()
    await world.settle(accepted(leased, "V-1"))
    assert await world.receipt(leased, "delivered", provider_id="V-1", parts=0) == "delivered"


async def test_a_part_that_tells_how_many_there_are_is_believed(world: World) -> None:
    """One id in the answer, and parts that name their number: all are waited for."""
    await world.send("acme", "a1", segments=2)
    [leased] = await world.take()
    await world.settle(accepted(leased, "P-1"))
    assert await world.receipt(leased, "delivered", provider_id="P-1", parts=2) == "noted"
    assert await world.receipt(leased, "delivered", provider_id="P-2", parts=2) == "delivered"


async def test_every_segment_s_id_goes_with_the_record(world: World) -> None:
    """Nothing of a message is left behind."""
    await world.send("acme", "a1", segments=3)
    [leased] = await world.take()
    await world.settle(accepted(leased, *IDS))
    assert await world.client.hlen(keys.key(0, "ref")) == 3
    for id_ in IDS:
        await world.shard.receipts([ReceiptFor("", 0, leased.provider, id_, "delivered", parts=0)])
    world.pass_time(73 * HOUR)
    assert (await world.sweep()).purged == 1
    assert await world.client.hlen(keys.key(0, "ref")) == 0
