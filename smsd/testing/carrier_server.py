"""The carrier itself: what each request of a vendor's API comes to. All its luck is in the dice that it is given.

Never speaks of smsd: it knows a dialect, a ledger and faults. Its control side is carrier_control.
"""

import asyncio
import hashlib
import secrets
import sys
import time
from collections import OrderedDict, deque
from typing import assert_never, cast

import msgspec

from smsd.testing import carrier_dialect
from smsd.testing.carrier_client import Poster
from smsd.testing.carrier_dialect import Account, Asked, Granting, Keyed, Said, Text
from smsd.testing.carrier_faults import OPTED_OUT, TAKEN, Dice, Fate, Faults, Outcome, Timing
from smsd.testing.carrier_http import Link, Request
from smsd.testing.carrier_ledger import Ledger, Record, hashed, split_reference
from smsd.testing.carrier_receipts import Errand, Teller, plan
from smsd.testing.carrier_timers import Timers
from smsd.text import segment


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a carrier is started with. The faults can be changed while it runs; the rest cannot."""

    dialect: str = "twilio"
    account: Account
    callback_url: str = ""  # the account's own, for receipts of messages that name none
    seed: int
    keep: int
    connections: int  # for callbacks, to each origin
    connect_to: tuple[str, int] | None  # all callbacks go to this address, signed for the URL's own
    callback_timeout_s: float
    faults: Faults


class Carrier:
    """One account at a make-believe carrier."""

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self.options = options
        self.dialect = carrier_dialect.dialect(options.dialect, options.account)
        self._granting = cast("Granting", self.dialect) if hasattr(self.dialect, "granted") else None
        self.timers = Timers(loop)
        self.links: set[Link] = set()
        # 22 of the 32 digits: unlike the luck, the ids of two runs must not collide in a store that outlives them.
        self._sid_prefix = self.dialect.sid_prefix(secrets.token_hex(11))
        self.ledger = Ledger(options.keep, self._sid_prefix)
        self.dice = Dice(options.seed, options.faults)
        self._poster = Poster(loop, self.timers, options.connections, options.connect_to, options.callback_timeout_s)
        self.teller = Teller(self.timers, self._poster, self.ledger, self.dialect)
        self.faults = options.faults
        self._window: deque[int] = deque()  # when the last max_per_s requests that passed the cap came
        self._keys: OrderedDict[str, tuple[Record, bytes]] = (
            OrderedDict()
        )  # what a key stands for, and how it was asked
        self._requests = 0
        self.unauthorised = 0
        self.look_ups = 0
        self.repeated = 0

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
        self._keys.clear()
        self.unauthorised = self.look_ups = self.repeated = 0

    def handle(self, link: Link, request: Request) -> None:
        """Answers a request of the vendor's API."""
        if self._granting is not None and (said := self._granting.granted(request)) is not None:
            link.reply(said.status, said.body, said.headers, said.content)
        elif not self.dialect.admits(request):
            self.unauthorised += 1
            self._refuse(link, 20003)
        elif (asked := self.dialect.read(request)) is not None:
            self._create(link, asked, request.body)
        elif request.head.method == b"GET":
            self._look_up(link, request)
        else:
            self._refuse(link, 20404)

    # ---- Sending -----------------------------------------------------------------------------------------------------

    def _create(self, link: Link, asked: Asked, content: bytes) -> None:
        if asked.key and (known := self._keys.get(asked.key)) is not None:
            self._repeat(link, asked, known[0], same=known[1] == _digest(content))
            return
        self._requests += 1
        now_us, mono_us = time.time_ns() // 1000, time.monotonic_ns() // 1000
        fate = self._fate(asked.to)
        url = asked.url or self.options.callback_url
        leads = carrier_dialect.origin_and_target(url)
        outcome, code = self._judge(fate, asked.code, mono_us)
        attempt, key = split_reference(asked.reference or (carrier_dialect.reference(leads[1]) if leads else ""))
        record = Record(
            n=self._requests,
            attempt=attempt,
            key=key,
            to=asked.to,
            sender=sys.intern(asked.sender),  # a million records have few senders
            service=sys.intern(asked.service),
            body=asked.body if self.faults.keep_bodies else "",
            body_hash=hashed(asked.body),
            segments=segment(asked.body).count,
            at_us=now_us,
            mono_us=mono_us,
            outcome=outcome,
            code=code,
            delay_ms=0 if fate.timing is Timing.EARLY else fate.delay_ms,
            error_code=fate.error_code,
        )
        self.ledger.add(record)
        taken = outcome in TAKEN
        if taken and asked.key:
            self._remember(asked.key, record, content)
        # Encoded now, while the text is at hand: the record may keep none.
        answer = self.dialect.taken(record, self._sids(record), asked.body) if taken else None
        early = taken and leads is not None and fate.timing is Timing.EARLY

        def end() -> None:
            self._end(link, record, answer)

        if taken and leads is not None:
            faults, segments = self.faults, record.segments if self.dialect.per_segment else 1
            callbacks = plan(
                fate,
                verdict=record.verdict,
                segments=segments,
                sent_receipts=faults.sent_receipts,
                late_ms=faults.late_ms,
            )
            self.teller.tell(record, callbacks, url, leads, end if early else None)
        if early:
            return
        if fate.latency_ms:
            self.timers.at((mono_us / 1e3 + fate.latency_ms) / 1e3, end)
        else:
            end()

    def _fate(self, to: str) -> Fate:
        """As the dice have it; but an opt-out comes in a receipt where the vendor does not answer with it."""
        fate = self.dice.cast(to)
        if fate.outcome is not Outcome.REFUSED or fate.code != OPTED_OUT or self.dialect.opt_outs == "answer":
            return fate
        return msgspec.structs.replace(fate, outcome=Outcome.ACCEPTED, code=0, error_code=OPTED_OUT)

    def _sids(self, record: Record) -> list[str]:
        return [self.ledger.sid(record, n) for n in range(record.segments if self.dialect.per_segment else 1)]

    def _repeat(self, link: Link, asked: Asked, first: Record, *, same: bool) -> None:
        self.repeated += 1
        said = cast("Keyed", self.dialect).repeated(first, self._sids(first), asked.body, same=same)
        link.reply(said.status, said.body, said.headers, said.content)

    def _remember(self, key: str, record: Record, content: bytes) -> None:
        self._keys[key] = (record, _digest(content))
        if len(self._keys) > self.options.keep:
            self._keys.popitem(last=False)

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

    def _end(self, link: Link, record: Record, answer: Said | None) -> None:
        match record.outcome:
            case Outcome.ACCEPTED:
                if answer is not None:
                    link.reply(answer.status, answer.body, answer.headers, answer.content)
            case Outcome.THROTTLED | Outcome.CAPPED:
                self._refuse(link, record.code, self.faults.retry_after_s)
            case Outcome.REFUSED | Outcome.ERROR_BEFORE | Outcome.ERROR_AFTER:
                self._refuse(link, record.code)
            case Outcome.HANG_BEFORE | Outcome.HANG_AFTER:
                link.hang()
            case Outcome.RESET_BEFORE | Outcome.RESET_AFTER:
                link.reset()
            case _:
                assert_never(record.outcome)

    def _refuse(self, link: Link, code: int, after_s: float = 0) -> None:
        said = self.dialect.refused(code, after_s)
        link.reply(said.status, said.body, said.headers, said.content)

    # ---- Looking up, and texts that come in --------------------------------------------------------------------------

    def _look_up(self, link: Link, request: Request) -> None:
        self.look_ups += 1
        if self.dice.look_up_fails():
            self._refuse(link, 20503)
            return
        now_us = time.time_ns() // 1000
        until_us = now_us - int(self.faults.listing_lag_ms * 1000)
        said = None if self.faults.blind else self.dialect.looked_up(request, self.ledger, now_us, until_us)
        if said is None:
            self._refuse(link, 20404)
        else:
            link.reply(said.status, said.body, said.headers, said.content)

    def text(self, text: Text, done: Errand) -> str:
        """Brings a text to who wants the account's texts; `done` hears how it was answered. Returns the vendor's id.

        Raises ValueError where the URL is none.
        """
        leads = carrier_dialect.origin_and_target(text.url)
        if leads is None:
            raise ValueError("url: is where the account wants its texts, http:// or https://")
        sid = f"{self._sid_prefix}{secrets.token_hex(5)}"
        done.octets = self.dialect.text(text, sid, time.time_ns() // 1000, *leads)
        self._poster.post(leads[0], done)
        return sid


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
