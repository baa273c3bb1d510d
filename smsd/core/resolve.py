"""What to do with a message of unknown outcome: ask again under its key, look, look again, or the class's policy.

Never does IO. The order is always the same: idempotency key, look-up, policy.
"""

from collections.abc import Set as AbstractSet
from typing import Final, Literal, Protocol, assert_never

from smsd.core import outcome
from smsd.core.attempt import Policy, clean
from smsd.provider import Capabilities, Found, Inconclusive, LookUpResult, More, NotFound, Receipt

SECOND_LOOK_US: Final = 10_000_000  # contract.md §5, settle_s: the second look follows 10 s later
NOES: Final = 2  # complete answers without the message that mean that it was not taken
FAILURES: Final = 5  # look-ups that fail before the policy decides
KEY_MARGIN_US: Final = 60_000_000  # an idempotency key this near the end of its window is not trusted any more


class Unsure(Protocol):
    """A message of unknown outcome, as the store's claim gives it."""

    @property
    def key(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def leased_us(self) -> int: ...
    @property
    def deadline_us(self) -> int: ...
    @property
    def noes(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def resent(self) -> bool: ...
    @property
    def tries(self) -> int: ...
    @property
    def entered_us(self) -> int: ...


def plan(
    unsure: Unsure, capabilities: Capabilities | None, policy: Policy, *, now_us: int, has_message: bool = True
) -> outcome.Outcome | Literal["look"]:
    """What to do before anything is asked. `capabilities` None: the provider is not configured any more."""
    if not has_message:
        return outcome.Hold(*_head(unsure, "hold"))  # nothing that could be compared, or sent again
    if capabilities is None:
        return by_policy(unsure, policy, now_us=now_us)
    key_until_us = _key_until_us(unsure, capabilities)
    if now_us < key_until_us and _may_go_again(unsure, policy, now_us):
        extra = _told(unsure, "asked again under the same idempotency key")
        return outcome.Resend(*_head(unsure, "resend"), unsure.provider, extra, key_until_us)
    if capabilities.look_up != "none" and unsure.failures < FAILURES:
        return "look"
    return by_policy(unsure, policy, now_us=now_us)


def decide(
    unsure: Unsure, looked: LookUpResult, foreign: AbstractSet[str], capabilities: Capabilities, policy: Policy,
    *, now_us: int,
) -> outcome.Outcome:  # fmt: skip
    """What a look-up's result means. `foreign`: the candidates' ids that belong to other messages."""
    match looked:
        case Found():
            ours = next((c for c in looked.candidates if c.provider_id and c.provider_id not in foreign), None)
            if ours is not None:
                return outcome.Found(*_head(unsure, "found"), ours.provider_id, (_receipt(ours),))
            return _not_found(unsure, capabilities, policy, now_us)
        case NotFound():
            return _not_found(unsure, capabilities, policy, now_us)
        case Inconclusive():
            return _failed(unsure, policy, now_us)
        case More():  # a listing with no end that we would wait for
            return _failed(unsure, policy, now_us)
        case _ as never:
            assert_never(never)


def by_policy(unsure: Unsure, policy: Policy, *, now_us: int) -> outcome.Outcome:
    """Where nothing can be asked: resend once, flagged, at whichever provider; else hold until a receipt or the end."""
    if policy.resend and not unsure.resent and _may_go_again(unsure, policy, now_us):
        return outcome.Resend(*_head(unsure, "resend"), "", _told(unsure, "sent again by the class's policy"))
    return outcome.Hold(*_head(unsure, "hold"))


def later(unsure: Unsure, *, now_us: int) -> outcome.Look:
    """Nothing was asked, for a reason of this process's own: another one may look, and no count goes up."""
    return outcome.Look(*_head(unsure, "look"), now_us + SECOND_LOOK_US, unsure.noes, unsure.failures)


def _head(unsure: Unsure, kind: str) -> tuple[str, int, str, int, str]:
    return unsure.key, 0, kind, unsure.attempt, unsure.provider  # no fence: the lease is gone, the attempt counts


def _told(unsure: Unsure, detail: str) -> outcome.Extra:
    return "provider", unsure.provider, "attempt", str(unsure.attempt), "detail", clean(detail)


def _receipt(candidate: Receipt) -> tuple[str, str, str, str]:
    return candidate.status.value, candidate.reason, candidate.error_code, clean(candidate.raw_status)


def _may_go_again(unsure: Unsure, policy: Policy, now_us: int) -> bool:
    return now_us < unsure.deadline_us and unsure.tries + 1 < policy.max_attempts


def _key_until_us(unsure: Unsure, capabilities: Capabilities) -> int:
    """Until when the provider surely knows the key of the first attempt under it.

    Of a message sent again already, only its admission is surely not later than that attempt.
    """
    since_us = unsure.entered_us if unsure.resent else unsure.leased_us
    return since_us + capabilities.idempotency_s * 1_000_000 - KEY_MARGIN_US


def _not_found(unsure: Unsure, capabilities: Capabilities, policy: Policy, now_us: int) -> outcome.Outcome:
    if unsure.noes + 1 < NOES:
        return outcome.Look(*_head(unsure, "look"), now_us + SECOND_LOOK_US, unsure.noes + 1, unsure.failures)
    extra = _told(unsure, "two complete look-ups did not find it: it was not taken")
    if unsure.tries + 1 >= policy.max_attempts:
        return outcome.Fail(*_head(unsure, "fail"), "refused", extra)
    doubt = 0 if capabilities.look_up == "reference" else 1
    return outcome.Clear(*_head(unsure, "clear"), doubt, extra)


def _failed(unsure: Unsure, policy: Policy, now_us: int) -> outcome.Outcome:
    """Looked at again after a pause that doubles; after five failures the policy decides."""
    failures = unsure.failures + 1
    if failures >= FAILURES:
        return by_policy(unsure, policy, now_us=now_us)
    at_us = now_us + (SECOND_LOOK_US << unsure.failures)
    return outcome.Look(*_head(unsure, "look"), at_us, unsure.noes, failures)
