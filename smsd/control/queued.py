"""How many messages wait under a name, over all shards: what a cancel or a pause concerns.

Never changes anything; the steps of the count are bounded (store/count.py).
"""

from collections.abc import Sequence
from zlib import crc32

from smsd.control.holding import Target
from smsd.store.count import queued as queued_in
from smsd.store.shard import Shard


async def queued(shards: Sequence[Shard], target: Target) -> int:
    """Messages that wait, of a tenant, a class, a tenant's class or campaign, or all; a sender's and a provider's
    are not known by name. What nobody has taken out of an inbox yet is not counted.
    """
    names = {"tenant": target.tenant, "class_": target.class_, "campaign": target.campaign}
    mine = [shards[crc32(target.tenant.encode()) % len(shards)]] if target.tenant else shards
    return sum([await queued_in(shard, **names) for shard in mine])
