"""How one command's words and options are read."""

from pathlib import Path

import pytest

from smsd.cli.command import CONFIG, Command, count, number, option, switch, whole, word
from smsd.cli.parsing import Helped, Mistyped, given

COMMAND = Command(
    "try",
    "nowhere:try",
    "Try it",
    (
        word("NAME", "what"),
        option("--many", "N", "how many, 5% at most", read=whole, default=3),
        switch("--yes", "do not ask"),
        CONFIG,
    ),
)
SOME = Command(
    "some",
    "nowhere:some",
    "Try more of it",
    (
        word("NAME", "what", name="names", times="*"),
        option("--of", "NAME", "of whom"),
        option("--why", "TEXT", "why", blank=True),
        option("--limit", "N", "at most", read=count, default=0),
        option("--wait", "SECONDS", "how long", read=number, default=1.0),
        option("--file", "FILE", "which", file=True),
    ),
)


def test_what_is_not_typed_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config's default is $SMSD_CONFIG, and without that smsd.toml."""
    monkeypatch.delenv("SMSD_CONFIG", raising=False)
    assert given(COMMAND, ["x"]) == {"name": "x", "many": 3, "yes": False, "config": Path("smsd.toml")}
    monkeypatch.setenv("SMSD_CONFIG", "other.toml")
    assert given(COMMAND, ["--yes", "x", "--many", "4"]) == {
        "name": "x",
        "many": 4,
        "yes": True,
        "config": Path("other.toml"),
    }


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["x", "--many"], "--many: expected one argument."),
        (["x", "--many", "x"], '--many: "x" is no whole number, as 10.'),
        (["x", "--yse"], 'there is no option "--yse" (did you mean "--yes"?).'),
        (["x", "--ye"], 'there is no option "--ye" (did you mean "--yes"?).'),
        (["x", "y z"], '"y z" is one word too many'),
        ([], "missing: NAME."),
    ],
    ids=str,
)
def test_a_mistake_says_what_would_be_right(typed: list[str], said: str) -> None:
    """Options are never guessed from their beginning, and each mistake is one sentence."""
    with pytest.raises(Mistyped) as mistyped:
        given(COMMAND, typed)
    assert said in str(mistyped.value)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--of", ""], "--of: is empty (a variable of the shell that is not set?)."),
        (["acme", ""], "NAME: is empty (a variable of the shell that is not set?)."),
        (["--of", "a\udcff"], "--of: is no UTF-8 text."),
        (["--limit", "-1"], '--limit: "-1" is less than 0.'),
        (["--wait", "inf"], '--wait: "inf" is no number, as 2.5.'),
        (["--wait", "nan"], '--wait: "nan" is no number, as 2.5.'),
    ],
    ids=str,
)
def test_what_is_given_says_something(typed: list[str], said: str) -> None:
    """What is empty, no text or no amount is a mistake: it would else be as if it were not there, and mean all."""
    with pytest.raises(Mistyped) as mistyped:
        given(SOME, typed)
    assert str(mistyped.value) == said


def test_what_may_be_empty_is() -> None:
    """A text to be kept may be empty, and the name of a file any bytes."""
    assert given(SOME, ["--why", "", "--file", "a\udcff"]) == {
        "names": [], "of": "", "why": "", "limit": 0, "wait": 1.0, "file": "a\udcff",
    }  # fmt: skip


def test_help_says_defaults_and_percent_signs() -> None:
    """What a default is stands beside what it is of; text is shown as it is."""
    with pytest.raises(Helped) as helped:
        given(COMMAND, ["--help"])
    assert "how many, 5% at most (default: 3)" in str(helped.value)
    assert "$SMSD_CONFIG" in str(helped.value)
