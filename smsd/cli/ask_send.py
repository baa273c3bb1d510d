"""One message from the command line: written to its inbox, followed on the events stream to its end.

Never sends anything itself: it is a producer like any other.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from zlib import crc32

import msgspec

from smsd.cli.reach import Reached, reach
from smsd.cli.say import Code, Trouble, moment
from smsd.store import keys

BLOCK_MS = 1000


class Letter(msgspec.Struct, frozen=True):
    """What is sent, and how long its end is waited for; 0: not at all."""

    class_: str
    fields: dict[str, str]
    timeout_s: float


async def post(config: Path, letter: Letter, *, tell: Callable[[str], object]) -> dict[str, str]:
    """Writes it and returns the last event about it; raises Trouble when its end has not come in time."""
    async with reach(config) as store:
        known = store.config.classes
        if letter.class_ not in known:
            raise Trouble(f'there is no class "{letter.class_}": there are {", ".join(known)}', Code.MISTAKE)
        fields = {"id": f"cli-{secrets.token_hex(6)}"} | letter.fields
        tenant, id_ = fields["tenant"], fields["id"]
        shard = crc32(tenant.encode()) % len(store.shards)
        known = await store.shards[shard].record(f"{tenant}/{id_}")
        if known is not None and known.state != "tomb":
            raise Trouble(f"tenant {tenant} has a message {id_} already, which is {known.state}: give another --id")
        if "id" not in letter.fields:
            tell(f"message {id_} of tenant {tenant}")
        after = await _last(store, shard)
        entry = await store.client.xadd(keys.inbox(shard, letter.class_), dict(fields))
        if not letter.timeout_s:
            return {"state": "enqueued", "tenant": tenant, "id": id_, "entry_id": _text(entry)}
        return await _follow(store, shard, after, fields | {"entry_id": _text(entry)}, letter.timeout_s, tell)


async def _last(store: Reached, shard: int) -> str:
    newest = await store.client.xrevrange(keys.key(shard, "events"), count=1)
    return _text(newest[0][0]) if newest else "0"


async def _follow(
    store: Reached, shard: int, after: str, fields: Mapping[str, str], timeout_s: float, tell: Callable[[str], object]
) -> dict[str, str]:
    until = time.monotonic() + timeout_s
    last: dict[str, str] = {}
    stream = keys.key(shard, "events")
    while (left_s := until - time.monotonic()) > 0:
        block_ms = max(1, min(BLOCK_MS, int(left_s * 1000)))
        answered = await store.client.xread({stream: after}, block=block_ms, count=500)
        for entry_id, pairs in answered[0][1] if answered else ():
            after = _text(entry_id)
            event = {_text(name): _text(value) for name, value in pairs.items()}
            mine = event.get("tenant") == fields["tenant"] and event["id"] == fields["id"]
            if not mine and event.get("entry_id") != fields["entry_id"]:  # a rejected entry may have neither
                continue
            last = event
            if event["final"] == "1":
                return event
            tell(_told(event))
    if not last:
        raise Trouble(f"nobody has taken it within {timeout_s:g} s: is smsd run running, with this store?")
    raise Trouble(f"still {last['state']} after {timeout_s:g} s: see smsd trace {fields['tenant']} {fields['id']}")


def _told(event: Mapping[str, str]) -> str:
    facts = [f"{name} {event[name]}" for name in ("provider", "provider_id", "reason") if event.get(name)]
    facts += [f"due {moment(int(event['due']))}"] if event.get("due") else []
    return f"{event['state']} ({', '.join(facts)})" if facts else event["state"]


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
