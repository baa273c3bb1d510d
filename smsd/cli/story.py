"""Tells the story of one message in plain words, from its record.

Pure: reads no store. Never shows a number or a text.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from smsd.store.record import FLAG_CANCEL, FLAG_DOUBLE, Record

WORDS = {
    "queued": "queued",
    "submitted": "taken by the provider",
    "unknown": "may have left: not certain yet",
    "delivered": "delivered",
    "undelivered": "not delivered",
    "unconfirmed": "ended without a receipt",
    "failed": "failed for good",
    "expired": "expired before it left",
    "rejected": "rejected",
    "suppressed": "not sent: the recipient has opted out",
    "cancelled": "withdrawn before it left",
    "receipt": "a receipt came",
}
"""What a step of the history is called."""

NOW = {
    "queued": "It waits to be sent",
    "leased": "It is leaving right now",
    "submitted": "The provider has it; its receipt is awaited",
    "unknown": "It may have left; that is being found out",
    "tomb": "Only its cancel is known yet: a send with this id will end cancelled at once",
}
"""What an open state means; every other state is an end."""

REASONS = {
    "refused": "the provider refused it",
    "bad_number": "the number cannot be reached",
    "opted_out": "the recipient does not want texts from this sender",
    "blocked": "the network or the person blocks it",
    "filtered": "it was filtered as spam",
    "sender": "the sender may not be used there",
    "content": "the text was refused",
    "funds": "the account has no funds",
    "config": "the account is not set up for it",
    "unlisted": "the provider gave a code that is in no table",
    "no_receipt": "no receipt came in time",
    "cancelled": "it was cancelled",
    "cancel_too_late": "a cancel came too late",
    "internal": "smsd could not handle it",
    "throttled_out": "its limits did not let it out in time",
    "provider_down": "no provider of its route was alive in time",
    "paused": "it was paused until too late",
    "expired": "it was too late",
}
"""What a reason means."""


class Step(msgspec.Struct, frozen=True):
    """One line of a message's history."""

    at_ms: int
    what: str
    facts: dict[str, str]


def steps(record: Record) -> list[Step]:
    """The history: how it came, and every change since."""
    facts = _pairs(record.echo.split("\x1f")) if record.echo else {}
    came = {name: facts[name] for name in ("segments", "encoding", "to_country", "campaign") if name in facts}
    told = [Step(record.entered // 1000, "taken", {"class": record.class_, "route": record.route, **came})]
    for line in record.hist.splitlines():
        at, what, *rest = line.split("\t")
        told.append(Step(int(at), what, _pairs(rest)))
    return told


def tell(key: str, record: Record, now_us: int) -> list[str]:
    """The story, a line each."""
    return list(_lines(key, record, now_us))


def _lines(key: str, record: Record, now_us: int) -> Iterator[str]:
    tenant, _, id_ = key.partition("/")
    yield f"message {id_} of tenant {tenant}: {record.state}"
    history = [] if record.state == "tomb" else steps(record)
    first = history[0].at_ms if history else 0
    for step in history:
        yield f"  {_at(step.at_ms)}  {_since(step.at_ms - first):>11}  {_said(step, record)}"
    if record.state in NOW:
        yield f"{NOW[record.state]}{_waits(record, now_us)}."
    if record.flags & FLAG_CANCEL and record.state in ("leased", "unknown"):
        yield "It was cancelled while it was leaving: it ends cancelled if it turns out not to have been taken."
    if record.flags & FLAG_DOUBLE:
        yield "It was sent again although the first attempt was not certain: the person may have it twice."


def _said(step: Step, record: Record) -> str:
    facts = dict(step.facts)
    if step.what == "taken":
        parts = f"{facts.get('segments', record.cost)} x {facts.get('encoding', 'segment')}"
        to = f" to {facts['to_country']}" if "to_country" in facts else ""
        campaign = f", campaign {facts['campaign']}" if "campaign" in facts else ""
        return f"taken by smsd: {facts['class']}, route {facts['route']}, {parts}{to}{campaign}"
    words = WORDS.get(step.what, step.what)
    if step.what == "queued" and "due" in facts:
        words = f"waits until {_at(int(facts.pop('due')))}"
    reason = facts.pop("reason", "")
    why = f": {REASONS.get(reason, reason)}" if reason else ""
    rest = ", ".join(f"{_NAMES.get(name, name)} {value}" for name, value in facts.items() if value)
    return f"{words}{why}{f' ({rest})' if rest else ''}"


_NAMES = {
    "provider_id": "id",
    "error_code": "code",
    "detail": "because",
    "raw": "in the provider's words",
    "late": "late",
}


def _waits(record: Record, now_us: int) -> str:
    waits: list[str] = []
    if record.state == "queued":
        if record.due > now_us:
            waits.append(f"not before {_at(record.due // 1000)}")
        if record.waited:
            waits.append(REASONS.get(record.waited, record.waited))
    if record.state in ("queued", "leased"):
        waits.append(f"it expires at {_at(record.deadline // 1000)}")
    return f" ({'; '.join(waits)})" if waits else ""


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=False))


def _at(at_ms: int) -> str:
    when = datetime.fromtimestamp(at_ms / 1000, UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def _since(ms: int) -> str:
    return f"+{ms / 1000:.3f} s" if ms < 600_000 else f"+{ms / 60_000:.0f} min"
