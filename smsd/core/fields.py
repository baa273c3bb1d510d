"""The fields of an inbox entry as texts, whether they came flat or as one `json` object; and how an instant is written.

Never judges what a text means for a message: that is core.admit's. Never quotes a value in a fault, because faults
travel to logs and to the events stream.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import cast

import msgspec

RawFields = Sequence[tuple[bytes, bytes]]

ENTRY_MAX_BYTES = 64 * 1024  # of all names and values; the longest body that can be sent is far below
JSON_READ_MAX_BYTES = 1024 * 1024  # a larger `json` is not even read to learn whose it was


class Fault(Exception):
    """Why an entry cannot be taken: one of core.admit.REASONS, and a sentence that says what would be right."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


FAULT_OF = {
    "tenant": "bad_tenant",
    "to": "bad_number",
    "body": "bad_body",
    "id": "bad_id",
    "from": "bad_sender",
    "region": "bad_number",
    "not_before": "bad_time",
    "not_after": "bad_time",
    "campaign": "bad_id",
    "meta": "bad_meta",
    "traceparent": "",  # never worth a message: what cannot be read is left out
    "op": "bad_op",
    "replaces": "bad_id",
}
"""Every field of the contract (§2), and the reason to reject an entry in which it is not what it should be."""

_FIELDS = {name.encode(): name for name in FAULT_OF}
_TIMES = ("not_before", "not_after")


def read(fields: RawFields) -> tuple[dict[str, str], Fault | None]:
    """The known fields as texts, and what is wrong with the entry's form, if anything is: then the texts are what could
    be read of it. Of a field that comes twice the last counts; the field `json` counts alone. Raises nothing.
    """
    given: dict[str, str] = {}
    fault: Fault | None = None
    document: bytes | None = None
    size = 0
    for raw_name, raw in fields:
        size += len(raw_name) + len(raw)
        name = _FIELDS.get(raw_name)
        if name is not None:
            try:
                given[name] = raw.decode()
            except UnicodeDecodeError:
                given.pop(name, None)
                if FAULT_OF[name]:
                    fault = fault or Fault(FAULT_OF[name], f"{name}: not UTF-8")
        elif raw_name == b"json":
            document = raw
    if document is not None:
        given, fault = _read_json(document)
    if size > ENTRY_MAX_BYTES:
        fault = Fault("too_large", f"the entry has {size} bytes; {ENTRY_MAX_BYTES} are allowed")
    return given, fault


def unknown_fields(fields: RawFields) -> int:
    """How many fields are none of the contract's: they are ignored. Beside a `json` every other field is one."""
    document = next((raw for name, raw in reversed(fields) if name == b"json"), None)
    if document is None:
        return sum(name not in _FIELDS for name, _ in fields)
    beside = sum(name != b"json" for name, _ in fields)
    try:
        decoded = _decode(document)
    except Fault:
        return beside
    return beside + sum(name not in FAULT_OF for name in decoded)


# ---- JSON ------------------------------------------------------------------------------------------------------------


class _Meta(msgspec.Struct):
    meta: msgspec.Raw


HALF_PAIR = "holds half of a surrogate pair, as a text does that was cut inside an emoji; cut it between characters"
_is_half = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])").search  # msgspec calls that truncated input

_decode_any = msgspec.json.Decoder().decode
_decode_meta = msgspec.json.Decoder(_Meta).decode


def parse_json(text: str | bytes) -> object:
    """The value of a JSON text. Raises ValueError with a sentence that quotes nothing of it."""
    try:
        return _decode_any(text)
    except msgspec.MsgspecError as error:
        whole = text if isinstance(text, str) else text.decode(errors="replace")
        raise ValueError(HALF_PAIR if _is_half(whole) else str(error)) from None
    except UnicodeError:
        raise ValueError("not UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _decode(document: bytes) -> dict[str, object]:
    """The object in the field `json`. Raises Fault."""
    if len(document) > JSON_READ_MAX_BYTES:
        raise Fault("too_large", f"json: more than {JSON_READ_MAX_BYTES} bytes")
    try:
        decoded = parse_json(document)
    except ValueError as error:
        raise Fault("bad_json", f"json: {error}") from None
    if not isinstance(decoded, dict):
        raise Fault("bad_json", 'json: an object of the entry\'s fields is wanted, like {"tenant": "acme", …}')
    return cast("dict[str, object]", decoded)


def _read_json(document: bytes) -> tuple[dict[str, str], Fault | None]:
    given: dict[str, str] = {}
    try:
        decoded = _decode(document)
    except Fault as fault:
        return given, fault
    fault: Fault | None = None
    for name, value in decoded.items():
        if type(value) is str:
            if name in FAULT_OF:
                given[name] = value
        elif value is None or name not in FAULT_OF:
            continue
        elif name == "meta":
            # Reformatted as text, never decoded and encoded: large numbers come back as they came.
            given[name] = msgspec.json.format(bytes(_decode_meta(document).meta), indent=-1).decode()
        else:
            if type(value) in (int, float) and value == int(cast("float", value)):
                given[name] = str(int(cast("float", value)))  # also for an id, so that the rejection names it
                if name in _TIMES:
                    continue
            wanted = "a JSON string or a whole number of milliseconds" if name in _TIMES else "a JSON string"
            if FAULT_OF[name]:
                fault = fault or Fault(FAULT_OF[name], f"{name}: {wanted} is wanted")
    return given, fault


# ---- Instants --------------------------------------------------------------------------------------------------------

EARLIEST_EPOCH_MS = 10**11  # 1973; what is below counts seconds, or is no time (contract §2)
LATEST_US = 7_258_118_400_000_000  # 2200-01-01; later is a mistake in the unit, and the store's numbers end at 2**53

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")
_US = timedelta(microseconds=1)
_HOUR_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_match_rfc3339: Callable[[str], re.Match[str] | None] = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[Tt ]({_HOUR_MINUTE}):([0-5][0-9]|60)(?:\.([0-9]+))?([Zz]|[+-]{_HOUR_MINUTE})"
).fullmatch


def parse_instant(text: str) -> int:
    """The instant, in microseconds, at least 1, that RFC 3339 §5.6 with an offset or a whole number of epoch
    milliseconds names. Raises ValueError with a sentence that says what is right.
    """
    if text.isascii() and text.isdigit():
        # A text of more digits than any year has is not worth the work of int().
        instant_us = int(text) * 1000 if len(text) <= 20 else LATEST_US
        if instant_us < EARLIEST_EPOCH_MS * 1000:
            raise ValueError("epoch time is written in milliseconds; a number below 100000000000 is a mistake")
    else:
        instant_us = _parse_rfc3339(text)
    if instant_us >= LATEST_US:
        raise ValueError("lies after the year 2199; epoch time is written in milliseconds")
    return max(1, instant_us)  # 0 means "not given"


def _parse_rfc3339(text: str) -> int:
    match = _match_rfc3339(text)
    if match is None:
        if _match_rfc3339(text + "Z"):
            raise ValueError("has no offset: add Z, or one like +01:00")
        raise ValueError("neither RFC 3339 like 2026-03-29T09:00:00+01:00 nor epoch milliseconds")
    date, hour_minute, second, fraction, offset = match.groups()
    leap = second == "60"  # allowed by RFC 3339 §5.7, unknown to datetime: the first instant of the next minute
    try:
        whole = datetime.fromisoformat(f"{date}T{hour_minute}:{'59' if leap else second}{offset.upper()}")
    except ValueError:
        raise ValueError("no such day in the calendar") from None
    micros = 1_000_000 if leap else int(f"{fraction or ''}000000"[:6])
    return (whole - _EPOCH) // _US + micros
