"""Files of those who have opted out: what is read, what is wrong with a line; what is written is read again."""

from collections.abc import AsyncGenerator

import pytest

from smsd.control.optout_file import lines, read
from smsd.control.optouts import CHOSEN, Whose
from smsd.store.optouts import OptOut

ACME = Whose("acme")
ANNA = "+353861234567"


def region(tenant: str) -> str:
    return "IE" if tenant == "acme" else ""


def test_csv_is_read() -> None:
    """With any of the columns; national numbers by the tenant's region; spaces do not matter."""
    text = b"number,scope,tenant,sender,at\n086 123 4567,marketing,acme,,\n"
    text += b"+44 7400 123456,,,Salon,2026-05-03T10:00:00+01:00\n+353861234568,all,,*,1764288000000\n"
    there = read("f", text, None, region)
    assert there.mistakes == []
    assert there.entries == {
        ACME: [OptOut(ANNA, "marketing", 0, "import")],
        Whose(sender="Salon"): [OptOut("+447400123456", "all", 1777798800000, "import")],
        Whose(sender=CHOSEN): [OptOut("+353861234568", "all", 1764288000000, "import")],
    }
    assert there.total == 3


def test_csv_of_a_spreadsheet_is_read() -> None:
    """With a mark of its encoding, with semicolons or commas, with ends of lines as on Windows."""
    for text in ("number;scope\r\n+353861234567;all\r\n", "number,scope\r\n+353861234567,all\r\n", f"number\r\n{ANNA}"):
        there = read("f", b"\xef\xbb\xbf" + text.encode(), ACME, region)
        assert (there.mistakes, there.entries) == ([], {ACME: [OptOut(ANNA, "all", 0, "import")]})


def test_json_lines_are_read() -> None:
    """One object on each line; whose they are may be said for all."""
    there = read("f", b'{"number": "+353861234567"}\n\n{"number": "0861234568", "scope": "marketing"}\n', ACME, region)
    assert [one.scope for one in there.entries[ACME]] == ["all", "marketing"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (b"number,colour\n1,2\n", "f:1: the header has a column number, and any of scope, tenant"),
        (b"scope\nall\n", "f:1: the header has a column number"),
        (b"number\n+353861234567\n", "f:2: tenant: say whose it is"),
        (b"number,tenant\n+353861234567\n", "f:2: 1 cells, but the header has 2"),
        (b"number,tenant,sender\n+353861234567,a,b\n", "f:2: tenant: a line names a tenant or a sender, not both"),
        (b"number,tenant\n+353861234567,a b\n", "f:2: tenant: a tenant id is 1 to 64 of"),
        (b'number,sender\n+353861234567,"A, B"\n', "f:2: sender: a number in E.164, a short code, a name"),
        (b"number,tenant\n,a\n", "f:2: number: "),
        (b"number,tenant,scope\n+353861234567,a,some\n", "f:2: scope: expected one of marketing, all"),
        (b"number,tenant\n12345,b\n", "f:2: number: a number without + needs a region"),
        (b"number,tenant,at\n+353861234567,a,yesterday\n", "f:2: at: "),
        (b'number,tenant\n"+353', "f:2: this is no CSV"),
        (
            b'number,tenant\n"+353,a\n1,a\n2,a\n',
            "f:2: this is no CSV: unexpected end of data; nothing from this line on",
        ),
        (b"number\xff\n", "f:1: this is no UTF-8"),
        (b'{"number": 1\n', "f:1: this is no JSON object on one line"),
        (b'{"number": "+353861234567", "color": 1}\n', "f:1: color: there is no such key"),
    ],
)
def test_each_mistake_is_told_with_its_line(text: bytes, mistake: str) -> None:
    """And without the number."""
    there = read("f", text, None, lambda _: "")
    assert there.total == 0
    assert str(there.mistakes[0]).startswith(mistake)
    assert "861234567" not in str(there.mistakes)


@pytest.mark.parametrize("json", [False, True])
async def test_what_is_written_is_read_again(json: bool) -> None:
    """In both forms, but for the source: that is the file then."""
    entries = [
        (ACME, OptOut(ANNA, "all", 1764288000123, "inbound", "main")),
        (Whose(sender="A & B"), OptOut(ANNA, "marketing", 5000, "api")),
        (Whose(sender=CHOSEN), OptOut(ANNA, "all", 5000, "provider", "main")),
        (Whose(sender=ANNA), OptOut("12345", "all", 5000, "inbound", "main")),  # texts come from more than people
        (Whose(sender=ANNA), OptOut("+99912345678", "all", 5000, "inbound", "main")),
    ]
    unknown = [OptOut("", "all", 5000, source, "main") for source in ("provider", "inbound")]  # and passed over

    async def each() -> AsyncGenerator[tuple[Whose, OptOut]]:
        for one in [*entries, *((Whose(sender="Salon"), one) for one in unknown)]:
            yield one

    text = "\n".join([line async for line in lines(each(), json=json)]).encode()
    there = read("f", text, None, region)
    assert there.mistakes == []
    assert [(whose, one) for whose, some in there.entries.items() for one in some] == [
        (whose, OptOut(one.number, one.scope, one.at_ms, "import")) for whose, one in entries
    ]
