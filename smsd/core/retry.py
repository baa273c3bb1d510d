"""When a message is tried again: backoff with jitter, and what a provider asked for.

Never reads a clock, never throws its own dice: `rng` gives numbers in [0, 1). All spans are in microseconds.
"""

from collections.abc import Callable

Rng = Callable[[], float]

AFTER_MOST_S = 300.0  # whatever a Retry-After says, the provider is asked again then
DOUBLINGS_MAX = 40  # 2^40 times any first delay is beyond any largest one


def ceiling_us(first_us: int, largest_us: int, k: int) -> int:
    """min(cap, base * 2^k): the delay that jitter is taken from; k counts the attempts before, from 0."""
    return min(largest_us, first_us << min(max(k, 0), DOUBLINGS_MAX))


def full_jitter_us(first_us: int, largest_us: int, k: int, rng: Rng) -> int:
    """U(0, min(cap, base * 2^k)): spreads those that failed together over the whole delay."""
    return int(rng() * ceiling_us(first_us, largest_us, k))


def equal_jitter_us(first_us: int, largest_us: int, k: int, rng: Rng) -> int:
    """Half the delay, and U(0, half): for a throttle, where full jitter would let some come back at once."""
    half = ceiling_us(first_us, largest_us, k) // 2
    return half + int(rng() * half)


def throttled_us(after_s: float | None, first_us: int, largest_us: int, k: int, rng: Rng, *, others: bool) -> int:
    """How long a throttled message waits: what the provider asked for (RFC 9110 §10.2.3), else equal jitter. Where
    others may take it, no longer than that: it is the provider that is to rest, not the message.
    """
    jitter_us = equal_jitter_us(first_us, largest_us, k, rng)
    if after_s is None:
        return jitter_us
    after_us = int(min(max(0.0, after_s), AFTER_MOST_S) * 1_000_000)
    return min(after_us, jitter_us) if others else after_us


def bounded_us(at_us: int, deadline_us: int) -> int:
    """A retry never waits beyond the deadline: there the message ends, for the reason that it waited for."""
    return min(at_us, deadline_us)
