"""What a text of one word means, in the languages of the platform's countries."""

import pytest

from smsd.core import intent
from smsd.core.intent import ROWS, SOURCES, plain, read


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("STOP", "stop"),
        (" stop. ", "stop"),
        ("STOP" + "\n" * 100, "stop"),
        ("Stop!!! 😡", "stop"),
        ("OPT-OUT", "stop"),
        ("Arrêt", "stop"),
        ("ABMELDEN", "stop"),
        ("lopeta", "stop"),
        ("Baja", "stop"),
        ("CANCEL", "stop"),
        ("START", "start"),
        ("HELP", "help"),
        ("Aide", "help"),
        ("Kyllä", "confirm"),
        ("JA", "confirm"),
        ("Sí", "confirm"),
        ("NEIN", "cancel"),
        ("peru", "cancel"),
        ("\N{MATHEMATICAL BOLD CAPITAL S}\N{MATHEMATICAL BOLD CAPITAL T}op", "stop"),
        ("C", ""),
        ("", ""),
        ("Please do not stop the music", ""),
        ("stopping by at ten", ""),
        ("STOP " * 100, ""),
    ],
)
def test_only_a_whole_text_is_a_word(text: str, means: str) -> None:
    """Case, accents, punctuation and emoji do not matter; other words around it do."""
    assert read(text) == means


@pytest.mark.parametrize(
    ("text", "means"), [("CANCEL", "cancel"), ("c", "cancel"), ("Cancelar", "cancel"), ("STOP", "stop")]
)
def test_cancel_is_about_the_appointment_where_the_tenant_says_so(text: str, means: str) -> None:
    """STOP stays what it is."""
    assert read(text, booking=True) == means


def test_each_word_stands_once_and_has_a_source() -> None:
    """A word in two rows would mean what the later one says."""
    words = [plain(word) for row in ROWS for word in row.words.split(",")]
    assert sorted(words) == sorted(set(words))
    assert all(words)
    assert {row.source for row in ROWS} == set(SOURCES)


def test_the_table_tells_every_word() -> None:
    """As people write them."""
    told = intent.page()
    assert all(f"`{word.strip().upper()}`" in told for row in ROWS for word in row.words.split(","))
