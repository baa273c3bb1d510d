"""What an attempt or a look-up came to, as the store's settle verb takes it: one array per message, named here.

Never decides which outcome an answer means: core/attempt.py and core/resolve.py do.
"""

import msgspec

Extra = tuple[str, ...]
"""Event fields as a flat list: name, value, name, value."""


class _Outcome(msgspec.Struct, array_like=True, frozen=True):
    key: str
    fence: int
    kind: str
    attempt: int
    provider: str


class Accepted(_Outcome, frozen=True):
    """The provider took it."""

    provider_id: str
    segment_ids: tuple[str, ...] = ()  # where each segment has its own: all but the first


class Back(_Outcome, frozen=True):
    """Not a byte left: as if it had not been leased."""


class Retry(_Outcome, frozen=True):
    """Surely not taken; again at `at_us`. `counted` 0 where it is no attempt (a 429)."""

    at_us: int
    counted: int
    waited: str  # what it now waits for, should it expire: "" | "provider_down" | "throttled_out"
    extra: Extra


class Fail(_Outcome, frozen=True):
    """Surely not taken, and never will be."""

    reason: str
    extra: Extra


class Elsewhere(_Outcome, frozen=True):
    """Surely not taken here; only `providers` (comma separated) may try it."""

    providers: str
    extra: Extra


class Moved(_Outcome, frozen=True):
    """Not a byte left, and never will by this provider: `route` serves it from now on. No attempt is counted."""

    route: str
    extra: Extra


class Unknown(_Outcome, frozen=True):
    """May have been taken; looked at from `look_at_us` on."""

    look_at_us: int
    extra: Extra


class Found(_Outcome, frozen=True):
    """A look-up found it. receipts: (status, reason, error_code, raw) that the listing told."""

    provider_id: str
    receipts: tuple[tuple[str, str, str, str], ...]


class Look(_Outcome, frozen=True):
    """Not decided yet: look again at `at_us`, with these counts."""

    at_us: int
    noes: int
    failures: int


class Clear(_Outcome, frozen=True):
    """Two complete looks found nothing: it was not taken. doubt 1: flagged, as it was not by our reference."""

    doubt: int
    extra: Extra


class Resend(_Outcome, frozen=True):
    """The policy's one more try, flagged; only at `providers` where one is named (the same idempotency key), and then
    only until `key_until_us`. Under a lease: that instant has come first.
    """

    providers: str
    extra: Extra
    key_until_us: int = 0


class Hold(_Outcome, frozen=True):
    """Nothing more can be asked: a receipt, or the end as unconfirmed."""


Outcome = Accepted | Back | Retry | Fail | Elsewhere | Moved | Unknown | Found | Look | Clear | Resend | Hold
