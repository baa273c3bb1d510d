"""A file of tenants' settings: CSV with a header, or a JSON object on each line; every mistake with its line.

Never writes anything: what has no mistake is for Tenants.put_many. A line holds all of a tenant's settings, and goes in
the place of all that was made for it before.
"""

from collections.abc import Mapping, Sequence

import msgspec

from smsd.config import Config, Mistake, TenantConfig
from smsd.config.read import keys_of, suggestion
from smsd.control.made import Table
from smsd.control.rows import rows
from smsd.control.tenants import Tenants
from smsd.store.shard import Shard

LISTS = ("limits", "countries")
PER_CLASS = "class_limits."
SEPARATOR = ";"
EMPTY = "the file is empty: give a header with a column tenant, or JSON lines"


class Line(msgspec.Struct, frozen=True):
    """One tenant's settings, and where they were written."""

    number: int
    table: Table


class Read(msgspec.Struct, frozen=True):
    """What a file says. Tenants with a mistake in their line are not among the lines."""

    lines: dict[str, Line]
    mistakes: list[Mistake]


def read(name: str, text: bytes) -> Read:
    """What the file says, by its form alone; `judged` tells what its values are worth."""
    lines, mistakes = dict[str, Line](), list[Mistake]()
    for number, row in rows(text, _wrong_header, of_cells=_table, empty=EMPTY):
        table = dict(row) if not isinstance(row, str) else {}
        tenant = table.pop("tenant", "")
        if isinstance(row, str):
            mistakes.append(Mistake(name, number, "", row))
        elif not isinstance(tenant, str) or not tenant:
            mistakes.append(Mistake(name, number, "tenant", "say whose settings these are"))
        elif tenant in lines:
            said = f"{tenant} is on line {lines[tenant].number} already: give each tenant one line"
            mistakes.append(Mistake(name, number, "tenant", said))
        else:
            lines[tenant] = Line(number, table)
    return Read(lines, mistakes)


async def judged(name: str, there: Read, config: Config, shards: Sequence[Shard]) -> Read:
    """The same without what the config in force does not allow, whose mistakes are added. Raises ConfigErrors."""
    wrong = await Tenants(config, shards).mistakes({tenant: line.table for tenant, line in there.lines.items()})
    right = {tenant: line for tenant, line in there.lines.items() if tenant not in wrong}
    mistakes = [
        Mistake(name, there.lines[tenant].number, mistake.key, mistake.message)
        for tenant, found in wrong.items()
        for mistake in found
    ]
    return Read(right, sorted([*there.mistakes, *mistakes]))


def _wrong_header(header: Sequence[str]) -> str:
    known = ["tenant", *keys_of(TenantConfig)]
    for column in header:
        if column not in known and not column.startswith(PER_CLASS):
            all_of_them = ", ".join([*known[:2], f"{PER_CLASS}CLASS", *(k for k in known[2:] if k != "class_limits")])
            return f'the column "{column}" is unknown{suggestion(column, known)}: there are {all_of_them}'
    twice = next((column for column in header if header.count(column) > 1), "")
    if twice:
        return f'the column "{twice}" is there twice'
    return "" if "tenant" in header else "the header has no column tenant"


def _table(row: Mapping[str, str]) -> dict[str, object]:
    """A row's settings; an empty cell sets nothing."""
    table: dict[str, object] = {}
    by_class: dict[str, object] = {}
    for column, typed in row.items():
        cell = typed.strip()
        if not cell:
            continue
        if column.startswith(PER_CLASS):
            by_class[column.removeprefix(PER_CLASS)] = _several(cell)
        else:
            table[column] = _several(cell) if column in LISTS else cell
    return table | ({"class_limits": by_class} if by_class else {})


def _several(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(SEPARATOR)]
