"""One attempt on its way: from the lease to the outcome that is to be written.

Never waits for another attempt, never decides what an answer means (core/attempt.py), and writes nothing to the store.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from smsd.config import SANDBOX
from smsd.core import outcome
from smsd.core.attempt import Circumstances, accepted, back, decide, idempotency_key, lapsed, moved
from smsd.core.health import Ticket
from smsd.message import Leased
from smsd.provider import Accepted, Answer, Attempt, Deferred, Refused, Throttled, Unknown, Unusable
from smsd.shell.sender_providers import Seat
from smsd.shell.sender_settle import Done, Settler
from smsd.shell.transport import Answered, Lost, NotStarted

if TYPE_CHECKING:
    from smsd.shell.sender import Sender

GIVE_BACKS = 3  # of a message that would leave late; then it does, for else a slow machine would send nothing
HURRIED_MAX = 10_000
LEASE_LEAST = 4  # of one lease, whatever it takes to start them

HEARD: dict[type[Answer], str] = {
    Accepted: "accepted",
    Throttled: "throttled",
    Deferred: "deferred",
    Refused: "refused",
    Unusable: "unusable",
    Unknown: "unknown",
}
"""Outcomes of `smsd_attempts_total`; beside these `not_started`, and `sandboxed`: kept from its provider."""

SANDBOXED = "the sandbox is on: kept from this provider, the built-in carrier gets it"


class Round:
    """What the attempts of one lease have in common."""

    __slots__ = (
        "answered",
        "asked",
        "asked_us",
        "charged",
        "end_us",
        "sender",
        "settler",
        "slack_s",
        "start_by_s",
        "taken_us",
    )

    def __init__(self, sender: "Sender", settler: Settler, asked: float, asked_us: int, end_us: int, charged: float,
                 answered: float, taken_us: int) -> None:  # fmt: skip
        self.sender, self.settler = sender, settler
        self.asked, self.asked_us, self.end_us = asked, asked_us, end_us
        self.charged, self.answered, self.taken_us = charged, answered, taken_us
        dispatch = sender.live.config.dispatch
        self.start_by_s, self.slack_s = dispatch.start_by_s, dispatch.slack_ms / 1000


class Flight:
    """One attempt on its way."""

    __slots__ = ("_leased", "_place", "_round", "_seat", "_ticket", "task")
    task: asyncio.Task[None]

    def __init__(self, round_: Round, seat: Seat, ticket: Ticket, leased: Leased, place: int) -> None:
        self._round, self._seat, self._ticket, self._leased, self._place = round_, seat, ticket, leased, place

    async def fly(self) -> None:
        """Sends the message and hands on what came of it."""
        sender = self._round.sender
        try:
            await self._fly()
        except Exception as error:
            sender.log.error("attempt_failed", message=self._leased.message.key, exc_info=error)
            sender.lost(self._seat, self._ticket)
        finally:
            sender.attempts.discard(self.task)

    async def _fly(self) -> None:
        round_, seat, leased = self._round, self._seat, self._leased
        sender, message = round_.sender, leased.message
        left_us = leased.deadline_us - round_.asked_us
        if self._ticket.probe and sender.providers.too_pressed(seat, message.route, left_us, _now_us()):
            self._settle(back(leased), "not_started")
            return
        if 0 < leased.key_until_us <= round_.asked_us:
            self._settle(lapsed(leased, sender.providers.policy(message.class_)), "not_started")
            return
        try:
            request = seat.provider.submit(self._attempt(left_us))
        except Exception as error:  # noqa: BLE001 - a provider's fault must not take the process with it
            detail = f"the provider could not write the request: {type(error).__name__}: {error}"
            self._answered(Deferred("", detail), 0.0)
            return
        ahead_s = self._ahead_s
        if ahead_s:  # the limit admits it then: counted from the answer, which came after the store's now
            while (left_s := round_.answered + ahead_s - time.monotonic()) > 0:  # noqa: ASYNC110 - a timer may be early
                await asyncio.sleep(max(left_s, 0.001))
        start_by = connect_by = round_.asked + min(round_.start_by_s, left_us / 1_000_000)
        hurried = leased.punctual and sender.hurried[message.key] < GIVE_BACKS
        if hurried:  # rather given back, and leased again, than late
            start_by = min(start_by, round_.charged + ahead_s + round_.slack_s)
        sent = await sender.transport.submit(
            seat.name, message.to, request, timeout_s=seat.settings.timeout_s, start_by=start_by, connect_by=connect_by
        )
        match sent:
            case Answered():
                self._answered(_read(seat, sent), sent.started_monotonic)
            case Lost():
                self._answered(Unknown("", sent.detail), sent.started_monotonic)
            case NotStarted():
                self._not_started(sent, hurried=hurried)

    def _not_started(self, sent: NotStarted, *, hurried: bool) -> None:
        """Not a byte of it left: it goes back."""
        leased, seat, sender = self._leased, self._seat, self._round.sender
        if sent.barred:
            self._settle(moved(leased, SANDBOX, SANDBOXED), "sandboxed")
        elif sent.refused:
            self._answered(Unusable(sent.detail), 0.0)
        else:
            if sent.unreachable:
                sender.providers.unreachable(seat, self._ticket, sent.detail, _now_us())
            elif hurried:
                sender.hurried[leased.message.key] += 1
                if len(sender.hurried) > HURRIED_MAX:  # others may have sent what is in there
                    sender.hurried.clear()
            self._settle(back(leased), "not_started")

    @property
    def _ahead_s(self) -> float:
        """How much later than the lease it is charged for."""
        return max(0, self._leased.start_us - self._round.taken_us) / 1_000_000

    def _attempt(self, left_us: int) -> Attempt:
        round_, leased, provider = self._round, self._leased, self._seat.provider
        message, reference = leased.message, leased.reference
        key = idempotency_key(message.key, leased.entered_us) if provider.capabilities.idempotency_s else ""
        url = round_.sender.live.callback_url(self._seat.name, reference)
        return Attempt(message, reference, url, key, round_.asked_us, max(1, left_us // 1_000_000))

    def _answered(self, answer: Answer, started: float) -> None:
        round_, leased, seat = self._round, self._leased, self._seat
        sender, now = round_.sender, time.monotonic()
        answer = sender.providers.heard(seat, self._ticket, answer, int(now * 1e6))
        if isinstance(answer, Accepted):  # the usual answer: it means the same whatever is around
            decided = accepted(leased, answer)
        else:
            decided = decide(leased, answer, self._around(now), sender.rng.random)
        if not started:
            self._settle(decided, HEARD[type(answer)])
            return
        ahead_s = self._ahead_s
        if self._place >= LEASE_LEAST and not ahead_s:
            sender.started(self._place, started - round_.answered)
        if started - round_.charged - ahead_s > round_.slack_s:
            sender.metrics.late_start(seat.name)
        sender.hurried.pop(leased.message.key, None)
        queue_us = round_.asked_us + int((started - round_.asked) * 1e6) - leased.since_us
        self._settle(decided, HEARD[type(answer)], max(1, queue_us), int((now - started) * 1e6))

    def _around(self, now: float) -> Circumstances:
        round_, leased, seat = self._round, self._leased, self._seat
        providers = round_.sender.providers
        return Circumstances(
            providers.policy(leased.message.class_),
            seat.provider.capabilities,
            providers.others(leased.message.route, seat.name, leased.bound),
            round_.asked_us + int((now - round_.asked) * 1e6),
            round_.end_us,
            int(seat.settings.settle_s * 1e6),
        )

    def _settle(self, decided: outcome.Outcome, heard: str, queue_us: int = 0, submit_us: int = 0) -> None:
        leased, refused_us = self._leased, self._leased.first_refused_us
        limit_us = max(0, self._round.asked_us - refused_us) if refused_us else 0
        done = Done(leased, decided, heard, self._seat.health, self._ticket, queue_us, limit_us, submit_us)
        self._round.settler.put(done)


def _read(seat: Seat, sent: Answered) -> Answer:
    """What the provider's class makes of an answer; the message may have been taken, whatever its fault is."""
    try:
        answer = seat.provider.answer(sent.response)
    except Exception as error:  # noqa: BLE001 - see above
        return Unknown("", f"the provider could not read the answer: {type(error).__name__}: {error}")
    return answer if type(answer) in HEARD else Unknown("", f"the provider read the answer as {type(answer).__name__}")


def _now_us() -> int:
    return time.monotonic_ns() // 1000
