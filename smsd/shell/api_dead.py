"""What the API does with dead letters: lists, shows, redrives and purges what could not be taken from the streams.

Never shows to whom an entry goes or what it says, unless that was asked for; acts on what was found, and says how many.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from smsd.control import dead
from smsd.control.dead import NAME, PAGE_MAX, Wanted
from smsd.shell.api_problems import Fault, answer, problem, refused
from smsd.shell.live import Live
from smsd.shell.server import Response

Text = Annotated[str, Meta(max_length=128)]
Given = Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType  # an empty one would widen what is meant
Name = Annotated[str, Meta(pattern=f"^{NAME}$")]
Ms = Annotated[int, Meta(ge=0, le=2**53)]


class DeadQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters: those that meet all that is given."""

    tenant: Text = ""
    reason: Text = ""
    class_: Text = field(name="class", default="")
    since_ms: Ms = 0  # epoch
    before_ms: Ms = 0  # epoch; 0: until now
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 100
    after: Name | None = None  # the page after that entry: the `next` of the page before


class DeadShow(msgspec.Struct, frozen=True, kw_only=True):
    """`private`: also to whom it goes and what it says."""

    private: bool = False


class DeadWanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters: those that meet all that is given, or `all`."""

    tenant: Given = UNSET
    reason: Given = UNSET
    class_: Given = field(name="class", default=UNSET)
    since_ms: Ms = 0  # epoch
    before_ms: Ms = 0  # epoch; 0: until now
    ids: Annotated[list[Text], Meta(max_length=1000)] = field(default_factory=list[str])
    all: bool = False


class Purged(msgspec.Struct, frozen=True):
    """How many are forgotten."""

    purged: int


class DeadVerbs:
    """The verbs of dead letters, each from what was asked to the answer."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def list(self, query: DeadQuery) -> Response:
        """GET /v1/dead."""
        return answer(200, await dead.page(self._live.shards, _wanted(query), query.limit, after=query.after or ""))

    async def show(self, entry: str, query: DeadShow) -> Response:
        """GET /v1/dead/{entry}."""
        letter = await dead.show(self._live.shards, entry, private=query.private)
        return problem(404, "no such dead letter: it was redriven or purged") if letter is None else answer(200, letter)

    async def redrive(self, wanted: DeadWanted) -> Response:
        """POST /v1/dead/redrive. Raises Refused."""
        shards = self._live.shards
        return answer(200, await dead.redrive(shards, await dead.found(shards, _meant(wanted))))

    async def purge(self, wanted: DeadWanted) -> Response:
        """POST /v1/dead/purge. Raises Refused."""
        shards = self._live.shards
        return answer(200, Purged(await dead.purge(shards, await dead.found(shards, _meant(wanted)))))


def _wanted(asked: DeadQuery | DeadWanted, ids: frozenset[str] = frozenset()) -> Wanted:
    return Wanted(
        tenant=asked.tenant or "", reason=asked.reason or "", class_=asked.class_ or "",
        since_ms=asked.since_ms, before_ms=asked.before_ms, ids=ids,
    )  # fmt: skip


def _meant(asked: DeadWanted) -> Wanted:
    wanted = _wanted(asked, frozenset(asked.ids))
    if asked.all is (wanted != Wanted()):
        what = "name what is meant, or say all: true, but not both"
        raise refused(422, what, Fault("", "bad_target", what))
    return wanted
