"""Pauses and withdrawals over all shards, by what people call them: tenant, class, campaign, sender, provider.

Never touches a message: the marks of store/holds.py do. What belongs to one tenant is set in its shard, all else in
each.
"""

import re
from collections.abc import Sequence
from zlib import crc32

import msgspec

from smsd.config import Config
from smsd.core.names import is_id, is_tenant
from smsd.number import sender_ok
from smsd.store import holds
from smsd.store.holds import Pause, Withdrawal
from smsd.store.shard import Shard

_PAUSED = ((), ("tenant",), ("class_",), ("tenant", "campaign"), ("sender",), ("provider",))
_WITHDRAWN = (("tenant",), ("class_",), ("tenant", "class_"), ("tenant", "campaign"))
_MARK = re.compile(r"(?:(t|c|s|p):(.*))|(?:(k|tc):([^|]*)\|(.*))", re.DOTALL)
_NAMES = {"t": "tenant", "c": "class_", "s": "sender", "p": "provider", "k": "campaign", "tc": "class_"}


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is paused or cancelled, by the names that are given; none of them: everything."""

    tenant: str = ""
    class_: str = msgspec.field(name="class", default="")
    campaign: str = ""
    sender: str = ""
    provider: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self.__struct_fields__ if getattr(self, name))

    @property
    def mark(self) -> str:
        """As the store has it."""
        if self.campaign:
            return f"k:{self.tenant}|{self.campaign}"
        if self.tenant and self.class_:
            return f"tc:{self.tenant}|{self.class_}"
        return next((f"{name[0]}:{getattr(self, name)}" for name in self.names), "all")


def to_pause(target: Target, config: Config) -> Target:
    """The target, when it is one of a pause. Raises ValueError with what would be right."""
    return _known(to_resume(target), config)


def to_resume(target: Target) -> Target:
    """The same of a pause that may be there: the config may have dropped what it names. Raises ValueError."""
    if target.names not in _PAUSED:
        raise ValueError("a tenant, a class, a tenant's campaign, a sender or a provider can be paused, or everything")
    return _spelt(target)


def to_withdraw(target: Target, config: Config) -> Target:
    """The target, when it is one of a withdrawal. Raises ValueError with what would be right."""
    if target.names not in _WITHDRAWN:
        raise ValueError("a tenant, a class, a tenant's class or a tenant's campaign can be cancelled")
    return _known(_spelt(target), config)


def _spelt(target: Target) -> Target:
    if target.tenant and not is_tenant(target.tenant):
        raise ValueError("tenant: 1 to 64 of the characters A-Z a-z 0-9 _ . : -")
    if target.campaign and not is_id(target.campaign):
        raise ValueError("campaign: 1 to 128 of the characters A-Z a-z 0-9 _ . : -")
    if target.sender and (problem := sender_ok(target.sender)):
        raise ValueError(f"sender: {problem}")
    return target


def _known(target: Target, config: Config) -> Target:
    if target.class_ and target.class_ not in config.classes:
        raise ValueError(f"class: one of {', '.join(sorted(config.classes))}")
    if target.provider and target.provider not in config.providers:
        raise ValueError(f"provider: one of {', '.join(sorted(config.providers)) or 'none: the config has none'}")
    return target


def named(mark: str) -> Target:
    """What a mark of the store means."""
    match = _MARK.fullmatch(mark)
    if match is None:
        return Target()
    if match[1]:
        return Target(**{_NAMES[match[1]]: match[2]})
    return Target(**{"tenant": match[4], _NAMES[match[3]]: match[5]})


def _shards(target: Target, shards: Sequence[Shard]) -> Sequence[Shard]:
    return [shards[crc32(target.tenant.encode()) % len(shards)]] if target.tenant else shards


async def pause(shards: Sequence[Shard], target: Target, *, until_us: int = 0, reason: str = "", by: str = "") -> bool:
    """Until then or (0) until resumed. `by`: one word for who did it. Whether something changed."""
    mine = _shards(target, shards)
    return any([await holds.pause(one, target.mark, until_us=until_us, reason=reason, by=by) for one in mine])


async def resume(shards: Sequence[Shard], target: Target) -> bool:
    """Whether it was paused."""
    return any([await holds.resume(one, target.mark) for one in _shards(target, shards)])


async def pauses(shards: Sequence[Shard]) -> list[Pause]:
    """All, each once."""
    found = {one.what: one for shard in shards for one in await holds.pauses(shard)}
    return [found[what] for what in sorted(found)]


async def withdraw(shards: Sequence[Shard], target: Target, *, reason: str = "", by: str = "") -> bool:
    """Cancels all that it covers; a campaign's holds until lifted. Whether something changed."""
    return any([await holds.withdraw(one, target.mark, reason=reason, by=by) for one in _shards(target, shards)])


async def lift(shards: Sequence[Shard], target: Target) -> bool:
    """What comes from now on is sent. Whether it was withdrawn."""
    return any([await holds.lift(one, target.mark) for one in _shards(target, shards)])


async def withdrawals(shards: Sequence[Shard]) -> list[Withdrawal]:
    """All, each once; done when it is in every shard."""
    found: dict[str, Withdrawal] = {}
    for shard in shards:
        for one in await holds.withdrawals(shard):
            known = found.get(one.what)
            found[one.what] = one if known is None or known.done else known
    return [found[what] for what in sorted(found)]
