"""core/retry.py: jitter, Retry-After and their bounds, for any attempt and any dice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.retry import AFTER_MOST_S, bounded_us, ceiling_us, equal_jitter_us, full_jitter_us, throttled_us

FIRST, LARGEST = 2_000_000, 600_000_000
attempts = st.integers(min_value=0, max_value=10_000)
dice = st.floats(min_value=0, max_value=1, exclude_max=True)


def test_the_delay_doubles_up_to_the_largest() -> None:
    """The ceiling is the first delay, doubled for each attempt before, and never above the largest."""
    assert [ceiling_us(FIRST, LARGEST, k) // 1_000_000 for k in (0, 1, 2, 8, 9, 10_000)] == [2, 4, 8, 512, 600, 600]


def test_a_negative_attempt_counts_as_the_first() -> None:
    """A given-back attempt may leave a count below zero, which doubles nothing."""
    assert ceiling_us(FIRST, LARGEST, -1) == FIRST


@given(attempts, dice)
def test_full_jitter_takes_from_the_whole_delay(k: int, roll: float) -> None:
    """Full jitter is uniform from nothing to the ceiling."""
    delay_us = full_jitter_us(FIRST, LARGEST, k, lambda: roll)
    assert delay_us == int(roll * ceiling_us(FIRST, LARGEST, k))
    assert 0 <= delay_us < LARGEST


@given(attempts, dice)
def test_equal_jitter_waits_at_least_half(k: int, roll: float) -> None:
    """Equal jitter never comes back before half of the delay, nor after it."""
    ceiling = ceiling_us(FIRST, LARGEST, k)
    assert ceiling // 2 <= equal_jitter_us(FIRST, LARGEST, k, lambda: roll) <= ceiling


@given(st.floats(min_value=0, max_value=AFTER_MOST_S), attempts, dice)
def test_a_retry_after_is_obeyed_to_the_microsecond(after_s: float, k: int, roll: float) -> None:
    """What the only provider asked for goes before any backoff of ours."""
    assert throttled_us(after_s, FIRST, LARGEST, k, lambda: roll, others=False) == int(after_s * 1_000_000)


@given(st.floats(min_value=0, max_value=1e6), attempts, dice)
def test_a_retry_after_holds_no_message_that_others_may_take(after_s: float, k: int, roll: float) -> None:
    """Beside other providers a message waits as long as it is asked to, and never longer than by our own backoff."""
    backoff_us = equal_jitter_us(FIRST, LARGEST, k, lambda: roll)
    asked_us = int(min(after_s, AFTER_MOST_S) * 1_000_000)
    assert throttled_us(after_s, FIRST, LARGEST, k, lambda: roll, others=True) == min(asked_us, backoff_us)


def test_without_a_retry_after_a_throttle_waits_by_equal_jitter() -> None:
    """A throttle that names no time waits at least half of the backoff."""
    assert throttled_us(None, FIRST, LARGEST, 1, lambda: 0.0, others=False) == 2_000_000
    assert throttled_us(None, FIRST, LARGEST, 1, lambda: 0.5, others=True) == 3_000_000


@pytest.mark.parametrize(("after_s", "delay_us"), [(-5.0, 0), (float("nan"), 0), (float("inf"), 300_000_000)])
def test_a_retry_after_that_makes_no_sense_is_bounded(after_s: float, delay_us: int) -> None:
    """A provider whose clock or arithmetic is wrong puts a retry neither into the past nor hours away."""
    assert throttled_us(after_s, FIRST, LARGEST, 0, lambda: 0.0, others=False) == delay_us


def test_a_retry_is_never_after_the_deadline() -> None:
    """A message that would be tried after its deadline ends there instead."""
    assert bounded_us(500, 400) == 400
    assert bounded_us(300, 400) == 300
