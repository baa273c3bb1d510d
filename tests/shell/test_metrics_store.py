"""The gauges that only the store knows: each as the store has it, at a cost that does not grow."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from smsd.control import look, processes
from smsd.control.processes import File
from smsd.control.revision import publish
from smsd.core import outcome
from smsd.message import Message, Send
from smsd.shell import metrics_store as module
from smsd.shell.live import Live
from smsd.shell.metrics import TOLD, Metrics
from smsd.shell.metrics_store import GAUGES, StoreGauges
from smsd.store import keys
from smsd.store.connect import Store, connect
from smsd.store.shard import Offer, Shard
from tests.support import config as configs
from tests.support.pushing import ENV, endpoint
from tests.support.scrape import Samples, read, value
from tests.support.valkey import Valkey

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


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
    """`await make(shards=1)`: everything is read anew at each scrape. `extra` is more of the config."""
    monkeypatch.setattr(module, "FRESH_S", 0.0)

    async def one(shards: int = 1, extra: str = "") -> Watched:
        config = configs.config(tmp_path, limit="100000/s", extra=extra)
        watched = Watched(store, Live(config, [Shard(store.client, n, clock_step_us=0) for n in range(shards)]))
        watched.at(START)
        await publish(config, watched.live.shards)
        return watched

    return one


@pytest.fixture
async def watched(make: Make) -> Watched:
    """One shard."""
    return await make()


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


async def test_how_late_receipts_are_asked_for_is_told_by_class(make: Make) -> None:
    """Of the shard and the hour that are farthest behind; not of an hour that the class has no more."""
    watched = await make(shards=2, extra='[classes.otp]\nask_after = "10m"\nreceipt_timeout = "1h"\n')
    for shard, fields in enumerate(({"otp|0": 40, "otp|1": 10}, {"otp|0": 600, "otp|9": 9000, "marketing|0": 9000})):
        told = {field: START - seconds * SECOND for field, seconds in fields.items()}
        await watched.client.hset(keys.key(shard, "asked"), mapping={**told, "turn": f"p {START}"})  # pyright: ignore
    samples = await watched.scrape()
    assert value(samples, "smsd_receipts_ask_lag_seconds", class_="otp") == 600
    assert ("smsd_receipts_ask_lag_seconds", (("class", "marketing"),)) not in samples


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


async def test_an_age_begins_when_a_message_may_leave(watched: Watched) -> None:
    """A reminder that was taken a day before its time is not a day old when its time comes."""
    await watched.admit("m1", not_before=START + 86_400 * SECOND, deadline=START + 90_000 * SECOND)
    watched.at(START + 86_430 * SECOND)
    await watched.live.shards[0].lease("default", [Offer("main", 1, 0)], n=1, request="r", process="p", span_us=SECOND)
    await watched.live.shards[0].sweep({})
    assert value(await watched.scrape(), "smsd_oldest_message_age_seconds", class_="reminder") == 30


async def test_a_retry_does_not_begin_an_age_anew(watched: Watched) -> None:
    """What was refused once and waits again is as old as its first wait."""
    await watched.admit("m1")
    shard = watched.live.shards[0]
    lease = await shard.lease("default", [Offer("main", 1, 1)], n=1, request="r", process="p", span_us=SECOND)
    (leased,) = lease.messages
    again = START + 60 * SECOND
    retry = outcome.Retry(leased.message.key, leased.fence, "retry", leased.attempt, "main", again, 1, "", ())
    await shard.settle([retry])
    watched.at(START + 90 * SECOND)
    await shard.lease("default", [Offer("main", 1, 0)], n=1, request="s", process="p", span_us=SECOND)
    await shard.sweep({})
    assert value(await watched.scrape(), "smsd_oldest_message_age_seconds", class_="reminder") == 90


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


async def test_a_reader_that_falls_behind_is_seen(watched: Watched) -> None:
    """A group's unread entries, since when the first of them waits, and what part of what is kept that is."""
    name = keys.key(0, "events")
    for n in range(3):
        await watched.client.xadd(name, {"v": "1"}, id=f"{(START // 1000) + n * 60_000}-0")
    await watched.client.xgroup_create(name, "platform", id=f"{START // 1000}-0")
    watched.at(START + 360 * SECOND)
    samples = await watched.scrape()
    of = {"stream": "events", "group": "platform"}
    kept_s = watched.live.config.retention.events_us / 1e6
    assert value(samples, "smsd_reader_lag_entries", **of) == 2
    assert value(samples, "smsd_reader_lag_seconds", **of) == 300
    assert value(samples, "smsd_reader_kept_ratio", **of) == pytest.approx(300 / kept_s)
    await watched.client.xgroup_setid(name, "platform", "$")
    samples = await watched.scrape()
    assert value(samples, "smsd_reader_lag_seconds", **of) == 0


async def test_of_many_readers_the_worst_are_shown(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes groups without end does not make series without end."""
    monkeypatch.setattr(module, "READERS_MOST", 2)
    name = keys.key(0, "events")
    for n in range(4):
        await watched.client.xadd(name, {"v": "1"}, id=f"{START // 1000 + n}-0")
        await watched.client.xgroup_create(name, f"g{n}", id="$")
    watched.at(START + 60 * SECOND)
    shown = {dict(labels)["group"] for name, labels in await watched.scrape() if name == "smsd_reader_lag_entries"}
    assert shown == {"g0", "g1"}


async def test_processes_are_counted_by_their_config(watched: Watched) -> None:
    """Each that was heard of lately, by revision and by what became of its host's file; and who finds whom dead."""
    now_ms = time.time_ns() // 1_000_000
    shard = watched.live.shards[0]
    said: list[tuple[str, File, int, list[str]]] = [
        ("a", "in_force", 0, []),
        ("b", "in_force", 0, ["main"]),
        ("c", "superseded", 0, ["main"]),
        ("d", "in_force", 30_000, ["main"]),
    ]
    for name, file, silent_ms, dead in said:
        one = processes.Process(
            process=name, host="h", pid=1, version="1", since_ms=0, at_ms=now_ms - silent_ms, revision=3,
            file=file, dead=dead,
        )  # fmt: skip
        await processes.tell(shard, one)
    samples = await watched.scrape()
    assert value(samples, "smsd_processes", revision="3", file="in_force") == 2
    assert value(samples, "smsd_processes", revision="3", file="superseded") == 1
    assert value(samples, "smsd_provider_dead_processes", provider="main") == 2


async def test_a_lease_past_its_end_is_seen(watched: Watched) -> None:
    """A lease counts as overdue from its end on, until somebody takes it back."""
    await watched.admit("m1")
    shard = watched.live.shards[0]
    await shard.lease("default", [Offer("main", 1, 100)], n=1, request="r", process="p", span_us=10 * SECOND)
    watched.at(START + 9 * SECOND)
    assert value(await watched.scrape(), "smsd_leases_overdue") == 0
    watched.at(START + 11 * SECOND)
    assert value(await watched.scrape(), "smsd_leases_overdue") == 1


async def test_the_clock_is_held_against_the_stores(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes ahead of the store's shows by how much; one that agrees shows next to nothing."""
    assert abs(value(await watched.scrape(), "smsd_clock_offset_seconds")) < 0.5
    true = time.time
    monkeypatch.setattr(module.time, "time", lambda: true() + 90)
    assert value(await watched.scrape(), "smsd_clock_offset_seconds") == pytest.approx(90, abs=0.5)


async def test_every_gauge_is_told(watched: Watched) -> None:
    """What the table names is what a scrape shows, no more and no less, but for what nobody is there for."""
    shown = {name for name, _ in await watched.scrape()} - TOLD.keys()
    nobody = {"smsd_reader_lag_entries", "smsd_reader_lag_seconds", "smsd_reader_kept_ratio", "smsd_processes"}
    nobody |= {name for name in GAUGES if name.startswith("smsd_status_webhooks")} | {"smsd_receipts_ask_lag_seconds"}
    assert shown == GAUGES.keys() - nobody


async def test_what_waits_for_a_receiver_of_status_webhooks_is_shown(watched: Watched, tmp_path: Path) -> None:
    """How much, since when, and whether it is disabled."""
    config = configs.config(tmp_path, env=ENV, extra=endpoint("platform", "https://rails.example.com/x"))
    watched.live.swap(config, 2)
    written_ms = START // 1000 - 90_000
    await watched.client.zadd(keys.key(0, "push"), {f"platform\0{0:016d}\0{written_ms}-0\0000\0000": 0})
    samples = await watched.scrape()
    assert value(samples, "smsd_status_webhooks_backlog", endpoint="platform") == 1
    assert value(samples, "smsd_status_webhooks_oldest_seconds", endpoint="platform") == 90
    assert value(samples, "smsd_status_webhooks_disabled", endpoint="platform") == 0
    await watched.client.hset(keys.key(0, "shut"), "platform", '{"at_ms":1,"why":"it answered 410 Gone"}')
    assert value(await watched.scrape(), "smsd_status_webhooks_disabled", endpoint="platform") == 1


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
