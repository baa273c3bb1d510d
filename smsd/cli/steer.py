"""The commands that stop and go: pause, resume, cancel.

Never touches a message: each sets or lifts a mark, which holds in every process at once (smsd/control/holding.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smsd.cli.commands_steer import CANCELLED, PAUSED
from smsd.cli.say import Code, Trouble, agreed, answer, moment, run
from smsd.core.names import ID_TOLD, TENANT_TOLD, is_id, is_tenant

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsd.cli.reach import Reached
    from smsd.config import Config
    from smsd.control.holding import Target

_SHOWN = {
    "tenant": "TENANT",
    "campaign": "NAME",
    "class_": "CLASS",
    "sender": "SENDER",
    "provider": "PROVIDER",
    "id": "ID",
}


def pause(*, what: str | None, names: list[str], for_: str, reason: str, config: Path, json: bool) -> Code:
    """Pause, or list what is paused."""
    if not what and (for_ or reason):
        raise Trouble("say what is paused: smsd pause all, or smsd pause --help", Code.MISTAKE)
    return run(_pause(what, names, for_, reason, config, json=json) if what else _pauses(config, json=json))


async def _pause(what: str, names: list[str], span: str, reason: str, config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import holding

    given = _names("pause", PAUSED, what, names)
    span_us = _span_us(span)
    async with reach(config) as store:
        target = _target(given, holding.to_pause, store.config)
        until_us = await _now_us(store) + span_us if span else 0
        changed = await holding.pause(store.shards, target, until_us=until_us, reason=reason, by=_who())
    until = f"until {moment(until_us // 1000)}" if until_us else f"until smsd resume {' '.join([what, *names])}"
    facts = {"what": target, "until_ms": until_us // 1000 or None, "changed": changed}
    answer(facts, f"{spoken(target)} is paused {until}", json=json)
    return Code.OK


async def _pauses(config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import holding

    async with reach(config) as store:
        now_us = await _now_us(store)
        there = [one for one in await holding.pauses(store.shards) if not one.until_us or one.until_us > now_us]
    told = [
        {
            "what": holding.named(one.what),
            "since_ms": one.at_us // 1000,
            "until_ms": one.until_us // 1000 or None,
            "by": one.by,
            "reason": one.reason,
        }
        for one in there
    ]
    lines = [
        f"{spoken(holding.named(one.what))}: since {moment(one.at_us // 1000)} by {one.by}, "
        f"{f'until {moment(one.until_us // 1000)}' if one.until_us else 'until resumed'}"
        f"{f': {one.reason}' if one.reason else ''}"
        for one in there
    ]
    answer(told, "\n".join(lines) or "nothing is paused", json=json)
    return Code.OK


def resume(*, what: str, names: list[str], config: Path, json: bool) -> Code:
    """Lift a pause."""
    return run(_resume(what, names, config, json=json))


async def _resume(what: str, names: list[str], config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import holding

    given = _names("resume", PAUSED, what, names)
    async with reach(config) as store:
        target = _target(given, holding.to_resume)
        changed = await holding.resume(store.shards, target)
    said = "goes on" if changed else "was not paused: smsd pause lists what is"
    answer({"what": target, "changed": changed}, f"{spoken(target)} {said}", json=json)
    return Code.OK if changed else Code.NOT


def cancel(
    *,
    what: str | None,
    names: list[str],
    tenant: str,
    reason: str,
    lift: bool,
    yes: bool,
    config: Path,
    json: bool,
) -> Code:
    """Cancel what waits of a message, campaign, class or tenant; or list what was cancelled."""
    if not what and (tenant or reason or lift or yes):
        raise Trouble("say what is cancelled: smsd cancel --help tells how", Code.MISTAKE)
    if not what:
        return run(_withdrawals(config, json=json))
    given = _names("cancel", CANCELLED, what, names)
    if tenant and what != "class":
        raise Trouble("--tenant goes with smsd cancel class CLASS", Code.MISTAKE)
    if lift and what != "campaign":
        raise Trouble("--lift goes with smsd cancel campaign TENANT NAME: nothing else stays cancelled", Code.MISTAKE)
    if what == "message":
        return run(_cancel_message(given["tenant"], given["id"], config, yes=yes, json=json))
    given |= {"tenant": tenant} if tenant else {}
    if lift:
        return run(_lift(given, config, json=json))
    return run(_cancel(given, reason, config, yes=yes, json=json))


async def _cancel(given: dict[str, str], reason: str, config: Path, *, yes: bool, json: bool) -> Code:
    from redis.exceptions import ResponseError

    from smsd.cli.reach import reach
    from smsd.control import holding
    from smsd.control.queued import queued

    async with reach(config) as store:
        target = _target(given, holding.to_withdraw, store.config)
        n = await queued(store.shards, target)
        later = ", and what comes of it later, until it is lifted" if target.campaign else ""
        agreed(f"This cancels {_messages(n)} of {spoken(target)}{later}.", yes=yes)
        try:
            changed = await holding.withdraw(store.shards, target, reason=reason, by=_who())
        except ResponseError as error:
            if not str(error).startswith("FULL "):
                raise
            raise Trouble(str(error).removeprefix("FULL ")) from None
    told = f"cancelled: {_messages(n)} of {spoken(target)}{later or '; what comes from now on is sent'}"
    answer({"what": target, "queued": n, "changed": changed}, told, json=json)
    return Code.OK


async def _lift(given: dict[str, str], config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import holding

    async with reach(config) as store:
        target = _target(given, holding.to_withdraw, store.config)
        changed = await holding.lift(store.shards, target)
    said = "is sent again from now on; what was cancelled stays so" if changed else "was not cancelled"
    answer({"what": target, "changed": changed}, f"{spoken(target)} {said}", json=json)
    return Code.OK if changed else Code.NOT


async def _withdrawals(config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import holding

    async with reach(config) as store:
        there = await holding.withdrawals(store.shards)
    told = [
        {"what": holding.named(o.what), "at_ms": o.at_us // 1000, "by": o.by, "reason": o.reason, "done": o.done}
        for o in there
    ]
    lines = [
        f"{spoken(holding.named(one.what))}: at {moment(one.at_us // 1000)} by {one.by}, "
        f"{'every message has its event' if one.done else 'not every message has its event yet'}"
        f"{f': {one.reason}' if one.reason else ''}"
        for one in there
    ]
    answer(told, "\n".join(lines) or "nothing is cancelled", json=json)
    return Code.OK


_ENDS = {
    "cancelled": ("is cancelled", Code.OK),
    "leaving": ("is just leaving: it ends cancelled if it turns out not to have been taken", Code.OK),
    "unknown": ("is not known yet: a send with this id will end cancelled at once", Code.OK),
    "left": ("has left, or has ended: too late", Code.NOT),
}


async def _cancel_message(tenant: str, id_: str, config: Path, *, yes: bool, json: bool) -> Code:
    from zlib import crc32

    from smsd.cli.reach import reach
    from smsd.message import Cancel

    async with reach(config) as store:
        shard = store.shards[crc32(tenant.encode()) % len(store.shards)]
        record = await shard.record(f"{tenant}/{id_}")
        state = record.state if record else "not known yet"
        agreed(f"This cancels 1 message, {id_} of tenant {tenant}, which is {state}.", yes=yes)
        (word,) = await shard.admit([Cancel(tenant, id_, "")], "", from_inbox=False)
    said, code = _ENDS[word]
    answer({"tenant": tenant, "id": id_, "outcome": word}, f"message {id_} of tenant {tenant} {said}", json=json)
    return code


# ---- Words -----------------------------------------------------------------------------------------------------------


def _names(verb: str, kinds: dict[str, tuple[str, ...]], what: str, names: Sequence[str]) -> dict[str, str]:
    """The names by what they name. Raises Trouble where there are too few or too many."""
    wanted = kinds[what]
    if len(names) != len(wanted):
        words = " ".join(("smsd", verb, what, *(_SHOWN.get(name, name.upper()) for name in wanted)))
        raise Trouble(f"this is typed as {words}", Code.MISTAKE)
    given = dict(zip(wanted, names, strict=True))
    if not is_tenant(given.get("tenant", "-")):
        raise Trouble(f'"{given["tenant"]}" can be no tenant: a tenant id is {TENANT_TOLD}', Code.MISTAKE)
    if not is_id(given.get("id", "-")):
        raise Trouble(f'"{given["id"]}" can be no message: an id is {ID_TOLD}', Code.MISTAKE)
    return given


def _target(given: dict[str, str], judge: "Callable[..., Target]", *by: "Config") -> "Target":
    from smsd.control.holding import Target

    try:
        return judge(Target(**given), *by)
    except ValueError as error:
        raise Trouble(str(error), Code.MISTAKE) from None


def spoken(target: "Target") -> str:
    """What a target is called in a sentence."""
    if target.campaign:
        return f"campaign {target.campaign} of tenant {target.tenant}"
    if target.class_:
        return f"class {target.class_}{f' of tenant {target.tenant}' if target.tenant else ''}"
    return next((f"{name} {getattr(target, name)}" for name in target.names), "everything")


def _messages(n: int) -> str:
    return f"{n:,} queued message{'' if n == 1 else 's'}"


def _span_us(text: str) -> int:
    from smsd.config.settings import duration_us

    try:
        return duration_us(text) if text else 0
    except ValueError as error:
        raise Trouble(f"--for: {error}", Code.MISTAKE) from None


async def _now_us(store: "Reached") -> int:
    """The store's clock, by which pauses end."""
    seconds, us = await store.client.time()
    return int(seconds) * 1_000_000 + int(us)


def _who() -> str:
    """user@host, kept with what was done."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
