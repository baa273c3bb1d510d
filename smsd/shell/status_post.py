"""One POST to a receiver of status webhooks: signed, bounded in time and size, never redirected, never repeated.

Never decides what an answer leads to. Where a stranger chose the URL, no address is connected to that was not looked at
(core/address.py): a name is resolved once, every address that it has must be allowed, and the connection goes to these.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from smsd.core.address import barred, barred_url
from smsd.shell.metrics import release

if TYPE_CHECKING:
    from standardwebhooks import Webhook

TIMEOUT_S: Final = 10.0  # for all of it; Standard Webhooks advises 15 to 30 at most
BODY_READ: Final = 16 * 1024  # of an answer, so that its connection can be used again; nobody looks at it
KEEPALIVE_S: Final = 15.0
RESOLVERS: Final = 32  # names that are looked up at once: no other part of smsd waits behind one that hangs


class Reply(msgspec.Struct, frozen=True):
    """What came of a POST. `status` 0: no answer."""

    status: int
    detail: str  # never a word of the answer's body
    after_s: float | None = None  # Retry-After

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Barred(OSError):
    """An address that no stranger may send us to."""


class Names(AbstractResolver):
    """Resolves names in threads of its own, each name in one at most, for a stranger's may hang for long: none of them
    holds up the process's end.

    `guarded`: a name of which one address is barred has none.
    """

    def __init__(self, *, guarded: bool) -> None:
        self._guarded = guarded
        self._room = asyncio.Semaphore(RESOLVERS)
        self._asked: dict[tuple[str, int, int], asyncio.Task[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError where it has none, and Barred."""
        asked = self._asked.get((host, port, family))
        if asked is None:
            asked = self._asked[host, port, family] = asyncio.create_task(self._ask(host, port, family))
            asked.add_done_callback(lambda done: self._answered((host, port, family), done))
        found = await asyncio.shield(asked)
        for one in found if self._guarded else ():
            if why := barred(one["host"]):
                raise Barred(f"{host} is at an address that is {why}")
        return found

    async def _ask(self, host: str, port: int, family: int) -> list[ResolveResult]:
        async with self._room:
            answer: Future[list[ResolveResult]] = Future()
            answer.set_running_or_notify_cancel()  # from here on nobody cancels it, and the thread may set it
            # No executor: the interpreter waits for an executor's threads before it ends.
            threading.Thread(
                target=_look_up, args=(answer, host, port, family), name="status-names", daemon=True
            ).start()
            return await asyncio.wrap_future(answer)

    def _answered(self, key: tuple[str, int, int], done: asyncio.Task[list[ResolveResult]]) -> None:
        del self._asked[key]
        if not done.cancelled():
            done.exception()  # whoever asked may be gone

    async def close(self) -> None:
        for asked in self._asked.values():
            asked.cancel()


def _look_up(answer: Future[list[ResolveResult]], host: str, port: int, family: int) -> None:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        answer.set_exception(error)
        return
    answer.set_result(
        [
            ResolveResult(
                hostname=host, host=str(address[0]), port=int(address[1]), family=kind, proto=protocol, flags=flags
            )
            for kind, _, protocol, _, address in found
        ]
    )


class Poster:
    """A pool of connections to receivers. `guarded`: for URLs that strangers chose."""

    def __init__(self, *, guarded: bool = False, names: AbstractResolver | None = None) -> None:
        self._guarded, self._names = guarded, names
        self._session: aiohttp.ClientSession | None = None
        self._agent = f"smsd/{release()}"

    async def start(self) -> None:
        """In the event loop that it is used in."""
        connector = aiohttp.TCPConnector(
            limit=0,  # each receiver has a bound of its own
            keepalive_timeout=KEEPALIVE_S,
            resolver=self._names or Names(guarded=self._guarded),
            use_dns_cache=not self._guarded,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Closes every connection, also those in use."""
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, body: bytes, *, event_id: str, signers: "Sequence[Webhook]", at: datetime) -> Reply:
        """`at`: now, in UTC; a receiver refuses what is signed for another time. Raises nothing."""
        if self._session is None:
            raise RuntimeError("start() comes first")
        if self._guarded and (why := barred_url(url)):
            return Reply(0, f"the URL is not called: {why}")
        text = body.decode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": self._agent,
            "webhook-id": event_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signer.sign(event_id, at, text) for signer in signers),
        }
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                with contextlib.suppress(
                    aiohttp.ClientError, TimeoutError
                ):  # its status has come, and nothing else counts
                    await answer.content.read(BODY_READ)
                return Reply(answer.status, f"HTTP {answer.status}", _retry_after_s(answer.headers))
        except TimeoutError:
            return Reply(0, f"no answer within {TIMEOUT_S:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(0, _why(error))


def _why(error: Exception) -> str:
    """In words of which none is the answer's, and without the URL's path: it may be a secret of its own."""
    if isinstance(error, aiohttp.ClientResponseError):
        return "its answer is no HTTP that can be read"
    if isinstance(error, aiohttp.InvalidURL):
        return "the URL cannot be called"
    cause = getattr(error, "os_error", None)  # aiohttp does not say what its resolver said
    return str(cause if isinstance(cause, Barred) else error) or type(error).__name__


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 §10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
