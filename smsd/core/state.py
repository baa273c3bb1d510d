"""The life of a message as a table: which state may follow which, and why. docs/LIFECYCLE.md is made from it.

Whatever may change a message's state is a line here. Never decides whether a change happens: the scripts do, and
the tests hold every history that they write against this table. LEASED is inside only; no event tells it.
"""

from collections.abc import Iterable
from typing import Final

from smsd.message import State

S = State
NEW: Final = "new"
"""Stands for "not known yet" in the table."""

NEXT: Final[dict[str, dict[State, str]]] = {
    NEW: {
        S.QUEUED: "admitted",
        S.CANCELLED: "its cancel came first",
        S.SUPPRESSED: "the recipient has opted out",
        S.REJECTED: "not valid; an event about the entry, no message comes to be",
    },
    S.QUEUED: {
        S.LEASED: "a process took it, charged to every limit",
        S.CANCELLED: "withdrawn before it left",
        S.EXPIRED: "its deadline passed while it waited",
        S.SUPPRESSED: "the recipient has opted out",
        S.DELIVERED: "a receipt for an earlier attempt ends a resend that still waits",
        S.UNDELIVERED: "a receipt for an earlier attempt ends a resend that still waits",
        S.SUBMITTED: "a late answer: the earlier attempt was taken, the resend is not needed",
        S.UNKNOWN: "a resend was withdrawn, or its recipient opted out: the earlier attempt may still have left",
        S.UNCONFIRMED: "a resend's deadline passed: the earlier attempt may have left",
    },
    S.LEASED: {
        S.QUEUED: "not taken: given back, throttled, deferred",
        S.SUBMITTED: "the provider took it",
        S.UNKNOWN: "may have left: no clear answer, or the lease ended unsettled",
        S.FAILED: "refused for good, or retries used up",
        S.CANCELLED: "withdrawn while it was leaving, and not taken",
        S.EXPIRED: "not taken, and its deadline has passed",
        S.UNCONFIRMED: "a resend was not taken and the deadline has passed: the earlier attempt may have left",
        S.UNDELIVERED: "a resend was not taken: the earlier attempt's receipt holds",
    },
    S.UNKNOWN: {
        S.SUBMITTED: "found by look-up, or a late answer, or a receipt that proves it",
        S.QUEUED: "surely not taken, or sent once more by policy (flagged)",
        S.DELIVERED: "by receipt",
        S.UNDELIVERED: "by receipt",
        S.UNCONFIRMED: "held until the deadline or the receipt timeout",
        S.FAILED: "surely not taken, and no attempt is left",
        S.CANCELLED: "withdrawn, and it turned out not to have been taken",
        S.EXPIRED: "surely not taken, and its deadline has passed",
    },
    S.SUBMITTED: {
        S.DELIVERED: "by receipt",
        S.UNDELIVERED: "by receipt",
        S.UNCONFIRMED: "no receipt within the receipt timeout",
    },
    S.DELIVERED: {},
    S.UNDELIVERED: {S.DELIVERED: "a late receipt"},
    S.UNCONFIRMED: {S.DELIVERED: "a late receipt", S.UNDELIVERED: "a late receipt"},
    S.FAILED: {S.DELIVERED: "a late receipt"},
    S.EXPIRED: {S.DELIVERED: "a late receipt"},
    S.REJECTED: {},
    S.SUPPRESSED: {S.DELIVERED: "a late receipt"},
    S.CANCELLED: {S.DELIVERED: "a late receipt"},
}

FINAL: Final = frozenset(
    {S.DELIVERED, S.UNDELIVERED, S.UNCONFIRMED, S.FAILED, S.EXPIRED, S.REJECTED, S.SUPPRESSED, S.CANCELLED}
)

QUIET: Final = S.LEASED
"""The one state that no event tells: between two events a message may have passed through it."""


def may_follow(before: str, after: State) -> bool:
    """Whether an event with `after` may follow one with `before` (NEW: the first), a lease in between or not."""
    if before == after:  # told again: queued after a retry, or unchanged with a reason (cancel_too_late)
        return True
    if after in NEXT[before]:
        return True
    return QUIET in NEXT[before] and after in NEXT[QUIET]


def first_unlawful(states: Iterable[str]) -> tuple[str, str] | None:
    """The first pair of a message's history that the table does not know; None when all is lawful."""
    before = NEW
    for state in states:
        if not may_follow(before, State(state)):
            return before, state
        before = state
    return None


def lifecycle() -> str:
    """The page docs/LIFECYCLE.md, whole."""
    lines = [
        "# The life of a message",
        "",
        "Made by `make docs` from the table in `smsd/core/state.py`; do not edit.",
        "`leased` is inside only: no event tells it.",
        "States in bold are final: only a true receipt that comes late changes them.",
        "",
        "```mermaid",
        "stateDiagram-v2",
    ]
    for before, ways in NEXT.items():
        lines += [f"    {'[*]' if before == NEW else before} --> {after}" for after in ways]
    lines += ["```", "", "| from | to | when |", "|---|---|---|"]
    for before, ways in NEXT.items():
        for after, why in ways.items():
            lines.append(f"| {_shown(before)} | {_shown(after)} | {why} |")
    return "\n".join(lines) + "\n"


def _shown(state: str) -> str:
    return f"**{state}**" if state in FINAL else state
