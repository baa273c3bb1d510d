"""The dead stream: what was rejected is found again, and goes back as it was written, once."""

from typing import Any

import pytest

from smsd.message import Rejection
from smsd.store import dead as module
from smsd.store import keys
from smsd.store.dead import dead, fields_of, newest, purge, redrive
from tests.support.world import World, ask

INBOX = keys.inbox(0, "reminder")
FIELDS = ((b"tenant", b"acme"), (b"to", b"1"), (b"to", b"2"), (b"\xff", b"\x00"), (b"id", b"r-1"))


def _as_sent(response: Any, **_: Any) -> Any:
    return response


async def rejected(world: World, *fields: tuple[bytes, bytes], reason: str = "bad_number") -> None:
    """An entry that was found wanting."""
    entry = Rejection(reason, "what would be right", "5-1", "acme", "r-1", fields or FIELDS)
    await world.shard.admit([entry], "reminder", from_inbox=False)


async def test_an_entry_tells_whose_it_was_and_not_what_it_said(world: World) -> None:
    """Flat or as one json field, its tenant and id are read; what it says to whom is only in its fields."""
    await rejected(world)
    await rejected(world, (b"json", b'{"tenant": "b", "id": "x", "body": "secret"}'))
    await rejected(world, (b"json", b"no json"))
    first, second, third = [one async for one in dead(world.shard)]
    assert (first.tenant, first.given_id, first.class_, first.reason) == ("acme", "r-1", "reminder", "bad_number")
    assert (first.stream, first.entry_id, first.at_ms) == (INBOX, "5-1", world.now // 1000)
    assert (second.tenant, second.given_id) == ("b", "x")
    assert third.tenant == ""
    assert (await fields_of(world.shard, second.id) or {})["in.json"].endswith('"secret"}')
    assert await fields_of(world.shard, "1-1") is None


async def test_it_goes_back_as_it_was_written(world: World) -> None:
    """Every field in its order, byte for byte, also one that came twice; and the dead entry is gone."""
    await rejected(world)
    (one,) = [one async for one in dead(world.shard)]
    assert await redrive(world.shard, INBOX, [one.id]) == ["redriven"]
    world.client.set_response_callback("XRANGE", _as_sent)  # as the server sends it
    ((_, flat),) = await ask(world.client, "XRANGE", INBOX, "-", "+")
    assert tuple(zip(flat[::2], flat[1::2], strict=True)) == FIELDS
    assert await redrive(world.shard, INBOX, [one.id]) == ["gone"]
    assert await world.client.xlen(INBOX) == 1


async def test_what_came_from_no_inbox_stays(world: World) -> None:
    """An entry of another inbox, or of none, is not touched."""
    key = keys.key(0, "dead")
    await world.client.xadd(key, {"reason": "internal", "tenant": "acme", "class": "reminder", "id": "x"})
    await rejected(world)
    buried, other = [one async for one in dead(world.shard)]
    assert (buried.stream, buried.tenant, buried.given_id, buried.class_) == ("", "acme", "x", "reminder")
    assert await redrive(world.shard, keys.inbox(0, "marketing"), [buried.id, other.id]) == ["other", "other"]
    assert await world.client.xlen(key) == 2


async def test_pages_and_times(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All entries are seen however small the pages, and of a span of time only those in it."""
    monkeypatch.setattr(module, "PAGE", 2)
    key = keys.key(0, "dead")
    for ms in range(1, 8):
        await world.client.xadd(key, {"reason": "internal"}, id=f"{ms}000-0")
    seen = [one.id async for one in dead(world.shard, since_ms=2000, before_ms=6000)]
    assert seen == ["2000-0", "3000-0", "4000-0", "5000-0"]
    assert len([one async for one in dead(world.shard)]) == 7
    assert await purge(world.shard, [*seen, "9-9"]) == 4


async def test_the_newest_come_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the end, over the bounds of pages, and no more than asked for."""
    monkeypatch.setattr(module, "PAGE", 2)
    for i in range(5):
        await rejected(world, (b"id", str(i).encode()))
    for most, ids in ((9, "43210"), (3, "432"), (0, "")):
        assert [one.given_id async for one in newest(world.shard, most)] == list(ids)


async def test_the_oldest_go_where_there_are_more_than_are_kept(world: World) -> None:
    """A sweep leaves the newest, as many as the config says and at most a node of the stream more."""
    key = keys.key(0, "dead")
    for ms in range(1, 501):
        await world.client.xadd(key, {"reason": "internal"}, id=f"{ms}-0")
    await world.shard.sweep({}, dead_max=500)
    assert await world.client.xlen(key) == 500
    await world.shard.sweep({}, dead_max=200)
    assert 200 <= await world.client.xlen(key) <= 300
    assert [one.id async for one in dead(world.shard)][-1] == "500-0"
