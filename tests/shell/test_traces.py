"""Spans as the SDK gets them: which messages are told of, what of them, and that a fault in telling is harmless."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from redis.asyncio import Redis

from smsd.config import OtelConfig
from smsd.core import outcome
from smsd.core.health import Health
from smsd.message import Cancel, Entry, Leased, Message, Rejection, Send
from smsd.shell.live import Live
from smsd.shell.sender_settle import Done
from smsd.shell.traces import Traces
from smsd.store.connect import connect
from smsd.store.shard import ReceiptFor, Shard
from tests.support.collector import Collector
from tests.support.config import config, free_address
from tests.support.logs import Logs
from tests.support.world import World

TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
PARENT = f"00-{TRACE:032x}-{SPAN:016x}-01"
SECOND_US = 1_000_000
MESSAGE = Message("acme", "r-1", "+353861234567", "Salon", "See you at ten.", "reminder", "default", "GSM-7", 1, "IE",
                  traceparent=PARENT)  # fmt: skip


class Told:
    """Traces whose spans stay here."""

    def __init__(self, folder: Path, shard: Shard, **keys: Any) -> None:
        self.logs, self._kept = Logs(), InMemorySpanExporter()
        self.live = Live(config(folder), [shard], process="host-1-abc")
        keeps = SimpleSpanProcessor(self._kept)
        self.traces = Traces(OtelConfig(enabled=True, **keys), self.live, self.logs.logger, keeps)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._kept.get_finished_spans())


@pytest.fixture
def make(redis: Redis, tmp_path: Path) -> Callable[..., Told]:
    return lambda **keys: Told(tmp_path, Shard(redis), **keys)


@pytest.fixture
def told(make: Callable[..., Told]) -> Told:
    return make()


def done(heard: str = "accepted", *, traceparent: str = PARENT, left: bool = True, **more: Any) -> Done:
    """An attempt that began two seconds after 1970 plus a thousand, and took 40 ms."""
    message = msgspec.structs.replace(MESSAGE, traceparent=traceparent)
    leased = Leased(message, "main", 2, 7, 1000 * SECOND_US, 9000 * SECOND_US, since_us=1000 * SECOND_US)
    head = (message.key, 7, heard, 2, "main")
    decided = more.pop("decided", None) or outcome.Accepted(*head, "SM1")
    health = Health(1)
    times = (2 * SECOND_US, 500_000, 40_000) if left else (0, 0, 0)
    return Done(leased, decided, heard, health, health.begin(0), *times)


def test_an_attempt_is_told_from_its_first_byte_to_the_answer(told: Told) -> None:
    """Its span is the entry's child with the instants of the wire, and says where, how often and to what end."""
    told.traces.attempts([done()], ["submitted"])
    (span,) = told.spans
    assert span.context is not None
    assert span.parent is not None
    assert (span.context.trace_id, span.parent.span_id, span.parent.is_remote) == (TRACE, SPAN, True)
    assert (span.start_time, span.end_time) == (1_002_000_000_000, 1_002_040_000_000)
    assert dict(span.attributes or {}) == {
        "messaging.system": "redis",
        "messaging.operation.name": "attempt",
        "messaging.operation.type": "process",
        "messaging.destination.name": "smsd:{0}:in:reminder",
        "messaging.consumer.group.name": "smsd",
        "messaging.message.id": "r-1",
        "smsd.class": "reminder",
        "smsd.tenant": "acme",
        "smsd.route": "default",
        "smsd.provider": "main",
        "smsd.attempt": 2,
        "smsd.outcome": "accepted",
        "smsd.state": "submitted",
        "smsd.queue_ms": 2000,
        "smsd.limit_ms": 500,
    }
    assert span.status.is_unset
    assert span.resource.attributes["service.instance.id"] == "host-1-abc"


def test_an_attempt_that_failed_is_an_error_without_the_vendors_words(told: Told) -> None:
    """Its kind is the outcome, its reason ours; what the vendor said of it stays out."""
    fail = outcome.Fail("acme/r-1", 7, "fail", 2, "main", "bad_number", ("detail", "no such number 353861234567"))
    told.traces.attempts([done("refused", decided=fail)], ["failed"])
    (span,) = told.spans
    said = dict(span.attributes or {})
    assert (said["error.type"], said["smsd.reason"], said["smsd.state"]) == ("refused", "bad_number", "failed")
    assert span.status.status_code is StatusCode.ERROR
    assert "353861234567" not in span.to_json()


@pytest.mark.parametrize("heard", ["not_started", "sandboxed"])
def test_what_did_not_leave_is_no_attempt(told: Told, heard: str) -> None:
    """A message given back makes no span; a request that could not be written makes one of no length."""
    told.traces.attempts([done(heard, left=False), done("deferred", left=False)], ["queued", "queued"])
    (span,) = told.spans
    assert (dict(span.attributes or {})["smsd.outcome"], span.start_time) == ("deferred", span.end_time)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (PARENT, 1),
        (PARENT[:-2] + "00", 0),
        (PARENT[:-2] + "02", 0),
        (PARENT[:-2] + "03", 1),
        ("cc" + PARENT[2:] + "-more", 1),
    ],
)
def test_the_producer_decides_whether_a_trace_is_sampled(told: Told, text: str, count: int) -> None:
    """The lowest bit of the flags counts, of any version."""
    told.traces.attempts([done(traceparent=text)], ["submitted"])
    assert len(told.spans) == count


def test_a_share_of_the_traces_is_told_whole(make: Callable[..., Told]) -> None:
    """`sample` keeps that share of the traces, and of each that it keeps every span."""
    told = make(sample=0.25)
    texts = [f"00-{(i + 1) * 0x9E3779B97F4A7C15 % 2**64 + 2**64:032x}-{SPAN:016x}-01" for i in range(200)]
    told.traces.attempts([done(traceparent=text) for text in texts], ["submitted"] * 200)
    told.traces.attempts([done(traceparent=text) for text in texts], ["submitted"] * 200)
    kept = [span.context.trace_id for span in told.spans if span.context is not None]
    assert 35 <= len(set(kept)) <= 65
    assert len(kept) == 2 * len(set(kept))


def test_a_batch_links_to_every_entry_that_is_traced(told: Told) -> None:
    """A thousand entries are a thousand links, a rejection's and that of `json` among them; a cancel has none."""
    sends: list[Entry] = [Send(MESSAGE, f"{i}-0", "", 0, 9) for i in range(998)]
    flat = Rejection("bad_number", "", "1-0", "acme", "r-2", ((b"traceparent", PARENT.encode()), (b"to", b"x")))
    json = Rejection("bad_body", "", "2-0", "acme", "r-3", ((b"json", b'{"traceparent": "%s"}' % PARENT.encode()),))
    bare = Rejection("bad_body", "", "3-0", "", "", ())
    told.traces.admitted(0, "reminder", [*sends, flat, json, bare, Cancel("acme", "x", "4-0")], ["taken"] * 1002, 5)
    (span,) = told.spans
    assert (span.name, span.start_time, span.parent) == ("admit smsd:{0}:in:reminder", 5, None)
    assert dict(span.attributes or {})["messaging.batch.message_count"] == 1002
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [(TRACE, SPAN)] * 1000
    assert [dict(link.attributes or {}).get("smsd.reason") for link in span.links[-3:]] == [
        None, "bad_number", "bad_body",
    ]  # fmt: skip


def test_a_batch_by_http_has_no_inbox(told: Told) -> None:
    """Its span names no stream; a batch in which nothing is traced makes none."""
    told.traces.admitted(0, "", [Send(MESSAGE, "", "", 0, 9)], ["taken"], 5)
    told.traces.admitted(0, "", [Send(msgspec.structs.replace(MESSAGE, traceparent=""), "", "", 0, 9)], ["taken"], 5)
    (span,) = told.spans
    assert (span.name, "messaging.destination.name" in (span.attributes or {})) == ("admit", False)


async def test_a_final_receipt_is_told_below_its_entry(told: Told, redis: Redis) -> None:
    """The body that is still in the store says whose it is; a note, a stranger's and an untraced one make no span."""
    world = World(redis)
    await world.send("acme", "r-1", traceparent=PARENT)
    await world.send("acme", "plain")
    receipts = [
        ReceiptFor("acme/r-1", 1, "main", "SM1", "sent"),
        ReceiptFor("acme/r-1", 1, "main", "SM1", "undelivered", "blocked"),
        ReceiptFor("acme/plain", 1, "main", "SM2", "delivered"),
        ReceiptFor("acme/gone", 1, "main", "SM3", "delivered"),
        ReceiptFor("", 0, "main", "SM4", "delivered"),
    ]
    known = await told.traces.known(world.shard, receipts)
    assert list(known) == ["acme/r-1"]
    told.traces.receipts(known, [(receipt, 7) for receipt in receipts], ["noted", "undelivered"] + ["delivered"] * 3)
    (span,) = told.spans
    assert span.parent is not None
    said = dict(span.attributes or {})
    assert (span.parent.span_id, span.start_time, said["smsd.state"], said["smsd.reason"]) == (
        SPAN, 7, "undelivered", "blocked",
    )  # fmt: skip


async def test_a_store_that_is_away_makes_no_receipt_fail(told: Told) -> None:
    """What cannot be asked is not told of."""
    store = connect(f"redis://{free_address()}/0")
    receipts = [ReceiptFor("acme/r-1", 1, "main", "SM1", "delivered")]
    assert await told.traces.known(Shard(store.client), receipts) == {}
    await store.aclose()


class Broken(SpanProcessor):
    """Fails at each span."""

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("broken")


def test_a_fault_in_telling_is_harmless_and_logged_once(told: Told) -> None:
    """Whoever tells goes on, for the store has the work already."""
    traces = Traces(OtelConfig(enabled=True), told.live, told.logs.logger, Broken())
    for _ in range(2):
        traces.attempts([done()], ["submitted"])
    assert told.logs.events() == ["traces_failed"]


async def test_spans_that_are_too_many_are_dropped_and_told_of_once(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector that never answers fills the queue; whoever tells goes on, and the end does not wait for long."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    with Collector(answers=False) as deaf:
        traces = Traces(OtelConfig(enabled=True, endpoint=deaf.url), told.live, told.logs.logger)
        traces.attempts([done()] * 20, ["submitted"] * 20)
        await traces.close(0.05)
    assert told.logs.events() == ["traces_dropped", "traces_lost"]


def test_without_the_packages_all_but_traces_works(tmp_path: Path) -> None:
    """A daemon can be made, and `check` says of a file that wants traces which extra to install."""
    (tmp_path / "smsd.toml").write_text("[otel]\nenabled = true\n")
    code = "import sys; sys.modules['opentelemetry'] = None; import smsd.shell.daemon; from smsd.cli import main; " \
           "sys.exit(main(['check', '--config', sys.argv[1]]))"  # fmt: skip
    command = [sys.executable, "-c", code, str(tmp_path / "smsd.toml")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    mend = 'the packages for traces are not installed: pip install "smsd-dispatch[otel]", or enabled = false'
    assert f"smsd.toml:2: otel.enabled: {mend}" in ran.stdout + ran.stderr
    assert ran.returncode == 2
