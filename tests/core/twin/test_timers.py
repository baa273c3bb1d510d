"""Names by instants."""

from smsd.core.twin.timers import Timers


def test_a_name_has_one_instant() -> None:
    """Set again, a name is due at the new instant only."""
    timers = Timers()
    timers.set("a", 10)
    timers.set("a", 30)
    timers.set("b", 20)
    assert (timers.due(25, 10), timers.next(), len(timers)) == (["b"], 20, 2)


def test_the_earliest_come_first_and_no_more_than_asked() -> None:
    """Those that are due come in the order of their instants, ties by name."""
    timers = Timers()
    for name, at in (("c", 1), ("b", 2), ("a", 2), ("d", 9)):
        timers.set(name, at)
    assert timers.due(5, 2) == ["c", "a"]
    timers.drop("c")
    timers.drop("c")
    assert timers.due(5, 9) == ["a", "b"]
