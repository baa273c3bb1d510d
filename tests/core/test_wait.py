"""The line at one limit."""

from smsd.core.wait import Line, Order


def names(line: Line) -> list[str]:
    """Who stands there, first first."""
    return [entry.name for entry in line.entries()]


def test_the_heavier_class_and_then_the_first_refused_come_first() -> None:
    """The order is weight, then the time of the first refusal."""
    line = Line()
    line.park("marketing", (9, 1), "m", Order(-1, 10))
    line.park("late", (9, 2), "l", Order(-8, 30))
    line.park("early", (9, 3), "e", Order(-8, 20))
    assert names(line) == ["early", "late", "marketing"]


def test_a_flow_has_one_place_and_its_most_urgent_lane_leads() -> None:
    """Of a flow with several lanes one stands in line, at the earliest place, and the earliest deadline is tried."""
    line = Line()
    line.park("flow", (50, 1), "later", Order(-1, 20))
    line.park("flow", (40, 2), "sooner", Order(-1, 30))
    assert names(line) == ["flow"]
    assert line.entries()[0].order == Order(-1, 20)
    assert line.first_lane("flow") == "sooner"
    assert line.unpark("flow", (40, 2), "sooner")
    assert line.first_lane("flow") == "later"


def test_the_last_lane_gives_the_place_up() -> None:
    """A line that nobody stands in has no time to wake."""
    line = Line()
    line.park("flow", (50, 1), "lane", Order(-1, 20))
    line.wake_by(100)
    assert not line.unpark("flow", (50, 1), "lane")
    assert (len(line), line.wake_us) == (0, None)


def test_a_held_place_lets_nobody_pass_until_its_time() -> None:
    """A lane that has passed keeps its place against those behind until the time that the other limit gave it."""
    line = Line()
    line.park("behind", (50, 1), "lane", Order(-1, 20))
    held = line.hold(Order(-1, 10), 100, "passed")
    assert line.front(99) == held
    front = line.front(100)
    assert front is not None
    assert front.name == "behind"


def test_a_place_that_is_given_up_is_gone_at_once() -> None:
    """A held place whose lane does not need it any more keeps nobody back."""
    line = Line()
    held = line.hold(Order(-1, 10), 100, "passed")
    line.drop(held)
    line.drop(held)
    assert line.front(0) is None


def test_a_wake_is_only_ever_set_earlier() -> None:
    """Of several times to look again the first counts."""
    line = Line()
    for at in (50, 70, 30):
        line.wake_by(at)
    assert line.wake_us == 30
