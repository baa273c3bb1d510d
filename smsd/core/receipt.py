"""What a delivery receipt may change, as a table. Monotonic: a receipt told twice, late or out of order does no harm.

Pure: never looks a message up, never writes. The store's outcome part (lua/lib/outcome.lua) is its twin.
Contract §3: `delivered` replaces every other final state, `undelivered` replaces `unconfirmed`, nothing else does.
"""

from enum import StrEnum
from typing import Final

from smsd.message import State

S = State


class Verdict(StrEnum):
    """What becomes of a receipt."""

    ORPHAN = "orphan"  # of an attempt that the message never had
    PARK = "parked"  # the attempt's own outcome is not written yet: merged right after it
    REPEATED = "repeated"
    NOTE = "noted"  # kept in the history, changes nothing
    PROVES = "proves"  # changes nothing final, but proves that the attempt of unknown outcome was taken
    END = "end"  # the message ends in the receipt's status
    LATE = "late"  # the same, of a message that had ended otherwise
    CONTRADICTS = "contradicting"  # a final receipt against a final state that it does not replace


_OPEN: Final = {"delivered": Verdict.END, "undelivered": Verdict.END}
_ENDED: Final = {"delivered": Verdict.LATE, "undelivered": Verdict.CONTRADICTS}

TABLE: Final[dict[State, dict[str, Verdict]]] = {
    S.QUEUED: _OPEN,  # it waits for another attempt, which is not needed any more
    S.UNKNOWN: _OPEN,
    S.SUBMITTED: _OPEN,
    S.UNCONFIRMED: {"delivered": Verdict.LATE, "undelivered": Verdict.LATE},
    S.FAILED: _ENDED,
    S.EXPIRED: _ENDED,
    S.CANCELLED: _ENDED,
    S.SUPPRESSED: _ENDED,
    S.REJECTED: {"delivered": Verdict.CONTRADICTS, "undelivered": Verdict.CONTRADICTS},  # never became a message
    S.UNDELIVERED: {"delivered": Verdict.LATE, "undelivered": Verdict.REPEATED},
    S.DELIVERED: {"delivered": Verdict.REPEATED, "undelivered": Verdict.CONTRADICTS},
}


def judge(
    state: State,
    status: str,
    *,
    attempt: int,
    of: int,
    told: str,
    others_open: bool,
    in_doubt: bool,
    whole: bool = True,
) -> Verdict:
    """What becomes of a receipt.

    `attempt`: the receipt's, `of`: the message's last one; `told`: the final receipt that this attempt has, "" if none;
    `others_open`: another attempt that may have been taken has no receipt yet, so that a negative one ends nothing;
    `in_doubt`: whether any attempt was taken is not known: the outcome is unknown, or a resend waits, and this one has
    not been told undelivered; `whole`: with it every segment has its receipt, where each has one of its own.
    """
    if not 1 <= attempt <= of:
        return Verdict.ORPHAN
    if state is S.LEASED:
        return Verdict.PARK
    if told == status:
        return Verdict.REPEATED
    verdict = TABLE[state].get(status) if whole or status != "delivered" else None
    if verdict is None:
        return Verdict.PROVES if in_doubt else Verdict.NOTE
    if verdict is Verdict.END and status == "undelivered" and others_open:
        return Verdict.NOTE
    return verdict
