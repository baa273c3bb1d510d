"""The commands about entries that could not be taken: dead list, show, redrive, purge.

Never shows a text or a number unless that was asked for. What is changed is counted first (smsd/control/dead.py).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from smsd.cli.say import Code, Trouble, agreed, answer, moment, one_line, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smsd.control.dead import Letter, Page, Wanted


def list_(
    *, tenant: str, reason: str, class_: str, since: str, before: str, limit: int, older: str, config: Path, json: bool
) -> Code:
    """List entries that could not be taken."""
    from smsd.cli.reach import reach
    from smsd.control.dead import PAGE_MAX, name_of, page

    if not 1 <= limit <= PAGE_MAX:
        raise Trouble(f"--limit: 1 to {PAGE_MAX}; --older goes on from there", Code.MISTAKE)
    wanted = _wanted([], tenant, reason, class_, since, before)
    after = _name(older) if older else ""

    async def look() -> "tuple[Page, int]":
        async with reach(config) as store:
            return await page(store.shards, wanted, limit, after=after, newest=True), len(store.shards)

    there, shards = run(look())
    lines = [
        f"{name_of(one, shards)}  {moment(one.at_ms)}  {one.reason}: {one.tenant or 'no tenant'}, "
        f"{one.class_ or 'no class'}{f', {one.given_id}' if one.given_id else ''}: {one.detail}"
        for one in reversed(there.dead)
    ]
    lines = list(map(one_line, lines))  # an id may hold new lines
    if there.next:
        lines.append(f"{there.kept:,} are there in all; older ones: --older {there.next}")
    answer(there, "\n".join(lines) or "no dead entry is there, or none of these", json=json)
    return Code.OK


def show(*, id: str, private: bool, config: Path, json: bool) -> Code:
    """Show one entry."""
    from smsd.cli.reach import reach
    from smsd.control import dead

    name = _name(id)

    async def look() -> "Letter | None":
        async with reach(config) as store:
            return await dead.show(store.shards, name, private=private)

    letter = run(look())
    if letter is None:
        raise Trouble(f"there is no dead entry {id}: smsd dead list tells what is there")
    shown = letter.fields | {name: f"{n} characters: --private shows them" for name, n in letter.hidden.items()}
    shown = {one_line(name): one_line(value) for name, value in shown.items()}
    width = max(map(len, shown))
    answer(letter, "\n".join(f"{name:{width}}  {value}" for name, value in shown.items()), json=json)
    return Code.OK


def redrive(
    *,
    ids: list[str],
    tenant: str,
    reason: str,
    class_: str,
    since: str,
    before: str,
    limit: int,
    yes: bool,
    config: Path,
    json: bool,
) -> Code:
    """Put entries back into the inbox that they came from."""
    return run(_redrive(_wanted(ids, tenant, reason, class_, since, before), limit, config, yes=yes, json=json))


async def _redrive(wanted: "Wanted", limit: int, config: Path, *, yes: bool, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import dead

    async with reach(config) as store:
        these = await dead.found(store.shards, wanted)
        absent = dead.missing(wanted, these)
        these = these[:limit] if limit else these
        stay = sum(not one.stream for one in these)
        if these:
            rest = f", of which {stay} came from no inbox and stay" if stay else ""
            agreed(f"This puts {_entries(len(these))} back into the inboxes{rest}.", yes=yes)
        done = await dead.redrive(store.shards, these)
    parts = [f"{done.redriven:,} redriven"]
    parts += [f"{done.gone:,} gone meanwhile"] if done.gone else []
    parts += [f"{done.left:,} stay: they came from no inbox, so purge them or send anew"] if done.left else []
    parts += _absent(absent)
    told = {"redriven": done.redriven, "gone": done.gone, "left": done.left, "absent": absent}
    answer(told, "; ".join(parts) if these else "no dead entry is there, or none of these", json=json)
    return Code.NOT if done.left or absent else Code.OK


def purge(
    *,
    ids: list[str],
    tenant: str,
    reason: str,
    class_: str,
    since: str,
    before: str,
    limit: int,
    yes: bool,
    config: Path,
    json: bool,
) -> Code:
    """Forget entries."""
    return run(_purge(_wanted(ids, tenant, reason, class_, since, before), limit, config, yes=yes, json=json))


async def _purge(wanted: "Wanted", limit: int, config: Path, *, yes: bool, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control import dead

    async with reach(config) as store:
        these = await dead.found(store.shards, wanted)
        absent = dead.missing(wanted, these)
        these = these[:limit] if limit else these
        if these:
            agreed(f"This forgets {_entries(len(these))} for good.", yes=yes)
        purged = await dead.purge(store.shards, these)
    said = "; ".join([f"{purged:,} purged", *_absent(absent)]) if these else "no dead entry is there, or none of these"
    answer({"purged": purged, "absent": absent}, said, json=json)
    return Code.NOT if absent else Code.OK


def _name(text: str) -> str:
    """An entry's name as it was typed. Raises Trouble."""
    from smsd.control.dead import is_name

    if not is_name(text):
        raise Trouble(f'"{text}" is no id of a dead entry, as 1764288000000-0: smsd dead list tells them', Code.MISTAKE)
    return text


def _absent(names: "Sequence[str]") -> list[str]:
    """What is said of entries that were named and are not there (or not of what else was asked for)."""
    if not names:
        return []
    rest = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return [f"not there: {', '.join(names[:3])}{rest}"]


def _entries(n: int) -> str:
    return f"{n:,} dead entr{'y' if n == 1 else 'ies'}"


def _wanted(ids: list[str], tenant: str, reason: str, class_: str, since: str, before: str) -> "Wanted":
    from smsd.control.dead import Wanted

    return Wanted(
        ids=frozenset(map(_name, ids)),
        tenant=tenant,
        reason=reason,
        class_=class_,
        since_ms=when_ms("--since", since),
        before_ms=when_ms("--before", before),
    )


def when_ms(flag: str, text: str) -> int:
    """An instant that was typed as such, or as a time ago. Raises Trouble."""
    import time
    from datetime import datetime

    from smsd.config.settings import duration_us

    if not text:
        return 0
    try:
        return time.time_ns() // 1_000_000 - duration_us(text) // 1000
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Trouble(f"{flag}: a time ago as 2h, or an instant as 2026-11-24T10:00:00+01:00", Code.MISTAKE)
    return int(at.timestamp() * 1000)
