"""A provider from healthy to dead and back, over real HTTP: who serves meanwhile, and how it comes back."""

from typing import cast

from bench.routes import Phase, run


def test_a_provider_dies_and_comes_back() -> None:
    """Its weight's share before, nobody's loss while it is away, a few probes, and a slow return."""
    told = run(rate=40, phase_s=3.0, hang=False)
    healthy, away, back = cast("list[Phase]", told["phases"])
    assert (told["lost"], told["taken_twice"]) == (0, 0)
    assert 0.8 <= healthy.main_share <= 0.97
    assert away.main == 0
    assert away.spare >= 0.8 * away.came
    assert away.probes <= 12
    assert 0 < back.main < healthy.main
    assert back.main_by_s[0] <= back.main_by_s[-1]
