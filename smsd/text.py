"""How a text is encoded and counted in segments: GSM-7 or UCS-2, as 3GPP TS 23.038 and TS 23.040 have it.

Never changes a text (no transliteration, no normal form), never judges whether it is too long, never sends.
"""

import re
from typing import Literal

import msgspec

GSM_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet without its escape (TS 23.038 §6.2.1): one septet each."""

GSM_EXTENSION = "\f^{}\\[~]|€"
"""The extension table (TS 23.038 §6.2.1.1): an escape and a septet each."""

# Septets and UTF-16 units that fit alone, and beside the 6 octets of a concatenation header (TS 23.040 §9.2.3.24.1).
GSM_SINGLE, GSM_PART = 160, 153
UCS_SINGLE, UCS_PART = 70, 67

_ESCAPE = "\x1b"  # not in the alphabet as a character of its own, so it marks pairs unambiguously
_HIGH_SURROGATE = range(0xD8, 0xDC)  # the upper octet of a pair's first unit (RFC 2781)

_is_basic = re.compile(f"[{re.escape(GSM_BASIC)}]*").fullmatch
_is_gsm = re.compile(f"[{re.escape(GSM_BASIC + GSM_EXTENSION)}]*").fullmatch
_escape_extension = re.compile(f"(?=[{re.escape(GSM_EXTENSION)}])").sub


class Segments(msgspec.Struct, frozen=True, gc=False):
    """What a text costs. `units` are septets for GSM-7 and UTF-16 code units for UCS-2, without any header."""

    encoding: Literal["GSM-7", "UCS-2"]
    count: int
    units: int


def segment(body: str) -> Segments:
    """Counts the segments of a text; neither an escape pair nor a surrogate pair is split over two (TS 23.040).

    Raises ValueError for a lone surrogate, which no encoding can carry. An empty text has 0 segments.
    """
    if _is_basic(body):
        units = len(body)
        return Segments("GSM-7", 1 if 0 < units <= GSM_SINGLE else -(-units // GSM_PART), units)
    if _is_gsm(body):
        septets = _escape_extension(_ESCAPE, body)
        units = len(septets)
        return Segments("GSM-7", 1 if units <= GSM_SINGLE else _count_escaped(septets), units)
    try:
        utf16 = body.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise ValueError(f"half of a surrogate pair at character {error.start}: not Unicode text") from None
    units = len(utf16) // 2
    if units <= UCS_SINGLE:
        return Segments("UCS-2", 1, units)
    if units == len(body):
        return Segments("UCS-2", -(-units // UCS_PART), units)
    return Segments("UCS-2", _count_paired(utf16), units)


def _count_escaped(septets: str) -> int:
    """Parts of a text with escapes: a part whose last septet would be an escape leaves that pair to the next."""
    count = start = 0
    while start < len(septets):
        start += GSM_PART - (septets[start + GSM_PART - 1 : start + GSM_PART] == _ESCAPE)
        count += 1
    return count


def _count_paired(utf16: bytes) -> int:
    """Parts of a text with surrogates: a part whose last unit would be the first of a pair leaves it to the next."""
    count = start = 0
    while start < len(utf16):
        last = start + 2 * (UCS_PART - 1)
        paired = last < len(utf16) and utf16[last] in _HIGH_SURROGATE
        start = last if paired else last + 2
        count += 1
    return count
