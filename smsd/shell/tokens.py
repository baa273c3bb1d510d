"""Access tokens for the requests that want one (OAuth 2.0, RFC 6749 §4.4): asked for once, kept until they are about to
end.

Never asks for the same one twice at a time, never shows a token or what it was asked for by, and never decides what its
refusal by the vendor means.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec

from smsd.provider import HttpRequest, HttpResponse

EARLY_S = 300.0  # before its end a token is renewed, and used meanwhile; of a short life a fifth
LIFE_S = 300.0  # of a token that does not say how long it lasts
LIFE_MOST_S = 86_400.0
AGAIN_S = 10.0  # between tries to renew one that still lasts, or that is refused

Ask = Callable[[str, HttpRequest], Awaitable[HttpResponse | str]]
"""The answer to a request for a token, or why there is none: (provider, request). Raises nothing."""

_TOKEN = re.compile(r"[!-~]+")
_WORD = re.compile(r"[a-z_]{1,40}")  # RFC 6749 §5.2
_REFUSED = frozenset({400, 401, 403})


class NoToken(Exception):
    """There is none to be had; the text says why. `refused`: whoever gives them does not know us."""

    def __init__(self, detail: str, *, refused: bool = False) -> None:
        super().__init__(detail)
        self.refused = refused


class _Granted(msgspec.Struct):
    """What an answer grants, as far as it is read."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - the kind of it
    expires_in: float | str = LIFE_S  # some write the number as a text


class _Kept(msgspec.Struct):
    """A token, with its times on our clock."""

    token: str
    asked_at: float
    renew_at: float
    ends_at: float


class Tokens:
    """The tokens of this process, by the request that they are asked for by."""

    def __init__(self, ask: Ask, clock: Callable[[], float]) -> None:
        self._ask, self._clock = ask, clock
        self._kept: dict[HttpRequest, _Kept] = {}
        self._asking: dict[HttpRequest, asyncio.Task[str | NoToken]] = {}

    def kept(self, provider: str, by: HttpRequest) -> str:
        """The one that is here, "" for none. Where it ends soon the next one is asked for meanwhile."""
        kept, now = self._kept.get(by), self._clock()
        if kept is None or now >= kept.ends_at:
            return ""
        if now >= kept.renew_at:
            kept.renew_at = now + AGAIN_S
            self._begin(provider, by)
        return kept.token

    async def fetched(self, provider: str, by: HttpRequest) -> str:
        """A new one; who asks meanwhile waits for the same. Raises NoToken; may be cancelled."""
        found = await asyncio.shield(self._begin(provider, by))
        if isinstance(found, NoToken):
            raise found
        return found

    def refused(self, by: HttpRequest, token: str) -> bool:
        """The vendor does not take this one. Whether another may help: not where it is new, for its age is not why."""
        kept = self._kept.get(by)
        if kept is None or kept.token != token:
            return True  # somebody else has seen it before
        if self._clock() < kept.asked_at + AGAIN_S:
            return False
        del self._kept[by]
        return True

    def close(self) -> None:
        """Ends what is under way."""
        for task in self._asking.values():
            task.cancel()

    def _begin(self, provider: str, by: HttpRequest) -> asyncio.Task[str | NoToken]:
        task = self._asking.get(by)
        if task is None:
            task = self._asking[by] = asyncio.create_task(self._fetch(provider, by))
        return task

    async def _fetch(self, provider: str, by: HttpRequest) -> str | NoToken:
        asked = self._clock()
        try:
            return self._read(by, await self._ask(provider, by), asked)
        finally:
            del self._asking[by]

    def _read(self, by: HttpRequest, answer: HttpResponse | str, asked: float) -> str | NoToken:
        who = urlsplit(by.url).netloc
        if isinstance(answer, str):
            return NoToken(f"{who}: {answer}")
        if answer.status != 200:
            why, refused = f"{who} answered {answer.status}{_why(answer.body)}", answer.status in _REFUSED
            return NoToken(f"{why}: are the id and the secret right?" if refused else why, refused=refused)
        try:
            granted = msgspec.json.decode(answer.body, type=_Granted)
            life_s = min(LIFE_MOST_S, max(0.0, float(granted.expires_in)))
        except (ValueError, RecursionError):
            return NoToken(f"{who} answered 200 without one")
        if granted.token_type.lower() != "bearer" or not _TOKEN.fullmatch(granted.access_token):
            return NoToken(f"{who} answered 200 with one that is no bearer token")
        renew_at = asked + life_s - min(EARLY_S, life_s / 5)
        self._keep(by, _Kept(granted.access_token, asked, renew_at, asked + life_s))
        return granted.access_token

    def _keep(self, by: HttpRequest, kept: _Kept) -> None:
        for other in [other for other, one in self._kept.items() if one.ends_at <= self._clock()]:
            del self._kept[other]  # after a reload nobody may ask for it any more
        self._kept[by] = kept


def _why(body: bytes) -> str:
    """The word for the error (RFC 6749 §5.2), and none of its sentences: they may tell what we have sent."""
    try:
        word = msgspec.json.decode(body, type=dict[str, object]).get("error")
    except (ValueError, RecursionError):
        return ""
    return f" ({word})" if isinstance(word, str) and _WORD.fullmatch(word) else ""
