"""The table of reasons: it has every one that may be given, and the page is made of it."""

from pathlib import Path

from smsd.core.admit import REASONS
from smsd.core.reasons import ENDS, page
from smsd.provider import REFUSALS


def test_every_reason_that_a_provider_may_give_is_explained() -> None:
    """A refusal or a negative receipt never carries a reason that the table lacks."""
    assert set(ENDS) >= REFUSALS


def test_reasons_of_expiry_are_explained() -> None:
    """What a message last waited for is told, and the table says what to do."""
    assert set(ENDS) >= {"throttled_out", "provider_down", "paused", "expired", "no_receipt", "cancelled", "internal"}


def test_every_reason_has_words_of_its_own() -> None:
    """No reason is without its words, and no two share them by mistake."""
    words = [*ENDS.values(), *REASONS.values()]
    assert all(len(text) > 20 for text in words)
    assert len(set(words)) == len(words)


def test_the_page_is_made_from_the_table() -> None:
    """docs/REASONS.md says what the code says; `make docs` writes it."""
    assert (Path(__file__).parents[2] / "docs" / "REASONS.md").read_text("utf-8") == page()
