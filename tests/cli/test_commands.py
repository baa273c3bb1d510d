"""The table of commands, as a whole."""

import pytest

from smsd.cli.command import Command
from smsd.cli.commands import COMMANDS, members
from smsd.cli.parsing import Mistyped, given


def test_summaries_fit_a_terminal() -> None:
    """Each summary is one line, short enough for the overview, and no sentence with a full stop."""
    assert [c.name for c in COMMANDS.values() if len(c.summary) > 64 or c.summary.endswith(".")] == []


def test_what_can_be_told_as_json_is() -> None:
    """Every command that answers takes --json; those that do not answer do not."""
    silent = {"run", "carrier", "completion", "schema"}
    assert {c.name for c in COMMANDS.values() if "json" not in [takes.name for takes in c.takes]} == silent


@pytest.mark.parametrize("command", [c for c in COMMANDS.values() if c.takes], ids=lambda c: c.name)
def test_each_example_is_one_that_works(command: Command) -> None:
    """An example in the help can be typed as it is."""
    import shlex

    typed = shlex.split(command.example.split(" > ")[0].split(" < ")[0])
    words = len(command.name.split()) + 1
    assert typed[:words] == ["smsd", *command.name.split()]
    assert given(command, typed[words:]).keys() == {takes.name for takes in command.takes}


def test_a_group_is_all_that_begins_with_its_name() -> None:
    """Without a group it is every command."""
    assert members("") == list(COMMANDS)
    assert members("nosuch") == []


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS.values() if "tenant" in [t.name for t in c.takes if not t.flag]]
)
def test_what_can_be_no_tenant_is_refused(command: Command) -> None:
    """Before anything is asked, by each command that takes a tenant; in a sentence that says what one is."""
    with pytest.raises(Mistyped, match=r'"bad name!" can be no tenant: a tenant id is 1 to 64'):
        given(command, ["bad name!", "x", "y"][: sum(not takes.flag for takes in command.takes)])
