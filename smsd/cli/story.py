"""Tells the story of one message (control/story.py) in plain words.

Pure: reads no store. Never shows a number or a text.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from smsd.control.limits import Limits, Use
from smsd.control.story import Delays, Step, Story

SHORT = {"leased": "leaving right now", "tomb": "not known, but for its cancel"}
"""What a state is called where its name says too little."""

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


SOURCES = {
    "inbound": "a text of theirs",
    "provider": "what a provider says",
    "command": "a command",
    "api": "the API",
    "import": "an imported file",
}
"""How somebody came to be on the list of those who have opted out."""


def tell(story: Story, now_ms: int) -> list[str]:
    """The story, a line each."""
    return list(_lines(story, now_ms))


def _lines(story: Story, now_ms: int) -> Iterator[str]:
    yield f"message {story.id} of tenant {story.tenant}: {SHORT.get(story.state, story.state)}"
    for step in story.history:
        yield f"  {_at(step.at_ms)}  {_since(step.at_ms - story.taken_ms):>11}  {_said(step)}"
    if story.state == "tomb":
        yield "Only its cancel is known yet: a send with this id will end cancelled at once."
    for hold in story.holds:
        yield f"Now: {hold.sentence}{_in(hold.until_ms, now_ms)}."
    if story.state == "queued" and not story.holds:
        yield "Now: nothing holds it; it leaves when its turn comes, within moments."
    if story.state == "queued" and any((hold.until_ms or 0) >= story.deadline_ms for hold in story.holds):
        yield f"By this it will not leave in time: it expires at {_at(story.deadline_ms)}."
    elif story.state in ("queued", "leased"):
        yield f"It expires at {_at(story.deadline_ms)}, if it has not left by then."
    for one in story.opted_out:
        said = "all texts" if one.scope == "all" else "marketing"
        by = SOURCES.get(one.source, one.source) + (f" ({one.provider})" if one.provider else "")
        yield f"Closed to the recipient: {said} of this {one.whose}, since {_at(one.at_ms)}, by {by}."
    if story.cancel_asked:
        yield "It was cancelled while it was leaving: it ends cancelled if it turns out not to have been taken."
    if story.possible_duplicate:
        yield "It was sent again although the first attempt was not certain: the person may have it twice."
    if told := _delays(story.delays):
        yield f"Delays: {told}."


def _delays(delays: Delays) -> str:
    spans = {"in the queue": delays.queue_ms, "of it at limits": delays.limit_ms}
    spans |= {"until the provider answered": delays.submit_ms, "until its receipt": delays.receipt_ms}
    return ", ".join(f"{ms / 1000:.3f} s {what}" for what, ms in spans.items() if ms is not None)


def _in(until_ms: int | None, now_ms: int) -> str:
    return "" if until_ms is None or until_ms <= now_ms else f", in {_span((until_ms - now_ms) / 1000)}"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _said(step: Step) -> str:
    facts = dict(step.facts)
    if step.what == "taken":
        parts = f"{facts.get('segments', 1)} x {facts.get('encoding', 'segment')}"
        to = f" to {facts['to_country']}" if "to_country" in facts else ""
        campaign = f", campaign {facts['campaign']}" if "campaign" in facts else ""
        return f"taken by smsd: {facts['class']}, route {facts['route']}, {parts}{to}{campaign}"
    words = WORDS.get(step.what, step.what)
    if step.what == "queued" and "due" in facts:
        what = "not taken: it is tried again at" if "provider" in facts else "waits until"
        words = f"{what} {_at(int(facts.pop('due')))}"
    elif step.what == "queued" and "provider" in facts:
        words = "not taken: back in the queue"
    reason = facts.pop("reason", "")
    if step.what == "suppressed":
        return f"{words}, of {facts.get('detail', 'it')}"
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


def _at(at_ms: int) -> str:
    when = datetime.fromtimestamp(at_ms / 1000, UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def _since(ms: int) -> str:
    return f"+{ms / 1000:.3f} s" if ms < 600_000 else f"+{ms / 60_000:.0f} min"


def _used(use: Use) -> str:
    """Of a paced limit what counts is whether one more may leave just now."""
    return f"{use.used} of {use.of}" + (" at once" if use.paced else "")


def table(told: Limits, now_ms: int) -> list[str]:
    """A tenant's limits, a line each."""
    who = f"plan {told.plan}" if told.plan else "no plan" if told.known else "not configured: the defaults hold"
    lines = [f"tenant {told.tenant} ({who}), route {told.route}, {told.queued} queued"]
    if told.pool:
        lines.append(f"senders, each person always the same of: {', '.join(told.pool)}")
    rows = [("", "whose", "limit", "used", "admits", "waiting", "from")]
    for use in told.uses:
        opens = "now" if use.opens_ms <= now_ms else f"in {_span((use.opens_ms - now_ms) / 1000)}"
        waits = f"{use.waiting} lanes" if use.waiting != 1 else "1 lane"
        whose = f"{use.scope} {use.name}"
        row = ("*" if use.binds else "", whose, use.limit, _used(use), opens, waits, use.source)
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"Paused: {one}." for one in told.paused]
    binding = [f"{use.scope} {use.name}: {use.limit}" for use in told.uses if use.binds]
    free = "None binds now" + ("." if told.paused else ": a message would leave at once.")
    lines.append(f"* binds now: {'; '.join(binding)}" if binding else free)
    return lines
