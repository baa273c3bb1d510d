"""What the API does to stop and go on: pauses, and cancels of a tenant, a class or a campaign.

Never decides what a mark covers: smsd/control/holding.py and the store do.
"""

import time
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from smsd.config import Config
from smsd.config.settings import duration_us
from smsd.control import holding
from smsd.control.holding import Target
from smsd.control.queued import queued
from smsd.control.standing import standing
from smsd.shell.api_keys import Key
from smsd.shell.api_problems import Fault, answer, refused
from smsd.shell.live import Live
from smsd.shell.server import Response

Name = Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType  # an empty one would widen what is meant


class Which(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is meant, by name. To pause: a tenant, a class, a tenant's campaign, a sender, a provider, or `all`. To
    cancel: a tenant, a class, a tenant's class or a tenant's campaign.
    """

    tenant: Name = UNSET
    class_: Name = field(name="class", default=UNSET)
    campaign: Name = UNSET
    sender: Name = UNSET
    provider: Name = UNSET
    all: bool = False


class PauseWanted(Which, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pause to set. Without `for` it holds until it is resumed."""

    for_: Annotated[str, Meta(examples=["2h"])] = field(name="for", default="")
    reason: Annotated[str, Meta(max_length=500)] = ""


class CancelWanted(Which, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to cancel: all that was taken before. A campaign's holds for what comes later too, until it is lifted."""

    reason: Annotated[str, Meta(max_length=500)] = ""


class Changed(msgspec.Struct, frozen=True):
    """`changed` false: it was so already."""

    changed: bool


class CancelDone(msgspec.Struct, frozen=True):
    """`queued`: how many messages waited that it covers. `changed` false: it was so already."""

    changed: bool
    queued: int


class PauseShown(msgspec.Struct, frozen=True):
    """A pause that holds. `by`: the API's key or the command's user."""

    what: Target  # an empty object: everything
    at_ms: int
    until_ms: int  # 0: until resumed
    by: str
    reason: str


class Pauses(msgspec.Struct, frozen=True):
    """All pauses that hold now."""

    pauses: list[PauseShown]


class CancelShown(msgspec.Struct, frozen=True):
    """A cancel of many. `done`: every message that it covers has its event."""

    what: Target
    at_ms: int
    by: str
    reason: str
    done: bool


class Cancels(msgspec.Struct, frozen=True):
    """All cancels of tenants, classes and campaigns that are known; those of campaigns until they are lifted."""

    cancels: list[CancelShown]


class Steering:
    """The verbs, each from what was asked to the answer. In force on every process within a second."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def status(self) -> Response:
        """GET /v1/status."""
        return answer(200, await standing(self._live.local, self._live.shards))

    async def pauses(self) -> Response:
        """GET /v1/pauses."""
        now_us = time.time_ns() // 1000
        told = [
            PauseShown(holding.named(one.what), one.at_us // 1000, one.until_us // 1000, one.by, one.reason)
            for one in await holding.pauses(self._live.shards)
            if not one.until_us or one.until_us > now_us
        ]
        return answer(200, Pauses(told))

    async def pause(self, key: Key, wanted: PauseWanted) -> Response:
        """POST /v1/pauses. Raises Refused."""
        target = _target(wanted, holding.to_pause, self._live.config)
        until_us = 0
        if wanted.for_:
            try:
                until_us = time.time_ns() // 1000 + duration_us(wanted.for_)
            except ValueError as error:
                raise refused(422, f"for: {error}", Fault("/for", "bad_time", str(error))) from None
        by, shards = f"api:{key.name}", self._live.shards
        return answer(200, Changed(await holding.pause(shards, target, until_us=until_us, reason=wanted.reason, by=by)))

    async def resume(self, which: Which) -> Response:
        """DELETE /v1/pauses. Raises Refused."""
        return answer(200, Changed(await holding.resume(self._live.shards, _target(which, holding.to_resume))))

    async def cancels(self) -> Response:
        """GET /v1/cancels."""
        told = [
            CancelShown(holding.named(one.what), one.at_us // 1000, one.by, one.reason, one.done)
            for one in await holding.withdrawals(self._live.shards)
        ]
        return answer(200, Cancels(told))

    async def cancel(self, key: Key, wanted: CancelWanted) -> Response:
        """POST /v1/cancels. Raises Refused."""
        target = _target(wanted, holding.to_withdraw, self._live.config)
        by, shards = f"api:{key.name}", self._live.shards
        waits = await queued(shards, target)
        changed = await holding.withdraw(shards, target, reason=wanted.reason, by=by)
        return answer(200, CancelDone(changed, waits))

    async def lift(self, which: Which) -> Response:
        """DELETE /v1/cancels. Raises Refused."""
        target = _target(which, holding.to_withdraw, self._live.config)
        return answer(200, Changed(await holding.lift(self._live.shards, target)))


def _target(which: Which, judge: Callable[..., Target], *by: Config) -> Target:
    given = (which.tenant, which.class_, which.campaign, which.sender, which.provider)
    target = Target(*(name or "" for name in given))
    try:
        if which.all is bool(target.names):
            raise ValueError("name what is meant, or say all: true, but not both")
        return judge(target, *by)
    except ValueError as error:
        name, colon, _ = str(error).partition(": ")
        pointer = f"/{name}" if colon and name in ("tenant", "class", "campaign", "sender", "provider") else ""
        raise refused(422, str(error), Fault(pointer, "bad_target", str(error))) from None
