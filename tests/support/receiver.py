"""A receiver of status webhooks over real HTTP, which verifies every signature by the library, and misbehaves if told.

Never sleeps: a test waits for the webhook that it expects; one that hangs does so until it is let go.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLSw0MfKQ9r8GKYo="
PATIENCE_S = 30.0

Answer = int | tuple[int, Mapping[str, str]]


class Got(msgspec.Struct, frozen=True):
    """One webhook that was verified."""

    id: str
    body: Any
    headers: Mapping[str, str]
    at: float  # on the loop's clock


class Receiver:
    """What has come, and how it is answered: 204 unless `answer` says otherwise; `hang` answers nothing."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Got] = []  # every try, also such as were refused
        self.taken: list[Got] = []
        self.under_way = self.most_under_way = 0
        self.answer: Callable[[Got], Answer] = lambda _: 204
        self.hang = False
        self._let_go = asyncio.Event()
        self._came = asyncio.Condition()

    @property
    def ids(self) -> list[str]:
        """Of what it took, in order."""
        return [one.id for one in self.taken]

    def tries(self) -> Counter[str]:
        return Counter(one.id for one in self.got)

    def let_go(self) -> None:
        """Whatever hangs is answered."""
        self.hang = False
        self._let_go.set()

    async def wait(self, n: int) -> list[Got]:
        """What it took, once these are so many different events."""
        return await self._until(lambda: len(set(self.ids)) >= n, lambda: self.taken)

    async def wait_tries(self, n: int) -> list[Got]:
        return await self._until(lambda: len(self.got) >= n, lambda: self.got)

    async def _until(self, true: Callable[[], bool], what: Callable[[], list[Got]]) -> list[Got]:
        async with asyncio.timeout(PATIENCE_S), self._came:
            await self._came.wait_for(true)
        return list(what())

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.text()
        told = Webhook(SECRET).verify(body, dict(request.headers))
        got = Got(request.headers["webhook-id"], told, dict(request.headers), asyncio.get_running_loop().time())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self._note(self.got, got)
            if self.hang:
                await self._let_go.wait()
            answer = self.answer(got)
        finally:
            self.under_way -= 1
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if 200 <= status < 300:
            await self._note(self.taken, got)
        return web.Response(status=status, headers=headers)

    async def _note(self, where: list[Got], got: Got) -> None:
        where.append(got)
        async with self._came:
            self._came.notify_all()


@asynccontextmanager
async def receiver(port: int = 0) -> AsyncGenerator[Receiver]:
    """One that answers at `url`."""
    made = Receiver()
    app = web.Application()
    app.router.add_post("/events", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    try:
        yield made
    finally:
        made.let_go()
        await runner.cleanup()
