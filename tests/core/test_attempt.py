"""core/attempt.py: each answer, under each circumstance that changes what it means."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core import outcome
from smsd.core.attempt import Circumstances, Policy, back, clean, decide, idempotency_key, lapsed, moved
from smsd.message import Leased, Message
from smsd.provider import (
    Accepted,
    Answer,
    Capabilities,
    Deferred,
    Refused,
    Throttled,
    Unknown,
    Unusable,
)

NOW = 1_800_000_000_000_000
DEADLINE = NOW + 3_600_000_000
POLICY = Policy(max_attempts=3, first_us=2_000_000, largest_us=600_000_000, resend=True)
NONE, LISTING, KEYED = Capabilities(), Capabilities(look_up="listing"), Capabilities(idempotency_s=86_400)
MESSAGE = Message("acme", "m1", "+353861234567", "Salon", "Hello", "reminder", "default", "GSM-7", 1, "IE")
HEAD = ("acme/m1", 7)


def leased(**changes: Any) -> Leased:
    values: dict[str, Any] = {"provider": "main", "attempt": 1, "fence": 7, "entered_us": NOW, "deadline_us": DEADLINE}
    return Leased(message=MESSAGE, **(values | changes))


def around(capabilities: Capabilities = LISTING, others: tuple[str, ...] = ("spare",)) -> Circumstances:
    return Circumstances(POLICY, capabilities, others, NOW, NOW + 13_000_000, 5_000_000)


def decided(answer: Answer, message: Leased | None = None, circumstances: Circumstances | None = None) -> Any:
    return decide(message or leased(), answer, circumstances or around(), lambda: 0.5)


def fields(extra: outcome.Extra) -> dict[str, str]:
    return dict(zip(extra[::2], extra[1::2], strict=True))


def test_what_was_accepted_is_settled_with_the_providers_id() -> None:
    """An Accepted carries its id, under the lease that was held."""
    assert decided(Accepted("SM1")) == outcome.Accepted(*HEAD, "accepted", 1, "main", "SM1")


def test_what_is_moved_says_whither_and_why() -> None:
    """Not a byte left: the outcome names the route that serves it from now on, and its event the provider."""
    result = moved(leased(), "other", "kept\nfrom it")
    assert (result.kind, result.route) == ("moved", "other")
    assert fields(result.extra) == {"provider": "main", "detail": "kept from it"}


@pytest.mark.parametrize(
    ("resend", "kind", "told"), [(True, "resend", "sent again"), (False, "fail", "not sent again")]
)
def test_a_lapsed_key_is_the_policys_business(*, resend: bool, kind: str, told: str) -> None:
    """It goes again at any provider, or is held; either way its event says why."""
    result = lapsed(leased(), msgspec.structs.replace(POLICY, resend=resend))
    assert (result.kind, getattr(result, "providers", "")) == (kind, "")
    assert told in fields(result.extra)["detail"]


def test_a_throttle_is_no_attempt_and_obeys_the_provider() -> None:
    """A 429 counts no attempt, waits as long as it says, and is what the message waits for."""
    result = decided(Throttled(after_s=30, code="429"), circumstances=around(others=()))
    assert (result.kind, result.at_us, result.counted, result.waited) == ("retry", NOW + 30_000_000, 0, "throttled_out")
    assert fields(result.extra)["error_code"] == "429"


def test_a_throttle_keeps_no_message_from_the_other_providers() -> None:
    """However long one wants to be left alone, its message is ready for the others after the usual backoff."""
    assert decided(Throttled(after_s=3600)).at_us == NOW + 1_500_000


def test_a_throttle_without_a_time_backs_off_by_attempts() -> None:
    """Without a Retry-After the wait grows with each attempt, though none is counted."""
    waits = [decided(Throttled(), leased(attempt=n)).at_us - NOW for n in (1, 2, 3)]
    assert waits == [1_500_000, 3_000_000, 6_000_000]


def test_a_throttle_never_uses_the_retries_up() -> None:
    """However often it was tried, a throttled message goes back."""
    assert decided(Throttled(), leased(tries=99)).kind == "retry"


def test_a_deferred_message_is_tried_again_as_a_counted_attempt() -> None:
    """A passing refusal counts, waits by full jitter and is bound to no provider."""
    result = decided(Deferred("30001", "queue overflow"), leased(tries=1))
    assert (result.kind, result.at_us, result.counted, result.waited) == ("retry", NOW + 2_000_000, 1, "")


def test_the_last_deferred_attempt_fails() -> None:
    """With the retries used up a deferred message fails as refused, and says why."""
    result = decided(Deferred("30001", "queue overflow"), leased(tries=2))
    assert (result.kind, result.reason) == ("fail", "refused")
    assert fields(result.extra)["detail"] == "retries used up: queue overflow"


@pytest.mark.parametrize("answer", [Throttled(after_s=1e9), Deferred()])
def test_no_retry_is_put_after_the_deadline(answer: Answer) -> None:
    """A wait that is longer than the message lives ends at its deadline."""
    assert decided(answer, leased(deadline_us=NOW + 1000)).at_us == NOW + 1000


def test_a_refusal_fails_for_its_reason() -> None:
    """What will never be taken ends at once, with the provider's reason, code and words."""
    result = decided(Refused("bad_number", "21211", "not a number"))
    assert result == outcome.Fail(
        *HEAD, "fail", 1, "main", "bad_number",
        ("provider", "main", "attempt", "1", "error_code", "21211", "detail", "not a number"),
    )  # fmt: skip


def test_a_reason_that_nobody_published_becomes_refused() -> None:
    """A provider cannot bring reasons into the events that the contract does not list."""
    assert decided(Refused("because")).reason == "refused"


def test_what_another_provider_may_take_goes_to_the_others_only() -> None:
    """A refusal with `elsewhere` is tried at the route's other providers, and no more here."""
    result = decided(Refused("sender", elsewhere=True), circumstances=around(others=("spare", "third")))
    assert (result.kind, result.providers) == ("elsewhere", "spare,third")


@pytest.mark.parametrize(("others", "tries"), [((), 0), (("spare",), 2)])
def test_elsewhere_with_nobody_or_nothing_left_fails(others: tuple[str, ...], tries: int) -> None:
    """Without another provider, or with the retries used up, the refusal stands for its own reason."""
    result = decided(Refused("sender", elsewhere=True), leased(tries=tries), around(others=others))
    assert (result.kind, result.reason) == ("fail", "sender")


def test_what_is_wrong_with_us_costs_the_message_nothing() -> None:
    """An Unusable provider gives the message back at once, uncounted, as one that waits for a provider."""
    result = decided(Unusable("the token was refused", code="20003"), leased(tries=99))
    assert (result.kind, result.at_us, result.counted, result.waited) == ("retry", 0, 0, "provider_down")


@pytest.mark.parametrize(
    ("capabilities", "look_at_us"), [(LISTING, NOW + 18_000_000), (KEYED, NOW + 18_000_000), (NONE, NOW)]
)
def test_the_unknown_is_looked_at_when_it_can_be_believed(capabilities: Capabilities, look_at_us: int) -> None:
    """Where something can be asked, not before the lease's end and the settle time; else the policy decides at once."""
    result = decided(Unknown(detail="reset"), circumstances=around(capabilities))
    assert (result.kind, result.look_at_us, fields(result.extra)["detail"]) == ("unknown", look_at_us, "reset")


def test_a_give_back_names_its_lease() -> None:
    """What did not start is given back under its own fence."""
    assert back(leased()) == outcome.Back(*HEAD, "back", 1, "main")


def test_one_key_for_all_attempts_of_one_message() -> None:
    """The key depends on the message and its arrival, and fits where keys are at most 32 characters."""
    key = idempotency_key("acme/m1", NOW)
    assert key == idempotency_key("acme/m1", NOW)
    assert len({key, idempotency_key("acme/m2", NOW), idempotency_key("acme/m1", NOW + 1)}) == 3
    assert len(key) == 32


@given(st.text())
def test_words_for_the_history_are_one_short_line(text: str) -> None:
    """Whatever a vendor writes, no line break or tab of it reaches the store."""
    cleaned = clean(text)
    assert len(cleaned) <= 200
    assert cleaned.split() == cleaned.split(" ") or cleaned == ""


answers = st.one_of(
    st.builds(Accepted, st.text(min_size=1)),
    st.builds(Throttled, st.none() | st.floats(min_value=0, max_value=1e9), st.text(), st.text()),
    st.builds(Deferred, st.text(), st.text()),
    st.builds(Refused, st.text(), st.text(), st.text(), st.booleans()),
    st.builds(Unusable, st.text(), st.sampled_from(["process", "account"]), st.text()),
    st.builds(Unknown, st.text(), st.text()),
)


@given(answers, st.integers(0, 10), st.sampled_from([NONE, LISTING, KEYED]), st.lists(st.sampled_from("ab")))
def test_no_answer_but_accepted_counts_as_taken(
    answer: Answer, tries: int, capabilities: Capabilities, others: list[str]
) -> None:
    """Every answer has an outcome under its lease, only Accepted is a success, and the uncertain stays uncertain."""
    result = decided(answer, leased(tries=tries), around(capabilities, tuple(others)))
    assert (result.key, result.fence, result.attempt, result.provider) == ("acme/m1", 7, 1, "main")
    assert (result.kind == "accepted") == isinstance(answer, Accepted)
    assert (result.kind == "unknown") == isinstance(answer, Unknown)


def test_every_answer_was_tried_above() -> None:
    """A new kind of answer needs a place in these tests."""
    assert set(get_args(Answer)) == {Accepted, Throttled, Deferred, Refused, Unusable, Unknown}
