"""The commands about tenants' settings: tenant set, show, drop, import.

Never touches a message: what is queued goes on under the new settings, in every process within a second
(smsd/control/tenants.py).
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from smsd.cli.say import Code, Trouble, agreed, answer, run

if TYPE_CHECKING:
    from smsd.cli.reach import Reached
    from smsd.config import ConfigErrors
    from smsd.control.made import Table


def set_(
    *,
    tenant: str,
    limits: list[str],
    class_limits: list[str],
    plan: str,
    sender: str,
    sender_pool: str,
    region: str,
    route: str,
    countries: list[str],
    zone: str,
    stop_closes: str,
    cancel_words: str,
    unset: list[str],
    config: Path,
    json: bool,
) -> Code:
    """Change settings of one tenant."""
    given: dict[str, object] = {
        "limits": limits, "plan": plan, "sender": sender, "sender_pool": sender_pool, "region": region, "route": route,
        "countries": countries, "zone": zone, "stop_closes": stop_closes, "cancel_words": cancel_words,
    }  # fmt: skip
    changes = {name: value for name, value in given.items() if value}
    by_class: dict[str, list[str]] = {}
    for one in class_limits:
        class_, equals, limit = one.partition("=")
        if not equals:
            raise Trouble(f'--class-limit: "{one}" is not CLASS=LIMIT, as marketing=10/s', Code.MISTAKE)
        by_class.setdefault(class_, []).append(limit)
    if not (changes or by_class or unset):
        raise Trouble("nothing to set is given: smsd tenant set --help says what there is", Code.MISTAKE)
    return run(_set(tenant, changes, by_class, unset, config, json=json))


async def _set(
    tenant: str,
    changes: Mapping[str, object],
    by_class: Mapping[str, list[str]],
    unset: list[str],
    config: Path,
    *,
    json: bool,
) -> Code:
    from smsd.cli.reach import reach
    from smsd.config import ConfigErrors
    from smsd.control.tenants import Tenants

    async with reach(config) as store:
        tenants = Tenants(store.config, store.shards)
        before = await tenants.show(tenant) or {}
        after = {**{name: value for name, value in before.items() if name not in unset}, **changes}
        if by_class:
            after["class_limits"] = {**cast("Table", after.get("class_limits", {})), **by_class}
        try:
            await tenants.put(tenant, after)
        except ConfigErrors as errors:
            raise _trouble(errors) from None
    answer({"tenant": tenant, "settings": after}, _told(f"settings of {tenant}:", after), json=json)
    return Code.OK


def show(*, tenant: str, config: Path, json: bool) -> Code:
    """Show what was set for one tenant, and what holds for it."""
    return run(_show(tenant, config, json=json))


async def _show(tenant: str, config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control.tenants import Tenants

    async with reach(config) as store:
        made = await Tenants(store.config, store.shards).show(tenant)
        holds = await _holds(store, tenant, made)
    told = [_told("set by command or API:", made) if made else "nothing is set by command or API", ""]
    told.append(_told("in force, with what the config says:", holds))
    answer({"tenant": tenant, "settings": made, "in_force": holds}, "\n".join(told), json=json)
    return Code.OK


async def _holds(store: "Reached", tenant: str, made: "Table | None") -> dict[str, object]:
    from zlib import crc32

    from smsd.config import tenant_settings
    from smsd.control.revision import in_force
    from smsd.core.limit import show as limit

    _, rules = await in_force(store.config, store.shards[crc32(tenant.encode()) % len(store.shards)])
    if made is not None:
        rules = rules.with_made({tenant: tenant_settings(rules, tenant, made, strict=False)})
    terms = rules.terms(tenant)
    return {
        "limits": [limit(one) for one in terms.limits],
        "class_limits": {name: [limit(one) for one in limits] for name, limits in terms.class_limits.items()},
        "sender": terms.sender,
        "sender_pool": terms.sender_pool,
        "region": terms.region,
        "route": terms.route,
        "countries": list(terms.countries),
        "zone": terms.zone,
        "stop_closes": terms.stop_closes,
        "cancel_words": terms.cancel_words,
    }


def drop(*, tenant: str, yes: bool, config: Path, json: bool) -> Code:
    """Drop what was set for one tenant."""
    return run(_drop(tenant, config, yes=yes, json=json))


async def _drop(tenant: str, config: Path, *, yes: bool, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control.tenants import Tenants

    async with reach(config) as store:
        tenants = Tenants(store.config, store.shards)
        if await tenants.show(tenant) is not None:
            agreed(f"This drops what was set for tenant {tenant}; the config's settings then hold.", yes=yes)
        dropped = await tenants.drop(tenant)
    said = f"what was set for {tenant} is dropped: the config's settings hold"
    if not dropped:
        said = f"nothing was set for {tenant}: smsd tenant show tells what holds"
    answer({"tenant": tenant, "dropped": dropped}, said, json=json)
    return Code.OK if dropped else Code.NOT


def import_(*, file: str, skip_mistakes: bool, config: Path, json: bool) -> Code:
    """Set what a file says of many tenants."""
    name = "standard input" if file == "-" else file
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Trouble(f"{file}: cannot be read ({error.strerror})", Code.MISTAKE) from None
    return run(_import(name, text, config, skip=skip_mistakes, json=json))


async def _import(name: str, text: bytes, config: Path, *, skip: bool, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.config import ConfigErrors
    from smsd.control import tenant_file
    from smsd.control.tenants import Tenants

    async with reach(config) as store:
        try:
            there = await tenant_file.judged(name, tenant_file.read(name, text), store.config, store.shards)
            wanted = there.lines if skip or not there.mistakes else {}
            tables = {tenant: line.table for tenant, line in wanted.items()}
            await Tenants(store.config, store.shards).put_many(tables)
        except ConfigErrors as errors:
            raise _trouble(errors) from None
    wrong = len(there.mistakes)
    mistakes = f"{wrong:,} mistake{'' if wrong == 1 else 's'}"
    said = f"{len(tables):,} tenants are set" if tables or not wrong else "nothing was set"
    lines = [*map(str, there.mistakes), f"{mistakes}; {said}" if wrong else said]
    answer({"ok": not wrong, "set": len(tables), "mistakes": there.mistakes}, "\n".join(lines), json=json)
    return Code.OK if not wrong else Code.NOT if skip else Code.MISTAKE


def _trouble(errors: "ConfigErrors") -> Trouble:
    first, *more = errors.mistakes
    rest = f" ({len(more)} more)" if more else ""
    return Trouble(f"{first.key}: {first.message}{rest}", Code.MISTAKE)


def _told(title: str, table: "Table") -> str:
    lines = [f"  {name:13}  {_said(value)}" for name, value in table.items() if value]
    return "\n".join([title, *(lines or ["  nothing"])])


def _said(value: object) -> str:
    match value:
        case dict():
            return "; ".join(f"{name}: {_said(part)}" for name, part in cast("Table", value).items())
        case list():
            return ", ".join(map(str, cast("list[object]", value)))
        case _:
            return str(value)
