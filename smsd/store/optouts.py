"""The list of those who have opted out, in one shard: closes, opens, looks up, and tells it in pages.

Never decides what a text closes (core/optout.py does), and never which shards have an entry: a sender's is in all.
Numbers are personal data: they are in the list alone, and never in an event or a log.
"""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Final, cast

import msgspec

from smsd.core.optout import Scope
from smsd.store import keys
from smsd.store.find import hashed
from smsd.store.shard import Shard

BATCH = 500  # entries in one call
PAGE_MAX = 1000

LETTERS: Final[dict[Scope, str]] = {"all": "a", "marketing": "m"}
SCOPES: Final[dict[str, Scope]] = {letter: scope for scope, letter in LETTERS.items()}


class OptOut(msgspec.Struct, frozen=True):
    """Somebody who gets nothing of a scope, of one tenant or from one sender."""

    number: str  # E.164; "" where a provider said so of a message whose body was erased
    scope: Scope
    at_ms: int = 0  # 0 when it is made: now
    source: str = ""  # one of core.optout.SOURCES
    provider: str = ""  # that heard it


class Page(msgspec.Struct, frozen=True):
    """Some of a shard's entries, each with its field, and behind which field to go on; "": that was all."""

    found: list[tuple[str, OptOut]]
    after: str


def of_tenant(tenant: str) -> str:
    """Whose list a tenant's is."""
    return f"t:{tenant}"


def of_sender(sender: str) -> str:
    """Whose list a sender's is."""
    return f"s:{sender}"


def is_sender(whose: str) -> bool:
    """Whether a list, or a field of it, is a sender's, and so in every shard."""
    return whose.startswith("s:")


def field(whose: str, number: str) -> str:
    """Where the list has a number."""
    return f"{whose}\0{hashed(number)}"


async def close(shard: Shard, whose: str, entries: Sequence[OptOut]) -> int:
    """Closes scopes; a wider one that is closed stays. How many have changed."""
    return sum([word == "closed" for word in await _change(shard, [_closing(whose, one) for one in entries])])


async def set_(shard: Shard, whose: str, one: OptOut) -> None:
    """The scope as it is given, also where a wider one was closed."""
    # In one call, which the store does whole: nobody who said stop is on no list in between.
    await _change(shard, [[field(whose, one.number), "", "", 0, "", ""], _closing(whose, one)])


async def open_(shard: Shard, whose: str, numbers: Iterable[str]) -> int:
    """Takes numbers off the list; how many were on it."""
    asked = [[field(whose, number), "", "", 0, "", ""] for number in numbers]
    return sum([word.startswith("opened:") for word in await _change(shard, asked)])


async def get(shard: Shard, whose: str, number: str) -> OptOut | None:
    """What the list has of a number."""
    return await known(shard, whose, hashed(number))


async def known(shard: Shard, whose: str, who: str) -> OptOut | None:
    """The same of a recipient, hashed."""
    asked = shard.client.hget(keys.key(shard.number, "optout"), f"{whose}\0{who}")
    packed = await cast("Awaitable[bytes | None]", asked)
    return _read(packed) if packed else None


async def page(shard: Shard, whose: str = "", after: str = "", most: int = PAGE_MAX) -> Page:
    """The list of one tenant or sender, or ("") all of them, in an order of its own, behind the field `after`. Raises
    ValueError where that is of another list.
    """
    prefix = f"{whose}\0" if whose else ""
    if after and not after.startswith(prefix):
        raise ValueError(f"the field is none of {whose}")
    begin = f"({after}" if after else f"[{prefix}" if prefix else "-"
    end = f"({prefix}\xff" if prefix else "+"
    asked = shard.client.zrangebylex(keys.key(shard.number, "optlist"), begin, end, start=0, num=most)
    fields = [one.decode() for one in await cast("Awaitable[list[bytes]]", asked)]
    packed = await _packed(shard, fields)
    found = [(one, _read(value)) for one, value in zip(fields, packed, strict=True) if value]
    return Page(found, fields[-1] if len(fields) == most else "")


async def at_fields(shard: Shard, fields: Sequence[str]) -> dict[str, OptOut]:
    """What the shard has of these."""
    return {one: _read(value) for one, value in zip(fields, await _packed(shard, fields), strict=True) if value}


async def _packed(shard: Shard, fields: Sequence[str]) -> list[bytes | None]:
    if not fields:
        return []
    asked = shard.client.hmget(keys.key(shard.number, "optout"), list(fields))
    return await cast("Awaitable[list[bytes | None]]", asked)


def _closing(whose: str, one: OptOut) -> list[object]:
    where = field(whose, one.number)
    return [where, LETTERS[one.scope], one.number, one.at_ms, one.source, one.provider]


async def _change(shard: Shard, asked: Sequence[Sequence[object]]) -> list[str]:
    words: list[str] = []
    for at in range(0, len(asked), BATCH):
        packed = msgspec.msgpack.encode(asked[at : at + BATCH])
        reply = await shard.run("optout", packed, strict=True)
        words += [word.decode() for word in cast("list[bytes]", reply)]
    return words


def _read(value: bytes) -> OptOut:
    number, at_ms, source, provider = msgspec.msgpack.decode(value[1:], type=tuple[str, int, str, str])
    return OptOut(number, SCOPES[value[:1].decode()], at_ms, source, provider)
