"""What is counted: every metric of contract.md §8 and a few more, for all processes of a host together.

Never a label whose values strangers choose, but for tenants' own names where the config lists them. The supervisor sets
PROMETHEUS_MULTIPROC_DIR before anything imports this; without it the process counts for itself. What the store knows
is read by `metrics_store`, by the process that is asked.
"""

import collections
import os
import platform
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from smsd.store.shard import Shard

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

disable_created_metrics()  # a second series for each, which tells when its process started

SUBMIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
QUEUE_S = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)
STATUS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 14_400.0, 86_400.0)
RECEIPT_S = (0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 172_800.0)

COUNTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "smsd_intake": (
        ("class", "outcome"),
        "Entries read from the inbox: taken, due (waits for its time), repeated, rejected, cancelled (its cancel came "
        "first), suppressed (its recipient has opted out), handled (by another process), shed (refused by the API, for "
        "memory is short), unsure and not_tried (told so by the API, for the store was away); cancel_*: what a cancel "
        "found",
    ),
    "smsd_rejected": (("class", "reason"), "Entries that were rejected, by the reason in their event"),
    "smsd_intake_shed": (
        ("class",),
        "Looks at the store's memory (one each second, by each process) that left the class's inbox unread, for it is "
        "above dispatch.memory_mark",
    ),
    "smsd_unknown_fields": (("class",), "Fields of entries that are none of the contract's and were ignored"),
    "smsd_attempts": (
        ("provider", "outcome"),
        "Attempts that were settled, by what they came to: accepted, refused, throttled (429), deferred (surely not "
        "taken, try again), unusable (the account), unknown (may have been taken), not_started (given back, not a byte "
        "left)",
    ),
    "smsd_messages_final": (
        ("class", "state", "reason"),
        "Messages that came to a final state, other than by the command smsd cancel message",
    ),
    "smsd_receipts": (
        ("provider", "outcome"),
        "Delivery receipts by what became of them (delivered, undelivered, late, noted, parked, repeated, "
        "contradicting, orphan, early, dropped), and callbacks that were not taken (forged, unreadable, too_large, "
        "unavailable, failed)",
    ),
    "smsd_receipts_expected": (
        ("provider",),
        "Messages that a provider took and owes a receipt for; beside smsd_receipts_total it shows what never came",
    ),
    "smsd_receipts_asked": (
        ("provider", "outcome"),
        "Messages without a receipt whose provider was asked: ended by its word, open there too, not_found, or failed",
    ),
    "smsd_inbound": (
        ("provider", "intent"),
        "Texts that people sent, written to the inbound stream, by what they mean: stop, start, help, confirm, cancel, "
        "or nothing of these",
    ),
    "smsd_opt_outs": (
        ("source", "scope", "provider", "class"),
        "Scopes (marketing, all) that were closed to somebody: by a text (inbound, with the provider that brought it), "
        "by the API (api), or by a message that ended because its provider says that its recipient has opted out "
        "(provider); class: of the message that the text answers, or that ended so",
    ),
    "smsd_opt_outs_unsure": (
        ("provider",),
        "STOP and START to a number that no settings name, by somebody to whom no message is on record: whether it is "
        "an entry's own `from` or the choice of a provider cannot be told",
    ),
    "smsd_limited": (("scope",), "Times that a limit held messages back, by the kind of its scope"),
    "smsd_late_starts": (
        ("provider",),
        "Attempts whose first byte left later than dispatch.slack_ms after their charge",
    ),
    "smsd_status_webhooks": (
        ("endpoint", "outcome"),
        "Tries to tell a status webhook of an event: delivered (2xx), refused (any other answer), failed (none), gone "
        "(410, and it is disabled), given_up (the last of a day's tries failed); lost: an event, or the first of "
        "several, was trimmed from its stream before it was delivered",
    ),
    "smsd_store_errors": (("part",), "Calls to the store that failed and were, or will be, made again"),
}
"""Name without `_total` -> its labels and its meaning."""

HISTOGRAMS: dict[str, tuple[tuple[str, ...], tuple[float, ...], str]] = {
    "smsd_submit_seconds": (("provider",), SUBMIT_S, "From an attempt's first byte to the provider's answer"),
    "smsd_queue_seconds": (
        ("class",),
        QUEUE_S,
        "From taking a message (or its not_before) to its leaving",
    ),
    "smsd_status_webhooks_seconds": (("endpoint",), STATUS_S, "From an event to the 2xx of a status webhook"),
    "smsd_receipt_seconds": (("provider",), RECEIPT_S, "From the provider's taking a message to its final receipt"),
}


TOLD: dict[str, tuple[tuple[str, ...], str]] = {
    "smsd_config_info": (("revision",), "The revision of the config in force in the process asked, always 1"),
    "smsd_sandbox_enabled": ((), "1 while numbers outside [sandbox] allow_to go to the built-in carrier only"),
    "smsd_build_info": (("version", "python"), "The release that runs, always 1"),
}
"""Gauges that a process tells of itself -> their labels and their meaning."""


class _Histogram(Histogram):
    """prometheus_client's, for many times at once: each of its values has a mutex, and among workers a mapped file."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        bounds, counts = self._upper_bounds, dict[int, int]()
        for amount in amounts:
            place = bisect_left(bounds, amount)
            counts[place] = counts.get(place, 0) + 1
        self._sum.inc(sum(amounts))  # pyright: ignore[reportUnknownMemberType]
        for place, n in counts.items():
            self._buckets[place].inc(n)  # pyright: ignore[reportUnknownMemberType]


class Metrics:
    """The process's counters. Adding to one costs about a microsecond; parts that count often add up first."""

    def __init__(self) -> None:
        self._shared = os.environ.get(MULTIPROCESS, "")
        # With shared files the metrics belong to no registry: what is shown is gathered from the files of all workers.
        self._registry = None if self._shared else CollectorRegistry()
        self._counters = {
            name: Counter(name, told, labels, registry=self._registry) for name, (labels, told) in COUNTERS.items()
        }
        self._histograms = {
            name: _Histogram(name, told, labels, buckets=buckets, registry=self._registry)
            for name, (labels, buckets, told) in HISTOGRAMS.items()
        }
        self._counter_of: dict[tuple[str, ...], Counter] = {}
        self._histogram_of: dict[tuple[str, str], _Histogram] = {}
        self.revision = 0
        """Of the config in force here; whoever swaps the config sets it."""
        self.sandbox = False
        """Whether the sandbox is on here; likewise."""
        self.store: list[Metric] = []
        """What the store told last; metrics_store writes it."""

    # ---- Counting ----------------------------------------------------------------------------------------------------

    def intake(self, class_: str, outcome: str, n: int = 1) -> None:
        self.count("smsd_intake", class_, outcome, n=n)

    def rejected(self, class_: str, reason: str, n: int = 1) -> None:
        self.count("smsd_rejected", class_, reason, n=n)

    def unknown_fields(self, class_: str, n: int) -> None:
        self.count("smsd_unknown_fields", class_, n=n)

    def attempt(self, provider: str, outcome: str, n: int = 1) -> None:
        self.count("smsd_attempts", provider, outcome, n=n)

    def final(self, class_: str, state: str, reason: str = "", n: int = 1) -> None:
        self.count("smsd_messages_final", class_, state, reason, n=n)

    def take_over(self, shard: Shard) -> None:
        """Counts what this process's calls to a shard have ended and refused since the last time."""
        ended, shard.ended = shard.ended, collections.Counter()
        limited, shard.limited = shard.limited, collections.Counter()
        took_us, shard.took_us = shard.took_us, collections.defaultdict(list)
        for (class_, state, reason), n in ended.items():
            self.final(class_, state, reason, n)
            if reason == "opted_out" and state in ("failed", "undelivered"):
                self.opt_outs("provider", "all", n, class_=class_)
        for scope, n in limited.items():
            self.limited(scope, n)
        for provider, us in took_us.items():
            self.receipt_seconds(provider, *[each / 1e6 for each in us])

    def receipts(self, provider: str, outcome: str, n: int = 1) -> None:
        self.count("smsd_receipts", provider, outcome, n=n)

    def receipts_expected(self, provider: str, n: int = 1) -> None:
        self.count("smsd_receipts_expected", provider, n=n)

    def asked(self, provider: str, outcome: str) -> None:
        self.count("smsd_receipts_asked", provider, outcome)

    def intake_shed(self, class_: str) -> None:
        self.count("smsd_intake_shed", class_)

    def inbound(self, provider: str, intent: str) -> None:
        self.count("smsd_inbound", provider, intent)

    def opt_outs(self, source: str, scope: str, n: int = 1, *, provider: str = "", class_: str = "") -> None:
        self.count("smsd_opt_outs", source, scope, provider, class_, n=n)

    def opt_out_unsure(self, provider: str) -> None:
        self.count("smsd_opt_outs_unsure", provider)

    def limited(self, scope: str, n: int = 1) -> None:
        self.count("smsd_limited", scope, n=n)

    def late_start(self, provider: str, n: int = 1) -> None:
        self.count("smsd_late_starts", provider, n=n)

    def status(self, endpoint: str, outcome: str) -> None:
        self.count("smsd_status_webhooks", endpoint, outcome)

    def status_seconds(self, endpoint: str, *seconds: float) -> None:
        self.observe("smsd_status_webhooks_seconds", endpoint, seconds)

    def store_error(self, part: str, n: int = 1) -> None:
        self.count("smsd_store_errors", part, n=n)

    def submit_seconds(self, provider: str, *seconds: float) -> None:
        self.observe("smsd_submit_seconds", provider, seconds)

    def queue_seconds(self, class_: str, *seconds: float) -> None:
        self.observe("smsd_queue_seconds", class_, seconds)

    def receipt_seconds(self, provider: str, *seconds: float) -> None:
        self.observe("smsd_receipt_seconds", provider, seconds)

    def count(self, name: str, *labels: str, n: int = 1) -> None:
        """Adds to a counter of COUNTERS."""
        bound = self._counter_of.get((name, *labels))
        if bound is None:
            bound = self._counter_of[name, *labels] = self._counters[name].labels(*labels)
        bound.inc(n)

    def observe(self, name: str, label: str, seconds: Sequence[float]) -> None:
        """Adds to a histogram of HISTOGRAMS."""
        bound = self._histogram_of.get((name, label))
        if bound is None:
            bound = self._histogram_of[name, label] = self._histograms[name].labels(label)
        bound.observe_all([one if one > 0 else 0.0 for one in seconds])

    # ---- Showing -----------------------------------------------------------------------------------------------------

    def render(self) -> bytes:
        """Everything in Prometheus' text format: counters as they are, the store's gauges as they were read last."""
        registry = self._registry
        if registry is None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, self._shared)
        gauges = CollectorRegistry()
        gauges.register(_Gauges(self))
        return generate_latest(registry) + generate_latest(gauges)


class _Gauges:
    """What is told rather than counted, for a registry of one scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        return []  # else registering would collect

    def collect(self) -> Iterator[Metric]:
        values: dict[str, tuple[list[str], int]] = {
            "smsd_config_info": ([str(self._metrics.revision)], 1),
            "smsd_sandbox_enabled": ([], int(self._metrics.sandbox)),
            "smsd_build_info": ([release(), platform.python_version()], 1),
        }
        for name, (labels, told) in TOLD.items():
            family = GaugeMetricFamily(name, told, labels=labels)
            family.add_metric(*values[name])
            yield family
        yield from self._metrics.store


def release() -> str:
    """The version of smsd that is installed."""
    try:
        return version("smsd-dispatch")
    except PackageNotFoundError:  # run from a source folder that nobody installed
        return "unknown"
