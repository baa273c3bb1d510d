"""docs/OPERATING.md: what it tells of the log and of commands is what there is."""

import re
from pathlib import Path

import pytest

from smsd.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "OPERATING.md").read_text()
SOURCES = [*(ROOT / "smsd" / "shell").glob("*.py")]
LEVELS = ("info", "warning", "error")


def logged() -> set[tuple[str, str]]:
    """Every line that the daemon logs, with its level, as the sources say."""
    found: set[tuple[str, str]] = set()
    for path in SOURCES:
        text = path.read_text()
        found |= {(event, level) for level, event in re.findall(r"log\.(info|warning|error)\(\s*\"(\w+)\"", text)}
        found |= {(event, "warning") for event in re.findall(r"_note\(\"(\w+)\"", text)}  # intake's way
    return found


def told() -> set[tuple[str, str]]:
    """Every line that the page explains; where a row has several, each level goes with its line."""
    found: set[tuple[str, str]] = set()
    for names, levels in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([a-z, ]+) \|", PAGE, re.MULTILINE):
        events, of = re.findall(r"\w+", names), levels.split(", ")
        found |= set(zip(events, of * len(events) if len(of) == 1 else of, strict=False))
    return {(event, level) for event, level in found if level in LEVELS}


def test_every_line_of_the_log_is_explained() -> None:
    """The page tells of each line that smsd writes, at its level, and of no other."""
    assert len(logged()) > 30
    assert told() == logged()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`smsd ([a-z]+)", PAGE))))
def test_the_commands_that_it_names_are_there(name: str) -> None:
    """Whoever follows the page types what exists."""
    assert name in {command.split()[0] for command in COMMANDS}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:config|docs)/[\w./-]+)`", PAGE))))
def test_the_files_that_it_names_are_there(path: str) -> None:
    """Whoever follows the page finds the file."""
    assert (ROOT / path).exists()
