"""The independent checker bites: each way to lose, double or misreport a message is found, and an honest run is not.

Pure: books are written by hand.
"""

from typing import Any

import pytest

from bench.checker import Found, Wanted, check, failures
from smsd.testing.carrier_faults import Outcome
from smsd.testing.carrier_ledger import Line

WANTED = {"a/1": Wanted("reminder", "+353861234567", "See you at ten."), "a/2": Wanted("marketing", "+353861", "Hi")}


def copy(key: str = "a/1", attempt: int = 1, sid: str | None = "SM1", **other: Any) -> Line:
    """A line of the carrier's book for a message as it was wanted."""
    wanted = WANTED.get(key, WANTED["a/1"])
    fields: dict[str, Any] = {
        "n": 1, "reference": f"{attempt}.{key}", "to": wanted.to, "sender": "", "service": "", "body": wanted.body,
        "body_hash": "", "segments": 1, "at_us": 1, "mono_us": 1, "outcome": Outcome.ACCEPTED, "code": 0,
        "ends": "delivered" if sid else None, "error_code": 0, "receipts": (),
    }  # fmt: skip
    return Line(sid=sid, **(fields | other))


def story(*states: str, key: str = "a/1", **last: str) -> list[dict[str, str]]:
    """The events of one message; `last` are more fields of its last one."""
    tenant, _, id_ = key.partition("/")
    ends = {"delivered", "undelivered", "failed", "expired", "cancelled", "unconfirmed", "rejected"}
    told = [
        {
            "tenant": tenant, "id": id_, "seq": str(seq), "event_id": f"{key}/{seq}", "state": state,
            "final": "1" if state in ends else "0",
        }
        for seq, state in enumerate(states, 1)
    ]  # fmt: skip
    told[-1] |= last
    return told


def of(book: list[Line], events: list[dict[str, str]]) -> Found:
    """The finding about one reminder."""
    return check({"a/1": WANTED["a/1"]}, book, events)


HONEST = story("queued", "submitted", "delivered", provider_id="SM1")


def test_an_honest_run_is_clean() -> None:
    """Taken once, told as it was: nothing is found."""
    found = of([copy()], HONEST)
    assert (found.taken, found.copies, found.finals) == (1, 1, {"delivered": 1})
    assert failures(found, "look-up") == failures(found, "blind") == []


@pytest.mark.parametrize(
    ("events", "excused"),
    [
        (HONEST, False),
        (story("queued"), False),
        ([], False),
        (story("queued", "failed"), False),
        (story("queued", "failed", reason="refused"), True),
        (story("queued", "expired", reason="throttled_out"), True),
    ],
    ids=["told as delivered", "told as queued", "nothing told", "without a reason", "refused", "expired"],
)
def test_what_the_carrier_never_took_is_lost_unless_its_end_says_why(
    events: list[dict[str, str]], excused: bool
) -> None:
    """Whatever the events claim, a message without a copy needs a stated reason."""
    found = of([copy(sid=None, outcome=Outcome.REFUSED)], events)
    assert found.lost == ([] if excused else ["a/1"])
    assert bool(failures(found, "blind")) != excused


def test_a_message_that_may_have_left_is_given_up_only_where_nobody_can_be_asked() -> None:
    """`unconfirmed` without a copy is no loss on a blind provider, and a failure on one that can be asked."""
    found = of([], story("queued", "unknown", "unconfirmed", reason="no_receipt"))
    assert (found.lost, found.held) == ([], ["a/1"])
    assert failures(found, "blind") == []
    assert len(failures(found, "look-up")) == 1


def test_two_copies_are_a_duplicate_unless_a_blind_providers_reminder_was_flagged() -> None:
    """The flag excuses a second copy only where the first could not be looked up."""
    book = [copy(), copy(attempt=2, sid="SM2")]
    flagged = story("queued", "unknown", "queued", "submitted", "delivered", possible_duplicate="1")
    assert (of(book, HONEST).doubled, of(book, HONEST).unflagged) == (["a/1"], ["a/1"])
    assert failures(of(book, HONEST), "blind") != []
    assert failures(of(book, flagged), "blind") == []
    assert failures(of(book, flagged), "look-up") != []


def test_a_class_that_holds_is_never_doubled() -> None:
    """Two copies of a marketing message are a failure, flagged or not."""
    events = story("queued", "submitted", "delivered", key="a/2", possible_duplicate="1")
    found = check({"a/2": WANTED["a/2"]}, [copy("a/2"), copy("a/2", 2, "SM2")], events)
    assert failures(found, "blind") == ["1 of the class that holds were taken twice"]


@pytest.mark.parametrize(
    ("book", "events", "name"),
    [
        ([copy()], story("queued", "submitted"), "open"),
        ([copy(), copy("a/9", sid="SM9")], HONEST, "strange"),
        ([copy(body="See you at eleven.")], HONEST, "altered"),
        ([copy(to="+353860000000")], HONEST, "altered"),
        ([copy(ends="undelivered")], HONEST, "contradicted"),
        ([copy()], story("queued", "submitted", "delivered", provider_id="SM7"), "misled"),
        ([copy()], [HONEST[0], HONEST[2]], "broken"),
        ([copy()], [*HONEST, HONEST[2]], "broken"),
        ([copy()], story("queued", "submitted", "delivered", "undelivered"), "broken"),
        ([copy()], story("queued", "submitted", "delivered", "undelivered", late="1"), "broken"),
        ([copy()], story("queued", "submitted", "delivered", reason="cancel_too_late"), "broken"),
    ],
    ids=[
        "no end", "never enqueued", "another text", "another number", "another end", "another's id", "a gap",
        "a repeat", "after the end", "a late no over a yes", "an answer to a cancel that changes the state",
    ],
)  # fmt: skip
def test_each_false_book_is_found(book: list[Line], events: list[dict[str, str]], name: str) -> None:
    """What the books say against each other lands in its own list, and fails the run."""
    found = of(book, events)
    assert getattr(found, name) != []
    assert failures(found, "look-up") != []


def test_a_true_receipt_may_overrule_an_end_when_it_comes_late() -> None:
    """`delivered` after `unconfirmed`, marked late, is sound."""
    events = story("queued", "submitted", "unconfirmed", "delivered", late="1", provider_id="SM1")
    assert failures(of([copy()], events), "look-up") == []


def test_a_cancel_that_comes_too_late_is_answered_in_the_unchanged_state() -> None:
    """Also after the end, whose own reason stands."""
    events = story("queued", "submitted", "delivered", "delivered", reason="cancel_too_late", provider_id="SM1")
    assert failures(of([copy()], events), "look-up") == []
    unexplained = story("queued", "failed", "failed", reason="cancel_too_late")
    assert of([], unexplained).lost == ["a/1"]
