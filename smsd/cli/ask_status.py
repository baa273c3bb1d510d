"""How a store stands at this moment: what waits, what is in flight, which config holds, who works.

Never changes anything; each look costs the store the same, whatever waits in it.
"""

from pathlib import Path
from typing import Any

import msgspec

from smsd.cli.reach import Reached, reach
from smsd.control.revision import content_hash, published
from smsd.store import keys

ALIVE_MS = 15_000  # a worker reads its inboxes every two seconds


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `smsd status`."""

    revision: int
    config_is_file: bool  # the config in force is this file's shared part
    backlog: dict[str, int]  # by class: taken, and not left
    inbox: dict[str, int]  # by class: not taken yet
    in_flight: dict[str, int]  # by provider
    dead: int  # entries in the dead streams
    events: int
    store_memory_bytes: int
    store_memory_max_bytes: int
    processes: list[str]


async def standing(config: Path) -> Standing:
    async with reach(config) as store:
        force = await published(store.shards[0])
        memory: dict[str, Any] = await store.client.info("memory")
        classes = list(store.config.classes)
        backlog, inbox, flying = dict.fromkeys(classes, 0), dict.fromkeys(classes, 0), dict[str, int]()
        dead = events = 0
        names: set[str] = set()
        for shard in range(len(store.shards)):
            meta: dict[bytes, bytes] = await store.client.hgetall(keys.key(shard, "meta"))
            for field, n in meta.items():
                if field.startswith(b"n:"):
                    name = field[2:].decode()
                    backlog[name] = backlog.get(name, 0) + max(0, int(n))
            leased: dict[bytes, bytes] = await store.client.hgetall(keys.key(shard, "inflight"))
            for field, n in leased.items():
                if field.startswith(b"p:"):
                    flying[field[2:].decode()] = flying.get(field[2:].decode(), 0) + int(n)
            for class_ in classes:
                inbox[class_] += await store.client.xlen(keys.inbox(shard, class_))
                names |= await _at_work(store, keys.inbox(shard, class_))
            dead += await store.client.xlen(keys.key(shard, "dead"))
            events += await store.client.xlen(keys.key(shard, "events"))
        return Standing(
            revision=force.revision,
            config_is_file=force.hash == content_hash(store.config),
            backlog=backlog,
            inbox=inbox,
            in_flight=flying,
            dead=dead,
            events=events,
            store_memory_bytes=int(memory["used_memory"]),
            store_memory_max_bytes=int(memory["maxmemory"]),
            processes=sorted(names),
        )


async def _at_work(store: Reached, inbox: str) -> set[str]:
    """The consumers of an inbox that have read it lately."""
    if not await store.client.exists(inbox):
        return set()
    consumers = await store.client.xinfo_consumers(inbox, keys.GROUP)
    return {consumer["name"].decode() for consumer in consumers if int(consumer["idle"]) < ALIVE_MS}


def shown(now: Standing) -> str:
    """The answer as text."""
    most = f" of {_size(now.store_memory_max_bytes)}" if now.store_memory_max_bytes else ""
    if not now.revision:
        config = "none was ever published: smsd run does it"
    else:
        same = "this file's" if now.config_is_file else "not this file's: smsd reload publishes it"
        config = f"revision {now.revision}, {same}"
    lines = [
        f"backlog    {_counts(now.backlog)}",
        f"inbox      {_counts(now.inbox)}",
        f"in flight  {_counts(now.in_flight)}",
        f"config     {config}",
        f"store      {_size(now.store_memory_bytes)}{most}, {now.events} events, {now.dead} dead entries",
        f"processes  {', '.join(now.processes) or 'none: smsd run starts them'}",
    ]
    return "\n".join(lines)


def _counts(of: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in of.items()) or "nothing"


def _size(n: int) -> str:
    return f"{n / 1024 / 1024:.1f} MB"
