"""The dead stream of one shard: entries that could not be taken, why, and their way back into their inbox.

Never judges why an entry is dead, and never changes one. What an entry says is only read to know whose it is.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import cast

import msgspec

from smsd.core import fields as entry_fields
from smsd.store import keys
from smsd.store.shard import Shard

PAGE = 1000
STEP = 100  # entries that are redriven or purged in one call


class Dead(msgspec.Struct, frozen=True):
    """One entry, without what it says to whom."""

    shard: int
    id: str  # of the dead entry
    at_ms: int
    reason: str
    detail: str
    tenant: str  # as far as it could be read
    class_: str = msgspec.field(name="class")
    given_id: str = ""  # the message's id, where it has one
    stream: str = ""  # the inbox that it came from; empty: it cannot be redriven
    entry_id: str = ""


Raw = dict[bytes, bytes]


async def dead(shard: Shard, *, since_ms: int = 0, before_ms: int = 0) -> AsyncGenerator[Dead]:
    """Every entry, the oldest first, of this time. The store answers in pages."""
    begin, end = span(since_ms, before_ms)
    while True:
        some = await stretch(shard, begin, end, PAGE)
        for one in some:
            yield one
        if len(some) < PAGE:
            return
        begin = f"({some[-1].id}"


async def newest(shard: Shard, most: int) -> AsyncGenerator[Dead]:
    """The last entries, the newest first."""
    end = "+"
    while most > 0:
        some = await stretch(shard, "-", end, min(PAGE, most), newest=True)
        for one in some:
            yield one
        if not some:
            return
        most, end = most - len(some), f"({some[-1].id}"


def span(since_ms: int, before_ms: int) -> tuple[str, str]:
    """The bounds of a time, as `stretch` takes them; 0: none."""
    return str(since_ms), f"({before_ms}-0" if before_ms else "+"


async def stretch(shard: Shard, begin: str, end: str, most: int, *, newest: bool = False) -> list[Dead]:
    """At most so many entries between two bounds as XRANGE has them, the oldest or the newest first."""
    key = keys.key(shard.number, "dead")
    if newest:
        asked = shard.client.xrevrange(key, end, begin, count=most)
    else:
        asked = shard.client.xrange(key, begin, end, count=most)  # pyright: ignore[reportUnknownMemberType]
    return [_dead(shard.number, id_.decode(), raw) for id_, raw in cast("list[tuple[bytes, Raw]]", await asked)]


async def named(shard: Shard, ids: Sequence[str]) -> list[Dead]:
    """Those of these ids that are there."""
    found: list[Dead] = []
    for at in range(0, len(ids), STEP):
        asked = shard.client.pipeline(transaction=False)
        for id_ in ids[at : at + STEP]:
            asked.xrange(keys.key(shard.number, "dead"), id_, id_)  # pyright: ignore[reportUnknownMemberType]
        for page in cast("list[list[tuple[bytes, Raw]]]", await asked.execute()):
            found += [_dead(shard.number, id_.decode(), raw) for id_, raw in page]
    return found


async def kept(shard: Shard) -> int:
    """How many there are."""
    return int(await shard.client.xlen(keys.key(shard.number, "dead")))


async def fields_of(shard: Shard, id_: str) -> dict[str, str] | None:
    """All that is kept of an entry, also to whom it goes and what it says; None: there is no such entry."""
    asked = shard.client.xrange(keys.key(shard.number, "dead"), id_, id_)  # pyright: ignore[reportUnknownMemberType]
    page = cast("list[tuple[bytes, Raw]]", await asked)
    return {_text(name): _text(value) for name, value in page[0][1].items()} if page else None


async def redrive(shard: Shard, stream: str, ids: Sequence[str]) -> list[str]:
    """Puts them back into the inbox that they came from: a word for each, as lua/redrive.lua says them."""
    words: list[str] = []
    for at in range(0, len(ids), STEP):
        step = await shard.run("redrive", *ids[at : at + STEP], more_keys=[stream])
        words += [word.decode() for word in cast("list[bytes]", step)]
    return words


async def purge(shard: Shard, ids: Sequence[str]) -> int:
    """Forgets them. Returns how many were still there."""
    key, gone = keys.key(shard.number, "dead"), 0
    for at in range(0, len(ids), STEP):
        gone += int(await shard.client.xdel(key, *ids[at : at + STEP]))
    return gone


def _dead(shard: int, id_: str, raw: Raw) -> Dead:
    own = {name.decode(): _text(value) for name, value in raw.items() if not name.startswith(b"in.")}
    given, _ = entry_fields.read([(name[3:], value) for name, value in raw.items() if name.startswith(b"in.")])
    stream = own.get("stream", "")
    return Dead(
        shard=shard,
        id=id_,
        at_ms=int(own.get("at", id_.split("-", maxsplit=1)[0])),
        reason=own.get("reason", ""),
        detail=own.get("detail", ""),
        tenant=given.get("tenant") or own.get("tenant", ""),
        class_=stream.rpartition(":in:")[2] or own.get("class", ""),
        given_id=given.get("id") or own.get("id", ""),
        stream=stream,
        entry_id=own.get("entry_id", ""),
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
