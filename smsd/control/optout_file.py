"""A file of those who have opted out: CSV with a header, or a JSON object on each line; every mistake with its line.

Never writes to the store, and never repeats a number in a mistake. What `lines` writes, `read` reads.
"""

import csv
import io
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from smsd.config import Mistake
from smsd.control.optouts import CHOSEN, Whose
from smsd.control.rows import rows
from smsd.core.fields import parse_instant
from smsd.core.names import TENANT_TOLD, is_tenant
from smsd.number import BadNumber, normalise, sender_ok
from smsd.store.optouts import OptOut

COLUMNS = ("number", "scope", "tenant", "sender", "at", "source", "provider")
SCOPES = ("marketing", "all")


class Read(msgspec.Struct, frozen=True):
    """What a file says, by list. A line with a mistake is not among the entries."""

    entries: dict[Whose, list[OptOut]]
    mistakes: list[Mistake]

    @property
    def total(self) -> int:
        return sum(map(len, self.entries.values()))


def read(name: str, text: bytes, otherwise: Whose | None, region: Callable[[str], str]) -> Read:
    """`otherwise`: whose a line is that names neither a tenant nor a sender. `region`: that of a tenant's numbers which
    have no plus.
    """
    found = Read({}, [])
    for number, row in rows(text, _wrong_header):
        try:
            if isinstance(row, str):
                raise _Wrong("", row)
            if not row.get("number") and row.get("source") in ("provider", "inbound"):
                continue  # of a message whose body was erased, or of nobody who can be told: no mistake
            whose, one = _entry(row, otherwise, region)
        except _Wrong as wrong:
            found.mistakes.append(Mistake(name, number, wrong.key, str(wrong)))
        else:
            found.entries.setdefault(whose, []).append(one)
    return found


async def lines(entries: AsyncIterable[tuple[Whose, OptOut]], *, json: bool) -> AsyncGenerator[str]:
    """The list as a file, line by line, without their ends."""
    if not json:
        yield ",".join(COLUMNS)
    async for whose, one in entries:
        at = datetime.fromtimestamp(one.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
        row = (one.number, one.scope, whose.tenant, whose.sender, at, one.source, one.provider)
        if json:
            yield msgspec.json.encode(dict(zip(COLUMNS, row, strict=True))).decode()
        else:
            out = io.StringIO()
            csv.writer(out, lineterminator="").writerow(row)
            yield out.getvalue()


class _Wrong(Exception):
    """What is wrong with a line, and in which column."""

    def __init__(self, key: str, said: str) -> None:
        super().__init__(said)
        self.key = key


def _wrong_header(header: Sequence[str]) -> str:
    known = "number" in header and set(header) <= set(COLUMNS) and len(set(header)) == len(header)
    return "" if known else f"the header has a column number, and any of {', '.join(COLUMNS[1:])}"


def _entry(row: Mapping[str, Any], otherwise: Whose | None, region: Callable[[str], str]) -> tuple[Whose, OptOut]:
    if unknown := next((key for key in row if key not in COLUMNS), ""):
        raise _Wrong(unknown, f"there is no such key: there are {', '.join(COLUMNS)}")
    cells = {key: str(value).strip() for key, value in row.items() if value is not None}
    whose = Whose(cells.get("tenant", ""), cells.get("sender", ""))
    if whose.tenant and whose.sender:
        raise _Wrong("tenant", "a line names a tenant or a sender, not both")
    if whose == Whose():
        if otherwise is None:
            raise _Wrong("tenant", "say whose it is: a tenant's or a sender's, here or by --tenant or --sender")
        whose = otherwise
    if whose.tenant and not is_tenant(whose.tenant):
        raise _Wrong("tenant", f"a tenant id is {TENANT_TOLD}")
    if whose.sender not in ("", CHOSEN) and sender_ok(whose.sender):
        raise _Wrong("sender", f"a number in E.164, a short code, a name of up to 11 characters, or {CHOSEN}")
    scope = cells.get("scope") or "all"
    if scope not in SCOPES:
        raise _Wrong("scope", f"expected one of {', '.join(SCOPES)}")
    try:
        number = normalise(cells.get("number", ""), region(whose.tenant) if whose.tenant else "", "possible").e164
    except BadNumber as error:
        if cells.get("source") != "inbound":
            raise _Wrong("number", str(error)) from None
        number = cells.get("number", "")  # of a short code, say, that sent a STOP: as it came, so it was listed
    try:
        at_ms = parse_instant(cells["at"]) // 1000 if cells.get("at") else 0
    except ValueError as error:
        raise _Wrong("at", str(error)) from None
    return whose, OptOut(number, "marketing" if scope == "marketing" else "all", at_ms, "import")
