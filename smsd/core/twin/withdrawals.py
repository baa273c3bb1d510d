"""Withdrawals: everything of a tenant, a class or a campaign that still waits is cancelled, some in each sweep.

Never looks at more than its bound. First what is due later, then what lies in lanes, so that nothing comes from behind.
"""

from smsd.core.twin.book import Book, withdrawals_of
from smsd.core.twin.lanes import withdraw
from smsd.core.twin.values import HOUR_US, Lane, Record
from smsd.core.twin.ways import let_go
from smsd.message import State

LANES = 200  # looked at in one pass
KEPT_US = 720 * HOUR_US  # no attempt is unknown for longer


def set_mark(book: Book, mark: str) -> bool:
    """Everything that the mark covers is cancelled from now on."""
    book.withdrawn[mark] = book.now_us
    book.withdrawing.pop(mark, None)
    book.withdrawing[mark] = "d"
    return True


def lift(book: Book, mark: str) -> bool:
    """What comes from now on is sent."""
    book.withdrawing.pop(mark, None)
    book.lift_mark(f"x{mark}")
    return book.withdrawn.pop(mark, None) is not None


def forget(book: Book) -> None:
    """Marks that can cover nothing any more; a campaign's stays until it is lifted."""
    for mark, at in list(book.withdrawn.items()):
        if not mark.startswith("k:") and at + KEPT_US <= book.now_us and mark not in book.withdrawing:
            del book.withdrawn[mark]


def withdraw_some(book: Book, most: int) -> int:
    """Of the oldest withdrawal that is not done, some of what it covers. Returns how many messages it took out."""
    if not book.withdrawing:
        return 0
    mark = min(book.withdrawing, key=lambda name: (book.withdrawn[name], name))
    stage, cursor = book.withdrawing[mark][0], book.withdrawing[mark][1:]
    taken = 0
    if stage == "d":
        page = _due_after(book, mark, cursor)[:most]
        taken += sum(_drop(book, book.records[key]) for _, key in page)
        stage, cursor = ("d", page[-1][0]) if len(page) == most else ("l", "")
        most -= len(page)
    for _ in range(LANES):
        if stage != "l" or most <= 0:
            break
        # The next message of any lane that the mark's prefix leads to.
        prefix = _prefix(mark)
        rest = sorted(
            (member, lane.name)
            for lane in book.lanes.values()
            if lane.name.startswith(prefix)
            for member in [_member(lane, message) for message in lane.messages]
            if member > cursor
        )
        if not rest:
            stage = ""
            break
        lane = book.lanes[rest[0][1]]
        cursor = f"{lane.name}\0\U0010ffff"
        if mark in withdrawals_of(lane):
            page = [member for member, name in rest if name == lane.name][:most]
            if len(page) == most:
                cursor = page[-1]
            most -= len(page)
            keys = [f"{lane.tenant}/{member.rpartition(chr(0))[2]}" for member in page]
            taken += sum(_drop(book, book.records[key]) for key in keys)
    if stage:
        book.withdrawing[mark] = stage + cursor
    else:
        del book.withdrawing[mark]
        book.lift_mark(f"x{mark}")
    return taken


def _drop(book: Book, r: Record) -> bool:
    if r.state is not State.QUEUED or not book.is_withdrawn(r.lane, r.entered):
        return False
    withdraw(book, r)
    let_go(book, r)
    return True


def _due_after(book: Book, mark: str, cursor: str) -> list[tuple[str, str]]:
    kind, _, name = mark.partition(":")
    only = {"c": name, "tc": name.partition("|")[2]}.get(kind)
    members = [
        (f"{class_}\0{at:016}\0{key}", key)
        for class_, timers in book.due.items()
        if only is None or class_ == only
        for key, at in timers.all().items()
    ]
    return sorted(pair for pair in members if pair[0] > cursor)


def _prefix(mark: str) -> str:
    kind, _, name = mark.partition(":")
    return {"t": f"{name}|", "tc": f"{name}|", "c": "", "k": f"{name.partition('|')[0]}|"}[kind]


def _member(lane: Lane, message: tuple[int, int, str]) -> str:
    deadline, arrival, key = message
    return f"{lane.name}\0{deadline:016}{arrival:09x}\0{key.partition('/')[2]}"
