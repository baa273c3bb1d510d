"""What a platform reads: events about its messages, and texts that people sent back, as typed values.

Pure. Unknown fields are ignored, so that a newer smsd can be read; those that are not there have their empty value.
"""

from collections.abc import Mapping

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a message's state (contract §3)."""

    event_id: str  # tenant/id/seq: the same event, read twice, has the same
    tenant: str
    id: str
    class_: str
    seq: int  # per message, from 1; 0: about an entry that was not taken
    state: str
    final: bool
    at_ms: int
    provider: str = ""
    provider_id: str = ""
    attempt: int = 0
    segments: int = 0
    encoding: str = ""
    to_country: str = ""
    reason: str = ""
    detail: str = ""
    error_code: str = ""
    due_ms: int = 0  # when it waits for its time or for a retry
    late: bool = False  # a true receipt that came after another end
    possible_duplicate: bool = False
    campaign: str = ""
    meta: object = None  # as it was given
    entry_id: str = ""
    given_id: str = ""
    replaced: str = ""


class Inbound(msgspec.Struct, frozen=True, kw_only=True):
    """A text that somebody sent to a number of a tenant."""

    event_id: str  # provider/provider_id
    tenant: str  # "" where that cannot be told
    provider: str
    provider_id: str
    from_: str
    to: str
    body: str
    at_ms: int
    parts: int = 1
    in_reply_to: str = ""
    intent: str = ""
    opt_out: str = ""


_NAMES = {"class": "class_", "at": "at_ms", "due": "due_ms", "from": "from_"}
_NUMBERS = frozenset({"seq", "at_ms", "attempt", "segments", "due_ms", "parts"})
_SWITCHES = frozenset({"final", "late", "possible_duplicate"})


def event(fields: Mapping[bytes, bytes]) -> Event:
    """Of an entry of smsd:{N}:events."""
    return msgspec.convert(_values(fields), Event, strict=False)


def inbound(fields: Mapping[bytes, bytes]) -> Inbound:
    """Of an entry of smsd:{N}:inbound."""
    values = _values(fields)
    values["event_id"] = f"{values.get('provider', '')}/{values.get('provider_id', '')}"
    return msgspec.convert(values, Inbound, strict=False)


def _values(fields: Mapping[bytes, bytes]) -> dict[str, object]:
    out: dict[str, object] = {}
    for raw, value in fields.items():
        name, text = _NAMES.get(raw.decode(), raw.decode()), value.decode("utf-8", "replace")
        if name in _NUMBERS:
            out[name] = int(text or 0)
        elif name in _SWITCHES:
            out[name] = text == "1"
        elif name == "meta":
            out[name] = msgspec.json.decode(text) if text else None
        else:
            out[name] = text
    return out
