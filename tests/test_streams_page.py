"""docs/STREAMS.md has every field and every state that the code knows, and no other."""

import re
from pathlib import Path

import msgspec
import pytest

from smsd.client.received import Event, Inbound
from smsd.core.fields import FAULT_OF
from smsd.core.state import FINAL, QUIET
from smsd.message import State

PAGE = (Path(__file__).parents[1] / "docs" / "STREAMS.md").read_text()
AS_WRITTEN = {"class_": "class", "from_": "from", "at_ms": "at", "due_ms": "due"}


def table(section: str, head: str) -> dict[str, str]:
    """A table below a heading: each name in its first cells, with the cell behind."""
    below = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    lines = below.partition(f"| {head} |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: second for first, second, *_ in rows for name in re.findall(r"`(\w+)`", first)}


def test_what_goes_in_is_told() -> None:
    """Each field of an entry has its row, and a send needs those that say so."""
    there = table("In: `smsd:{N}:in:<class>`", "field | needed | meaning")
    assert set(there) == set(FAULT_OF)
    assert {name for name, needed in there.items() if needed == "yes"} == {"tenant", "to", "body"}


@pytest.mark.parametrize(("stream", "struct", "made"), [("events", Event, set()), ("inbound", Inbound, {"event_id"})])
def test_what_comes_out_is_told(stream: str, struct: type[msgspec.Struct], made: set[str]) -> None:
    """Each field that the client reads has its row, but for what it makes of others."""
    read = {AS_WRITTEN.get(name, name) for name in struct.__struct_fields__}
    assert set(table(f"Out: `smsd:{{N}}:{stream}`", "field | meaning")) == read - made | {"v"}


def test_every_state_is_told() -> None:
    """With whether it is an end; not the one that no event tells."""
    there = table("Out: `smsd:{N}:events`", "state | end | meaning")
    assert set(there) == set(State) - {QUIET}
    assert {name for name, end in there.items() if end == "yes"} == FINAL
