"""What the API does with those who have opted out of a tenant's or a sender's texts: lists, shows, closes and opens.

Never repeats a number in an error, and never decides whose key may ask: a sender's list is no tenant's.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from smsd.control import optout_file, optouts
from smsd.control.optouts import CHOSEN, BadAfter, Listed, Whose
from smsd.core.fields import parse_instant
from smsd.core.optout import Scope
from smsd.number import BadNumber, normalise, sender_ok
from smsd.shell.api_problems import Fault, answer, problem, refused
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.server import Response
from smsd.store.optouts import OptOut

LIST_MAX = 1000
FILE_MAX = 10_000
MISTAKES_MAX = 100  # told of one file
CSV = "text/csv"
FILE = "/v1/opt-outs.csv"
Ms = Annotated[int, Meta(ge=0, le=2**53)]


class OptOutQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the list."""

    after: Annotated[str, Meta(max_length=200)] = ""  # what the page before gave as `after`
    limit: Annotated[int, Meta(ge=1, le=LIST_MAX)] = 100


class OptOutFileQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the file."""

    after: Annotated[str, Meta(max_length=200)] = ""  # as the `Link` of the page before has it
    limit: Annotated[int, Meta(ge=1, le=FILE_MAX)] = FILE_MAX


class OptOutWanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be closed."""

    scope: Scope = "all"


class OptOutGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who has opted out elsewhere."""

    number: Annotated[str, Meta(max_length=40, examples=["+353861234567"])]  # E.164, or national of the tenant's region
    scope: Scope = "all"
    at_ms: Ms = 0  # epoch; 0: now


class OptOutsGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many at once."""

    opt_outs: Annotated[list[OptOutGiven], Meta(min_length=1, max_length=LIST_MAX)]


class OptOutShown(msgspec.Struct, frozen=True):
    """Somebody who has opted out, since when and how: inbound (a text), provider (its code), api, command, import."""

    number: str
    scope: Scope
    at_ms: int
    source: str
    provider: str


class OptOutsFound(msgspec.Struct, frozen=True):
    """A page; `after` leads to the next one, and is empty on the last."""

    opt_outs: list[OptOutShown]
    after: str


class OptOutListed(msgspec.Struct, frozen=True):
    """The same, with whose list it is on: a tenant's or a sender's (`*`: of whatever leaves it to a provider)."""

    number: str
    scope: Scope
    tenant: str
    sender: str
    at_ms: int
    source: str
    provider: str


class OptOutsListed(msgspec.Struct, frozen=True):
    """A page; `after` leads to the next one, and is empty on the last."""

    opt_outs: list[OptOutListed]
    after: str


class Closed(msgspec.Struct, frozen=True):
    """How many were closed now; the others were before."""

    closed: int


class OptOutVerbs:
    """The verbs of opt-outs, each from what was asked to the answer."""

    def __init__(self, live: Live, metrics: Metrics) -> None:
        self._live, self._metrics = live, metrics

    async def list(self, whose: Whose, query: OptOutQuery) -> Response:
        """GET …/opt-outs. Raises Refused."""
        page = await self._page(whose, query)
        return answer(200, OptOutsFound([_shown(one) for _, one in page.found], page.after))

    async def list_all(self, query: OptOutQuery) -> Response:
        """GET /v1/opt-outs. Raises Refused."""
        page = await self._page(None, query)
        found = [
            OptOutListed(one.number, one.scope, whose.tenant, whose.sender, one.at_ms, one.source, one.provider)
            for whose, one in page.found
        ]
        return answer(200, OptOutsListed(found, page.after))

    async def show(self, whose: Whose, number: str) -> Response:
        """GET …/opt-outs/{number}."""
        one = await optouts.get(self._live.shards, whose, _as_listed(number))
        return answer(200, _shown(one)) if one is not None else problem(404, "nothing is closed to this number")

    async def put(self, whose: Whose, number: str, wanted: OptOutWanted) -> Response:
        """PUT …/opt-outs/{number}. Raises Refused."""
        _can_be(whose)
        e164 = self._number(whose, number, "")
        if await optouts.set_(self._live.shards, whose, OptOut(e164, wanted.scope, source="api")):
            self._metrics.opt_outs("api", wanted.scope)
        return await self.show(whose, e164)

    async def drop(self, whose: Whose, number: str) -> Response:
        """DELETE …/opt-outs/{number}."""
        opened = await optouts.open_(self._live.shards, whose, _as_listed(number))
        return Response(204) if opened else problem(404, "nothing is closed to this number")

    async def give(self, whose: Whose, given: OptOutsGiven) -> Response:
        """POST …/opt-outs: all of them, or none. Raises Refused."""
        _can_be(whose)
        entries = [
            OptOut(
                self._number(whose, one.number, f"{at}/number"), one.scope, _instant_ms(one.at_ms, f"{at}/at_ms"), "api"
            )
            for at, one in ((f"/opt_outs/{i}", one) for i, one in enumerate(given.opt_outs))
        ]
        return answer(200, Closed(await self._close(whose, entries)))

    async def export(self, query: OptOutFileQuery) -> Response:
        """GET /v1/opt-outs.csv. Raises Refused."""
        page = await self._page(None, query)
        text = "".join([f"{line}\n" async for line in optout_file.lines(_each(page), json=False)])
        headers = [("Content-Type", CSV)]
        if page.after:
            headers.append(("Link", f'<{FILE}?limit={query.limit}&after={page.after}>; rel="next"'))
        return Response(200, tuple(headers), text.encode())

    async def import_(self, body: bytes) -> Response:
        """POST /v1/opt-outs.csv: all of it, or nothing. Raises Refused."""
        # In a thread: some ten thousand numbers take longer to read than a message may wait.
        there = await asyncio.to_thread(optout_file.read, "", body, None, self._region)
        if there.mistakes:
            told = [f"line {one.line}: {one.key + ': ' if one.key else ''}{one.message}" for one in there.mistakes]
            faults = [Fault("", "bad_request", one) for one in told[:MISTAKES_MAX]]
            raise refused(422, f"lines that cannot be taken: {len(told):,}", *faults)
        return answer(200, Closed(sum([await self._close(whose, some) for whose, some in there.entries.items()])))

    async def _close(self, whose: Whose, entries: Sequence[OptOut]) -> int:
        closed = 0
        for scope in ("marketing", "all"):
            mine = [one for one in entries if one.scope == scope]
            n = await optouts.close(self._live.shards, whose, mine) if mine else 0
            closed += n
            if n:
                self._metrics.opt_outs("api", scope, n)
        return closed

    async def _page(self, whose: Whose | None, query: OptOutQuery | OptOutFileQuery) -> Listed:
        try:
            return await optouts.page(self._live.shards, whose, query.after, query.limit)
        except BadAfter:
            detail = "query after: give what the page before gave as `after`"
            raise refused(400, detail, Fault("", "bad_request", detail)) from None

    def _region(self, tenant: str) -> str:
        return self._live.config.terms(tenant).region if tenant else ""  # of a sender: E.164 only

    def _number(self, whose: Whose, text: str, pointer: str) -> str:
        try:
            return normalise(text, self._region(whose.tenant), "possible").e164
        except BadNumber as error:
            raise refused(422, "a number cannot be one", Fault(pointer, "bad_number", str(error))) from None


def _as_listed(number: str) -> str:
    """As PUT closes it: +353 (0)86… is +35386…, say. What cannot be one is as it is, and on no list."""
    try:
        return normalise(number, "", "possible").e164
    except BadNumber:
        return number


def _can_be(whose: Whose) -> None:
    """Raises Refused where nobody can send from such a sender: its list would close nothing."""
    if whose.sender not in ("", CHOSEN) and (why := sender_ok(whose.sender)):
        raise refused(422, f"the sender cannot be one: {why}")


def _instant_ms(at_ms: int, pointer: str) -> int:
    """As a file's is judged: what no calendar has could be listed by nobody. 0: not given. Raises Refused."""
    try:
        return parse_instant(str(at_ms)) // 1000 if at_ms else 0
    except ValueError as error:
        raise refused(422, f"at_ms: {error}", Fault(pointer, "bad_time", str(error))) from None


async def _each(page: Listed) -> AsyncGenerator[tuple[Whose, OptOut]]:
    for one in page.found:
        yield one


def _shown(one: OptOut) -> OptOutShown:
    return OptOutShown(one.number, one.scope, one.at_ms, one.source, one.provider)
