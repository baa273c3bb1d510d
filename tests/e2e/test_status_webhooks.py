"""Status webhooks by real processes: receivers that hang, are down or are gone, and workers that are killed.

`make bench-webhooks` does the same at length.
"""

import pytest

from bench.webhooks import Plan, run

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(240)]


@pytest.mark.alone
def test_receivers_that_hang_or_are_down_delay_no_other_and_miss_nothing() -> None:
    """Those that are well are told within a second at p99; after their return the others have every event."""
    result = run(Plan(rate=50, seconds=6))
    assert result.missing == 0
    assert result.forged == 0
    assert result.well["n"] == 240
    assert result.well["p99_ms"] < 1000
    assert result.passed


def test_a_worker_that_is_killed_loses_no_webhook() -> None:
    """kill -9 with webhooks under way: another worker tells what it was telling, and what it had read."""
    result = run(Plan(rate=50, seconds=6, well=2, kills=2))
    assert result.kills == 2
    assert result.missing == 0
    assert result.passed
