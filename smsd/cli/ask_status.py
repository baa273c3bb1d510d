"""The answer of `smsd status` as text: a line for each thing, and one for the processes of a host that are alike.

Never asks the store: smsd/control/standing.py does.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby

from smsd.cli.say import moment
from smsd.cli.steer import spoken
from smsd.control.holding import named
from smsd.control.processes import File, Process
from smsd.control.receivers import ReceiverNow
from smsd.control.standing import Group, Standing
from smsd.store.holds import Pause

HOSTS_SHOWN = 20
MARKS_SHOWN = 10
FILES: dict[File, str] = {
    "in_force": "its file is in force",
    "superseded": "its file was superseded: smsd reload there publishes it on purpose",
    "refused": "its file is not in force",
}


def shown(now: Standing, now_ms: int) -> str:
    """The answer as text."""
    lines = [
        ("config", _config(now)),
        ("backlog", _backlog(now)),
        ("inbox", _counts(now.inbox)),
        ("in flight", _counts(now.in_flight)),
        *(("paused", line) for line in _few(map(_pause, now.paused))),
        *(("cancelling", line) for line in _few(spoken(named(what)) for what in now.withdrawing)),
        ("events", f"{now.events:,}; {_groups(now.groups)}"),
        *(("webhooks", line) for line in _few(map(shown_receiver, now.webhooks))),
        ("dead", f"{now.dead:,}" + (": smsd dead list shows them" if now.dead else "")),
        ("store", f"{now.store}, {_size(now.store_memory_bytes)}{_most(now)}"),
        *(("processes", line) for line in _processes(now, now_ms)),
    ]
    if now.sandbox:
        lines.insert(0, ("sandbox", "on: only the numbers of [sandbox] allow_to are texted for real"))
    told: list[str] = []
    for name, group in groupby(lines, key=lambda line: line[0]):
        for i, (_, text) in enumerate(group):
            told.append(f"{name if i == 0 else '':<10} {text}")
    return "\n".join(told)


def _config(now: Standing) -> str:
    if not now.revision:
        return "none was ever published: smsd run does it"
    same = (
        "this file's" if now.config_is_file else "not this file's: smsd check --diff compares, smsd reload publishes it"
    )
    return f"revision {now.revision}, {same}"


def _backlog(now: Standing) -> str:
    def one(name: str, n: int) -> str:
        age_s = now.oldest_s.get(name, 0)
        return f"{name} {n:,}" + (f" (oldest {span(age_s)})" if age_s >= 1 else "")

    return ", ".join(one(name, n) for name, n in now.backlog.items()) or "nothing"


def _pause(pause: Pause) -> str:
    until = f"until {datetime.fromtimestamp(pause.until_us / 1e6, UTC):%Y-%m-%d %H:%M:%SZ}" if pause.until_us else ""
    by = f" (by {pause.by})" if pause.by not in ("", "-") else ""
    return f"{spoken(named(pause.what))} {until or 'until resumed'}{f': {pause.reason}' if pause.reason else ''}{by}"


def _groups(groups: Iterable[Group]) -> str:
    def one(group: Group) -> str:
        lag = "an unknown number" if group.lag is None else f"{group.lag:,}"
        where = f"{group.stream} {group.shard}" if group.stream != "events" or group.shard else group.stream
        return f"{group.group} on {where}: {lag} behind, {group.pending:,} not acknowledged"

    return "; ".join(_few(one(group) for group in groups)) or "no consumer group reads them"


def shown_receiver(one: ReceiverNow) -> str:
    """A receiver of status webhooks in a line."""
    waits = f"{one.waiting:,}{' and more' if one.more else ''} waiting" if one.waiting or one.more else "nothing waits"
    parts = [waits + (f" (oldest {span(one.oldest_s)})" if one.oldest_s >= 1 else "")]
    if one.replaying:
        parts.append("a replay is under way")
    if one.disabled_at_ms:
        parts.append(f"disabled since {moment(one.disabled_at_ms)}, {one.why}: smsd webhooks enable {one.name}")
    return f"{one.name} at {one.url}: {', '.join(parts)}"


def _processes(now: Standing, now_ms: int) -> list[str]:
    """A line for all processes of a host of which the same is to be said."""

    def said(one: Process) -> tuple[str, str]:
        silent_ms = one.silent_ms(now_ms)
        if silent_ms:
            return one.host, f"not heard of for {span(silent_ms / 1000)}"
        behind = "" if one.revision == now.revision else f" (the store's is {now.revision})"
        dead = f", finds {', '.join(one.dead)} dead" if one.dead else ""
        return one.host, f"revision {one.revision}{behind}, {FILES[one.file]}{f': {one.why}' if one.why else ''}{dead}"

    lines: list[str] = []
    for (host, what), group in groupby(sorted(now.processes, key=said), key=said):
        some = list(group)
        since = span((now_ms - min(one.since_ms for one in some)) / 1000)
        many = f"{len(some)} processes" if len(some) > 1 else f"process {some[0].pid}"
        lines.append(f"{host}: {many} for {since}, {what}")
    return _few(lines, HOSTS_SHOWN) or ["none: smsd run starts them"]


def _few(lines: Iterable[str], most: int = MARKS_SHOWN) -> list[str]:
    """The first of many lines, and how many more there are."""
    every = list(lines)
    return [*every[:most], f"and {len(every) - most} more: --json shows all"] if len(every) > most else every


def _counts(of: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in of.items()) or "nothing"


def _size(n: int) -> str:
    return f"{n / 1024 / 1024:,.1f} MB"


def _most(now: Standing) -> str:
    return f" of {_size(now.store_memory_max_bytes)}" if now.store_memory_max_bytes else ", no maxmemory"


def span(seconds: float) -> str:
    """A span of time as a person says it."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
