"""What the verbs of a shard take and give (shard.py), as values. Never decides anything."""

import msgspec

from smsd.message import Leased, Message


class Offer(msgspec.Struct, array_like=True, frozen=True):
    """A provider that the process may use now: its weight in the route, and how many it has room for."""

    provider: str
    weight: int
    room: int


class Lease(msgspec.Struct, frozen=True):
    """What a process got to start at once, or when to ask again."""

    messages: list[Leased]
    again: bool  # the pass ended at its bound: ask at once
    wake_us: int  # on the shard's clock; 0: only a bell or a settle brings more
    revision: int  # of the config in force
    taken_us: int = 0  # when the messages were charged, on the shard's clock


class Unsure(msgspec.Struct, frozen=True):
    """A message of unknown outcome, claimed to be looked at."""

    message: Message | None  # None: its body is gone
    key: str
    provider: str
    attempt: int
    leased_us: int
    deadline_us: int
    noes: int
    failures: int
    resent: bool
    tries: int
    entered_us: int


class ReceiptFor(msgspec.Struct, array_like=True, frozen=True):
    """A receipt and whom it is for: our reference (key, attempt), or only the provider's id (key "")."""

    key: str
    attempt: int
    provider: str
    provider_id: str
    status: str
    reason: str = ""
    error_code: str = ""
    raw: str = ""
    parts: int = 1  # of how many segments with receipts of their own it is one; 0: of all that the message has


class Swept(msgspec.Struct, array_like=True, frozen=True):
    """What one bounded pass of the sweep ended."""

    expired: int
    unleased: int
    unconfirmed: int
    purged: int
    resumed: int
    forgotten: int
    miscounted: int = 0  # counts of what is in flight that were wrong, and are mended
    withdrawn: int = 0
