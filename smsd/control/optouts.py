"""Who has opted out, over all shards: closed and opened by an operator or a platform, listed in pages, told as a whole.

Never decides what a text closes. A tenant's list is in its shard; a sender's is in every one: any tenant may use it.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, Sequence
from zlib import crc32

import msgspec

from smsd.store import optouts
from smsd.store.optouts import PAGE_MAX, OptOut, is_sender, of_sender, of_tenant
from smsd.store.shard import Shard

CHOSEN = "*"
"""How a sender is written that a message leaves to its provider."""


class Whose(msgspec.Struct, frozen=True):
    """A list: of a tenant, or of a sender where `tenant` is ""; of all that leave it to the provider where that is
    CHOSEN.
    """

    tenant: str = ""
    sender: str = ""

    @property
    def name(self) -> str:
        return of_tenant(self.tenant) if self.tenant else of_sender("" if self.sender == CHOSEN else self.sender)

    def shards(self, every: Sequence[Shard]) -> Sequence[Shard]:
        """Those that have it."""
        return [every[crc32(self.tenant.encode()) % len(every)]] if self.tenant else every

    def __str__(self) -> str:
        return f"tenant {self.tenant}" if self.tenant else f"sender {self.sender}"


class Listed(msgspec.Struct, frozen=True):
    """A page; `after` leads to the next one, and is empty on the last."""

    found: list[tuple[Whose, OptOut]]
    after: str


class BadAfter(ValueError):
    """No page ends there."""


async def close(shards: Sequence[Shard], whose: Whose, entries: Sequence[OptOut]) -> int:
    """Closes scopes; a wider one that is closed stays. How many have changed."""
    return max([await optouts.close(shard, whose.name, entries) for shard in whose.shards(shards)])


async def set_(shards: Sequence[Shard], whose: Whose, one: OptOut) -> bool:
    """The scope as it is given, also where a wider one was closed. Whether it was another one in any shard: what a
    provider has told of a sender is in one.
    """
    changed = False
    for shard in whose.shards(shards):
        known = await optouts.get(shard, whose.name, one.number)
        if known is None or known.scope != one.scope:
            await optouts.set_(shard, whose.name, one)
            changed = True
    return changed


async def open_(shards: Sequence[Shard], whose: Whose, number: str) -> bool:
    """Takes a number off the list; whether it was on it."""
    return any([await optouts.open_(shard, whose.name, [number]) for shard in whose.shards(shards)])


async def get(shards: Sequence[Shard], whose: Whose, number: str) -> OptOut | None:
    """What a list has of a number: the widest of all shards, for what a provider has told of a sender is in one."""
    found = [await optouts.get(shard, whose.name, number) for shard in whose.shards(shards)]
    there = [one for one in found if one is not None]
    return _widest(there) if there else None


async def page(shards: Sequence[Shard], only: Whose | None, after: str, most: int) -> Listed:
    """One's list, or all of them, in an order of its own. Raises BadAfter."""
    mine = only.shards(shards) if only else shards
    number, field = _place(after, len(mine), f"{only.name}\0" if only else "")
    found: list[tuple[Whose, OptOut]] = []
    while number < len(mine):
        got = await optouts.page(mine[number], only.name if only else "", field, most - len(found))
        senders = [one for one, _ in got.found if is_sender(one)]
        others = [await optouts.at_fields(shard, senders) for shard in mine if shard is not mine[number]]
        for one, out in got.found:
            if not any(one in other for other in others[:number]):  # else it was told with those of that shard
                same = _widest([out, *(other[one] for other in others[number:] if one in other)])
                found.append((only or _named(one.partition("\0")[0]), same))
        number, field = (number, got.after) if got.after else (number + 1, "")
        if len(found) == most:
            break
    return Listed(found, _token(number, field) if number < len(mine) else "")


async def every(shards: Sequence[Shard], only: Whose | None = None) -> AsyncGenerator[tuple[Whose, OptOut]]:
    """All of the list, or one's. What a provider has told of a sender may be in one shard only: each is told once."""
    after = ""
    while True:
        found = await page(shards, only, after, PAGE_MAX)
        for one in found.found:
            yield one
        after = found.after
        if not after:
            return


def _widest(same: Sequence[OptOut]) -> OptOut:
    """Of entries of several shards; with the number where one of them has it."""
    wide = next((one for one in same if one.scope == "all"), same[0])
    return msgspec.structs.replace(wide, number=next((one.number for one in same if one.number), ""))


def _token(number: int, field: str) -> str:
    """Of a shard, and a field in it."""
    return f"{number}.{urlsafe_b64encode(field.encode()).decode().rstrip('=')}"


def _place(token: str, shards: int, prefix: str) -> tuple[int, str]:
    """Nobody comes to another's list by a token that was made up."""
    if not token:
        return 0, ""
    number, _, field = token.partition(".")
    if re.fullmatch("[0-9]{1,4}", number) is None or int(number) >= shards:
        raise BadAfter
    try:
        found = urlsafe_b64decode(field + "=" * (-len(field) % 4)).decode()
    except ValueError:
        raise BadAfter from None
    if found and not found.startswith(prefix):
        raise BadAfter
    return int(number), found


def _named(name: str) -> Whose:
    kind, _, rest = name.partition(":")
    return Whose(tenant=rest) if kind == "t" else Whose(sender=rest or CHOSEN)
