"""What providers call: receipts and texts, checked by the provider's own scheme, answered once the store has them.

Never says "taken" before the store has taken it, never tells a stranger why it was refused, and never believes a Host
header: the URL that signatures are checked against is built from `public_url`.
"""

import asyncio
import re
import time
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import msgspec
from structlog.typing import FilteringBoundLogger

from smsd.config import SANDBOX
from smsd.core.networks import Network, caller, within
from smsd.provider import (
    BadCallback,
    BadSignature,
    Callback,
    Greeter,
    Greeting,
    Inbound,
    Needs,
    NoCredentials,
    Provider,
    Receipt,
)
from smsd.secret import SecretError
from smsd.shell.documents import Documents, NotFetched
from smsd.shell.live import Live, look
from smsd.shell.metrics import Metrics
from smsd.shell.server import BODY_MAX, Answer, Reply, Request, Response
from smsd.shell.webhooks_store import Awaited, Away, Batch, Offer
from smsd.shell.webhooks_texts import Texts
from smsd.store.connect import AWAY
from smsd.store.shard import ReceiptFor

if TYPE_CHECKING:
    from smsd.shell.traces import Traces

RETRY_AFTER_S = 5
TOLD_EVERY_S = 60.0  # a provider whose callbacks fail is told of so often

TAKEN = Response(204)
_HEADERS = {405: (("Allow", "GET, POST"),), 503: (("Retry-After", str(RETRY_AFTER_S)),)}
_UNREAD = {408: ("unreadable", "the body did not arrive in time"), 413: ("too_large", f"more than {BODY_MAX} bytes")}
_KINDS = frozenset({"status", "inbound"})
_REFERENCE = re.compile(r"([1-9][0-9]{0,5})\.([A-Za-z0-9_.:-]{1,64}/[A-Za-z0-9_.:-]{1,128})")
_ROOT = "/webhooks/"


class Called(msgspec.Struct, frozen=True):
    """What a path says: /webhooks/{provider}[/{token}][/status or /inbound]. The token is for the provider to judge."""

    provider: str
    kind: str
    url: str  # as the provider was told it, without its query


class Webhooks:
    """All callbacks of this process. `handle` is the server's handler."""

    def __init__(
        self,
        live: Live,
        metrics: Metrics,
        documents: Documents,
        log: FilteringBoundLogger,
        traces: "Traces | None" = None,
    ) -> None:
        self._live, self._metrics, self._documents, self._log = live, metrics, documents, log
        self._batches = {shard.number: Batch(shard, metrics, traces) for shard in live.shards}
        self._told: dict[str, float] = {}
        self.texts = Texts(live, metrics, log)

    async def run(self) -> None:
        """Until cancelled: what waits for no callback any more."""
        await self.texts.run()

    def handle(self, request: Request, reply: Reply) -> Answer:
        """204 when all of it is stored; 404, 403, 400, 408, 413, and 503 where the provider should come again."""
        path, mark, query = request.target.partition("?")
        config = self._live.config
        called = read_path(path, config.webhooks.public_url)
        if called is not None and called.provider == SANDBOX:  # it signs what it was told: the way over loopback
            called = read_path(path, self._live.loopback)
        if called is None:
            return _answer(404)
        if request.method not in ("GET", "POST", "OPTIONS"):
            return _answer(405)
        name = called.provider
        try:
            provider = config.provider(name)
        except KeyError:
            return self._look_for(request)
        except SecretError as error:
            return self._refuse(503, name, "unavailable", str(error))
        networks = config.providers[name].callback_networks
        if networks and (stranger := _stranger(request, networks, config.webhooks.trusted_proxies)):
            return self._refuse(403, name, "forged", stranger)
        if request.unread:
            return self._refuse(request.unread, name, *_UNREAD[request.unread])
        url, now_us, known = f"{called.url}{mark}{query}", time.time_ns() // 1000, self._documents.kept
        callback = Callback(request.method, url, request.headers, request.body, now_us, known, bool(networks))
        return self._take(called, provider, callback, reply)

    async def _look_for(self, request: Request) -> Response:
        """Of a provider that is not known here: another process may have put it in force, and sent by it, just now."""
        try:
            if not await look(self._live):
                return _answer(404)
        except AWAY:
            return _answer(503)
        return await _whole(partial(self.handle, request))

    def _take(self, called: Called, provider: Provider, callback: Callback, reply: Reply) -> Answer:
        name = called.provider
        try:
            if provider.capabilities.greets and (greeting := cast("Greeter", provider).greeting(callback)) is not None:
                return self._greet(name, greeting)
            if callback.method == "OPTIONS":  # CloudEvents' way to ask whether we want them, and nothing else
                return _answer(405)
            both = provider.capabilities.one_webhook
            texts = provider.inbound(callback) if called.kind == "inbound" or both else []
            receipts = provider.receipts(callback) if called.kind == "status" or both else []
            if texts:
                return self._texts_first(name, texts, receipts)
            if receipts:
                self._receipts(name, receipts, reply)
        except NoCredentials:
            return Response(401, (("WWW-Authenticate", 'Basic realm="smsd"'),))
        except BadSignature:
            return self._refuse(403, name, "forged", "the proof fails: is public_url what the provider calls?")
        except BadCallback as error:
            return self._refuse(400, name, "unreadable", str(error))
        except Needs as needs:
            if needs.url not in callback.fetched:
                return self._take_later(called, provider, callback, needs.url)
            return self._refuse(503, name, "failed", f"it asks again for {needs.url}")
        except Exception:  # noqa: BLE001 - a provider that somebody else wrote may fail; mended, it is told again
            return self._refuse(503, name, "failed", "the provider's code failed on it", exc_info=True)
        return None if receipts else TAKEN

    async def _take_later(self, called: Called, provider: Provider, callback: Callback, url: str) -> Response:
        """Once what its proof needs is here."""
        try:
            await self._documents.get(called.provider, url)
        except NotFetched as error:
            return self._refuse(503, called.provider, "unavailable", f"{url}: {error}")
        callback = msgspec.structs.replace(callback, fetched=self._documents.kept)
        return await _whole(partial(self._take, called, provider, callback))

    async def _greet(self, name: str, greeting: Greeting) -> Response:
        """Answers a vendor that asks whether we want its callbacks."""
        try:
            if greeting.request is not None:
                await self._documents.ask(name, greeting.request)
        except NotFetched as error:
            return self._refuse(503, name, "unavailable", f"the handshake failed: {error}")
        self._log.info("callbacks_confirmed", provider=name)
        return Response(greeting.status, greeting.headers, greeting.body)

    def _refuse(self, status: int, name: str, outcome: str, why: str, *, exc_info: bool = False) -> Response:
        self._metrics.receipts(name, outcome)
        now = time.monotonic()
        if now - self._told.get(f"{name} {outcome}", float("-inf")) >= TOLD_EVERY_S:
            self._told[f"{name} {outcome}"] = now
            self._log.warning(
                "callback_refused", provider=name, status=status, outcome=outcome, detail=why, exc_info=exc_info
            )
        return _answer(status)

    # ---- Receipts ----------------------------------------------------------------------------------------------------

    def _receipts(self, name: str, receipts: Sequence[Receipt], reply: Reply) -> None:
        """Replies when the store has all of them."""
        offers = [(one, self._for(one)) for one in [_addressed(name, receipt) for receipt in receipts]]
        awaited = Awaited(sum([len(batches) for _, batches in offers]), partial(self._ended, name, reply))
        for receipt, batches in offers:
            offer = Offer(receipt, len(batches), awaited)
            for batch in batches:
                batch.put(offer)

    def _for(self, receipt: ReceiptFor) -> Collection[Batch]:
        """The shard of our reference; all for one that has the provider's id only."""
        if receipt.key:
            return (self._batches[self._live.shard_of(receipt.key.partition("/")[0]).number],)
        return self._batches.values()

    def _ended(self, name: str, reply: Reply, why: Away | None) -> None:
        reply(TAKEN if why is None else self._refuse(503, name, "unavailable", str(why)))

    # ---- Texts that people send --------------------------------------------------------------------------------------

    async def _texts_first(self, name: str, texts: Sequence[Inbound], receipts: Sequence[Receipt]) -> Response:
        """Answers once all of them, and what they do, are in the store."""
        try:
            await self.texts.take(name, texts)
        except Away as error:
            return self._refuse(503, name, "unavailable", str(error))
        if not receipts:
            return TAKEN
        replied: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._receipts(name, receipts, replied.set_result)
        return await replied


@lru_cache(maxsize=256)
def read_path(path: str, public_url: str) -> Called | None:
    """What a request's path asks for, with or without the path prefix of public_url, which a proxy in front may have
    cut off; None for any other path.
    """
    inner = path.removeprefix(urlsplit(public_url).path)
    inner = inner if inner.startswith(_ROOT) else path
    if not inner.startswith(_ROOT):
        return None
    name, *rest = inner.removeprefix(_ROOT).split("/")
    kind = rest.pop() if rest and rest[-1] in _KINDS else "status"
    if len(rest) > 1 or "" in (name, *rest):
        return None
    return Called(name, kind, public_url + inner)


def _stranger(request: Request, networks: Sequence[Network], trusted: Sequence[Network]) -> str:
    """Why a request comes from none of the networks; "" where it does."""
    at = caller(request.peer, request.headers.get("x-forwarded-for", ""), trusted)
    if within(at, networks):
        return ""
    told = at or "no address that can be read"
    return f"it comes from {told}, outside callback_networks; is that our own proxy: [webhooks] trusted_proxies"


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
        receipt.parts,
    )


async def _whole(take: Callable[[Reply], Answer]) -> Response:
    """What it answers, however it does: at once, by a coroutine, or by its reply."""
    replied: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    answer = take(replied.set_result)
    if isinstance(answer, Response):
        return answer
    return await (replied if answer is None else answer)


def _answer(status: int) -> Response:
    """Without a body: a stranger learns nothing."""
    return Response(status, _HEADERS.get(status, ()))
