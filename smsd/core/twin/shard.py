"""The twin's verbs: as smsd.store.shard.Shard has them, without waiting, without a client, under a clock that is set.

Never decides: each verb is a module beside this one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from smsd.core.optout import Scope
from smsd.core.outcome import Outcome
from smsd.core.state import FINAL
from smsd.core.twin import lease, optouts, settle, sweep, withdrawals
from smsd.core.twin.admit import admit
from smsd.core.twin.book import Book, Event
from smsd.core.twin.receipts import take
from smsd.core.twin.values import HOUR_US, Lease, Offer, Receipt, Record, Settings, Swept, Unsure
from smsd.message import Entry, Message, Send, State


class Shard:
    """One shard in memory. `now_us` is the caller's clock; `book` may be looked at, never written."""

    def __init__(self, settings: Settings, now_us: int = 0) -> None:
        self.book = Book(settings)
        self.now_us = now_us

    def _begin(self) -> Book:
        self.book.now_us = max(self.now_us, self.book.high_us)
        return self.book

    def admit(self, entries: Sequence[Entry], class_: str) -> list[str]:
        """One word per entry: taken, due, cancelled, repeated, conflict, rejected, leaving, left, unknown."""
        book, words = self._begin(), list[str]()
        for entry in entries:
            book.arrivals += isinstance(entry, Send)
            words.append(admit(book, entry, class_, book.arrivals))
        return words

    def lease(
        self,
        route: str,
        offers: Sequence[Offer],
        *,
        n: int,
        request: str,
        process: str,
        span_us: int,
        seed: int = 1,
        looks: int = 0,
        q: int = 4,
        ahead_us: int = 0,
    ) -> Lease:
        """Up to n messages that the caller starts at once, or at their `start_us` within `ahead_us`.

        Safe to ask again under the same `request`.
        """
        book = self._begin()
        again = lease.repeated(book, route, request, process)
        if again is not None:
            return again
        one = lease.Pass(book, route, offers, n=n, seed=seed, looks=looks or 2 * n + 20, q=q, ahead_us=ahead_us)
        return one.run(request, process, span_us)

    def settle(self, outcomes: Sequence[Outcome]) -> list[str]:
        """The state that each message is in now; or `late`, `gone`."""
        book = self._begin()
        return [settle.settle(book, outcome) for outcome in outcomes]

    def receipts(self, receipts: Sequence[Receipt], *, most_early: int = 100_000) -> list[str]:
        """What became of each."""
        book = self._begin()
        return [take(book, receipt, most_early) for receipt in receipts]

    def claim(self, n: int, hold_us: int) -> list[Unsure]:
        """Messages of unknown outcome whose time has come; nobody else sees them for `hold_us`."""
        book, out = self._begin(), list[Unsure]()
        for key in book.unsure.due(book.now_us, n):
            r = book.records[key]
            book.unsure.set(key, book.now_us + hold_us)
            body = book.bodies.get(key)
            counts = (r.nos, r.fails, r.resent, r.tries, r.entered)
            out.append(Unsure(body, key, r.provider, r.attempt, r.leased, r.deadline, *counts))
        return out

    def sweep(
        self,
        settle_us: Mapping[str, int],
        *,
        most: int = 100,
        dead_routes: Collection[str] = (),
        early_us: int = HOUR_US,
    ) -> tuple[bool, Swept]:
        """One bounded pass; True: there is more to do at once."""
        return sweep.sweep(self._begin(), settle_us, set(dead_routes), most=most, early_us=early_us)

    def put(self, settings: Settings) -> int:
        """Puts a config in force; if it says something new, every limit that somebody waits at is looked at again.
        Returns the revision.
        """
        book = self._begin()
        changed, book.settings = settings != book.settings, settings
        book.limits.settings = settings
        book.revision += 1
        for line in book.lines.values():
            if changed and line.wake_us is not None:
                line.wake_us = min(line.wake_us, book.now_us)
        return book.revision

    def pause(self, mark: str, *, until_us: int = 0) -> bool:
        """Pauses `all`, `t:T`, `c:C`, `s:S`, `k:T|NAME` or `p:P`. Lanes follow when they are next looked at."""
        changed = self.book.pauses.get(mark) != until_us
        self.book.pauses[mark] = until_us
        return changed

    def resume(self, mark: str) -> bool:
        """Lifts a mark; the lanes that it held become ready in the sweeps that follow."""
        if self.book.pauses.pop(mark, None) is None:
            return False
        self.book.lift_mark(mark)
        return True

    def withdraw(self, mark: str) -> bool:
        """Cancels all of `t:T`, `c:C`, `tc:T|C` that was taken before; of `k:T|NAME` what comes later too."""
        return withdrawals.set_mark(self._begin(), mark)

    def lift(self, mark: str) -> bool:
        """Ends a withdrawal."""
        return withdrawals.lift(self._begin(), mark)

    def opt_out(self, mark: str, to: str, scope: Scope) -> bool:
        """Closes a scope to a recipient, for `t:TENANT` or `s:SENDER`; whether that changed anything."""
        return optouts.close(self.book, mark, to, scope)

    def opt_in(self, mark: str, to: str) -> str:
        """Opens what is closed: the scope that was, "" where none."""
        return self.book.opt_outs.pop((mark, to), "")

    # ---- looking -----------------------------------------------------------------------------------------------------

    def record(self, key: str) -> Record | None:
        """The record of `tenant/id`."""
        return self.book.records.get(key)

    def message(self, key: str) -> Message | None:
        """The message of `tenant/id`; None once its body was erased."""
        return self.book.bodies.get(key)

    @property
    def events(self) -> list[Event]:
        """All events since the beginning, oldest first."""
        return self.book.events

    def count(self, state: State | Literal["open"]) -> int:
        """How many messages are in a state, or have not ended."""
        states = [r.state for r in self.book.records.values() if r.state is not None]
        return sum(s not in FINAL if state == "open" else s is state for s in states)
