"""What a new config drops, and what still waits for it: a class, route or provider is not taken from under messages,
and no route, plan or pool of senders from tenants whose settings were made by command or API.

Never changes anything, and never decides whether a config is published: revision.publish does. The store is looked at
only where something is dropped, in bounded steps beside the work that goes on.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Literal, cast

import msgspec

from smsd.config import SANDBOX, Config, told_by
from smsd.config.settings import CLASSES
from smsd.control.made import made
from smsd.store import keys
from smsd.store.record import Beginning
from smsd.store.shard import Shard

PAGE = 500  # lanes or records of one look
LANES_MOST = 500_000  # looked at in one shard; what lies behind these bounds is told as "at least"
DUE_MOST = 500_000
AWAITING_MOST = 20_000

Kind = Literal["class", "route", "provider", "plan", "sender pool"]
SECTIONS: dict[Kind, str] = {
    "class": "classes",
    "route": "routes",
    "provider": "providers",
    "plan": "plans",
    "sender pool": "sender_pools",
}
NAMED: dict[Kind, str] = {"route": "route", "plan": "plan", "sender pool": "sender_pool"}
"""What a tenant's settings name, and the key that does."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for one thing that a config drops, over all shards."""

    kind: Kind
    name: str
    queued: int = 0  # taken and not left, also what is due later
    inbox: int = 0  # of a class: entries that nobody has taken
    in_flight: int = 0  # leased at this moment
    awaiting: int = 0  # of a provider: taken by it, and its receipt or a look-up is still to come
    named: int = 0  # by how many tenants' settings that were made by command or API; those of the file are its own
    at_least: bool = False  # there was more than could be looked at

    @property
    def holds(self) -> bool:
        """Whether it keeps a config from being published. Receipts alone do not: these are only warned of."""
        return bool(self.queued or self.inbox or self.in_flight or self.named)

    def __str__(self) -> str:
        counts = [
            (self.queued, "queued"),
            (self.inbox, "in its inbox"),
            (self.in_flight, "in flight"),
            (self.awaiting, "submitted and waiting for a receipt"),
            (self.named, "tenant(s) given it by command or API"),
        ]
        told = ", ".join(f"{n:,} {what}" for n, what in counts if n)
        return f"{self.kind} {self.name}: {'at least ' if self.at_least else ''}{told}; {self._mend()}"

    def _mend(self) -> str:
        if self.name == SANDBOX and self.holds:
            return (
                "keep [sandbox] on until these are through, or cancel them: they were taken to be texted to nobody, "
                "and no route but the sandbox's will ever serve them"
            )
        if self.name == SANDBOX:
            return "once [sandbox] is off their receipts are refused, and they end as unconfirmed"
        if self.named:
            key, left = NAMED[self.kind].replace("_", "-"), self.queued or self.in_flight
            given = f"smsd check --diff names them, and smsd tenant set TENANT --{key} NAME gives each another"
            return f"{given}; keep [routes.{self.name}] until it is empty" if left else given
        match self.kind, self.holds:
            case "class", _:
                return f"smsd cancel class {self.name} ends them, or keep [classes.{self.name}] until it is empty"
            case "route", _:
                return (
                    f"keep [routes.{self.name}] until it is empty: what is new goes by the routes that you name instead"
                )
            case _, True:
                return f"take it out of the routes first, and drop [providers.{self.name}] when nothing is left of it"
            case _:
                return f"without [providers.{self.name}] their receipts are refused, and they end as unconfirmed"


class Held(Exception):
    """A config was not published, because it drops what messages wait for or tenants were given. The text says what,
    and how to mend it.
    """

    def __init__(self, waiting: Sequence[Waiting]) -> None:
        self.waiting = [one for one in waiting if one.holds]
        super().__init__(f"this config drops what is still needed: {'. '.join(map(str, self.waiting))}")


_begin = msgspec.msgpack.Decoder(Beginning).decode


def dropped(source: bytes, config: Config) -> dict[Kind, set[str]]:
    """The names in what was published (meaning.shared; b"" for nothing) that a config has no more."""
    if not source:
        return {kind: set() for kind in SECTIONS}
    table = msgspec.json.decode(source, type=dict[str, Any])
    there: dict[Kind, set[str]] = {kind: set(table.get(section, ())) for kind, section in SECTIONS.items()}
    if "classes" not in table:
        there["class"] = set(CLASSES)
    if told_by(source).enabled:  # these two are in no section
        there["route"].add(SANDBOX)
        there["provider"].add(SANDBOX)
    return {kind: names - set(getattr(config, SECTIONS[kind])) for kind, names in there.items()}


async def waiting(source: bytes, config: Config, shards: Sequence[Shard]) -> list[Waiting]:
    """What waits for each name that a config drops against what was published. Names for which nothing does are left
    out, and no store is looked at where nothing is dropped.
    """
    gone = dropped(source, config)
    if not any(gone.values()):
        return []
    counts = [await _Count(shard, gone).run() for shard in shards]
    found: list[Waiting] = []
    for kind, names in gone.items():
        for name in sorted(names):
            sums = {
                field: sum(count.of.get((kind, name, field), 0) for count in counts)
                for field in ("queued", "inbox", "in_flight", "awaiting", "named")
            }
            if any(sums.values()):
                more = any(kind in count.cut for count in counts)
                found.append(Waiting(kind=kind, name=name, at_least=more, **sums))
    return found


class _Count:
    """One shard: (kind, name, field of Waiting) -> how many; `cut` names the kinds of which not all could be seen."""

    def __init__(self, shard: Shard, gone: dict[Kind, set[str]]) -> None:
        self._shard, self._number = shard, shard.number
        self._client: Any = shard.client
        self._gone = gone
        self.of: dict[tuple[Kind, str, str], int] = {}
        self.cut: set[Kind] = set()

    def _key(self, kind: str) -> str:
        return keys.key(self._number, kind)

    def _add(self, kind: Kind, name: str, field: str, n: int) -> None:
        if n and name in self._gone[kind]:
            self.of[kind, name, field] = self.of.get((kind, name, field), 0) + n

    async def run(self) -> "_Count":
        await self._counters()
        if self._gone["route"] or self._gone["provider"]:
            await self._lanes()
            await self._due()
        if self._gone["provider"]:
            await self._awaiting()
        if any(self._gone[kind] for kind in NAMED):
            await self._made()
        return self

    async def _counters(self) -> None:
        """What the scripts count anyway: each class's backlog, and what is in flight."""
        for class_ in self._gone["class"]:
            self._add("class", class_, "queued", int(await self._client.hget(self._key("meta"), f"n:{class_}") or 0))
            self._add("class", class_, "inbox", await self._client.xlen(keys.inbox(self._number, class_)))
        flying: dict[bytes, bytes] = await self._client.hgetall(self._key("inflight"))
        for field, n in flying.items():
            scope, _, name = field.decode().partition(":")
            if scope == "p":
                self._add("provider", name, "in_flight", int(n))
            elif scope == "c":
                route, _, class_ = name.partition("|")
                self._add("route", route, "in_flight", int(n))
                self._add("class", class_, "in_flight", int(n))

    def _queued(self, lane: str, n: int) -> None:
        """Messages of one lane: they wait for its route, and for its providers where it is bound to some."""
        _, _, route, *_, bound = lane.split("|")
        self._add("route", route, "queued", n)
        able = bound.split(",")
        if bound and self._gone["provider"].issuperset(able):
            for name in able:
                self._add("provider", name, "queued", n)

    async def _lanes(self) -> None:
        cursor, seen = 0, 0
        while True:
            cursor, page = await cast("Awaitable[Any]", self._client.hscan(self._key("lane"), cursor, count=PAGE))
            lanes = [lane for lane in page if self._concerns(lane.decode())]
            async with self._client.pipeline(transaction=False) as pipe:
                for lane in lanes:
                    pipe.zlexcount(self._key("lanes"), b"[" + lane + b"\0", b"(" + lane + b"\0\xff")
                counts: list[int] = await pipe.execute() if lanes else []
            for lane, n in zip(lanes, counts, strict=True):
                self._queued(lane.decode(), n)
            seen += len(page)
            if not cursor:
                return
            if seen >= LANES_MOST:
                self.cut |= {"route", "provider"}
                return

    def _concerns(self, lane: str) -> bool:
        _, _, route, *_, bound = lane.split("|")
        return route in self._gone["route"] or (bool(bound) and bool(self._gone["provider"]))

    async def _due(self) -> None:
        """What waits for its time is in no lane: only its record knows the route."""
        async for one in self._records("due", DUE_MOST, {"route", "provider"}):
            if one.state == "queued":
                self._queued(one.lane, 1)

    async def _awaiting(self) -> None:
        async for one in self._records("await", AWAITING_MOST, {"provider"}):
            if one.state in ("submitted", "unknown"):
                self._add("provider", one.provider, "awaiting", 1)

    async def _made(self) -> None:
        for table in (await made(self._shard)).tables.values():
            for kind, key in NAMED.items():
                self._add(kind, str((table or {}).get(key)), "named", 1)

    async def _records(self, index: str, most: int, kinds: set[Kind]) -> AsyncIterator[Beginning]:
        """The records behind an index, page by page; `kinds` are cut where there are more than `most`."""
        for start in range(0, most, PAGE):
            members: list[bytes] = await self._client.zrange(self._key(index), start, start + PAGE - 1)
            if not members:
                return
            names = [member.rsplit(b"\0", 1)[-1] for member in members]
            for packed in await self._client.hmget(self._key("msg"), names):
                if packed:
                    yield _begin(packed)
        self.cut |= kinds
