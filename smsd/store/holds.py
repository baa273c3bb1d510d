"""Pauses and withdrawals: marks that stop a tenant, class, sender, campaign, provider or everything, and who set them.

One mark holds at once for any number of messages; what follows from it (their events) is the sweeps'. Never touches a
message by itself.
"""

from collections.abc import Awaitable, Sequence
from typing import cast

import msgspec

from smsd.store import keys
from smsd.store.shard import Shard

WITHDRAWALS_MAX = 100_000  # marks that are kept; a campaign's goes only when it is lifted


class Pause(msgspec.Struct, frozen=True):
    """What is paused: `all`, `t:TENANT`, `c:CLASS`, `s:SENDER`, `k:TENANT|CAMPAIGN` or `p:PROVIDER`."""

    what: str
    until_us: int  # 0: until resumed
    at_us: int
    by: str
    reason: str


class Withdrawal(msgspec.Struct, frozen=True):
    """What is cancelled: `t:TENANT`, `c:CLASS`, `tc:TENANT|CLASS` as it was then; `k:TENANT|CAMPAIGN` until lifted."""

    what: str
    at_us: int
    by: str
    reason: str
    done: bool  # every message that it covers has its event


async def pause(
    shard: Shard, what: str, *, until_us: int = 0, reason: str = "", by: str = "", over: bool = True
) -> bool:
    """Pauses until then or (0) until resumed. `by`: one word for who did it.

    `over` False: a pause that is in force stays as it is. Returns whether something changed.
    """
    return bool(await shard.run("pause", what, until_us, _word(by), _line(reason), int(over)))


async def resume(shard: Shard, what: str) -> bool:
    """Lifts a pause; the lanes that it held become ready in the sweeps that follow."""
    return bool(await shard.run("pause", what, -1, "", "", 1))


async def withdraw(shard: Shard, what: str, *, reason: str = "", by: str = "") -> bool:
    """Cancels all that the mark covers: nothing of it leaves from now on, and sweeps tell of each message.

    Raises redis.exceptions.ResponseError ("FULL ...") when there are too many marks.
    """
    return bool(await shard.run("withdraw", what, 0, _word(by), _line(reason), WITHDRAWALS_MAX))


async def lift(shard: Shard, what: str) -> bool:
    """Ends a withdrawal: what comes from now on is sent; what it has cancelled stays cancelled."""
    return bool(await shard.run("withdraw", what, 1, "", "", WITHDRAWALS_MAX))


async def pauses(shard: Shard, among: Sequence[str] | None = None) -> list[Pause]:
    """All that are set (`among` these marks), by what they pause; some may be over."""
    return [_pause(what, value) for what, value in await _marks(shard, "pause", among)]


async def withdrawals(shard: Shard, among: Sequence[str] | None = None) -> list[Withdrawal]:
    """All that are known (`among` these marks), by what they cancel."""
    found = await _marks(shard, "withdrawn", among)
    key = keys.key(shard.number, "withdrawing")
    busy = shard.client.zrangebyscore(key, "-inf", "+inf")  # pyright: ignore[reportUnknownMemberType]
    unfinished = set(await cast("Awaitable[list[bytes]]", busy))
    told: list[Withdrawal] = []
    for what, value in found:
        at, by, reason = value.split(" ", 2)
        told.append(Withdrawal(what, int(at), by, reason, what.encode() not in unfinished))
    return told


async def _marks(shard: Shard, kind: str, among: Sequence[str] | None) -> list[tuple[str, str]]:
    key = keys.key(shard.number, kind)
    if among is None:
        found = await cast("Awaitable[dict[bytes, bytes]]", shard.client.hgetall(key))
        return sorted((what.decode(), value.decode()) for what, value in found.items())
    if not among:
        return []
    values = await cast("Awaitable[list[bytes | None]]", shard.client.hmget(key, list(among)))
    return sorted((what, value.decode()) for what, value in zip(among, values, strict=True) if value is not None)


def _pause(what: str, value: str) -> Pause:
    until, at, by, reason = value.split(" ", 3)
    return Pause(what, int(until), int(at), by, reason)


def _word(by: str) -> str:
    return "_".join(by.split()) or "-"


def _line(reason: str) -> str:
    return " ".join(reason.split())[:500]
