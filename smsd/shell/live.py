"""What is in force in this process, and how it comes to be: the config of the store's newest revision, swapped whole.

Never holds half a config: who read `live.config` once sees one revision. Never decides which revision is right: the
store does, and a file that was superseded follows it (docs/CONFIG.md).
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, cast
from zlib import crc32

from smsd.config import SANDBOX, Config, ConfigErrors, TenantConfig, follow, told_by
from smsd.control.dropping import Held, Waiting
from smsd.control.made import changed, read
from smsd.control.processes import File
from smsd.control.revision import Published, content_hash, publish, publish_in, published, remember, seen
from smsd.store import keys
from smsd.store.shard import Shard

LOOKS_TO_REPAIR = 16  # so many, a quarter of a minute, to the next look at all shards

Step = Literal["kept", "published", "followed", "superseded", "held"]


class Live:
    """The config in force, the shards, and this process's name. Subscribers hear of each swap after it."""

    def __init__(self, config: Config, shards: Sequence[Shard], *, revision: int = 0, process: str = "") -> None:
        self.config = config
        self.local = config  # as this host's file has it: its own sections hold under any revision
        self.revision = revision
        self.shards = list(shards)
        self.process = process or name_process()
        self.trouble = ""  # why the store's revision is not in force here, or ""
        self.refused = ""  # why this host's file was not put in force, or ""
        self.read = content_hash(config)  # of this host's file as it was last read; "": it has mistakes
        self.sandbox = config.sandbox  # the config's; that of the store's newest where it is on and cannot be used here
        self.loopback = ""  # where this host's own carrier finds the listener of webhooks
        self._made: dict[str, TenantConfig] = {}  # one for all revisions: a change of a tenant need not copy it
        self._made_at = [-1] * len(self.shards)  # the version of each shard's part of it
        self._subscribers: list[Callable[[], None]] = []
        self.looking = asyncio.Lock()  # held by who follows the store's config
        self.looks = 0  # how often that was begun
        self.followed: list[tuple[int, Step]] = []  # (revision before, how) of each time, until somebody tells of it

    @property
    def file(self) -> File:
        """What became of this host's file, as it was last read."""
        if self.read == content_hash(self.config):
            return "in_force"
        return "refused" if self.refused else "superseded"

    @property
    def tenants_at(self) -> tuple[int, ...]:
        """The version of what was made for tenants, of each shard."""
        return tuple(self._made_at)

    def shard_of(self, tenant: str) -> Shard:
        """The shard that a tenant lives in (contract.md §1)."""
        return self.shards[crc32(tenant.encode()) % len(self.shards)]

    def callback_url(self, provider: str, reference: str) -> str:
        """Where a provider tells of an attempt; "" where no public_url is configured."""
        public = self.loopback if provider == SANDBOX else self.config.webhooks.public_url
        told = reference.replace(":", "%3A").replace("/", "%2F")  # of what a reference is made of, only these need it
        return f"{public}/webhooks/{provider}/status?ref={told}" if public else ""

    def barred(self, provider: str, to: str) -> bool:
        """Whether the sandbox keeps a text to that E.164 number from this provider."""
        return self.sandbox.enabled and provider != SANDBOX and self.sandbox.keeps(to)

    def on_swap(self, told: Callable[[], None]) -> None:
        self._subscribers.append(told)

    def swap(self, config: Config, revision: int) -> None:
        """Puts a config in force, whole."""
        self.config, self.revision, self.trouble = config.with_made(self._made), revision, ""
        self.sandbox = config.sandbox
        for told in self._subscribers:
            told()

    async def follow_tenants(self) -> int:
        """Takes over what was made for tenants since the last look; how many have changed."""
        total = 0
        for i, shard in enumerate(self.shards):
            news = await changed(shard, self._made_at[i])
            if news is None:
                continue
            gone = [name for name, table in news.tables.items() if table is None]
            if news.whole:
                gone += [name for name in self._made if self.shard_of(name) is shard and name not in news.tables]
            for name in gone:
                self._made.pop(name, None)
            self._made.update(read(self.config, news.tables))
            for name in (*gone, *news.tables):
                self.config.changed(name)
            self._made_at[i] = news.version
            total += len(gone) + len(news.tables)
        return total


def name_process() -> str:
    """`host-pid-nonce`: names this process to the store, and no other one ever again."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


async def agree(live: Live) -> Step:
    """At the start: publishes a config that the store has never seen, and follows the store's otherwise: also where
    this one would drop what messages wait for (`held`, with the reason in `live.refused`).

    Raises ConfigErrors where the store's cannot be used on this host.
    """
    mine, there = content_hash(live.config), await published(live.shards[0])
    await live.follow_tenants()
    if there.hash == mine:
        await remember(live.shards[0], mine)
        await _repair(live, there.hash)
        live.swap(live.config, there.revision)
        return "kept"
    if there.revision and await seen(live.shards[0], mine):
        _take(live, there)
        await _repair(live, there.hash)
        return "superseded"
    try:
        revision = await publish(live.config, live.shards)
    except Held as held:
        live.refused = str(held)
        _take(live, there)
        await _repair(live, there.hash)
        return "held"
    live.swap(live.config, revision)
    return "published"


async def catch_up(live: Live) -> Step:
    """Later: follows what was published since. A store that has lost its config gets this process's again.

    Raises ConfigErrors where the new one cannot be used on this host; then the old one holds, and `trouble` says why.
    """
    async with live.looking:
        return await _follow(live)


async def look(live: Live) -> bool:
    """For who is about to refuse something by what is in force here: follows what was published before the call, and
    returns whether that was anything. What several ask for at a time is one look.

    Raises RedisError and OSError. A config that cannot be used on this host changes nothing; the sweeper tells of it.
    """
    if live.trouble:
        return False
    before, looks = (live.revision, live.tenants_at), live.looks
    async with live.looking:
        if live.looks == looks:  # nobody has begun one since
            with contextlib.suppress(ConfigErrors):
                await _follow(live)
    return (live.revision, live.tenants_at) != before


async def _follow(live: Live) -> Step:
    live.looks += 1
    before = live.revision
    step = await _newest(live)
    if step != "kept":
        live.followed.append((before, step))
    return step


async def _newest(live: Live) -> Step:
    await live.follow_tenants()
    key = keys.key(live.shards[0].number, "conf")
    asked = live.shards[0].client.hmget(key, ["revision", "hash"])
    revision, hash_ = await cast("Awaitable[list[bytes | None]]", asked)
    if revision is None:
        live.swap(live.config, await publish(live.config, live.shards, force=True))
        return "published"
    if int(revision) == live.revision and (hash_ or b"").decode() == content_hash(live.config):
        live.trouble = ""
        if live.looks % LOOKS_TO_REPAIR == 0:
            await _repair(live, content_hash(live.config))
        return "kept"
    there = await published(live.shards[0])
    _take(live, there)
    await _repair(live, there.hash)
    return "followed"


async def reload(live: Live, local: Config, *, warn: Callable[[Waiting], object] | None = None) -> Step:
    """Puts a newly loaded file in force: its shared part for all hosts, its own sections here. `warn`: as publish's.

    Raises Held where it drops what messages wait for; then everything is as it was.
    """
    live.read = content_hash(local)
    before, revision = live.revision, await publish(local, live.shards, warn=warn)
    live.local, live.refused = local, ""
    live.swap(local, revision)
    return "kept" if live.revision == before else "published"


def _take(live: Live, there: Published) -> None:
    try:
        config = follow(live.local, there.source)
    except Exception as error:
        live.trouble = f"revision {there.revision} cannot be used here: {error}"
        if (sandbox := told_by(there.source)).enabled:
            live.sandbox = sandbox  # whatever else this host makes of it, no text leaves that it forbids
            live.trouble += "; its sandbox holds here all the same"
        raise
    live.swap(config, there.revision)


async def _repair(live: Live, hash_: str) -> None:
    """A publisher that died half-way has left some shards behind, or one that was late has set one back."""
    for shard in live.shards[1:]:
        there = await cast("Awaitable[bytes | None]", shard.client.hget(keys.key(shard.number, "conf"), "hash"))
        if (there or b"").decode() != hash_:
            await publish_in(shard, live.config)
