"""Metrics: the contract's names, counters of all workers of a host together, and gauges as the store has them."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from smsd.control import look
from smsd.control.revision import publish
from smsd.message import Message, Send
from smsd.shell import metrics_store as module
from smsd.shell.live import Live
from smsd.shell.metrics import COUNTERS, HISTOGRAMS, Metrics, release
from smsd.shell.metrics_store import StoreGauges
from smsd.store import keys
from smsd.store.connect import Store, connect
from smsd.store.shard import Offer, Shard
from tests.support import config as configs
from tests.support.valkey import Valkey

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

SECOND = 1_000_000
START = 1_700_000_000 * SECOND

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


def count_everything(metrics: Metrics) -> None:
    """Adds to each counter and histogram once, by its verb."""
    metrics.intake("reminder", "taken")
    metrics.rejected("reminder", "bad_number")
    metrics.unknown_fields("reminder", 3)
    metrics.attempt("main", "accepted", 5)
    metrics.final("reminder", "delivered")
    metrics.final("reminder", "failed", "refused")
    metrics.receipts("main", "delivered")
    metrics.inbound("main")
    metrics.limited("tenant")
    metrics.late_start("main")
    metrics.store_error("intake")
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


# ---- What the store knows --------------------------------------------------------------------------------------------


class Watched:
    """A shard under a virtual clock, its metrics, and what is scraped of both."""

    def __init__(self, store: Store, live: Live) -> None:
        self.client, self.live, self.metrics = store.client, live, Metrics()
        self.gauges = StoreGauges(live, self.metrics)

    async def scrape(self) -> Samples:
        return read(await self.gauges.scrape())

    def at(self, us: int) -> None:
        for shard in self.live.shards:
            shard.now_us = us

    async def admit(self, id_: str, class_: str = "reminder", tenant: str = "acme", **more: int) -> None:
        shard = self.live.shard_of(tenant)
        message = Message(tenant, id_, "+353861234567", "Salon", "Hello", class_, "default", "GSM-7", 1, "IE")
        deadline = more.get("deadline") or shard.now_us + 3600 * SECOND
        await shard.admit([Send(message, "", id_, more.get("not_before", 0), deadline)], class_, from_inbox=False)


Make = Callable[..., Awaitable[Watched]]


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """Clients of the empty shared server."""
    made = connect(store_url)
    yield made
    await made.aclose()


@pytest.fixture
def make(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """`await make(shards=1)`: everything is read anew at each scrape."""
    monkeypatch.setattr(module, "FRESH_S", 0.0)

    async def one(shards: int = 1) -> Watched:
        config = configs.config(tmp_path, limit="100000/s")
        watched = Watched(store, Live(config, [Shard(store.client, n, clock_step_us=0) for n in range(shards)]))
        watched.at(START)
        await publish(config, watched.live.shards)
        return watched

    return one


@pytest.fixture
async def watched(make: Make) -> Watched:
    """One shard."""
    return await make()


async def test_every_name_of_the_contract_is_there(watched: Watched) -> None:
    """Once something has happened, each metric of the contract is shown with exactly its labels."""
    count_everything(watched.metrics)
    await watched.admit("m1")
    found = {name: {label for label, _ in labels} for name, labels in await watched.scrape()}
    assert {name: found.get(name) for name in CONTRACT} == CONTRACT


async def test_the_backlog_is_counted_by_class(watched: Watched) -> None:
    """Messages that wait, for a free place or for their time, are counted, and a class without any shows 0."""
    await watched.admit("m1")
    await watched.admit("m2", not_before=START + SECOND)
    samples = await watched.scrape()
    assert value(samples, "smsd_backlog_messages", class_="reminder") == 2
    assert value(samples, "smsd_backlog_messages", class_="marketing") == 0


async def test_the_inbox_is_counted_apart(watched: Watched) -> None:
    """Entries that nobody has taken yet are no backlog, but are seen."""
    await watched.client.xadd(keys.inbox(0, "marketing"), {"tenant": "acme"})
    samples = await watched.scrape()
    assert value(samples, "smsd_inbox_entries", class_="marketing") == 1
    assert value(samples, "smsd_backlog_messages", class_="marketing") == 0


async def test_what_is_in_flight_is_counted_by_provider(watched: Watched) -> None:
    """Leased messages are in flight at their provider and no backlog any more."""
    for n in range(3):
        await watched.admit(f"m{n}")
    shard = watched.live.shards[0]
    await shard.lease("default", [Offer("main", 1, 100)], n=2, request="r", process="p", span_us=SECOND)
    samples = await watched.scrape()
    assert value(samples, "smsd_in_flight", provider="main") == 2
    assert value(samples, "smsd_backlog_messages", class_="reminder") == 1


async def test_the_oldest_is_the_oldest_over_lanes(watched: Watched) -> None:
    """Of messages of several tenants, and with deadlines in another order, the age is that of the longest waiting."""
    await watched.admit("m1", tenant="a", deadline=START + 7200 * SECOND)
    watched.at(START + 60 * SECOND)
    await watched.admit("m2", tenant="b", deadline=START + 3600 * SECOND)
    await watched.admit("m3", "marketing", tenant="b")
    watched.at(START + 90 * SECOND)
    samples = await watched.scrape()
    assert value(samples, "smsd_oldest_message_age_seconds", class_="reminder") == 90
    assert value(samples, "smsd_oldest_message_age_seconds", class_="marketing") == 30


async def test_an_empty_class_has_no_age(watched: Watched) -> None:
    """Where nothing could leave now the age is 0, also while something waits for its time."""
    await watched.admit("m1", not_before=START + 3600 * SECOND)
    watched.at(START + 60 * SECOND)
    assert value(await watched.scrape(), "smsd_oldest_message_age_seconds", class_="reminder") == 0


async def test_a_class_behind_many_lanes_is_seen(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class none of whose lanes is among the first deadlines is looked for elsewhere."""
    monkeypatch.setattr(look, "LANES_READ", 5)
    for n in range(10):
        await watched.admit(f"m{n}", tenant=f"t{n}")
    await watched.admit("b1", "marketing", deadline=START + 9000 * SECOND)
    watched.at(START + 30 * SECOND)
    assert value(await watched.scrape(), "smsd_oldest_message_age_seconds", class_="marketing") == 30


async def test_shards_are_added_up(make: Make) -> None:
    """Counts are sums over the shards, and the age is that of the oldest in any."""
    watched = await make(shards=4)
    tenants = [f"t{n}" for n in range(8)]
    assert len({watched.live.shard_of(tenant).number for tenant in tenants}) > 1
    for n, tenant in enumerate(tenants):
        watched.at(START + n * SECOND)
        await watched.admit("m1", tenant=tenant)
    samples = await watched.scrape()
    assert value(samples, "smsd_backlog_messages", class_="reminder") == len(tenants)
    assert value(samples, "smsd_oldest_message_age_seconds", class_="reminder") == len(tenants) - 1


async def test_what_may_grow_is_measured(watched: Watched) -> None:
    """Streams and indexes of the store show their size, and the memory what the server says."""
    await watched.admit("m1")
    samples = await watched.scrape()
    assert value(samples, "smsd_store_entries", kind="events") == 1
    assert value(samples, "smsd_store_entries", kind="msg") == 1
    assert value(samples, "smsd_store_entries", kind="dead") == 0
    assert value(samples, "smsd_store_memory_bytes") > 100_000
    assert value(samples, "smsd_store_up") == 1


async def test_the_revision_in_force_is_shown(watched: Watched) -> None:
    """A scrape shows the revision that the process works by."""
    watched.live.swap(watched.live.config, 42)
    assert value(await watched.scrape(), "smsd_config_info", revision="42") == 1


async def test_the_store_is_not_asked_again_within_a_second(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many scrapers cost the store no more than one, and counters are fresh all the same."""
    monkeypatch.setattr(module, "FRESH_S", 3600.0)
    await watched.scrape()
    await watched.admit("m1")
    watched.metrics.intake("reminder", "taken")
    answers = await asyncio.gather(*(watched.scrape() for _ in range(5)))
    assert {value(samples, "smsd_backlog_messages", class_="reminder") for samples in answers} == {0}
    assert value(answers[0], "smsd_intake_total", class_="reminder", outcome="taken") == 1


async def test_without_a_store_the_counters_are_shown(start_valkey: Callable[..., Valkey], tmp_path: Path) -> None:
    """While the store is away a scrape still answers, says so, and leaves out what only the store knows."""
    server = start_valkey()
    server.kill()
    store = connect(server.url)
    watched = Watched(store, Live(configs.config(tmp_path), [Shard(store.client)]))
    watched.metrics.intake("reminder", "taken")
    samples = await watched.scrape()
    assert value(samples, "smsd_store_up") == 0
    assert value(samples, "smsd_intake_total", class_="reminder", outcome="taken") == 1
    assert "smsd_backlog_messages" not in {name for name, _ in samples}
    await store.aclose()
