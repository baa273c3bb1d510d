"""How the demo is shown: a table that lives on a terminal, plain lines elsewhere, and the ledger at the end.

Never counts anything itself.
"""

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Protocol

import msgspec
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from smsd.demo.ledger import Ledger

PLAIN_EVERY_S = 2.0

MEANING = {
    "enqueued": "messages written to the streams",
    "submitted": "taken by the carrier, as smsd was told",
    "delivered": "ended by a receipt",
    "undelivered": "ended by a negative receipt",
    "unconfirmed": "submitted or held, and no receipt came",
    "failed": "refused for good",
    "expired": "too late",
    "rejected": "not valid",
    "suppressed": "opted out",
    "cancelled": "withdrawn before it left",
    "open": "without a final state yet",
    "possible_duplicates": "sent again although not certain: flagged",
    "taken": "in the carrier's own book",
    "taken_again": "twice in that book, and flagged",
    "contradicted": "ended otherwise than in that book",
    "strange": "in that book, but never enqueued",
    "lost": "neither taken nor ended for a stated reason",
    "duplicated": "twice in that book, and not flagged",
}


class Moment(msgspec.Struct, frozen=True):
    """What is shown of a moment of the run."""

    seconds: float
    enqueued: int
    messages: int
    final: int
    rate_per_s: float
    backlog: Mapping[str, int]
    in_flight: int
    states: Mapping[str, int]
    flagged: int


class View(Protocol):
    def __call__(self, moment: Moment, /) -> None: ...


@contextlib.contextmanager
def view(console: Console, title: str) -> Generator[View]:
    """Shows moments, as often as they come: one table on a terminal, else a line each two seconds."""
    if not console.is_terminal:
        yield _plain(console.print)
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        yield lambda moment: live.update(_table(moment, title))


def _plain(say: Callable[..., object]) -> View:
    last = [-PLAIN_EVERY_S]

    def show(moment: Moment) -> None:
        if moment.seconds - last[0] >= PLAIN_EVERY_S:
            last[0] = moment.seconds
            say(line(moment), soft_wrap=True, highlight=False)

    return show


def line(moment: Moment) -> str:
    """A moment as one line."""
    backlog = " ".join(f"{name} {n}" for name, n in sorted(moment.backlog.items()))
    states = " ".join(f"{name} {n}" for name, n in moment.states.items() if n and name != "queued")
    return (
        f"{moment.seconds:5.0f} s  {moment.final}/{moment.messages} ended  {moment.rate_per_s:.0f}/s  "
        f"backlog {backlog or 'none'}  in flight {moment.in_flight}  {states}"
    )


def _table(moment: Moment, title: str) -> Table:
    table = Table(title=title, show_header=False, min_width=64)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column()
    table.add_row("time", f"{moment.seconds:.0f} s", "")
    table.add_row("enqueued", str(moment.enqueued), _bar(moment.enqueued, moment.messages))
    table.add_row("ended", str(moment.final), _bar(moment.final, moment.messages))
    table.add_row("rate", f"{moment.rate_per_s:.0f}/s", "taken by the carrier")
    for name, n in sorted(moment.backlog.items()):
        table.add_row(f"backlog {name}", str(n), _bar(n, moment.messages))
    table.add_row("in flight", str(moment.in_flight), "")
    for name, n in moment.states.items():
        if n:
            table.add_row(name, str(n), "")
    table.add_row("possible duplicates", str(moment.flagged), "flagged")
    return table


def _bar(n: int, of: int) -> ProgressBar:
    return ProgressBar(total=max(1, of), completed=n, width=30)


def summary(ledger: Ledger) -> Table:
    """The ledger as a table."""
    table = Table(title="The ledger", caption=f"{ledger.seconds:.0f} s, {ledger.rate_per_s:.0f} messages/s")
    table.add_column("messages")
    table.add_column("", justify="right")
    table.add_column("", style="dim")
    for name, meaning in MEANING.items():
        n = getattr(ledger, name)
        bad = name in ("lost", "duplicated", "contradicted", "strange", "open")
        if n or bad or name in ("enqueued", "submitted", "delivered"):
            style = ("red" if n else "green") if bad else None
            table.add_row(name.replace("_", " "), str(n), meaning, style=style)
    for reason, n in ledger.reasons.items():
        table.add_row(f"  {reason}", str(n), "")
    return table
