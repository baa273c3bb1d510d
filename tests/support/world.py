"""A shard under a virtual clock, and short words for what a platform, a process and a provider do to it.

Never sleeps, never reads a clock: every instant is `world.now`, moved by `world.pass_time`.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from smsd.core import outcome, state
from smsd.core.limit import parse, spacing_us
from smsd.message import Cancel, Leased, Message, Send
from smsd.store import keys
from smsd.store.shard import Lease, Offer, ReceiptFor, Shard, Swept

SECOND = 1_000_000
HOUR = 3600 * SECOND
START = 1_700_000_000 * SECOND  # behind the server: its own clock stamps the entries of streams
SLACK = 20_000
FAR = START + 1000 * HOUR


def limits(*texts: str) -> list[list[int]]:
    """Limits in the config's words, compiled as the scripts read them."""
    out: list[list[int]] = []
    for text in texts:
        one = parse(text)
        spacing = spacing_us(one, SLACK) if one.paced else 0
        out.append([int(one.segments), one.n, one.period_us, one.burst, spacing, int(one.paced)])
    return out


async def ask(client: Redis, *command: str | bytes | int) -> Any:
    """A command as the server knows it, for looking at what is there; the answer in whatever shape it has."""
    return await client.execute_command(*command)  # pyright: ignore[reportUnknownMemberType]


class World:
    """One shard of one store. `settings` is what a config would have compiled; `put` changes it."""

    def __init__(self, client: Redis, number: int = 0) -> None:
        self.client = client
        self.shard = Shard(client, number, clock_step_us=0)
        self.now = START
        self.shard.now_us = START
        self.settings: dict[str, object] = {
            "classes": [["reminder", 8, 1000, 48 * HOUR], ["marketing", 1, 1000, 48 * HOUR]],
            "keep": [72 * HOUR, 1, SLACK],
            "p:main": [1000, []],
            "p:spare": [1000, []],
        }
        self._requests = itertools.count(1)
        self._revisions = itertools.count(1)

    def pass_time(self, us: int) -> None:
        """Moves the clock forward."""
        self.now += us
        self.shard.now_us = self.now

    async def put(self, **changes: object) -> None:
        """Puts settings in force; names as in the store with `__` for `:`; None removes one."""
        for name, value in changes.items():
            field = name.replace("__", ":", 1)
            if value is None:
                del self.settings[field]
            else:
                self.settings[field] = value
        await self.shard.publish(f"h{next(self._revisions)}", b"", self.settings)

    async def limit(self, tenant: str, *texts: str, **by_class: Sequence[str]) -> None:
        """A tenant's limits, and those of its classes; the tenant "*" is the default."""
        self.settings[f"t:{tenant}"] = [limits(*texts), {c: limits(*t) for c, t in by_class.items()}]
        await self.put()

    def message(self, tenant: str, id_: str, class_: str = "reminder", **more: Any) -> Send:
        """An admission with everything usual. `more`: fields of Message, and not_before, deadline, replaces, entry."""
        schedule = {
            name: more.pop(name, default)
            for name, default in {"not_before": 0, "deadline": 0, "replaces": "", "entry": "", "print": ""}.items()
        }
        fields: dict[str, Any] = {
            "to": "+353861234567",
            "sender": "Salon",
            "body": "See you at ten.",
            "route": "default",
            "encoding": "GSM-7",
            "segments": 1,
            "to_country": "IE",
        } | more
        made = Message(tenant=tenant, id=id_, class_=class_, **fields)
        return Send(
            made,
            schedule["entry"],
            schedule["print"] or f"print-{made.body}",
            schedule["not_before"],
            schedule["deadline"] or self.now + 12 * HOUR,
            schedule["replaces"],
        )

    async def admit(self, *entries: Send | Cancel) -> list[str]:
        """Admits each under its own class."""
        out: list[str] = []
        for entry in entries:
            class_ = entry.message.class_ if isinstance(entry, Send) else "reminder"
            out += await self.shard.admit([entry], class_, from_inbox=False)
        return out

    async def send(self, tenant: str, id_: str, class_: str = "reminder", **more: Any) -> str:
        """Admits one message; the word that came back."""
        return (await self.admit(self.message(tenant, id_, class_, **more)))[0]

    async def cancel(self, tenant: str, id_: str) -> str:
        """Withdraws one message; the word that came back."""
        return (await self.admit(Cancel(tenant, id_, "")))[0]

    async def ask(
        self,
        n: int = 10,
        *,
        offers: Mapping[str, tuple[int, int]] | None = None,
        route: str = "default",
        process: str = "p1",
        span: int = 13 * SECOND,
        **more: Any,
    ) -> Lease:
        """One lease call; offers: provider -> (weight, room)."""
        given = [Offer(name, w, r) for name, (w, r) in ({"main": (1, 1000)} if offers is None else offers).items()]
        return await self.shard.lease(
            route, given, n=n, request=f"r{next(self._requests)}", process=process, span_us=span, **more
        )

    async def take(self, n: int = 10, **more: Any) -> list[Leased]:
        """Messages leased until nothing more is to be had now, or n."""
        got: list[Leased] = []
        while True:
            lease = await self.ask(n - len(got), **more)
            got += lease.messages
            if len(got) >= n or not (lease.again or lease.messages):
                return got

    async def settle(self, *outcomes: outcome.Outcome) -> list[str]:
        """Settles; the words that came back."""
        return await self.shard.settle(outcomes)

    async def accept(self, leased: Leased, provider_id: str = "") -> str:
        """The provider took it."""
        return (await self.settle(accepted(leased, provider_id or f"SM-{leased.message.id}")))[0]

    async def receipt(self, leased: Leased, status: str, *, provider_id: str = "", parts: int = 1, **more: str) -> str:
        """A receipt that carries our reference; the word that came back."""
        one = ReceiptFor(leased.message.key, leased.attempt, leased.provider, provider_id, status, parts=parts, **more)
        return (await self.shard.receipts([one]))[0]

    async def sweep(self, **more: Any) -> Swept:
        """Sweeps until a pass has nothing more to do; the sums."""
        total = [0] * len(Swept.__struct_fields__)
        while True:
            again, swept = await self.shard.sweep({"main": 5 * SECOND}, **more)
            total = [a + getattr(swept, name) for a, name in zip(total, Swept.__struct_fields__, strict=True)]
            if not again:
                return Swept(*total)

    async def events(self, key: str = "") -> list[dict[str, str]]:
        """The events of one message (all without a key), in order; each history is held against the table of states."""
        entries = await ask(self.client, "XRANGE", keys.key(self.shard.number, "events"), "-", "+")
        told = [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in entries]
        histories: defaultdict[str, list[str]] = defaultdict(list)
        for event in told:
            if event["seq"] != "0":
                histories[f"{event['tenant']}/{event['id']}"].append(event["state"])
        for name, states in histories.items():
            wrong = state.first_unlawful(states)
            assert wrong is None, f"{name}: {wrong[0]} -> {wrong[1]} is no way for a message ({states})"
        return [e for e in told if not key or f"{e['tenant']}/{e['id']}" == key]

    async def states(self, key: str) -> list[str]:
        """The states that the events of one message told."""
        return [event["state"] for event in await self.events(key)]

    async def last(self, key: str) -> dict[str, str]:
        """The newest event of one message."""
        return (await self.events(key))[-1]


def _head(leased: Leased) -> tuple[str, int]:
    return leased.message.key, leased.fence


def accepted(leased: Leased, provider_id: str, *segment_ids: str) -> outcome.Accepted:
    """Outcomes for a lease, short."""
    return outcome.Accepted(*_head(leased), "accepted", leased.attempt, leased.provider, provider_id, segment_ids)


def back(leased: Leased) -> outcome.Back:
    return outcome.Back(*_head(leased), "back", leased.attempt, leased.provider)


def retry(leased: Leased, at_us: int, counted: int = 1, waited: str = "") -> outcome.Retry:
    return outcome.Retry(*_head(leased), "retry", leased.attempt, leased.provider, at_us, counted, waited, ())


def fail(leased: Leased, reason: str = "refused") -> outcome.Fail:
    return outcome.Fail(*_head(leased), "fail", leased.attempt, leased.provider, reason, ())


def unknown(leased: Leased, look_at_us: int) -> outcome.Unknown:
    return outcome.Unknown(*_head(leased), "unknown", leased.attempt, leased.provider, look_at_us, ())


def elsewhere(leased: Leased, providers: str) -> outcome.Elsewhere:
    return outcome.Elsewhere(*_head(leased), "elsewhere", leased.attempt, leased.provider, providers, ())


def moved(leased: Leased, route: str) -> outcome.Moved:
    return outcome.Moved(*_head(leased), "moved", leased.attempt, leased.provider, route, ("detail", "moved"))


def resend(leased: Leased, providers: str = "", key_until_us: int = 0) -> outcome.Resend:
    return outcome.Resend(*_head(leased), "resend", leased.attempt, leased.provider, providers, (), key_until_us)


def clear(leased: Leased, doubt: int = 0) -> outcome.Clear:
    return outcome.Clear(*_head(leased), "clear", leased.attempt, leased.provider, doubt, ())


def hold(leased: Leased) -> outcome.Hold:
    return outcome.Hold(*_head(leased), "hold", leased.attempt, leased.provider)
