"""What attempts came to, and what a look-up found out. Never lets a late outcome touch another's lease.

Under a lease its fence must fit; while a message is unknown, the attempt must (and the fence, of an outcome that names
one: attempt numbers are used again after a give-back). A provider's id is kept whatever else is too late.
"""

from typing import Final, assert_never

from smsd.core import outcome as o
from smsd.core.twin import ways
from smsd.core.twin.book import Book
from smsd.core.twin.lanes import enqueue
from smsd.core.twin.receipts import apply, apply_early, apply_parked, segmented
from smsd.core.twin.values import Receipt, Record
from smsd.message import State

UNSETTLED_MAX: Final = 3
"""After so many leases in a row that nobody settled a message goes no more: who takes it up does not live to tell."""


def settle(book: Book, outcome: o.Outcome) -> str:
    """One outcome: the state that the message is in now; or `late`, `gone`."""
    r = book.records.get(outcome.key)
    if r is None:
        return "gone"
    fits = outcome.fence == r.fence
    if r.state is State.LEASED and fits and not isinstance(outcome, o.Found | o.Look | o.Clear | o.Hold):
        release(book, r)
        r.unsettled = 0
        _of_lease(book, r, outcome)
        apply_parked(book, r)
        return str(r.state)
    if r.state is State.UNKNOWN and outcome.attempt == r.attempt and (fits or outcome.fence == 0):
        if isinstance(outcome, o.Unknown):
            return "late"
        _of_unknown(book, r, outcome)
        return str(r.state)
    return _late(book, r, outcome)


def release(book: Book, r: Record) -> None:
    """A place in the lease's batch is over."""
    for name in (f"p:{r.provider}", f"c:{r.route}|{r.class_}", f"n:{r.fence}"):
        book.in_flight[name] -= 1
        if not book.in_flight[name]:
            del book.in_flight[name]
            if name[0] == "n":
                book.leases.drop(str(r.fence))
                book.batches.pop(r.fence, None)


def told(extra: o.Extra) -> ways.Told:
    """Event fields from the flat list."""
    return dict(zip(extra[::2], extra[1::2], strict=True))


Leased = o.Accepted | o.Back | o.Retry | o.Fail | o.Elsewhere | o.Moved | o.Resend | o.Unknown
Looked = o.Found | o.Look | o.Clear | o.Hold


def _of_lease(book: Book, r: Record, outcome: Leased) -> None:
    match outcome:
        case o.Accepted():
            _accepted(book, r, outcome)
        case o.Back():
            _back(book, r)
        case o.Retry():
            r.tries += outcome.counted
            r.waited = outcome.waited
            ways.go_back(book, r, outcome.at_us, told(outcome.extra))
        case o.Fail():
            ways.fail(book, r, outcome.reason, told(outcome.extra))
        case o.Elsewhere():
            r.tries += 1
            _bind(r, outcome.providers)
            ways.go_back(book, r, 0, told(outcome.extra))
        case o.Moved():
            _move(book, r, outcome)
        case o.Resend():
            _lapse(book, r, outcome)
        case o.Unknown():
            r.maybe, r.earlier = True, False
            r.nos = r.fails = 0
            book.set_state(r, State.UNKNOWN)
            book.unsure.set(r.key, outcome.look_at_us)
            book.tell(r, State.UNKNOWN, **told(outcome.extra))
        case _ as never:
            assert_never(never)


def _of_unknown(book: Book, r: Record, outcome: Leased | Looked) -> None:
    match outcome:
        case o.Accepted():
            _accepted(book, r, outcome)
        case o.Found() if book.refs.get((outcome.provider, outcome.provider_id), (0, r.key))[1] != r.key:
            book.unsure.set(r.key, book.now_us)  # it is another's, which was looked for at the same time
        case o.Found():
            _accepted(book, r, outcome)
            for status, reason, error_code, raw in outcome.receipts:
                one = Receipt(
                    r.key, outcome.attempt, outcome.provider, outcome.provider_id, status, reason, error_code, raw
                )
                apply(book, r, outcome.attempt, one)
        case o.Look():
            r.nos, r.fails = outcome.noes, outcome.failures
            book.unsure.set(r.key, outcome.at_us)
        case o.Clear():
            _clear(book, r, outcome)
        case o.Resend():
            _resend(book, r, outcome)
        case o.Hold():
            ways.hold(book, r)
        case o.Fail():
            _surely_not(r)
            ways.fail(book, r, outcome.reason, told(outcome.extra))
        case o.Back() | o.Retry() | o.Elsewhere() | o.Moved():
            _surely_not(r)
            ways.go_back(book, r, 0, {})
        case o.Unknown():
            pass
        case _ as never:
            assert_never(never)


def _clear(book: Book, r: Record, outcome: o.Clear) -> None:
    _surely_not(r)
    if r.unsettled >= UNSETTLED_MAX:
        ways.fail(book, r, "internal", told(outcome.extra))
        return
    r.double = r.double or outcome.doubt == 1
    r.tries += 1
    r.keyed = 0
    ways.go_back(book, r, 0, told(outcome.extra))


def _resend(book: Book, r: Record, outcome: o.Resend) -> None:
    if r.unsettled >= UNSETTLED_MAX:
        ways.hold(book, r)
        return
    r.double = r.double or not outcome.providers
    r.resent = True
    r.tries += 1
    r.keyed = outcome.key_until_us
    if outcome.providers:
        _bind(r, outcome.providers)
    ways.go_back(book, r, 0, told(outcome.extra))


def _late(book: Book, r: Record, outcome: o.Outcome) -> str:
    """The id is kept; a resend that still waits is not needed any more. A store that has lost its last writes knows
    nothing of the attempt, and may have let another one begin.
    """
    if not isinstance(outcome, o.Accepted | o.Found):
        return "late"
    if r.state is State.QUEUED:
        r.attempt = max(r.attempt, outcome.attempt)
        _accepted(book, r, outcome)
        return str(r.state)
    r.double = r.double or (r.state is State.LEASED and outcome.attempt >= r.attempt)
    ways.remember_id(book, r, outcome.attempt, outcome.provider, outcome.provider_id)
    _keep_ids(book, r, outcome)
    return "late"


def _accepted(book: Book, r: Record, outcome: o.Accepted | o.Found) -> None:
    ways.submit(book, r, outcome.attempt, outcome.provider, outcome.provider_id)
    _keep_ids(book, r, outcome)


def _keep_ids(book: Book, r: Record, outcome: o.Accepted | o.Found) -> None:
    """The ids of an attempt: one, or one for each segment."""
    others = outcome.segment_ids if isinstance(outcome, o.Accepted) else ()
    if others:
        segmented(r, outcome.attempt, 1 + len(others))
    for id_ in others:
        ways.remember_id(book, r, outcome.attempt, outcome.provider, id_)
    for id_ in (outcome.provider_id, *others):
        apply_early(book, r, outcome.attempt, outcome.provider, id_)


def _back(book: Book, r: Record) -> None:
    """Not a byte left: no attempt is counted, counted limits are refunded, and nothing is told."""
    _uncount(book, r)
    if r.taken or ways.is_unwanted(book, r) or r.deadline <= book.now_us:
        ways.go_back(book, r, 0, {})
    else:
        enqueue(book, r)


def _move(book: Book, r: Record, outcome: o.Moved) -> None:
    """Not a byte left, and another route serves it from now on, whatever bound it before."""
    _uncount(book, r)
    lane = r.lane.split("|")
    r.route, lane[2], lane[5] = outcome.route, outcome.route, ""
    r.lane = "|".join(lane)
    ways.go_back(book, r, 0, told(outcome.extra))


def _lapse(book: Book, r: Record, outcome: o.Resend) -> None:
    """Not a byte left: the key under which the attempt before was to be told again is over."""
    _uncount(book, r)
    r.double, r.keyed = True, 0
    _bind(r, outcome.providers)
    ways.go_back(book, r, 0, told(outcome.extra))


def _uncount(book: Book, r: Record) -> None:
    """An attempt that never began: what can be refunded is."""
    lane = r.lane.split("|")
    for scope in (f"t:{lane[0]}", f"c:{lane[0]}|{lane[1]}", f"s:{lane[3]}", f"p:{r.provider}"):
        book.limits.refund(scope, r.cost, r.leased, r.leased - r.lead, book.now_us)
        line = book.lines.get(scope)
        if line and book.limits.defined(scope):
            line.wake_by(book.now_us)
    r.attempt -= 1


def _bind(r: Record, providers: str) -> None:
    """The lane of the same flow, sender and campaign that only those may serve."""
    r.lane = r.lane.rpartition("|")[0] + "|" + providers


def _surely_not(r: Record) -> None:
    """The attempt of unknown outcome was not taken; of two, the other may still have been."""
    r.maybe = r.maybe and r.resent
