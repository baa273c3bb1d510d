"""What the twin keeps."""

from smsd.core.twin.values import Lane, Record, Taken


def test_a_lane_is_read_from_its_name() -> None:
    """The parts of a lane's name are what can be limited, paused, cancelled or bound by itself."""
    lane = Lane.empty("acme|reminder|us|Salon|spring|main,spare", (5, 1))
    assert (lane.flow, lane.sender, lane.campaign) == ("acme|reminder|us", "Salon", "spring")
    assert lane.bound == ("main", "spare")
    assert Lane.empty("acme|reminder|us|Salon||", (5, 1)).bound == ()


def test_flags_are_those_of_the_store() -> None:
    """Cancel 1, double 2, maybe 4, resent 8."""
    record = Record("t/i", "c", "r", "l", 1, 1, 1, "p", 1, {}, cancel=True, maybe=True)
    assert record.flags == 5
    record.taken.append(Taken(2, "main", "SM"))
    assert record.place_of(1) is None
    assert record.place_of(2) is record.taken[0]
