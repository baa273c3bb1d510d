"""The carrier's control side, `/_carrier/…`: its ledger and counts, its faults, which can be changed while it runs, and
texts that people send.

Never part of a dialect and never guarded: whoever reaches the carrier may steer it, so it listens on loopback.
"""

import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from smsd.testing.carrier_dialect import Text, form
from smsd.testing.carrier_faults import PROFILES, Faults
from smsd.testing.carrier_http import Link, Request
from smsd.testing.carrier_ledger import Line, Stats
from smsd.testing.carrier_receipts import Errand
from smsd.testing.carrier_server import Carrier

PREFIX = b"/_carrier/"
LEDGER_PAGE = 10_000  # lines of the ledger in one answer, at most: more would hold up the messages
IDLE_S = 30.0


class LedgerPage(msgspec.Struct, frozen=True):
    """A part of the ledger, in the order of arrival. `next`: what to ask for `after` it; null at the end."""

    records: tuple[Line, ...]
    next: int | None


class Idle(msgspec.Struct, frozen=True):
    """Whether every receipt was told (or given up) before the time was over."""

    idle: bool


def merged(faults: Faults, changes: Mapping[str, object]) -> Faults:
    """`faults` with some fields changed; `profile` names the one to start from instead.

    Raises ValueError with a sentence that names the field.
    """
    changes = dict(changes)
    profile = changes.pop("profile", None)
    if profile is not None:
        if profile not in PROFILES:
            raise ValueError(f"there is no profile {profile!r}: it is one of {', '.join(PROFILES)}")
        faults = PROFILES[str(profile)]
    values: dict[str, Any] = msgspec.structs.asdict(faults) | changes
    # Not strict: the command line brings text, and a Faults made by its own constructor would not be validated.
    return msgspec.convert(values, Faults, strict=False)


class Control:
    """Hands the control requests to the carrier, and all others on to it."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._routes: Mapping[tuple[bytes, bytes], Callable[[Link, Request], None]] = {
            (b"GET", b"ledger"): self._ledger,
            (b"GET", b"stats"): self._stats,
            (b"GET", b"faults"): self._show_faults,
            (b"POST", b"faults"): self._change_faults,
            (b"POST", b"reset"): self._reset,
            (b"GET", b"idle"): self._idle,
            (b"POST", b"texts"): self._text,
        }

    def handle(self, link: Link, request: Request) -> None:
        """Answers any request."""
        if not request.head.path.startswith(PREFIX):
            self._carrier.handle(link, request)
            return
        route = self._routes.get((request.head.method, request.head.path[len(PREFIX) :]))
        if route is None:
            offered = ", ".join(f"{method.decode()} {(PREFIX + name).decode()}" for method, name in self._routes)
            _error(link, 404, f"there is no such control; offered are: {offered}")
            return
        try:
            route(link, request)
        except ValueError as error:  # msgspec's are ValueErrors too
            _error(link, 400, str(error))

    def _ledger(self, link: Link, request: Request) -> None:
        asked = form(request.head.query)
        limit = min(max(1, int(asked.get("limit", LEDGER_PAGE))), LEDGER_PAGE)
        lines = self._carrier.ledger.lines(int(asked.get("after", 0)), limit)
        following = lines[-1].n if len(lines) == limit else None
        link.reply(200, msgspec.json.encode(LedgerPage(tuple(lines), following)))

    def _stats(self, link: Link, request: Request) -> None:
        link.reply(200, msgspec.json.encode(stats(self._carrier)))

    def _show_faults(self, link: Link, request: Request) -> None:
        link.reply(200, msgspec.json.encode(self._carrier.faults))

    def _change_faults(self, link: Link, request: Request) -> None:
        changes = msgspec.json.decode(request.body, type=dict[str, object])
        self._carrier.faults = merged(self._carrier.faults, changes)
        self._show_faults(link, request)

    def _reset(self, link: Link, request: Request) -> None:
        self._carrier.start_anew(msgspec.json.decode(request.body or b"{}", type=Reset).seed)
        self._stats(link, request)

    def _idle(self, link: Link, request: Request) -> None:
        asked_s = float(form(request.head.query).get("timeout_s", IDLE_S))
        waiting = True

        def end(*, idle: bool) -> None:
            nonlocal waiting
            if waiting:
                waiting = False
                link.reply(200, msgspec.json.encode(Idle(idle)))

        self._carrier.timers.at(time.monotonic() + asked_s, lambda: end(idle=False))
        self._carrier.teller.when_idle(lambda: end(idle=True))

    def _text(self, link: Link, request: Request) -> None:
        """Answers once it was brought: `answer` is what the account's webhook said."""
        sid = ""

        def done(answer: str) -> None:
            link.reply(200, msgspec.json.encode({"sid": sid, "answer": answer}))

        sid = self._carrier.text(msgspec.json.decode(request.body, type=Text), Errand(done))


class Reset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a reset may say."""

    seed: int | None = None  # null: the one that the carrier was started with


def stats(carrier: Carrier) -> Stats:
    """The carrier's counts now."""
    ledger, usage = carrier.ledger, resource.getrusage(resource.RUSAGE_SELF)
    return Stats(
        requests=sum(ledger.outcomes.values()),
        taken=ledger.taken,
        outcomes={outcome.value: n for outcome, n in ledger.outcomes.items()},
        taken_twice=ledger.taken_twice,
        taken_twice_references=ledger.taken_twice_references,
        without_reference=ledger.without_reference,
        forgotten=ledger.forgotten,
        unauthorised=carrier.unauthorised,
        look_ups=carrier.look_ups,
        repeated=carrier.repeated,
        receipts=carrier.teller.counts,
        pending=carrier.teller.pending,
        connections=len(carrier.links),
        first_us=ledger.first_us,
        last_us=ledger.last_us,
        now_us=time.time_ns() // 1000,
        cpu_s=usage.ru_utime + usage.ru_stime,
        rss_kb=usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1),
    )


def _error(link: Link, status: int, detail: str) -> None:
    link.reply(status, msgspec.json.encode({"status": status, "message": detail}))
