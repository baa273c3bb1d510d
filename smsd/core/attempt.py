"""What an attempt's answer means for its message: one outcome for the store.

Never does IO and never judges a provider: core/health.py does, from the same answers.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import assert_never

import msgspec

from smsd.core import outcome
from smsd.core.retry import Rng, bounded_us, full_jitter_us, throttled_us
from smsd.message import Leased
from smsd.provider import (
    REFUSALS,
    Accepted,
    Answer,
    Capabilities,
    Deferred,
    Refused,
    Throttled,
    Unknown,
    Unusable,
)

DETAIL_MAX = 200
AT_ONCE = 0  # no instant, so that no clock can be in its way


class Policy(msgspec.Struct, frozen=True):
    """What a class says about attempts (contract.md §5, [classes])."""

    max_attempts: int
    first_us: int  # backoff: the first delay
    largest_us: int
    resend: bool  # on_unknown: one more try, flagged; False: hold


class Circumstances(msgspec.Struct, frozen=True):
    """What the decision needs to know beside the message and the answer."""

    policy: Policy
    capabilities: Capabilities
    others: Sequence[str]  # the route's providers but this one
    now_us: int
    lease_end_us: int
    settle_us: int  # how long after a lease's end a look-up can be believed


def decide(leased: Leased, answer: Answer, around: Circumstances, rng: Rng) -> outcome.Outcome:
    """The outcome to settle with. A late or repeated settle is the store's business: the fence names the lease."""
    match answer:
        case Accepted():
            return accepted(leased, answer)
        case Throttled():
            return _throttled(leased, answer, around, rng)
        case Deferred():
            return _deferred(leased, answer, around, rng)
        case Refused():
            return _refused(leased, answer, around)
        case Unusable():
            extra = told(leased, answer.code, answer.reason)
            return outcome.Retry(*_head(leased, "retry"), AT_ONCE, 0, "provider_down", extra)
        case Unknown():
            return _unknown(leased, answer, around)
        case _ as never:
            assert_never(never)


def accepted(leased: Leased, answer: Accepted) -> outcome.Accepted:
    """The provider took it."""
    return outcome.Accepted(*_head(leased, "accepted"), answer.provider_id, answer.segment_ids)


def back(leased: Leased) -> outcome.Back:
    """Not a byte left: as if it had never been leased."""
    return outcome.Back(*_head(leased, "back"))


def moved(leased: Leased, route: str, detail: str) -> outcome.Moved:
    """Not a byte left, and none will: another route is to serve it."""
    extra = ("provider", leased.provider, "detail", clean(detail))
    return outcome.Moved(*_head(leased, "moved"), route, extra)


def lapsed(leased: Leased, policy: Policy) -> outcome.Resend | outcome.Fail:
    """Not a byte left, for the provider may have forgotten the key that makes this the attempt before told again. As
    that one may have been taken, the class's policy decides: it goes nevertheless, flagged, or the store holds it for a
    receipt, or until its end as unconfirmed.
    """
    over = "waited until its idempotency key was over"
    if policy.resend:
        extra = told(leased, "", f"{over}: sent again by the class's policy")
        return outcome.Resend(*_head(leased, "resend"), "", extra)
    return outcome.Fail(*_head(leased, "fail"), "no_receipt", told(leased, "", f"{over}: not sent again"))


def idempotency_key(key: str, entered_us: int) -> str:
    """One key for all attempts of a message, so that no retry of whatever kind makes a second text of it.

    The arrival is part of it: an id may be used again once its record is gone.
    """
    return blake2b(f"{key}@{entered_us}".encode(), digest_size=16).hexdigest()


def told(leased: Leased, code: str, detail: str) -> outcome.Extra:
    """Event fields about an attempt, those that say something."""
    pairs = {"provider": leased.provider, "attempt": str(leased.attempt), "error_code": clean(code),
             "detail": clean(detail)}  # fmt: skip
    return tuple(text for pair in pairs.items() if pair[1] for text in pair)


def clean(text: str) -> str:
    """A vendor's words on one line, short: the store keeps a message's history in lines and tabs."""
    return " ".join(text.split())[:DETAIL_MAX]


def _head(leased: Leased, kind: str) -> tuple[str, int, str, int, str]:
    return leased.message.key, leased.fence, kind, leased.attempt, leased.provider


def used_up(tries: int, policy: Policy) -> bool:
    """Whether the attempt that just ended was the last that the class allows."""
    return tries + 1 >= policy.max_attempts


def _throttled(leased: Leased, answer: Throttled, around: Circumstances, rng: Rng) -> outcome.Outcome:
    policy = around.policy
    first_us, largest_us, others = policy.first_us, policy.largest_us, bool(around.others)
    wait_us = throttled_us(answer.after_s, first_us, largest_us, leased.attempt - 1, rng, others=others)
    at_us = bounded_us(around.now_us + wait_us, leased.deadline_us)
    extra = told(leased, answer.code, answer.detail or "the provider throttled")
    return outcome.Retry(*_head(leased, "retry"), at_us, 0, "throttled_out", extra)


def _deferred(leased: Leased, answer: Deferred, around: Circumstances, rng: Rng) -> outcome.Outcome:
    policy = around.policy
    if used_up(leased.tries, policy):
        extra = told(leased, answer.code, f"retries used up: {answer.detail}" if answer.detail else "retries used up")
        return outcome.Fail(*_head(leased, "fail"), "refused", extra)
    wait_us = full_jitter_us(policy.first_us, policy.largest_us, leased.tries, rng)
    at_us = bounded_us(around.now_us + wait_us, leased.deadline_us)
    return outcome.Retry(*_head(leased, "retry"), at_us, 1, "", told(leased, answer.code, answer.detail))


def _refused(leased: Leased, answer: Refused, around: Circumstances) -> outcome.Outcome:
    extra = told(leased, answer.code, answer.detail)
    if answer.elsewhere and around.others and not used_up(leased.tries, around.policy):
        return outcome.Elsewhere(*_head(leased, "elsewhere"), ",".join(around.others), extra)
    reason = answer.reason if answer.reason in REFUSALS else "refused"
    return outcome.Fail(*_head(leased, "fail"), reason, extra)


def _unknown(leased: Leased, answer: Unknown, around: Circumstances) -> outcome.Outcome:
    can_ask = around.capabilities.look_up != "none" or around.capabilities.idempotency_s > 0
    look_at_us = around.lease_end_us + around.settle_us if can_ask else around.now_us
    extra = told(leased, answer.code, answer.detail or "the answer does not say whether it was taken")
    return outcome.Unknown(*_head(leased, "unknown"), look_at_us, extra)
