"""The commands about who has opted out: optout list, add, remove, import, export.

Never shows a number unless that was asked for: an export is, and a list with --private.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from smsd.cli.say import Code, Trouble, agreed, answer, moment, run, write

if TYPE_CHECKING:
    from smsd.control.optouts import Whose

NO_NUMBER = "number not known"


def list_(*, tenant: str, sender: str, limit: int, private: bool, config: Path, json: bool) -> Code:
    """List who has opted out."""
    return run(_list(_whose(tenant, sender), limit, config, private=private, json=json))


async def _list(only: "Whose | None", limit: int, config: Path, *, private: bool, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control.optouts import every
    from smsd.number import mask

    shown: list[dict[str, object]] = []
    more = False
    async with reach(config) as store:
        async for whose, one in every(store.shards, only):
            if limit and len(shown) == limit:
                more = True
                break
            number = one.number if private else mask(one.number)
            told = {"number": number, "scope": one.scope, "tenant": whose.tenant, "sender": whose.sender}
            shown.append({**told, "at_ms": one.at_ms, "source": one.source, "provider": one.provider})
    lines = [
        f"{one['number'] or NO_NUMBER:16}  {one['scope']:9}  {moment(int(str(one['at_ms'])))}  "
        f"{_of(one)}, by {_by(one)}"
        for one in shown
    ]
    if more:
        lines.append(f"these are {limit:,}: --limit shows more, and smsd optout export all")
    answer(shown, "\n".join(lines) or "nobody has opted out, or nobody of these", json=json)
    return Code.OK


def add(*, number: str, tenant: str, sender: str, scope: str, config: Path, json: bool) -> Code:
    """Close a scope to one number."""
    return run(_add(number, _named(tenant, sender), scope, config, json=json))


async def _add(number: str, whose: "Whose", scope: str, config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import optouts
    from smsd.store.optouts import OptOut

    async with reach(config) as store:
        e164 = _number(number, store.config.terms(whose.tenant).region if whose.tenant else "")
        one = OptOut(e164, "marketing" if scope == "marketing" else "all", source="command")
        changed = await optouts.close(store.shards, whose, [one])
    said = f"{scope} of {whose} is closed" if changed else f"{scope} of {whose} was closed already"
    answer({"closed": bool(changed)}, said, json=json)
    return Code.OK


def remove(*, number: str, tenant: str, sender: str, yes: bool, config: Path, json: bool) -> Code:
    """Take one number off the list."""
    return run(_remove(number, _named(tenant, sender), config, yes=yes, json=json))


async def _remove(number: str, whose: "Whose", config: Path, *, yes: bool, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import optouts

    async with reach(config) as store:
        e164 = _number(number, store.config.terms(whose.tenant).region if whose.tenant else "")
        known = await optouts.get(store.shards, whose, e164)
        if known is not None:
            agreed(f"This lets texts of {whose} go to somebody who has opted out.", yes=yes)
        opened = await optouts.open_(store.shards, whose, e164)
    answer({"opened": opened}, f"{whose}: {'opened' if opened else 'nothing was closed'}", json=json)
    return Code.OK if opened else Code.NOT


def import_(*, file: str, tenant: str, sender: str, skip_mistakes: bool, config: Path, json: bool) -> Code:
    """Close scopes to all that a file names."""
    name = "standard input" if file == "-" else file
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Trouble(f"{file}: cannot be read ({error.strerror})", Code.MISTAKE) from None
    return run(_import(name, text, _whose(tenant, sender), config, skip=skip_mistakes, json=json))


async def _import(name: str, text: bytes, otherwise: "Whose | None", config: Path, *, skip: bool, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import optout_file, optouts

    async with reach(config) as store:
        there = optout_file.read(name, text, otherwise, lambda tenant: store.config.terms(tenant).region)
        wanted = there.entries if skip or not there.mistakes else {}
        closed = sum([await optouts.close(store.shards, whose, entries) for whose, entries in wanted.items()])
    wrong, total = len(there.mistakes), sum(map(len, wanted.values()))
    mistakes = f"{wrong:,} mistake{'' if wrong == 1 else 's'}"
    said = f"{closed:,} of {total:,} were closed now" if total or not wrong else "nothing was closed"
    lines = [*map(str, there.mistakes), f"{mistakes}; {said}" if wrong else said]
    told = {"ok": not wrong, "read": total, "closed": closed, "mistakes": there.mistakes}
    answer(told, "\n".join(lines), json=json)
    return Code.OK if not wrong else Code.NOT if skip else Code.MISTAKE


def export(*, tenant: str, sender: str, config: Path, json: bool) -> Code:
    """Print the list as a file that import reads."""
    return run(_export(_whose(tenant, sender), config, json=json))


async def _export(only: "Whose | None", config: Path, *, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control.optout_file import lines
    from smsd.control.optouts import every

    async with reach(config) as store:
        async for line in lines(every(store.shards, only), json=json):
            write(line + "\n")
    return Code.OK


def _whose(tenant: str, sender: str) -> "Whose | None":
    """None: everybody's. Raises Trouble."""
    from smsd.control.optouts import CHOSEN, Whose
    from smsd.core.names import TENANT_TOLD, is_tenant
    from smsd.number import sender_ok

    if tenant and sender:
        raise Trouble("--tenant or --sender, not both: each has a list of its own", Code.MISTAKE)
    if tenant and not is_tenant(tenant):
        raise Trouble(f'--tenant: "{tenant}" can be no tenant: a tenant id is {TENANT_TOLD}', Code.MISTAKE)
    if sender not in ("", CHOSEN) and (why := sender_ok(sender)):  # nothing is sent from it: closing it closes nothing
        raise Trouble(f"--sender: {why}; {CHOSEN} is the provider's choice", Code.MISTAKE)
    return Whose(tenant, sender) if tenant or sender else None


def _named(tenant: str, sender: str) -> "Whose":
    whose = _whose(tenant, sender)
    if whose is None:
        raise Trouble("whose list is meant: --tenant TENANT or --sender SENDER", Code.MISTAKE)
    return whose


def _number(text: str, region: str) -> str:
    from smsd.number import BadNumber, normalise

    try:
        return normalise(text, region, "possible").e164
    except BadNumber as error:
        raise Trouble(f"NUMBER: {error}", Code.MISTAKE) from None


def _of(one: dict[str, object]) -> str:
    return f"tenant {one['tenant']}" if one["tenant"] else f"sender {one['sender']}"


def _by(one: dict[str, object]) -> str:
    words = {"inbound": "a text", "provider": "the code of a provider", "api": "the API", "import": "a file"}
    source = words.get(str(one["source"]), "a command")
    return f"{source} ({one['provider']})" if one["provider"] else source
