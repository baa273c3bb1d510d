"""Counts what is queued of a tenant, a class or a campaign, in bounded steps: whatever waits, the store is not held up.

Never changes anything. A count is of many moments where it takes many steps.
"""

from typing import cast

from smsd.store import keys
from smsd.store.shard import Shard

STEP = 1000  # lanes, or messages that are due later, in one call


async def queued(shard: Shard, *, tenant: str = "", class_: str = "", campaign: str = "") -> int:
    """Messages that wait in one shard: for their turn, a limit, a pause or a time. A campaign belongs to its tenant."""
    if not (tenant or class_):
        return int(await shard.client.zcard(keys.key(shard.number, "lanes"))) + await _due(shard, "", "", "")
    return await _lanes(shard, tenant, class_, campaign) + await _due(shard, tenant, class_, campaign)


async def _lanes(shard: Shard, tenant: str, class_: str, campaign: str) -> int:
    """A lane's name begins with its tenant and class, so what they name together is one range."""
    begin = f"{tenant}|{class_}|" if tenant and class_ else f"{tenant}|" if tenant else ""
    if begin and not campaign:
        return await _between(shard, "lanes", begin)
    return await _walk(shard, "lanes", *_range(begin), tenant, class_, campaign)


async def _due(shard: Shard, tenant: str, class_: str, campaign: str) -> int:
    if not tenant:
        return await _between(shard, "due", f"{class_}\0" if class_ else "")
    return await _walk(shard, "due", *_range(f"{class_}\0" if class_ else ""), tenant, class_, campaign)


def _range(begin: str) -> tuple[str, str]:
    """All members that begin so: up to the character that follows the last one."""
    return (f"[{begin}", f"({begin[:-1]}{chr(ord(begin[-1]) + 1)}") if begin else ("-", "+")


async def _between(shard: Shard, kind: str, begin: str) -> int:
    return int(await shard.client.zlexcount(keys.key(shard.number, kind), *_range(begin)))


async def _walk(shard: Shard, kind: str, begin: str, end: str, *wanted: str) -> int:
    n, at = 0, begin
    while at:
        found, after = cast("tuple[int, bytes]", tuple(await shard.run("count", kind, at, end, *wanted, STEP)))
        n, at = n + int(found), after.decode()
    return n
