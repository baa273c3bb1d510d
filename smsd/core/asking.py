"""When a provider is asked about a message whose receipt does not come: after a while, after twice as long, and so on.

Pure: never reads a clock or the store. No message carries a mark of having been asked about: each of its hours lies in
the span of exactly one pass.
"""

from typing import Final

ASKED_MOST: Final = 12  # times, about one message
LOOK_BACK_US: Final = 3_600_000_000  # how far a first pass looks back


def waits(first_us: int, timeout_us: int) -> list[int]:
    """After how long without a receipt a message is asked about; nothing at or after its receipt_timeout."""
    found: list[int] = []
    while first_us > 0 and first_us < timeout_us and len(found) < ASKED_MOST:
        found.append(first_us)
        first_us *= 2
    return found


def span(since_us: int | None, now_us: int, wait_us: int, timeout_us: int) -> tuple[int, int]:
    """Between which ends of their waiting (exclusive, inclusive) the messages lie that have come to wait for
    `wait_us` since the pass that came to `since_us`; None: there was none.
    """
    left_us = timeout_us - wait_us
    return (now_us - LOOK_BACK_US if since_us is None else since_us) + left_us, now_us + left_us
