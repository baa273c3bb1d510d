"""Counters and histograms: by their verbs, of all workers of a host together; and the page about all metrics."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from redis.asyncio import Redis

from smsd.shell import metrics_page
from smsd.shell.metrics import COUNTERS, HISTOGRAMS, TOLD, Metrics, release
from smsd.shell.metrics_store import GAUGES
from smsd.store.shard import Shard
from tests.support.scrape import read, value


def count_everything(metrics: Metrics) -> None:
    """Adds to each counter and histogram once, by its verb."""
    metrics.intake("reminder", "taken")
    metrics.rejected("reminder", "bad_number")
    metrics.unknown_fields("reminder", 3)
    metrics.attempt("main", "accepted", 5)
    metrics.final("reminder", "delivered")
    metrics.final("reminder", "failed", "refused")
    metrics.receipts("main", "delivered")
    metrics.receipts_expected("main")
    metrics.asked("main", "ended")
    metrics.intake_shed("marketing")
    metrics.inbound("main", "stop")
    metrics.opt_outs("inbound", "all")
    metrics.opt_out_unsure("main")
    metrics.limited("tenant")
    metrics.late_start("main")
    metrics.store_error("intake")
    metrics.status("platform", "delivered")
    metrics.status_seconds("platform", 0.02)
    metrics.submit_seconds("main", 0.2)
    metrics.queue_seconds("reminder", 3.0)
    metrics.receipt_seconds("main", 2.0)


# ---- Counting --------------------------------------------------------------------------------------------------------


def test_counters_add_up() -> None:
    """Each verb adds to its own metric, by as much as it is told."""
    metrics = Metrics()
    count_everything(metrics)
    count_everything(metrics)
    samples = read(metrics.render())
    assert value(samples, "smsd_attempts_total", provider="main", outcome="accepted") == 10
    assert value(samples, "smsd_unknown_fields_total", class_="reminder") == 6
    assert value(samples, "smsd_messages_final_total", class_="reminder", state="delivered", reason="") == 2
    assert value(samples, "smsd_submit_seconds_sum", provider="main") == pytest.approx(0.4)
    assert value(samples, "smsd_submit_seconds_bucket", provider="main", le="0.25") == 2
    assert value(samples, "smsd_submit_seconds_bucket", provider="main", le="0.1") == 0
    counted = {name.removesuffix("_total").removesuffix("_count") for name, _ in samples}
    assert COUNTERS.keys() | HISTOGRAMS.keys() <= counted


def test_a_time_is_never_negative() -> None:
    """Clocks that disagree a little do not spoil a sum."""
    metrics = Metrics()
    metrics.receipt_seconds("main", -0.5)
    assert value(read(metrics.render()), "smsd_receipt_seconds_sum", provider="main") == 0


def test_many_times_at_once_are_counted_as_one_by_one() -> None:
    """What is observed in one call is shown as the client library itself shows it, bounds and all."""
    times = [0.0, 0.005, 0.0051, 0.25, 0.26, 29.9, 30.0, 31.0, 1e9]
    metrics, registry = Metrics(), CollectorRegistry()
    metrics.submit_seconds("main", *times)
    labels, buckets, told = HISTOGRAMS["smsd_submit_seconds"]
    theirs = Histogram("smsd_submit_seconds", told, labels, buckets=buckets, registry=registry).labels("main")
    for one in times:
        theirs.observe(one)
    expected = read(generate_latest(registry))
    assert expected
    assert expected.items() <= read(metrics.render()).items()


def test_two_in_one_process_do_not_mix() -> None:
    """Metrics belong to the object that counts, not to the process."""
    one, two = Metrics(), Metrics()
    one.intake("reminder", "taken")
    two.intake("reminder", "taken", 7)
    assert value(read(one.render()), "smsd_intake_total", class_="reminder", outcome="taken") == 1


def test_the_build_and_the_config_are_told() -> None:
    """The release and the revision in force are labels of a metric that is always 1."""
    metrics = Metrics()
    metrics.revision = 12
    samples = read(metrics.render())
    assert value(samples, "smsd_config_info", revision="12") == 1
    assert [dict(labels)["version"] for name, labels in samples if name == "smsd_build_info"] == [release()]


def test_the_sandbox_is_told() -> None:
    """1 while it is on."""
    metrics = Metrics()
    assert value(read(metrics.render()), "smsd_sandbox_enabled") == 0
    metrics.sandbox = True
    assert value(read(metrics.render()), "smsd_sandbox_enabled") == 1


def test_each_metric_says_what_it_means() -> None:
    """Every metric has a help text and a type."""
    text = Metrics().render().decode()
    assert all(f"# HELP {name}" in text for name in COUNTERS.keys() | HISTOGRAMS.keys())


WORKER = """
import sys
from smsd.shell.metrics import Metrics
metrics = Metrics()
metrics.intake("reminder", "taken", int(sys.argv[1]))
metrics.submit_seconds("main", 0.2)
if sys.argv[2:]:
    sys.stdout.buffer.write(metrics.render())
"""


def test_workers_of_a_host_are_shown_together(tmp_path: Path) -> None:
    """With a folder to share, any worker shows the sum over all, also of those that have ended."""
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    outputs = [
        subprocess.run([sys.executable, "-c", WORKER, *words], env=env, capture_output=True, check=True).stdout
        for words in (["3"], ["4"], ["5", "render"])
    ]
    samples = read(outputs[-1])
    assert value(samples, "smsd_intake_total", class_="reminder", outcome="taken") == 12
    assert value(samples, "smsd_submit_seconds_count", provider="main") == 3
    assert value(samples, "smsd_config_info", revision="0") == 1


# ---- The page --------------------------------------------------------------------------------------------------------


def test_the_page_is_made_from_the_tables() -> None:
    """docs/METRICS.md is what the code says, and each metric has its row."""
    page = metrics_page.page()
    assert (Path(__file__).parents[2] / "docs" / "METRICS.md").read_text() == page
    names = [*(f"{name}_total" for name in COUNTERS), *HISTOGRAMS, *GAUGES, *TOLD]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == names


def test_the_times_to_receipts_are_taken_over_in_seconds() -> None:
    """A shard keeps them in µs until somebody counts them; then it has none."""
    metrics, shard = Metrics(), Shard(Redis())
    shard.took_us["main"] += [2_500_000, 500_000]
    metrics.take_over(shard)
    assert value(read(metrics.render()), "smsd_receipt_seconds_sum", provider="main") == 3.0
    assert shard.took_us == {}
