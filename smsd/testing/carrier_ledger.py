"""What the carrier remembers: every request for a message, what became of it, and what its receipts were answered.

Never does IO, never reads a clock, never decides. Bounded: past `keep` taken messages the oldest is forgotten, and
counted. An independent checker reads it, so it holds what came over the wire and trusts nothing that smsd says about
itself.
"""

import hashlib
import re
from collections import Counter, deque
from collections.abc import Iterator

import msgspec

from smsd.testing.carrier_faults import TAKEN, Outcome

_REFERENCE = re.compile(r"([1-9][0-9]{0,8})\.([^/]+/.+)")
TWICE_LISTED = 10_000  # messages whose references are listed when taken more than once; the count goes on


class Record(msgspec.Struct, gc=False, kw_only=True):
    """One request for a message. Compact: there may be a million."""

    n: int  # counts the requests since the start, from 1; makes the sid
    attempt: int  # of the reference `attempt.tenant/id`; 0: it has another form
    key: str  # `tenant/id`, or the whole reference where it has another form; "" for none
    to: str
    sender: str
    service: str
    body: str  # "" where bodies are not kept
    body_hash: int  # BLAKE2b-64 of the text in UTF-8
    segments: int
    at_us: int
    mono_us: int
    outcome: Outcome
    code: int  # Twilio's code of the answer, 0 for none
    delay_ms: int = 0  # from arrival until the message's end
    error_code: int = 0  # 0: ends delivered; else undelivered
    trail: str = ""  # `status answer at_us`, a line for each try of a callback

    @property
    def reference(self) -> str:
        return f"{self.attempt}.{self.key}" if self.attempt else self.key

    @property
    def done_us(self) -> int:
        """When the message reaches its end."""
        return self.at_us + self.delay_ms * 1000

    @property
    def verdict(self) -> str:
        return "undelivered" if self.error_code else "delivered"

    def status(self, now_us: int) -> str:
        """Twilio's status at `now_us`: queued, sent half-way, then the end."""
        gone_us = now_us - self.at_us
        if gone_us >= self.delay_ms * 1000:
            return self.verdict
        return "sent" if gone_us * 2 >= self.delay_ms * 1000 else "queued"


class Posted(msgspec.Struct, frozen=True):
    """One try of a status callback."""

    status: str  # sent, delivered, undelivered
    answer: str  # the HTTP status; or unreachable, reset, timeout
    at_us: int  # when the answer was in


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a message, as the ledger tells it."""

    n: int
    sid: str | None  # null: not taken
    reference: str
    to: str
    sender: str
    service: str
    body: str
    body_hash: str  # 16 hex digits
    segments: int
    at_us: int
    mono_us: int  # CLOCK_MONOTONIC of the machine
    outcome: Outcome
    code: int
    ends: str | None  # delivered or undelivered; null: not taken
    error_code: int
    receipts: tuple[Posted, ...]


class ReceiptCounts(msgspec.Struct, kw_only=True):
    """Counts of status callbacks: of messages first, then of tries."""

    planned: int = 0  # messages taken with a StatusCallback
    done: int = 0  # of these: all their callbacks are told or given up
    missing: int = 0  # of these: those whose last receipt is never told
    tries: int = 0
    answered: int = 0  # 2xx
    refused: int = 0  # 3xx, 4xx: not tried again
    failed: int = 0  # 5xx: tried again, as the next three are
    unreachable: int = 0
    reset: int = 0
    timeout: int = 0
    given_up: int = 0  # callbacks that were tried for the last time in vain
    dropped: int = 0  # messages whose callbacks did not fit the bound


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The carrier's counts since its start or its last reset."""

    requests: int
    taken: int
    outcomes: dict[str, int]
    taken_twice: int  # messages (tenant/id) that were taken more than once
    taken_twice_references: list[list[str]]  # of at most TWICE_LISTED of them, each time it was taken
    without_reference: int  # taken with no reference of ours
    forgotten: int  # records dropped for the bound
    unauthorised: int
    look_ups: int
    repeated: int  # requests under a key that stood for a message already
    receipts: ReceiptCounts
    pending: int  # messages with callbacks still to come
    connections: int  # open ones
    first_us: int
    last_us: int
    now_us: int
    cpu_s: float  # of this process, user and system, since its start
    rss_kb: int  # peak


class Ledger:
    """The records, in their order of arrival, with the indexes that look-ups and duplicate detection need."""

    def __init__(self, keep: int, prefix: str) -> None:
        """`keep`: taken messages that are remembered, and a tenth as many that were not. `prefix`: of every sid."""
        self._keep = keep
        self._prefix = prefix
        self._taken: dict[int, Record] = {}
        self._refused: deque[Record] = deque(maxlen=max(1, keep // 10))
        self._by_number: dict[str, list[Record]] | None = None  # made when first asked for: benchmarks never do
        self._by_reference: dict[str, Record] | None = None  # so is this; the newest of each
        self._by_key: dict[str, Record] = {}
        self._twice: dict[str, list[str]] = {}
        self.outcomes: Counter[Outcome] = Counter()
        self.taken_twice = 0
        self.without_reference = 0
        self.forgotten = 0
        self.first_us = 0
        self.last_us = 0

    def add(self, record: Record) -> None:
        """Takes a record down. Its number must be greater than all before."""
        self.outcomes[record.outcome] += 1
        self.last_us = record.at_us
        self.first_us = self.first_us or record.at_us
        if record.outcome not in TAKEN:
            self.forgotten += len(self._refused) == self._refused.maxlen
            self._refused.append(record)
            return
        if len(self._taken) >= self._keep:
            self._forget(self._taken.pop(next(iter(self._taken))))
        self._taken[record.n] = record
        if self._by_number is not None:
            self._by_number.setdefault(record.to, []).append(record)
        if self._by_reference is not None:
            self._by_reference[record.reference] = record
        if record.key:
            first = self._by_key.setdefault(record.key, record)
            if first is not record:
                self._again(first, record)
        else:
            self.without_reference += 1

    def _again(self, first: Record, record: Record) -> None:
        references = self._twice.get(record.key)
        if references is not None:
            references.append(record.reference)
            return
        self.taken_twice += 1
        if len(self._twice) < TWICE_LISTED:
            self._twice[record.key] = [first.reference, record.reference]

    def _forget(self, record: Record) -> None:
        self.forgotten += 1
        if self._by_number is not None:
            of_number = self._by_number[record.to]
            of_number.pop(0)
            if not of_number:
                del self._by_number[record.to]
        if self._by_key.get(record.key) is record:
            del self._by_key[record.key]
        if self._by_reference is not None and self._by_reference.get(record.reference) is record:
            del self._by_reference[record.reference]

    def sid(self, record: Record, segment: int = 0) -> str:
        """The id of a message, or of one of its later segments (from 0)."""
        return f"{self._prefix}{record.n:010x}{f'-{segment + 1}' if segment else ''}"

    def find(self, sid: str) -> Record | None:
        """The taken message of a sid, or None."""
        if not sid.startswith(self._prefix):
            return None
        try:
            return self._taken.get(int(sid[len(self._prefix) :], 16))
        except ValueError:
            return None

    def of_reference(self, reference: str) -> Record | None:
        """The taken message of a reference, or None."""
        if self._by_reference is None:
            self._by_reference = {record.reference: record for record in self._taken.values()}
        return self._by_reference.get(reference)

    def newest_first(self, to: str) -> Iterator[Record]:
        """The taken messages, or those to one number, newest first."""
        if not to:
            return reversed(self._taken.values())
        if self._by_number is None:
            self._by_number = {}
            for record in self._taken.values():
                self._by_number.setdefault(record.to, []).append(record)
        return reversed(self._by_number.get(to, []))

    def lines(self, after: int, limit: int) -> list[Line]:
        """At most `limit` lines with numbers greater than `after`, in order."""
        taken = _after(iter(self._taken.values()), after, limit)
        refused = _after(iter(self._refused), after, limit)
        return [self._line(record) for record in sorted(taken + refused, key=lambda record: record.n)[:limit]]

    def _line(self, record: Record) -> Line:
        taken = record.outcome in TAKEN
        trail = [line.split(" ") for line in record.trail.splitlines()]
        return Line(
            n=record.n,
            sid=self.sid(record) if taken else None,
            reference=record.reference,
            to=record.to,
            sender=record.sender,
            service=record.service,
            body=record.body,
            body_hash=f"{record.body_hash:016x}",
            segments=record.segments,
            at_us=record.at_us,
            mono_us=record.mono_us,
            outcome=record.outcome,
            code=record.code,
            ends=record.verdict if taken else None,
            error_code=record.error_code,
            receipts=tuple(Posted(status, answer, int(at_us)) for status, answer, at_us in trail),
        )

    @property
    def taken(self) -> int:
        return sum(n for outcome, n in self.outcomes.items() if outcome in TAKEN)

    @property
    def taken_twice_references(self) -> list[list[str]]:
        return list(self._twice.values())


def _after(records: Iterator[Record], after: int, limit: int) -> list[Record]:
    found: list[Record] = []
    for record in records:
        if record.n > after:
            found.append(record)
            if len(found) == limit:
                break
    return found


def digest(body: str) -> str:
    """What a line's `body_hash` says of a text."""
    return f"{hashed(body):016x}"


def hashed(body: str) -> int:
    """BLAKE2b-64 of a text in UTF-8."""
    return int.from_bytes(hashlib.blake2b(body.encode(), digest_size=8).digest(), "big")


def split_reference(reference: str) -> tuple[int, str]:
    """`attempt.tenant/id` as (attempt, "tenant/id"); anything else as (0, itself)."""
    found = _REFERENCE.fullmatch(reference)
    return (int(found[1]), found[2]) if found else (0, reference)
