"""Texts that people send, on their way into the inbound stream: parts joined, repeats told, written with what they do.

Never decides what a text means. A part is safe once `keep` has returned; a text, and what it closed, once `write` has.
"""

import time
from collections.abc import Awaitable, Mapping
from typing import cast

import msgspec

from smsd.core.optout import Scope
from smsd.provider import Inbound
from smsd.store import keys, optouts
from smsd.store.find import hashed
from smsd.store.record import Record
from smsd.store.shard import Shard

REPEAT_US = 25 * 3_600_000_000  # how long a provider may tell of a text again: some try for a day
GROUPS_MOST = 10_000
LATE_MOST = 100
HELD_US = 60_000_000  # for a text whose parts did not all come to be written by who claimed it


class Whole(msgspec.Struct, frozen=True):
    """A text, put together. `packed`: its parts as the store has them, to be dropped once it is written."""

    text: Inbound
    group: str = ""
    packed: bytes = b""


class Change(msgspec.Struct, frozen=True):
    """What a text does to the list, in one shard: a scope that it closes, or None to open whatever is closed."""

    whose: tuple[str, ...]  # lists, as optouts.of_tenant and of_sender name them
    number: str
    scope: Scope | None
    provider: str


class Written(msgspec.Struct, frozen=True):
    """What became of it. A repeat changes nothing."""

    repeated: bool
    opened: Scope | None
    closed: int  # entries of the list


async def keep(shard: Shard, provider: str, text: Inbound, wait_us: int) -> Whole | None:
    """One part of a text; the text once it is whole. A part goes alone where too many are waited for, and where a
    vendor has used the group again before the text before was whole.
    """
    group = "\0".join((provider, text.sender, text.to, text.group))
    name = f"{provider}/{text.provider_id}" if text.provider_id else ""
    ask = [group, text.part, text.parts, text.provider_id, text.body, wait_us, GROUPS_MOST, name]
    reply = await shard.run("part", msgspec.msgpack.encode(ask), strict=True)
    word, packed = cast("tuple[bytes, bytes]", tuple(reply))
    if word == b"alone":
        return Whole(msgspec.structs.replace(text, group=""))
    return _joined(group, packed) if word == b"whole" else None


async def late(shard: Shard) -> list[tuple[str, Whole]]:
    """Texts whose missing parts are waited for no longer, each with the provider that brought it. A part that comes now
    is a text of its own.
    """
    reply = cast("list[bytes]", await shard.run("part_late", LATE_MOST, HELD_US))
    named = [(group.decode(), packed) for group, packed in zip(reply[::2], reply[1::2], strict=True)]
    return [(_provider(group), _joined(group, packed)) for group, packed in named]


async def drop(shard: Shard, whole: Whole) -> None:
    """Its parts, once it is written."""
    if whole.group:
        await shard.run("part_drop", whole.group, whole.packed, _provider(whole.group), REPEAT_US)


async def told(shard: Shard, provider: str, provider_id: str, said: bytes) -> bytes:
    """What a text is told with: what was said of it first, by whichever process, within a day. The shard is one for
    all texts.
    """
    return cast("bytes", await shard.run("inbound_told", f"{provider}/{provider_id}", said, REPEAT_US, strict=True))


async def write(
    shard: Shard, provider: str, provider_id: str, change: Change | None, fields: Mapping[str, str | int], most: int,
    *, opened: Scope | None = None,
) -> Written:  # fmt: skip
    """The text's entry in the stream (no `fields`: another shard has it) and what it changes, in one step. `opened`: by
    the same text in other shards.
    """
    name = f"{provider}/{provider_id}" if provider_id else ""
    if name and not fields:
        name += "#"  # told apart: by a repeat the text may belong to this shard
    close: list[list[str]] = []
    open_: list[str] = []
    if change is not None:
        where = [optouts.field(one, change.number) for one in change.whose]
        if change.scope is None:
            open_ = where
        else:
            close = [[one, optouts.LETTERS[change.scope], change.number, "inbound", change.provider] for one in where]
    event = [str(part) for pair in fields.items() for part in pair]
    before = optouts.LETTERS[opened] if opened is not None else ""
    ask = msgspec.msgpack.encode([name, REPEAT_US, most, close, open_, event, before])
    more = [keys.key(shard.number, "inbound")]
    reply = await shard.run("inbound", ask, more_keys=more, strict=True)
    word, letter, closed = cast("tuple[bytes, bytes, int]", tuple(reply))
    return Written(word == b"repeated", optouts.SCOPES.get(letter.decode()), int(closed))


async def trim(shard: Shard, kept_us: int) -> None:
    """Takes the texts out of the stream that are older."""
    now_us = shard.now_us or time.time_ns() // 1000
    oldest = str((now_us - kept_us) // 1000)
    await shard.client.xtrim(keys.key(shard.number, "inbound"), minid=oldest, approximate=False)


async def last_to(shard: Shard, sender: str, person: str) -> tuple[str, Record] | None:
    """The last message that a provider took from a sender to a person, as tenant/id, of which there is a record."""
    asked = shard.client.hget(keys.key(shard.number, "last"), f"{sender}\0{hashed(person)}")
    key = await cast("Awaitable[bytes | None]", asked)
    record = await shard.record(key.decode()) if key else None
    return (key.decode(), record) if key and record is not None else None


def _provider(group: str) -> str:
    return group.removeprefix("!").partition("\0")[0]


def _joined(group: str, packed: bytes) -> Whole:
    total, parts = _decode(packed)
    _, sender, to, _ = group.split("\0", 3)
    parts.sort()
    body = "".join(body for _, _, body in parts)
    return Whole(Inbound(parts[0][1], sender, to, body, total), group, packed)


_decode = msgspec.msgpack.Decoder(tuple[int, list[tuple[int, str, str]]]).decode
