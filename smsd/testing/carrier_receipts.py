"""Tells senders what became of their messages: each message's status callbacks in turn, with bounded retries.

Never decides what a receipt says or when it is due (the dice did); never has two callbacks of one message in flight.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from smsd.testing.carrier_client import Poster
from smsd.testing.carrier_dialect import Dialect, Origin, Told
from smsd.testing.carrier_faults import Fate, Timing
from smsd.testing.carrier_ledger import Ledger, ReceiptCounts, Record
from smsd.testing.carrier_timers import Timers

PENDING_MAX = 1_000_000  # messages whose callbacks are still to come
DUPLICATE_AFTER_MS = 50

_COUNTED = {"1": "refused", "2": "answered", "3": "refused", "4": "refused", "5": "failed"}
_AGAIN = frozenset({"failed", "unreachable", "reset", "timeout"})


class Callback(NamedTuple):
    """One callback that is to come."""

    status: str
    due_ms: float  # from the message's arrival
    segment: int  # from 0


def plan(fate: Fate, *, verdict: str, segments: int, sent_receipts: bool, late_ms: float) -> list[Callback]:
    """A message's callbacks in the order of telling, each for every segment. Of one that is undelivered it is the last
    segment that did not arrive.
    """
    last_ms = fate.delay_ms + (late_ms if fate.timing is Timing.LATE else 0)
    if fate.timing is Timing.EARLY:
        last_ms = 0
    last = [(verdict, last_ms)]
    if fate.timing is Timing.MISSING:
        last = []
    elif fate.duplicate:
        last.append((verdict, last_ms + DUPLICATE_AFTER_MS))
    if not sent_receipts:
        steps = last
    elif fate.disorder or fate.timing is Timing.EARLY:
        steps = [*last, ("sent", last_ms)]
    else:
        steps = [("sent", fate.delay_ms / 2), *last]
    return [
        Callback("delivered" if status == "undelivered" and segment + 1 < segments else status, due_ms, segment)
        for status, due_ms in steps
        for segment in range(segments)
    ]


class Story:
    """What is told about one message, and how far it has been told; each try of a callback is an errand."""

    __slots__ = ("callbacks", "epoch", "first_told", "leads", "record", "step", "teller", "tries", "url")

    def __init__(
        self,
        teller: "Teller",
        record: Record,
        callbacks: list[Callback],
        url: str,
        leads: tuple[Origin, str],
        first_told: Callable[[], None] | None,
    ) -> None:
        self.teller = teller
        self.epoch = teller.epoch
        self.record = record
        self.callbacks = callbacks
        self.url = url
        self.leads = leads
        self.first_told = first_told
        self.step = 0
        self.tries = 0

    def post(self) -> None:
        self.teller.post(self)

    def request(self) -> bytes | None:
        return self.teller.request(self)

    def ended(self, answer: str) -> None:
        self.teller.ended(self, answer)


class Teller:
    """All stories that are being told. `tries`: how often a callback that fails is tried; the carrier sets it."""

    def __init__(self, timers: Timers, poster: Poster, ledger: Ledger, dialect: Dialect) -> None:
        self._timers = timers
        self._poster = poster
        self._dialect = dialect
        self._waiters: list[Callable[[], None]] = []
        self.tries = 1
        self.backoff_ms = 0.0
        self.epoch = 0
        self.start_anew(ledger)

    def start_anew(self, ledger: Ledger) -> None:
        """Drops every story that is not told yet; what is on its way is sent, and no longer counted."""
        self.epoch += 1
        self._ledger = ledger
        self.counts = ReceiptCounts()
        self.pending = 0
        self._idle()

    def tell(
        self,
        record: Record,
        callbacks: list[Callback],
        url: str,
        leads: tuple[Origin, str],
        first_told: Callable[[], None] | None,
    ) -> None:
        """Starts a message's story. `first_told` is called when the first try of the first callback has ended."""
        self.counts.planned += 1
        self.counts.missing += all(callback.status == "sent" for callback in callbacks)
        if not callbacks or self.pending >= PENDING_MAX:
            self.counts.dropped += bool(callbacks)
            self.counts.done += 1
            if first_told is not None:
                first_told()
            return
        self.pending += 1
        self._schedule(Story(self, record, callbacks, url, leads, first_told))

    def when_idle(self, call: Callable[[], None]) -> None:
        """Calls back once, when no story is left to tell: perhaps at once."""
        self._waiters.append(call)
        if self.pending == 0:
            self._idle()

    def _idle(self) -> None:
        waiters, self._waiters = self._waiters, []
        for call in waiters:
            call()

    def _schedule(self, story: Story) -> None:
        due_s = story.record.mono_us / 1e6 + story.callbacks[story.step].due_ms / 1e3
        if due_s <= time.monotonic():
            self.post(story)
        else:
            self._timers.at(due_s, story.post)

    def post(self, story: Story) -> None:
        """Asks for the story's present callback to be posted."""
        self._poster.post(story.leads[0], story)

    def request(self, story: Story) -> bytes | None:
        """The story's present callback; None after a reset, which also answers who still waits for its first."""
        if story.epoch != self.epoch:
            self._first_told(story)
            return None
        record, (status, _, segment) = story.record, story.callbacks[story.step]
        ended = status != "sent"
        told = Told(
            sid=self._ledger.sid(record, segment),
            parent=self._ledger.sid(record),
            to=record.to,
            sender=record.sender,
            service=record.service,
            reference=record.reference,
            status=status,
            error_code=record.error_code if status == "undelivered" else 0,
            done_us=record.done_us if ended else 0,
            now_us=time.time_ns() // 1000,
            event=story.step,
            segment=segment + 1,
            segments=record.segments if self._dialect.per_segment else 1,
        )
        return self._dialect.receipt(told, story.url, *story.leads)

    def ended(self, story: Story, answer: str) -> None:
        """A try has ended: writes it down, and goes on, tries again or gives up."""
        if story.epoch == self.epoch:
            self._note(story, answer)
        self._first_told(story)

    def _first_told(self, story: Story) -> None:
        first_told, story.first_told = story.first_told, None
        if first_told is not None:
            first_told()

    def _note(self, story: Story, answer: str) -> None:
        status = story.callbacks[story.step].status
        story.record.trail += f"{status} {answer} {time.time_ns() // 1000}\n"
        counted = _COUNTED.get(answer[0], answer)
        setattr(self.counts, counted, getattr(self.counts, counted) + 1)
        self.counts.tries += 1
        story.tries += 1
        if counted in _AGAIN and story.tries < self.tries:
            self._timers.at(time.monotonic() + self.backoff_ms * 2 ** (story.tries - 1) / 1e3, story.post)
            return
        self.counts.given_up += counted in _AGAIN
        story.tries = 0
        story.step += 1
        if story.step < len(story.callbacks):
            self._schedule(story)
            return
        self.counts.done += 1
        self.pending -= 1
        if self.pending == 0:
            self._idle()


class Errand:
    """One request that is posted once, and whose end is told."""

    def __init__(self, done: Callable[[str], None]) -> None:
        self.octets, self._done = b"", done

    def request(self) -> bytes:
        return self.octets

    def ended(self, answer: str) -> None:
        self._done(answer)
