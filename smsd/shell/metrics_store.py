"""The gauges that only the store knows: backlog, ages, in flight, memory. Read when asked, and at most each second.

Never counts anything itself and never scans: each scrape costs the store the same, whatever waits in it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from redis.exceptions import RedisError

from smsd.config.settings import ClassConfig
from smsd.control.look import HEADS, LANES_READ, Look
from smsd.control.processes import SILENT_MS, Process, processes
from smsd.control.receivers import ReceiverNow, receivers
from smsd.control.standing import Group, groups
from smsd.core.asking import waits
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.store import keys
from smsd.store.push import MOST
from smsd.store.shard import Shard

FRESH_S = 1.0
PATIENCE_S = 2.0  # a scraper gives up after ten; what the process counted itself is worth showing before
READERS_MOST = 20  # groups that are shown, those farthest behind; who may read the store names them

UP = "smsd_store_up"
GAUGES: dict[str, tuple[tuple[str, ...], str]] = {
    UP: ((), "1 when the store answered this scrape; else the gauges that only it knows are missing"),
    "smsd_backlog_messages": (
        ("class",),
        "Messages that are taken and wait to leave, also for their time, a retry, a limit or the end of a pause",
    ),
    "smsd_inbox_entries": (("class",), "Entries in the inbox that are not taken yet"),
    "smsd_in_flight": (("provider",), "Messages that are leased to be sent by this provider, over all processes"),
    "smsd_store_entries": (
        ("kind",),
        "What may grow in the store: the streams events, inbound and dead; records (msg), lanes that are not empty "
        "(lane), what waits for its time (due), for a receipt (await) or for the look-up of an unknown outcome "
        "(unsure), ids at providers (ref), receipts that nothing claimed yet (early), pauses (pause), who has "
        "opted out (optout)",
    ),
    "smsd_oldest_message_age_seconds": (
        ("class",),
        "Since the oldest message that could leave now was taken, or since its not_before; 0: none waits. What a limit "
        "or a pause holds back "
        f"counts, what waits for its time does not. Exact while the class has at most {HEADS} lanes and no message a "
        f"not_after of its own; else read off the heads of those {HEADS} lanes of it that have the earliest deadlines "
        f"among the first {LANES_READ} of the shard, so that it may be too low and is never too high",
    ),
    "smsd_leases_overdue": ((), "Leases that have ended and that no process has taken back yet; the sweep does"),
    "smsd_receipts_ask_lag_seconds": (
        ("class",),
        "For how long at most a message without a receipt has been due to be asked about ([classes] ask_after) and was "
        "not yet; half a minute is as it should be. A class of which none was ever asked about has none",
    ),
    "smsd_reader_lag_entries": (
        ("stream", "group"),
        f"Entries that a consumer group has not read yet, over all shards; the {READERS_MOST} groups farthest behind. "
        "Readers without a group cannot be seen",
    ),
    "smsd_reader_lag_seconds": (("stream", "group"), "Since the first entry was written that the group has not read"),
    "smsd_reader_kept_ratio": (
        ("stream", "group"),
        "How much of what is kept (retention.events_max of a shard, retention.events) the group is behind: at 1 it "
        "loses entries",
    ),
    "smsd_status_webhooks_backlog": (
        ("endpoint",),
        f"Events that a status webhook of the config is yet to be told; up to {MOST} of a shard, others stay in the "
        "stream for now",
    ),
    "smsd_status_webhooks_oldest_seconds": (("endpoint",), "Since the oldest of these was written; 0: there is none"),
    "smsd_status_webhooks_disabled": (("endpoint",), "1 while it is told nothing, for it answered 410"),
    "smsd_processes": (
        ("revision", "file"),
        "Processes of all hosts that were heard of within 15 s, by the config that they have in force and what became "
        "of their host's file: in_force, superseded or refused",
    ),
    "smsd_provider_dead_processes": (
        ("provider",),
        "Processes of all hosts that find the provider dead, or that it refuses; they probe it, one message at a time",
    ),
    "smsd_clock_offset_seconds": (
        (),
        "This host's clock less the store's; beyond 5 s nothing is read or sent by a process, for times would be wrong",
    ),
    "smsd_store_memory_bytes": ((), "Memory that the store uses"),
    "smsd_store_memory_max_bytes": ((), "The store's maxmemory; 0: none is set"),
}
"""Name -> its labels and its meaning."""

Values = dict[tuple[str, ...], float]


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
                self._metrics.store = _families(await self._read())
                self._read_at = time.monotonic()
        self._metrics.revision = self._live.revision
        self._metrics.sandbox = self._live.sandbox.enabled
        return self._metrics.render()

    async def _read(self) -> dict[str, Values]:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._values()
        except (RedisError, OSError, TimeoutError):
            return {UP: {(): 0}}

    async def _values(self) -> dict[str, Values]:
        config, shards = self._live.config, self._live.shards
        client: Any = shards[0].client
        looks = [await Look(shard, config.classes, config.providers).read() for shard in shards]
        memory: Mapping[str, Any] = await client.info("memory")
        kept = (config.retention.events_max, config.retention.events_us / 1e6)
        return {
            UP: {(): 1},
            **{name: _sums(look.counts[name] for look in looks) for name in looks[0].counts},
            "smsd_oldest_message_age_seconds": {
                (class_,): max(look.ages.get(class_, 0) for look in looks) for class_ in looks[0].ages
            },
            "smsd_receipts_ask_lag_seconds": await _ask_lags(shards, config.classes),
            "smsd_leases_overdue": {(): sum([await _overdue(shard) for shard in shards])},
            **_readers([group for shard in shards for group in await groups(shard)], *kept),
            **_receivers(await receivers(config, shards)),
            **_processes(await processes(shards[0]), config.providers),
            "smsd_clock_offset_seconds": {(): await _clock_offset_s(client)},
            "smsd_store_memory_bytes": {(): int(memory["used_memory"])},
            "smsd_store_memory_max_bytes": {(): int(memory["maxmemory"])},
        }


def _families(values: Mapping[str, Values]) -> list[Metric]:
    families: list[Metric] = []
    for name, (labels, told) in GAUGES.items():
        if name in values:
            family = GaugeMetricFamily(name, told, labels=labels)
            for of, number in values[name].items():
                family.add_metric(of, number)
            families.append(family)
    return families


def _sums(counts: Iterable[Mapping[str, int]]) -> Values:
    sums: Values = {}
    for one in counts:
        for of, n in one.items():
            sums[of,] = sums.get((of,), 0) + n
    return sums


def _readers(found: Sequence[Group], kept: int, kept_s: float) -> dict[str, Values]:
    """By group over all shards: how much it is behind, since when, and how near to losing entries in the worst one."""
    entries, seconds, ratio = Values(), Values(), Values()
    for one in found:
        of = (one.stream, one.group)
        lag = one.lag or 0  # None where entries were deleted by hand
        entries[of] = entries.get(of, 0) + lag
        seconds[of] = max(seconds.get(of, 0), one.behind_s)
        ratio[of] = max(ratio.get(of, 0), lag / kept, one.behind_s / kept_s)
    worst = sorted(ratio, key=lambda of: (-ratio[of], of))[:READERS_MOST]
    told = (entries, seconds, ratio)
    names = ("smsd_reader_lag_entries", "smsd_reader_lag_seconds", "smsd_reader_kept_ratio")
    return {name: {of: one[of] for of in worst} for name, one in zip(names, told, strict=True)}


def _receivers(found: Sequence[ReceiverNow]) -> dict[str, Values]:
    return {
        "smsd_status_webhooks_backlog": {(one.name,): one.waiting for one in found},
        "smsd_status_webhooks_oldest_seconds": {(one.name,): one.oldest_s for one in found},
        "smsd_status_webhooks_disabled": {(one.name,): int(one.disabled_at_ms > 0) for one in found},
    }


def _processes(found: Sequence[Process], providers: Mapping[str, object]) -> dict[str, Values]:
    now_ms = time.time_ns() // 1_000_000
    heard = [one for one in found if now_ms - one.at_ms < SILENT_MS]
    by_config: Counter[tuple[str, ...]] = Counter((str(one.revision), one.file) for one in heard)
    dead = Counter(provider for one in heard for provider in one.dead)
    return {
        "smsd_processes": dict(by_config),
        "smsd_provider_dead_processes": {(name,): dead[name] for name in providers},
    }


async def _ask_lags(shards: Sequence[Shard], classes: Mapping[str, ClassConfig]) -> Values:
    """By class, over all shards and all hours at which a message is asked about."""
    lags: Values = {}
    for shard in shards:
        now_us = shard.now_us or time.time_ns() // 1000
        asked: Any = await cast("Any", shard.client).hgetall(keys.key(shard.number, "asked"))
        for name, class_ in classes.items():
            for n, _ in enumerate(waits(class_.ask_after_us, class_.receipt_timeout_us)):
                if up_to := asked.get(f"{name}|{n}".encode()):
                    lags[name,] = max(lags.get((name,), 0), (now_us - int(up_to)) / 1e6)
    return lags


async def _overdue(shard: Shard) -> int:
    now_us = shard.now_us or time.time_ns() // 1000
    return await shard.client.zcount(keys.key(shard.number, "lease"), "-inf", now_us)


async def _clock_offset_s(client: Any) -> float:
    """Right but for half of the way to the store and back."""
    before = time.time()
    seconds, micros = await client.time()
    return (before + time.time()) / 2 - (int(seconds) + int(micros) / 1e6)
