"""`smsd check --diff`: what the file would change of what is in force, in words, and whether a reload would take it.

Never publishes anything.
"""

from pathlib import Path

import msgspec

from smsd.cli.reach import reach
from smsd.cli.say import Trouble
from smsd.config import ConfigErrors, follow
from smsd.control.difference import KINDS, Change, Kind, difference
from smsd.control.dropping import Waiting, waiting
from smsd.control.made import made, read
from smsd.control.revision import published

SHOWN = 20  # changes of a kind
HEADS: dict[Kind, str] = {"cut_off": "cut off", "slower": "slower", "faster": "faster", "changed": "also changed"}


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """The answer."""

    revision: int  # what is in force; 0: nothing is
    changes: list[Change]
    held: list[Waiting]  # what keeps smsd reload from publishing it
    notes: list[Waiting]  # what is dropped all the same


async def compared(config: Path) -> Diff:
    """Raises Trouble where what is in force cannot be read by this release."""
    async with reach(config, secrets=True) as store:
        there = await published(store.shards[0])
        waits = await waiting(there.source, store.config, store.shards)
        tables = {name: table for shard in store.shards for name, table in (await made(shard)).tables.items()}
    if not there.revision:
        return Diff(revision=0, changes=[], held=[], notes=[])
    try:
        old = follow(store.config, there.source, secrets=False)
    except ConfigErrors as error:
        said = f"revision {there.revision} cannot be compared with by this release: {error.mistakes[0]}"
        raise Trouble(said) from None
    both = [one.with_made(read(one, tables)) for one in (old, store.config)]
    return Diff(
        revision=there.revision,
        changes=difference(*both),
        held=[one for one in waits if one.holds],
        notes=[one for one in waits if not one.holds],
    )


def shown(diff: Diff) -> str:
    """The answer as text: a few lines, however many tenants there are."""
    if not diff.revision:
        return "nothing is in force yet: smsd run or smsd reload publishes this file as it is"
    if not diff.changes:
        return f"nothing changes: revision {diff.revision} is in force and says the same"
    lines = [f"against revision {diff.revision}, which is in force:"]
    for kind in KINDS:
        changes = [change for change in diff.changes if change.kind == kind]
        if changes:
            lines.append(HEADS[kind])
            lines += [f"  {change}" for change in changes[:SHOWN]]
            if left := sum(change.count for change in changes[SHOWN:]):
                lines.append(f"  and {left:,} more: --json shows all")
    lines += [f"note: {one}" for one in diff.notes]
    lines += [f"smsd reload would refuse it: {one}" for one in diff.held]
    return "\n".join(lines)
