"""How one command's words and options are read."""

from pathlib import Path

import pytest

from smsd.cli.command import CONFIG, Command, option, switch, whole, word
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


def test_help_says_defaults_and_percent_signs() -> None:
    """What a default is stands beside what it is of; text is shown as it is."""
    with pytest.raises(Helped) as helped:
        given(COMMAND, ["--help"])
    assert "how many, 5% at most (default: 3)" in str(helped.value)
    assert "$SMSD_CONFIG" in str(helped.value)
