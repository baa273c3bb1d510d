"""When a message will leave: held against what the limits then do, one message after the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.forecast import Door, Gate, Share, forecast, passes_us, routed_us, turns
from smsd.core.limit import Counted, Paced, idle, parse

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
SLACK = 20_000
LIMITS = ("5/s", "20/s burst 4", "3 segments/s", "30/m", "100/90s", "7/2m", "40 segments/h")


def played(state: Paced | Counted, count: int, segments: int, now_us: int) -> tuple[Paced | Counted, int]:
    """The state after so many messages, each leaving as soon as it may, and when the last one did."""
    cost = state.limit.cost(segments)
    for _ in range(count):
        while (wake_us := state.admit(now_us, cost)) is not None:
            now_us = wake_us
        state = state.charge(now_us, cost)
    return state, now_us


@given(st.sampled_from(LIMITS), st.integers(0, 60), st.integers(0, 150), st.integers(1, 2), st.integers(0, 90 * SECOND))
def test_an_estimate_is_what_the_limit_then_does(text: str, used: int, ahead: int, segments: int, rest: int) -> None:
    """Whatever has been used and however many go before, the limit admits the message when the forecast says."""
    limit = parse(text)
    state, at_us = played(idle(limit, SLACK), used, segments, NOW)
    now_us = at_us + rest
    _, left_us = played(state, ahead + 1, segments, now_us)
    told_us = passes_us(state, ahead, segments, now_us)
    # A counted limit's sub-windows are P/60 long, and what leaves now goes to one that ends a little later.
    rounds = 1 + (ahead + used + 1) * limit.cost(segments) // limit.n
    allowed_us = 0 if limit.paced else rounds * (limit.period_us // 60 + 1)
    assert abs(told_us - left_us) <= allowed_us + 1


def test_the_limit_that_admits_last_decides() -> None:
    """Of a tenant's and a sender's limit the slower one is named."""
    gates = [
        Gate("t:acme", idle(parse("10/s"), SLACK), 100),
        Gate("s:Salon", idle(parse("2/s"), SLACK), 100),
    ]
    told = forecast(gates, 1, NOW)
    assert (told.scope, told.limit) == ("s:Salon", parse("2/s"))
    assert told.at_us == pytest.approx(NOW + 51 * SECOND, abs=2 * SECOND)


def test_nothing_decides_where_nothing_waits() -> None:
    """A message that may leave at once is told no limit."""
    told = forecast([Gate("t:acme", idle(parse("10/s"), SLACK), 0)], 1, NOW)
    assert (told.at_us, told.scope, told.limit) == (NOW, "", None)


def test_a_day_that_is_used_up_opens_a_day_later() -> None:
    """Under a counted limit what has left makes room when it leaves the window."""
    state, _ = played(idle(parse("100/d"), SLACK), 100, 1, NOW)
    told_us = passes_us(state, 0, 1, NOW + 3600 * SECOND)
    assert told_us == pytest.approx(NOW + 86_400 * SECOND, abs=86_400 * SECOND / 60 + SECOND)


def test_a_flow_has_its_turns_and_a_class_its_share() -> None:
    """Of four flows each has a quarter, a class of weight 1 beside 8 an eighth of it; and none more than it has."""
    mine, ads = Share(8, 10_000, 4), Share(1, 10_000, 2)
    assert turns(99, mine, [ads]) == 399 + 50
    assert turns(99, mine, [Share(1, 10_000, 0)]) == 399  # of which nothing is ready
    assert turns(99, Share(8, 104, 5), [Share(1, 7, 1)]) == 103 + 7
    assert turns(9, ads, [mine]) == 19 + 160
    assert turns(5, Share(8, 0, 0), []) == 5  # its own place, whatever the counts say


@given(
    st.lists(
        st.lists(st.sampled_from(("5/s", "2/s", "100/90s", "7/2m")), min_size=1, max_size=2), min_size=1, max_size=3
    ),
    st.integers(0, 80),
)
def test_providers_share_what_goes_before(doors: list[list[str]], ahead: int) -> None:
    """Each message leaves by the provider that has room first, and the estimate is when the last one does."""
    states: list[list[Paced | Counted]] = [[idle(parse(text), SLACK) for text in set(door)] for door in doors]
    told_us = routed_us([Door(door) for door in states], ahead, 1, NOW)
    left_us = NOW
    for _ in range(ahead + 1):
        opens = [max(opening(state, left_us) for state in door) for door in states]
        left_us = min(opens)
        at = opens.index(left_us)
        states[at] = [state.charge(left_us, 1) for state in states[at]]
    # A counted limit's parts are P/60 long, as above, for each time that it is used up.
    counted = [state.limit for door in states for state in door if isinstance(state, Counted)]
    allowed_us = max(((2 + ahead // one.n) * one.period_us // 60 for one in counted), default=0)
    assert abs(told_us - left_us) <= allowed_us + 1001


def opening(state: Paced | Counted, now_us: int) -> int:
    """The first instant from then on at which it admits one."""
    while (wake_us := state.admit(now_us, 1)) is not None:
        now_us = wake_us
    return now_us


def test_one_without_limits_takes_all_at_once() -> None:
    """A provider that has none, beside a slow one, holds nobody up; and so does a counted one with room."""
    assert routed_us([Door(), Door([idle(parse("1/s"), SLACK)])], 1000, 1, NOW) == NOW
    assert routed_us([Door([idle(parse("50000/d"), SLACK)])], 1000, 1, NOW) == NOW
    assert routed_us([], 5, 1, NOW) == NOW


def test_a_provider_that_answers_slowly_has_room_when_it_has_answered() -> None:
    """The slower of its limits and of its answers counts, and a second provider takes what it can."""
    slow = Door(room=2, each_us=SECOND // 4)
    assert [routed_us([slow], ahead, 1, NOW) - NOW for ahead in (0, 1, 2, 41)] == [0, 0, SECOND // 4, 10 * SECOND]
    limited = Door([idle(parse("1/s"), SLACK)], room=2, each_us=SECOND // 4)
    assert routed_us([limited], 41, 1, NOW) == routed_us([Door(limited.states)], 41, 1, NOW)
    assert routed_us([slow, slow], 43, 1, NOW) - NOW == pytest.approx(5 * SECOND, abs=SECOND // 4)
