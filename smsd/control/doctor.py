"""What is wrong with a running smsd, its store or its host: one table of checks, each finding with its mend.

Never changes anything. Each check looks at little and in bounded steps; one that cannot look says so as a finding.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from redis.exceptions import ResponseError

from smsd.config import Config
from smsd.control import doctor_host as host
from smsd.control import doctor_store as store
from smsd.control import doctor_work as work
from smsd.control.doctor_facts import Facts, Finding, gather
from smsd.store.shard import Shard

Check = Callable[[Facts], Awaitable[list[Finding]]]

CHECKS: dict[str, tuple[str, Check]] = {
    "clock": ("the clocks of host and store agree", store.clock),
    "durability": ("the store keeps an append-only file, and can write it", store.durability),
    "writes": ("the store takes what is written", store.writes),
    "eviction": ("the store throws nothing away", store.eviction),
    "version": ("the store is new enough", store.version),
    "memory": ("the store has a bound, and room below it", store.memory),
    "streams": ("somebody reads every stream under smsd:", store.streams),
    "inbox": ("entries are taken soon", store.inbox),
    "events": ("who reads events keeps up", store.events),
    "processes": ("somebody works, and says so", work.processes),
    "config": ("every process works by the file of its host", work.config),
    "providers": ("every provider can be sent by", work.providers),
    "receipts": ("providers tell what became of messages", work.receipts),
    "webhooks": ("who is told of events takes them", work.webhooks),
    "leases": ("what is in flight is counted right", work.leases),
    "dead": ("no entry was put aside", work.dead),
    "sandbox": ("texts go to real numbers", work.sandbox),
    "public_url": ("providers can call us", host.public_url),
    "files": ("processes may open enough files", host.files),
}
"""Name -> what holds when it finds nothing, and the check."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `smsd doctor`."""

    ok: bool
    checked: list[str]
    findings: list[Finding]


async def examine(config: Config, shards: Sequence[Shard]) -> Report:
    """All checks, one after the other but for those that wait for somebody else. Raises what redis-py raises where the
    store goes away meanwhile.
    """
    facts = await gather(config, shards)
    found = await asyncio.gather(*(_look(name, check, facts) for name, (_, check) in CHECKS.items()))
    findings = [finding for some in found for finding in some]
    return Report(ok=not findings, checked=list(CHECKS), findings=findings)


async def _look(name: str, check: Check, facts: Facts) -> list[Finding]:
    try:
        found = await check(facts)
    except ResponseError as error:  # such as a user who may not ask that
        found = [Finding(what=f"could not look: {error}", mend="give the store's user of this command more rights")]
    return [msgspec.structs.replace(finding, check=name) for finding in found]
