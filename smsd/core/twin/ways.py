"""The ways on for a message that was not simply taken: it goes back, stands, is held, ends, or is withdrawn.

Never talks of leases: the verbs end those first. Unknown is neither success nor a blind retry.
"""

from collections.abc import Mapping
from typing import Literal

from smsd.core.twin import optouts
from smsd.core.twin.book import Book
from smsd.core.twin.lanes import enqueue, put_due, withdraw
from smsd.core.twin.values import Record, Taken
from smsd.message import State

Told = Mapping[str, str | int]

CancelWord = Literal["cancelled", "leaving", "left", "unknown"]


def hold(book: Book, r: Record) -> None:
    """An outcome that nothing more can be asked about: until a receipt, or the end as unconfirmed."""
    book.set_state(r, State.UNKNOWN)
    book.unsure.drop(r.key)
    until_us = min(r.deadline, r.leased + book.class_(r.class_).receipt_timeout_us)
    book.awaited.set(r.key, max(book.now_us, until_us))


def tell_and_hold(book: Book, r: Record, extra: Told) -> None:
    """Held for an attempt before the last, which was surely not taken; told unless it stands as unknown already."""
    if r.state is not State.UNKNOWN:
        book.set_state(r, State.UNKNOWN)
        book.tell(r, State.UNKNOWN, **extra)
    hold(book, r)
    r.earlier = True


def unanswered(r: Record) -> Told:
    """What an end without a receipt tells: whom to ask, where that is known. It is the attempt that was taken, the last
    if there are several, else the one that stands as unknown.
    """
    one = max(r.taken, key=lambda taken: taken.attempt, default=None)
    if one is None and r.state is State.UNKNOWN and not r.earlier:
        one = Taken(r.attempt, r.provider, "")
    told: dict[str, str | int] = {"reason": "no_receipt"}
    if one is not None:
        told |= {"provider": one.provider, "attempt": one.attempt}
    if one is not None and one.provider_id:
        told["provider_id"] = one.provider_id
    return told


def close(book: Book, r: Record, state: State, reason: str) -> None:
    """Ends a message that leaves no more: what may have left is unconfirmed, never expired or cancelled."""
    if r.maybe:
        book.finish(r, State.UNCONFIRMED, **unanswered(r))
    else:
        book.finish(r, state, reason=reason)


def expire(book: Book, r: Record, reason: str = "") -> None:
    """Ends a message whose deadline has passed, with what it last waited for."""
    close(book, r, State.EXPIRED, reason or r.waited or "expired")


def unserved(book: Book, r: Record) -> str:
    """What a message that lay ready waited for: what its last attempt did, else perhaps a provider's limit."""
    held = book.full.get(r.route, 0) >= (r.since or r.entered)
    return r.waited or ("throttled_out" if held else "")


def submit(book: Book, r: Record, attempt: int, provider: str, provider_id: str) -> None:
    """An attempt was taken: a receipt is awaited."""
    if r.state is State.QUEUED:
        withdraw(book, r)
    remember_id(book, r, attempt, provider, provider_id)
    r.maybe = True
    _await_receipt(book, r, attempt, provider, provider_id)
    r.submitted = book.now_us
    if said := optouts.said_by(r):
        book.last[said] = r.key


def stands(book: Book, r: Record) -> bool:
    """True when an earlier attempt is known to have been taken while a later one was not: nothing is left to send.

    Where every receipt has come already, that is its end.
    """
    if not r.taken:
        return False
    if still := r.open():
        _await_receipt(book, r, still[0].attempt, still[0].provider, still[0].provider_id)
        return True
    one = next((taken for taken in r.taken if taken.receipt == State.UNDELIVERED), r.taken[0])
    told: dict[str, str | int] = {"provider": one.provider, "provider_id": one.provider_id, "attempt": one.attempt}
    if one.receipt == State.UNDELIVERED:
        told |= {name: value for name in ("reason", "error_code") if (value := getattr(one, name))}
    book.finish(r, State(one.receipt), **told)
    return True


def _await_receipt(book: Book, r: Record, attempt: int, provider: str, provider_id: str) -> None:
    book.set_state(r, State.SUBMITTED)
    book.unsure.drop(r.key)
    book.awaited.set(r.key, book.now_us + book.class_(r.class_).receipt_timeout_us)
    book.tell(r, State.SUBMITTED, provider=provider, provider_id=provider_id, attempt=attempt)
    if r.cancel:  # it came while the message was leaving, and is answered now
        book.tell(r, State.SUBMITTED, reason="cancel_too_late")


def let_go(book: Book, r: Record) -> bool:
    """Ends a queued message, taken out of where it waited, that somebody withdrew; whether it is over."""
    r.cancel = True
    if r.maybe:
        tell_and_hold(book, r, {"reason": "cancelled"})
        return False
    book.finish(r, State.CANCELLED, reason="cancelled")
    return True


def is_unwanted(book: Book, r: Record) -> bool:
    """Whether a message was withdrawn while it was leaving, by its id or with all of its kind."""
    r.cancel = r.cancel or book.is_withdrawn(r.lane, r.entered)
    return r.cancel


def go_back(book: Book, r: Record, at_us: int, extra: Told) -> None:
    """The attempt was surely not taken: tried again (at `at_us`, if that is later), or over."""
    if stands(book, r):
        return
    book.unsure.drop(r.key)
    book.awaited.drop(r.key)
    if is_unwanted(book, r):
        let_go(book, r)
    elif r.deadline <= book.now_us:
        expire(book, r)
    elif at_us > book.now_us:
        put_due(book, r, at_us)
        book.tell(r, State.QUEUED, **extra, due=r.due // 1000)
    else:
        enqueue(book, r)
        book.tell(r, State.QUEUED, **extra)


def fail(book: Book, r: Record, reason: str, extra: Told) -> None:
    """The attempt was refused and no other follows."""
    if reason == "opted_out":
        optouts.learn(book, r, r.provider)
    if stands(book, r):
        return
    unwanted = is_unwanted(book, r)
    if r.maybe:
        tell_and_hold(book, r, {"reason": reason, **extra})
    elif unwanted:
        book.finish(r, State.CANCELLED, reason="cancelled")
    else:
        book.finish(r, State.FAILED, reason=reason, **extra)


def remember_id(book: Book, r: Record, attempt: int, provider: str, provider_id: str) -> None:
    """A provider's id is never thrown away, whatever became of the lease; each leads back to the message."""
    taken = r.place_of(attempt)
    if taken is not None and (taken.provider, taken.provider_id) == (provider, provider_id):
        return
    if provider_id:
        book.refs[provider, provider_id] = (attempt, r.key)
    if taken is None:
        r.taken.append(Taken(attempt, provider, provider_id))
    elif not taken.provider_id and taken.provider == provider:
        taken.provider_id = provider_id
    elif provider_id and not any((t.provider, t.provider_id) == (provider, provider_id) for t in r.taken):
        told = "" if taken.segments > 1 else taken.receipt
        r.taken.append(Taken(attempt, provider, provider_id, told, taken.segments))


def cancel(book: Book, key: str) -> CancelWord:
    """Withdraws a message as far as it still can be. One that is not known yet is remembered."""
    r = book.records.get(key)
    if r is None:
        book.records[key] = _tomb(key, book.now_us)
        book.ended.set(key, book.now_us + book.settings.retention_us)
        return "unknown"
    match r.state:
        case None:
            return "unknown"
        case State.CANCELLED:
            return "cancelled"
        case State.LEASED | State.UNKNOWN:
            r.cancel = True
            return "leaving"
        case State.QUEUED:
            withdraw(book, r)
            return "cancelled" if let_go(book, r) else "left"
        case _:
            return "left"


def _tomb(key: str, now_us: int) -> Record:
    return Record(key, "", "", "", 0, 0, 0, "", now_us, {})
