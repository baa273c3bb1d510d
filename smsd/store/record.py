"""The record of a message, and the state of a lane, as the scripts keep them: msgpack arrays, typed for Python.

The order of the fields is the schema; the scripts take their indexes from here. Append only, with the version raised.
"""

from collections.abc import Mapping

import msgspec


class Taken(msgspec.Struct, array_like=True, frozen=True):
    """An attempt that a provider took, or a segment of it, and the last receipt for it ("" until one comes)."""

    attempt: int
    provider: str
    provider_id: str
    receipt: str = ""
    segments: int | None = None  # of the attempt, where each has an id and a receipt of its own
    reason: str = ""  # of an undelivered
    error_code: str = ""


class Beginning(msgspec.Struct, array_like=True, frozen=True):
    """How a record begins, for who looks at many and needs no more of each."""

    version: int
    state: str
    seq: int
    class_: str
    route: str
    lane: str
    deadline: int
    arrival: int
    due: int
    cost: int
    attempt: int
    fence: int
    provider: str


class Record(Beginning, array_like=True, frozen=True):
    """Everything about a message that changes, and what its events repeat."""

    flags: int
    print: str
    entered: int
    leased: int
    submitted: int
    echo: msgspec.Raw  # what its events repeat: `echoed`
    taken: list[Taken]
    parked: list[list[int | str]]
    nos: int
    fails: int
    waited: str
    hist: str
    tries: int
    unsettled: int = 0  # leases in a row that ended with nobody's word
    who: str = ""  # the recipient, hashed (find.py); "" before there was an index
    limited: int = 0  # us that it was first of its lane and a limit refused it, before its attempts
    since: int = 0  # its not_before, where it came with one that was still ahead
    lead: int = 0  # us by which it was charged ahead of the instant `leased`
    keyed: int = 0  # us, until when an attempt that may have left can be repeated under its key; 0: any time

    @property
    def echoed(self) -> dict[str, str]:
        """What every event of it repeats, by name."""
        string = bytes(self.echo)
        packed = string[_HEAD.get(string[0], 1) :]
        old = not packed or packed[0] < 0x80  # text, in records of stores that are older
        flat = packed.decode().split("\x1f") if old else _echo.decode(packed)
        return dict(zip(flat[::2], flat[1::2], strict=False))

    @property
    def since_us(self) -> int:
        """When it could first leave: when it was taken, or its not_before."""
        return max(self.entered, self.since)


class LaneState(msgspec.Struct, array_like=True, frozen=True):
    """How a lane stands."""

    status: str  # r ready, w waits, p paused
    head: str  # deadline us (16 digits) and arrival number (9 hex) of its first message
    scope: str  # the limit where it waits, or the mark that pauses it
    refused: int  # us, when a limit first refused the head; 0: none did
    via: str  # the limit that woke it
    holds: list[str]  # members of the key `wait` that keep its places at limits that it has already passed
    cost: int  # the head's segments, 0 where nobody has looked


FLAG_CANCEL, FLAG_DOUBLE, FLAG_MAYBE, FLAG_RESENT, FLAG_EARLIER = 1, 2, 4, 8, 16

ECHOED_MOST = 7

INDEX: dict[str, int] = {
    **{name.rstrip("_").upper(): i for i, name in enumerate(Record.__struct_fields__, 1)},
    **{f"L_{name.upper()}": i for i, name in enumerate(LaneState.__struct_fields__, 1)},
}
"""Field name in the scripts -> its place, from 1; those of a lane's state begin with L_."""


def echo_of(pairs: Mapping[str, str]) -> msgspec.Raw:
    """The field `echo` for these fields of events: an array packed once more, as a string, for what the scripts hand on
    they need not unpack. They know no binary, so that is msgpack's string, though it is not UTF-8. Up to 7 fields: the
    scripts step over an array's head of one byte.
    """
    if len(pairs) > ECHOED_MOST:
        raise ValueError(f"{len(pairs)} fields, at most {ECHOED_MOST} can be repeated")
    packed = msgspec.msgpack.encode([text for pair in pairs.items() for text in pair])
    size = len(packed)
    head = bytes([0xA0 | size]) if size < 32 else bytes([0xD9, size]) if size < 256 else b"\xda" + size.to_bytes(2)
    return msgspec.Raw(head + packed)


def decode(packed: bytes) -> Record:
    """Raises msgspec.ValidationError for a record of another schema."""
    return _decoder.decode(packed)


def decode_lane(packed: bytes) -> LaneState:
    """Likewise."""
    return _lane_decoder.decode(packed)


_decoder = msgspec.msgpack.Decoder(Record)
_lane_decoder = msgspec.msgpack.Decoder(LaneState)
_echo = msgspec.msgpack.Decoder(list[str])
_HEAD = {0xD9: 2, 0xDA: 3}  # bytes before a string that is not short, by the first of them
