"""What the HTTP providers share: reading JSON that may be anything, and what a bare HTTP status means.

Never does IO and never raises on what a vendor sent: a value that is not there, or not what was expected, reads as None
or "".
"""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import cast
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec

from smsd.provider import Accepted, Answer, HttpResponse, Refused, Throttled, Unknown, Unusable

STATUSES: dict[int, Answer] = {
    401: Unusable("the credentials were refused", "process"),
    402: Unusable("the account has no funds", "account", ends="funds"),
    403: Unusable("the account may not do this", "account"),
    404: Unusable("there is no such account or URL", "account"),
    407: Unusable("a proxy on the way wants credentials", "process"),
    408: Unknown(),
    409: Unknown(),
    425: Unknown(),
    429: Throttled(),
}
"""What a status means where the vendor's table does not say otherwise (RFC 9110 §15). None of them is Accepted."""

DETAIL_MAX = 200
_NUMBER = re.compile(r"[+(]{0,2}\d(?:[ ().-]{0,2}\d){6,}")


def basic(user: str, password: str) -> str:
    """The value of an Authorization header for Basic authentication (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


_KEPT = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
_ESCAPED = {byte: chr(byte) if byte in _KEPT else "+" if byte == 32 else f"%{byte:02X}" for byte in range(256)}


def form(fields: Mapping[str, str]) -> str:
    """As urllib's urlencode writes it, at a fifth of its cost: every message that leaves has one. Names stay as they
    are (the vendor's own). Fields without a value are left out.
    """
    pairs = [
        f"{name}={value.encode().decode('latin-1').translate(_ESCAPED)}" for name, value in fields.items() if value
    ]
    return "&".join(pairs)


def form_pairs(body: bytes, most: int) -> list[tuple[str, str]]:
    """As urllib's parse_qsl reads a form, blank values kept, at a quarter of its cost where no escape but that of `+`
    stands in it, as in a receipt. Raises ValueError for more than `most` pairs.
    """
    text = body.decode("utf-8", "replace")
    plain = text.replace("+", " ").replace("%2B", "+")
    if "%" in plain or plain.count("&") >= most:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=most)
    return [(name, value) for name, _, value in [pair.partition("=") for pair in plain.split("&") if pair]]


_PLAIN = re.compile(r"[A-Za-z0-9._~:/-]*")


def query_value(url: str, name: str) -> str:
    """As urllib's parse_qs reads the first value of that name in the URL's query, "" where there is none; at a tenth of
    its cost where nothing else stands there, as in the callback URLs that we make. Raises ValueError.
    """
    before, found, value = url.partition(f"?{name}=")
    value = value.replace("%2F", "/").replace("%3A", ":")
    if found and _PLAIN.fullmatch(before + value):
        return value
    return parse_qs(urlsplit(url).query).get(name, [""])[0]


def decode(body: bytes) -> object:
    """The JSON document in `body`, or None where there is none."""
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec.DecodeError and UnicodeDecodeError are ValueErrors
        return None


def pick(document: object, pointer: str) -> object:
    """What an RFC 6901 JSON pointer ("" is the whole document) finds in `document`, or None."""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = cast("dict[str, object]", document).get(key)
        elif isinstance(document, list) and key.isascii() and key.isdecimal() and len(key) < 10:
            items = cast("list[object]", document)
            document = items[int(key)] if int(key) < len(items) else None
        else:
            return None
    return document


def scalar(value: object) -> str:
    """A JSON string or number as text; anything else is ""."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def texts(document: object, *pointers: str) -> list[str]:
    """The strings or numbers at several places, as `scalar` reads each."""
    return [scalar(pick(document, pointer)) for pointer in pointers]


def count(text: str) -> int:
    """A small whole number, such as of segments; 0 for anything else."""
    return int(text) if re.fullmatch("[0-9]{1,3}", text) else 0


def said(text: str) -> str:
    """A vendor's own words, fit for an event: short, and without the phone numbers that vendors like to repeat."""
    return _NUMBER.sub("***", text)[:DETAIL_MAX]


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 §10.2.3); a date counts from the answer's own Date."""
    value = headers.get("retry-after", "").strip()
    if value.replace(".", "", 1).isascii() and value.replace(".", "", 1).isdecimal() and len(value) < 10:
        return float(value)
    try:
        wait: timedelta = _date(value) - _date(headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())


def answered_at(headers: Mapping[str, str]) -> datetime | None:
    """The answer's own Date (RFC 9110 §6.6.1), None where it has none that can be read."""
    try:
        at = _date(headers.get("date", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def instant(at_us: int) -> datetime:
    """An epoch time in microseconds, in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)


def _date(value: str) -> datetime:
    return parsedate_to_datetime(value)


def by_status(response: HttpResponse, code: str = "", detail: str = "") -> Answer:
    """What an answer means of which only the HTTP status is understood. Never Accepted; a clear 4xx is "unlisted"."""
    means = STATUSES.get(response.status)
    if means is None:
        means = Refused("unlisted") if 400 <= response.status < 500 else Unknown()
    return filled(means, response, code or str(response.status), detail)


def filled(means: Answer, response: HttpResponse, code: str, detail: str) -> Answer:
    """A table's answer with what this response said. An Accepted cannot come from a table: it needs an id."""
    match means:
        case Accepted():
            return Unknown(code, detail)
        case Throttled():
            return Throttled(retry_after_s(response.headers), code, detail)
        case Unusable():
            reason = f"{means.reason}: {detail}" if detail else means.reason
            return msgspec.structs.replace(means, reason=reason, code=code)
        case _:
            return msgspec.structs.replace(means, code=code, detail=detail)
