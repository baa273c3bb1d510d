"""The table of receipts: what each may change, and that the order in which they come does not matter in the end."""

from itertools import permutations

import pytest

from smsd.core.receipt import TABLE, Verdict, judge
from smsd.core.state import FINAL, may_follow
from smsd.message import State

S = State


def verdict(
    state: State,
    status: str,
    *,
    attempt: int = 1,
    of: int = 1,
    told: str = "",
    others: bool = False,
    doubt: bool = False,
) -> Verdict:
    """With everything usual."""
    return judge(state, status, attempt=attempt, of=of, told=told, others_open=others, in_doubt=doubt)


@pytest.mark.parametrize(("state", "ways"), TABLE.items())
def test_every_change_is_lawful(state: State, ways: dict[str, Verdict]) -> None:
    """Whatever a receipt may change is a line in the table of states."""
    for status, found in ways.items():
        if found in (Verdict.END, Verdict.LATE):
            assert may_follow(state, State(status)), f"{state} -> {status}"


def test_every_state_but_a_lease_has_its_line() -> None:
    """No state is forgotten; while a message is leased its receipts wait."""
    assert set(State) - set(TABLE) == {S.LEASED}
    assert verdict(S.LEASED, "delivered") is Verdict.PARK


@pytest.mark.parametrize("state", sorted(FINAL - {S.DELIVERED, S.REJECTED}))
def test_delivered_replaces_every_other_end(state: State) -> None:
    """A true receipt that comes late makes any other final state delivered."""
    assert verdict(state, "delivered") is Verdict.LATE


def test_undelivered_replaces_only_unconfirmed() -> None:
    """A negative receipt that comes late changes an end only where nothing was known."""
    changed = {state for state in FINAL if verdict(state, "undelivered") is Verdict.LATE}
    assert changed == {S.UNCONFIRMED}


def test_a_negative_receipt_waits_for_the_other_attempt() -> None:
    """While another attempt may still be delivered, undelivered ends nothing, and delivered does."""
    assert verdict(S.SUBMITTED, "undelivered", others=True) is Verdict.NOTE
    assert verdict(S.SUBMITTED, "delivered", others=True) is Verdict.END


def test_a_receipt_on_the_way_proves_that_an_attempt_was_taken() -> None:
    """`sent` ends a doubt: an unknown outcome, or a resend that still waits, becomes submitted."""
    assert verdict(S.UNKNOWN, "sent", doubt=True) is Verdict.PROVES
    assert verdict(S.UNKNOWN, "sent", attempt=1, of=2, doubt=True) is Verdict.PROVES
    assert verdict(S.QUEUED, "sent", doubt=True) is Verdict.PROVES
    assert verdict(S.QUEUED, "sent") is Verdict.NOTE
    assert verdict(S.SUBMITTED, "sent") is Verdict.NOTE


@pytest.mark.parametrize("attempt", [0, 3])
def test_an_attempt_that_never_was_is_an_orphan(attempt: int) -> None:
    """A receipt for an attempt that the message did not have changes nothing."""
    assert verdict(S.SUBMITTED, "delivered", attempt=attempt, of=2) is Verdict.ORPHAN


@pytest.mark.parametrize("order", list(permutations(["sent", "undelivered", "delivered", "delivered"])))
def test_the_order_does_not_matter(order: tuple[str, ...]) -> None:
    """In whatever order they come, and however often, the message ends delivered."""
    state, told = S.SUBMITTED, ""
    for status in order:
        if verdict(state, status, told=told) in (Verdict.END, Verdict.LATE):
            state = State(status)
        told = status if status in ("delivered", "undelivered") and told != "delivered" else told
    assert state is S.DELIVERED
