"""What a message is: the frozen values that travel through every other module.

Never does IO, never reads a clock, never decides. All instants are integers in microseconds since the epoch (`_us`)
unless a name says `_ms`.
"""

from enum import StrEnum

import msgspec


class State(StrEnum):
    """Where a message stands, as the events stream tells it (docs/LIFECYCLE.md has what may follow what)."""

    QUEUED = "queued"
    LEASED = "leased"  # inside only: no event is written when a process takes a message to send it
    SUBMITTED = "submitted"
    UNKNOWN = "unknown"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"
    EXPIRED = "expired"
    REJECTED = "rejected"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


class Message(msgspec.Struct, frozen=True, array_like=True):
    """One text to one number, as admitted: checked, normalised, sender and route fixed. Stored as one msgpack array.

    Append fields at the end only, each with a default: a record of the release before must still decode.
    """

    tenant: str
    id: str
    to: str  # E.164
    sender: str  # E.164, short code or alphanumeric; "" lets the provider choose (a messaging service)
    body: str
    class_: str
    route: str
    encoding: str  # "GSM-7" | "UCS-2"
    segments: int
    to_country: str  # ISO 3166 alpha-2; "" where the numbering plan names none
    campaign: str = ""
    meta: str = ""
    traceparent: str = ""
    not_after_us: int = 0  # 0: none given

    @property
    def key(self) -> str:
        """The message's key in the store: `tenant/id`; `/` is a character of neither alphabet."""
        return f"{self.tenant}/{self.id}"


class Send(msgspec.Struct, frozen=True):
    """A checked entry that asks for a message: what intake hands to the store."""

    message: Message
    entry_id: str  # of the inbox stream; "" when it came by another way
    fingerprint: str  # of the content that makes a repeat a repeat (contract §2)
    not_before_us: int  # 0: at once
    deadline_us: int  # when it expires; see core.admit.deadline
    replaces: str = ""  # an id of the same tenant, or ""


class Cancel(msgspec.Struct, frozen=True):
    """A checked entry that withdraws a message of its tenant."""

    tenant: str
    id: str
    entry_id: str


class Rejection(msgspec.Struct, frozen=True):
    """An entry that cannot be taken, with what would mend it. `fields` are the original ones, for the dead stream."""

    reason: str  # one of core.admit.REASONS
    detail: str
    entry_id: str
    tenant: str  # "" where it could not be read
    given_id: str  # the id that the entry asked for, or ""
    fields: tuple[tuple[bytes, bytes], ...]
    fingerprint: str = ""  # of its content, where that could be read: it may repeat a message that was taken
    campaign: str = ""  # these two where they are what they should be: its event hands them back
    meta: str = ""

    @property
    def repeats(self) -> str:
        """The key of the message that it repeats, if that has this fingerprint; "": it can repeat none."""
        return f"{self.tenant}/{self.given_id}" if self.fingerprint and self.tenant and self.given_id else ""


Entry = Send | Cancel | Rejection


class Leased(msgspec.Struct, frozen=True):
    """A message that this process, and no other, may try once: the lease is the intent, already durable."""

    message: Message
    provider: str
    attempt: int  # counts from 1; with the key it makes our reference
    fence: int  # names this lease; a settle with another fence changes nothing
    entered_us: int
    deadline_us: int
    first_refused_us: int = 0  # when a limit first refused this head, 0 if none did: the limit's share of the delay
    resend: bool = False  # an earlier attempt's outcome was never certain
    tries: int = 0  # attempts before this one that count against the class's max_attempts
    bound: str = ""  # the only providers that may take it, comma separated; "": any of its route
    punctual: bool = False  # a limit is nearly used: its first byte has to leave within the slack of its charge
    start_us: int = 0  # what it is charged for, on the shard's clock: not a byte leaves before
    since_us: int = 0  # when it could first leave: when it was taken, or its not_before
    key_until_us: int = 0  # what may have left before is repeated under its key until then only; 0: any time

    @property
    def reference(self) -> str:
        """Ours, for the provider to hand back in its receipt: `attempt.tenant/id`; its tenant names the shard."""
        return f"{self.attempt}.{self.message.key}"
