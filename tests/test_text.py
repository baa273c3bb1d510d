"""Segments against the standard's own table and a segmenter that fills part by part, character by character."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsd.text import GSM_BASIC, GSM_EXTENSION, Segments, segment

# 3GPP TS 23.038 §6.2.1 by code 0x00 to 0x7F as Unicode code points, after Unicode's mapping table GSM0338.TXT; 0x1B is
# the escape. Spelled in another way than in the module on purpose.
TABLE = """
0040 00A3 0024 00A5 00E8 00E9 00F9 00EC 00F2 00C7 000A 00D8 00F8 000D 00C5 00E5
0394 005F 03A6 0393 039B 03A9 03A0 03A8 03A3 0398 039E ---- 00C6 00E6 00DF 00C9
0020 0021 0022 0023 00A4 0025 0026 0027 0028 0029 002A 002B 002C 002D 002E 002F
0030 0031 0032 0033 0034 0035 0036 0037 0038 0039 003A 003B 003C 003D 003E 003F
00A1 0041 0042 0043 0044 0045 0046 0047 0048 0049 004A 004B 004C 004D 004E 004F
0050 0051 0052 0053 0054 0055 0056 0057 0058 0059 005A 00C4 00D6 00D1 00DC 00A7
00BF 0061 0062 0063 0064 0065 0066 0067 0068 0069 006A 006B 006C 006D 006E 006F
0070 0071 0072 0073 0074 0075 0076 0077 0078 0079 007A 00E4 00F6 00F1 00FC 00E0
"""
BASIC = [chr(int(code, 16)) for code in TABLE.split() if code != "----"]
EXTENSION = [chr(code) for code in (0x0C, 0x5E, 0x7B, 0x7D, 0x5C, 0x5B, 0x7E, 0x5D, 0x7C, 0x20AC)]


def runs(alphabet: str) -> st.SearchStrategy[str]:
    """Texts that are long enough to meet the edges of parts: runs of equal characters."""
    run = st.tuples(st.sampled_from(alphabet), st.integers(1, 170))
    return st.lists(run, max_size=8).map(lambda pairs: "".join(character * count for character, count in pairs))


gsm = st.text(st.sampled_from(BASIC), max_size=400)
anything = st.one_of(gsm, st.text(max_size=100), runs("aé€{"), runs("a\u4e2d😀😁"), runs("`\x1b\t€😀"))


def naive(body: str) -> Segments:
    """Puts whole characters into parts, one after the other, and opens a new one when the next does not fit."""
    if all(character in BASIC or character in EXTENSION for character in body):
        encoding, single, part = "GSM-7", 160, 153
        widths = [2 if character in EXTENSION else 1 for character in body]
    else:
        encoding, single, part = "UCS-2", 70, 67
        widths = [2 if ord(character) > 0xFFFF else 1 for character in body]
    if sum(widths) <= single:
        return Segments(encoding, 1 if body else 0, sum(widths))
    count, room = 1, part
    for width in widths:
        if width > room:
            count, room = count + 1, part
        room -= width
    return Segments(encoding, count, sum(widths))


def test_tables() -> None:
    """The module's alphabets are exactly the standard's."""
    assert set(BASIC) == set(GSM_BASIC)
    assert len(GSM_BASIC) == len(BASIC) == 127
    assert sorted(EXTENSION) == sorted(GSM_EXTENSION)


@given(anything)
@example("a" * 160)
@example("a" * 161)
@example("a" * 152 + "€" + "a" * 152)
@example("€" * 80 + "a")
@example("中" * 66 + "😀" * 40)
@example("中" + "😀" * 66)
def test_segment_equals_naive(body: str) -> None:
    """Encoding, count and units are those of a segmenter that looks at one character at a time."""
    assert segment(body) == naive(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", Segments("GSM-7", 0, 0)),
        ("a" * 160, Segments("GSM-7", 1, 160)),
        ("a" * 161, Segments("GSM-7", 2, 161)),
        ("a" * 306, Segments("GSM-7", 2, 306)),
        ("a" * 307, Segments("GSM-7", 3, 307)),
        ("€" * 80, Segments("GSM-7", 1, 160)),
        # 154 units would be two parts of 153 by division, and are: the pair moves over as a whole.
        ("a" * 152 + "€" * 77, Segments("GSM-7", 3, 306)),
        ("\u4e2d" * 70, Segments("UCS-2", 1, 70)),
        ("\u4e2d" * 71, Segments("UCS-2", 2, 71)),
        ("\u4e2d" * 134, Segments("UCS-2", 2, 134)),
        ("😀" * 35, Segments("UCS-2", 1, 70)),
        # 33 pairs fill 66 of 67 units.
        ("😀" * 67, Segments("UCS-2", 3, 134)),
        ("ç", Segments("UCS-2", 1, 1)),  # the alphabet has Ç alone
        ("`", Segments("UCS-2", 1, 1)),
        ("\t", Segments("UCS-2", 1, 1)),
        ("\x1b", Segments("UCS-2", 1, 1)),
        ("\r\n", Segments("GSM-7", 1, 2)),
    ],
)
def test_segment_examples(body: str, expected: Segments) -> None:
    """The edges of one and of several parts lie where TS 23.040 puts them."""
    assert segment(body) == expected


@given(st.text(max_size=100), st.text(max_size=100), st.integers(0xD800, 0xDFFF))
def test_lone_surrogate(before: str, after: str, code: int) -> None:
    """Half of a surrogate pair is refused, with its place, wherever it stands."""
    with pytest.raises(ValueError, match=re.escape(f"at character {len(before)}:")):
        segment(before + chr(code) + after)
