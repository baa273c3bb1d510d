"""What attempts came to."""

from smsd.core.outcome import Found, Moved
from smsd.core.twin.values import Offer
from tests.support.twin import (
    SECOND,
    accepted,
    back,
    fail,
    head,
    limits,
    resend,
    retry,
    send,
    shard,
    states,
    take,
    unknown,
)


def test_a_give_back_is_as_if_nothing_had_been_leased() -> None:
    """No attempt is counted, nothing is told, counted limits are refunded."""
    twin = shard(tenants={"acme": limits("1/h")})
    send(twin, "acme", "a")
    [leased] = take(twin)
    assert twin.settle([back(leased)]) == ["queued"]
    assert states(twin, "acme/a") == ["queued"]
    [again] = take(twin)
    assert again.attempt == 1
    assert twin.settle([back(leased)]) == ["late"]


def test_what_is_moved_waits_on_the_other_route() -> None:
    """No attempt is counted, counted limits are refunded, and its event says why."""
    twin = shard(tenants={"acme": limits("1/h")})
    send(twin, "acme", "a", campaign="spring")
    [leased] = take(twin)
    told = ("detail", "moved")
    assert twin.settle([Moved(*head(leased), "moved", 1, "main", "other", told)]) == ["queued"]
    assert twin.events[-1]["detail"] == "moved"
    assert take(twin) == []
    (again,) = twin.lease("other", [Offer("spare", 1, 9)], n=1, request="r", process="p", span_us=SECOND).messages
    assert (again.attempt, again.provider, again.tries) == (1, "spare", 0)
    assert twin.record("acme/a").lane == "acme|reminder|other|Salon|spring|"  # pyright: ignore


def test_only_the_fence_tells_whose_attempt_is_unknown() -> None:
    """A give-back of an earlier lease says nothing of a later one with the same attempt number."""
    twin = shard()
    send(twin, "acme", "a")
    [first] = take(twin)
    twin.settle([back(first)])
    take(twin)
    twin.now_us += 14 * SECOND
    twin.sweep({})
    assert twin.settle([back(first)]) == ["late"]


def test_a_late_yes_ends_a_resend_that_waits() -> None:
    """Whether it comes as an answer or as a look-up, and whichever attempt it is of."""
    for late in ("answer", "look-up"):
        twin = shard()
        send(twin, "acme", "a")
        [first] = take(twin)
        twin.settle([unknown(first)])
        twin.settle([resend(first)])
        [second] = take(twin)
        twin.settle([retry(second, twin.now_us + SECOND)])
        found = Found("acme/a", 0, "found", 1, "main", "SM-1", ())
        assert twin.settle([accepted(first) if late == "answer" else found]) == ["submitted"]
        assert len(twin.book.due["reminder"]) == 0


def test_every_end_of_a_lease_gives_its_room_back() -> None:
    """In flight is what is leased."""
    twin = shard(max_in_flight={"main": 3})
    for i in range(3):
        send(twin, "acme", f"a{i}")
    one, two, three = take(twin)
    assert twin.book.in_flight["p:main"] == 3
    twin.settle([accepted(one), back(two), fail(three)])
    assert not twin.book.in_flight
    assert not twin.book.batches


def test_an_outcome_for_nobody_is_gone() -> None:
    """A message whose record went has no state to tell."""
    twin = shard()
    send(twin, "acme", "a")
    [leased] = take(twin)
    twin.book.records.clear()
    assert twin.settle([accepted(leased)]) == ["gone"]
