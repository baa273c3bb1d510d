"""The account of a run, from three books that know nothing of each other: what was enqueued, the events, the carrier's.

Pure: reads no stream and asks no carrier. It believes the carrier about what was taken and smsd only about reasons.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Set

import msgspec

NEVER_LEFT = frozenset({"failed", "expired", "rejected", "suppressed", "cancelled"})
"""Ends that need no copy at the carrier."""


class Told(msgspec.Struct):
    """What the events stream said about one message."""

    state: str = ""
    final: bool = False
    reason: str = ""
    flagged: bool = False  # possible_duplicate, in any event
    submitted: bool = False

    def hear(self, event: Mapping[str, str]) -> None:
        """Takes the next event of the message."""
        self.state, self.final = event["state"], event["final"] == "1"
        self.reason = event.get("reason", "")
        self.flagged = self.flagged or event.get("possible_duplicate") == "1"
        self.submitted = self.submitted or self.state == "submitted"


class Taken(msgspec.Struct, frozen=True):
    """One copy that the carrier took."""

    key: str  # tenant/id
    ends: str  # delivered | undelivered


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The counts. `lost` and `duplicated` are what must be 0; `open` messages have no final state yet."""

    enqueued: int
    submitted: int
    delivered: int
    undelivered: int
    unconfirmed: int
    failed: int
    expired: int
    rejected: int
    suppressed: int
    cancelled: int
    open: int
    lost: int  # neither taken by the carrier nor ended for a stated reason
    duplicated: int  # taken more than once, and not flagged
    taken: int  # messages that the carrier took, once or more
    taken_again: int  # of these, more than once but flagged
    possible_duplicates: int  # messages with the flag
    contradicted: int  # told as delivered or undelivered, but the carrier's book says the other
    strange: int  # taken by the carrier, but never enqueued
    seconds: float  # from the first entry until the last message had ended
    rate_per_s: float  # taken by the carrier, while there was something to take (watch.rate)
    reasons: dict[str, int]  # of the ends, "state: reason"

    @property
    def clean(self) -> bool:
        """Whether every message is accounted for."""
        return not (self.lost or self.duplicated or self.open or self.contradicted or self.strange)


def balance(
    enqueued: Set[str], told: Mapping[str, Told], taken: Iterable[Taken], seconds: float, rate_per_s: float
) -> Ledger:
    """Compares the books. `enqueued` holds each message's key once, however often it was written to a stream."""
    copies: dict[str, list[str]] = {}
    for copy in taken:
        copies.setdefault(copy.key, []).append(copy.ends)
    states = Counter[str]()
    reasons = Counter[str]()
    lost = duplicated = again = contradicted = flagged = submitted = still_open = 0
    for key in enqueued:
        heard, ends = told.get(key) or Told(), copies.get(key, [])
        flagged += heard.flagged
        submitted += heard.submitted
        lost += not ends and not (heard.final and _accounts(heard))
        duplicated += len(ends) > 1 and not heard.flagged
        again += len(ends) > 1 and heard.flagged
        contradicted += heard.state in ("delivered", "undelivered") and bool(ends) and heard.state not in ends
        if heard.final:
            states[heard.state] += 1
            if heard.reason:
                reasons[f"{heard.state}: {heard.reason}"] += 1
        else:
            still_open += 1
    named = ("delivered", "undelivered", "unconfirmed", "failed", "expired", "rejected", "suppressed", "cancelled")
    return Ledger(
        enqueued=len(enqueued),
        submitted=submitted,
        **{state: states[state] for state in named},
        open=still_open,
        lost=lost,
        duplicated=duplicated,
        taken=len(copies.keys() & enqueued),
        taken_again=again,
        possible_duplicates=flagged,
        contradicted=contradicted,
        strange=len(copies.keys() - enqueued),
        seconds=round(seconds, 3),
        rate_per_s=round(rate_per_s, 1),
        reasons=dict(sorted(reasons.items())),
    )


def _accounts(heard: Told) -> bool:
    """Whether an end without a copy at the carrier is one: nobody was told that the person has it."""
    return heard.reason != "" and (heard.state in NEVER_LEFT or heard.state == "unconfirmed")
