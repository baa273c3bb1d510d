"""What a vendor's file starts from: a name, its secrets, a base URL, and the verbs that many vendors do not have.

Never knows a vendor: what one of them says stands in its own file, and nowhere else.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, cast
from urllib.parse import parse_qsl, quote_plus, urlsplit

import msgspec

from smsd.provider import (
    Answer,
    Attempt,
    BadCallback,
    BadSignature,
    Callback,
    Capabilities,
    HttpRequest,
    HttpResponse,
    Inbound,
    Inconclusive,
    LookUpResult,
    Receipt,
    ReceiptStatus,
    Refused,
    Unusable,
)
from smsd_providers import _wire

JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")

FIELDS_MOST = 100  # of a callback; vendors have twenty

_REFERENCE = re.compile(r"[1-9][0-9]{0,5}\.[A-Za-z0-9_.:-]{1,64}/[A-Za-z0-9_.:-]{1,128}")


class Vendor:
    """One account at a vendor. Holds no mutable state."""

    capabilities: Capabilities = Capabilities()

    def __init__(self, name: str, base_url: str, secrets: Iterable[str]) -> None:
        self.name = name
        self._base_url = checked_base_url(base_url)
        self._secrets = frozenset(secret for secret in secrets if secret)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def secrets(self) -> frozenset[str]:
        return self._secrets

    def inbound(self, callback: Callback) -> list[Inbound]:
        raise BadSignature  # from whom no texts come, nobody can prove one

    def look_up(self, attempt: Attempt) -> HttpRequest:
        raise ValueError(f"{self.name}: there is no look-up, as capabilities say")

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        return Inconclusive("there is no look-up")


def checked_base_url(url: str, key: str = "base_url") -> str:
    """`url` without its last slash, or ValueError: our credentials go there."""
    parts = urlsplit(url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise ValueError(f"{key}: is https:// and a host, such as https://api.example.com")
    return url.rstrip("/")


def check_either(options: msgspec.Struct, one: str, other: str) -> None:
    """Raises ValueError unless all keys of one of two ways to be known are there, and none of the other's."""
    ways = [keys.split() for keys in (one, other)]
    there = [{bool(getattr(options, key)) for key in way} for way in ways]
    if there not in ([{True}, {False}], [{False}, {True}]):
        told = ", or else ".join(" and ".join(way) for way in ways)
        raise ValueError(f"{ways[0][0]}: give {told}, and nothing of the other way to be known")


def grant(url: str, client_id: str, secret: str, scope: str = "") -> HttpRequest:
    """What asks for an access token by a client's own credentials: RFC 6749 §4.4.2, by Basic as §2.3.1 has it."""
    known = _wire.basic(quote_plus(client_id), quote_plus(secret))
    asked = _wire.form({"grant_type": "client_credentials", "scope": scope})
    return HttpRequest("POST", url, (("Authorization", known), FORM, ("Accept", "application/json")), asked.encode())


def codes(*means: tuple[Answer, str]) -> dict[str, Answer]:
    """A vendor's codes as one table, from rows of a meaning and the codes that have it, with spaces between them."""
    table: dict[str, Answer] = {}
    for answer, listed in means:
        for code in listed.split():
            if code in table:
                raise ValueError(f"{code} stands in the table twice")
            table[code] = answer
    return table


def answered(table: Mapping[str, Answer], response: HttpResponse, code: str, detail: str = "") -> Answer:
    """What an answer means that is no acceptance: by the vendor's code where its table has it and the status is a clear
    no, else by the status. A 5xx may come after the message was taken, whatever its code says.
    """
    detail, means = _wire.said(detail), table.get(code)
    if means is None or not 400 <= response.status < 500 or response.status in (408, 409, 425):
        return _wire.by_status(response, code, detail)
    return _wire.filled(means, response, code, detail)


def receipt(
    statuses: Mapping[str, ReceiptStatus], table: Mapping[str, Answer], word: str, code: str, **told: object
) -> Receipt:
    """A receipt in the normal form. `word` is in `statuses`; a code that the table does not have is "unlisted"."""
    status = statuses[word]
    reason = (
        ended(table.get(code, Refused("unlisted" if code else "refused")))
        if status is ReceiptStatus.UNDELIVERED
        else ""
    )
    return msgspec.structs.replace(Receipt(status, reason=reason, error_code=code, raw_status=word), **told)


def ended(means: Answer) -> str:
    """Why a message ended, one of REFUSALS, whose receipt has a code that means so in an answer."""
    match means:
        case Refused():
            return means.reason
        case Unusable():
            return means.ends
        case _:  # what would pass in an answer has passed this message by
            return "refused"


def reference(callback: Callback) -> str:
    """Ours, from the URL that the vendor was told with the message; "" where there is none. Raises BadCallback."""
    try:
        return _wire.query_value(callback.url, "ref")
    except ValueError as error:
        raise BadCallback("the callback's URL cannot be read") from error


def ours(text: str) -> str:
    """A field that the vendor repeats, where it is a reference of ours; else ""."""
    return text if _REFERENCE.fullmatch(text) else ""


def fields(callback: Callback) -> dict[str, str]:
    """What a callback says in flat fields, as an account may have it: a JSON object, a form, or the query of its URL.
    Of a repeated one the last; {} for anything else.
    """
    document = _wire.decode(callback.body)
    if isinstance(document, dict):
        return {name: _wire.scalar(value) for name, value in cast("dict[str, object]", document).items()}
    try:
        query = "" if callback.body else urlsplit(callback.url).query
        return dict(_wire.form_pairs(callback.body, FIELDS_MOST) or parse_qsl(query, True, max_num_fields=FIELDS_MOST))
    except ValueError:
        return {}


def opt_out(word: str) -> Literal["", "stop", "start", "help"]:
    """The vendor's own judgement of a text, where it is one of the three."""
    match word.lower():
        case "stop" | "start" | "help" as judged:
            return judged
        case _:
            return ""
