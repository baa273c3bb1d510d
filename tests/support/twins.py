"""A shard of the store and its twin in pure Python under one clock: every verb is called on both, and both must agree.

Never decides what is right: it says where the two differ, and which of the store's own promises is broken.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec
from redis.asyncio import Redis

from smsd.core import outcome, state
from smsd.core.limit import Limit, parse, spacing_us
from smsd.core.optout import Scope
from smsd.core.twin import values
from smsd.core.twin.limits import Limits
from smsd.core.twin.shard import Shard as Twin
from smsd.message import Entry, Leased
from smsd.store import holds, keys, optouts, record, shard
from smsd.store.find import hashed

SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000
START = 1_700_000_000 * SECOND
SLACK = 20_000


class Config(NamedTuple):
    """What is put in force, in the config's words."""

    classes: dict[str, tuple[int, int]]  # weight, share in 1/1000; heavier first
    tenants: dict[str, tuple[str, ...]]
    tenant_classes: dict[str, dict[str, tuple[str, ...]]]
    senders: dict[str, tuple[str, ...]]
    providers: dict[str, tuple[int, tuple[str, ...]]]

    def for_twin(self) -> values.Settings:
        """As the twin reads it."""

        def read(texts: tuple[str, ...]) -> tuple[Limit, ...]:
            return tuple(map(parse, texts))

        named = self.tenants.keys() | self.tenant_classes.keys()
        by_class = {t: {c: read(x) for c, x in self.tenant_classes.get(t, {}).items()} for t in named}
        return values.Settings(
            {
                name: values.Class(weight, share, 48 * HOUR, "marketing" if name == "marketing" else "all")
                for name, (weight, share) in self.classes.items()
            },
            slack_us=SLACK,
            tenants={t: read(self.tenants.get(t, ())) for t in named},
            tenant_classes=by_class,
            senders={s: read(x) for s, x in self.senders.items()},
            providers={p: read(x) for p, (_, x) in self.providers.items()},
            max_in_flight={p: most for p, (most, _) in self.providers.items()},
        )

    def for_store(self) -> dict[str, object]:
        """As the scripts read it."""
        named = self.tenants.keys() | self.tenant_classes.keys()
        tenants = {
            f"t:{t}": [
                compiled(self.tenants.get(t, ())),
                {c: compiled(x) for c, x in self.tenant_classes.get(t, {}).items()},
            ]
            for t in named
        }
        return {
            "classes": [
                [name, weight, share, 48 * HOUR, int(name == "marketing")]
                for name, (weight, share) in self.classes.items()
            ],
            "keep": [72 * HOUR, 1, SLACK],
            **tenants,
            **{f"s:{s}": compiled(x) for s, x in self.senders.items()},
            **{f"p:{p}": [most, compiled(x)] for p, (most, x) in self.providers.items()},
        }


def compiled(texts: Sequence[str]) -> list[list[int]]:
    """Limits as the scripts read them."""
    out: list[list[int]] = []
    for one in map(parse, texts):
        spacing = spacing_us(one, SLACK) if one.paced else 0
        out.append([int(one.segments), one.n, one.period_us, one.burst, spacing, int(one.paced)])
    return out


class Charge(NamedTuple):
    """One message that was leased, for the check of the windows."""

    order: int  # among the charges and changes of the config
    at_us: int
    key: str
    fence: int
    segments: int
    scopes: tuple[str, ...]


class Pair:
    """Both, and what happened so far."""

    def __init__(self, client: Redis, config: Config) -> None:
        self.client = client
        self.store = shard.Shard(client, clock_step_us=0)
        self.twin = Twin(config.for_twin(), START)
        self.now = START
        self.store.now_us = START
        self.config = config
        self.configs: list[tuple[int, Config]] = []
        self._order = itertools.count()
        self.charges: list[Charge] = []
        self.states: defaultdict[str, list[str]] = defaultdict(list)
        self._read = "-"
        self._told = 0

    async def start(self) -> None:
        """Puts the first config in force."""
        await self.put(self.config)

    def pass_time(self, us: int) -> None:
        """Moves the clock of both."""
        self.now += us
        self.store.now_us = self.twin.now_us = self.now

    # ---- The verbs on both -------------------------------------------------------------------------------------------

    async def put(self, config: Config) -> None:
        """A config in force, never in the same instant as a lease before it."""
        self.pass_time(1)
        self.config = config
        self.configs.append((next(self._order), config))
        revision = self.twin.put(config.for_twin())
        got = await self.store.publish(f"h{revision}", b"", config.for_store())
        same("revision", got, revision)

    async def admit(self, entries: Sequence[Entry], class_: str) -> list[str]:
        """One word per entry."""
        words = await self.store.admit(entries, class_, from_inbox=False)
        same("admit", words, self.twin.admit(entries, class_))
        await self._compare_events()
        return words

    async def lease(self, route: str, offers: Sequence[shard.Offer], **more: Any) -> shard.Lease:
        """The same messages in the same order for the same providers, and the same time to wake at."""
        got = await self.store.lease(route, offers, **more)
        theirs = [values.Offer(o.provider, o.weight, o.room) for o in offers]
        want = self.twin.lease(route, theirs, **more)
        same("lease", [_brief(m) for m in got.messages], [_brief(m) for m in want.messages])
        same("leased", got.messages, want.messages)
        same("again, wake_us, revision", _rest(got), _rest(want))
        known = {(c.key, c.fence) for c in self.charges}
        for m in got.messages:
            if (m.message.key, m.fence) not in known:
                self.charges.append(
                    Charge(next(self._order), m.start_us, m.message.key, m.fence, m.message.segments, _scopes(m))
                )
        await self._compare_events()
        return got

    async def settle(self, outcomes: Sequence[outcome.Outcome]) -> list[str]:
        """One word per outcome. What is given back or moved has not left, so that no window counts it."""
        for one in outcomes:
            r = self.twin.record(one.key)
            if (
                isinstance(one, outcome.Back | outcome.Moved)
                and r
                and (r.state, r.fence) == (state.S.LEASED, one.fence)
            ):
                self.charges = [c for c in self.charges if (c.key, c.fence) != (one.key, one.fence)]
        words = await self.store.settle(outcomes)
        same("settle", words, self.twin.settle(outcomes))
        await self._compare_events()
        return words

    async def receipts(self, receipts: Sequence[shard.ReceiptFor]) -> list[str]:
        """One word per receipt."""
        words = await self.store.receipts(receipts, most_early=5)
        theirs = [values.Receipt(*msgspec.structs.astuple(r)) for r in receipts]
        same("receipts", words, self.twin.receipts(theirs, most_early=5))
        await self._compare_events()
        return words

    async def claim(self, n: int, hold_us: int) -> list[values.Unsure]:
        """The messages of unknown outcome to be looked at."""
        got, want = await self.store.claim(n, hold_us), self.twin.claim(n, hold_us)
        same("claim", [msgspec.structs.astuple(u) for u in got], [msgspec.structs.astuple(u) for u in want])
        return want

    async def sweep(self, **more: Any) -> bool:
        """Whether there is more to do, and the counts."""
        again, swept = await self.store.sweep({"main": 5 * SECOND}, **more)
        want_again, want = self.twin.sweep({"main": 5 * SECOND}, **more)
        await self._compare_events()
        same("swept", _fields(swept), _fields(want))
        same("sweep again", again, want_again)
        return again

    async def pause(self, mark: str, until_us: int) -> None:
        """Whether that changed anything."""
        same("pause", await holds.pause(self.store, mark, until_us=until_us), self.twin.pause(mark, until_us=until_us))

    async def resume(self, mark: str) -> None:
        """Whether that changed anything."""
        same("resume", await holds.resume(self.store, mark), self.twin.resume(mark))

    async def withdraw(self, mark: str) -> None:
        """Everything of a kind."""
        same("withdraw", await holds.withdraw(self.store, mark), self.twin.withdraw(mark))

    async def lift(self, mark: str) -> None:
        """Whether that changed anything."""
        same("lift", await holds.lift(self.store, mark), self.twin.lift(mark))

    async def opt_out(self, whose: str, to: str, scope: Scope) -> None:
        """Whether that changed anything."""
        closed = await optouts.close(self.store, whose, [optouts.OptOut(to, scope, source="api")])
        same("opt out", closed == 1, self.twin.opt_out(whose, to, scope))

    async def opt_in(self, whose: str, to: str) -> None:
        """Whether that changed anything."""
        same("opt in", await optouts.open_(self.store, whose, [to]), int(self.twin.opt_in(whose, to) != ""))

    # ---- What both say -----------------------------------------------------------------------------------------------

    async def _compare_events(self) -> None:
        """New events are the same in the same order, and lawful by the table of states."""
        entries: Any = await self.client.xrange(keys.key(0, "events"), self._read)
        got = [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in entries]
        if entries:
            self._read = "(" + entries[-1][0].decode()
        want = self.twin.events[self._told :]
        self._told = len(self.twin.events)
        same("events", got, want)
        for event in got:
            if event["seq"] == "0":
                continue
            key = f"{event['tenant']}/{event['id']}"
            if event["seq"] == "1":  # after the record of an earlier one is gone, an id is a new message
                self.states[key].clear()
            self.states[key].append(event["state"])
            same(f"seq of {key}", event["seq"], str(len(self.states[key])))
            wrong = state.first_unlawful(self.states[key])
            assert wrong is None, f"{key}: {self.states[key]}"

    async def compare(self) -> None:
        """Records, counters and every index; and what must hold of the store whatever the twin says."""
        got, want = await view(self.client), twin_view(self.twin)
        for name in want:
            same(name, got[name], want[name])
        promises(got, self.twin)

    def windows(self) -> None:
        """In no window of any limit's period, while the limit was in force, did more than N leave."""
        by_scope: defaultdict[str, list[Charge]] = defaultdict(list)
        for charge in self.charges:
            for scope in charge.scopes:
                by_scope[scope].append(charge)
        for scope, charges in by_scope.items():
            for limit, since, until in self._stretches(scope):
                inside = sorted((c for c in charges if since < c.order < until), key=lambda c: c.at_us)
                for i, last in enumerate(inside):
                    window = [c for c in inside[: i + 1] if c.at_us > last.at_us - limit.period_us]
                    cost = sum(limit.cost(c.segments) for c in window)
                    assert cost <= limit.n or len(window) == 1, f"{scope} {limit}: {window}"

    def _stretches(self, scope: str) -> list[tuple[Limit, int, int]]:
        """Each limit of a scope, from when to when it was in force without a break, with the largest N of that time."""
        out: list[tuple[Limit, int, int]] = []
        running: dict[tuple[bool, int], tuple[Limit, int]] = {}
        for order, config in [*self.configs, (next(self._order), None)]:
            defined = {x.key: x for x in Limits(config.for_twin()).defined(scope)} if config else {}
            for key, (limit, since) in list(running.items()):
                if key not in defined:
                    out.append((limit, since, order))
                    del running[key]
            for key, limit in defined.items():
                before, since = running.get(key, (limit, order))
                running[key] = (limit if limit.n >= before.n else before, since)
        return out


def same(what: str, store: object, twin: object) -> None:
    """Raises with both sides; of lists with what one has and the other has not."""
    if store == twin:
        return
    if isinstance(store, list) and isinstance(twin, list) and len(store) + len(twin) > 4:
        ours, theirs = cast("list[object]", store), cast("list[object]", twin)
        store = [(i, one) for i, one in enumerate(ours) if theirs[i : i + 1] != [one]]
        twin = [(i, one) for i, one in enumerate(theirs) if ours[i : i + 1] != [one]]
    raise AssertionError(f"{what}:\n  store {store}\n  twin  {twin}")


def _brief(m: Leased) -> tuple[str, str, int, int, bool, int]:
    return m.message.key, m.provider, m.attempt, m.fence, m.resend, m.key_until_us


def _rest(lease: shard.Lease | values.Lease) -> tuple[bool, int, int]:
    return lease.again, lease.wake_us, lease.revision


def _scopes(m: Leased) -> tuple[str, ...]:
    x = m.message
    return f"t:{x.tenant}", f"c:{x.tenant}|{x.class_}", f"s:{x.sender}", f"p:{m.provider}"


def _fields(struct: msgspec.Struct) -> dict[str, int]:
    return msgspec.structs.asdict(struct)


# ---- The whole of both, in one form ----------------------------------------------------------------------------------

HASHES = (
    "msg",
    "body",
    "lane",
    "flow",
    "tags",
    "place",
    "inflight",
    "ref",
    "early",
    "batch",
    "meta",
    "pause",
    "limit",
    "withdrawn",
    "last",
    "optout",
)
LEX = ("lanes", "ready", "flows", "wait", "park", "paused", "due", "who", "optlist")
SCORED = ("wake", "lease", "dline", "await", "unsure", "earlyat", "ended", "withdrawing")

View = dict[str, Any]


async def view(client: Redis) -> View:
    """Everything that the store holds of shard 0."""
    pipe = client.pipeline(transaction=False)
    for kind in HASHES:
        pipe.hgetall(keys.key(0, kind))
    for kind in (*LEX, *SCORED):
        pipe.zrange(keys.key(0, kind), 0, -1, withscores=kind in SCORED)
    raw = dict(zip((*HASHES, *LEX, *SCORED), await pipe.execute(), strict=True))
    out: View = {}
    for kind in HASHES:
        out[kind] = {k.decode(): v for k, v in raw[kind].items()}
    for kind in LEX:
        out[kind] = [m.decode() for m in raw[kind]]
    for kind in SCORED:
        out[kind] = {m.decode(): int(score) for m, score in raw[kind]}
    out["records"] = {key: _record(record.decode(packed)) for key, packed in out.pop("msg").items()}
    out["body"] = set(out["body"])
    lanes = {lane: msgspec.msgpack.decode(packed) for lane, packed in out["lane"].items()}
    out["lane"] = {lane: told[:6] for lane, told in lanes.items()}
    out["head costs"] = {lane: told[6] for lane, told in lanes.items() if told[6]}  # 0: nobody has looked
    out["withdrawn"] = {what: int(value.split()[0]) for what, value in out["withdrawn"].items()}
    out["last"] = {where: key.decode() for where, key in out["last"].items()}
    out["optout"] = {where: optouts.SCOPES[value[:1].decode()] for where, value in out["optout"].items()}
    out["place"] = {name: order.decode() for name, order in out["place"].items()}
    out["inflight"] = {name: int(n) for name, n in out["inflight"].items()}
    out["ref"] = {name: at.decode() for name, at in out["ref"].items()}
    out["early"] = {n: [r[3] for r in msgspec.msgpack.decode(packed)] for n, packed in out["early"].items()}
    out["backlog"] = {n[2:]: int(v) for n, v in out["meta"].items() if n.startswith("n:") and int(v)}
    out["tags"] = {name: int(tag) for name, tag in out["tags"].items() if int(tag)}
    return out


def twin_view(twin: Twin) -> View:
    """The same of the twin, written as the store writes it."""
    book = twin.book
    lanes = book.lanes.values()
    ready = [lane for lane in lanes if lane.where == "ready"]
    waiting = [lane for lane in lanes if lane.where == "waiting"]
    tags: dict[str, int] = {}
    flows: list[str] = []
    for (route, class_), queue in book.flows.items():
        tags[f"V|{route}|{class_}"] = queue.virtual
        flows += [f"{route}\0{class_}\0{at:016}\0{tenant}" for at, tenant in queue.order()]
    for route, turns in book.turns.items():
        tags[f"V|{route}"] = turns.virtual
        tags |= {f"F|{route}|{class_}": tag for class_, tag in turns.finish.items()}
    wait: list[str] = []
    for scope, line in book.lines.items():
        for e in line.entries():
            name = e.name if e.is_place else f"!{e.till_us:016}\0{e.name}"
            wait.append(f"{scope}\0{_order(e.order)}\0{name}")
    return {
        "records": {r.key: _record(r) for r in book.records.values()},
        "body": set(book.bodies),
        "backlog": {name: n for name, n in book.backlog.items() if n},
        "lanes": sorted(f"{x.name}\0{_head(m)}\0{m[2].partition('/')[2]}" for x in lanes for m in x.messages),
        "lane": {
            x.name: [
                x.where[0],
                _head(x.head),
                x.scope,
                x.refused_us,
                x.via,
                [f"{scope}\0{_order(e.order)}\0!{e.till_us:016}\0{x.name}" for scope, e in x.holds],
            ]
            for x in lanes
        },
        "ready": sorted(f"{x.flow}\0{_head(x.head)}\0{x.name}" for x in ready),
        "park": sorted(f"{x.scope}\0{x.flow}\0{_head(x.head)}\0{x.name}" for x in waiting),
        "paused": sorted(f"{x.scope}\0{x.name}" for x in lanes if x.where == "paused"),
        "wait": sorted(wait),
        "wake": {scope: line.wake_us for scope, line in book.lines.items() if line.wake_us is not None},
        "flows": sorted(flows),
        "tags": {name: tag for name, tag in tags.items() if tag},
        "withdrawn": dict(book.withdrawn),
        "withdrawing": {mark: book.withdrawn[mark] for mark in book.withdrawing},
        "last": {f"{sender}\0{hashed(to)}": key for (sender, to), key in book.last.items()},
        "optout": {optouts.field(mark, to): scope for (mark, to), scope in book.opt_outs.items()},
        "optlist": sorted(optouts.field(mark, to) for mark, to in book.opt_outs),
        "due": sorted(f"{c}\0{at:016}\0{key}" for c, timers in book.due.items() for key, at in timers.all().items()),
        "dline": book.deadlines.all(),
        "lease": book.leases.all(),
        "inflight": dict(book.in_flight),
        "await": book.awaited.all(),
        "unsure": book.unsure.all(),
        "ended": book.ended.all(),
        "ref": {f"{provider}/{id_}": f"{attempt}.{key}" for (provider, id_), (attempt, key) in book.refs.items()},
        "early": {f"{p}/{id_}": [r.status for r in known] for (p, id_), known in book.early.items()},
        "earlyat": {f"{p}/{id_}": at for (p, id_), at in book.early_at.items()},
    }


def _head(head: Sequence[Any]) -> str:
    return f"{head[0]:016}{head[1]:09x}"


def _order(order: tuple[int, int]) -> str:
    return f"{999 + order[0]:03}{order[1]:016}"


def _record(r: record.Record | values.Record) -> dict[str, object]:
    """The fields that both have, in one form."""
    names = "class_ route lane deadline arrival due cost attempt fence provider flags print entered leased submitted"
    told: dict[str, object] = {
        name: getattr(r, name) for name in f"{names} seq nos fails waited tries unsettled keyed".split()
    }
    taken = [(t.attempt, t.provider, t.provider_id, t.receipt) for t in r.taken]
    parked = [(p[0], p[3]) if isinstance(p, list) else (p.attempt, p.status) for p in r.parked]
    return told | {"state": r.state or "tomb", "taken": taken, "parked": parked}


def promises(got: View, twin: Twin) -> None:
    """What must hold of the store by itself."""
    places: Counter[str] = Counter()
    for member in got["ready"]:
        flow, head, lane = member.split("\0")
        same(f"ready {lane}", ("r", head, flow), (got["lane"][lane][0], got["lane"][lane][1], _flow(lane)))
        places[lane] += 1
    for member in got["park"]:
        scope, flow, head, lane = member.split("\0")
        same(f"park {lane}", ["w", head, scope], got["lane"][lane][:3])
        assert f"{scope}\0{flow}" in got["place"], f"{lane} waits at {scope} without a place"
        assert scope in got["wake"], f"{scope} has somebody waiting and no time to wake"
        places[lane] += 1
    for member in got["paused"]:
        mark, lane = member.split("\0")
        same(f"paused {lane}", ("p", mark), (got["lane"][lane][0], got["lane"][lane][2]))
        places[lane] += 1
    same("every lane stands in one place", dict(places), dict.fromkeys(got["lane"], 1))
    heads: dict[str, str] = {}
    costs: dict[str, int] = {}
    for member in got["lanes"]:
        lane, head, id_ = member.split("\0")
        heads.setdefault(lane, head)
        costs.setdefault(lane, got["records"][f"{lane.partition('|')[0]}/{id_}"]["cost"])
    same("costs of heads", got["head costs"], {lane: costs[lane] for lane in got["head costs"]})
    same("heads are true", {lane: one[1] for lane, one in got["lane"].items()}, heads)
    same("deadlines of heads", got["dline"], {lane: int(head[:16]) for lane, head in heads.items()})
    waiting = {tuple(m.split("\0")[:2]) for m in got["park"]}
    same("places", {tuple(name.split("\0")) for name in got["place"]}, waiting)
    active = {(_flow(m.split("\0")[2])) for m in got["ready"]}
    same("flows", {"|".join((m.split("\0")[3], m.split("\0")[1], m.split("\0")[0])) for m in got["flows"]}, active)
    leased: Counter[str] = Counter()
    for r in got["records"].values():
        if r["state"] == "leased":
            leased.update((f"p:{r['provider']}", f"c:{r['route']}|{r['class_']}", f"n:{r['fence']}"))
    same("in flight", got["inflight"], dict(leased))
    queued = Counter(r["class_"] for r in got["records"].values() if r["state"] == "queued")
    same("backlog", got["backlog"], dict(queued))
    same("queued messages are in a lane or due", len(got["lanes"]) + len(got["due"]), queued.total())
    awaited = {key for key, r in got["records"].items() if r["state"] == "submitted"}
    assert awaited <= got["await"].keys(), "a submitted message that nothing will end"
    unknown = {key for key, r in got["records"].items() if r["state"] == "unknown"}
    assert unknown <= got["await"].keys() | got["unsure"].keys(), "an unknown message that nothing will end"
    over = {key for key, r in got["records"].items() if r["state"] == "tomb" or r["state"] in state.FINAL}
    same("records that go", set(got["ended"]), over)


def _flow(lane: str) -> str:
    return "|".join(lane.split("|")[:3])


KEPT = {"meta", "tags"}  # counters, and two numbers for each class and route


async def left_behind(client: Redis) -> Mapping[str, object]:
    """What is still there after everything has ended and gone."""
    got = await view(client)
    return {kind: found for kind, found in got.items() if found and kind not in KEPT}
