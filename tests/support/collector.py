"""A collector of traces for tests: OTLP over HTTP on loopback, as the OpenTelemetry Collector takes it.

Never interprets a span: it decodes what came and hands it out.
"""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WAIT_S = 30.0


class Got(msgspec.Struct, frozen=True):
    """A span as it came."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ns: int
    end_ns: int
    failed: bool
    told: dict[str, Any]
    links: list[tuple[str, str, dict[str, Any]]]  # trace, span, attributes
    resource: dict[str, Any]


class Collector:
    """Listens at `url` until it is closed. `port` 0: one that is free. `answers` False: takes and never says so."""

    def __init__(self, port: int = 0, *, answers: bool = True) -> None:
        self.spans: list[Got] = []
        self.paths: list[str] = []
        self._came = threading.Condition()
        self._answers, self._closed = answers, threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer._take(self.path, body)
                if not outer._answers:
                    outer._closed.wait(WAIT_S)
                    return
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - its name in the library

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(WAIT_S)

    def __enter__(self) -> "Collector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, count: int, name: str = "") -> list[Got]:
        """The spans whose name begins so, once there are so many."""
        until = time.monotonic() + WAIT_S
        with self._came:
            while len(found := [span for span in self.spans if span.name.startswith(name)]) < count:
                if (left_s := until - time.monotonic()) <= 0:
                    raise AssertionError(f"no {count} spans {name!r} came: {self.spans}")
                self._came.wait(left_s)
        return found

    def _take(self, path: str, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._came:
            self.paths.append(path)
            for part in request.resource_spans:
                resource = _plain(part.resource.attributes)
                for scope in part.scope_spans:
                    self.spans.extend(_got(span, resource) for span in scope.spans)
            self._came.notify_all()


def _got(span: Any, resource: dict[str, Any]) -> Got:
    return Got(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        _plain(span.attributes),
        [(link.trace_id.hex(), link.span_id.hex(), _plain(link.attributes)) for link in span.links],
        resource,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
