"""The gauges that only the store knows: backlog, ages, in flight, memory. Read when asked, and at most each second.

Never counts anything itself and never scans: each scrape costs the store the same, whatever waits in it.
"""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from redis.exceptions import RedisError

from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.store import keys
from smsd.store.record import decode
from smsd.store.shard import Shard

FRESH_S = 1.0
PATIENCE_S = 2.0  # a scraper gives up after ten; what the process counted itself is worth showing before
LANES_READ = 2000  # by their heads' deadlines
LANES_AT_RANDOM = 500  # for a class of which none of those is
HEADS = 100  # looked at, of each class

SIZES: dict[str, str] = {
    **dict.fromkeys(("events", "inbound", "dead"), "XLEN"),
    **dict.fromkeys(("msg", "lane", "ref", "early", "pause"), "HLEN"),
    **dict.fromkeys(("due", "await", "unsure"), "ZCARD"),
}
"""What may grow in a shard, by its name there, and the command that tells how much of it there is."""


class StoreGauges:
    """Keeps `metrics.store` fresh."""

    def __init__(self, live: Live, metrics: Metrics) -> None:
        self._live, self._metrics = live, metrics
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def scrape(self) -> bytes:
        """The metrics in Prometheus' text format, the store's read anew unless they were within a second."""
        async with self._reading:
            if time.monotonic() - self._read_at >= FRESH_S:
                self._metrics.store = await self._read()
                self._read_at = time.monotonic()
        self._metrics.revision = self._live.revision
        return self._metrics.render()

    async def _read(self) -> list[Metric]:
        up = GaugeMetricFamily(
            "smsd_store_up", "1 when the store answered this scrape; else its other gauges are missing"
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                shards = [await _Reading(shard, self._live).read() for shard in self._live.shards]
                memory = await self._live.shards[0].client.info("memory")  # pyright: ignore[reportUnknownMemberType]
        except (RedisError, OSError, TimeoutError):
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        return [up, *_families(shards, int(memory["used_memory"]), int(memory["maxmemory"]))]


def _families(shards: Sequence["_Reading"], used: int, most: int) -> list[Metric]:
    told = {
        "smsd_backlog_messages": ("class", "Messages that are taken and wait to leave, also for their time or a retry"),
        "smsd_inbox_entries": ("class", "Entries in the inbox that are not taken yet"),
        "smsd_in_flight": ("provider", "Messages that are leased to be sent by this provider, over all processes"),
        "smsd_store_entries": ("kind", "What may grow in the store: streams, records, indexes"),
    }
    families: list[Metric] = []
    for name, (label, text) in told.items():
        family = GaugeMetricFamily(name, text, labels=[label])
        sums: dict[str, int] = {}
        for shard in shards:
            for of, n in shard.counts[name].items():
                sums[of] = sums.get(of, 0) + n
        for of, n in sums.items():
            family.add_metric([of], n)
        families.append(family)
    age = GaugeMetricFamily(
        "smsd_oldest_message_age_seconds",
        "Since the oldest message that could leave now was taken; 0: none waits. An estimate, from the heads of up to "
        f"{HEADS} lanes of the class and shard, those with the earliest deadlines",
        labels=["class"],
    )
    for class_ in shards[0].ages:
        age.add_metric([class_], max(shard.ages.get(class_, 0) for shard in shards))
    memory = GaugeMetricFamily("smsd_store_memory_bytes", "Memory that the store uses", value=used)
    mark = GaugeMetricFamily("smsd_store_memory_max_bytes", "The store's maxmemory; 0: none is set", value=most)
    return [*families, age, memory, mark]


class _Reading:
    """One look at one shard."""

    def __init__(self, shard: Shard, live: Live) -> None:
        self._shard, self._client, self._number = shard, shard.client, shard.number
        self._classes = list(live.config.classes)
        self._providers = list(live.config.providers)
        self.counts: dict[str, dict[str, int]] = {}
        self.ages: dict[str, float] = {}

    def _key(self, kind: str) -> str:
        return keys.key(self._number, kind)

    async def read(self) -> "_Reading":
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(self._key("meta"))
            pipe.hmget(self._key("inflight"), [f"p:{name}" for name in self._providers] or ["p:"])
            for class_ in self._classes:
                pipe.xlen(keys.inbox(self._number, class_))
            for kind, command in SIZES.items():
                pipe.execute_command(command, self._key(kind))  # pyright: ignore[reportUnknownMemberType]
            pipe.zrange(self._key("dline"), 0, LANES_READ - 1)  # pyright: ignore[reportUnknownMemberType]
            meta, flying, *sizes, lanes = await cast("Awaitable[list[Any]]", pipe.execute())
        backlog = dict.fromkeys(self._classes, 0)
        backlog |= {name[2:].decode(): max(0, int(n)) for name, n in meta.items() if name.startswith(b"n:")}
        self.counts = {
            "smsd_backlog_messages": backlog,
            "smsd_inbox_entries": dict(zip(self._classes, sizes, strict=False)),
            "smsd_in_flight": {name: int(n or 0) for name, n in zip(self._providers, flying, strict=False)},
            "smsd_store_entries": dict(zip(SIZES, sizes[len(self._classes) :], strict=True)),
        }
        await self._read_ages(lanes, backlog)
        return self

    async def _read_ages(self, lanes: list[bytes], backlog: dict[str, int]) -> None:
        heads: dict[str, list[bytes]] = {class_: [] for class_ in backlog}
        _sort(lanes, heads)
        if any(n and not heads[class_] for class_, n in backlog.items()):
            some = self._client.hrandfield(self._key("lane"), LANES_AT_RANDOM)
            _sort(await cast("Awaitable[list[bytes]]", some), heads, missing=True)
        now_us = self._shard.now_us or time.time_ns() // 1000
        entered = await self._entered([lane for some in heads.values() for lane in some])
        self.ages = {
            class_: max((now_us - entered[lane]) / 1e6 for lane in some if lane in entered) if some else 0.0
            for class_, some in heads.items()
        }

    async def _entered(self, lanes: list[bytes]) -> dict[bytes, int]:
        """When the head of each lane was taken, in µs."""
        async with self._client.pipeline(transaction=False) as pipe:
            for lane in lanes:
                pipe.zrangebylex(self._key("lanes"), b"[" + lane + b"\0", b"(" + lane + b"\0\xff", start=0, num=1)
            found = await cast("Awaitable[list[list[bytes]]]", pipe.execute()) if lanes else []
        messages = {
            lane: lane.split(b"|", 1)[0] + b"/" + m[0].rsplit(b"\0", 1)[1]
            for lane, m in zip(lanes, found, strict=True)
            if m
        }
        if not messages:
            return {}
        asked = self._client.hmget(self._key("msg"), [key.decode() for key in messages.values()])
        records = await cast("Awaitable[list[bytes | None]]", asked)
        return {lane: decode(packed).entered for lane, packed in zip(messages, records, strict=True) if packed}


def _sort(lanes: Sequence[bytes], heads: dict[str, list[bytes]], *, missing: bool = False) -> None:
    """Gives each class the first HEADS of its lanes; `missing`: only to those that have none yet."""
    open_ = {class_ for class_, some in heads.items() if not (missing and some)}
    for lane in lanes:
        class_ = lane.split(b"|", 2)[1].decode()
        if class_ in open_ and len(heads[class_]) < HEADS:
            heads[class_].append(lane)
