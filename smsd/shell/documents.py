"""Public documents that the proof of a callback needs, such as the certificate behind its signature: fetched once, kept
for a while.

Never decides which URL may be asked (the provider has made sure that it is its vendor's), never follows a redirect,
never keeps more than a few.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from smsd.provider import HttpRequest
from smsd.shell.transport import Answered, Sent

FETCH_S = 5.0
KEPT_S = 86_400.0
KEPT_MAX = 64
DOCUMENT_MAX = 64 * 1024

Fetch = Callable[[str, HttpRequest], Awaitable[Sent]]
"""Asks for something that changes nothing: (provider, request)."""


class NotFetched(Exception):
    """The document could not be had. The text says why."""


class Documents:
    """What this process has fetched, by URL."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._turn = asyncio.Lock()
        self._until: dict[str, float] = {}
        self._kept: dict[str, bytes] = {}

    @property
    def kept(self) -> Mapping[str, bytes]:
        """Those that are fresh."""
        now = self._clock()
        for url in [url for url, until in self._until.items() if until <= now]:
            del self._until[url], self._kept[url]
        return self._kept

    async def get(self, provider: str, url: str) -> None:
        """Fetches one and keeps it; those who want it meanwhile wait for it. Raises NotFetched."""
        async with self._turn:
            if url not in self.kept:
                self._keep(url, await self.ask(provider, HttpRequest("GET", url)))

    def _keep(self, url: str, body: bytes) -> None:
        while len(self._kept) >= KEPT_MAX:
            oldest = next(iter(self._kept))
            del self._until[oldest], self._kept[oldest]
        self._kept[url], self._until[url] = body, self._clock() + KEPT_S

    async def ask(self, provider: str, request: HttpRequest) -> bytes:
        """What a vendor wants to be asked, once: the body of its answer. Raises NotFetched unless that is a 2xx."""
        sent = await self._fetch(provider, request)
        if not isinstance(sent, Answered):
            raise NotFetched(sent.detail)
        if not 200 <= sent.response.status < 300:
            raise NotFetched(f"answered with {sent.response.status}")
        if len(sent.response.body) > DOCUMENT_MAX:
            raise NotFetched(f"has more than {DOCUMENT_MAX} bytes")
        return sent.response.body
