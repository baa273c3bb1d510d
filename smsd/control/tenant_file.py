"""A file of tenants' settings: CSV with a header, or a JSON object on each line; every mistake with its line.

Never writes anything: what has no mistake is for Tenants.put_many. A line holds all of a tenant's settings, and goes in
the place of all that was made for it before.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from smsd.config import Config, Mistake, TenantConfig
from smsd.config.read import keys_of, suggestion
from smsd.control.made import Table
from smsd.control.tenants import Tenants
from smsd.store.shard import Shard

LISTS = ("limits", "countries")
PER_CLASS = "class_limits."
SEPARATOR = ";"


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
    found, lines, mistakes = Read({}, []), dict[str, Line](), list[Mistake]()
    try:
        whole = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        return Read({}, [Mistake(name, line, "", "this is no UTF-8: save the file as that")])
    rows = _json_lines(whole) if whole.lstrip().startswith("{") else _csv(whole)
    for number, row in rows:
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
    return msgspec.structs.replace(found, lines=lines, mistakes=mistakes)


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


_Rows = Iterator[tuple[int, Mapping[str, object] | str]]
"""Each line's number, and what it says, or what is wrong with it."""


def _json_lines(text: str) -> _Rows:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield number, msgspec.json.decode(line, type=dict[str, object])
        except msgspec.MsgspecError as error:
            yield number, f"this is no JSON object on one line: {error}"


def _csv(text: str) -> _Rows:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = [cell.strip() for cell in row]
                if wrong := _wrong(header):
                    yield reader.line_num, wrong
                    return
            elif len(row) != len(header):
                yield reader.line_num, f"{len(row)} cells, but the header has {len(header)}"
            else:
                yield reader.line_num, _table(header, row)
    except csv.Error as error:
        yield reader.line_num, f"this is no CSV: {error}"
    if not header:
        yield 1, "the file is empty: give a header with a column tenant, or JSON lines"


def _wrong(header: Sequence[str]) -> str:
    known = ["tenant", *keys_of(TenantConfig)]
    for column in header:
        if column not in known and not column.startswith(PER_CLASS):
            all_of_them = ", ".join([*known[:2], f"{PER_CLASS}CLASS", *(k for k in known[2:] if k != "class_limits")])
            return f'the column "{column}" is unknown{suggestion(column, known)}: there are {all_of_them}'
    twice = next((column for column in header if header.count(column) > 1), "")
    if twice:
        return f'the column "{twice}" is there twice'
    return "" if "tenant" in header else "the header has no column tenant"


def _table(header: Sequence[str], row: Sequence[str]) -> dict[str, object]:
    """A row's settings; an empty cell sets nothing."""
    table: dict[str, object] = {}
    by_class: dict[str, object] = {}
    for column, cell in zip(header, (cell.strip() for cell in row), strict=True):
        if not cell:
            continue
        if column.startswith(PER_CLASS):
            by_class[column.removeprefix(PER_CLASS)] = _several(cell)
        else:
            table[column] = _several(cell) if column in LISTS else cell
    return table | ({"class_limits": by_class} if by_class else {})


def _several(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(SEPARATOR)]
