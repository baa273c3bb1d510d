"""What commands say of themselves, all together."""

from pathlib import Path

from smsd.cli.commands import COMMANDS
from smsd.cli.manual import ends, folded, overview, page

ROOT = Path(__file__).resolve().parents[2]


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
    assert ends(COMMANDS["top"]) == ""


def test_the_page_of_commands_is_current() -> None:
    """docs/COMMANDS.md is what the table says; make docs writes it."""
    assert (ROOT / "docs" / "COMMANDS.md").read_text() == page()


def test_the_page_tells_all_of_each_command() -> None:
    """What it takes, what its exit codes mean and an example stand under its name."""
    sections = {section.partition("\n")[0]: section for section in page().split("\n### smsd ")[1:]}
    assert list(sections) == list(COMMANDS)
    for name, command in COMMANDS.items():
        wanted = [*(takes.flag or takes.shown for takes in command.takes), *command.codes, command.example]
        said = " ".join(sections[name].split())
        assert [one for one in wanted if one not in said and one not in ("--config", "--json")] == []
