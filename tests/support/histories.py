"""Random histories of a shard, each a list of operations that can be cut shorter: what an operation does follows from
its own number and from what happened before, so that a part of a history is a history too.

Never asserts anything: tests/support/twins.py compares the two that it is played on.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from smsd.core import outcome as o
from smsd.message import Cancel, Entry, Leased, Message, Rejection, Send
from smsd.store.shard import Offer, ReceiptFor
from tests.support.twins import HOUR, MINUTE, SECOND, Config, Pair

TENANTS = ("a", "b", "c.x", "d-1")
CLASSES = {"otp": (20, 1000), "reminder": (8, 1000), "marketing": (1, 600)}
SENDERS = ("S", "50505")
PEOPLE = ("+353861234567", "+353861234567", "+353861234568", "+14155550100")
ROUTES = ("default", "us")
PROVIDERS = ("main", "spare", "third")
SHORT = ("1/s", "2/s burst 2", "5/s", "10/s burst 3", "30/m")
SEGMENTS = ("3 segments/s", "5 segments/2s", "20 segments/m", "2 segments/s burst 2", "6 segments/2s")
COUNTED = (
    "6/2m",
    "4/90s",
    "5/77s",
    "4/100s",
    "12 segments/3m",
    "4 segments/3m",
    "5/h",
    "8 segments/2h",
    "12 segments/2h",
)
STATUSES = ("delivered", "undelivered", "sent", "accepted", "queued")
EVERY = (
    "pass_time",
    "admit",
    "lease",
    "settle",
    "receipt",
    "sweep",
    "claim",
    "cancel",
    "put",
    "pause",
    "resume",
    "withdraw",
    "lift",
    "opt_out",
    "opt_in",
)


class Op(NamedTuple):
    """One operation: which, and the number that all its choices follow from."""

    name: str
    seed: int


class Setting(NamedTuple):
    """What one history is about: how often each operation comes, and how rich the world is."""

    weights: tuple[int, ...]
    limits: int  # of 10: how often a scope has limits
    tenants: int
    doubt: bool  # whether most outcomes are unknown, and come late
    shared: bool  # whether two busy routes have one provider, whose limits are all that binds

    @property
    def routes(self) -> tuple[int, int]:
        """How often each route is chosen."""
        return (1, 1) if self.shared else (5, 1)


def history(seed: int, length: int) -> tuple[Setting, list[Op]]:
    """The history of a seed. Most are about everything, some about limits, unknown outcomes or pauses."""
    rng = random.Random(seed)
    weights = rng.choice((
        (20, 25, 25, 20, 10, 5, 3, 4, 2, 2, 3, 1, 1, 1, 1),
        (35, 25, 40, 15, 2, 4, 1, 2, 4, 1, 2, 0, 0, 0, 0),
        (15, 10, 20, 25, 20, 8, 8, 8, 1, 1, 1, 2, 1, 2, 3),
        (20, 25, 30, 15, 2, 10, 1, 4, 2, 8, 8, 4, 3, 4, 4),
    ))  # fmt: skip
    many, doubt, shared = rng.randint(1, len(TENANTS)), rng.random() < 0.35, rng.random() < 0.2
    setting = Setting(weights, rng.choice((0, 3, 6, 9)), many, doubt, shared)
    names = rng.choices(EVERY, weights, k=length)
    return setting, [Op(name, rng.getrandbits(40)) for name in names]


class Player:
    """Plays a history on a pair, and remembers what a process would."""

    def __init__(self, pair: Pair, setting: Setting) -> None:
        self.pair = pair
        self.setting = setting
        self.leased: list[Leased] = []
        self.outcomes: list[o.Outcome] = []
        self.receipts: list[ReceiptFor] = []
        self.sends: list[Send] = []
        self.requests = 0
        self.marks: list[str] = []
        self.withdrawn: list[str] = []

    async def play(self, op: Op) -> None:
        """One operation on both."""
        verb: Callable[[random.Random], Awaitable[None]] = getattr(self, op.name)
        await verb(random.Random(op.seed))

    # ---- The platform ------------------------------------------------------------------------------------------------

    async def pass_time(self, rng: random.Random) -> None:
        """From a microsecond to more than a record is kept."""
        spans = (1, 997, 20_000, 50_000, 333_333, SECOND, SECOND + 20_000, 7 * SECOND, 14 * SECOND, MINUTE)
        rare = (3 * MINUTE, HOUR, 13 * HOUR, 73 * HOUR, 721 * HOUR)
        self.pair.pass_time(rng.choice(rare) if rng.random() < 0.06 else rng.choice(spans) + rng.randint(0, 3))

    async def admit(self, rng: random.Random) -> None:
        """A batch of one class: new, repeated and changed messages, cancels, rejections."""
        class_ = rng.choice(list(CLASSES))
        entries = [self._entry(rng, class_) for _ in range(rng.choice((1, 1, 2, 5, 12)))]
        words = await self.pair.admit(entries, class_)
        self.sends += [e for e, word in zip(entries, words, strict=True) if isinstance(e, Send) and word != "conflict"]

    def _entry(self, rng: random.Random, class_: str) -> Entry:
        tenant = rng.choice(TENANTS[: self.setting.tenants])
        if rng.random() < 0.02:
            return Rejection("bad_body", "It is empty.", f"1-{rng.randint(1, 99)}", tenant, "", ((b"a", b"b"),))
        if rng.random() < 0.08 and self.sends:
            old = rng.choice(self.sends)
            if rng.random() < 0.2:
                told = old.fingerprint if rng.random() < 0.7 else "other"
                return Rejection(
                    "in_past", "Over.", "", old.message.tenant, old.message.id, ((b"a", b"b"),), told, "x", "{}"
                )
            if old.message.class_ == class_:
                return old if rng.random() < 0.7 else Send(old.message, "", "other", 0, old.deadline_us)
        id_ = f"m{len(self.sends)}.{rng.getrandbits(20)}"
        message = Message(
            tenant,
            id_ if rng.random() < 0.97 else f"early{rng.randint(1, 3)}",
            rng.choice(PEOPLE),
            rng.choice(SENDERS),
            "See you at ten.",
            class_,
            rng.choices(ROUTES, self.setting.routes)[0],
            "GSM-7",
            rng.choice((1, 1, 1, 2, 3, 4, 9)),
            "IE",
            rng.choice(("", "", "x")),
        )
        now = self.pair.now
        not_before = now + rng.choice((-5, 0, 1, SECOND, MINUTE, HOUR)) if rng.random() < 0.2 else 0
        span = rng.choice((3 * SECOND, MINUTE, HOUR, 12 * HOUR, 12 * HOUR, 12 * HOUR))
        replaces = self._known(rng, tenant) if rng.random() < 0.1 else ""
        return Send(message, "", f"print-{message.segments}", not_before, max(now, not_before) + span, replaces)

    def _known(self, rng: random.Random, tenant: str) -> str:
        ids = [send.message.id for send in self.sends[-30:] if send.message.tenant == tenant]
        return rng.choice([*ids[-8:], f"early{rng.randint(1, 3)}"])

    async def cancel(self, rng: random.Random) -> None:
        """Of a message that is known, or not yet."""
        tenant = rng.choice(TENANTS[: self.setting.tenants])
        ids = [self._known(rng, tenant) for _ in range(rng.randint(1, 3))]
        await self.pair.admit([Cancel(tenant, id_, "") for id_ in ids], "reminder")

    # ---- The processes -----------------------------------------------------------------------------------------------

    async def lease(self, rng: random.Random) -> None:
        """By one of two processes, sometimes under the same request again, sometimes several passes."""
        some = PROVIDERS[:1] if self.setting.shared else rng.sample(PROVIDERS, rng.choice((1, 2, 2, 3)))
        offers = [Offer(name, rng.choice((0, 1, 3, 10)), rng.choice((0, 1, 5, 100, 100))) for name in some]
        route, process = rng.choices(ROUTES, self.setting.routes)[0], rng.choice(("p-1", "p-2"))
        n, q = rng.choice((1, 2, 5, 20, 100)), rng.choice((1, 4, 4, 16))
        looks, span = rng.choice((0, 0, 0, 3)), rng.choice((13 * SECOND, 3 * SECOND))
        ahead = rng.choice((0, 0, 10_000, 10_000, 300_000))
        if rng.random() >= 0.05:
            self.requests += 1
        for _ in range(rng.choice((1, 1, 3))):
            got = await self.pair.lease(
                route, offers, n=n, request=f"{process}-{self.requests}", process=process, span_us=span,
                seed=rng.getrandbits(31), looks=looks, q=q, ahead_us=ahead,
            )  # fmt: skip
            self.leased += [m for m in got.messages if m not in self.leased[-200:]]
            self.requests += rng.random() < 0.9
            if not got.again:
                return

    async def settle(self, rng: random.Random) -> None:
        """Some of what was leased lately, in any way, sometimes long ago or once more."""
        outcomes: list[o.Outcome] = []
        for _ in range(rng.choice((1, 3, 10))):
            if self.outcomes and rng.random() < 0.1:
                outcomes.append(rng.choice(self.outcomes[-20:]))
            elif self.leased:
                recent = rng.random() < 0.8
                at = (
                    rng.randrange(max(0, len(self.leased) - 12), len(self.leased))
                    if recent
                    else rng.randrange(len(self.leased))
                )
                outcomes.append(
                    self._outcome(
                        rng,
                        self.leased[at] if rng.random() < (0.6 if self.setting.doubt else 0.2) else self.leased.pop(at),
                    )
                )
        if outcomes:
            await self.pair.settle(outcomes)
            self.outcomes += outcomes

    def _outcome(self, rng: random.Random, m: Leased) -> o.Outcome:
        key, fence, attempt, provider, now = m.message.key, m.fence, m.attempt, m.provider, self.pair.now
        extra = ("provider", provider, "attempt", str(attempt))
        often = (12, 12, 15, 12, 3, 3, 60) if self.setting.doubt else (45, 15, 12, 5, 5, 5, 12)
        if m.key_until_us and rng.random() < 0.5:
            return o.Resend(key, fence, "resend", attempt, provider, "", extra)
        kind = rng.choices(("accepted", "back", "retry", "fail", "elsewhere", "moved", "unknown"), often)[0]
        match kind:
            case "accepted":
                id_ = self._provider_id(rng, m)
                others = tuple(f"{id_}-{n}" for n in range(2, rng.choice((2, 2, 2, 3, 4))))
                return o.Accepted(key, fence, kind, attempt, provider, id_, others)
            case "back":
                return o.Back(key, fence, kind, attempt, provider)
            case "retry":
                at = now + rng.choice((0, 0, SECOND, 10 * SECOND, 14 * HOUR))
                waited = rng.choice(("", "provider_down", "throttled_out"))
                return o.Retry(key, fence, kind, attempt, provider, at, rng.randint(0, 1), waited, extra)
            case "fail":
                return o.Fail(
                    key, fence, kind, attempt, provider, rng.choice(("refused", "refused", "opted_out")), extra
                )
            case "elsewhere":
                others = ",".join(sorted(p for p in PROVIDERS if p != provider))
                return o.Elsewhere(key, fence, kind, attempt, provider, others, extra)
            case "moved":
                return o.Moved(key, fence, kind, attempt, provider, rng.choice(ROUTES), extra)
            case _:
                return o.Unknown(key, fence, "unknown", attempt, provider, now + rng.choice((0, 5 * SECOND)), extra)

    def _provider_id(self, rng: random.Random, m: Leased) -> str:
        return f"{m.message.key}.{m.fence}.{m.provider}" + ("" if rng.random() < 0.97 else "+")

    async def claim(self, rng: random.Random) -> None:
        """Looks at what is unknown, and settles some of it."""
        unsure = await self.pair.claim(rng.choice((1, 10)), 30 * SECOND)
        outcomes: list[o.Outcome] = []
        for u in unsure:
            head, now = (u.key, 0), self.pair.now
            rest = (u.attempt, u.provider)
            extra = ("provider", u.provider, "detail", "looked at")
            kinds = ("found", "look", "clear", "resend", "hold", "fail", "", "bound")
            kind = rng.choices(kinds, (2, 1, 4, 12, 1, 1, 1, 3) if self.setting.doubt else (4, 4, 4, 4, 2, 1, 1, 1))[0]
            match kind:
                case "found":
                    told = ((rng.choice(STATUSES), "", "", "raw"),) if rng.random() < 0.5 else ()
                    outcomes.append(o.Found(*head, kind, *rest, f"{u.key}.found.{u.attempt}", told))
                case "look":
                    outcomes.append(o.Look(*head, kind, *rest, now + 10 * SECOND, u.noes + 1, u.failures))
                case "clear":
                    outcomes.append(o.Clear(*head, kind, *rest, rng.randint(0, 1), extra))
                case "resend" | "bound":
                    bound = u.provider if kind == "bound" else ""
                    until = now + HOUR if bound and rng.random() < 0.8 else 0
                    outcomes.append(o.Resend(*head, "resend", *rest, bound, extra, until))
                case "hold":
                    outcomes.append(o.Hold(*head, kind, *rest))
                case "fail":
                    outcomes.append(o.Fail(*head, kind, *rest, "refused", extra))
                case _:
                    pass
        if outcomes:
            await self.pair.settle(outcomes)
            self.outcomes += outcomes

    async def sweep(self, rng: random.Random) -> None:
        """One pass, sometimes a small one."""
        dead = [r for r in ROUTES if rng.random() < 0.2]
        await self.pair.sweep(most=rng.choice((3, 100, 100)), dead_routes=dead)

    # ---- The providers -----------------------------------------------------------------------------------------------

    async def receipt(self, rng: random.Random) -> None:
        """By our reference or only by the provider's id; early, late, repeated, contradicting."""
        receipts: list[ReceiptFor] = []
        for _ in range(rng.choice((1, 2, 5))):
            if receipts and rng.random() < 0.2:  # once more, but only by the provider's id
                last = receipts[-1]
                receipts.append(ReceiptFor("", 0, last.provider, last.provider_id, "delivered"))
                continue
            if self.receipts and rng.random() < 0.2:
                receipts.append(rng.choice(self.receipts[-10:]))
                continue
            keys = list(self.pair.twin.book.records)[-40:]
            if not keys:
                return
            key = rng.choice(keys)
            r = self.pair.twin.book.records[key]
            attempt = r.attempt if rng.random() < 0.7 else rng.randint(0, r.attempt + 1)
            provider = r.provider if r.provider and rng.random() < 0.95 else "third"
            id_ = rng.choice(("", f"{key}.{r.fence}.{provider}", f"{key}.{r.fence}.{provider}"))
            id_ += rng.choice(("", "", "-2", "-3")) if id_ else ""
            parts = rng.choice((1, 1, 1, 0, 2, 3))
            status = rng.choices(STATUSES, (10, 6, 3, 2, 1))[0]
            by_id = rng.random() < 0.4
            reason = rng.choice(("blocked", "blocked", "opted_out")) if status == "undelivered" else ""
            receipts.append(
                ReceiptFor(
                    "" if by_id else key, 0 if by_id else attempt, provider, id_, status, reason, "", status, parts
                )
            )
        await self.pair.receipts(receipts)
        self.receipts += receipts

    # ---- The operator ------------------------------------------------------------------------------------------------

    async def put(self, rng: random.Random) -> None:
        """Other limits for some; rarely a class goes or comes back."""
        await self.pair.put(config(rng, self.setting))

    async def pause(self, rng: random.Random) -> None:
        """Any mark, for a while or until resumed."""
        tenant = rng.choice(TENANTS[: self.setting.tenants])
        marks = ("all", f"t:{tenant}", "c:marketing", "s:S", f"k:{tenant}|x", "p:main")
        mark = rng.choices(marks, (1, 5, 2, 3, 4, 2))[0]
        until = self.pair.now + rng.choice((SECOND, MINUTE, HOUR)) if rng.random() < 0.5 else 0
        self.marks.append(mark)
        await self.pair.pause(mark, until)

    async def resume(self, rng: random.Random) -> None:
        """A mark that was set."""
        if self.marks:
            await self.pair.resume(self.marks.pop(rng.randrange(len(self.marks))))

    async def withdraw(self, rng: random.Random) -> None:
        """Everything of a tenant, class or campaign, sometimes twice."""
        tenant = rng.choice(TENANTS[: self.setting.tenants])
        marks = (f"t:{tenant}", "c:marketing", f"tc:{tenant}|reminder", f"k:{tenant}|x")
        mark = rng.choices(marks, (2, 1, 3, 4))[0]
        self.withdrawn.append(mark)
        await self.pair.withdraw(mark)

    async def lift(self, rng: random.Random) -> None:
        """A withdrawal, done or not."""
        if self.withdrawn:
            await self.pair.lift(self.withdrawn.pop(rng.randrange(len(self.withdrawn))))

    # ---- The recipients ----------------------------------------------------------------------------------------------

    async def opt_out(self, rng: random.Random) -> None:
        """Of a tenant or a sender, marketing or all."""
        whose = rng.choice((*(f"t:{t}" for t in TENANTS[: self.setting.tenants]), *(f"s:{s}" for s in SENDERS)))
        await self.pair.opt_out(whose, rng.choice(PEOPLE), rng.choice(("marketing", "all")))

    async def opt_in(self, rng: random.Random) -> None:
        """Somebody who is on the list."""
        if known := sorted(self.pair.twin.book.opt_outs):
            await self.pair.opt_in(*rng.choice(known))

    # ---- The end -----------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """No limit, no pause: everything leaves or ends, and what ended goes."""
        for mark in set(self.marks):
            await self.pair.resume(mark)
        for mark in set(self.withdrawn):
            await self.pair.lift(mark)
        await self._open_all()
        await self.pair.put(Config(CLASSES, {}, {}, {}, {}))
        offers = [Offer(name, 1, 100) for name in PROVIDERS]
        for span in (0, MINUTE, HOUR, 13 * HOUR, 60 * HOUR, 80 * HOUR, 80 * HOUR, HOUR):
            self.pair.pass_time(span)
            await self._sweep_all()
            for route in ROUTES:
                await self._lease_all(route, offers)
            await self._sweep_all()
            unsure = await self.pair.claim(100, 30 * SECOND)
            if unsure:
                await self.pair.settle([o.Hold(u.key, 0, "hold", u.attempt, u.provider) for u in unsure])
        await self._open_all()

    async def _open_all(self) -> None:
        for whose, to in list(self.pair.twin.book.opt_outs):
            await self.pair.opt_in(whose, to)

    async def _lease_all(self, route: str, offers: Sequence[Offer]) -> None:
        while True:
            self.requests += 1
            got = await self.pair.lease(
                route, offers, n=100, request=f"end-{self.requests}", process="end", span_us=13 * SECOND
            )
            settled = [
                o.Accepted(m.message.key, m.fence, "accepted", m.attempt, m.provider, f"{m.message.key}.{m.fence}")
                for m in got.messages
            ]
            if settled:
                await self.pair.settle(settled)
            elif not got.again:
                return

    async def _sweep_all(self) -> None:
        while await self.pair.sweep():
            pass


def config(rng: random.Random, setting: Setting) -> Config:
    """Limits as rich as the history's setting says."""
    if setting.shared:
        return Config(dict(CLASSES), {}, {}, {}, {"main": (1000, (rng.choice((*SHORT, *SEGMENTS)),))})

    def some(*menus: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(rng.choice(menu) for menu in menus if rng.random() * 10 < setting.limits)

    tenants = {t: some(SHORT, COUNTED[:2]) for t in TENANTS[: setting.tenants] if rng.random() < 0.5}
    tenants["*"] = some(SHORT)
    by_class = {t: {"marketing": some(SHORT, SEGMENTS)} for t in tenants if rng.random() < 0.4}
    senders = {s: some(SEGMENTS, COUNTED) for s in SENDERS}
    providers = {p: (rng.choice((3, 20, 1000)), some(SHORT[1:])) for p in PROVIDERS[:2]}
    classes = dict(CLASSES)
    if rng.random() < 0.1:
        del classes["marketing"]
    return Config(classes, tenants, by_class, senders, providers)
