"""Which config is in force, by revision: what is published for all hosts, and what was.

`publish` is the one door: it refuses a config that drops what messages wait for (dropping.py). A process that runs
follows what it finds here (shell/live.py).
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import msgspec

from smsd.config import Config, compiled, follow, shared
from smsd.control.dropping import Held, Waiting, waiting
from smsd.control.made import made, read
from smsd.store import keys
from smsd.store.shard import Shard

COMPILED = 3
"""Raised when what the scripts read changes its form, so that a new release publishes the same file again."""

HASHES_KEPT = 64
_SEEN = "config:"  # field of keys.META: config:<hash> -> when it was published, in ms


class Published(msgspec.Struct, frozen=True):
    """The config in force in a shard. Revision 0: none was ever published."""

    revision: int
    hash: str = ""
    source: bytes = b""


def content_hash(config: Config) -> str:
    """Of what would be published: the shared part, and the form in which it is compiled."""
    return f"{config.revision_hash}.{COMPILED}"


def for_scripts(config: Config) -> dict[str, object]:
    """All that the scripts read of a config: `compiled`, more of the classes, how long what is kept."""
    rows = cast("list[list[object]]", compiled(config)["classes"])
    named = [(row, config.classes[str(row[0])]) for row in rows]
    classes = [[*row[:3], one.receipt_timeout_us, int(one.opt_out == "marketing")] for row, one in named]
    kept = config.retention
    keep = [kept.messages_us, kept.bodies_us or 1, config.dispatch.slack_ms * 1000]
    return {**compiled(config), "classes": classes, "keep": keep}


async def published(shard: Shard) -> Published:
    """What is in force in a shard."""
    key = keys.key(shard.number, "conf")
    asked = shard.client.hmget(key, ["revision", "hash", "source"])
    revision, hash_, source = await cast("Awaitable[list[bytes | None]]", asked)
    return Published(int(revision), (hash_ or b"").decode(), source or b"") if revision else Published(0)


async def publish(
    config: Config,
    shards: Sequence[Shard],
    *,
    force: bool = False,
    warn: Callable[[Waiting], object] | None = None,
) -> int:
    """Puts a config in force in every shard, and remembers that it was. Returns the first shard's revision.

    Raises Held where it drops a class, route or provider that messages wait for; `force`: not even then. `warn` hears
    of what is dropped all the same.
    """
    waits = await waiting((await published(shards[0])).source, config, shards)
    if not force and any(one.holds for one in waits):
        raise Held(waits)
    for one in waits:
        if warn is not None:
            warn(one)
    revisions = [await publish_in(shard, config) for shard in shards]
    await remember(shards[0], content_hash(config))
    return revisions[0]


async def publish_in(shard: Shard, config: Config) -> int:
    """The same in one shard, with the settings that were made for its tenants. Returns the revision."""
    revision = -1
    while revision < 0:  # a tenant's settings or the config have changed between our look and our write
        there = await made(shard)
        scripts = for_scripts(config.with_made(read(config, there.tables)))
        revision = await shard.publish(content_hash(config), shared(config), scripts, tenants=there.version)
    return revision


async def in_force(local: Config, shard: Shard, *, secrets: bool = False) -> tuple[int, Config]:
    """The revision in force in a shard, and the config that it makes on this host; the local one before there is any.

    `secrets`: whether those that it refers to must be there. Raises ConfigErrors where it cannot be used here.
    """
    there = await published(shard)
    if there.revision == 0 or there.hash == content_hash(local):
        return there.revision, local
    return there.revision, follow(local, there.source, secrets=secrets)


async def seen(shard: Shard, hash_: str) -> bool:
    """Whether a config of that hash was ever in force here."""
    return bool(await shard.client.hexists(keys.META, _SEEN + hash_))


async def remember(shard: Shard, hash_: str) -> None:
    """Keeps the hashes that were in force, the oldest going first."""
    client = shard.client
    await client.hset(keys.META, _SEEN + hash_, str(int(time.time() * 1000)))
    known = await cast("Awaitable[dict[bytes, bytes]]", client.hgetall(keys.META))
    old = sorted((int(at), name) for name, at in known.items() if name.startswith(_SEEN.encode()))[:-HASHES_KEPT]
    if old:
        await client.hdel(keys.META, *[name.decode() for _, name in old])
