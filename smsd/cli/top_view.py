"""How the overview looks: one screen that fits 80 x 24, and more where there is room.

Pure: draws what it is given, reads nothing.
"""

import io

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from smsd.cli.say import one_line
from smsd.cli.steer import spoken
from smsd.control.holding import named
from smsd.control.overview import BindNow, Overview

HEAD_LINES = 4
SCREEN_LINES = 24
WORDS = {"t": "tenant", "c": "class", "s": "sender", "p": "provider"}


class Choices:
    """What the person who watches has chosen."""

    def __init__(self) -> None:
        self.still = False
        self.by_name = False

    def press(self, key: str) -> None:
        """p holds the picture still, s sorts by name or by number."""
        if key == "p":
            self.still = not self.still
        elif key == "s":
            self.by_name = not self.by_name


def text(now: Overview, width: int = 80) -> str:
    """As plain lines, all there is."""
    drawn = io.StringIO()
    console = Console(file=drawn, width=width, color_system=None, legacy_windows=False)
    console.print(screen(now, Choices(), 100, ""))
    return "\n".join(line.rstrip() for line in drawn.getvalue().splitlines()).rstrip()


def screen(now: Overview, choices: Choices, height: int = SCREEN_LINES, trouble: str = "") -> RenderableType:
    """All of it; where the lines are few, fewer tenants and limits."""
    standing = now.standing
    classes, providers = _classes(now), _providers(now)
    used = HEAD_LINES + len(standing.backlog) + 2 + len(now.providers) + 2 + len(_notes(now)) + 2
    rows = max(1, min(20, height - used - 1))
    parts: list[RenderableType] = [_head(now, choices, trouble), classes, providers]
    both = Table.grid(padding=(0, 2))
    both.add_column(width=24)
    both.add_column()
    both.add_row(_tenants(now, rows, choices), _binds(now, rows, choices))
    return Group(*parts, both, *_notes(now))


def _head(now: Overview, choices: Choices, trouble: str) -> Text:
    standing = now.standing
    always = ("queued", "submitted", "delivered")
    shown = [state for state in _RATES if state in always or now.per_s.get(state)]
    rates = "  ".join(f"{_RATES[state]} {now.per_s.get(state, 0):.0f}/s" for state in shown)
    most = f" of {_size(standing.store_memory_max_bytes)}" if standing.store_memory_max_bytes else ""
    hosts = len({process.host for process in standing.processes})
    works = f"{_many(len(standing.processes), 'process')} on {_many(hosts, 'host')}"
    works = works if standing.processes else "NO PROCESS WORKS: smsd run starts one"
    line = Text()
    line.append("smsd", style="bold")
    line.append(f"  {works}  revision {standing.revision}  store {_size(standing.store_memory_bytes)}{most}")
    line.append(f"\n{rates}")
    line.append("   q quit p hold s sort" + (" HELD" if choices.still else ""), style="dim")
    if trouble:
        line.append(f"\n{trouble}", style="bold red")
    line.append("\n")
    return line


_RATES = {
    "queued": "taken",
    "submitted": "submitted",
    "delivered": "delivered",
    "undelivered": "undelivered",
    "failed": "failed",
    "expired": "expired",
}


def _classes(now: Overview) -> Table:
    table = _table("class", ">backlog", ">oldest", ">inbox")
    for name, n in now.standing.backlog.items():
        table.add_row(name, f"{n:,}", _age(now.standing.oldest_s.get(name, 0)), f"{now.standing.inbox.get(name, 0):,}")
    return table


def _providers(now: Overview) -> Table:
    table = _table("provider", "health", ">in flight", ">answers", ">took/s", ">deliv/s", ">undel/s")
    for one in now.providers:
        health = Text(one.health if not one.why else f"{one.health}: {one.why[:24]}")
        health.stylize({"ok": "green", "paused": "yellow"}.get(one.health, "red"))
        flying = f"{one.in_flight} of {one.max_in_flight}"
        rates = (f"{n:.1f}" for n in (one.submitted_per_s, one.delivered_per_s, one.undelivered_per_s))
        answers = f"{one.answer_ms:.0f} ms" if one.answer_ms is not None else "?"
        table.add_row(one.name, health, flying, answers, *rates)
    return table


def _tenants(now: Overview, rows: int, choices: Choices) -> Table:
    table = _table("tenant", ">queued")
    some = now.tenants[:rows]
    for one in sorted(some, key=lambda one: one.tenant) if choices.by_name else some:
        table.add_row(one.tenant, f"{one.queued:,}")
    return table


def _binds(now: Overview, rows: int, choices: Choices) -> Table:
    table = _table("limit that binds", "limit", ">lanes", ">opens")
    some = now.binds[:rows]
    for one in sorted(some, key=lambda one: one.scope) if choices.by_name else some:
        table.add_row(_scope(one), one.limit, f"{one.lanes:,}", _opens(one, now.at_ms))
    return table


def _notes(now: Overview) -> list[Text]:
    """What somebody has stopped, a line each."""
    standing = now.standing
    told = [f"paused: {spoken(named(one.what))} by {one.by} {one.reason}".rstrip() for one in standing.paused]
    told += [f"being cancelled: {spoken(named(what))}" for what in standing.withdrawing]
    notes = [Text(one_line(line), style="yellow") for line in told]
    if standing.sandbox:
        notes.append(Text("the sandbox is on: other numbers than those of allow_to reach no provider", style="yellow"))
    return notes[:5]


def _table(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for name in names:
        justify = "right" if name[0] == ">" else "left"
        table.add_column(name.lstrip(">"), justify=justify, no_wrap=True, overflow="ellipsis")
    return table


def _scope(one: BindNow) -> str:
    kind, _, name = one.scope.partition(":")
    return f"{WORDS.get(kind, kind)} {name.replace('|', ' ')}"


def _opens(one: BindNow, now_ms: int) -> str:
    if not one.opens_ms:
        return "?"
    return "now" if one.opens_ms <= now_ms else _age((one.opens_ms - now_ms) / 1000)


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}{'es' if what.endswith('s') else 's'}"


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _size(n: int) -> str:
    return f"{n / 1024 / 1024:.0f} MB"
