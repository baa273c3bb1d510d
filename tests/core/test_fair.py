"""Turns by weight, on one level."""

from collections import Counter

from smsd.core.fair import SCALE, Queue, Turns


def test_turns_follow_the_weights() -> None:
    """Of two classes that always have something, one of weight 8 gets eight turns for each of the other."""
    turns, weights, served = Turns(), {"reminder": 8, "marketing": 1}, Counter[str]()
    for _ in range(900):
        name = min(weights, key=turns.start)
        turns.served(name, turns.start(name), 1, weights[name])
        served[name] += 1
    assert served == {"reminder": 800, "marketing": 100}


def test_a_flow_that_was_away_saves_nothing_up() -> None:
    """A name that comes late starts at the virtual time: it gets its share from now on, no more."""
    queue, served = Queue(), Counter[str]()
    queue.join("always")
    for i in range(200):
        if i == 100:
            queue.join("late")
        start, name = queue.first() or (0, "")
        queue.served(name, start, 1)
        served[name] += 1
    assert abs(served["late"] - 50) <= 1


def test_a_trickling_flow_is_not_always_first() -> None:
    """The finish tag of a flow that left is kept, so that coming back does not renew its turn."""
    queue = Queue()
    queue.join("big")
    queue.join("trickle")
    queue.served("trickle", 0, 4)
    queue.leave("trickle")
    queue.forget()
    queue.join("trickle")
    assert queue.first() == (0, "big")
    assert queue.start("trickle") == 4 * SCALE


def test_nothing_is_remembered_of_a_busy_period_that_is_over() -> None:
    """When nobody is left, the finish tags go and the virtual time has passed them."""
    queue = Queue()
    queue.join("a")
    queue.served("a", 0, 3)
    queue.leave("a")
    queue.forget()
    assert (queue.finish, queue.virtual) == ({}, 3 * SCALE)


def test_ties_go_by_name() -> None:
    """Names with equal tags are served in their order, so that two hosts agree."""
    queue = Queue()
    for name in ("b", "a", "c"):
        queue.join(name)
    assert [name for _, name in queue.order()] == ["a", "b", "c"]
