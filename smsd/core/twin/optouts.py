"""Who does not want texts: what closes a scope to somebody, and what keeps a message from leaving.

Never opens anything by itself, and never closes a narrower scope than is closed already.
"""

from smsd.core.optout import Scope, closes
from smsd.core.twin import ways
from smsd.core.twin.book import Book
from smsd.core.twin.values import Record
from smsd.message import State

SANDBOX = "sandbox"  # whose carrier speaks for nobody


def close(book: Book, mark: str, to: str, scope: Scope) -> bool:
    """For `t:TENANT` or `s:SENDER`; whether that changed anything."""
    if book.opt_outs.get((mark, to)) in ("all", scope):
        return False
    book.opt_outs[mark, to] = scope
    return True


def learn(book: Book, r: Record, provider: str) -> None:
    """A provider says that the recipient has opted out of what this sender sends."""
    if provider != SANDBOX:
        close(book, f"s:{_sender(r)}", r.to, "all")


def covers(book: Book, r: Record) -> str:
    """What keeps the message from leaving, as its event says it; "": nothing."""
    for mark, whose in ((f"t:{r.lane.partition('|')[0]}", "tenant"), (f"s:{_sender(r)}", "sender")):
        scope = book.opt_outs.get((mark, r.to), "")
        if closes(scope, book.class_(r.class_).opt_out):
            return f"{scope} of this {whose}"
    return ""


def suppress(book: Book, r: Record, closed: str) -> None:
    """Ends a queued message, taken out of where it waited: never sent again where an attempt may have left."""
    if r.maybe:
        ways.tell_and_hold(book, r, {"reason": "opted_out", "detail": closed})
    else:
        book.finish(r, State.SUPPRESSED, reason="opted_out", detail=closed)


def said_by(r: Record) -> tuple[str, str] | None:
    """Where the index of conversations has a message: None for a sender that nobody can answer."""
    if not r.to or any(one.isalpha() for one in _sender(r)):
        return None
    return _sender(r), r.to


def _sender(r: Record) -> str:
    return r.lane.split("|")[3]
