"""The account: what is lost, what is doubled, and what only looks so."""

import pytest

from smsd.demo.ledger import Ledger, Taken, Told, balance


def told(state: str, *, final: bool = True, reason: str = "", flagged: bool = False, submitted: bool = False) -> Told:
    return Told(state, final, reason, flagged, submitted)


def of_one(heard: Told | None, *ends: str) -> Ledger:
    books = {"a/1": heard} if heard else {}
    return balance({"a/1"}, books, [Taken("a/1", end) for end in ends], 2.0, 10.0)


def test_a_delivered_message_is_accounted_for() -> None:
    """Enqueued, taken once, told as delivered: nothing is missing."""
    ledger = of_one(told("delivered", submitted=True), "delivered")
    assert (ledger.enqueued, ledger.submitted, ledger.delivered, ledger.taken) == (1, 1, 1, 1)
    assert (ledger.lost, ledger.duplicated, ledger.open, ledger.clean) == (0, 0, 0, True)


@pytest.mark.parametrize(
    "heard",
    [
        None,
        told("submitted", final=False, submitted=True),
        told("delivered", submitted=True),
        told("undelivered", submitted=True),
        told("failed"),
    ],
    ids=["nothing was told", "told as submitted", "told as delivered", "told as undelivered", "no reason is stated"],
)
def test_what_the_carrier_never_took_is_lost(heard: Told | None) -> None:
    """Without a copy at the carrier only a stated reason accounts for a message, whatever smsd claims."""
    ledger = of_one(heard)
    assert (ledger.lost, ledger.clean) == (1, False)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("failed", "bad_number"),
        ("expired", "throttled_out"),
        ("rejected", "bad_number"),
        ("cancelled", "cancelled"),
        ("unconfirmed", "no_receipt"),
    ],
)
def test_an_end_for_a_stated_reason_is_no_loss(state: str, reason: str) -> None:
    """A message that ended without leaving is counted under its state and its reason."""
    ledger = of_one(told(state, reason=reason))
    assert (ledger.lost, ledger.clean) == (0, True)
    assert (getattr(ledger, state), ledger.reasons) == (1, {f"{state}: {reason}": 1})


def test_a_second_copy_without_the_flag_is_a_duplicate() -> None:
    """Twice in the carrier's book and not flagged is a duplicate, whatever its state."""
    ledger = of_one(told("delivered", submitted=True), "delivered", "delivered")
    assert (ledger.duplicated, ledger.taken_again, ledger.clean) == (1, 0, False)


def test_a_second_copy_with_the_flag_is_counted_apart() -> None:
    """A flagged resend is no duplicate, and a flag without a second copy is only possible."""
    ledger = of_one(told("delivered", flagged=True), "delivered", "undelivered")
    assert (ledger.duplicated, ledger.taken_again, ledger.possible_duplicates, ledger.clean) == (0, 1, 1, True)
    assert of_one(told("delivered", flagged=True), "delivered").taken_again == 0


def test_an_end_that_the_carrier_denies_is_told() -> None:
    """Delivered by us, undelivered by the carrier: the books contradict each other."""
    ledger = of_one(told("delivered"), "undelivered")
    assert (ledger.contradicted, ledger.clean) == (1, False)


def test_a_message_without_an_end_is_open() -> None:
    """What the carrier took but nothing has ended is not lost, but not accounted for either."""
    ledger = of_one(told("submitted", final=False, submitted=True), "delivered")
    assert (ledger.open, ledger.lost, ledger.clean) == (1, 0, False)


def test_a_copy_of_nothing_is_strange() -> None:
    """What the carrier took although nobody enqueued it is counted."""
    ledger = balance(set(), {}, [Taken("b/9", "delivered")], 1.0, 0.0)
    assert (ledger.strange, ledger.clean) == (1, False)


def test_events_are_heard_in_their_order() -> None:
    """The last state counts, while flag and submission, once told, stay."""
    heard = Told()
    heard.hear({"state": "submitted", "final": "0"})
    heard.hear({"state": "unknown", "final": "0", "possible_duplicate": "1"})
    heard.hear({"state": "unconfirmed", "final": "1", "reason": "no_receipt"})
    assert heard == Told("unconfirmed", True, "no_receipt", True, True)
