"""Dead entries of all shards: found by what they are, counted before anything is done, redriven or purged.

Never decides which: what was found is exactly what is acted on, also when more have come meanwhile.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from smsd.store import dead as store
from smsd.store.dead import Dead
from smsd.store.shard import Shard


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: all that hold. Empty: any."""

    tenant: str = ""
    reason: str = ""
    class_: str = ""
    since_ms: int = 0
    before_ms: int = 0
    ids: frozenset[str] = frozenset()

    def holds(self, one: Dead) -> bool:
        return (
            self.tenant in ("", one.tenant)
            and self.reason in ("", one.reason)
            and self.class_ in ("", one.class_)
            and (not self.ids or one.id in self.ids)
        )


class Redriven(msgspec.Struct, frozen=True):
    """What became of those that were to be redriven."""

    redriven: int
    gone: int  # somebody else was there first
    left: int  # no entry of an inbox: they stay where they are


async def found(shards: Sequence[Shard], wanted: Wanted) -> list[Dead]:
    """The entries that are wanted, the oldest first."""
    there = [
        one
        for shard in shards
        async for one in store.dead(shard, since_ms=wanted.since_ms, before_ms=wanted.before_ms)
        if wanted.holds(one)
    ]
    return sorted(there, key=lambda one: one.at_ms)


async def redrive(shards: Sequence[Shard], these: Iterable[Dead]) -> Redriven:
    """Each goes back into its inbox in the step that takes it off the dead, so that none is lost or doubled."""
    inboxes: dict[tuple[int, str], list[str]] = defaultdict(list)
    for one in these:
        inboxes[one.shard, one.stream].append(one.id)
    left = sum(len(ids) for (_, stream), ids in inboxes.items() if not stream)
    words: list[str] = []
    for (shard, stream), ids in inboxes.items():
        if stream:
            words += await store.redrive(shards[shard], stream, ids)
    return Redriven(words.count("redriven"), words.count("gone"), left + words.count("other"))


async def purge(shards: Sequence[Shard], these: Iterable[Dead]) -> int:
    """Forgets them. Returns how many were still there."""
    by_shard: dict[int, list[str]] = defaultdict(list)
    for one in these:
        by_shard[one.shard].append(one.id)
    return sum([await store.purge(shards[shard], ids) for shard, ids in by_shard.items()])
