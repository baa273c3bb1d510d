"""The conversation with the store, without a connection: generators that yield commands and are sent their replies.

So that the client with `await` and the one without are the same code. What a generator yields is a `Commands` (their
replies come back as a list) or a `Rest` (seconds to wait). A connection's failure is thrown into it.
"""

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as Late

from smsd.client.letters import BadMessage, Letter, NotSetUp, inbox

T = TypeVar("T")
AWAY = (Lost, Late, OSError)

CHUNK = 500  # entries in one round trip
TRIES = 8  # of one chunk while the store is away; a little over ten seconds in all
BLOCK_MS = 2000  # below redis-py's own timeout of five seconds
CLAIM_IDLE_MS = 60_000  # what a consumer has not acknowledged for so long is another's
CLAIM_EVERY_S = 15.0
REMEMBERED = 10_000  # events, so that one which is delivered again is not handed on twice


class Commands(msgspec.Struct, frozen=True):
    """Commands of one round trip. `blocks`: the reply may take seconds."""

    all: Sequence[Sequence[Any]]
    blocks: bool = False


class Rest(msgspec.Struct, frozen=True):
    """Seconds to wait."""

    seconds: float


Talk = Generator[Commands | Rest, Any, T]


Place = tuple[str, bytes]
"""A stream and the id of an entry in it."""


class Map(msgspec.Struct, frozen=True):
    """What `smsd:meta` says of a store."""

    shards: int
    classes: frozenset[str]  # empty: not known


def learn(shards: int | None) -> Talk[Map]:
    """How many shards there are, and which classes. Raises NotSetUp."""
    (meta,) = yield from _patiently([("HGETALL", "smsd:meta")])
    said: dict[bytes, bytes] = meta
    there = int(said.get(b"shards", 0))
    if not there and shards is None:
        raise NotSetUp("no smsd has ever used this store: start smsd run on it, or give shards=")
    if there and shards is not None and shards != there:
        raise BadMessage(f"shards: this store has {there}, not {shards}: leave it out")
    classes = said.get(b"classes", b"").decode()
    return Map(there or shards or 1, frozenset(name for name in classes.replace(",", " ").split() if name))


def write(letters: Sequence[Letter], there: Map) -> Talk[None]:
    """Writes all; what a lost reply leaves open is written again, for its id makes a repeat harmless."""
    for one in letters:
        if there.classes and one.class_ not in there.classes:
            raise BadMessage(f'class: there is no "{one.class_}", but {", ".join(sorted(there.classes))}')
    for at in range(0, len(letters), CHUNK):
        some = letters[at : at + CHUNK]
        yield from _patiently([("XADD", inbox(one, there.shards), "*", *_flat(one.fields)) for one in some])


def _patiently(commands: Sequence[Sequence[Any]]) -> Talk[list[Any]]:
    """One round trip that may be made again, made again while the store is away."""
    for tries in range(1, TRIES):
        try:
            return (yield Commands(commands))
        except AWAY:
            yield Rest(min(5.0, 0.05 * 2**tries))
    return (yield Commands(commands))


def _flat(fields: dict[str, str]) -> list[str]:
    return [text for pair in fields.items() for text in pair]


class Reader(Generic[T]):
    """A consumer of one kind of stream, over all shards. Hands on each event once, and none is lost: it is acknowledged
    after it was handled, what this consumer left open comes first, and what a dead one left is taken over.
    """

    def __init__(
        self, kind: str, there: Map, group: str, consumer: str, parse: Callable[[Any], T], *, start: str = "0"
    ) -> None:
        """`start`: where a new group begins: "0" at the oldest entry that is there, "$" at what comes from now on."""
        self._streams = [f"smsd:{{{shard}}}:{kind}" for shard in range(there.shards)]
        self._group, self._consumer, self._parse, self._start = group, consumer, parse, start
        self._after = dict.fromkeys(self._streams, "0")  # own open entries first; ">" after them
        self._handled: list[Place] = []
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._claim_at = 0.0
        self._failures = 0
        self._missing = False

    def handled(self, place: Place) -> None:
        """It will be acknowledged with the next round trip."""
        self._handled.append(place)

    def batch(self) -> Talk[list[tuple[Place, T | None]]]:
        """Some entries with their places; None for one that was handed on before, or of which nothing is left."""
        try:
            yield from self._acknowledge()
            if self._missing:
                yield from self._create()
            found = yield from self._claimed() if time.monotonic() >= self._claim_at else self._next()
        except AWAY:
            self._failures += 1
            self._after = dict.fromkeys(self._streams, "0")  # a reply that was lost has made entries ours
            yield Rest(min(2.0, 0.05 * 2 ** min(self._failures, 10)))
            return []
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            self._missing = True
            return []
        self._failures = 0
        return [(place, self._once(fields)) for place, fields in found]

    def close(self) -> Talk[None]:
        """Acknowledges what was handled, unless the store is away: then that is delivered again."""
        with contextlib.suppress(*AWAY):
            yield from self._acknowledge()

    def _acknowledge(self) -> Talk[None]:
        handled, self._handled = self._handled, []
        by_stream: dict[str, list[bytes]] = {}
        for stream, entry in handled:
            by_stream.setdefault(stream, []).append(entry)
        if by_stream:
            try:
                yield Commands([("XACK", stream, self._group, *entries) for stream, entries in by_stream.items()])
            except AWAY:
                self._handled = handled + self._handled
                raise

    def _next(self) -> Talk[list[tuple[Place, Any]]]:
        own = [stream for stream, after in self._after.items() if after != ">"]
        streams = own or self._streams
        read = ["XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", "100"]
        wait = [] if own else ["BLOCK", str(BLOCK_MS)]
        command = [*read, *wait, "STREAMS", *streams, *(self._after[stream] for stream in streams)]
        (reply,) = yield Commands([command], blocks=not own)
        found = _entries(reply)
        for stream in own:
            mine = [place[1] for place, _ in found if place[0] == stream]
            self._after[stream] = mine[-1].decode() if mine else ">"
        return found

    def _claimed(self) -> Talk[list[tuple[Place, Any]]]:
        self._claim_at = time.monotonic() + CLAIM_EVERY_S
        idle = str(CLAIM_IDLE_MS)
        replies = yield Commands(
            [
                ("XAUTOCLAIM", stream, self._group, self._consumer, idle, "0-0", "COUNT", "100")
                for stream in self._streams
            ]
        )
        found: list[tuple[Place, Any]] = []
        for stream, reply in zip(self._streams, replies, strict=True):
            found += [((stream, entry), fields) for entry, fields in reply[1]]
        return found

    def _create(self) -> Talk[None]:
        for stream in self._streams:
            try:
                yield Commands([("XGROUP", "CREATE", stream, self._group, self._start, "MKSTREAM")])
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
        self._missing = False

    def _once(self, fields: Any) -> T | None:
        if not fields:  # deleted or trimmed before it was read
            return None
        value = self._parse(fields)
        name: str = value.event_id  # pyright: ignore
        if name in self._seen:
            return None
        self._seen[name] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return value


def _entries(reply: Any) -> "list[tuple[Place, Any]]":
    """Of XREADGROUP by the second form of the protocol."""
    streams: list[tuple[bytes, list[tuple[bytes, Any]]]] = reply or []
    return [((stream.decode(), entry), fields) for stream, entries in streams for entry, fields in entries]
