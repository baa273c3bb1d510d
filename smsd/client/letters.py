"""From what a platform wants to the entry of an inbox: checked cheaply, so that a slip is told where it was made.

Pure. Never judges what only smsd can: numbering plans, segments, what a tenant may do. What is wrong in those ways
comes back as an event `rejected`.
"""

import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from zlib import crc32

import msgspec

_TENANT = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII).fullmatch
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII).fullmatch
_TO = re.compile(r"\+[0-9]{7,15}", re.ASCII).fullmatch
META_MAX = 2048
BODY_MAX = 16_000  # bytes; ten segments are far below


class BadMessage(ValueError):
    """A message that smsd would reject, with what would mend it."""


class NotSetUp(Exception):
    """No smsd has ever used this store."""


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One message for `send_many`. Fields as in contract §2; a time is an aware datetime or epoch milliseconds."""

    tenant: str
    to: str
    body: str
    class_: str = "reminder"
    id: str = ""  # yours, unique per tenant; one is made up where none is given
    sender: str = ""
    region: str = ""
    not_before: datetime | int | None = None
    not_after: datetime | int | None = None
    campaign: str = ""
    meta: Mapping[str, object] | None = None
    traceparent: str = ""
    replaces: str = ""


class Letter(msgspec.Struct, frozen=True):
    """An entry, and the class whose inbox it goes to."""

    tenant: str
    id: str
    class_: str
    fields: dict[str, str]


def letter(message: Outgoing) -> Letter:
    """Raises BadMessage. It always has an id, so that writing it again after a lost reply is harmless."""
    _is_tenant(message.tenant)
    for name, value in (("id", message.id), ("campaign", message.campaign), ("replaces", message.replaces)):
        if value and not _ID(value):
            raise BadMessage(f"{name}: write 1 to 128 of A-Z a-z 0-9 _ . : -")
    if not message.body or len(message.body.encode("utf-8", "surrogatepass")) > BODY_MAX:
        raise BadMessage(f"body: write a text of 1 to {BODY_MAX} bytes")
    if not message.region and message.to.startswith("+") and not _TO(message.to):
        raise BadMessage("to: write E.164, as +353861234567")
    meta = msgspec.json.encode(message.meta).decode() if message.meta is not None else ""
    if len(meta.encode()) > META_MAX:
        raise BadMessage(f"meta: as JSON it may have {META_MAX} bytes")
    id_ = message.id or f"py-{uuid.uuid4().hex}"
    fields = {
        "tenant": message.tenant,
        "id": id_,
        "to": message.to,
        "body": message.body,
        "from": message.sender,
        "region": message.region,
        "not_before": _time("not_before", message.not_before),
        "not_after": _time("not_after", message.not_after),
        "campaign": message.campaign,
        "meta": meta,
        "traceparent": message.traceparent,
        "replaces": message.replaces,
    }
    return Letter(message.tenant, id_, message.class_, {name: value for name, value in fields.items() if value})


def cancel(tenant: str, id_: str, class_: str) -> Letter:
    """Withdraws a message; it never overtakes the one that it is about."""
    _is_tenant(tenant)
    if not _ID(id_):
        raise BadMessage("id: write 1 to 128 of A-Z a-z 0-9 _ . : -")
    return Letter(tenant, id_, class_, {"op": "cancel", "tenant": tenant, "id": id_})


def inbox(one: Letter, shards: int) -> str:
    """The stream that an entry goes to: a tenant lives in one shard (contract §1)."""
    return f"smsd:{{{crc32(one.tenant.encode()) % shards}}}:in:{one.class_}"


def _is_tenant(tenant: str) -> None:
    if not _TENANT(tenant):
        raise BadMessage("tenant: write 1 to 64 of A-Z a-z 0-9 _ . : -")


def _time(name: str, value: datetime | int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise BadMessage(f"{name}: a datetime without a zone means another instant on another machine; give it one")
        return str(int(value.timestamp() * 1000))
    if value < 10**11:
        raise BadMessage(f"{name}: epoch milliseconds have 13 digits; these look like seconds")
    return str(value)
