"""What a route of the API is, and what one request is to its verb.

Never names a path: api_routes.py has the table.
"""

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from smsd.control.dead import NAME
from smsd.core.names import ID, TENANT
from smsd.shell.api_keys import Key
from smsd.shell.api_problems import JSON
from smsd.shell.server import Request, Response

if TYPE_CHECKING:
    from smsd.shell.api import Api

RECEIVER = f"[a-z0-9_-]{{1,32}}|tenant:{TENANT}"
NUMBER = r"\+[1-9][0-9]{5,14}"
SENDER = r"\*|\+[1-9][0-9]{6,14}|[A-Za-z0-9 _.&+-]{1,11}"
PATTERNS = {"tenant": TENANT, "id": ID, "entry": NAME, "number": NUMBER, "receiver": RECEIVER, "sender": SENDER}


class Call(msgspec.Struct, frozen=True):
    """One request as a verb gets it: `path` has the values in the path, `query` and `body` what the route says."""

    key: Key
    request: Request
    path: Mapping[str, str]
    query: Any = None
    body: Any = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path."""

    name: str  # in the OpenAPI, for those who make clients of it
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
    takes: str = JSON  # the media type of the body
    gives: str = JSON  # and of the answers that are no problems
    large: bool = False  # the body may have LARGE_MAX bytes
    asked: object = None  # the type of the body as the reference shows it, where that is another
    admin: bool = False  # only for keys of all tenants
    tag: str = "messages"


def pattern(path: str) -> re.Pattern[str]:
    """What matches a path of the table, decoded, with its values as groups."""
    return re.compile(re.sub(r"\{(\w+)\}", lambda match: f"(?P<{match[1]}>{PATTERNS[match[1]]})", path))
