"""Traces by OpenTelemetry: spans of what happened to messages that came with a sampled `traceparent`.

Never imported unless [otel] is on, never delays or fails what it tells of, and never tells a number, a text or what a
vendor said. A span is made after its work, from what is known then; a thread of the SDK sends it to the collector.
Names are those of the semantic conventions for messaging, which OpenTelemetry still calls in development.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

import msgspec
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from structlog.typing import FilteringBoundLogger

from smsd.config import OtelConfig
from smsd.core import fields
from smsd.core.admit import traceparent
from smsd.core.outcome import Fail
from smsd.message import Cancel, Entry, Message, Rejection
from smsd.provider import ReceiptStatus
from smsd.shell.live import Live
from smsd.shell.metrics import release
from smsd.shell.sender_settle import Done
from smsd.store import keys
from smsd.store.connect import AWAY
from smsd.store.shard import ReceiptFor, Shard

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes, AttributeValue

FLUSH_S = 2.0  # at the end of the process, for what the collector has not got yet
LINKS_MAX = 1000  # of one span: the most elements of one POST
_PATH = "/v1/traces"
_EXPORTER = OTLPSpanExporter.__module__
_SAMPLED = 0x01
_FINAL = frozenset(status.value for status in ReceiptStatus if status.final)
_UNTRIED = frozenset({"not_started", "sandboxed"})  # not a byte left: no attempt
_read_message = msgspec.msgpack.Decoder(Message).decode

_OPERATIONS: Mapping[str, tuple[str, SpanKind]] = {
    "admit": ("receive", SpanKind.CLIENT),
    "attempt": ("process", SpanKind.CONSUMER),
    "receipt": ("process", SpanKind.CONSUMER),
}
"""Our name of an operation -> its type and its span's kind in the conventions."""


class Traces:
    """All spans of this process. `processor` is for tests; otherwise they go to the collector."""

    def __init__(
        self, config: OtelConfig, live: Live, log: FilteringBoundLogger, processor: SpanProcessor | None = None
    ) -> None:
        self._live, self._log, self._failed = live, log, False
        self._bound = TraceIdRatioBased.get_bound_for_rate(config.sample)
        self._voice = _Voice(log)
        told = logging.getLogger("opentelemetry")
        told.handlers, told.propagate = [self._voice], False
        self._provider = TracerProvider(
            resource=_resource(config, live.process),
            span_limits=SpanLimits(max_links=LINKS_MAX),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor or BatchSpanProcessor(_Exporter(config.endpoint, self._voice)))
        self._tracer = self._provider.get_tracer("smsd", release())

    async def close(self, budget_s: float) -> None:
        """Sends what waits; what the collector has not taken within the budget is lost."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(sent.set)

        threading.Thread(target=send, name="traces-flush", daemon=True).start()
        try:
            async with asyncio.timeout(budget_s):
                await sent.wait()
        except TimeoutError:
            self._log.warning("traces_lost", detail=f"the collector did not take the last ones within {budget_s:g} s")
        self._voice.hush()

    # ---- What is told ------------------------------------------------------------------------------------------------

    def admitted(self, shard: int, class_: str, entries: Sequence[Entry], words: Sequence[str], since_ns: int) -> None:
        """One span for a batch that was judged and admitted since then, with a link to each entry that is traced.
        `class_` is that of the inbox, "" for what came by HTTP.
        """
        with self._harmless():
            links: list[Link] = []
            for entry, word in zip(entries, words, strict=True):
                linked = self._context(_traceparent_of(entry))
                if linked is not None:
                    links.append(Link(linked, _told_of(entry, word)))
            if links:
                batch = {"messaging.batch.message_count": len(entries)}
                self._span("admit", shard, class_, batch, since_ns, time.time_ns(), Context(), links)

    def attempts(self, batch: Sequence[Done], words: Sequence[str]) -> None:
        """A span for each attempt that was settled, from its first byte to the answer, below the entry's."""
        with self._harmless():
            for done, word in zip(batch, words, strict=True):
                if done.heard not in _UNTRIED:
                    parent = self._context(done.leased.message.traceparent)
                    if parent is not None:
                        self._attempt(done, word, parent)

    async def known(self, shard: Shard, receipts: Sequence[ReceiptFor]) -> Mapping[str, Message]:
        """The messages that final receipts are for, by their keys, as far as they are traced. To be asked before the
        store takes the receipts, for that erases what has ended.
        """
        asked = list({receipt.key for receipt in receipts if receipt.key and receipt.status in _FINAL})
        if not asked:
            return {}
        reading = shard.client.hmget(keys.key(shard.number, "body"), asked)
        try:
            found = await cast("Awaitable[list[bytes | None]]", reading)
            messages = [_read_message(packed) for packed in found if packed]
        except (*AWAY, msgspec.MsgspecError):
            return {}
        return {message.key: message for message in messages if message.traceparent}

    def receipts(
        self, known: Mapping[str, Message], receipts: Sequence[tuple[ReceiptFor, int]], words: Sequence[str]
    ) -> None:
        """A span for each final receipt, from its coming (nanoseconds since the epoch) until now, below the entry's."""
        with self._harmless():
            for (receipt, since_ns), word in zip(receipts, words, strict=True):
                message = known.get(receipt.key) if receipt.status in _FINAL else None
                parent = self._context(message.traceparent) if message is not None else None
                if message is not None and parent is not None:
                    about = _about(message, receipt.provider, receipt.attempt, word)
                    about |= {"smsd.state": receipt.status, "smsd.reason": receipt.reason}
                    self._of(message, "receipt", about, since_ns, time.time_ns(), parent)

    # ---- Spans -------------------------------------------------------------------------------------------------------

    def _attempt(self, done: Done, word: str, parent: SpanContext) -> None:
        leased, decided = done.leased, done.outcome
        about = _about(leased.message, leased.provider, leased.attempt, done.heard)
        about |= {
            "smsd.state": word,
            "smsd.reason": decided.reason if isinstance(decided, Fail) else "",
            "smsd.limit_ms": done.limit_us // 1000,
        }
        since_ns = until_ns = time.time_ns()  # a request that could not be written has neither
        if done.queue_us:
            about["smsd.queue_ms"] = done.queue_us // 1000
            since_ns = (leased.since_us + done.queue_us) * 1000
            until_ns = since_ns + done.submit_us * 1000
        error = "" if done.heard == "accepted" else done.heard
        self._of(leased.message, "attempt", about, since_ns, until_ns, parent, error)

    def _of(
        self,
        message: Message,
        operation: Literal["attempt", "receipt"],
        about: "dict[str, AttributeValue]",
        since_ns: int,
        until_ns: int,
        parent: SpanContext,
        error: str = "",
    ) -> None:
        """A span about one message."""
        shard = self._live.shard_of(message.tenant).number
        below = set_span_in_context(NonRecordingSpan(parent), Context())
        told = {name: value for name, value in about.items() if value != ""}
        self._span(operation, shard, message.class_, told, since_ns, until_ns, below, error=error)

    def _span(
        self,
        operation: str,
        shard: int,
        class_: str,
        told: "Mapping[str, AttributeValue]",
        since_ns: int,
        until_ns: int,
        below: Context,
        links: Sequence[Link] = (),
        error: str = "",
    ) -> None:
        type_, kind = _OPERATIONS[operation]
        attributes: dict[str, AttributeValue] = {
            "messaging.system": "redis",
            "messaging.operation.name": operation,
            "messaging.operation.type": type_,
            **told,
        }
        name = operation
        if class_:
            inbox = keys.inbox(shard, class_)
            name = f"{operation} {inbox}"
            attributes |= {
                "messaging.destination.name": inbox,
                "messaging.consumer.group.name": keys.GROUP,
                "smsd.class": class_,
            }
        if error:
            attributes["error.type"] = error
        span = self._tracer.start_span(name, below, kind, attributes, links, start_time=since_ns)
        if error:
            span.set_status(StatusCode.ERROR)
        span.end(until_ns)

    def _context(self, text: str) -> SpanContext | None:
        """The entry's, where its producer sampled the trace and so do we; all spans of one trace fare alike."""
        if not text or not int(text[53:55], 16) & _SAMPLED:
            return None
        trace_id = int(text[3:35], 16)
        if trace_id & TraceIdRatioBased.TRACE_ID_LIMIT >= self._bound:
            return None
        return SpanContext(trace_id, int(text[36:52], 16), is_remote=True, trace_flags=TraceFlags(_SAMPLED))

    @contextlib.contextmanager
    def _harmless(self) -> Generator[None]:
        """The store has taken the work already: a fault in telling of it must not undo that."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - see above
            if not self._failed:
                self._failed = True
                self._log.error("traces_failed", exc_info=error)


def _about(message: Message, provider: str, attempt: int, outcome: str) -> "dict[str, AttributeValue]":
    return {
        "messaging.message.id": message.id,
        "smsd.tenant": message.tenant,
        "smsd.route": message.route,
        "smsd.provider": provider,
        "smsd.attempt": attempt,
        "smsd.outcome": outcome,
    }


def _traceparent_of(entry: Entry) -> str:
    """ "" where there is none that can be read; of a rejection, what the entry had."""
    match entry:
        case Cancel():
            return ""
        case Rejection():
            return traceparent(fields.read(entry.fields)[0].get("traceparent", "")) if entry.fields else ""
        case _:
            return entry.message.traceparent


def _told_of(entry: Entry, word: str) -> "Attributes":
    """What a link says of its entry."""
    if isinstance(entry, Rejection):
        return {"smsd.tenant": entry.tenant, "smsd.outcome": word, "smsd.reason": entry.reason}
    tenant, id_ = (entry.tenant, entry.id) if isinstance(entry, Cancel) else (entry.message.tenant, entry.message.id)
    return {"messaging.message.id": id_, "smsd.tenant": tenant, "smsd.outcome": word}


def _resource(config: OtelConfig, process: str) -> Resource:
    """Who tells: the file goes before OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, and these before what we are."""
    told: dict[str, AttributeValue] = {
        "service.name": "smsd",
        "service.version": release(),
        "service.instance.id": process,
        **OTELResourceDetector().detect().attributes,
    }
    return Resource.create(told | ({"service.name": config.service_name} if config.service_name else {}))


# ---- The collector ---------------------------------------------------------------------------------------------------


class _Voice(logging.Handler):
    """What the SDK says: the first of each of its parts; of the exporter again, once it has been well."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log, self._told, self._hushed = log, set[str](), False

    def emit(self, record: logging.LogRecord) -> None:
        if record.name in self._told or self._hushed:
            return
        self._told.add(record.name)
        if record.name == _EXPORTER:
            self._log.warning("traces_away", detail=record.getMessage())
        else:
            self._log.warning("traces_dropped", detail=record.getMessage())

    def well(self) -> None:
        """Spans were taken."""
        if _EXPORTER in self._told:
            self._told.remove(_EXPORTER)
            self._log.info("traces_back")

    def hush(self) -> None:
        """Nobody listens any more: a thread that is still trying must not write while the process ends."""
        self._hushed = True


class _Exporter(OTLPSpanExporter):
    """The SDK's, which also says when things are well."""

    def __init__(self, endpoint: str, voice: _Voice) -> None:
        super().__init__(endpoint=f"{endpoint.removesuffix(_PATH)}{_PATH}" if endpoint else None)
        self._voice = voice

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            self._voice.well()
        return result
