"""What providers call: receipts and texts, checked by the provider's own scheme, answered once the store has them.

Never says "taken" before the store has taken it, never tells a stranger why it was refused, and never believes a Host
header: the URL that signatures are checked against is built from `public_url`.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from typing import cast
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from redis.exceptions import RedisError, ResponseError
from structlog.typing import FilteringBoundLogger

from smsd.config import Config
from smsd.provider import BadCallback, BadSignature, Callback, Inbound, Provider, Receipt
from smsd.secret import SecretError
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.store import keys
from smsd.store.record import decode
from smsd.store.shard import ClockDiffers, ReceiptFor, Shard

BODY_MAX = 64 * 1024
BODY_S = 10.0  # for the body to arrive
STORE_S = 1.0  # for the store to take it; then the provider is asked to come again
RETRY_AFTER_S = 5
BATCH = 100  # receipts in one call of the store
LINGER_S = 0.004  # between two calls while many come, for more of them to share one
WAITING_MAX = 5000  # receipts that wait for the store; more are asked to come again
MEASURE_S = 1.0  # between two looks at how long receipts took, unless BATCH have come
TOLD_EVERY_S = 60.0  # a provider whose callbacks fail is told of so often

_KINDS = frozenset({"status", "inbound"})
_REFERENCE = re.compile(r"([1-9][0-9]{0,5})\.([A-Za-z0-9_.:-]{1,64}/[A-Za-z0-9_.:-]{1,128})")
_FINAL = frozenset({"delivered", "undelivered", "late"})
_NOT_HERE = frozenset({"early", "orphan", "dropped"})  # words for a receipt whose message another shard may have
_ROOT = "/webhooks/"


class Away(Exception):
    """The store did not take it, or not in time."""


class Called(msgspec.Struct, frozen=True):
    """What a path says: /webhooks/{provider}[/{token}][/status or /inbound]. The token is for the provider to judge."""

    provider: str
    kind: str


class Webhooks:
    """All callbacks of this process. `handle` is aiohttp's low-level handler."""

    def __init__(self, live: Live, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._live, self._metrics, self._log = live, metrics, log
        self._batches = {shard.number: Batch(shard, metrics, log) for shard in live.shards}
        self._told: dict[str, float] = {}
        self._texted = Texted()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """204 when all of it is stored; 404, 403, 400, 408, 413, and 503 where the provider should come again."""
        called = read_path(request.raw_path, self._live.config.webhooks.public_url)
        if called is None:
            return _answer(request, 404)
        if request.method not in ("GET", "POST"):
            return _answer(request, 405, {"Allow": "GET, POST"})
        name = called.provider
        try:
            provider = self._live.config.provider(name)
        except KeyError:
            return _answer(request, 404)
        except SecretError as error:
            return self._refuse(request, 503, name, "unavailable", str(error))
        try:
            body = await _body(request)
        except TimeoutError:
            return self._refuse(request, 408, name, "unreadable", "the body did not arrive in time")
        except web.HTTPRequestEntityTooLarge:
            return self._refuse(request, 413, name, "too_large", f"more than {BODY_MAX} bytes")
        callback = Callback(request.method, self._url(request.raw_path), _headers(request), body)
        return await self._take(request, called, provider, callback)

    async def _take(
        self, request: web.BaseRequest, called: Called, provider: Provider, callback: Callback
    ) -> web.StreamResponse:
        name = called.provider
        try:
            if called.kind == "inbound":
                await self._texts(name, provider.inbound(callback))
            elif receipts := provider.receipts(callback):
                await self._receipts(name, receipts)
        except BadSignature:
            return self._refuse(request, 403, name, "forged", "the proof fails: is public_url what the provider calls?")
        except BadCallback as error:
            return self._refuse(request, 400, name, "unreadable", str(error))
        except Away as error:
            return self._refuse(request, 503, name, "unavailable", str(error))
        except Exception:  # noqa: BLE001 - a provider that somebody else wrote may fail; mended, it is told again
            return self._refuse(request, 503, name, "failed", "the provider's code failed on it", exc_info=True)
        return web.Response(status=204)

    def _url(self, raw_path: str) -> str:
        """As the provider was told it; behind a proxy that leaves the prefix in place it is there already."""
        public = self._live.config.webhooks.public_url
        return public + _inner(raw_path, public)

    def _refuse(
        self, request: web.BaseRequest, status: int, name: str, outcome: str, why: str, *, exc_info: bool = False
    ) -> web.StreamResponse:
        self._metrics.receipts(name, outcome)
        now = time.monotonic()
        if now - self._told.get(f"{name} {outcome}", float("-inf")) >= TOLD_EVERY_S:
            self._told[f"{name} {outcome}"] = now
            self._log.warning(
                "callback_refused", provider=name, status=status, outcome=outcome, detail=why, exc_info=exc_info
            )
        return _answer(request, status, {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None)

    # ---- Receipts ----------------------------------------------------------------------------------------------------

    async def _receipts(self, name: str, receipts: Sequence[Receipt]) -> None:
        """Raises Away."""
        offers = [[batch.put(one) for batch in self._for(one)] for one in (_addressed(name, r) for r in receipts)]
        try:
            async with asyncio.timeout(STORE_S):
                words = [_best([await future for future in futures]) for futures in offers]
        except TimeoutError:
            raise Away("the store is slow") from None
        finally:
            for future in (future for futures in offers for future in futures):
                if not (future.cancel() or future.cancelled()):
                    future.exception()  # asked for, lest asyncio complains that nobody did
        for word in words:
            self._metrics.receipts(name, word)

    def _for(self, receipt: ReceiptFor) -> Iterable["Batch"]:
        """The shard of our reference. One with the provider's id only goes to all: one knows it, or all keep it."""
        if receipt.key:
            return (self._batches[self._live.shard_of(receipt.key.partition("/")[0]).number],)
        return self._batches.values()

    # ---- Texts that people send --------------------------------------------------------------------------------------

    async def _texts(self, name: str, texts: Sequence[Inbound]) -> None:
        """Writes them as contract.md §3 has it; what a text means and answers is not told yet. Raises Away."""
        config = self._live.config
        for text in texts:
            tenant = self._texted.tenant(config, text.to)
            shard = self._live.shard_of(tenant) if tenant else self._live.shards[0]
            fields: dict[str, str | int] = {
                "v": 1,
                "at": time.time_ns() // 1_000_000,
                "provider": name,
                "provider_id": text.provider_id,
                "from": text.sender,
                "to": text.to,
                "body": text.body,
                "parts": text.parts,
                "tenant": tenant,
                **dict.fromkeys(("in_reply_to", "intent", "opt_out"), ""),
            }
            await _stored(_append(shard, fields, config.retention.events_max))
        self._metrics.inbound(name, len(texts))


class Batch:
    """Receipts on their way to one shard: whatever waits goes in the next call, and one call is under way at a time."""

    def __init__(self, shard: Shard, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._shard, self._metrics, self._log = shard, metrics, log
        self._waiting: deque[tuple[ReceiptFor, asyncio.Future[str]]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._ended: list[tuple[ReceiptFor, int]] = []  # receipt and when it came; measured together, for less work
        self._measured_at = float("-inf")

    def put(self, receipt: ReceiptFor) -> asyncio.Future[str]:
        """The word for the receipt, once the store has it; Away where it could not be stored."""
        future = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= WAITING_MAX:
            future.set_exception(Away("too many receipts wait for the store"))
            return future
        self._waiting.append((receipt, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return future

    async def _write(self) -> None:
        try:
            while batch := self._next():
                await self._write_batch(batch)
                if len(batch) > 1 and len(self._waiting) < BATCH:  # busy: fewer and fuller calls cost half as much
                    await asyncio.sleep(LINGER_S)
        finally:
            self._writing = None

    def _next(self) -> list[tuple[ReceiptFor, asyncio.Future[str]]]:
        """Those that somebody still waits for: the others were told to come again."""
        batch: list[tuple[ReceiptFor, asyncio.Future[str]]] = []
        while self._waiting and len(batch) < BATCH:
            receipt, future = self._waiting.popleft()
            if not future.done():
                batch.append((receipt, future))
        return batch

    async def _write_batch(self, batch: Sequence[tuple[ReceiptFor, asyncio.Future[str]]]) -> None:
        try:
            words = await self._shard.receipts([receipt for receipt, _ in batch])
        except ResponseError as error:
            if len(batch) > 1:  # the guilty one must not hold up the others
                for one in batch:
                    await self._write_batch([one])
                return
            self._fail(batch, error)
        except (RedisError, OSError, ClockDiffers) as error:
            self._fail(batch, error)
        else:
            for (_, future), word in zip(batch, words, strict=True):
                if not future.done():
                    future.set_result(word)
            now_us = self._shard.now_us or time.time_ns() // 1000
            self._ended += [(r, now_us) for (r, _), word in zip(batch, words, strict=True) if word in _FINAL and r.key]
            if len(self._ended) >= BATCH or time.monotonic() - self._measured_at >= MEASURE_S:
                await self._measure()

    def _fail(self, batch: Sequence[tuple[ReceiptFor, asyncio.Future[str]]], error: Exception) -> None:
        self._metrics.store_error("receipts")
        for _, future in batch:
            if not future.done():
                future.set_exception(Away(f"{type(error).__name__}: {error}"))

    async def _measure(self) -> None:
        """From the provider's taking to the receipt, of the messages that receipts have ended."""
        ended, self._ended, self._measured_at = self._ended, [], time.monotonic()
        if not ended:
            return
        asked = self._shard.client.hmget(keys.key(self._shard.number, "msg"), [receipt.key for receipt, _ in ended])
        try:
            records = await cast("Awaitable[list[bytes | None]]", asked)
        except (RedisError, OSError):
            return
        for (receipt, at_us), packed in zip(ended, records, strict=True):
            record = decode(packed) if packed else None
            if record is not None and record.submitted:
                self._metrics.receipt_seconds(receipt.provider, (at_us - record.submitted) / 1e6)


class Texted:
    """Whose number or sender a person has texted, as far as the config tells: that of one tenant alone."""

    def __init__(self) -> None:
        self._config: Config | None = None
        self._tenants: dict[str, str] = {}

    def tenant(self, config: Config, to: str) -> str:
        """ "" where nobody has it, or more than one."""
        if config is not self._config:
            self._config, self._tenants = config, {}
            shared = config.tenant_defaults.sender
            for tenant in config.tenants:
                sender = config.tenant(tenant).sender
                self._tenants[sender] = "" if sender in self._tenants or sender == shared else tenant
        return self._tenants.get(to, "")


def read_path(raw_path: str, public_url: str) -> Called | None:
    """What a request's path asks for, with or without the path prefix of public_url; None for any other path."""
    path = _inner(raw_path, public_url).partition("?")[0]
    if not path.startswith(_ROOT):
        return None
    name, *rest = path.removeprefix(_ROOT).split("/")
    kind = rest.pop() if rest and rest[-1] in _KINDS else "status"
    if len(rest) > 1 or "" in (name, *rest):
        return None
    return Called(name, kind)


def _inner(raw_path: str, public_url: str) -> str:
    """The path below public_url, whether or not the proxy in front has cut off what public_url has before it."""
    inner = raw_path.removeprefix(urlsplit(public_url).path)
    return inner if inner.startswith(_ROOT) else raw_path


def _best(words: Sequence[str]) -> str:
    """Of the shards' words that of the one which knows the message."""
    return next((word for word in words if word not in _NOT_HERE), words[0])


async def _append(shard: Shard, fields: Mapping[str, str | int], most: int) -> None:
    stream = keys.key(shard.number, "inbound")
    await shard.client.xadd(stream, dict(fields), maxlen=most, approximate=True)  # pyright: ignore[reportArgumentType]


async def _stored(work: Coroutine[object, object, None]) -> None:
    """Waits for a write; it goes on when we no longer wait, for one that was cut off may have run. Raises Away."""
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait([task], timeout=STORE_S)
    if not done:
        task.add_done_callback(lambda late: late.exception())
        raise Away("the store is slow")
    if error := task.exception():
        raise Away(f"{type(error).__name__}: {error}")


def _addressed(provider: str, receipt: Receipt) -> ReceiptFor:
    """A reference that is none of ours counts as none: the provider's id remains."""
    ours = _REFERENCE.fullmatch(receipt.reference)
    return ReceiptFor(
        ours[2] if ours else "",
        int(ours[1]) if ours else 0,
        provider,
        receipt.provider_id,
        receipt.status.value,
        receipt.reason,
        receipt.error_code,
        receipt.raw_status,
    )


async def _body(request: web.BaseRequest) -> bytes:
    """The whole body. Raises HTTPRequestEntityTooLarge before more than BODY_MAX is in memory, TimeoutError."""
    length = request.content_length or 0
    if length > BODY_MAX:
        raise web.HTTPRequestEntityTooLarge(BODY_MAX, length)
    content = request.content
    if content.is_eof():  # it came in one piece with its head
        body = content.read_nowait()
        if len(body) > BODY_MAX:
            raise web.HTTPRequestEntityTooLarge(BODY_MAX, len(body))
        return body
    chunks: list[bytes] = []
    size = 0
    async with asyncio.timeout(BODY_S):
        while chunk := await content.readany():
            size += len(chunk)
            if size > BODY_MAX:
                raise web.HTTPRequestEntityTooLarge(BODY_MAX, size)
            chunks.append(chunk)
    return b"".join(chunks)


def _headers(request: web.BaseRequest) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _answer(request: web.BaseRequest, status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Without a body: a stranger learns nothing. What has not been read of the request is not read."""
    response = web.Response(status=status, headers=headers)
    if not request.content.is_eof():
        response.force_close()
    return response
