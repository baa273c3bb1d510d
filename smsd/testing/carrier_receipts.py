"""Tells senders what became of their messages: each message's status callbacks in turn, with bounded retries.

Never decides what a receipt says or when it is due (the dice did); never has two callbacks of one message in flight.
"""

import time
from collections.abc import Callable

from smsd.testing.carrier_client import Poster
from smsd.testing.carrier_dialect import POOL_SENDER, Origin, StatusCallback, callback_request
from smsd.testing.carrier_faults import Fate, Timing
from smsd.testing.carrier_ledger import Ledger, ReceiptCounts, Record
from smsd.testing.carrier_timers import Timers

PENDING_MAX = 1_000_000  # messages whose callbacks are still to come
DUPLICATE_AFTER_MS = 50

_COUNTED = {"1": "refused", "2": "answered", "3": "refused", "4": "refused", "5": "failed"}
_AGAIN = frozenset({"failed", "unreachable", "reset", "timeout"})


def plan(fate: Fate, *, verdict: str, sent_receipts: bool, late_ms: float) -> list[tuple[str, float]]:
    """A message's callbacks: status and when it is due, in ms from the message's arrival, in the order of telling."""
    last_ms = fate.delay_ms + (late_ms if fate.timing is Timing.LATE else 0)
    if fate.timing is Timing.EARLY:
        last_ms = 0
    last = [(verdict, last_ms)]
    if fate.timing is Timing.MISSING:
        last = []
    elif fate.duplicate:
        last.append((verdict, last_ms + DUPLICATE_AFTER_MS))
    if not sent_receipts:
        return last
    after = fate.disorder or fate.timing is Timing.EARLY
    return [*last, ("sent", last_ms)] if after else [("sent", fate.delay_ms / 2), *last]


class Story:
    """What is told about one message, and how far it has been told; each try of a callback is an errand."""

    __slots__ = ("callbacks", "epoch", "first_told", "leads", "record", "step", "teller", "tries", "url")

    def __init__(
        self,
        teller: "Teller",
        record: Record,
        callbacks: list[tuple[str, float]],
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

    def __init__(self, timers: Timers, poster: Poster, ledger: Ledger, account_sid: str, token: bytes) -> None:
        self._timers = timers
        self._poster = poster
        self._account_sid = account_sid
        self._token = token
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
        callbacks: list[tuple[str, float]],
        url: str,
        leads: tuple[Origin, str],
        first_told: Callable[[], None] | None,
    ) -> None:
        """Starts a message's story. `first_told` is called when the first try of the first callback has ended."""
        self.counts.planned += 1
        self.counts.missing += all(status == "sent" for status, _ in callbacks)
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
        due_s = story.record.mono_us / 1e6 + story.callbacks[story.step][1] / 1e3
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
        record = story.record
        status = story.callbacks[story.step][0]
        ended = status == record.verdict
        callback = StatusCallback(
            account_sid=self._account_sid,
            sid=self._ledger.sid(record),
            to=record.to,
            sender=record.sender or POOL_SENDER,
            service=record.service,
            status=status,
            error_code=record.error_code if ended else 0,
            done_us=record.done_us if ended else 0,
            event=story.step,
        )
        return callback_request(callback, story.url, *story.leads, self._token)

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
        status = story.callbacks[story.step][0]
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
