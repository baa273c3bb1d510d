"""Dead entries of all shards: listed in pages, found by what they are, counted, and only then redriven or purged.

Never decides which: what was found is exactly what is acted on, also when more have come meanwhile. Never shows to whom
an entry goes or what it says, unless that was asked for.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from smsd.store import dead as store
from smsd.store.dead import Dead
from smsd.store.shard import Shard

READ_MAX = 10_000  # entries of a shard that are read for one page, however few of them are wanted
PAGE_MAX = 1_000  # entries on one page
NAME = "[0-9]{1,19}-[0-9]{1,19}(?:@[0-9]{1,4})?"
"""An entry's name: its id, and where there are several shards @ and the shard."""
OPEN = ("tenant", "id", "class", "campaign", "region", "from", "not_before", "not_after", "op", "replaces")
"""Fields of an entry that are shown; all others, also mistyped ones, may tell to whom it goes or what it says."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: all that hold. Empty: any."""

    tenant: str = ""
    reason: str = ""
    class_: str = ""
    since_ms: int = 0
    before_ms: int = 0
    ids: frozenset[str] = frozenset()  # names; what is none is nobody's

    def holds(self, one: Dead) -> bool:
        """Whether it is wanted, by all but `ids`."""
        return (
            self.tenant in ("", one.tenant)
            and self.reason in ("", one.reason)
            and self.class_ in ("", one.class_)
            and self.since_ms <= _order(one).ms
            and not 0 < self.before_ms <= _order(one).ms
        )


class Page(msgspec.Struct, frozen=True):
    """Some of those that are wanted. `next`: the name after which the next page begins, "" where there is none; also a
    page with few or none may have a next one, for no more than READ_MAX entries of a shard are read for one.
    """

    dead: list[Dead]
    next: str
    kept: int  # dead letters that there are, wanted or not


class Letter(Dead, frozen=True, kw_only=True):
    """One entry whole. `fields`: all that is kept of it, those of the entry with the prefix `in.`."""

    fields: dict[str, str]
    hidden: dict[str, int]  # the fields that may tell to whom it goes or what it says: their characters


class Redriven(msgspec.Struct, frozen=True):
    """What became of those that were to be redriven."""

    redriven: int
    gone: int  # somebody else was there first
    left: int  # no entry of an inbox: they stay where they are


class _Place(NamedTuple):
    """Where an entry stands among those of all shards. `shard` -1: behind that id in every shard."""

    ms: int
    seq: int
    shard: int


async def page(shards: Sequence[Shard], wanted: Wanted, most: int, *, after: str = "", newest: bool = False) -> Page:
    """At most so many (PAGE_MAX) that are wanted and come after that name, the oldest or the newest first."""
    place = _place(after) if after else None
    parts = [await _part(shard, wanted, most, place, newest=newest) for shard in shards]
    ends = [end for _, end in parts if end is not None]
    end = (max if newest else min)(ends, default=None)  # so far all shards were read
    there = sorted((one for found, _ in parts for one in found), key=_order, reverse=newest)
    if end is not None:
        there = [one for one in there if (_order(one) >= end if newest else _order(one) <= end)]
    if len(there) > most:
        there, end = there[:most], _order(there[most - 1])
    kept = sum([await store.kept(shard) for shard in shards])
    return Page(there, "" if end is None else _name(end, len(shards)), kept)


async def _part(
    shard: Shard, wanted: Wanted, most: int, after: _Place | None, *, newest: bool
) -> tuple[list[Dead], _Place | None]:
    """Those of one shard, and how far it was read; None: to its end."""
    begin, end = _span(shard.number, wanted, after, newest=newest)
    found: list[Dead] = []
    read = 0
    while True:
        step = min(most + 1, READ_MAX - read)
        some = await store.stretch(shard, begin, end, step, newest=newest)
        read += len(some)
        found += [one for one in some if wanted.holds(one)]
        if len(some) < step:
            return found, None
        if len(found) > most or read >= READ_MAX:
            return found, _order(some[-1])
        begin, end = (begin, f"({some[-1].id}") if newest else (f"({some[-1].id}", end)


def _span(shard: int, wanted: Wanted, after: _Place | None, *, newest: bool) -> tuple[str, str]:
    """What is left of a shard after that place, as the store's bounds."""
    begin, end = store.span(wanted.since_ms, wanted.before_ms)
    if after is None:
        return begin, end
    passed = after.shard in (-1, shard) or (shard > after.shard) is newest
    bound = f"{'(' if passed else ''}{after.ms}-{after.seq}"
    if newest:
        return begin, end if 0 < wanted.before_ms <= after.ms else bound
    return begin if wanted.since_ms > after.ms else bound, end


async def show(shards: Sequence[Shard], name: str, *, private: bool) -> Letter | None:
    """The entry of that name; without its shard, of the first shard that has one. None: there is none."""
    place = _place(name)
    for shard in shards:
        if place.shard in (-1, shard.number):
            found = await store.named(shard, [f"{place.ms}-{place.seq}"])
            fields = await store.fields_of(shard, found[0].id) if found else None
            if fields is not None:
                secret = [name for name in fields if name == "message" or (name[:3] == "in." and name[3:] not in OPEN)]
                hidden = {} if private else {name: len(fields[name]) for name in secret}
                shown = {name: value for name, value in fields.items() if name not in hidden}
                return Letter(**msgspec.structs.asdict(found[0]), fields=shown, hidden=hidden)
    return None


async def found(shards: Sequence[Shard], wanted: Wanted) -> list[Dead]:
    """All entries that are wanted, the oldest first."""
    there: list[Dead] = []
    for shard in shards:
        if wanted.ids:
            places = [_place(name) for name in wanted.ids if is_name(name)]
            mine = {f"{place.ms}-{place.seq}": None for place in places if place.shard in (-1, shard.number)}
            there += [one for one in await store.named(shard, list(mine)) if wanted.holds(one)]
        else:
            all_ = store.dead(shard, since_ms=wanted.since_ms, before_ms=wanted.before_ms)
            there += [one async for one in all_ if wanted.holds(one)]
    return sorted(there, key=_order)


def missing(wanted: Wanted, these: Iterable[Dead]) -> list[str]:
    """The names that were asked for and that none of these has."""
    there = {name for one in these for name in (one.id, f"{one.id}@{one.shard}")}
    return sorted(wanted.ids - there)


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


def is_name(text: str) -> bool:
    """Whether this can be an entry's name."""
    return re.fullmatch(NAME, text) is not None


def name_of(one: Dead, shards: int) -> str:
    """What `show` and `after` take."""
    return _name(_order(one), shards)


def _name(place: _Place, shards: int) -> str:
    return f"{place.ms}-{place.seq}{f'@{place.shard}' if shards > 1 else ''}"


def _place(name: str) -> _Place:
    """Of a name."""
    id_, _, shard = name.partition("@")
    ms, _, seq = id_.partition("-")
    return _Place(int(ms), int(seq), int(shard) if shard else -1)


def _order(one: Dead) -> _Place:
    """By time, over all shards."""
    return _place(f"{one.id}@{one.shard}")
