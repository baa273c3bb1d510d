"""The gauges that only the store knows: backlog, ages, in flight, memory. Read when asked, and at most each second.

Never counts anything itself and never scans: each scrape costs the store the same, whatever waits in it.
"""

import asyncio
import time
from collections.abc import Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from redis.exceptions import RedisError

from smsd.control.look import HEADS, Look
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics

FRESH_S = 1.0
PATIENCE_S = 2.0  # a scraper gives up after ten; what the process counted itself is worth showing before


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
        self._metrics.sandbox = self._live.sandbox.enabled
        return self._metrics.render()

    async def _read(self) -> list[Metric]:
        up = GaugeMetricFamily(
            "smsd_store_up", "1 when the store answered this scrape; else its other gauges are missing"
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                config = self._live.config
                shards = [await Look(s, config.classes, config.providers).read() for s in self._live.shards]
                memory = await self._live.shards[0].client.info("memory")  # pyright: ignore[reportUnknownMemberType]
        except (RedisError, OSError, TimeoutError):
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        return [up, *_families(shards, int(memory["used_memory"]), int(memory["maxmemory"]))]


def _families(shards: Sequence[Look], used: int, most: int) -> list[Metric]:
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
