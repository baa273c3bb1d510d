"""The two listeners of a process: [http] for health and metrics, [webhooks] for what providers call; maybe one address.

Never judges a callback and never counts a message: it hands each request to who knows.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from smsd.config import Config
from smsd.shell.listening import Address, PortTaken, address, bind, bound_at

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Readiness = Callable[[], Awaitable[str]]
"""Why the process is not ready, in a sentence; "" when it is."""

BACKLOG = 1024
CLOSE_S = 2.0  # given to answers that are being written when the process ends
KEEPALIVE_S = 75.0
HEADERS_MAX = 16 * 1024

TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
PROBLEM = "application/problem+json"


class Listeners:
    """Both listeners. `start` binds, `close` ends; between them `addresses` tells where they are."""

    def __init__(
        self,
        config: Config,
        *,
        ready: Readiness,
        metrics: Callable[[], Awaitable[bytes]],
        webhooks: Handler,
        shared: bool = False,
    ) -> None:
        self._http = address(config.http.listen)
        self._webhooks = address(config.webhooks.listen)
        self._ready, self._metrics, self._callback = ready, metrics, webhooks
        self._shared = shared
        self._runners: list[web.ServerRunner] = []
        self.http: Address | None = None
        self.webhooks: Address | None = None
        self._pages: Mapping[str, Handler] = {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._scrape}

    @property
    def bound(self) -> bool:
        return self.http is not None and self.webhooks is not None

    async def start(self) -> None:
        """Raises PortTaken; then nothing is bound."""
        try:
            if self._http == self._webhooks and self._http.port:
                self.http = self.webhooks = await self._listen(self._http, "http", self._either)
            else:
                self.http = await self._listen(self._http, "http", self._own)
                self.webhooks = await self._listen(self._webhooks, "webhooks", self._foreign)
        except PortTaken:
            await self.close()
            raise

    async def close(self) -> None:
        """Takes no more connections, and lets answers that are being written end."""
        self.http = self.webhooks = None
        runners, self._runners = self._runners, []
        for runner in runners:
            await runner.cleanup()

    async def _listen(self, where: Address, section: str, handler: Handler) -> Address:
        bound = bind(where, section, shared=self._shared)
        server = web.Server(
            handler,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=HEADERS_MAX,
            max_field_size=HEADERS_MAX,
        )
        runner = web.ServerRunner(server, shutdown_timeout=CLOSE_S)
        await runner.setup()
        self._runners.append(runner)
        try:
            await web.SockSite(runner, bound, backlog=BACKLOG).start()
        except OSError as error:
            with contextlib.suppress(OSError):
                bound.close()
            raise PortTaken(f"[{section}] listen {where}: {error.strerror or error}; end what listens there") from None
        return bound_at(bound)

    # ---- Who answers what --------------------------------------------------------------------------------------------

    async def _either(self, request: web.BaseRequest) -> web.StreamResponse:
        own = request.path in self._pages or request.path.startswith("/v1/")
        return await (self._own(request) if own else self._callback(request))

    async def _foreign(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._callback(request)

    async def _own(self, request: web.BaseRequest) -> web.StreamResponse:
        page = self._pages.get(request.path)
        if page is None:
            return problem(404, "not found", "there is /livez, /readyz and /metrics")
        if request.method not in ("GET", "HEAD"):
            return problem(405, "method not allowed", "this page is only read", {"Allow": "GET, HEAD"})
        return await page(request)

    async def _livez(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="alive\n")

    async def _readyz(self, request: web.BaseRequest) -> web.StreamResponse:
        trouble = await self._ready() or ("" if self.bound else "not listening")
        return web.Response(status=503 if trouble else 200, text=f"{trouble or 'ready'}\n")

    async def _scrape(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=await self._metrics(), headers={"Content-Type": METRICS})


def problem(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error after RFC 9457."""
    body = msgspec.json.encode({"type": "about:blank", "title": title, "status": status, "detail": detail})
    return web.Response(status=status, body=body, content_type=PROBLEM, headers=headers)
