"""core/resolve.py: the order key, look-up, policy, and what each result of a look-up leads to."""

from typing import Any

import msgspec
import pytest

from smsd.core import outcome, resolve
from smsd.core.attempt import Policy
from smsd.provider import (
    Capabilities,
    Found,
    HttpRequest,
    Inconclusive,
    LookUpResult,
    More,
    NotFound,
    Receipt,
    ReceiptStatus,
)

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
NONE, LISTING = Capabilities(), Capabilities(look_up="listing")
BY_REFERENCE, KEYED = Capabilities(look_up="reference"), Capabilities(look_up="listing", idempotency_s=3600)
RESEND = Policy(3, 2 * SECOND, 600 * SECOND, resend=True)
HOLD = Policy(3, 2 * SECOND, 600 * SECOND, resend=False)
HEAD = ("acme/m1", 0)


class Case(msgspec.Struct, frozen=True):
    """What the store's claim gives, as far as the core looks at it."""

    key: str = "acme/m1"
    provider: str = "main"
    attempt: int = 1
    leased_us: int = NOW - 20 * SECOND
    deadline_us: int = NOW + 3600 * SECOND
    noes: int = 0
    failures: int = 0
    resent: bool = False
    tries: int = 0
    entered_us: int = NOW - 30 * SECOND


def planned(case: Case, capabilities: Capabilities | None, policy: Policy = RESEND, **more: Any) -> Any:
    return resolve.plan(case, capabilities, policy, now_us=NOW, **more)


def decided(
    looked: LookUpResult, case: Case | None = None, *, capabilities: Capabilities = LISTING, policy: Policy = RESEND,
    foreign: frozenset[str] = frozenset(),
) -> Any:  # fmt: skip
    return resolve.decide(case or Case(), looked, foreign, capabilities, policy, now_us=NOW)


# ---- Before anything is asked ----------------------------------------------------------------------------------------


def test_a_key_goes_before_a_look_up() -> None:
    """Where the provider honours keys, the message goes to the same provider again, and nobody looks."""
    result = planned(Case(), KEYED)
    assert (result.kind, result.providers) == ("resend", "main")
    assert result.key_until_us == Case().leased_us + 3540 * SECOND


@pytest.mark.parametrize(
    "case",
    [
        Case(leased_us=NOW - 3600 * SECOND),  # past the window
        Case(leased_us=NOW - 3550 * SECOND),  # so near its end that the resend may be past it
        Case(resent=True, entered_us=NOW - 4000 * SECOND),  # the first attempt under the key may be as old as that
        Case(deadline_us=NOW),
        Case(tries=2),
    ],
)
def test_a_key_that_cannot_be_trusted_is_not_used(case: Case) -> None:
    """Past its window, its message's deadline or its attempts, the next rule applies."""
    assert planned(case, KEYED) == "look"


def test_a_key_is_used_again_within_its_window() -> None:
    """A resend that stayed unknown goes once more under the key while the window surely lasts."""
    assert planned(Case(resent=True), KEYED).kind == "resend"


@pytest.mark.parametrize("capabilities", [LISTING, BY_REFERENCE])
@pytest.mark.parametrize("policy", [RESEND, HOLD])
def test_what_can_be_looked_up_is_looked_up(capabilities: Capabilities, policy: Policy) -> None:
    """A look-up goes before either policy."""
    assert planned(Case(), capabilities, policy) == "look"


@pytest.mark.parametrize("capabilities", [NONE, None])
def test_without_anything_to_ask_the_policy_decides(capabilities: Capabilities | None) -> None:
    """A provider without look-up, or one that is configured no more, leaves the message to its class."""
    assert planned(Case(), capabilities, HOLD) == outcome.Hold(*HEAD, "hold", 1, "main")
    result = planned(Case(), capabilities, RESEND)
    assert (result.kind, result.providers) == ("resend", "")


@pytest.mark.parametrize("case", [Case(resent=True), Case(deadline_us=NOW), Case(tries=2)])
def test_the_policy_resends_once_in_time_and_within_the_attempts(case: Case) -> None:
    """What was resent already, is too late or has no attempt left is held."""
    assert planned(case, NONE, RESEND).kind == "hold"


def test_without_its_text_a_message_is_held() -> None:
    """What can be neither compared nor sent again waits for its receipt."""
    assert planned(Case(), KEYED, RESEND, has_message=False).kind == "hold"


def test_after_five_failures_nobody_looks_again() -> None:
    """A claim that comes with five failed look-ups is left to the policy."""
    assert planned(Case(failures=5), LISTING, HOLD).kind == "hold"


# ---- What a look-up found --------------------------------------------------------------------------------------------


def receipt(provider_id: str, status: ReceiptStatus = ReceiptStatus.SENT, **more: str) -> Receipt:
    return Receipt(status, provider_id, **more)  # pyright: ignore[reportArgumentType]


def test_a_candidate_is_the_message_and_brings_its_status() -> None:
    """The first candidate is taken, with what the listing says of it."""
    failed = receipt("SM1", ReceiptStatus.UNDELIVERED, reason="blocked", error_code="30004", raw_status="failed")
    assert decided(Found((failed, receipt("SM2")))) == outcome.Found(
        *HEAD, "found", 1, "main", "SM1", (("undelivered", "blocked", "30004", "failed"),)
    )


def test_an_id_of_another_message_does_not_count() -> None:
    """Of two candidates the one that belongs to nobody else is taken."""
    assert decided(Found((receipt("SM1"), receipt("SM2"))), foreign=frozenset({"SM1"})).provider_id == "SM2"


@pytest.mark.parametrize("looked", [NotFound(), Found((receipt("SM1"),)), Found(())])
def test_one_no_is_not_believed(looked: LookUpResult) -> None:
    """The first complete answer without the message is followed by a second look, ten seconds later."""
    result = decided(looked, foreign=frozenset({"SM1"}))
    assert (result.kind, result.at_us, result.noes, result.failures) == ("look", NOW + 10 * SECOND, 1, 0)


@pytest.mark.parametrize(("capabilities", "doubt"), [(LISTING, 1), (BY_REFERENCE, 0)])
@pytest.mark.parametrize("policy", [RESEND, HOLD])
def test_two_noes_clear_it_under_either_policy(capabilities: Capabilities, doubt: int, policy: Policy) -> None:
    """What two complete looks do not find was not taken; flagged unless the look-up is by our reference."""
    result = decided(NotFound(), Case(noes=1), capabilities=capabilities, policy=policy)
    assert (result.kind, result.doubt) == ("clear", doubt)


def test_two_noes_after_the_last_attempt_fail() -> None:
    """What was not taken and has no attempt left ends as failed."""
    result = decided(NotFound(), Case(noes=1, tries=2))
    assert (result.kind, result.reason) == ("fail", "refused")


@pytest.mark.parametrize("looked", [Inconclusive("503"), More(HttpRequest("GET", "http://x"))])
def test_a_failed_look_up_is_repeated_after_a_growing_pause(looked: LookUpResult) -> None:
    """Failures count by themselves, keep the noes, and wait twice as long each time."""
    results = [decided(looked, Case(noes=1, failures=n)) for n in range(4)]
    assert [(r.kind, r.noes, r.failures) for r in results] == [("look", 1, n) for n in (1, 2, 3, 4)]
    assert [(r.at_us - NOW) // SECOND for r in results] == [10, 20, 40, 80]


@pytest.mark.parametrize(("policy", "kind"), [(RESEND, "resend"), (HOLD, "hold")])
def test_the_fifth_failure_leaves_it_to_the_policy(policy: Policy, kind: str) -> None:
    """Five look-ups that failed are as good as none."""
    assert decided(Inconclusive(), Case(failures=4), policy=policy).kind == kind


def test_a_look_that_this_process_cannot_make_counts_for_nothing() -> None:
    """Another process may look ten seconds later, with the same counts."""
    assert resolve.later(Case(noes=1, failures=2), now_us=NOW) == outcome.Look(
        *HEAD, "look", 1, "main", NOW + 10 * SECOND, 1, 2
    )
