"""Limits with real processes: no window is over, and what a burst leaves is used. `make bench-limits` runs longer."""

import pytest

from bench.limits import Charge, due_share, fullest, held, judge, run
from smsd.core.limit import parse

SECOND = 1_000_000


@pytest.mark.alone
@pytest.mark.embedded
@pytest.mark.timeout(90)
def test_several_processes_together_keep_every_limit_and_use_it() -> None:
    """Two workers, four tenants with more than they may send: the store's clock, the carrier's book and the use."""
    shown = run([("20/s",), ("10/s burst 2",), ("30 segments/s",), ("20/s", "300/m")], workers=2, seconds=4)
    assert shown.failed == []
    assert len(shown.limits) == 5
    assert shown.messages > 150


def leaving(*seconds: float, segments: int = 1, lag_us: int = 3_000) -> list[Charge]:
    """Messages that were charged at these instants and arrived a little later."""
    return [Charge("t0", segments, round(s * SECOND), round(s * SECOND) + lag_us) for s in seconds]


def test_the_fullest_window_is_half_open_and_starts_anywhere() -> None:
    """A window of a second that begins with one message does not hold the one a second later."""
    assert fullest([(0, 1), (400_000, 2), (999_999, 1), (SECOND, 1)], SECOND) == 4
    assert fullest([(0, 1), (SECOND, 1), (2 * SECOND, 1)], SECOND) == 1
    assert fullest([], SECOND) == 0


def test_a_window_over_its_limit_is_told() -> None:
    """One too many by the store's clock fails, however late they were."""
    left = leaving(0.0, 0.2, 0.4, 0.6, 0.8, 0.99)
    said = judge(held("t0", ["5/s"], left, 0, SECOND), late=9, steady=6, steady_late=0)
    assert any("by the store's clock" in one for one in said)


def test_a_window_over_at_the_carrier_is_excused_by_late_starts_alone() -> None:
    """Six in a second at the carrier: one of them came late and was counted, or the claim fails."""
    punctual, late = leaving(1.05, 1.25, 1.45, 1.65, 1.85), leaving(0.8, lag_us=300_000)
    left = late + punctual
    limits = held("t0", ["5/s"], left, 0, 2 * SECOND)
    (one,) = limits
    assert (one.fullest_charged, one.fullest_arrived, one.fullest_punctual, one.late) == (5, 6, 5, 1)
    told = "late starts were counted"
    assert not any(told in one for one in judge(limits, 1, 6, 0))
    assert any(told in one for one in judge(limits, 0, 6, 0))
    early = leaving(0.99, lag_us=19_000) + leaving(1.99, lag_us=1_000) + punctual[:4]
    assert any("none of them was late" in one for one in judge(held("t0", ["5/s"], early, 0, 2 * SECOND), 1, 6, 0))


def test_a_limit_that_is_hardly_used_is_told() -> None:
    """Half of what may leave is not enough."""
    left = leaving(*(i / 5 for i in range(50)))
    assert judge(held("t0", ["5/s"], left, 0, 10 * SECOND), 0, 50, 0) == []
    assert any("was used" in one for one in judge(held("t0", ["10/s"], left, 0, 10 * SECOND), 0, 50, 0))


def test_late_starts_in_steady_time_are_told() -> None:
    """Fewer than one in a thousand may be late; of too few messages that is no share."""
    assert judge([], 9, 10_000, 9) == judge([], 3, 100, 3) == []
    assert "were late" in judge([], 10, 10_000, 10)[0]


def test_what_a_burst_costs_is_not_due() -> None:
    """95 % of (N-b+1)/N * P/(P+slack); of a counted limit all."""
    assert due_share(parse("20/s")) == pytest.approx(0.95 / 1.02)
    assert due_share(parse("10/s burst 4")) == pytest.approx(0.95 * 0.7 / 1.02)
    assert due_share(parse("100/2m")) == 1
