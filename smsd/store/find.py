"""Finds messages by their recipient, by an index that admission keeps and that goes with the records.

Never stores a number: the index has a short hash of it, which tells nobody who it is without trying all numbers.
"""

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING, cast

from smsd.store import keys
from smsd.store.record import decode

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from smsd.store.shard import Shard

LOOKED_AT = 10_000
"""Messages to one number of one tenant that are looked at; more than that is no person's."""


def hashed(to: str) -> str:
    """A recipient in E.164 as the index has it: 64 bits, which no two of a tenant's recipients will share."""
    return urlsafe_b64encode(blake2b(to.encode(), digest_size=8).digest()).decode().rstrip("=")


async def find(shard: "Shard", tenant: str, to: str, limit: int = 100) -> list[str]:
    """Ids of the tenant's messages to a number in E.164 of which there is a record, the newest first."""
    key, prefix = keys.key(shard.number, "who"), f"{tenant}\0{hashed(to)}\0"
    asked = shard.client.zrangebylex(key, f"[{prefix}", f"({prefix}\xff", start=0, num=LOOKED_AT)
    members = await cast("Awaitable[list[bytes]]", asked)
    ids = [member[len(prefix) :].decode() for member in members]
    if not ids:
        return []
    asked = shard.client.hmget(keys.key(shard.number, "msg"), [f"{tenant}/{id_}" for id_ in ids])
    records = await cast("Awaitable[list[bytes | None]]", asked)
    known = [(-decode(packed).entered, id_) for packed, id_ in zip(records, ids, strict=True) if packed]
    return [id_ for _, id_ in sorted(known)[:limit]]
