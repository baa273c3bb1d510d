"""How a provider fares, judged by one process from its own answers: how many messages it may be given now.

Never reads a clock (`now_us` is monotonic), never decides about a message. Concurrency grows by 1/L a success and falls
by a tenth when throttled or timed out (Postfix's and TCP's measure); a provider is dead after `DEAD_AFTER` cohorts of
failures (Postfix, SCHEDULER_README), is then probed by one message at a time, and comes back slowly. Its share of its
weight in a route follows how many of its answers are good.
"""

from enum import Enum
from typing import Final, assert_never

import msgspec

from smsd.core.retry import AFTER_MOST_S
from smsd.provider import Accepted, Answer, Deferred, Refused, Throttled, Unknown, Unusable

DEAD_AFTER: Final = 1.0  # cohorts of failures in a row; a cohort is what was in flight together
COHORT_MIN: Final = 3  # so that at a trickle it takes three failures in a row
LOWERED: Final = 0.9
SHARE_LEAST: Final = 0.05  # of its weight, so that it can show that it is well again
SHARE_GAIN: Final = 0.02  # of what it lacks, with each good answer: with 5 % failures it stays at three quarters
SHARE_LOSS: Final = 0.1  # of what it has, with each failure
PROBE_FIRST_US: Final = 1_000_000
PROBE_LAST_US: Final = 60_000_000
UNLISTED_RUN: Final = 5  # unlisted refusals in a row that mean that it is us, not the messages
UNUSABLE_US: Final = 60_000_000  # how long all processes leave an account alone that refused us


class Heard(Enum):
    """What one attempt told about the provider."""

    WELL = "well"
    NEUTRAL = "neutral"  # an answer, but about the message
    THROTTLED = "throttled"
    FAILED = "failed"
    UNUSABLE = "unusable"


_MUTE: Final = (Unknown, Throttled)  # answers that tell nothing about a run of unlisted refusals


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """One attempt in flight: when it began, and how many were in flight with it."""

    began_us: int
    cohort: int
    probe: bool


class Health:
    """One provider as this process sees it. `cap` is its max_in_flight, and follows the config."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.limit = float(cap)
        self.share = 1.0  # of its weight, where others could serve instead
        self.in_flight = 0
        self.dead = False
        self.stopped = ""  # why this process offers it no more; a probe may lift it
        self._cohorts = 0.0
        self._lowered_us = -1
        self._ramp_to = 0.0
        self._paused_us = 0
        self._probe_us = 0
        self._probe_wait_us = PROBE_FIRST_US
        self._probes = 0
        self._unlisted = 0

    # ---- What it may be given ----------------------------------------------------------------------------------------

    def room(self, now_us: int) -> int:
        """How many more messages this process may give it now."""
        if now_us < self._paused_us:
            return 0
        if self.dead:
            return 1 if self._probes == 0 and now_us >= self._probe_us else 0
        return max(0, min(int(self.limit), self.cap) - self.in_flight)

    def wake_us(self, now_us: int) -> int | None:
        """When there may be room again without anything being heard; None: time alone brings none."""
        at = max(self._paused_us, self._probe_us if self.dead and self._probes == 0 else 0)
        return at if at > now_us else None

    # ---- What happens ------------------------------------------------------------------------------------------------

    def begin(self, now_us: int) -> Ticket:
        """A message was taken to be sent."""
        self.in_flight += 1
        if self.dead:
            self._probes += 1
        return Ticket(now_us, self.in_flight, self.dead)

    def hear(self, ticket: Ticket, answer: Answer, now_us: int) -> Answer:
        """Takes an answer to heart; returns it, or Unusable in its place where a run of them shows that it is us."""
        answer = self._seen(answer)
        after_s = answer.after_s if isinstance(answer, Throttled) else None
        self._feel(ticket, heard(answer), now_us, after_s)
        if isinstance(answer, Unusable):
            self.stopped = answer.reason
        return answer

    def unreachable(self, ticket: Ticket, now_us: int) -> None:
        """No connection could be made: the clearest failure, and nothing of the message left."""
        self._feel(ticket, Heard.FAILED, now_us)

    def release(self, ticket: Ticket) -> None:
        """The attempt is over and written down, whatever was heard: its place is free."""
        self.in_flight -= 1
        if ticket.probe:
            self._probes -= 1

    def postpone(self, now_us: int) -> None:
        """The message at hand is too pressed for time to probe with: another one, a little later."""
        self._probe_us = max(self._probe_us, now_us + PROBE_FIRST_US)

    def resize(self, cap: int) -> None:
        """The config's max_in_flight; what was learnt below it stays."""
        if cap > self.cap and not self.dead:
            self._ramp_to = float(cap)
        self.cap = cap
        self.limit = min(self.limit, float(cap))

    def lift(self) -> None:
        """The config has changed, perhaps its credentials: a provider that was stopped is tried again at once."""
        if self.stopped:
            self._probe_us, self._probe_wait_us = 0, PROBE_FIRST_US

    # ---- Inside ------------------------------------------------------------------------------------------------------

    def _seen(self, answer: Answer) -> Answer:
        if not isinstance(answer, Refused) or answer.reason != "unlisted":
            if not isinstance(answer, _MUTE):
                self._unlisted = 0
            return answer
        self._unlisted += 1
        if self._unlisted <= UNLISTED_RUN:
            return answer
        detail = f"{self._unlisted} refusals in a row that no table lists, the last: {answer.code} {answer.detail}"
        return Unusable(detail.rstrip(), "process", answer.code)

    def _feel(self, ticket: Ticket, what: Heard, now_us: int, after_s: float | None = None) -> None:
        match what:
            case Heard.WELL:
                self._well()
            case Heard.NEUTRAL:
                self._cohorts = 0.0
                if self.dead and not self.stopped:
                    self._revive()
            case Heard.THROTTLED:
                self._cohorts = 0.0
                self._lower(ticket, now_us)
                self._lose()
                if self.dead and not self.stopped:
                    self._revive()
                if after_s is not None:
                    pause_us = int(min(max(0.0, after_s), AFTER_MOST_S) * 1_000_000)
                    self._paused_us = max(self._paused_us, now_us + pause_us)
            case Heard.FAILED:
                self._lower(ticket, now_us)
                self._lose()
                self._cohorts += 1 / max(COHORT_MIN, ticket.cohort, self.in_flight)
                if self.dead or self._cohorts >= DEAD_AFTER - 1e-9:
                    self._die(now_us, doubled=ticket.probe)
            case Heard.UNUSABLE:
                self._die(now_us, doubled=ticket.probe)
            case _ as never:
                assert_never(never)

    def _lose(self) -> None:
        self.share = max(SHARE_LEAST, self.share * (1 - SHARE_LOSS))

    def _well(self) -> None:
        self._cohorts = 0.0
        self.share += (1 - self.share) * SHARE_GAIN
        if self.dead:
            self._revive()
        elif self.in_flight * 2 >= self.limit:  # only what is used grows
            self.limit += 1.0 if self.limit < self._ramp_to else 1.0 / self.limit
        self.limit = min(self.limit, float(self.cap))

    def _lower(self, ticket: Ticket, now_us: int) -> None:
        if ticket.began_us <= self._lowered_us:
            return  # of the cohort for which it was lowered already
        self._lowered_us = now_us
        self._ramp_to = 0.0
        self.limit = max(1.0, min(self.limit, float(self.cap)) * LOWERED)

    def _die(self, now_us: int, *, doubled: bool) -> None:
        if not self.dead:
            self.dead = True
            self._ramp_to = max(self._ramp_to, self.limit / 2)
            self._probe_wait_us = PROBE_FIRST_US
            self._probe_us = now_us + self._probe_wait_us
        elif doubled:
            self._probe_wait_us = min(PROBE_LAST_US, self._probe_wait_us * 2)
            self._probe_us = now_us + self._probe_wait_us

    def _revive(self) -> None:
        """Back from the dead with one message at a time; doubled by each cohort up to half of what it once took."""
        self.dead, self.stopped, self._cohorts = False, "", 0.0
        self.limit, self.share = 1.0, SHARE_LEAST
        self._probe_wait_us = PROBE_FIRST_US


_HEARD: Final[dict[type[Answer], Heard]] = {
    Accepted: Heard.WELL,
    Refused: Heard.NEUTRAL,
    Deferred: Heard.NEUTRAL,
    Throttled: Heard.THROTTLED,
    Unknown: Heard.FAILED,
    Unusable: Heard.UNUSABLE,
}


def heard(answer: Answer) -> Heard:
    """What an answer tells about its provider."""
    return _HEARD[type(answer)]
