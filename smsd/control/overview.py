"""What moves at this moment, of a whole store: rates, providers, the tenants with most to send, what binds.

Beside what `standing` counts, everything here is read from a bounded sample, so a look costs the same whatever waits.
Never changes anything.
"""

import time
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec

from smsd.config import Config
from smsd.control.standing import Standing, config_in_force, standing
from smsd.core.limit import show
from smsd.store import keys
from smsd.store.holds import Pause
from smsd.store.record import decode
from smsd.store.shard import Shard

ANSWERS = 50  # messages of which the time to the answer is looked at
TAIL = 400  # of the newest events, that rates are reckoned from
WINDOW_MS = 10_000  # events that are older count for no rate
SAMPLE = 400  # messages, or waiting lanes, that the tenants, or limits, to count are drawn from
SHOWN = 20  # tenants and limits that are counted


class ProviderNow(msgspec.Struct, frozen=True, kw_only=True):
    """One provider as it works now."""

    name: str
    health: str  # ok, paused, or dead where a process finds it so
    why: str
    in_flight: int
    max_in_flight: int
    answer_ms: float | None  # from leaving to the answer, the median of a few messages; None: none left lately
    submitted_per_s: float
    delivered_per_s: float
    undelivered_per_s: float


class TenantNow(msgspec.Struct, frozen=True):
    """One tenant with much to send."""

    tenant: str
    queued: int  # in lanes; what is due later is not among them


class BindNow(msgspec.Struct, frozen=True):
    """One limit that holds messages back."""

    scope: str  # t:TENANT, c:TENANT|CLASS, s:SENDER, p:PROVIDER
    limit: str  # as it is written; several are joined
    lanes: int  # that wait at it
    opens_ms: int  # when it next lets somebody out, as far as is known; 0: unknown


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `smsd top`."""

    at_ms: int
    standing: Standing
    per_s: dict[str, float]  # events a second, by state
    providers: list[ProviderNow]
    tenants: list[TenantNow]  # the most first
    binds: list[BindNow]  # the most first


async def overview(config: Config, shards: Sequence[Shard]) -> Overview:
    """`config`: this host's; limits and providers are those of the config in force."""
    now = await standing(config, shards)
    force = await config_in_force(config, shards[0])
    rates = Rates()
    tenants, binds = Counter[str](), list[BindNow]()
    for shard in shards:
        await rates.read(shard)
        tenants.update(await _tenants(shard))
        binds += await _binds(force, shard)
    dead = {name for process in now.processes for name in process.dead}
    return Overview(
        at_ms=time.time_ns() // 1_000_000,
        standing=now,
        per_s={state: round(n, 1) for state, n in rates.states.items()},
        providers=[_provider(name, force, now, rates, dead) for name in sorted(force.providers)],
        tenants=[TenantNow(name, n) for name, n in tenants.most_common(SHOWN)],
        binds=sorted(binds, key=lambda bind: (-bind.lanes, bind.scope))[:SHOWN],
    )


def _provider(name: str, force: Config, now: Standing, rates: "Rates", dead: set[str]) -> ProviderNow:
    pause: Pause | None = next((one for one in now.paused if one.what == f"p:{name}"), None)
    return ProviderNow(
        name=name,
        health="paused" if pause else "dead" if name in dead else "ok",
        why=pause.reason if pause else "",
        in_flight=now.in_flight.get(name, 0),
        max_in_flight=force.providers[name].max_in_flight,
        answer_ms=rates.answer_ms(name),
        submitted_per_s=rates.of(name, "submitted"),
        delivered_per_s=rates.of(name, "delivered"),
        undelivered_per_s=rates.of(name, "undelivered"),
    )


class Rates:
    """Events a second, by the newest TAIL of each shard that are within WINDOW_MS."""

    def __init__(self) -> None:
        self.states: dict[str, float] = {}
        self._answers_ms: dict[str, list[float]] = {}
        self._theirs: dict[tuple[str, str], float] = {}

    def of(self, provider: str, state: str) -> float:
        return round(self._theirs.get((provider, state), 0.0), 1)

    def answer_ms(self, provider: str) -> float | None:
        """From leaving to the answer, the median of a few messages; None: none left lately."""
        answers = self._answers_ms.get(provider)
        return round(median(answers), 1) if answers else None

    async def read(self, shard: Shard) -> None:
        """Adds one shard's."""
        client: Any = shard.client
        newest: list[tuple[bytes, dict[bytes, bytes]]]
        newest = await client.xrevrange(keys.key(shard.number, "events"), count=TAIL)
        seconds, micros = await client.time()
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        # Entry ids are instants of the server's clock; `at` is the shard's, which tests set.
        told = [(int(id_.partition(b"-")[0]), event) for id_, event in newest]
        recent = [(at, event) for at, event in told if now_ms - at <= WINDOW_MS]
        if not recent:
            return
        span_s = max(1, now_ms - recent[-1][0]) / 1000 if len(recent) == TAIL else WINDOW_MS / 1000
        submitted: list[str] = []
        for _, event in recent:
            state = event[b"state"].decode()
            self.states[state] = self.states.get(state, 0.0) + 1 / span_s
            if (provider := event.get(b"provider", b"").decode()) != "":
                self._theirs[provider, state] = self._theirs.get((provider, state), 0.0) + 1 / span_s
            if state == "submitted" and len(submitted) < ANSWERS:
                submitted.append(f"{event[b'tenant'].decode()}/{event[b'id'].decode()}")
        if submitted:
            packed: list[bytes | None] = await client.hmget(keys.key(shard.number, "msg"), submitted)
            for one in (decode(text) for text in packed if text):
                if one.submitted >= one.leased > 0:
                    self._answers_ms.setdefault(one.provider, []).append((one.submitted - one.leased) / 1000)


async def _tenants(shard: Shard) -> dict[str, int]:
    """The tenants that a sample of what is queued names most often, counted."""
    client: Any = shard.client
    key = keys.key(shard.number, "lanes")
    drawn: list[bytes] = await client.zrandmember(key, -SAMPLE)
    names = [name for name, _ in Counter(member.partition(b"|")[0] for member in drawn or ()).most_common(SHOWN)]
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.zlexcount(key, b"[" + name + b"|", b"(" + name + b"|\xff")
    counts: list[int] = await pipe.execute() if names else []
    return {name.decode(): int(n) for name, n in zip(names, counts, strict=True)}


async def _binds(config: Config, shard: Shard) -> list[BindNow]:
    """The limits that a sample of the waiting lanes names most often, counted."""
    client: Any = shard.client
    key = keys.key(shard.number, "park")
    drawn: list[bytes] = await client.zrandmember(key, -SAMPLE)
    scopes = [scope for scope, _ in Counter(member.partition(b"\0")[0] for member in drawn or ()).most_common(SHOWN)]
    pipe = client.pipeline(transaction=False)
    for scope in scopes:
        pipe.zlexcount(key, b"[" + scope + b"\0", b"(" + scope + b"\0\xff")
        pipe.zscore(keys.key(shard.number, "wake"), scope)
    found: list[Any] = await pipe.execute() if scopes else []
    return [
        BindNow(scope.decode(), _limit(config, scope.decode()), int(found[2 * i]), int(found[2 * i + 1] or 0) // 1000)
        for i, scope in enumerate(scopes)
    ]


def _limit(config: Config, scope: str) -> str:
    kind, _, name = scope.partition(":")
    if kind == "c":
        tenant, _, class_ = name.partition("|")
        limits = config.terms(tenant).class_limits.get(class_, ())
    elif kind == "t":
        limits = config.terms(name).limits
    else:
        known = config.senders if kind == "s" else config.providers
        limits = known[name].limits if name in known else ()
    return ", ".join(map(show, limits))
