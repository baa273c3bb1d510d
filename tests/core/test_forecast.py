"""When a message will leave: held against what the limits then do, one message after the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.forecast import Gate, forecast, passes_us, rate_per_s, share_us
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


def test_a_flow_has_its_part_of_its_classs_part() -> None:
    """At 90/s, a class of weight 8 of 9 with 4 flows gives each of them 20/s."""
    assert share_us(99, rate_per_s=90, weight=8, weights=9, flows=4) == 5 * SECOND
    assert share_us(99, rate_per_s=0, weight=8, weights=9, flows=4) == 0


def test_the_slowest_limit_is_a_providers_rate() -> None:
    """In messages, of as many segments as the one that asks."""
    assert rate_per_s([parse("100/s"), parse("60 segments/s")], 2) == 30
    assert rate_per_s([], 1) == 0
