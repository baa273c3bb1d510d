"""Traces from outside: a daemon with [otel] on, a real collector, what it is told and what it is not."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from smsd.testing.carrier import CarrierProcess
from tests.support.collector import Collector
from tests.support.config import free_address, write
from tests.support.running import TO, Daemon, Platform

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
INBOX = "smsd:{0}:in:reminder"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}  # ms between two looks of the SDK at what waits


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


def traced(url: str, **keys: object) -> str:
    """The section that turns traces on."""
    more = "\n".join(f"{key} = {value!r}" for key, value in keys.items())
    return f'[otel]\nenabled = true\nendpoint = "{url}"\n{more}\n'


def test_a_message_is_told_of_below_its_own_span(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform, collector: Collector
) -> None:
    """Attempt and receipt are children of the entry's span, admission links to it, and the times are in their order."""
    began_ns = time.time_ns()
    path = write(tmp_path, store=store_url, carrier=carrier.url, extra=traced(collector.url))
    with Daemon(path, env=SOON).ready():
        platform.enqueue("r-1", traceparent=SAMPLED, body="a secret text")
        platform.wait("delivered", id="r-1")
        (attempt,) = collector.wait(1, f"attempt {INBOX}")
        (receipt,) = collector.wait(1, f"receipt {INBOX}")
        (admit,) = collector.wait(1, f"admit {INBOX}")
    for span in (attempt, receipt):
        assert (span.trace_id, span.parent_id, span.kind, span.failed) == (TRACE, SPAN, 5, False)
        assert span.told["messaging.message.id"] == "r-1"
        assert (span.told["smsd.tenant"], span.told["smsd.class"], span.told["smsd.provider"]) == (
            "acme", "reminder", "main",
        )  # fmt: skip
        assert (span.told["smsd.attempt"], span.told["messaging.destination.name"]) == (1, INBOX)
    assert (attempt.told["smsd.outcome"], attempt.told["smsd.state"]) == ("accepted", "submitted")
    assert (receipt.told["smsd.outcome"], receipt.told["smsd.state"]) == ("delivered", "delivered")
    assert attempt.told["messaging.operation.type"] == "process"
    assert admit.trace_id != TRACE
    assert (admit.told["messaging.operation.type"], admit.told["messaging.batch.message_count"]) == ("receive", 1)
    told = {"messaging.message.id": "r-1", "smsd.tenant": "acme", "smsd.outcome": "taken"}
    assert admit.links == [(TRACE, SPAN, told)]
    assert began_ns < admit.start_ns <= admit.end_ns <= time.time_ns()
    assert began_ns < attempt.start_ns < attempt.end_ns <= receipt.end_ns <= time.time_ns()
    assert (attempt.resource["service.name"], len(attempt.resource["service.instance.id"]) > 0) == ("smsd", True)
    everything = str(collector.spans)
    assert "a secret text" not in everything
    assert TO.removeprefix("+") not in everything


def test_a_list_that_comes_by_http_is_one_batch(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform, collector: Collector
) -> None:
    """Its span links to each traced element, and names no inbox; the attempts are told as of any message."""
    keys = '[http.api_keys.rails]\nkey = "env:RAILS_KEY"\ntenants = ["*"]\n'
    path = write(tmp_path, store=store_url, carrier=carrier.url, extra=keys + traced(collector.url))
    with Daemon(path, env={**SOON, "RAILS_KEY": "key-4711"}).ready() as daemon:
        (ready,) = daemon.heard("ready")
        element = {"class": "reminder", "tenant": "acme", "to": TO, "body": "Hello"}
        elements = [{**element, "id": "a", "traceparent": SAMPLED}, {**element, "id": "b"}]
        headers = {"Authorization": "Bearer key-4711", "Content-Type": "application/json"}
        host, _, port = ready["http"].rpartition(":")
        with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
            connection.request("POST", "/v1/messages", json.dumps(elements), headers)
            assert connection.getresponse().status == 202
        (admit,) = collector.wait(1, "admit")
        (attempt,) = collector.wait(1, "attempt")
    assert (admit.name, admit.told["messaging.batch.message_count"]) == ("admit", 2)
    told = {"messaging.message.id": "a", "smsd.tenant": "acme", "smsd.outcome": "taken"}
    assert admit.links == [(TRACE, SPAN, told)]
    assert (attempt.parent_id, attempt.told["messaging.message.id"]) == (SPAN, "a")


def test_what_brought_no_sampled_trace_is_not_told_of(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform, collector: Collector
) -> None:
    """Nonsense, nothing and an unsampled trace make no span and no link, beside one that does."""
    path = write(tmp_path, store=store_url, carrier=carrier.url, extra=traced(collector.url))
    for id_, text in (("bad", f"00-{'0' * 32}-{SPAN}-01"), ("unsampled", UNSAMPLED), ("traced", SAMPLED)):
        platform.enqueue(id_, traceparent=text)
    platform.enqueue("none")
    with Daemon(path, env=SOON).ready() as daemon:
        platform.wait("delivered", times=4)
        assert daemon.end() == 0
    ids = [span.told.get("messaging.message.id") for span in collector.spans if not span.name.startswith("admit")]
    assert ids == ["traced", "traced"]
    (admit,) = collector.wait(1, "admit")
    assert admit.told["messaging.batch.message_count"] == 4
    assert [told["messaging.message.id"] for _, _, told in admit.links] == ["traced"]


def test_a_refused_attempt_and_a_rejected_entry_say_why(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform, collector: Collector
) -> None:
    """A refusal is an error with its reason; an entry that is not taken is linked with the reason of its event."""
    path = write(tmp_path, store=store_url, carrier=carrier.url, extra=traced(collector.url))
    with Daemon(path, env=SOON).ready():
        platform.enqueue("refused", traceparent=SAMPLED, to="+15005550001")
        platform.enqueue("rejected", traceparent=SAMPLED, to="nonsense")
        platform.wait("failed", id="refused")
        (attempt,) = collector.wait(1, "attempt")
        until = collector.wait(1, "admit")
        while not any("smsd.reason" in told for span in until for _, _, told in span.links):
            until = collector.wait(len(until) + 1, "admit")
    assert (attempt.failed, attempt.told["error.type"], attempt.told["smsd.state"]) == (True, "refused", "failed")
    assert attempt.told["smsd.reason"] == platform.wait("failed")[0]["reason"]
    links = [told for span in until for _, _, told in span.links]
    assert {"smsd.tenant": "acme", "smsd.outcome": "rejected", "smsd.reason": "bad_number"} in links


def test_each_worker_tells_for_itself_and_all_is_told_before_the_end(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform, collector: Collector
) -> None:
    """Spans of two workers come, what waits is flushed at SIGTERM, and OTEL_ variables name service and place."""
    env = {
        "SMSD_OTEL__ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_SERVICE_NAME": "texts",
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }
    path = write(tmp_path, store=store_url, carrier=carrier.url)
    with Daemon(path, "--workers", "2", env=env).ready(2) as daemon:
        for i in range(20):
            platform.enqueue(f"m-{i}", traceparent=SAMPLED)
        platform.wait("submitted", times=20)
        assert collector.spans == []
        assert daemon.end() == 0
    attempts = collector.wait(20, "attempt")
    assert {span.told["messaging.message.id"] for span in attempts} == {f"m-{i}" for i in range(20)}
    assert {span.resource["service.name"] for span in attempts} == {"texts"}
    assert set(collector.paths) == {"/v1/traces"}


@pytest.mark.parametrize("hangs", [False, True])
def test_a_collector_that_is_away_holds_nothing_up_and_is_told_of_once(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform, hangs: bool
) -> None:
    """Messages go out and the process ends in time, whether nobody listens or somebody never answers."""
    with Collector(answers=False) as deaf:
        url = deaf.url if hangs else f"http://{free_address()}"
        path = write(tmp_path, store=store_url, carrier=carrier.url, extra=traced(url))
        with Daemon(path, env=SOON).ready() as daemon:
            for i in range(5):
                platform.enqueue(f"m-{i}", traceparent=SAMPLED)
            platform.wait("delivered", times=5)
            if not hangs:
                daemon.heard("traces_away")
            since = time.monotonic()
            assert daemon.end() == 0
            assert time.monotonic() - since < 15
            daemon.gone()
            told = [line for line in daemon.lines if line["event"].startswith("traces_")]
            assert [line for line in daemon.lines if not line["event"]] == []
        assert [line["event"] for line in told] == (["traces_lost"] if hangs else ["traces_away", "traces_lost"])
    if hangs:
        assert deaf.spans


def test_a_collector_that_comes_back_gets_what_waited(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """The log has one line when spans cannot be told and one when they can again; the endpoint may end in its path."""
    address = free_address()
    extra = traced(f"http://{address}/v1/traces")
    path = write(tmp_path, store=store_url, carrier=carrier.url, extra=extra)
    with Daemon(path, env=SOON).ready() as daemon:
        platform.enqueue("r-1", traceparent=SAMPLED)
        (away,) = daemon.heard("traces_away")
        assert address.rpartition(":")[2] in away["detail"]
        with Collector(int(address.rpartition(":")[2])) as collector:
            daemon.heard("traces_back")
            assert collector.wait(1, "attempt")
            assert set(collector.paths) == {"/v1/traces"}
            assert daemon.end() == 0
    assert len([line for line in daemon.lines if line["event"].startswith("traces_")]) == 2


def test_a_variable_that_the_sdk_cannot_use_is_told_at_the_start(tmp_path: Path, store_url: str) -> None:
    """The process does not start, and the log says why in a sentence."""
    path = write(tmp_path, store=store_url, extra=traced(""))
    with Daemon(path, env={"OTEL_BSP_MAX_QUEUE_SIZE": "0"}) as daemon:
        (line,) = daemon.heard("not_started")
        assert line["detail"].startswith("[otel], or an OTEL_ variable, cannot be used: max_queue_size must be")
        assert daemon.process.wait(30) == 2


def test_off_nothing_of_traces_is_imported(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform, collector: Collector
) -> None:
    """What Python imports names the SDK's traces and exporter when they are on, and never when they are off."""
    wanted = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "smsd.shell.traces")  # its metrics: redis-py's doing
    named: dict[bool, list[bool]] = {}
    for on in (False, True):
        path = write(tmp_path, store=store_url, carrier=carrier.url, extra=traced(collector.url) if on else "")
        with Daemon(path, env={"PYTHONPROFILEIMPORTTIME": "1"}).ready() as daemon:
            platform.enqueue(f"on-{on}", traceparent=SAMPLED)
            platform.wait("delivered", id=f"on-{on}")
            assert daemon.end() == 0
            daemon.gone()
            imported = [line["text"] for line in daemon.lines if "import time:" in line.get("text", "")]
            assert any("smsd.shell.sender" in text for text in imported)
            named[on] = [any(module in text for text in imported) for module in wanted]
    assert named == {False: [False, False, False], True: [True, True, True]}


def test_a_provider_is_never_told_of_a_trace(
    tmp_path: Path, store_url: str, platform: Platform, collector: Collector
) -> None:
    """Neither the head nor the body of what leaves for a provider holds the trace."""
    heard: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(bytes(self.headers) + self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - its name in the library

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with Daemon(write(tmp_path, store=store_url, carrier=url, extra=traced(collector.url)), env=SOON).ready():
            platform.enqueue("r-1", traceparent=SAMPLED, body="See you at ten")
            collector.wait(1, "attempt")
        server.shutdown()
    (request,) = heard
    assert b"ten" in request
    assert TRACE.encode() not in request
    assert b"trace" not in request.lower()
