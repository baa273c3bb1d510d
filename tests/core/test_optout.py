"""What a text does to the list of those who have opted out."""

import pytest

from smsd.core.optout import Decision, Rules, Scope, closes, decide

BOOKING = Rules(cancel_words="appointment")


@pytest.mark.parametrize(
    ("rules", "answered", "closed"),
    [
        (Rules(), None, "marketing"),
        (Rules(), "marketing", "marketing"),
        (Rules(), "all", "all"),
        (Rules(stop_closes="all"), "marketing", "all"),
        (Rules(closes_all=True), "marketing", "all"),
    ],
)
def test_stop_closes_the_widest_of_what_speaks(rules: Rules, answered: Scope | None, closed: Scope) -> None:
    """The tenant's setting, the country, and what the text answers."""
    assert decide("STOP", rules, answered=answered) == Decision("stop", closed)


@pytest.mark.parametrize(
    ("rules", "answered", "decision"),
    [
        (Rules(), "all", Decision("stop", "all")),
        (BOOKING, "all", Decision("cancel")),
        (BOOKING, None, Decision("cancel")),
        (BOOKING, "marketing", Decision("stop", "marketing")),
    ],
)
def test_cancel_is_no_opt_out_where_the_tenant_says_so(
    rules: Rules, answered: Scope | None, decision: Decision
) -> None:
    """But in answer to marketing there is no appointment to cancel."""
    assert decide("cancel", rules, answered=answered) == decision


def test_start_opens_and_help_does_nothing() -> None:
    """Nor does YES: a consent is never guessed."""
    assert decide("START", Rules(), answered=None) == Decision("start", open=True)
    assert decide("HELP", Rules(), answered=None) == Decision("help")
    assert decide("YES", Rules(), answered=None) == Decision("confirm")
    assert decide("See you!", Rules(), answered="all") == Decision("")


def test_what_the_provider_has_done_holds() -> None:
    """It refuses all that its sender sends, whatever the word means to the tenant, and the intent is told beside it."""
    assert decide("basta", Rules(), answered="marketing", said="stop") == Decision("stop", "all")
    assert decide("CANCEL", BOOKING, answered="all", said="stop") == Decision("cancel", "all")
    assert decide("YES", Rules(), answered=None, said="start") == Decision("confirm", open=True)
    assert decide("??", Rules(), answered=None, said="help") == Decision("help")


def test_marketing_is_closed_by_either_scope() -> None:
    """All else by one."""
    assert [closes(scope, "marketing") for scope in ("", "marketing", "all")] == [False, True, True]
    assert [closes(scope, "all") for scope in ("", "marketing", "all")] == [False, False, True]
