"""What status webhooks keep in one shard: pushes that are due, gaps that are read from the stream later, who is shut.

Never decides who wants an event, never talks to a receiver, never keeps an event itself: the stream of events has it.
"""

import time
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from smsd.store import keys
from smsd.store.connect import BLOCK_MS
from smsd.store.scripts import Scripts
from smsd.store.shard import Shard
from smsd.store.waiting import Waiting

BATCH = 100  # events of one read
PAGE = 500  # events of a gap, looked at in one step
MOST = 2000  # pushes kept for one receiver in a shard; what comes then is a gap
FORGET_MOST = 1000
WHO_MOST = 1000

Event = tuple[str, dict[str, str]]
"""The id of its entry, and its fields."""


class Push(msgspec.Struct, frozen=True):
    """One event that a receiver is to be told; `member` stands for the caller's hold of it."""

    member: str
    receiver: str
    entry: str
    tries: int
    first_us: int  # when it was tried first


class Taken(msgspec.Struct, frozen=True):
    """What a process got for a receiver, and what is left."""

    due: int  # could be taken as well
    kept: int  # in all
    pushes: list[Push]


class Gap(msgspec.Struct, frozen=True):
    """Events that a receiver is told by and by, read from the stream: [start, upto], of which the cursor is next."""

    field: str  # receiver, or receiver|replay
    start: str
    cursor: str  # "-": all were read
    upto: str  # "+": nobody keeps what comes
    tenant: str = ""  # of a replay; "*": of all

    @property
    def receiver(self) -> str:
        return self.field.partition("|")[0]

    @property
    def replay(self) -> bool:
        return "|" in self.field

    @property
    def open(self) -> bool:
        """Whether there are events to be read."""
        return self.cursor != "-"

    def __str__(self) -> str:
        return f"{self.start} {self.cursor} {self.upto}{self._rest}"

    @property
    def _rest(self) -> str:
        return f" {self.tenant}" if self.tenant else ""


class Page(msgspec.Struct, frozen=True):
    """Some events of a gap. `trimmed`: others were before them, or in their place, and the stream has them no more."""

    events: list[Event]
    trimmed: bool


class Shut(msgspec.Struct, frozen=True):
    """Why a receiver is told nothing."""

    at_ms: int
    why: str
    url: str = ""  # that answered so: another one is tried


_encode = msgspec.msgpack.Encoder().encode
_decode_taken = msgspec.msgpack.Decoder(list[tuple[int, int, list[str]]]).decode


def push_of(member: str) -> Push:
    """What a member of `push` says."""
    receiver, _due, entry, tries, first = member.split("\0")
    return Push(member, receiver, entry, int(tries), int(first))


def after(entry: str) -> str:
    """The first id behind an entry's."""
    ms, _, seq = entry.partition("-")
    return f"{ms}-{int(seq) + 1}"


class Pushes:
    """One shard's, for one process: a consumer of its events, and the verbs of lua/push_*.lua."""

    def __init__(self, shard: Shard, blocking: Redis, consumer: str) -> None:
        self._shard, self._client, self._consumer = shard, shard.client, consumer
        self._waiting = Waiting(shard.client, blocking)
        self._events = keys.key(shard.number, "events")
        self._last = "$"
        self._forgot = self._asked = ""
        self.gone: list[str] = []
        """Entries that were trimmed while they were read and not yet kept, for whoever tells of it and empties this."""
        shard.client.set_response_callback("XAUTOCLAIM", _as_sent)

    # ---- The events, as they come ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Makes the group where it is missing: from now on, or from where this process had come to."""
        try:
            await self._client.xgroup_create(self._events, keys.PUSHERS, id=self._last, mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def read(self, after: str = ">") -> list[Event]:
        """What is new, waiting up to BLOCK_MS; or what this process has read behind that id and not acknowledged."""
        words = ["XREADGROUP", "GROUP", keys.PUSHERS, self._consumer, "COUNT", BATCH, "BLOCK", BLOCK_MS]
        answer = cast("list[Any] | None", await self._waiting.read(*words, "STREAMS", self._events, after))
        got = await self._there(answer[0][1] if answer else ())
        if got and after == ">":
            self._last = got[-1][0]
        return got

    def stop(self) -> None:
        """Ends the wait of `read`, which answers with what it was handed by then; nothing waits from now on."""
        self._waiting.stop()

    async def claim(self, idle_ms: int) -> list[Event]:
        """Some of what has been read by anybody and not acknowledged for so long; it is this process's now."""
        words = ["XAUTOCLAIM", self._events, keys.PUSHERS, self._consumer, idle_ms, "0-0", "COUNT", BATCH]
        _next, entries, *gone = cast("list[Any]", await _command(self._client, *words))
        self.gone += [entry.decode() for entry in (gone[0] if gone else ())]  # off the list of what is pending already
        return await self._there(entries)

    async def trimmed(self, least_ms: int) -> str:
        """The last entry that the group has read, where events behind it were trimmed unread: it is gone, and the
        oldest that is left has waited for `least_ms`. Else "".
        """
        told: list[dict[str, Any]] = await cast("Any", self._client).xinfo_groups(self._events)
        first = await self.first()
        at_ms = _ms(first) if first else 0
        for group in told if first and now_ms(self._shard) - at_ms >= least_ms else ():
            last: str = group["last-delivered-id"].decode()
            if group["name"].decode() == keys.PUSHERS and last != "0-0" and _order(last) < _order(first):
                return last
        return ""

    async def leave(self, idle_ms: int, *names: str) -> None:
        """Forgets consumers of the group (only those named, if any are) that have been idle for so long."""
        await Scripts(self._client).run("consumers", [self._events], [keys.PUSHERS, idle_ms, 20, *names])

    async def _there(self, entries: Sequence[Any]) -> list[Event]:
        gone = [entry[0] for entry in entries if entry is not None and entry[1] is None]
        if gone:  # trimmed while it was pending
            await self._client.xack(self._events, keys.PUSHERS, *gone)
            self.gone += [entry.decode() for entry in gone]
        return [_event(entry_id, flat) for entry_id, flat in filter(None, entries) if flat is not None]

    # ---- Pushes ------------------------------------------------------------------------------------------------------

    async def keep(self, rows: Sequence[tuple[str, Sequence[tuple[str, bool]]]], lease_us: int) -> list[Push | None]:
        """Takes entries off the group, each kept for its receivers (name, whether this process pushes it at once).
        For each of these, in their order, what is to be pushed now.
        """
        packed = _encode([[entry, [[name, int(now)] for name, now in wants]] for entry, wants in rows])
        words = cast("list[bytes]", await self._shard.run("push_keep", packed, keys.PUSHERS, lease_us, MOST))
        return [push_of(word.decode()) if word else None for word in words]

    async def take(self, rooms: Sequence[tuple[str, int]], lease_us: int) -> list[Taken]:
        """Pushes that are due, up to so many for each receiver; nobody else gets them before the lease's end."""
        answer = _decode_taken(await self._shard.run("push_take", _encode(rooms), lease_us))
        return [Taken(due, kept, [push_of(member) for member in members]) for due, kept, members in answer]

    async def who(self) -> list[str]:
        """Receivers for whom something is due; of very many, some in each call, in turns."""
        last, *names = cast("list[bytes]", await self._shard.run("push_who", self._asked, WHO_MOST))
        self._asked = last.decode()
        return [name.decode() for name in names]

    async def done(self, rows: Sequence[tuple[str, int, int]]) -> int:
        """(member, when it is due again in µs or 0: over, tries). Returns how many were still this process's."""
        return cast("int", await self._shard.run("push_done", _encode(rows)))

    async def events(self, entries: Iterable[str]) -> list[Event | None]:
        """Events by their entries; None where the stream has it no more."""
        pipe = self._client.pipeline(transaction=False)
        for entry in entries:
            pipe.xrange(self._events, entry, entry)  # pyright: ignore[reportUnknownMemberType]
        found = await cast("Awaitable[list[list[tuple[bytes, dict[bytes, bytes]]]]]", pipe.execute())
        return [_event(*one[0]) if one else None for one in found]

    # ---- Gaps --------------------------------------------------------------------------------------------------------

    async def gaps(self) -> list[Gap]:
        """Of all receivers, also such as have been read to their ends."""
        return await gaps(self._shard)

    async def page(self, gap: Gap) -> Page:
        """The next events of a gap; fewer than PAGE: these are all."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.xrange(self._events, gap.cursor, gap.upto, count=PAGE)  # pyright: ignore[reportUnknownMemberType]
            pipe.xrange(self._events, count=1)  # pyright: ignore[reportUnknownMemberType]
            pipe.xinfo_stream(self._events)
            try:
                found, first, told = await cast("Awaitable[Any]", pipe.execute())
            except ResponseError as error:
                if "no such key" not in str(error):
                    raise
                return Page([], trimmed=False)
        if found:
            trimmed = gap.cursor != found[0][0].decode() and found[0][0] == first[0][0]
        else:
            last: str = told["last-generated-id"].decode()
            trimmed = _order(gap.cursor) <= (_order(last) if gap.upto == "+" else min(_order(last), _order(gap.upto)))
        return Page([_event(entry_id, fields) for entry_id, fields in found], trimmed=trimmed)

    async def first(self) -> str:
        """The oldest entry that is kept; "" for none."""
        found: Any = await self._client.xrange(self._events, count=1)
        return found[0][0].decode() if found else ""

    async def fill(self, gap: Gap, page: Page, wanted: Sequence[str]) -> bool:
        """Keeps the wanted entries of a page, and moves the gap on. False: somebody else has, or there is no room."""
        cursor = after(page.events[-1][0]) if page.events else gap.cursor
        rest = f" {gap.tenant}" if gap.tenant else ""
        words = (gap.receiver, gap.field if gap.replay else "", str(gap), gap.start, cursor, gap.upto, rest)
        ended = int(len(page.events) < PAGE)
        return bool(await self._shard.run("push_fill", *words, _encode(wanted), ended, keys.PUSHERS, MOST // 2))

    # ---- Receivers ---------------------------------------------------------------------------------------------------

    async def shut_now(self) -> Collection[str]:
        """The receivers that are told nothing."""
        return (await shuts(self._shard)).keys()

    async def forget(self, hash_: str, receivers: Iterable[str]) -> int:
        """Drops what is kept for receivers that are there no more; the caller's config has this hash, and these.

        A pass is bounded; the next one goes on behind it.
        """
        words = (hash_, keys.PUSHERS, FORGET_MOST, self._forgot, *receivers)
        last, dropped = cast("list[Any]", await self._shard.run("push_forget", *words))
        self._forgot = last.decode()
        return int(dropped)


async def gaps(shard: Shard) -> list[Gap]:
    """Of all receivers, also such as have been read to their ends."""
    name = keys.key(shard.number, "gap")
    found = await cast("Awaitable[dict[bytes, bytes]]", shard.client.hgetall(name))
    return sorted(
        (Gap(f.decode(), *value.decode().split(" ", 3)) for f, value in found.items()), key=lambda gap: gap.field
    )


async def shuts(shard: Shard) -> dict[str, Shut]:
    """Who is told nothing, and why."""
    found = await cast("Awaitable[dict[bytes, bytes]]", shard.client.hgetall(keys.key(shard.number, "shut")))
    return {name.decode(): msgspec.json.decode(value, type=Shut) for name, value in found.items()}


async def disable(shard: Shard, receiver: str, why: Shut) -> bool:
    """Tells a receiver nothing until it is enabled. Returns whether this call did it."""
    name = keys.key(shard.number, "shut")
    return bool(await shard.client.hsetnx(name, receiver, msgspec.json.encode(why).decode()))


async def enable(shard: Shard, receiver: str) -> bool:
    """Lets a receiver be told again. Returns whether it was shut."""
    return bool(await shard.client.hdel(keys.key(shard.number, "shut"), receiver))


async def replay(shard: Shard, receiver: str, since_ms: int, until_ms: int, tenant: str) -> Literal["", "busy"]:
    """Has the events of [since, until) told again, of a tenant or ("*") of all. "busy": another replay is not over."""
    start, upto = f"{since_ms}-0", f"{until_ms - 1}-{2**64 - 1}"
    gap = Gap(f"{receiver}|replay", start, start, upto, tenant)
    made = await shard.client.hsetnx(keys.key(shard.number, "gap"), gap.field, str(gap))
    return "" if made else "busy"


async def backlog(shard: Shard, receivers: Sequence[str]) -> dict[str, tuple[int, int]]:
    """For each receiver, how many pushes are kept, and the time in ms of the oldest event that it was not told (0: of
    none); what lies in a gap is not counted, but its first event's time is told.
    """
    oldest: dict[str, int] = {}
    for gap in await gaps(shard):
        if gap.open and not gap.replay:
            oldest[gap.receiver] = _ms(gap.cursor)
    told: dict[str, tuple[int, int]] = {}
    for name in receivers:
        member = (f"[{name}\0", f"({name}\1")
        found: Any = await shard.client.zrangebylex(keys.key(shard.number, "push"), *member, 0, 2 * MOST)
        times = [_ms(push_of(one.decode()).entry) for one in found]
        if name in oldest:
            times.append(oldest[name])
        told[name] = (len(found), min(times) if times else 0)
    return told


def now_ms(shard: Shard) -> int:
    """On the shard's clock."""
    return (shard.now_us or time.time_ns() // 1000) // 1000


def _order(entry: str) -> tuple[int, int]:
    ms, _, seq = entry.partition("-")
    return int(ms), int(seq)


def _ms(entry: str) -> int:
    return int(entry.partition("-")[0])


def _event(entry_id: bytes, fields: Sequence[bytes] | Mapping[bytes, bytes]) -> Event:
    pairs = fields.items() if isinstance(fields, Mapping) else zip(fields[::2], fields[1::2], strict=True)
    return entry_id.decode(), {name.decode(): value.decode("utf-8", "replace") for name, value in pairs}


def _as_sent(response: Any, **_: Any) -> Any:
    return response


async def _command(redis: Redis, *words: str | int) -> object:
    return await redis.execute_command(*words)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
