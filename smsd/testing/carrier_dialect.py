"""Twilio's words, as its REST API of 2010-04-01 and its status callbacks speak them: forms, JSON, errors, signatures.

Never does IO and never decides: it reads and writes text. Written apart from smsd's own provider, so that each can
convict the other, from https://www.twilio.com/docs/messaging/api/message-resource and
https://www.twilio.com/docs/usage/security (2026-11).
"""

import hmac
import re
from base64 import b64encode
from binascii import a2b_qp
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote_plus, unquote, urlsplit

import msgspec

from smsd.testing.carrier_faults import MAGIC_SENDERS

API = "/2010-04-01/Accounts/"
POOL_SENDER = "+15005550006"  # what a messaging service sends from here; Twilio's own magic valid sender

PROBLEMS: Mapping[int, tuple[int, str]] = {
    20001: (400, "Invalid parameter"),
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "Internal Server Error"),
    20503: (503, "Service unavailable"),
    21211: (400, "Invalid 'To' Phone Number"),
    21212: (400, "Invalid From Number"),
    21408: (400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21606: (400, "The 'From' phone number provided is not a valid message-capable Twilio phone number"),
    21609: (400, "The 'StatusCallback' URL is not a valid URL."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21611: (429, "This 'From' number has exceeded the maximum number of queued messages"),
    21612: (400, "Message cannot be sent with the current combination of 'To' and/or 'From' parameters"),
    21614: (400, "'To' number is not a valid mobile number"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
}
"""Twilio's error codes that can be answered here: HTTP status and message (https://www.twilio.com/docs/api/errors)."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SENDER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 _.&+-]{1,11}")
_URL = re.compile(r"https?://[!-~]+")
_QUERY = re.compile(r"[!-~]*")


def problem(code: int) -> tuple[int, bytes]:
    """HTTP status and body of Twilio's error `code`; a code that is not in PROBLEMS is a 400 without a story."""
    status, message = PROBLEMS.get(code, (400, "The request was refused"))
    more = f"https://www.twilio.com/docs/errors/{code}"
    return status, msgspec.json.encode({"code": code, "message": message, "more_info": more, "status": status})


def form(body: bytes) -> dict[str, str]:
    """The fields of a urlencoded form or query; of a repeated one the last. Bytes that are not UTF-8 become U+FFFD."""
    fields: dict[str, str] = {}
    for pair in body.replace(b"+", b" ").split(b"&"):
        name, _, value = pair.partition(b"=")
        if name:
            fields[_NAMES.get(name) or _plain(name)] = _plain(value)
    return fields


_NAMES = {
    name.encode(): name for name in ("To", "From", "Body", "StatusCallback", "MessagingServiceSid", "ValidityPeriod")
}


def _plain(text: bytes) -> str:
    # Quoted-printable (RFC 2045 §6.7) is percent-encoding with another sign, no `=` can stand in here, and its decoder
    # is in C: several times as fast as urllib's.
    return (a2b_qp(text.replace(b"%", b"=")) if b"%" in text else text).decode("utf-8", "replace")


def mistake(fields: Mapping[str, str]) -> int:
    """The code of what Twilio would refuse in a request for a message, or 0. The StatusCallback is not looked at."""
    to, sender, body = fields.get("To", ""), fields.get("From", ""), fields.get("Body", "")
    if not to:
        return 21604
    if not _E164.fullmatch(to):
        return 21211
    if not sender and not fields.get("MessagingServiceSid"):
        return 21603
    if sender and (sender in MAGIC_SENDERS or not _SENDER.fullmatch(sender)):
        return MAGIC_SENDERS.get(sender, 21212)
    if not body:
        return 21602
    if len(body) > 1600:
        return 21617
    return 0


class Origin(msgspec.Struct, frozen=True, cache_hash=True):
    """Where a callback URL leads: one pool of connections each."""

    tls: bool
    host: str
    port: int
    netloc: str


def origin_and_target(url: str) -> tuple[Origin, str] | None:
    """Splits a callback URL into where to connect and what to ask for (fragment dropped); None if it is none."""
    base, mark, query = url.partition("#")[0].partition("?")
    leads = _origin_and_path(base)
    if leads is None or not _QUERY.fullmatch(query):
        return None
    return leads[0], f"{leads[1]}{mark}{query}"


@lru_cache(maxsize=1024)
def _origin_and_path(url: str) -> tuple[Origin, str] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not _URL.fullmatch(url) or not parts.hostname:
        return None
    tls = parts.scheme == "https"
    origin = Origin(tls, parts.hostname, port or (443 if tls else 80), parts.netloc.rpartition("@")[2])
    return origin, parts.path or "/"


def reference(target: str) -> str:
    """The sender's own reference: the parameter `ref` in a callback's query, decoded; "" where there is none."""
    for pair in target.partition("?")[2].split("&"):
        if pair.startswith("ref="):
            return unquote(pair[4:].replace("%2F", "/"))
    return ""


# ---- The message resource --------------------------------------------------------------------------------------------


class Resource(msgspec.Struct, gc=False):
    """A message as Twilio shows it. Every number but error_code is text, and the price is not known at first."""

    account_sid: str
    sid: str
    to: str
    from_: str | None = msgspec.field(name="from")
    body: str
    status: str
    num_segments: str
    date_created: str
    date_updated: str
    date_sent: str | None
    uri: str
    subresource_uris: dict[str, str]
    messaging_service_sid: str | None = None
    error_code: int | None = None
    error_message: str | None = None
    direction: str = "outbound-api"
    num_media: str = "0"
    api_version: str = "2010-04-01"
    price: str | None = None
    price_unit: str = "USD"


class Page(msgspec.Struct):
    """A page of the listing. `uri`s are paths on the same host."""

    messages: list[Resource]
    page: int
    page_size: int
    start: int
    end: int
    uri: str
    first_page_uri: str
    previous_page_uri: str | None
    next_page_uri: str | None


def rfc2822(at_us: int) -> str:
    """An instant as Twilio writes it: `Tue, 24 Nov 2026 23:01:37 +0000`. Seconds; the rest is lost."""
    return _rfc2822(at_us // 1_000_000)


@lru_cache(maxsize=4096)
def _rfc2822(at_s: int) -> str:
    at = datetime.fromtimestamp(at_s, UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year} {at:%H:%M:%S} +0000"


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def instant_us(text: str) -> int:
    """A `DateSent` filter, an ISO 8601 date or time (UTC where it names no zone). Raises ValueError."""
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)


# ---- Status callbacks ------------------------------------------------------------------------------------------------


class StatusCallback(msgspec.Struct, gc=False):
    """What one status callback says, before it is signed."""

    account_sid: str
    sid: str
    to: str
    sender: str
    service: str  # MessagingServiceSid, or ""
    status: str
    error_code: int  # 0: none
    done_us: int  # when the network said so; 0: not yet
    event: int  # which of the message's callbacks this is, the same in every try


def callback_request(callback: StatusCallback, url: str, origin: Origin, target: str, token: bytes) -> bytes:
    """The whole POST of a status callback. The URL's fragment is neither sent nor signed."""
    c = callback
    code = str(c.error_code) if c.error_code else ""
    done = _dlr_date(c.done_us // 60_000_000) if c.done_us else ""
    body = (
        f"AccountSid={c.account_sid}&ApiVersion=2010-04-01&From={_escaped(c.sender)}&MessageSid={c.sid}&SmsSid={c.sid}"
        f"&MessageStatus={c.status}&SmsStatus={c.status}&To={_escaped(c.to)}"
        f"{code and '&ErrorCode='}{code}{done and '&RawDlrDoneDate='}{done}"
        f"{c.service and '&MessagingServiceSid='}{_escaped(c.service) if c.service else ''}"
    )
    signed = (  # the exact URL, then names and values in the order of the names
        f"{url.partition('#')[0]}AccountSid{c.account_sid}ApiVersion2010-04-01{code and 'ErrorCode'}{code}"
        f"From{c.sender}MessageSid{c.sid}MessageStatus{c.status}{c.service and 'MessagingServiceSid'}{c.service}"
        f"{done and 'RawDlrDoneDate'}{done}SmsSid{c.sid}SmsStatus{c.status}To{c.to}"
    )
    return (
        f"POST {target} HTTP/1.1\r\nHost: {origin.netloc}\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n"
        "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
        f"I-Twilio-Idempotency-Token: {c.sid[2:]}-{c.event}\r\n"
        f"X-Twilio-Signature: {_signature(signed, token)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode("ascii")


def _signature(signed: str, token: bytes) -> str:
    """X-Twilio-Signature: base64 of HMAC-SHA1."""
    return b64encode(hmac.digest(token, signed.encode(), "sha1")).decode("ascii")


def _escaped(value: str) -> str:
    return f"%2B{value[1:]}" if value.startswith("+") and value[1:].isdigit() else quote_plus(value)


@lru_cache(maxsize=64)
def _dlr_date(at_min: int) -> str:
    return datetime.fromtimestamp(at_min * 60, UTC).strftime("%y%m%d%H%M")
