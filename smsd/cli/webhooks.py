"""The commands about receivers of status webhooks: webhooks list, enable, replay; of a tenant's own set, show, drop.

Never talks to a receiver: processes of smsd run do. What a replay tells again is counted first.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from smsd.cli.say import Code, Trouble, agreed, answer, moment, run

if TYPE_CHECKING:
    from smsd.config import Config
    from smsd.control.receivers import ReceiverNow
    from smsd.core.push import Receiver
    from smsd.store.shard import Shard


def list_(*, config: Path, json: bool) -> Code:
    """List receivers, what waits for each, and who is disabled."""
    from smsd.cli.ask_status import shown_receiver
    from smsd.cli.reach import reach
    from smsd.control.receivers import receivers
    from smsd.control.standing import config_in_force

    async def look() -> "list[ReceiverNow]":
        async with reach(config) as store:
            return await receivers(await config_in_force(store.config, store.shards[0]), store.shards)

    found = run(look())
    nobody = "no receiver is configured: [status_webhooks.NAME] names one"
    answer(found, "\n".join(map(shown_receiver, found)) or nobody, json=json)
    return Code.NOT if any(one.disabled_at_ms for one in found) else Code.OK


def enable(*, name: str, config: Path, json: bool) -> Code:
    """Tell a disabled receiver again."""
    return run(_enable(name, config, json=json))


async def _enable(name: str, config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import receivers

    async with reach(config) as store:
        await _named(name, store.config, store.shards)
        was = await receivers.enable(store.shards, name)
    told = f"{name} is told again, from where it stopped" if was else f"{name} was not disabled"
    answer({"enabled": was}, told, json=json)
    return Code.OK


def replay(*, name: str, since: str, until: str, tenant: str, yes: bool, config: Path, json: bool) -> Code:
    """Tell a receiver again what happened since then."""
    return run(_replay(name, since, until, tenant or "*", config, yes=yes, json=json))


async def _replay(name: str, since: str, until: str, tenant: str, config: Path, *, yes: bool, json: bool) -> Code:
    import time

    from smsd.cli.dead import when_ms
    from smsd.cli.reach import reach
    from smsd.control import receivers
    from smsd.core.names import TENANT_TOLD, is_tenant

    if tenant != "*" and not is_tenant(tenant):
        raise Trouble(f'--tenant: "{tenant}" can be no tenant: a tenant id is {TENANT_TOLD}', Code.MISTAKE)
    since_ms, until_ms = when_ms("--since", since), when_ms("--until", until) or time.time_ns() // 1_000_000
    if not 0 < since_ms < until_ms:
        raise Trouble("--since: say from when, as 2h or 2026-11-24T10:00:00+01:00, and before --until", Code.MISTAKE)
    async with reach(config) as store:
        one = await _named(name, store.config, store.shards)
        found = await receivers.count(one, store.shards, since_ms, until_ms, tenant)
        some = f"{'at least ' if found.at_least else ''}{found.events:,} event{'' if found.events == 1 else 's'}"
        older = f" (none before {moment(found.first_ms)} is kept)" if found.first_ms > since_ms else ""
        if found.events or found.at_least:
            agreed(f"This tells {name} {some} again{older}.", yes=yes)
            if not await receivers.replay(one, store.shards, since_ms, until_ms, tenant):
                raise Trouble(f"a replay to {name} is not over yet: smsd webhooks list says when it is")
    again = f"{name} is told {some} again{older}"
    told = again if found.events or found.at_least else f"no such event is kept for {name}"
    answer(found, told, json=json)
    return Code.OK


async def _named(name: str, config: "Config", shards: "list[Shard]") -> "Receiver":
    """A receiver of the config in force, or a tenant's own. Raises Trouble."""
    from smsd.control.receivers import receiver, receivers_own
    from smsd.control.standing import config_in_force

    there = await config_in_force(config, shards[0])
    one = receiver(there, name) if name in there.status_webhooks else await receivers_own(shards, name)
    if one is None:
        known = ", ".join(sorted(there.status_webhooks)) or "none"
        raise Trouble(f'there is no receiver "{name}" in the config in force: there are {known}', Code.MISTAKE)
    return one


# ---- A tenant's own --------------------------------------------------------------------------------------------------


def set_(*, tenant: str, url: str, states: list[str], config: Path, json: bool) -> Code:
    """Let a tenant be told."""
    return run(_set(tenant, url, states, config, json=json))


async def _set(tenant: str, url: str, states: list[str], config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import hooks

    async with reach(config) as store:
        try:
            made = await hooks.put(_shard(store.shards, tenant), tenant, url, states)
        except hooks.Bad as bad:
            raise Trouble(f"--{bad.field.removesuffix('s')}: {bad.why}", Code.MISTAKE) from None
    told = f"{tenant} is told of {', '.join(made.states)} at {made.url}; its secret, shown this once: {made.secret}"
    answer(made, told, json=json)
    return Code.OK


def show(*, tenant: str, config: Path, json: bool) -> Code:
    """Show a tenant's own."""
    return run(_show(tenant, config, json=json))


async def _show(tenant: str, config: Path, *, json: bool) -> Code:
    from smsd.cli.ask_status import span
    from smsd.cli.reach import reach
    from smsd.control import hooks

    async with reach(config) as store:
        there = await hooks.show(_shard(store.shards, tenant), tenant)
    if there is None:
        raise Trouble(f"{tenant} has set no status webhook: smsd webhooks set does it")
    waits = f"{there.waiting:,} waiting (oldest {span(there.oldest_s)})" if there.waiting else "nothing waits"
    off = f"; disabled, for it answered 410: smsd webhooks enable tenant:{tenant}" if there.disabled else ""
    answer(there, f"{tenant} is told of {', '.join(there.states)} at {there.url}: {waits}{off}", json=json)
    return Code.NOT if there.disabled else Code.OK


def drop(*, tenant: str, config: Path, json: bool) -> Code:
    """Tell a tenant nothing more."""
    return run(_drop(tenant, config, json=json))


async def _drop(tenant: str, config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import hooks

    async with reach(config) as store:
        dropped = await hooks.drop(_shard(store.shards, tenant), tenant)
    answer({"dropped": dropped}, f"{tenant} is told nothing more" if dropped else f"{tenant} has set none", json=json)
    return Code.OK if dropped else Code.NOT


def _shard(shards: "list[Shard]", tenant: str) -> "Shard":
    """The tenant's."""
    from zlib import crc32

    return shards[crc32(tenant.encode()) % len(shards)]
