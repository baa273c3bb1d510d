"""Receipts: to which message each belongs, and what core.receipt lets it change. Never drops one that it may need."""

from typing import Final

from smsd.core.receipt import Verdict, judge
from smsd.core.twin import optouts
from smsd.core.twin.book import Book
from smsd.core.twin.lanes import withdraw
from smsd.core.twin.values import Receipt, Record, Taken
from smsd.core.twin.ways import remember_id, submit
from smsd.message import State

PARKED_MAX: Final = 24  # of one message: two for each of the segments that it may have, and some more
EARLY_MAX: Final = 4  # of one provider id that nobody knows yet


def take(book: Book, receipt: Receipt, most_early: int) -> str:
    """One receipt; the word for what became of it."""
    key, attempt = receipt.key, receipt.attempt
    if not key and receipt.provider_id:
        attempt, key = book.refs.get((receipt.provider, receipt.provider_id), (0, ""))
    r = book.records.get(key)
    if r is None or r.state is None:
        return _keep_early(book, receipt, most_early)
    return apply(book, r, attempt, receipt)


def apply(book: Book, r: Record, attempt: int, receipt: Receipt) -> str:
    """A receipt for one attempt of a message."""
    known = r.place_of(attempt)
    whose = known.provider if known else r.provider if attempt == r.attempt else receipt.provider
    if r.state is None or whose != receipt.provider or not 1 <= attempt <= r.attempt:
        return Verdict.ORPHAN
    if r.state is State.LEASED:
        return _park(r, attempt, receipt)
    segments = _segments(r, known, receipt.parts)
    segmented(r, attempt, segments)
    if segments == 1 and known and known.receipt == receipt.status:
        return Verdict.REPEATED
    remember_id(book, r, attempt, receipt.provider, receipt.provider_id)
    segmented(r, attempt, segments)
    of_attempt = [taken for taken in r.taken if taken.attempt == attempt]
    known = of_attempt[0]
    if segments > 1:
        known = next((taken for taken in of_attempt if taken.provider_id == receipt.provider_id), known)
    told = known.receipt
    if receipt.status in (State.DELIVERED, State.UNDELIVERED) and told not in (receipt.status, State.DELIVERED):
        for taken in [known] if segments > 1 else of_attempt:
            taken.receipt = receipt.status
            if receipt.status == State.UNDELIVERED:
                taken.reason, taken.error_code = receipt.reason, receipt.error_code
    whole = segments == 1 or sum(taken.receipt == State.DELIVERED for taken in of_attempt) >= segments
    open_ = _others_open(r, attempt, receipt)
    doubt = r.state is State.UNKNOWN or (r.state is State.QUEUED and r.maybe)
    doubt = doubt and not r.told_undelivered(attempt)
    verdict = judge(
        r.state, receipt.status, attempt=attempt, of=r.attempt, told=told, others_open=open_, in_doubt=doubt,
        whole=whole,
    )  # fmt: skip
    segment = receipt.provider_id if segments > 1 else ""
    match verdict:
        case Verdict.END | Verdict.LATE:
            _end(book, r, attempt, receipt, late=verdict is Verdict.LATE)
            return "late" if verdict is Verdict.LATE else receipt.status
        case Verdict.PROVES:
            submit(book, r, attempt, receipt.provider, receipt.provider_id)
            return _note(r, attempt, receipt, Verdict.NOTE, segment)
        case Verdict.NOTE | Verdict.CONTRADICTS:
            word = _note(r, attempt, receipt, verdict, segment)
            if word == Verdict.NOTE and receipt.status == State.UNDELIVERED and receipt.reason == "opted_out":
                optouts.learn(book, r, receipt.provider)
            return word
        case _:
            return verdict


def segmented(r: Record, attempt: int, segments: int) -> None:
    """Each segment of the attempt has an id and a receipt of its own, and so many there are."""
    for taken in r.taken:
        if taken.attempt == attempt:
            taken.segments = max(taken.segments, segments)


def _segments(r: Record, known: Taken | None, parts: int) -> int:
    if parts == 0:
        return known.segments if known else r.cost
    return max(parts, known.segments if known else 1)


def apply_parked(book: Book, r: Record) -> None:
    """What came while the message was leased, after the lease's end."""
    if r.state is State.LEASED:
        return
    parked, r.parked = r.parked, []
    for receipt in parked:
        apply(book, r, receipt.attempt, receipt)


def apply_early(book: Book, r: Record, attempt: int, provider: str, provider_id: str) -> None:
    """What came under the provider's id before we knew it."""
    receipts = book.early.pop((provider, provider_id), [])
    book.early_at.pop((provider, provider_id), None)
    for receipt in receipts:
        apply(book, r, attempt, receipt)


def _end(book: Book, r: Record, attempt: int, receipt: Receipt, *, late: bool) -> None:
    if receipt.reason == "opted_out":
        optouts.learn(book, r, receipt.provider)
    if r.state is State.QUEUED:
        withdraw(book, r)
    taken = r.place_of(attempt)
    provider_id = taken.provider_id if taken else ""
    extra: dict[str, str | int] = {"provider": receipt.provider, "provider_id": provider_id, "attempt": attempt}
    extra |= {name: value for name in ("reason", "error_code") if (value := getattr(receipt, name))}
    if late:
        extra["late"] = 1
    book.finish(r, State(receipt.status), **extra)


def _park(r: Record, attempt: int, receipt: Receipt) -> str:
    same = attempt, receipt.provider_id, receipt.status
    if any((known.attempt, known.provider_id, known.status) == same for known in r.parked):
        return "repeated"
    if len(r.parked) >= PARKED_MAX:
        return "dropped"
    r.parked.append(_for(receipt, r.key, attempt))
    return "parked"


def _note(r: Record, attempt: int, receipt: Receipt, verdict: Verdict, segment: str) -> str:
    """Into the history, once for each segment that has receipts of its own."""
    line = (receipt.status, attempt, receipt.raw, segment)
    if line in r.noted:
        return "repeated"
    r.noted.add(line)
    return verdict


def _keep_early(book: Book, receipt: Receipt, most: int) -> str:
    if not receipt.provider_id:
        return "orphan"
    name = receipt.provider, receipt.provider_id
    known = book.early.get(name, [])
    if any(one.status == receipt.status for one in known):
        return "repeated"
    if len(known) >= EARLY_MAX or (not known and len(book.early) >= most):
        return "dropped"
    book.early[name] = [*known, receipt]
    book.early_at[name] = book.now_us
    return "early"


def _others_open(r: Record, attempt: int, receipt: Receipt) -> bool:
    """Whether another attempt may have been taken, of which no receipt has come. Under one idempotency key several have
    one id, and one receipt.
    """
    known = {(receipt.provider, receipt.provider_id)} if receipt.provider_id else set[tuple[str, str]]()
    others = [taken for taken in r.open() if taken.attempt != attempt]
    if any((taken.provider, taken.provider_id) not in known for taken in others):
        return True
    return r.state is State.UNKNOWN and r.attempt != attempt and not r.earlier


def _for(receipt: Receipt, key: str, attempt: int) -> Receipt:
    r = receipt
    return Receipt(key, attempt, r.provider, r.provider_id, r.status, r.reason, r.error_code, r.raw, r.parts)
