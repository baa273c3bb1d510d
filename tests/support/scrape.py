"""What a scrape of smsd's metrics tells, read as a dashboard would, and the names that dashboards are built on.

Never makes a metric.
"""

import os
import re
import shutil
from collections.abc import Iterator

from smsd.shell.metrics import COUNTERS, HISTOGRAMS, TOLD
from smsd.shell.metrics_store import GAUGES
from tests.support.promql import Node, by_labels, selectors

CONTRACT = {
    "smsd_backlog_messages": {"class"},
    "smsd_oldest_message_age_seconds": {"class"},
    "smsd_intake_total": {"class", "outcome"},
    "smsd_attempts_total": {"provider", "outcome"},
    "smsd_messages_final_total": {"class", "state", "reason"},
    "smsd_in_flight": {"provider"},
    "smsd_submit_seconds_count": {"provider"},
    "smsd_queue_seconds_count": {"class"},
    "smsd_receipt_seconds_count": {"provider"},
    "smsd_receipts_total": {"provider", "outcome"},
    "smsd_limited_total": {"scope"},
    "smsd_store_memory_bytes": set[str](),
    "smsd_config_info": {"revision"},
    "smsd_build_info": {"version", "python"},
    "smsd_sandbox_enabled": set[str](),
}
"""contract.md §8: names and labels that dashboards are built on."""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: bytes) -> Samples:
    """Samples by name and sorted labels, of Prometheus' text format."""
    samples: Samples = {}
    for line in text.decode().splitlines():
        if not line.startswith("#"):
            sample, _, number = line.rpartition(" ")
            name, _, labels = sample.partition("{")
            samples[name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))] = float(number)
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    """The one sample of that name and these labels; `class_` is written class."""
    return samples[name, tuple(sorted((label.rstrip("_"), text) for label, text in labels.items()))]


def counted(text: bytes, name: str) -> dict[str, float]:
    """The samples of that name by their labels, as they are written: `provider="main"`."""
    lines = [line for line in text.decode().splitlines() if line.startswith(name + "{")]
    return {line[len(name) + 1 : line.index("}")]: float(line.rpartition(" ")[2]) for line in lines}


# ---- Queries ---------------------------------------------------------------------------------------------------------

PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
"""Prometheus' own tool, where it is installed."""

BY_PROMETHEUS = {"job", "instance"}
METRICS: dict[str, set[str]] = {
    **{f"{name}_total": set(labels) for name, (labels, _) in COUNTERS.items()},
    **{f"{name}_bucket": {*labels, "le"} for name, (labels, *_) in HISTOGRAMS.items()},
    **{name: set(labels) for name, (labels, _) in (GAUGES | TOLD).items()},
    "up": set[str](),
    "ALERTS": {"alertname", "alertstate"},
}
"""Every series that a query may ask for, with its labels."""


def strange(query: Node) -> Iterator[str]:
    """What a query asks for that is not there: metrics, and labels of them."""
    labels: set[str] = set()
    for asked in selectors(query):
        if asked.name not in METRICS:
            yield asked.name
            continue
        there = METRICS[asked.name] | BY_PROMETHEUS
        labels |= there
        yield from (f"{asked.name}{{{label}}}" for label, _, _ in asked.matchers if label not in there)
    yield from (label for label in by_labels(query) if label not in labels)
