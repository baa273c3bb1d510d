"""The carrier itself: what each request of Twilio's API comes to. All its luck is in the dice that it is given.

Never speaks of smsd: it knows Twilio's dialect, a ledger and faults. Its control side is carrier_control.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import sys
import time
from collections import deque
from typing import assert_never
from urllib.parse import urlencode

import msgspec

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_client import Poster
from smsd.testing.carrier_faults import TAKEN, Dice, Fate, Faults, Outcome, Timing
from smsd.testing.carrier_http import Link, Request
from smsd.testing.carrier_ledger import Ledger, Record, split_reference
from smsd.testing.carrier_receipts import Teller, plan
from smsd.testing.carrier_timers import Timers
from smsd.text import segment

PAGE_SIZE = 50  # Twilio's default
PAGE_SIZE_MAX = 1000  # and its most


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a carrier is started with. The faults can be changed while it runs; the rest cannot."""

    account_sid: str
    auth_token: str
    seed: int
    keep: int
    connections: int  # for callbacks, to each origin
    connect_to: tuple[str, int] | None  # all callbacks go to this address, signed for the URL's own
    callback_timeout_s: float
    faults: Faults


class Carrier:
    """One Twilio account at a make-believe carrier."""

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self.options = options
        self.timers = Timers(loop)
        self.links: set[Link] = set()
        # 22 of the 32 digits: unlike the luck, the ids of two runs must not collide in a store that outlives them.
        self._sid_prefix = f"SM{secrets.token_hex(11)}"
        self.ledger = Ledger(options.keep, self._sid_prefix)
        self.dice = Dice(options.seed, options.faults)
        poster = Poster(loop, self.timers, options.connections, options.connect_to, options.callback_timeout_s)
        token = options.auth_token.encode()
        self.teller = Teller(self.timers, poster, self.ledger, options.account_sid, token)
        self.faults = options.faults
        self._credentials = base64.b64encode(options.account_sid.encode() + b":" + token)
        self._messages = f"{dialect.API}{options.account_sid}/Messages.json".encode()
        self._message = f"{dialect.API}{options.account_sid}/Messages/".encode()
        self._window: deque[int] = deque()  # when the last max_per_s requests that passed the cap came
        self._requests = 0
        self.unauthorised = 0
        self.look_ups = 0

    @property
    def faults(self) -> Faults:
        """How the carrier behaves from now on."""
        return self.dice.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.dice.faults = faults
        self.teller.tries, self.teller.backoff_ms = faults.receipt_tries, faults.receipt_backoff_ms

    def start_anew(self, seed: int | None = None) -> None:
        """Forgets everything but the faults, and throws the dice from the seed again (or from another one)."""
        self.ledger = Ledger(self.options.keep, self._sid_prefix)
        self.dice = Dice(self.options.seed if seed is None else seed, self.faults)
        self.teller.start_anew(self.ledger)
        self._window.clear()
        self.unauthorised = self.look_ups = 0

    def handle(self, link: Link, request: Request) -> None:
        """Answers a request of Twilio's API."""
        if not hmac.compare_digest(request.head.basic, self._credentials):
            self.unauthorised += 1
            _refuse(link, 20003, b'WWW-Authenticate: Basic realm="Twilio API"\r\n')
        elif request.head.path == self._messages and request.head.method == b"POST":
            self._create(link, request)
        elif request.head.path == self._messages and request.head.method == b"GET":
            self._list(link, request)
        elif request.head.path.startswith(self._message) and request.head.method == b"GET":
            self._fetch(link, request)
        else:
            _refuse(link, 20404)

    # ---- Sending -----------------------------------------------------------------------------------------------------

    def _create(self, link: Link, request: Request) -> None:
        fields = dialect.form(request.body)
        self._requests += 1
        now_us, mono_us = time.time_ns() // 1000, time.monotonic_ns() // 1000
        fate = self.dice.cast(fields.get("To", ""))
        body, url = fields.get("Body", ""), fields.get("StatusCallback", "")
        leads = dialect.origin_and_target(url)
        mistake = dialect.mistake(fields) or (21609 if url and leads is None else 0)
        outcome, code = self._judge(fate, mistake, mono_us)
        attempt, key = split_reference(dialect.reference(leads[1]) if leads else "")
        record = Record(
            n=self._requests,
            attempt=attempt,
            key=key,
            to=fields.get("To", ""),
            sender=sys.intern(fields.get("From", "")),  # a million records have few senders
            service=sys.intern(fields.get("MessagingServiceSid", "")),
            body=body if self.faults.keep_bodies else "",
            body_hash=int.from_bytes(hashlib.blake2b(body.encode(), digest_size=8).digest(), "big"),
            segments=segment(body).count,
            at_us=now_us,
            mono_us=mono_us,
            outcome=outcome,
            code=code,
            delay_ms=0 if fate.timing is Timing.EARLY else fate.delay_ms,
            error_code=fate.error_code,
        )
        self.ledger.add(record)
        taken = outcome in TAKEN
        # Encoded now, while the text is at hand: the record may keep none.
        answer = msgspec.json.encode(self._resource(record, body, "queued")) if taken else b""
        early = taken and leads is not None and fate.timing is Timing.EARLY

        def end() -> None:
            self._end(link, record, answer)

        if taken and leads is not None:
            faults = self.faults
            callbacks = plan(fate, verdict=record.verdict, sent_receipts=faults.sent_receipts, late_ms=faults.late_ms)
            self.teller.tell(record, callbacks, url, leads, end if early else None)
        if early:
            return
        if fate.latency_ms:
            self.timers.at((mono_us / 1e3 + fate.latency_ms) / 1e3, end)
        else:
            end()

    def _judge(self, fate: Fate, mistake: int, mono_us: int) -> tuple[Outcome, int]:
        """The outcome and Twilio's code for it: first the dice, then the cap, then what the request itself deserves."""
        match fate.outcome:
            case Outcome.RESET_BEFORE | Outcome.HANG_BEFORE:
                return fate.outcome, 0
            case Outcome.THROTTLED:
                return fate.outcome, 20429
            case Outcome.ERROR_BEFORE:
                return fate.outcome, fate.code
            case _:
                pass
        if not self._under_cap(mono_us):
            return Outcome.CAPPED, 20429
        if mistake:
            return Outcome.REFUSED, mistake
        return fate.outcome, fate.code if fate.outcome in (Outcome.REFUSED, Outcome.ERROR_AFTER) else 0

    def _under_cap(self, mono_us: int) -> bool:
        cap, window = self.faults.max_per_s, self._window
        if not cap:
            return True
        while window and (window[0] <= mono_us - 1_000_000 or len(window) > cap):
            window.popleft()
        if len(window) >= cap:
            return False
        window.append(mono_us)
        return True

    def _end(self, link: Link, record: Record, answer: bytes) -> None:
        match record.outcome:
            case Outcome.ACCEPTED:
                link.reply(201, answer)
            case Outcome.THROTTLED | Outcome.CAPPED:
                after_s = self.faults.retry_after_s
                _refuse(link, record.code, f"Retry-After: {after_s:g}\r\n".encode() if after_s else b"")
            case Outcome.REFUSED | Outcome.ERROR_BEFORE | Outcome.ERROR_AFTER:
                _refuse(link, record.code)
            case Outcome.HANG_BEFORE | Outcome.HANG_AFTER:
                link.hang()
            case Outcome.RESET_BEFORE | Outcome.RESET_AFTER:
                link.reset()
            case _:
                assert_never(record.outcome)

    # ---- Looking up --------------------------------------------------------------------------------------------------

    def _resource(self, record: Record, body: str, status: str) -> dialect.Resource:
        sid = self.ledger.sid(record)
        uri = f"{dialect.API}{self.options.account_sid}/Messages/{sid}"
        created = dialect.rfc2822(record.at_us)
        if status == "queued" and record.service:
            status = "accepted"
        ended = status == record.verdict
        return dialect.Resource(
            account_sid=self.options.account_sid,
            sid=sid,
            to=record.to,
            from_=record.sender or (dialect.POOL_SENDER if status != "accepted" else None),
            body=body,
            status=status,
            num_segments="0" if status == "accepted" else str(record.segments),
            date_created=created,
            date_updated=dialect.rfc2822(record.done_us) if ended else created,
            date_sent=None if status in ("queued", "accepted") else created,
            uri=f"{uri}.json",
            subresource_uris={"media": f"{uri}/Media.json"},
            messaging_service_sid=record.service or None,
            error_code=(record.error_code or None) if ended else None,
        )

    def _visible(self, record: Record, now_us: int) -> bool:
        return now_us - record.at_us >= self.faults.listing_lag_ms * 1000

    def _fetch(self, link: Link, request: Request) -> None:
        now_us = time.time_ns() // 1000
        record = self.ledger.find(
            request.head.path[len(self._message) :].removesuffix(b".json").decode("ascii", "replace")
        )
        if record is None or self.faults.blind or not self._visible(record, now_us):
            _refuse(link, 20404)
        else:
            link.reply(200, msgspec.json.encode(self._resource(record, record.body, record.status(now_us))))

    def _list(self, link: Link, request: Request) -> None:
        self.look_ups += 1
        if self.dice.look_up_fails():
            _refuse(link, 20503)
            return
        if self.faults.blind:
            _refuse(link, 20404)
            return
        asked = dialect.form(request.head.query)
        try:
            page = self._page(asked)
        except ValueError:
            _refuse(link, 20001)
            return
        link.reply(200, msgspec.json.encode(page))

    def _page(self, asked: dict[str, str]) -> dialect.Page:
        """A page of the listing: `To`, `From`, `DateSent`, `DateSent<`, `DateSent>` (both inclusive), PageSize, Page.

        `DateSent` compares with the arrival; a page goes on after the sid in its PageToken. Raises ValueError.
        """
        now_us = time.time_ns() // 1000
        size = min(max(1, int(asked.get("PageSize", PAGE_SIZE))), PAGE_SIZE_MAX)
        number, before = int(asked.get("Page", 0)), asked.get("PageToken", "").removeprefix("PA")
        last = self.ledger.find(before) if before else None
        below = last.n if last else self._requests + 1
        from_us, until_us = _days(asked)
        found: list[Record] = []
        sender = asked.get("From", "")
        for record in self.ledger.newest_first(asked.get("To", "")):
            if record.at_us < from_us:
                break
            fits = record.n < below and record.at_us < until_us and sender in ("", record.sender)
            if fits and self._visible(record, now_us):
                found.append(record)
                if len(found) > size:
                    break
        shown = found[:size]
        path = self._messages.decode()
        kept = {name: value for name, value in asked.items() if name not in ("Page", "PageToken", "PageSize")}

        def uri(page: int, token: str) -> str:
            turned = {"PageToken": token} if token else {}
            return f"{path}?{urlencode({**kept, 'PageSize': size, 'Page': page, **turned})}"

        return dialect.Page(
            messages=[self._resource(record, record.body, record.status(now_us)) for record in shown],
            page=number,
            page_size=size,
            start=number * size,
            end=number * size + max(0, len(shown) - 1),
            uri=uri(number, asked.get("PageToken", "")),
            first_page_uri=uri(0, ""),
            previous_page_uri=None,  # nobody here goes back
            next_page_uri=uri(number + 1, f"PA{self.ledger.sid(shown[-1])}") if len(found) > size else None,
        )


def _refuse(link: Link, code: int, headers: bytes = b"") -> None:
    status, body = dialect.problem(code)
    link.reply(status, body, headers)


_DAY_US = 86_400_000_000
_EVER_US = 1 << 62


def _days(asked: dict[str, str]) -> tuple[int, int]:
    """The instants from which (inclusive) and until which (exclusive) a listing is asked for. Raises ValueError."""
    from_us, until_us = 0, _EVER_US
    if day := asked.get("DateSent"):
        from_us = dialect.instant_us(day[:10])
        until_us = from_us + _DAY_US
    if after := asked.get("DateSent>"):
        from_us = max(from_us, dialect.instant_us(after))
    if before := asked.get("DateSent<"):
        until_us = min(until_us, dialect.instant_us(before) + (_DAY_US if len(before) == 10 else 1_000_000))
    return from_us, until_us
