"""How the demo looks."""

import io

import msgspec
from rich.console import Console

from smsd.demo.ledger import Taken, Told, balance
from smsd.demo.view import Moment, line, summary, view

MOMENT = Moment(
    seconds=3.2, enqueued=20, messages=20, final=5, rate_per_s=7.4, backlog={"reminder": 4, "marketing": 8},
    in_flight=3, states={"queued": 12, "submitted": 3, "delivered": 5, "failed": 0}, flagged=1,
)  # fmt: skip


def shown(*moments: Moment, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    with view(console, "a title") as show:
        for moment in moments:
            show(moment)
    return out.getvalue()


def test_a_line_tells_the_moment() -> None:
    """Rate, backlog by class, flights and states are on one line."""
    told = line(MOMENT)
    assert told == ("    3 s  5/20 ended  7/s  backlog marketing 8 reminder 4  in flight 3  submitted 3 delivered 5")


def test_without_a_terminal_lines_come_now_and_then() -> None:
    """A log gets plain lines, at most one in two seconds."""
    soon = msgspec.structs.replace(MOMENT, seconds=3.9)
    later = msgspec.structs.replace(MOMENT, seconds=5.3)
    assert len(shown(MOMENT, soon, later, terminal=False).splitlines()) == 2


def test_a_terminal_gets_a_table() -> None:
    """On a terminal the same is shown in place."""
    out = shown(MOMENT, terminal=True)
    assert "a title" in out
    assert "backlog marketing" in out


def test_the_ledger_is_a_table_with_what_must_be_nothing() -> None:
    """Lost and duplicated are in it even when they are 0, states that never occurred are not."""
    out = io.StringIO()
    books = {"a/1": Told("failed", True, "bad_number")}
    ledger = balance({"a/1", "a/2"}, books, [Taken("a/2", "delivered")], 2.0, 10.0)
    Console(file=out, width=100).print(summary(ledger))
    told = out.getvalue()
    for word in ("lost", "duplicated", "enqueued", "failed: bad_number"):
        assert word in told
    assert "expired" not in told
