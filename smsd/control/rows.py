"""The rows of a file that people hand in, each with its line: CSV with a header, or a JSON object on each line.

Never knows what a row means: tenant_file.py and optout_file.py do.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

Row = Mapping[str, Any]
Rows = Iterator[tuple[int, Row | str]]
"""Each row's line, from 1, and what it says; or, as text, what is wrong with it."""


def rows(
    text: bytes,
    wrong_header: Callable[[Sequence[str]], str],
    *,
    of_cells: Callable[[Mapping[str, str]], Row] = dict,
    empty: str = "",
) -> Rows:
    """`wrong_header`: what is wrong with the columns of a CSV, "" for nothing; after such a header no row is read.
    `of_cells`: what a row of CSV says, by column. `empty`: what is wrong with a file that has not even a header.
    """
    try:
        whole = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield text[: error.start].count(b"\n") + 1, "this is no UTF-8: save the file as that"
        return
    if whole.lstrip().startswith("{"):
        yield from _json_lines(whole)
    else:
        yield from _csv(whole, wrong_header, of_cells, empty)


def _json_lines(text: str) -> Rows:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.MsgspecError as error:
                yield number, f"this is no JSON object on one line: {error}"


def _csv(
    text: str, wrong_header: Callable[[Sequence[str]], str], of_cells: Callable[[Mapping[str, str]], Row], empty: str
) -> Rows:
    top = text.lstrip().partition("\n")[0]  # where the comma is for decimals, spreadsheets write semicolons
    delimiter = ";" if ";" in top and "," not in top else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    begin = 1
    try:
        for row in reader:
            begin = reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = [cell.strip() for cell in row]
                if wrong := wrong_header(header):
                    yield reader.line_num, wrong
                    return
            elif len(row) != len(header):
                yield reader.line_num, f"{len(row)} cells, but the header has {len(header)}"
            else:
                yield reader.line_num, of_cells(dict(zip(header, row, strict=True)))
    except csv.Error as error:
        yield begin, f"this is no CSV: {error}; nothing from this line on was read"
    if not header and empty:
        yield 1, empty
