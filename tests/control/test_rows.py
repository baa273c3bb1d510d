"""Rows of files that people hand in: each comes with its line, in either form, and so does what is wrong."""

from collections.abc import Sequence

import pytest

from smsd.control.rows import rows


def wrong(header: Sequence[str]) -> str:
    return "" if "name" in header else "no name"


def test_both_forms_say_the_same() -> None:
    """By column or key, with the line that a person sees in an editor, whatever mark or blank lines stand between."""
    csv = '\ufeff name ,more\n\na,"x\ny"\n,,\nb,\n'.encode()
    assert list(rows(csv, wrong)) == [(4, {"name": "a", "more": "x\ny"}), (6, {"name": "b", "more": ""})]
    json = b'{"name": "a", "more": "x\\ny"}\n\n{"name": "b", "more": ""}\n'
    assert list(rows(json, wrong)) == [(1, {"name": "a", "more": "x\ny"}), (3, {"name": "b", "more": ""})]


def test_cells_may_be_read_in_a_way_of_their_own() -> None:
    """A cell is text, where JSON has lists and numbers: what is made of it is said beside the columns."""
    assert list(rows(b"name,n\na,5\n", wrong, of_cells=lambda row: {row["name"]: int(row["n"])})) == [(2, {"a": 5})]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", [(1, "nothing")]),
        (b"\n,,\n", [(1, "nothing")]),
        (b"name\n", []),
        (b"nom\na\n", [(1, "no name")]),
        (b"name\na,b\nc\n", [(2, "2 cells, but the header has 1"), (3, {"name": "c"})]),
        (b"name\na\n\xff\n", [(3, "this is no UTF-8: save the file as that")]),
    ],
)
def test_what_is_wrong_stands_on_its_line(text: bytes, told: list[object]) -> None:
    """A wrong row keeps no other back; a wrong header or encoding is all that is told."""
    assert list(rows(text, wrong, empty="nothing")) == told


@pytest.mark.parametrize("text", [b'name\n"a', b'{"name": "a"\n', b"{}\n[]\n"])
def test_what_is_no_row_is_told_in_words(text: bytes) -> None:
    """What cannot be read is a sentence, with the reader's own reason."""
    (_, told) = list(rows(text, wrong))[-1]
    assert str(told).startswith("this is no ")
    assert ": " in str(told)
