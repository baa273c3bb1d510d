"""Twilio's words, as its REST API of 2010-04-01 and its status callbacks speak them: forms, JSON, errors, signatures.

Never does IO and never decides: it reads and writes text. Written from
https://www.twilio.com/docs/messaging/api/message-resource and https://www.twilio.com/docs/usage/security (2026-11).
"""

import base64
import hmac
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import ClassVar
from urllib.parse import quote_plus, urlencode

import msgspec

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_faults import MAGIC_SENDERS
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

API = "/2010-04-01/Accounts/"
PAGE_SIZE = 50  # Twilio's default
PAGE_SIZE_MAX = 1000  # and its most
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


class Twilio:
    """One account: `user` is its SID, `secret` its token."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "answer"

    def __init__(self, account: Account) -> None:
        self._sid, self._token = account.user, account.secret.encode()
        self._credentials = base64.b64encode(account.user.encode() + b":" + self._token)
        self._list = f"{API}{account.user}/Messages.json".encode()
        self._one = f"{API}{account.user}/Messages/".encode()

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        """`[providers.<name>]` of type "twilio"; the type "fake" has them as its defaults."""
        told = {"base_url": base_url, "account_sid": "env:CARRIER_USER", "auth_token": "env:CARRIER_SECRET"}
        return {"type": "twilio", **told}, {"CARRIER_USER": self._sid, "CARRIER_SECRET": self._token.decode()}

    def sid_prefix(self, digits: str) -> str:
        return f"SM{digits}"

    def admits(self, request: Request) -> bool:
        return hmac.compare_digest(request.head.basic, self._credentials)

    def read(self, request: Request) -> Asked | None:
        if request.head.path != self._list or request.head.method != b"POST":
            return None
        fields = dialect.form(request.body)
        url = fields.get("StatusCallback", "")
        return Asked(
            to=fields.get("To", ""),
            sender=fields.get("From", ""),
            body=fields.get("Body", ""),
            url=url,
            service=fields.get("MessagingServiceSid", ""),
            code=mistake(fields) or (21609 if url and dialect.origin_and_target(url) is None else 0),
        )

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        return Said(201, msgspec.json.encode(self._resource(record, sids[0], body, "queued")))

    def refused(self, code: int, after_s: float) -> Said:
        """A code that is not in PROBLEMS is a 400 without a story."""
        status, message = PROBLEMS.get(code, (400, "The request was refused"))
        more = f"https://www.twilio.com/docs/errors/{code}"
        headers = b'WWW-Authenticate: Basic realm="Twilio API"\r\n' if status == 401 else dialect.retry_after(after_s)
        told = {"code": code, "message": message, "more_info": more, "status": status}
        return Said(status, msgspec.json.encode(told), headers)

    # ---- Looking up --------------------------------------------------------------------------------------------------

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        path = request.head.path
        if path == self._list:
            try:
                page = self._page(dialect.form(request.head.query), ledger, now_us, until_us)
            except ValueError:
                return self.refused(20001, 0)
            return Said(200, msgspec.json.encode(page))
        sid = path.removeprefix(self._one).removesuffix(b".json").decode("ascii", "replace")
        record = ledger.find(sid) if path.startswith(self._one) else None
        if record is None or record.at_us > until_us:
            return None
        return Said(200, msgspec.json.encode(self._resource(record, sid, record.body, record.status(now_us))))

    def _resource(self, record: Record, sid: str, body: str, status: str) -> "Resource":
        uri = f"{API}{self._sid}/Messages/{sid}"
        created = rfc2822(record.at_us)
        if status == "queued" and record.service:
            status = "accepted"
        ended = status == record.verdict
        return Resource(
            account_sid=self._sid,
            sid=sid,
            to=record.to,
            from_=record.sender or (POOL_SENDER if status != "accepted" else None),
            body=body,
            status=status,
            num_segments="0" if status == "accepted" else str(record.segments),
            date_created=created,
            date_updated=rfc2822(record.done_us) if ended else created,
            date_sent=None if status in ("queued", "accepted") else created,
            uri=f"{uri}.json",
            subresource_uris={"media": f"{uri}/Media.json"},
            messaging_service_sid=record.service or None,
            error_code=(record.error_code or None) if ended else None,
        )

    def _page(self, asked: dict[str, str], ledger: Ledger, now_us: int, until_us: int) -> "Page":
        """A page of the listing: `To`, `From`, `DateSent`, `DateSent<`, `DateSent>` (both inclusive), PageSize, Page.

        `DateSent` compares with the arrival; a page goes on after the sid in its PageToken. Raises ValueError.
        """
        size = min(max(1, int(asked.get("PageSize", PAGE_SIZE))), PAGE_SIZE_MAX)
        number, before = int(asked.get("Page", 0)), asked.get("PageToken", "").removeprefix("PA")
        last = ledger.find(before) if before else None
        from_us, below_us = days(asked)
        found: list[Record] = []
        sender = asked.get("From", "")
        for record in ledger.newest_first(asked.get("To", "")):
            if record.at_us < from_us:
                break
            fits = (last is None or record.n < last.n) and record.at_us < below_us and sender in ("", record.sender)
            if fits and record.at_us <= until_us:
                found.append(record)
                if len(found) > size:
                    break
        shown = found[:size]
        path = self._list.decode()
        kept = {name: value for name, value in asked.items() if name not in ("Page", "PageToken", "PageSize")}

        def uri(page: int, token: str) -> str:
            turned = {"PageToken": token} if token else {}
            return f"{path}?{urlencode({**kept, 'PageSize': size, 'Page': page, **turned})}"

        return Page(
            messages=[self._resource(one, ledger.sid(one), one.body, one.status(now_us)) for one in shown],
            page=number,
            page_size=size,
            start=number * size,
            end=number * size + max(0, len(shown) - 1),
            uri=uri(number, asked.get("PageToken", "")),
            first_page_uri=uri(0, ""),
            previous_page_uri=None,  # nobody here goes back
            next_page_uri=uri(number + 1, f"PA{ledger.sid(shown[-1])}") if len(found) > size else None,
        )

    # ---- Callbacks ---------------------------------------------------------------------------------------------------

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        """The URL's fragment is neither sent nor signed."""
        c, account, sender = told, self._sid, told.sender or POOL_SENDER
        code = str(c.error_code) if c.error_code else ""
        done = _dlr_date(c.done_us // 60_000_000) if c.done_us else ""
        body = (
            f"AccountSid={account}&ApiVersion=2010-04-01&From={_escaped(sender)}&MessageSid={c.sid}&SmsSid={c.sid}"
            f"&MessageStatus={c.status}&SmsStatus={c.status}&To={_escaped(c.to)}"
            f"{code and '&ErrorCode='}{code}{done and '&RawDlrDoneDate='}{done}"
            f"{c.service and '&MessagingServiceSid='}{_escaped(c.service) if c.service else ''}"
        )
        signed = (  # the exact URL, then names and values in the order of the names
            f"{url.partition('#')[0]}AccountSid{account}ApiVersion2010-04-01{code and 'ErrorCode'}{code}"
            f"From{sender}MessageSid{c.sid}MessageStatus{c.status}{c.service and 'MessagingServiceSid'}{c.service}"
            f"{done and 'RawDlrDoneDate'}{done}SmsSid{c.sid}SmsStatus{c.status}To{c.to}"
        )
        return (
            f"POST {target} HTTP/1.1\r\nHost: {origin.netloc}\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n"
            "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
            f"I-Twilio-Idempotency-Token: {c.sid[2:]}-{c.event}\r\n"
            f"X-Twilio-Signature: {_signature(signed, self._token)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode("ascii")

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        segments = str(max(1, len(text.body) // 153 + 1 if len(text.body) > 160 else 1))
        fields = {
            "AccountSid": self._sid,
            "ApiVersion": "2010-04-01",
            "Body": text.body,
            "From": text.sender,
            "MessageSid": sid,
            "NumMedia": "0",
            "NumSegments": segments,
            "SmsStatus": "received",
            "To": text.to,
        }
        signed = text.url.partition("#")[0] + "".join(name + fields[name] for name in sorted(fields))
        return dialect.post(
            origin.netloc,
            target,
            urlencode(fields).encode(),
            ("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"),
            ("X-Twilio-Signature", _signature(signed, self._token)),
        )


# ---- Leaves ----------------------------------------------------------------------------------------------------------


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


def _signature(signed: str, token: bytes) -> str:
    """X-Twilio-Signature: base64 of HMAC-SHA1."""
    return b64encode(hmac.digest(token, signed.encode(), "sha1")).decode("ascii")


def _escaped(value: str) -> str:
    return f"%2B{value[1:]}" if value.startswith("+") and value[1:].isdigit() else quote_plus(value)


@lru_cache(maxsize=64)
def _dlr_date(at_min: int) -> str:
    return datetime.fromtimestamp(at_min * 60, UTC).strftime("%y%m%d%H%M")


_DAY_US = 86_400_000_000
_EVER_US = 1 << 62


def days(asked: dict[str, str]) -> tuple[int, int]:
    """The instants from which (inclusive) and until which (exclusive) a listing is asked for. Raises ValueError."""
    from_us, until_us = 0, _EVER_US
    if day := asked.get("DateSent"):
        from_us = instant_us(day[:10])
        until_us = from_us + _DAY_US
    if after := asked.get("DateSent>"):
        from_us = max(from_us, instant_us(after))
    if before := asked.get("DateSent<"):
        until_us = min(until_us, instant_us(before) + (_DAY_US if len(before) == 10 else 1_000_000))
    return from_us, until_us
