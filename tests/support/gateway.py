"""A provider and its gateway for tests of the sender: over HTTP, the test says what each message is answered with.

Never decides anything: `Plain` reads answers that are written as the contract's own values.
"""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Literal, cast
from urllib.parse import quote

import msgspec
from aiohttp import web

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    Callback,
    Capabilities,
    Found,
    HttpRequest,
    HttpResponse,
    Inbound,
    LookUpResult,
    NotFound,
    Receipt,
    ReceiptStatus,
    Unknown,
)

PATIENCE_S = 20.0
_answer = msgspec.json.Decoder(Answer)
_looked = msgspec.json.Decoder(LookUpResult)


class PlainOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "tests.support.gateway:Plain"."""

    base_url: str
    look_up: Literal["none", "listing", "reference"] = "none"
    idempotency_s: int = 0
    token_url: str = ""  # who gives the access tokens that its requests show


NO_TEXT = "\ud800"
"""A lone surrogate: Python's JSON makes one of an escape, and nothing can write it."""


class Plain:
    """Sends a message as JSON; whatever comes back is a value of the contract, or Unknown."""

    Options: ClassVar[type[msgspec.Struct]] = PlainOptions

    def __init__(self, name: str, options: PlainOptions) -> None:
        self._url = options.base_url
        asked = (("Authorization", "Basic c2FsdA=="), ("Content-Type", "application/x-www-form-urlencoded"))
        by = HttpRequest("POST", options.token_url, asked, b"grant_type=client_credentials")
        self._token = by if options.token_url else None
        self.capabilities = Capabilities(look_up=options.look_up, idempotency_s=options.idempotency_s)

    def submit(self, attempt: Attempt) -> HttpRequest:
        if attempt.message.body == "fault in submit":
            raise KeyError("fault")
        told = Received("", attempt.reference, attempt.message.to, attempt.message.body, attempt.callback_url,
                        attempt.idempotency_key, attempt.valid_s)  # fmt: skip
        return HttpRequest("POST", f"{self._url}/send", (), msgspec.json.encode(told), self._token)

    def answer(self, response: HttpResponse) -> Answer:
        if response.body == b"fault in answer":
            raise KeyError("fault")
        if response.body == b"nonsense in answer":
            return cast("Answer", None)
        if response.body == b"no text in answer":
            return Accepted(NO_TEXT)
        return _answer.decode(response.body) if response.status == 200 else Unknown(str(response.status))

    def receipts(self, callback: Callback) -> list[Receipt]:
        return []

    def inbound(self, callback: Callback) -> list[Inbound]:
        return []

    def look_up(self, attempt: Attempt) -> HttpRequest:
        if attempt.message.body == "fault in look_up":
            raise KeyError("fault")
        return HttpRequest("GET", f"{self._url}/look?ref={quote(attempt.reference, safe='')}")

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        if attempt.message.body == "no text in found":
            return Found((Receipt(ReceiptStatus.SENT, NO_TEXT),))
        return _looked.decode(response.body)

    def secrets(self) -> frozenset[str]:
        return frozenset()


class Received(msgspec.Struct):
    """One request for a message, and the provider in whose name it came."""

    provider: str
    reference: str
    to: str
    body: str
    callback_url: str
    key: str
    valid_s: int


class Gateway:
    """`url`/NAME is the base_url of the provider NAME. `reply` and `find` are the test's to change."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self.looked: list[str] = []
        self.reply: Callable[[Received], Awaitable[Answer | bytes | None]] = self.accept
        self.find: Callable[[str], LookUpResult] = lambda _: NotFound()
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def accept(self, received: Received) -> Answer:
        return Accepted(f"id-{received.reference}")

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/{provider}/send", self._send)
        app.router.add_get("/{provider}/look", self._look)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def until(self, count: int) -> None:
        """Returns once so many messages have come."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.received) >= count)

    def provider(self, name: str, **options: object) -> str:
        """A table of smsd.toml."""
        lines = [f"[providers.{name}]", 'type = "tests.support.gateway:Plain"', f'base_url = "{self.url}/{name}"']
        return "\n".join([*lines, *(f"{key} = {json.dumps(value)}" for key, value in options.items()), ""])

    async def _send(self, request: web.Request) -> web.StreamResponse:
        received = msgspec.json.decode(await request.read(), type=Received)
        received.provider = request.match_info["provider"]
        self.received.append(received)
        async with self._changed:
            self._changed.notify_all()
        answer = await self.reply(received)
        if answer is None:  # taken or not, nobody hears of it
            cast("asyncio.Transport", request.transport).abort()
            return web.Response()
        return web.Response(body=answer if isinstance(answer, bytes) else msgspec.json.encode(answer))

    async def _look(self, request: web.Request) -> web.StreamResponse:
        self.looked.append(request.query["ref"])
        return web.Response(body=msgspec.json.encode(self.find(request.query["ref"])))


class Lines(io.BytesIO):
    """A log file that can be waited for: one JSON object in each line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self._written = asyncio.Event()

    def write(self, text: Any) -> int:
        self.lines += [json.loads(line) for line in bytes(text).splitlines()]
        self._written.set()
        return len(text)

    async def until(self, event: str, count: int = 1, **fields: object) -> list[dict[str, Any]]:
        """The lines of that event with these fields, once there are so many."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self._written.clear()
                found = [one for one in self.lines if one["event"] == event and fields.items() <= one.items()]
                if len(found) >= count:
                    return found
                await self._written.wait()
