"""What goes into the twin and comes out of it, and what it keeps of each message and lane. Never decides anything."""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from smsd.core.limit import Limit
from smsd.core.optout import Scope
from smsd.core.wait import Entry, Head
from smsd.message import Leased, Message, State

HOUR_US = 3_600_000_000


class Offer(msgspec.Struct):
    """A provider that the process may use now: its weight in the route, and how many it has room for."""

    provider: str
    weight: int
    room: int


class Lease(msgspec.Struct, frozen=True):
    """What a process got to start at once, or when to ask again."""

    messages: list[Leased]
    again: bool
    wake_us: int
    revision: int


class Receipt(msgspec.Struct, frozen=True):
    """A receipt and whom it is for: our reference (key, attempt), or only the provider's id (key "")."""

    key: str
    attempt: int
    provider: str
    provider_id: str
    status: str
    reason: str = ""
    error_code: str = ""
    raw: str = ""
    parts: int = 1


class Unsure(msgspec.Struct, frozen=True):
    """A message of unknown outcome, claimed to be looked at."""

    message: Message | None
    key: str
    provider: str
    attempt: int
    leased_us: int
    deadline_us: int
    noes: int
    failures: int
    resent: bool
    tries: int
    entered_us: int


class Swept(msgspec.Struct):
    """What one bounded pass of the sweep ended."""

    expired: int = 0
    unleased: int = 0
    unconfirmed: int = 0
    purged: int = 0
    resumed: int = 0
    forgotten: int = 0
    miscounted: int = 0
    withdrawn: int = 0


class Class(msgspec.Struct, frozen=True):
    """What the config says of a class."""

    weight: int
    share_permille: int  # of the route's room; 1000: no cap
    receipt_timeout_us: int
    opt_out: Scope = "all"  # what closes it


class Settings(msgspec.Struct, frozen=True):
    """The part of the config that the store reads."""

    classes: dict[str, Class]  # heavier first
    retention_us: int = 72 * HOUR_US
    bodies_end: bool = True  # bodies are erased once the state is final, else with the record
    slack_us: int = 20_000
    tenants: dict[str, tuple[Limit, ...]] = {}  # "*": any other tenant
    tenant_classes: dict[str, dict[str, tuple[Limit, ...]]] = {}
    senders: dict[str, tuple[Limit, ...]] = {}
    providers: dict[str, tuple[Limit, ...]] = {}
    max_in_flight: dict[str, int] = {}


class Taken(msgspec.Struct):
    """An attempt that a provider took, or a segment of it, and the last receipt for it ("" until one comes)."""

    attempt: int
    provider: str
    provider_id: str
    receipt: str = ""
    segments: int = 1  # of the attempt, where each has an id and a receipt of its own
    reason: str = ""  # of an undelivered
    error_code: str = ""


class Record(msgspec.Struct):
    """Everything about a message that changes. Names as in smsd.store.record."""

    key: str
    class_: str
    route: str
    lane: str
    deadline: int
    arrival: int
    cost: int
    print: str
    entered: int
    echo: dict[str, str]  # what every event of it repeats
    to: str = ""
    state: State | None = None  # None: only a cancel that came before its message
    seq: int = 0
    since: int = 0  # when it could first leave, where it came with a not_before
    due: int = 0  # waits in the due set until then; 0: in its lane, or not waiting
    attempt: int = 0
    fence: int = 0
    provider: str = ""
    leased: int = 0
    lead: int = 0  # charged so long before the instant `leased`
    submitted: int = 0
    taken: list[Taken] = []
    parked: list[Receipt] = []
    noted: set[tuple[str, int, str, str]] = set()  # of receipts in the history: status, attempt, raw status, segment
    nos: int = 0
    fails: int = 0
    waited: str = ""
    tries: int = 0
    unsettled: int = 0  # leases in a row that ended with nobody's word
    keyed: int = 0  # until when what may have left can be repeated under its key; 0: any time
    cancel: bool = False  # withdrawn while it was leaving
    double: bool = False  # flagged possible_duplicate
    maybe: bool = False  # an attempt may have left
    resent: bool = False  # sent again by policy while it was unknown whether the first had left
    earlier: bool = False  # held as unknown for an attempt that is not followed by any that may have left

    @property
    def flags(self) -> int:
        """As the store packs them."""
        return self.cancel + 2 * self.double + 4 * self.maybe + 8 * self.resent + 16 * self.earlier

    def told_undelivered(self, attempt: int) -> bool:
        """Whether it was, as a whole or a segment of it: what comes after that proves nothing more."""
        return any(taken.attempt == attempt and taken.receipt == State.UNDELIVERED for taken in self.taken)

    def open(self) -> list[Taken]:
        """For which a receipt may still come that matters."""
        return [one for one in self.taken if not one.receipt and not self.told_undelivered(one.attempt)]

    def place_of(self, attempt: int) -> Taken | None:
        """The attempt, if a provider took it."""
        return next((taken for taken in self.taken if taken.attempt == attempt), None)


class Where(StrEnum):
    """Where a lane stands."""

    READY = "ready"
    WAITING = "waiting"  # at a limit
    PAUSED = "paused"


class HeldBack(NamedTuple):
    """A route whose next message a provider's limit refused: other routes that came later wait for it."""

    since_us: int
    opens_us: int
    till_us: int  # as long as it is waited for


class Lane(msgspec.Struct):
    """Whatever can be limited, paused or cancelled by itself. Empty lanes do not exist."""

    name: str
    tenant: str
    class_: str
    route: str
    sender: str
    campaign: str
    bound: tuple[str, ...]  # the only providers that may serve it; (): any
    head: Head
    messages: list[tuple[int, int, str]]  # deadline, number of arrival, key; sorted
    where: Where = Where.READY
    scope: str = ""  # the limit that it waits at, or the mark that pauses it
    refused_us: int = 0  # when its head was first refused by a limit
    via: str = ""  # the limit that let it through last
    holds: list[tuple[str, Entry]] = []  # places that it keeps at limits which let it through

    @property
    def flow(self) -> str:
        """The lanes of one tenant, class and route share one turn."""
        return f"{self.tenant}|{self.class_}|{self.route}"

    @classmethod
    def empty(cls, name: str, head: Head) -> "Lane":
        """From tenant|class|route|sender|campaign|providers."""
        tenant, class_, route, sender, campaign, bound = name.split("|")
        providers = tuple(bound.split(",")) if bound else ()
        return cls(name, tenant, class_, route, sender, campaign, providers, head, [])
