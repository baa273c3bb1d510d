"""How a store stands at this moment: what waits, what is in flight, which config holds where, who works, who reads.

Never changes anything; each look costs the store the same, whatever waits in it.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from redis.exceptions import ResponseError

from smsd.config import Config, ConfigErrors, told_by
from smsd.control import receivers
from smsd.control.look import Look
from smsd.control.processes import Process, processes
from smsd.control.revision import content_hash, in_force, published
from smsd.store import keys
from smsd.store.holds import Pause, pauses
from smsd.store.shard import Shard

WITHDRAWING_MOST = 100


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer group that reads what smsd writes: the events, or the texts that people send back."""

    stream: Literal["events", "inbound"]
    shard: int
    group: str
    consumers: int
    pending: int  # read, and not acknowledged
    lag: int | None  # not read yet; None: the server cannot tell
    behind_s: float = 0.0  # since the first entry was written that it has not read; 0: there is none


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `smsd status`, over all shards."""

    revision: int  # 0: none was ever published
    config_is_file: bool  # the config in force is this file's shared part
    sandbox: bool
    backlog: dict[str, int]  # by class: taken, and not left
    oldest_s: dict[str, float]  # by class: since the oldest that could leave now was taken; 0: none
    inbox: dict[str, int]  # by class: not taken yet
    in_flight: dict[str, int]  # by provider
    paused: list[Pause]  # that hold now
    withdrawing: list[str]  # marks whose messages still end, the first hundred
    withdrawn: int  # marks that are kept, those of campaigns until they are lifted
    dead: int  # entries in the dead streams
    events: int
    groups: list[Group]
    store: str  # "Valkey 9.1.0"
    store_memory_bytes: int
    store_memory_max_bytes: int  # 0: none is set
    processes: list[Process]
    webhooks: list[receivers.ReceiverNow] = []  # receivers of status webhooks

    @property
    def drift(self) -> list[Process]:
        """Processes that work by another revision, or whose host's file is not what is in force."""
        return [one for one in self.processes if one.revision != self.revision or one.file != "in_force" or one.why]


async def standing(config: Config, shards: Sequence[Shard]) -> Standing:
    """`config`: this host's. Classes and providers are those of the config in force, where it can be read here."""
    client: Any = shards[0].client
    there, force = await published(shards[0]), await config_in_force(config, shards[0])
    classes = sorted(force.classes, key=lambda name: (-force.classes[name].weight, name))
    looks = [await Look(shard, classes, force.providers).read() for shard in shards]
    withdrawing, withdrawn = await _withdrawn(shards)
    info: dict[str, Any] = await client.info()
    name, version = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    return Standing(
        revision=there.revision,
        config_is_file=there.hash == content_hash(config),
        sandbox=told_by(there.source).enabled,
        backlog=_sum(look.counts["smsd_backlog_messages"] for look in looks),
        oldest_s={
            class_: max((look.ages.get(class_, 0.0) for look in looks), default=0.0)
            for class_ in dict.fromkeys(class_ for look in looks for class_ in look.ages)
        },
        inbox=_sum(look.counts["smsd_inbox_entries"] for look in looks),
        in_flight=_sum(look.counts["smsd_in_flight"] for look in looks),
        paused=await _paused(shards),
        withdrawing=withdrawing,
        withdrawn=withdrawn,
        dead=sum(look.counts["smsd_store_entries"]["dead"] for look in looks),
        events=sum(look.counts["smsd_store_entries"]["events"] for look in looks),
        groups=[group for shard in shards for group in await groups(shard)],
        webhooks=await receivers.receivers(force, shards),
        store=f"{name} {version}",
        store_memory_bytes=int(info["used_memory"]),
        store_memory_max_bytes=int(info.get("maxmemory", 0)),
        processes=await processes(shards[0]),
    )


async def config_in_force(config: Config, shard: Shard) -> Config:
    """The config in force without its secrets; this host's own where another release's cannot be read here."""
    try:
        return (await in_force(config, shard))[1]
    except ConfigErrors:
        return config


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        for name, n in one.items():
            total[name] += n
    return dict(total)


async def _paused(shards: Sequence[Shard]) -> list[Pause]:
    """The pauses that hold now, each once; those of providers stand in every shard."""
    now_us = shards[0].now_us or time.time_ns() // 1000
    every = [one for shard in shards for one in await pauses(shard) if not one.until_us or one.until_us > now_us]
    return [one for _, one in sorted({one.what: one for one in every}.items())]


async def _withdrawn(shards: Sequence[Shard]) -> tuple[list[str], int]:
    busy: set[str] = set()
    many = 0
    for shard in shards:
        client: Any = shard.client
        found: list[bytes] = await client.zrange(keys.key(shard.number, "withdrawing"), 0, WITHDRAWING_MOST - 1)
        busy |= {what.decode() for what in found}
        many += await client.hlen(keys.key(shard.number, "withdrawn"))
    return sorted(busy)[:WITHDRAWING_MOST], many


async def groups(shard: Shard) -> list[Group]:
    """Who reads what smsd writes in a shard. Readers that use no group leave no trace in the store."""
    client: Any = shard.client
    now_us = shard.now_us or time.time_ns() // 1000
    found: list[Group] = []
    for stream in ("events", "inbound"):
        name = keys.key(shard.number, stream)
        try:
            told: list[dict[str, Any]] = await client.xinfo_groups(name)
        except ResponseError:  # nobody has written it yet
            continue
        for one in told:
            unread = await client.xrange(name, min=b"(" + one["last-delivered-id"], count=1)
            written_us = int(unread[0][0].partition(b"-")[0]) * 1000 if unread else now_us
            found.append(
                Group(
                    stream=stream,
                    shard=shard.number,
                    group=one["name"].decode("utf-8", "replace"),
                    consumers=one["consumers"],
                    pending=one["pending"],
                    lag=one.get("lag"),
                    behind_s=max(0.0, (now_us - written_us) / 1e6),
                )
            )
    return found
