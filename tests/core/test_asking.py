"""When a provider is asked about a receipt that does not come."""

from hypothesis import given
from hypothesis import strategies as st

from smsd.core.asking import ASKED_MOST, LOOK_BACK_US, span, waits

HOUR = 3_600_000_000


def test_each_wait_is_twice_the_one_before() -> None:
    """From an hour on, and never at or after the end of the waiting."""
    assert waits(HOUR, 48 * HOUR) == [HOUR * n for n in (1, 2, 4, 8, 16, 32)]
    assert waits(HOUR, HOUR) == []
    assert waits(0, HOUR) == []
    assert len(waits(1, 48 * HOUR)) == ASKED_MOST


def test_a_first_pass_looks_back_an_hour() -> None:
    """What waited long before anybody asked is not asked about all at once."""
    assert span(None, 100 * HOUR, HOUR, 48 * HOUR) == (100 * HOUR + 47 * HOUR - LOOK_BACK_US, 147 * HOUR)


@given(st.lists(st.integers(1, HOUR), min_size=2, max_size=20), st.integers(0, 40 * HOUR))
def test_each_message_is_asked_about_once_for_each_wait(steps: list[int], submitted_us: int) -> None:
    """However the passes fall, the spans of one wait follow each other without a gap and without an overlap."""
    timeout_us, wait_us, came_to, asked = 48 * HOUR, HOUR, 0, 0
    ends_us = submitted_us + timeout_us
    for step in steps:
        now_us = came_to + step
        from_us, until_us = span(came_to, now_us, wait_us, timeout_us)
        asked += from_us < ends_us <= until_us
        came_to = now_us
    assert asked == (0 < submitted_us + wait_us <= came_to)
