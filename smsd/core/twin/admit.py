"""Admission: checked entries of one inbox become messages in lanes or the due set, cancels, or rejections.

Never judges an entry: core.admit did. An entry that another call has handled is the caller's to leave out.
"""

from typing import Final, assert_never

from smsd.core.fields import EARLIEST_EPOCH_MS
from smsd.core.twin import optouts
from smsd.core.twin.book import Book
from smsd.core.twin.lanes import enqueue, put_due
from smsd.core.twin.values import Record
from smsd.core.twin.ways import cancel
from smsd.message import Cancel, Entry, Message, Rejection, Send, State

REPLACED: Final = {"cancelled": "cancelled", "leaving": "left", "left": "left", "unknown": "unknown"}
"""What became of the message that another one replaces, as the event says it, by the answer to its cancel."""


def admit(book: Book, entry: Entry, class_: str, number: int) -> str:
    """One entry; the word for what became of it. `number`: of the arrival, for a send."""
    match entry:
        case Send():
            return _send(book, entry, class_, number)
        case Cancel():
            return _withdraw(book, f"{entry.tenant}/{entry.id}")
        case Rejection():
            return _reject(book, entry, class_)
        case _ as never:
            assert_never(never)


def _send(book: Book, entry: Send, class_: str, number: int) -> str:
    message = entry.message
    key = message.key
    old = book.records.get(key)
    if old is not None and old.state is not None:
        return "repeated" if old.print == entry.fingerprint else "conflict"
    r = book.records[key] = _record(book, entry, class_, number)
    extra: dict[str, str | int] = {}
    if entry.replaces and f"{message.tenant}/{entry.replaces}" != key:
        extra["replaced"] = REPLACED[cancel(book, f"{message.tenant}/{entry.replaces}")]
    if old is not None or book.is_withdrawn(r.lane, _written_at(book, entry)):
        book.finish(r, State.CANCELLED, reason="cancelled", **extra)
        return "cancelled"
    if closed := optouts.covers(book, r):
        book.finish(r, State.SUPPRESSED, reason="opted_out", detail=closed, **extra)
        return "suppressed"
    book.bodies[key] = message
    if entry.not_before_us > book.now_us:
        put_due(book, r, entry.not_before_us)
        r.since = r.due
        book.tell(r, State.QUEUED, **extra, due=r.due // 1000)
        return "due"
    enqueue(book, r)
    book.tell(r, State.QUEUED, **extra)
    return "taken"


def _written_at(book: Book, entry: Send) -> int:
    """When the entry was written, as its id has it: a withdrawal covers what still lay in the inbox. An id that is no
    time counts from now.
    """
    ms, dash, _ = entry.entry_id.partition("-")
    timed = dash and ms.isdigit() and int(ms) >= EARLIEST_EPOCH_MS
    return min(book.now_us, int(ms) * 1000) if timed else book.now_us


def _record(book: Book, entry: Send, class_: str, number: int) -> Record:
    m = entry.message
    lane = f"{m.tenant}|{m.class_}|{m.route}|{m.sender}|{m.campaign}|"
    return Record(
        key=m.key,
        class_=class_,
        route=m.route,
        lane=lane,
        deadline=entry.deadline_us,
        arrival=number,
        cost=m.segments,
        print=entry.fingerprint,
        entered=book.now_us,
        echo=_echo(m, entry.entry_id),
        to=m.to,
    )


def _echo(m: Message, entry_id: str) -> dict[str, str]:
    pairs = {
        "segments": str(m.segments),
        "encoding": m.encoding,
        "to_country": m.to_country,
        "campaign": m.campaign,
        "meta": m.meta,
        "entry_id": entry_id,
    }
    return {name: value for name, value in pairs.items() if value}


def _withdraw(book: Book, key: str) -> str:
    word = cancel(book, key)
    r = book.records[key]
    if word == "left" and r.state is not None and r.state is not State.UNKNOWN:
        book.tell(r, r.state, reason="cancel_too_late")
    return word


def _reject(book: Book, entry: Rejection, class_: str) -> str:
    old = book.records.get(entry.repeats)
    if old is not None and old.state is not None and old.print == entry.fingerprint:
        return "repeated"
    id_ = f"{class_}-{entry.entry_id}"
    told = {
        "v": "1",
        "event_id": f"{entry.tenant}/{id_}/0",
        "id": id_,
        "class": class_,
        "seq": "0",
        "state": "rejected",
        "final": "1",
        "reason": entry.reason,
        "detail": entry.detail,
        "given_id": entry.given_id,
        "entry_id": entry.entry_id,
        "campaign": entry.campaign,
        "meta": entry.meta,
        "at": str(book.now_us // 1000),
    }
    book.events.append({"tenant": entry.tenant} | {name: value for name, value in told.items() if value})
    return "rejected"
