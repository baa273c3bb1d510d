"""Who has opted out, over all shards: closed and opened by an operator or a platform, listed in pages, told as a whole.

Never decides what a text closes. A tenant's list is in its shard; a sender's is in every one: any tenant may use it.
"""

from collections.abc import AsyncGenerator, Sequence
from zlib import crc32

import msgspec

from smsd.store import optouts
from smsd.store.optouts import OptOut, Page, of_sender, of_tenant
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


async def close(shards: Sequence[Shard], whose: Whose, entries: Sequence[OptOut]) -> int:
    """Closes scopes; a wider one that is closed stays. How many have changed."""
    return max([await optouts.close(shard, whose.name, entries) for shard in whose.shards(shards)])


async def set_(shards: Sequence[Shard], whose: Whose, one: OptOut) -> None:
    """The scope as it is given, also where a wider one was closed."""
    for shard in whose.shards(shards):
        await optouts.set_(shard, whose.name, one)


async def open_(shards: Sequence[Shard], whose: Whose, number: str) -> bool:
    """Takes a number off the list; whether it was on it."""
    return any([await optouts.open_(shard, whose.name, [number]) for shard in whose.shards(shards)])


async def get(shards: Sequence[Shard], whose: Whose, number: str) -> OptOut | None:
    """What a list has of a number."""
    found = [await optouts.get(shard, whose.name, number) for shard in whose.shards(shards)]
    return next((one for one in found if one is not None), None)


async def page(shards: Sequence[Shard], whose: Whose, after: str, most: int) -> Page:
    """A tenant's list, in an order of its own, behind `after`."""
    return await optouts.page(whose.shards(shards)[0], whose.name, after, most)


async def every(shards: Sequence[Shard], only: Whose | None = None) -> AsyncGenerator[tuple[Whose, OptOut]]:
    """All of the list, or one's. What a provider has told of a sender may be in one shard only: each is told once."""
    told: set[tuple[str, str]] = set()
    for shard in only.shards(shards) if only else shards:
        for name in [only.name] if only else await optouts.lists(shard):
            whose = only or _named(name)
            async for one in _all_of(shard, name):
                if whose.tenant or len(shards) == 1 or (name, one.number) not in told:
                    yield whose, one
                if not whose.tenant and len(shards) > 1:
                    told.add((name, one.number))


async def _all_of(shard: Shard, name: str) -> AsyncGenerator[OptOut]:
    after = ""
    while True:
        found = await optouts.page(shard, name, after)
        for one in found.found:
            yield one
        after = found.after
        if not after:
            return


def _named(name: str) -> Whose:
    kind, _, rest = name.partition(":")
    return Whose(tenant=rest) if kind == "t" else Whose(sender=rest or CHOSEN)
