"""Every path of the API, in one table: what it takes, what it answers, who may ask, and which verb does it.

Never does anything itself: api.py asks by it, and api_openapi.py tells of it.
"""

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from smsd.control.story import Story
from smsd.shell.api_admit import Outcome
from smsd.shell.api_keys import Key
from smsd.shell.api_messages import Cancelled, FindQuery, FoundAll
from smsd.shell.server import Request, Response

if TYPE_CHECKING:
    from smsd.shell.api import Api

TENANT = "[A-Za-z0-9_.:-]{1,64}"
ID = "[A-Za-z0-9_.:-]{1,128}"
PATTERNS = {"tenant": TENANT, "id": ID}


class Call(msgspec.Struct, frozen=True):
    """One request as a verb gets it: `path` has the values in the path, `query` and `body` what the route says."""

    key: Key
    request: Request
    path: Mapping[str, str]
    query: Any = None
    body: Any = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: str
    path: str
    verb: "Callable[[Api, Call], Coroutine[Any, Any, Response]]"
    summary: str
    told: str  # more about it, for the reference
    answers: Mapping[int, object]  # status -> the type of the answer; None: without a body
    problems: tuple[int, ...] = ()  # beside those of every route
    query: type[msgspec.Struct] | None = None
    body: object = None  # the type of the body; None: it has none
    raw: bool = False  # the verb reads the body
    admin: bool = False  # only for keys of all tenants
    tag: str = "messages"


MESSAGES = "/v1/messages"

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path=MESSAGES,
        verb=lambda api, call: api.messages.send(call.key, call.request),
        summary="Send messages, one or up to 1,000; or cancel some",
        told="Each element of an array succeeds or fails by itself: the answer has one outcome for each, in order. "
        "What is answered with 202 is durable, as [store] durability has it, and can be read at once. An id that "
        "was used before is taken once: the repeat changes nothing. Give every message an `id`, or the request an "
        "`Idempotency-Key`: without, a repeat after a lost answer is another message.",
        answers={202: Outcome | list[Outcome]},
        problems=(408, 409, 413, 415, 422, 429, 500),
        body=list[Outcome],
        raw=True,
    ),
    Route(
        method="GET",
        path="/v1/tenants/{tenant}/messages/{id}",
        verb=lambda api, call: api.messages.show(call.path["tenant"], call.path["id"]),
        summary="Tell the story of one message",
        told="Its state and its whole history, until [retention] messages after its end.",
        answers={200: Story},
        problems=(404,),
    ),
    Route(
        method="GET",
        path="/v1/tenants/{tenant}/messages",
        verb=lambda api, call: api.messages.find(call.path["tenant"], call.query),
        summary="Find the messages to a recipient",
        told="The newest first.",
        answers={200: FoundAll},
        problems=(404,),
        query=FindQuery,
    ),
    Route(
        method="POST",
        path="/v1/tenants/{tenant}/messages/{id}/cancel",
        verb=lambda api, call: api.messages.cancel(call.path["tenant"], call.path["id"]),
        summary="Cancel one message",
        told="200: it will not leave (also when asked again). 202: it is just leaving, and ends cancelled if it turns "
        "out not to have been taken; or it is not known yet, and ends cancelled when it comes. 409: it has left.",
        answers={200: Cancelled, 202: Cancelled},
        problems=(404, 409),
    ),
)


def pattern(path: str) -> re.Pattern[str]:
    """What matches a path of the table, decoded, with its values as groups."""
    return re.compile(re.sub(r"\{(\w+)\}", lambda match: f"(?P<{match[1]}>{PATTERNS[match[1]]})", path))


OF_PATH: Mapping[str, Mapping[str, Route]] = {
    one.path: {route.method: route for route in ROUTES if route.path == one.path} for one in ROUTES
}
"""Path -> method -> route."""
