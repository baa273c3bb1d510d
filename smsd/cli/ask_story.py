"""The commands that say why: `trace`, the story of one message; `limits`, what holds a tenant back."""

import time
from pathlib import Path
from zlib import crc32

from smsd.cli.say import Code, Trouble, answer, run


def trace(*, tenant: str, id: str, config: Path, json: bool) -> Code:
    """Tell the whole story of one message in plain words."""
    return run(_trace(tenant, id, config, json))


async def _trace(tenant: str, id_: str, config: Path, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.cli.story import tell
    from smsd.control.story import held_by_nobody, refused, story
    from smsd.control.tenants import config_for

    async with reach(config) as store:
        shard = store.shards[crc32(tenant.encode()) % len(store.shards)]
        now_us = time.time_ns() // 1000
        rules = await config_for(store.config, shard, tenant)
        told = await story(rules, shard, tenant, id_, now_us)
        told = told and await held_by_nobody(rules, told, store.shards[0], now_us)
        no = await refused(store.shards, tenant, id_) if told is None else None
    if no is not None:
        raise Trouble(f"{tenant}/{id_} was rejected ({no.reason}): {no.detail}; see smsd dead show {no.dead_id}")
    if told is None:
        raise Trouble(
            f"{tenant}/{id_} is not known: it never came, or its record is gone ([retention] messages, after its end)"
        )
    answer(told, "\n".join(tell(told, now_us // 1000)), json=json)
    return Code.OK


def limits(*, tenant: str, config: Path, json: bool) -> Code:
    """Say what each limit of a tenant is, where it comes from, how much is used, and which binds now."""
    return run(_limits(tenant, config, json))


async def _limits(tenant: str, config: Path, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.cli.story import table
    from smsd.control.limits import limits as look
    from smsd.control.tenants import config_for

    async with reach(config) as store:
        shard = store.shards[crc32(tenant.encode()) % len(store.shards)]
        now_us = time.time_ns() // 1000
        told = await look(await config_for(store.config, shard, tenant), shard, tenant, now_us)
    answer(told, "\n".join(table(told, now_us // 1000)), json=json)
    return Code.OK
