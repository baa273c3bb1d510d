"""What a scrape of smsd's metrics tells, read as a dashboard would, and the names that dashboards are built on.

Never makes a metric.
"""

import re

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
