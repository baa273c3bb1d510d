"""Fair shares with real processes, in small. `make bench-fairness` floods with 200,000 messages."""

import pytest

from bench.fairness import Scenario, Waited, judge, run, scenarios

SHARE = 5  # the scenario's place in the list: too short a run has no share


@pytest.mark.alone
@pytest.mark.embedded
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "scenario", [s for s in scenarios(0.02) if not s.share and not s.while_read], ids=lambda s: s.name
)
def test_single_messages_leave_within_a_second_beside_a_flood(scenario: Scenario) -> None:
    """A flood of one tenant, of many, or of one's own never holds up what comes later and alone."""
    assert run(scenario, workers=2).failed == []


def waited(arrived: dict[str, float], *, share: bool = False) -> Waited:
    """A judgement about two timed messages that were written at second 0, and what arrived when; `f…`: of the flood."""
    of = scenarios(0.01)[SHARE if share else 0]
    us = {key: int(at_s * 1e6) for key, at_s in arrived.items()}
    return judge(of, 9, {"a/1": 0, "a/2": 0}, us, 0, 2_000_000)


def test_a_late_or_missing_message_is_told() -> None:
    """More than a second after its XADD, or not there at all: the scenario fails."""
    assert waited({"a/1": 0.2, "a/2": 0.9, "f/1": 0.1}).failed == []
    assert "left later" in waited({"a/1": 0.2, "a/2": 1.2, "f/1": 0.1}).failed[0]
    assert "have not left" in waited({"a/1": 0.2, "f/1": 0.1}).failed[0]
    assert "nothing of the flood" in waited({"a/1": 0.2, "a/2": 0.2}).failed[0]


def test_a_share_below_its_weight_is_told() -> None:
    """Marketing is owed a ninth of the route."""
    assert waited({"a/1": 0.2, "a/2": 0.9, "f/1": 0.1}, share=True).failed == []
    assert "of the route" in waited({"a/1": 0.2, "a/2": 0.9}, share=True).failed[0]
