"""Errors as the API tells them: RFC 9457 problems, each fault with a JSON pointer (RFC 6901) to where it is.

Never quotes what it was given: no number and no text of a message stands in an error.
"""

import re
from http import HTTPStatus

import msgspec

from smsd.core.fields import FAULT_OF
from smsd.shell.server import Response

JSON = "application/json"
PROBLEM = "application/problem+json"
RETRY_AFTER_S = 5
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}  # as RFC 9110 has them, and not each Python

REASONS: dict[str, str] = {
    "bad_class": "`class` is missing, or none of the config's. Give one of them.",
    "bad_request": "The body or the query is not what this path takes. The detail says what it takes.",
    "bad_setting": "A setting of a tenant cannot hold, as in a config. Mend it; nothing was changed.",
    "bad_target": "What is to be paused or cancelled is not named as it can be. Name it as the reference says.",
    "not_tried": "The store was away before this element came to it, and has nothing of it. Send it again.",
    "shed": "The store's memory is short, and this class is shed. Send it again after Retry-After.",
    "unsure": "The store did not say whether it took this element. Send it again with the same id: it is taken once.",
}
"""Why the API refuses, beside the reasons of entries and of messages (docs/REASONS.md); docs/API.md shows them."""


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong: where in the body (RFC 6901; "" is the whole of it), which reason, and what mends it."""

    pointer: str
    reason: str
    detail: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error after RFC 9457. `errors` names what is wrong in the body, where it is the body."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    errors: tuple[Fault, ...] = ()


def problem(status: int, detail: str, *errors: Fault, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """The answer. One that asks to come again (429, 503) says when."""
    told = Problem(_TITLES.get(status) or HTTPStatus(status).phrase, status, detail, errors=errors)
    if status in (429, 503):
        headers = (*headers, ("Retry-After", str(RETRY_AFTER_S)))
    return Response(status, (("Content-Type", PROBLEM), *headers), msgspec.json.encode(told))


def answer(status: int, value: object) -> Response:
    """A value as JSON."""
    return Response(status, (("Content-Type", JSON),), msgspec.json.encode(value))


class Refused(Exception):
    """A request that ends with this answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def refused(status: int, detail: str, *errors: Fault) -> Refused:
    return Refused(problem(status, detail, *errors))


def fault(reason: str, detail: str, base: str = "") -> Fault:
    """Of a rejection of core.admit, whose details begin with the field's name. `base` points to the element."""
    name, colon, _ = detail.partition(": ")
    return Fault(f"{base}/{name}" if colon and (name in FAULT_OF or name == "class") else base, reason, detail)


_PATH = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def unreadable(error: Exception, base: str = "") -> Fault:
    """What msgspec says of a value that it cannot convert, without the names that it quotes."""
    if isinstance(error, UnicodeError):
        return Fault(base, "bad_json", "not UTF-8")
    told = str(error)
    path = _PATH.search(told)
    said = re.sub(r"unknown field `.*`", "an unknown field", told[: path.start()] if path else told)
    said = re.sub(r"(value) '.*'", r"\1", said)
    pointer = "".join(f"/{name or index}" for name, index in _STEP.findall(path[1])) if path else ""
    return Fault(base + ("" if "..." in pointer or "unknown" in said else pointer), "bad_request", said)
