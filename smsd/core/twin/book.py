"""Everything that a shard remembers, and the one way to change a message's state and to end a message.

Plain data: which state follows is for the verbs beside this file. Never reads a clock: `now_us` is set by the shard.
"""

from collections import Counter, defaultdict
from typing import Final

from smsd.core.fair import Queue, Turns
from smsd.core.optout import Scope
from smsd.core.state import FINAL
from smsd.core.twin.limits import Limits
from smsd.core.twin.timers import Timers
from smsd.core.twin.values import Class, HeldBack, Lane, Receipt, Record, Settings
from smsd.core.wait import Head, Line
from smsd.message import Message, State

ANY_CLASS: Final = Class(weight=1, share_permille=1000, receipt_timeout_us=172_800_000_000)
"""What holds for a class that the config does not name any more."""

Event = dict[str, str]

FROM_THE_START: tuple[str, bool] = ("", False)


class Book:
    """One shard. The names follow smsd.store.keys."""

    def __init__(self, settings: Settings) -> None:
        self.now_us = 0
        self.high_us = 0  # the clock never goes back behind a lease
        self.revision = 0
        self.settings = settings
        self.limits = Limits(settings)
        self.records: dict[str, Record] = {}
        self.bodies: dict[str, Message] = {}
        self.events: list[Event] = []
        self.arrivals = 0
        self.backlog: Counter[str] = Counter()  # queued messages of each class
        # Where queued messages are: in a lane, or in the due set.
        self.lanes: dict[str, Lane] = {}
        self.deadlines = Timers()  # lanes by their head's deadline
        self.ready: dict[str, list[tuple[Head, str]]] = {}  # flow -> its ready lanes
        self.flows: defaultdict[tuple[str, str], Queue] = defaultdict(Queue)  # route, class -> tenants
        self.turns: defaultdict[str, Turns] = defaultdict(Turns)  # route -> its classes
        self.lines: dict[str, Line] = {}  # limit -> who waits at it
        self.pauses: dict[str, int] = {}  # mark -> until (0: until resumed)
        self.paused_from = FROM_THE_START  # the mark that the next pass looks at, or (True) has looked at
        self.lifted = False  # a mark was, and not all lanes have been looked at since
        self.withdrawn: dict[str, int] = {}  # mark -> when; a campaign's covers what comes later too
        self.withdrawing: dict[str, str] = {}  # those that are not done -> where the sweep has come to
        self.due: defaultdict[str, Timers] = defaultdict(Timers)  # class -> keys
        # What has left, or may have.
        self.fence = 0
        self.leases = Timers()  # fences (as text) by the lease's end
        self.batches: dict[int, list[str]] = {}  # fence -> keys
        self.looks: dict[str, tuple[int, str]] = {}  # route -> when somebody looks next, and who
        self.full: dict[str, int] = {}  # route -> when a provider's limit last held it back
        self.held_back: defaultdict[str, dict[str, HeldBack]] = defaultdict(dict)  # p:provider -> routes
        self.asked: dict[tuple[str, str], tuple[str, int]] = {}  # process, route -> its last request and fence
        self.in_flight: Counter[str] = Counter()  # p:provider, c:route|class, n:fence
        self.awaited = Timers()  # keys by the time at which they end without a receipt
        self.unsure = Timers()  # keys by the time of the next look
        self.refs: dict[tuple[str, str], tuple[int, str]] = {}  # provider, its id -> attempt, key
        self.last: dict[tuple[str, str], str] = {}  # sender, recipient -> the last message that a provider took
        self.opt_outs: dict[tuple[str, str], Scope] = {}  # t:tenant or s:sender, recipient -> what is closed
        self.early: dict[tuple[str, str], list[Receipt]] = {}
        self.early_at: dict[tuple[str, str], int] = {}
        self.ended = Timers()  # keys by the time at which the record goes

    def lift_mark(self, mark: str) -> None:
        """Where it held lanes, those of every mark are looked at anew, in pass upon pass, until all have been."""
        if not any(lane.where == "paused" and lane.scope == mark for lane in self.lanes.values()):
            return
        self.paused_from, self.lifted = FROM_THE_START, True

    def class_(self, name: str) -> Class:
        """What holds for a class."""
        return self.settings.classes.get(name, ANY_CLASS)

    def paused_by(self, lane: Lane) -> str:
        """The mark that pauses a lane, "" when none does."""
        busy = next((mark for mark in withdrawals_of(lane) if mark in self.withdrawing), "")
        if busy:
            return f"x{busy}"
        marks = ["all", f"t:{lane.tenant}", f"c:{lane.class_}", f"s:{lane.sender}"]
        if lane.campaign:
            marks.append(f"k:{lane.tenant}|{lane.campaign}")
        return next((mark for mark in marks if self.is_paused(mark)), "")

    def is_paused(self, mark: str) -> bool:
        """Whether a mark is set and not over."""
        if mark.startswith("x"):
            return mark[1:] in self.withdrawing
        until = self.pauses.get(mark)
        return until is not None and (until == 0 or until > self.now_us)

    def is_withdrawn(self, lane: str, entered_us: int) -> bool:
        """Whether what lies in that lane, and was taken then, is cancelled with all of its kind."""
        marks = withdrawals_of(Lane.empty(lane, (0, 0)))
        return any(
            (at := self.withdrawn.get(mark)) is not None and (mark.startswith("k:") or entered_us <= at)
            for mark in marks
        )

    def tell(self, r: Record, state: State, /, **extra: str | int) -> None:
        """Writes an event about a message."""
        r.seq += 1
        tenant, _, id_ = r.key.partition("/")
        event: Event = {
            "v": "1",
            "event_id": f"{r.key}/{r.seq}",
            "id": id_,
            "tenant": tenant,
            "class": r.class_,
            "seq": str(r.seq),
            "state": str(state),
            "final": str(int(state in FINAL)),
            "at": str(self.now_us // 1000),
            **r.echo,
            **{name: str(value) for name, value in extra.items()},
        }
        if r.double:
            event["possible_duplicate"] = "1"
        self.events.append(event)

    def set_state(self, r: Record, state: State) -> None:
        """The only place where a state changes; keeps the backlog's count."""
        self.backlog[r.class_] += (state is State.QUEUED) - (r.state is State.QUEUED)
        r.state = state

    def finish(self, r: Record, state: State, /, **extra: str | int) -> None:
        """Ends a message, or changes its end by a late receipt."""
        before = r.state
        self.awaited.drop(r.key)
        self.unsure.drop(r.key)
        self.set_state(r, state)
        self.tell(r, state, **extra)
        if before not in FINAL:
            self.ended.set(r.key, self.now_us + self.settings.retention_us)
            if self.settings.bodies_end:
                self.bodies.pop(r.key, None)


def withdrawals_of(lane: Lane) -> list[str]:
    """The marks of withdrawals that can cover a lane."""
    marks = [f"t:{lane.tenant}", f"c:{lane.class_}", f"tc:{lane.tenant}|{lane.class_}"]
    return [*marks, f"k:{lane.tenant}|{lane.campaign}"] if lane.campaign else marks
