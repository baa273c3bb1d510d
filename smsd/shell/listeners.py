"""The two listeners of a process: [http] for the API, health and metrics, [webhooks] for what providers call; maybe one
address.

Never judges a callback and never counts a message: it hands each request to who knows.
"""

import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from smsd.config import Config
from smsd.shell.api_problems import problem
from smsd.shell.listening import Address, PortTaken, address, bind, bound_at
from smsd.shell.server import Answer, Handler, Reply, Request, Response, Room, Server

Page = Callable[[], Coroutine[Any, Any, Response]]
Readiness = Callable[[], Awaitable[str]]
"""Why the process is not ready, in a sentence; "" when it is."""

TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
OURS = ("/v1/", "/openapi.json", "/docs")  # the API's, where both listeners are one address


class Listeners:
    """Both listeners. `start` binds, `close` ends; between them `addresses` tells where they are."""

    def __init__(
        self,
        config: Config,
        *,
        ready: Readiness,
        metrics: Callable[[], Awaitable[bytes]],
        api: Handler,
        room: Room,
        webhooks: Handler,
        shared: bool = False,
    ) -> None:
        self._http = address(config.http.listen)
        self._webhooks = address(config.webhooks.listen)
        self._ready, self._metrics, self._callback = ready, metrics, webhooks
        self._api, self._room = api, room
        self._shared = shared
        self._servers: list[Server] = []
        self.http: Address | None = None
        self.webhooks: Address | None = None
        self._pages: Mapping[str, Page] = {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._scrape}

    @property
    def bound(self) -> bool:
        return self.http is not None and self.webhooks is not None

    async def start(self) -> None:
        """Raises PortTaken; then nothing is bound."""
        try:
            if self._http == self._webhooks and self._http.port:
                self.http = self.webhooks = await self._listen(self._http, "http", self._either, self._room)
            else:
                self.http = await self._listen(self._http, "http", self._own, self._room)
                self.webhooks = await self._listen(self._webhooks, "webhooks", self._callback)
        except PortTaken:
            await self.close()
            raise

    async def close(self) -> None:
        """Takes no more connections, and lets answers that are being written end."""
        self.http = self.webhooks = None
        servers, self._servers = self._servers, []
        for server in servers:
            await server.close()

    async def _listen(self, where: Address, section: str, handler: Handler, room: Room | None = None) -> Address:
        bound = bind(where, section, shared=self._shared)
        server = Server(handler, room)
        self._servers.append(server)
        try:
            await server.start(bound)
        except OSError as error:
            with contextlib.suppress(OSError):
                bound.close()
            raise PortTaken(f"[{section}] listen {where}: {error.strerror or error}; end what listens there") from None
        return bound_at(bound)

    # ---- Who answers what --------------------------------------------------------------------------------------------

    def _either(self, request: Request, reply: Reply) -> Answer:
        path = _path(request)
        own = path in self._pages or path.startswith(OURS)
        return (self._own if own else self._callback)(request, reply)

    def _own(self, request: Request, reply: Reply) -> Answer:
        page = self._pages.get(_path(request))
        if page is None:
            return self._api(request, reply)
        if request.method not in ("GET", "HEAD"):
            return problem(405, "this page is only read", headers=(("Allow", "GET, HEAD"),))
        return page()

    async def _livez(self) -> Response:
        return _text(200, "alive")

    async def _readyz(self) -> Response:
        trouble = await self._ready() or ("" if self.bound else "not listening")
        return _text(503 if trouble else 200, trouble or "ready")

    async def _scrape(self) -> Response:
        return Response(200, (("Content-Type", METRICS),), await self._metrics())


def _path(request: Request) -> str:
    return request.target.partition("?")[0]


def _text(status: int, text: str) -> Response:
    return Response(status, (("Content-Type", TEXT),), f"{text}\n".encode())
