"""What goes wrong at the carrier, and how often: rates, profiles, magic numbers, and the dice that decide one request.

Never does IO and never reads a clock. Every request for a message takes the same number of draws from one seeded
generator, whatever the rates are, so that the n-th request after a start meets the same luck in every run.
"""

import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import accumulate
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")


class Outcome(StrEnum):
    """What became of one request for a message."""

    __hash__ = str.__hash__  # enum's own is a Python function, and each request is counted by its outcome

    ACCEPTED = "accepted"
    ERROR_AFTER = "error_after"  # taken, and answered 5xx
    HANG_AFTER = "hang_after"  # taken, and never answered
    RESET_AFTER = "reset_after"  # taken, and the connection reset
    THROTTLED = "throttled"  # 429 by the dice
    CAPPED = "capped"  # 429 because more than max_per_s came
    REFUSED = "refused"  # 400 with one of Twilio's codes
    ERROR_BEFORE = "error_before"  # 5xx, not taken
    HANG_BEFORE = "hang_before"  # never answered, not taken
    RESET_BEFORE = "reset_before"  # connection reset, not taken


TAKEN = frozenset({Outcome.ACCEPTED, Outcome.ERROR_AFTER, Outcome.HANG_AFTER, Outcome.RESET_AFTER})
"""The outcomes after which the person gets the text, whatever the sender was told."""


class Timing(StrEnum):
    """When a message's last receipt comes."""

    NORMAL = "normal"
    MISSING = "missing"
    LATE = "late"
    EARLY = "early"


OPTED_OUT = 21610
"""Twilio's code of a recipient who has opted out; a vendor that tells of it in receipts takes the text first."""

Rate = Annotated[float, Meta(ge=0, le=1)]
Millis = Annotated[float, Meta(ge=0, le=86_400_000)]
Codes = tuple[Annotated[int, Meta(ge=10_000, le=99_999)], ...]


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the carrier behaves. Rates are shares of the requests (0 to 1); the outcomes exclude each other."""

    latency_ms: Annotated[Millis, Meta(description="an answer takes at least this long")] = 0
    jitter_ms: Annotated[Millis, Meta(description="and up to this much longer")] = 0
    throttle: Annotated[Rate, Meta(description="answered 429, not taken")] = 0
    retry_after_s: Annotated[float, Meta(ge=0, description="Retry-After of a 429; 0: no such header")] = 0
    max_per_s: Annotated[
        int, Meta(ge=0, description="no window of a second takes more, the rest is 429; 0: no cap")
    ] = 0
    error_before: Annotated[Rate, Meta(description="answered 5xx, not taken")] = 0
    error_after: Annotated[Rate, Meta(description="taken, then answered 5xx")] = 0
    refuse: Annotated[Rate, Meta(description="refused with one of refuse_codes, not taken")] = 0
    refuse_codes: Annotated[
        Codes,
        Meta(description="Twilio's codes for `refuse`; 21610 comes by receipt where the vendor so tells", min_length=1),
    ] = (
        21211,
        OPTED_OUT,
        21408,
        21614,
    )
    hang_before: Annotated[Rate, Meta(description="never answered, not taken")] = 0
    hang_after: Annotated[Rate, Meta(description="taken, then never answered")] = 0
    reset_before: Annotated[Rate, Meta(description="connection reset, not taken")] = 0
    reset_after: Annotated[Rate, Meta(description="taken, then the connection reset")] = 0
    receipt_min_ms: Annotated[Millis, Meta(description="the last receipt is due this long after arrival at least")] = 50
    receipt_max_ms: Annotated[Millis, Meta(description="and at most")] = 200
    sent_receipts: Annotated[bool, Meta(description="a receipt `sent` comes before the last one")] = True
    undelivered: Annotated[Rate, Meta(description="last receipt `undelivered` with one of undelivered_codes")] = 0
    undelivered_codes: Annotated[Codes, Meta(description="ErrorCodes for `undelivered`", min_length=1)] = (
        30003,
        30005,
        30006,
        30007,
        30008,
    )
    receipt_missing: Annotated[Rate, Meta(description="the last receipt never comes")] = 0
    receipt_late: Annotated[Rate, Meta(description="the last receipt comes late_ms later")] = 0
    late_ms: Annotated[Millis, Meta(description="how late a late receipt is")] = 10_000
    receipt_early: Annotated[Rate, Meta(description="the last receipt is posted before the 201 is written")] = 0
    receipt_duplicate: Annotated[Rate, Meta(description="the last receipt comes twice")] = 0
    receipt_disorder: Annotated[Rate, Meta(description="the last receipt comes before `sent`")] = 0
    receipt_tries: Annotated[
        int, Meta(ge=1, le=30, description="how often a callback is tried that fails or gets 5xx")
    ] = 6
    receipt_backoff_ms: Annotated[Millis, Meta(description="until the second try; doubled with each")] = 500
    listing_lag_ms: Annotated[Millis, Meta(description="a message can be looked up only after this time")] = 0
    listing_error: Annotated[Rate, Meta(description="a look-up is answered 503")] = 0
    blind: Annotated[bool, Meta(description="nothing can be looked up: the listing answers 404")] = False
    keep_bodies: Annotated[bool, Meta(description="the ledger and the listing keep the texts")] = True

    def __post_init__(self) -> None:
        for names in (OUTCOME_RATES, TIMING_RATES):
            if sum(getattr(self, name) for name in names) > 1:
                raise ValueError(f"the rates {', '.join(names)} exclude each other: together they may be at most 1")
        if self.receipt_min_ms > self.receipt_max_ms:
            raise ValueError("receipt_min_ms must be at most receipt_max_ms")


OUTCOME_RATES: Mapping[str, Outcome] = {
    "reset_before": Outcome.RESET_BEFORE,
    "hang_before": Outcome.HANG_BEFORE,
    "throttle": Outcome.THROTTLED,
    "error_before": Outcome.ERROR_BEFORE,
    "refuse": Outcome.REFUSED,
    "error_after": Outcome.ERROR_AFTER,
    "hang_after": Outcome.HANG_AFTER,
    "reset_after": Outcome.RESET_AFTER,
}
TIMING_RATES: Mapping[str, Timing] = {
    "receipt_missing": Timing.MISSING,
    "receipt_late": Timing.LATE,
    "receipt_early": Timing.EARLY,
}

PROFILES: Mapping[str, Faults] = {
    "plain": Faults(),
    "calm": Faults(latency_ms=20, jitter_ms=30, receipt_min_ms=300, receipt_max_ms=1500),
    "bench": Faults(receipt_min_ms=500, receipt_max_ms=500, sent_receipts=False, keep_bodies=False),
    "demo": Faults(
        latency_ms=20,
        jitter_ms=40,
        throttle=0.01,
        error_before=0.004,
        error_after=0.002,
        refuse=0.004,
        hang_before=0.0005,
        hang_after=0.0005,
        reset_before=0.002,
        reset_after=0.002,
        receipt_min_ms=300,
        receipt_max_ms=2500,
        undelivered=0.03,
        receipt_missing=0.002,
        receipt_late=0.005,
        late_ms=5000,
        receipt_early=0.005,
        receipt_duplicate=0.02,
        receipt_disorder=0.02,
    ),
}


class Fate(msgspec.Struct, frozen=True, gc=False):
    """What the dice decided for one request."""

    outcome: Outcome
    code: int  # Twilio's error code of a refusal or a 5xx, else 0
    latency_ms: float
    timing: Timing
    delay_ms: int  # from arrival until the message's end
    error_code: int  # 0: delivered; else undelivered for this reason
    duplicate: bool
    disorder: bool


MAGIC: Mapping[str, Mapping[str, object]] = {
    # Twilio's own, as its test credentials treat them: https://www.twilio.com/docs/iam/test-credentials (2026-11).
    "+15005550001": {"outcome": Outcome.REFUSED, "code": 21211},
    "+15005550002": {"outcome": Outcome.REFUSED, "code": 21612},
    "+15005550003": {"outcome": Outcome.REFUSED, "code": 21408},
    "+15005550004": {"outcome": Outcome.REFUSED, "code": OPTED_OUT},
    "+15005550009": {"outcome": Outcome.REFUSED, "code": 21614},
    # Ours: the outcomes ...
    "+15005550020": {"outcome": Outcome.THROTTLED},
    "+15005550021": {"outcome": Outcome.ERROR_BEFORE, "code": 20500},
    "+15005550022": {"outcome": Outcome.ERROR_AFTER, "code": 20500},
    "+15005550023": {"outcome": Outcome.HANG_BEFORE},
    "+15005550024": {"outcome": Outcome.HANG_AFTER},
    "+15005550025": {"outcome": Outcome.RESET_BEFORE},
    "+15005550026": {"outcome": Outcome.RESET_AFTER},
    # ... and the receipts of a message that is taken.
    "+15005550030": {"outcome": Outcome.ACCEPTED, "timing": Timing.MISSING},
    "+15005550031": {"outcome": Outcome.ACCEPTED, "timing": Timing.LATE},
    "+15005550032": {"outcome": Outcome.ACCEPTED, "timing": Timing.EARLY},
    "+15005550033": {"outcome": Outcome.ACCEPTED, "duplicate": True},
    "+15005550034": {"outcome": Outcome.ACCEPTED, "disorder": True},
    "+15005550040": {"outcome": Outcome.ACCEPTED, "error_code": 30003},
    "+15005550041": {"outcome": Outcome.ACCEPTED, "error_code": 30005},
    "+15005550042": {"outcome": Outcome.ACCEPTED, "error_code": 30006},
    "+15005550043": {"outcome": Outcome.ACCEPTED, "error_code": 30007},
}
"""Recipients that always meet the same fate, in every profile; the dice decide what an entry does not name."""

MAGIC_SENDERS: Mapping[str, int] = {"+15005550001": 21212, "+15005550007": 21606, "+15005550008": 21611}
"""Twilio's senders that are always refused (the same page), with the code."""

ERRORS = (20500, 20503)


class Dice:
    """The seeded luck of one carrier. Two of the same seed and faults decide alike, request by request."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._random = random.Random(seed)
        self._listing = random.Random(seed + 1)  # its own: a look-up must not shift the luck of the messages
        self.faults = faults

    @property
    def faults(self) -> Faults:
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        self._outcomes = _ladder(faults, OUTCOME_RATES, Outcome.ACCEPTED)
        self._timings = _ladder(faults, TIMING_RATES, Timing.NORMAL)

    def cast(self, to: str) -> Fate:
        """Decides the next request. Always nine draws."""
        faults, draw = self._faults, self._random.random
        edges, outcomes = self._outcomes
        outcome = outcomes[bisect_right(edges, draw())]
        code, latency_ms = draw(), faults.latency_ms + faults.jitter_ms * draw()
        edges, timings = self._timings
        timing = timings[bisect_right(edges, draw())]
        delay_ms = faults.receipt_min_ms + (faults.receipt_max_ms - faults.receipt_min_ms) * draw()
        duplicate, disorder = draw() < faults.receipt_duplicate, draw() < faults.receipt_disorder
        undelivered, reason = draw() < faults.undelivered, draw()
        fate = Fate(
            outcome=outcome,
            code=_pick(faults.refuse_codes if outcome is Outcome.REFUSED else ERRORS, code),
            latency_ms=latency_ms,
            timing=timing,
            delay_ms=int(delay_ms),
            error_code=_pick(faults.undelivered_codes, reason) if undelivered else 0,
            duplicate=duplicate,
            disorder=disorder,
        )
        magic = MAGIC.get(to)
        if magic is None:
            return fate
        changes: dict[str, Any] = dict(magic)
        return msgspec.structs.replace(fate, **changes)

    def look_up_fails(self) -> bool:
        """Whether the next look-up is answered 503."""
        return self._listing.random() < self._faults.listing_error


def _ladder(faults: Faults, rates: Mapping[str, T], otherwise: T) -> tuple[list[float], list[T]]:
    edges = list(accumulate(getattr(faults, name) for name in rates))
    return edges, [*rates.values(), otherwise]


def _pick(codes: Sequence[int], draw: float) -> int:
    return codes[int(draw * len(codes))]
