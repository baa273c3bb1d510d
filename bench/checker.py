"""The independent checker: what was enqueued, what the carrier took, and what the events say, held against each other.

Pure, and no part of smsd decides anything here: it knows the public contract and the three books, nothing else. The
producer's own list is believed about what should be, the carrier's about what was; smsd only about reasons and flags.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from smsd.testing.carrier_ledger import Line

NEVER_LEFT = frozenset({"failed", "expired", "rejected", "suppressed", "cancelled"})
BY_RECEIPT = frozenset({"delivered", "undelivered"})
FINAL = NEVER_LEFT | BY_RECEIPT | {"unconfirmed"}
OVERRULED = {"delivered": FINAL - {"delivered"}, "undelivered": frozenset({"unconfirmed"})}
"""contract.md §3: which ends a late receipt replaces."""

Sight = Literal["look-up", "blind"]
"""Whether the provider can be asked what became of a message."""


class Wanted(msgspec.Struct, frozen=True):
    """One message as its producer meant it."""

    class_: str
    to: str
    body: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the books say together. Each list names messages as `tenant/id`."""

    enqueued: int
    taken: int  # messages that the carrier took, once or more
    copies: int
    finals: dict[str, int]
    flagged: int  # possible_duplicate in any event
    lost: list[str]  # not taken, and no end with a reason that says so
    held: list[str]  # not taken, ended `unconfirmed`: may have left for all that smsd could know
    doubled: list[str]  # taken more than once
    unflagged: list[str]  # of these, those that no event flagged
    doubled_by_class: dict[str, int]
    open: list[str]  # without a final state
    strange: list[str]  # taken, but never enqueued
    altered: list[str]  # taken with another text or recipient
    contradicted: list[str]  # told `delivered` or `undelivered`, where every copy ended otherwise
    misled: list[str]  # an event names a provider's id that the carrier gave to another message
    broken: list[str]  # a history with a gap, a repeat, or a state after an end that no late receipt explains


class _Story:
    """The events of one message."""

    def __init__(self) -> None:
        self.seq = 0
        self.state = ""
        self.reason = ""
        self.flagged = False
        self.ids: set[str] = set()
        self.sound = True

    def hear(self, event: Mapping[str, str]) -> None:
        state, late = event["state"], event.get("late") == "1"
        self.sound &= int(event["seq"]) == self.seq + 1
        self.sound &= event["event_id"] == f"{event['tenant']}/{event['id']}/{event['seq']}"
        self.sound &= (event["final"] == "1") == (state in FINAL)
        answers_cancel = event.get("reason") == "cancel_too_late"
        if answers_cancel:
            self.sound &= self.state == state
        elif self.state in FINAL:
            self.sound &= late and self.state in OVERRULED.get(state, frozenset())
        self.seq, self.state = int(event["seq"]), state
        if not answers_cancel:
            self.reason = event.get("reason", "")
        self.flagged |= event.get("possible_duplicate") == "1"
        if event.get("provider_id"):
            self.ids.add(event["provider_id"])

    @property
    def excused(self) -> bool:
        """Whether it ended without leaving, and said why."""
        return self.state in NEVER_LEFT and self.reason != ""


def check(wanted: Mapping[str, Wanted], book: Iterable[Line], events: Iterable[Mapping[str, str]]) -> Found:
    """Compares them. `wanted` has each message once, however often its entry was written."""
    copies: defaultdict[str, list[Line]] = defaultdict(list)
    whose: dict[str, str] = {}
    for line in book:
        if line.sid is not None:
            key = line.reference.partition(".")[2]
            copies[key].append(line)
            whose[line.sid] = key
    stories: defaultdict[str, _Story] = defaultdict(_Story)
    for event in events:
        if event["seq"] != "0":
            stories[f"{event['tenant']}/{event['id']}"].hear(event)
    doubled = [key for key, lines in copies.items() if len(lines) > 1]
    untaken = [key for key in wanted if key not in copies]
    return Found(
        enqueued=len(wanted),
        taken=len(copies.keys() & wanted.keys()),
        copies=sum(map(len, copies.values())),
        finals=dict(sorted(Counter(stories[key].state for key in wanted if stories[key].state in FINAL).items())),
        flagged=sum(story.flagged for story in stories.values()),
        lost=[key for key in untaken if not stories[key].excused and stories[key].state != "unconfirmed"],
        held=[key for key in untaken if stories[key].state == "unconfirmed"],
        doubled=doubled,
        unflagged=[key for key in doubled if not stories[key].flagged],
        doubled_by_class=dict(Counter(wanted[key].class_ for key in doubled if key in wanted)),
        open=[key for key in wanted if stories[key].state not in FINAL],
        strange=[key for key in copies if key not in wanted],
        altered=[key for key, lines in copies.items() if key in wanted and _altered(wanted[key], lines)],
        contradicted=[key for key, lines in copies.items() if _contradicted(stories[key], lines)],
        misled=[key for key, story in stories.items() if any(whose.get(sid, "") != key for sid in story.ids)],
        broken=[key for key, story in stories.items() if not story.sound],
    )


def failures(found: Found, sight: Sight) -> list[str]:
    """The claims that do not hold, a sentence each with some of those that break it."""
    wrong: list[tuple[str, Sequence[str]]] = [
        ("were lost", found.lost),
        ("have no end", found.open),
        ("were never enqueued, but taken", found.strange),
        ("arrived with another text or recipient", found.altered),
        ("are told against the carrier's book", found.contradicted),
        ("carry the id of another message", found.misled),
        ("have an unsound history", found.broken),
    ]
    if sight == "look-up":
        wrong.append(("were taken twice although they could be looked up", found.doubled))
        wrong.append(("were given up although they could be looked up", found.held))
    else:
        wrong.append(("were taken twice without a flag", found.unflagged))
    said = [f"{len(keys)} {what}: {', '.join(keys[:5])}" for what, keys in wrong if keys]
    if sight == "blind" and (held_class := found.doubled_by_class.get("marketing", 0)):
        said.append(f"{held_class} of the class that holds were taken twice")
    return said


def _altered(wanted: Wanted, lines: Sequence[Line]) -> bool:
    return any((line.to, line.body) != (wanted.to, wanted.body) for line in lines)


def _contradicted(story: _Story, lines: Sequence[Line]) -> bool:
    return story.state in BY_RECEIPT and all(line.ends != story.state for line in lines)
