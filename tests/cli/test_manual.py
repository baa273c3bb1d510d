"""What commands say of themselves, all together."""

from smsd.cli.commands import COMMANDS
from smsd.cli.manual import ends, folded, overview


def test_the_overview_names_all_commands_once() -> None:
    """Each command is a line of its group."""
    lines = overview().splitlines()
    assert [line.split("  ")[1].strip() for line in lines if line.startswith("  ")] == list(COMMANDS)


def test_paragraphs_stay_paragraphs() -> None:
    """Text is folded, and what is empty leaves no gap."""
    assert folded("a\n\nb", "", "c") == "a\n\nb\n\nc"


def test_exit_codes_of_a_command() -> None:
    """Those that mean more than everywhere are told."""
    assert ends(COMMANDS["vet"]) == "Exits with 1 when it does not conform."
    assert ends(COMMANDS["run"]) == ""
