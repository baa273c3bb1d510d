"""The table of states: closed, complete, and the page made of it is the one in docs."""

from pathlib import Path

from smsd.core.state import FINAL, NEW, NEXT, first_unlawful, lifecycle, may_follow
from smsd.message import State


def test_every_state_has_a_row_and_is_reachable() -> None:
    """Each state is a row of the table and some way leads to it."""
    assert set(NEXT) == {NEW, *State}
    assert {after for ways in NEXT.values() for after in ways} == set(State)


def test_a_final_state_changes_only_by_a_late_receipt() -> None:
    """From a final state nothing follows but delivered, and undelivered after unconfirmed."""
    for state in FINAL:
        assert set(NEXT[state]) <= {State.DELIVERED, State.UNDELIVERED}
    assert set(NEXT[State.UNCONFIRMED]) == {State.DELIVERED, State.UNDELIVERED}
    assert not NEXT[State.DELIVERED]


def test_what_may_have_left_never_ends_as_never_left_without_a_clear_no() -> None:
    """A submitted message is not queued, failed, expired or cancelled again."""
    for state in (State.QUEUED, State.FAILED, State.EXPIRED, State.CANCELLED):
        assert not may_follow(State.SUBMITTED, state)


def test_a_history_is_judged_by_its_first_unlawful_pair() -> None:
    """The quiet lease between two events is allowed for; a way that the table does not know is named."""
    assert first_unlawful(["queued", "submitted", "delivered"]) is None
    assert first_unlawful(["queued", "queued", "unknown", "submitted"]) is None
    assert first_unlawful(["queued", "delivered", "queued"]) == ("delivered", "queued")
    assert first_unlawful(["submitted"]) == (NEW, "submitted")


def test_the_page_is_made_from_the_table() -> None:
    """docs/LIFECYCLE.md says what the code says; `make docs` writes it."""
    page = Path(__file__).parents[2] / "docs" / "LIFECYCLE.md"
    assert page.read_text("utf-8") == lifecycle()
