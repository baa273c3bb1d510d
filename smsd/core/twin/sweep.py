"""The sweep: ends what is over, whatever it waits for, and tidies up. Each part moves at most `most`.

Never ends as expired what may have left. What it tidies away decides nothing any more.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from smsd.core.twin import optouts
from smsd.core.twin.book import Book
from smsd.core.twin.lanes import remove
from smsd.core.twin.receipts import apply_parked
from smsd.core.twin.settle import release
from smsd.core.twin.values import Lane, Record, Swept, Where
from smsd.core.twin.waking import drop_ended, move_due, resume
from smsd.core.twin.ways import expire, let_go, unanswered, unserved
from smsd.core.twin.withdrawals import forget, withdraw_some
from smsd.message import State

SETTLE_US = 5_000_000  # after a lease's end, where the provider names no other time


def sweep(
    book: Book, settle_us: Mapping[str, int], dead_routes: AbstractSet[str], *, most: int, early_us: int
) -> tuple[bool, Swept]:
    """One pass; True: there is more to do at once."""
    done = Swept()
    waits = book.awaited.due(book.now_us, most)  # what comes to wait in this pass ends in the next one
    done.expired = _expire_heads(book, dead_routes, most)
    done.unleased = _end_leases(book, settle_us, max(1, most // 10))
    for key in waits:
        if book.records[key].state in (State.SUBMITTED, State.UNKNOWN):
            book.finish(book.records[key], State.UNCONFIRMED, **unanswered(book.records[key]))
            done.unconfirmed += 1
        else:
            book.awaited.drop(key)
    for key in book.ended.due(book.now_us, most):
        _purge(book, key)
        done.purged += 1
    done.withdrawn = withdraw_some(book, most)
    done.resumed = resume(book, most)
    moved = move_due(book, most).messages
    done.forgotten = _forget(book, early_us, most)
    drop_ended(book)
    parts = (done.expired, done.unleased, done.unconfirmed, done.purged, done.resumed, moved)
    return bool(book.withdrawing) or book.lifted or any(part >= most for part in parts), done


def _expire_heads(book: Book, dead_routes: AbstractSet[str], most: int) -> int:
    expired = 0
    for name in book.deadlines.due(book.now_us, most):
        lane = book.lanes[name]
        over = [message for message in lane.messages if message[0] <= book.now_us][:most]
        for _, _, key in over:
            r = book.records[key]
            if book.is_withdrawn(r.lane, r.entered):
                let_go(book, r)
            else:
                expire(book, r, _waits_for(book, lane, r, dead_routes))
        expired += len(over)
        remove(book, lane, over)
        if expired >= most:
            break
    return expired


def _waits_for(book: Book, lane: Lane, r: Record, dead_routes: AbstractSet[str]) -> str:
    if lane.where is Where.PAUSED or book.paused_by(lane):
        return "paused"
    if lane.where is Where.WAITING:
        wake_us = book.lines[lane.scope].wake_us
        opened = lane.route in dead_routes and (wake_us is None or wake_us <= book.now_us)  # but nobody looks
        return "provider_down" if opened or lane.scope.startswith("p:") else "throttled_out"
    return "provider_down" if lane.route in dead_routes else unserved(book, r)


def _end_leases(book: Book, settle_us: Mapping[str, int], most: int) -> int:
    """Leases that ended unsettled: an attempt may have left. A parked receipt says more."""
    unleased = 0
    for number in book.leases.due(book.now_us, most):
        for key in book.batches.get(int(number), []):
            r = book.records.get(key)
            if r is None or r.state is not State.LEASED or r.fence != int(number):
                continue
            release(book, r)
            r.maybe, r.earlier = True, False
            r.nos = r.fails = 0
            r.unsettled += 1
            book.set_state(r, State.UNKNOWN)
            book.unsure.set(key, book.now_us + settle_us.get(r.provider, SETTLE_US))
            book.tell(r, State.UNKNOWN, provider=r.provider, attempt=r.attempt, detail="the lease ended unsettled")
            apply_parked(book, r)
            unleased += 1
    return unleased


def _purge(book: Book, key: str) -> None:
    """The record goes, and with it the duplicate window."""
    r = book.records[key]
    for taken in r.taken:
        book.refs.pop((taken.provider, taken.provider_id), None)
    said = optouts.said_by(r)
    if said and book.last.get(said) == key:
        del book.last[said]
    del book.records[key]
    book.bodies.pop(key, None)
    book.ended.drop(key)


def _forget(book: Book, early_us: int, most: int) -> int:
    """Receipts that nothing claimed, finish tags that the virtual time has passed, limits that bind nothing."""
    old = sorted((at, name) for name, at in book.early_at.items() if at <= book.now_us - early_us)[:most]
    for _, name in old:
        del book.early[name], book.early_at[name]
    for queue in book.flows.values():
        queue.forget()
    book.limits.forget(book.now_us)
    forget(book)
    return len(old)
