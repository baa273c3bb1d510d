"""What smsd.core.limit must hold: the grammar of contract §5, and in no window more than N."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from smsd.core.limit import Counted, Limit, Paced, default_burst, idle, parse, show, spacing_us

SECOND = 1_000_000
SLACK = 20_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20/s", Limit(segments=False, n=20, period_us=SECOND, burst=1, paced=True)),
        ("200/s", Limit(segments=False, n=200, period_us=SECOND, burst=4, paced=True)),
        ("100 segments/s", Limit(segments=True, n=100, period_us=SECOND, burst=3, paced=True)),
        ("1 segments/s", Limit(segments=True, n=1, period_us=SECOND, burst=1, paced=True)),
        ("7 segments/s", Limit(segments=True, n=7, period_us=SECOND, burst=2, paced=True)),
        ("30 segments/m", Limit(segments=True, n=30, period_us=60 * SECOND, burst=3, paced=True)),
        ("50/s burst 5", Limit(segments=False, n=50, period_us=SECOND, burst=5, paced=True)),
        ("60/60s", Limit(segments=False, n=60, period_us=60 * SECOND, burst=1, paced=True)),
        ("100/90s", Limit(segments=False, n=100, period_us=90 * SECOND, burst=100, paced=False)),
        ("100/5m", Limit(segments=False, n=100, period_us=300 * SECOND, burst=100, paced=False)),
        ("9/h", Limit(segments=False, n=9, period_us=3600 * SECOND, burst=9, paced=False)),
        ("50000/d", Limit(segments=False, n=50_000, period_us=86_400 * SECOND, burst=50_000, paced=False)),
    ],
)
def test_reads_every_form_of_the_grammar(text: str, expected: Limit):
    """A limit is read as the contract writes it; up to a minute it is paced, and its burst has the default."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("20 per second", "write N[ segments]/"),
        ("20/sec", "write N[ segments]/"),
        ("20 / s", "write N[ segments]/"),
        ("-1/s", "write N[ segments]/"),
        ("1.5/s", "write N[ segments]/"),
        ("٢٠/s", "write N[ segments]/"),
        ("20/s burst", "write N[ segments]/"),
        ("", "write N[ segments]/"),
        ("20/s\n", "write N[ segments]/"),
        ("0/s", "at least 1"),
        ("20/0s", "between 1s and 366d"),
        ("20/367d", "between 1s and 366d"),
        ("20/s burst 0", "between 1 and 20"),
        ("20/s burst 21", "between 1 and 20"),
        ("20/h burst 5", 'leave out "burst"'),
        ("9999999999/s", "leave the limit out"),
        ("9" * 5000 + "/s", "leave the limit out"),
        ("1/" + "9" * 5000 + "s", "between 1s and 366d"),
    ],
)
def test_a_mistake_says_what_would_mend_it(text: str, says: str):
    """What is no limit is refused with a sentence that tells what is right."""
    with pytest.raises(ValueError, match=r".+") as caught:
        parse(text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 250


@st.composite
def limits(draw: st.DrawFn, *, paced: bool | None = None, period_us: int | None = None) -> Limit:
    segments = draw(st.booleans())
    n = draw(st.integers(1, 40))
    if period_us is None:
        seconds = {True: st.integers(1, 60), False: st.integers(61, 4000), None: st.integers(1, 4000)}[paced]
        period_us = draw(seconds) * SECOND
    is_paced = period_us <= 60 * SECOND
    burst = draw(st.one_of(st.just(default_burst(n, segments=segments)), st.integers(1, n))) if is_paced else n
    return Limit(segments=segments, n=n, period_us=period_us, burst=burst, paced=is_paced)


@given(limits())
def test_what_is_shown_reads_back_the_same(limit: Limit):
    """A limit shown to an operator can be written into the config and means the same."""
    assert parse(show(limit)) == limit


def most_in_a_window(starts: list[tuple[int, int]], period_us: int) -> int:
    """The largest sum of costs over [t, t + period] for any t; both ends belong to the window, which is the harsher."""
    return max(
        (sum(cost for at, cost in starts if first <= at <= first + period_us) for first, _ in starts),
        default=0,
    )


def drive(
    state: Paced | Counted,
    arrivals: list[tuple[int, int]],
    change: Callable[[Paced | Counted, int], Paced | Counted] | None = None,
    now_us: int = 1_800_000_000 * SECOND + 123_457,
) -> list[tuple[int, int]]:
    """Sends each (pause_us, cost) as early as the limit admits it; `change` may swap the limit before each one."""
    starts: list[tuple[int, int]] = []
    for pause_us, cost in arrivals:
        now_us += pause_us
        if change is not None:
            state = change(state, now_us)
        charge = state.limit.cost(cost)
        while (wake_us := state.admit(now_us, charge)) is not None:
            assert wake_us > now_us
            now_us = wake_us
        starts.append((now_us, charge))
        state = state.charge(now_us, charge)
    return starts


PAUSES = st.one_of(st.just(0), st.integers(0, 3 * SECOND), st.integers(0, 5000 * SECOND))


@st.composite
def arrivals_of(
    draw: st.DrawFn, *, largest: int = 40, pauses: st.SearchStrategy[int] = PAUSES
) -> list[tuple[int, int]]:
    """Floods of messages of one cost, each after a pause: what finds a burst that comes on top of a steady rate."""
    floods = draw(st.lists(st.tuples(pauses, st.integers(1, largest), st.integers(1, 60)), min_size=1, max_size=4))
    return [(0 if i else pause_us, cost) for pause_us, cost, count in floods for i in range(count)]


@given(limits(), arrivals_of(), st.sampled_from([0, SLACK, SECOND]))
def test_no_window_of_the_period_holds_more_than_n(limit: Limit, arrivals: list[tuple[int, int]], slack_us: int):
    """Wherever a window of P starts, the costs that left in it are N or less, however messages of mixed cost arrive."""
    arrivals = [(pause, min(cost, limit.n)) for pause, cost in arrivals]
    starts = drive(idle(limit, slack_us), arrivals)
    assert most_in_a_window(starts, limit.period_us + slack_us - 1) <= limit.n


@given(limits(), arrivals_of(), st.integers(0, SLACK))
def test_a_late_first_byte_inside_the_slack_keeps_the_window(
    limit: Limit, arrivals: list[tuple[int, int]], late_us: int
):
    """A byte that leaves up to the slack after its charge cannot bring a window of P at the carrier over N."""
    starts = drive(idle(limit, SLACK), [(pause, min(cost, limit.n)) for pause, cost in arrivals])
    at_carrier = [(at + (late_us if i % 2 else 0), cost) for i, (at, cost) in enumerate(starts)]
    assert most_in_a_window(at_carrier, limit.period_us - 1) <= limit.n


@given(limits(), arrivals_of(largest=120))
def test_a_cost_above_n_leaves_alone_and_then_the_limit_rests(limit: Limit, arrivals: list[tuple[int, int]]):
    """A message that costs more than N shares its window with none before it, and rests for cost/N periods after it."""
    starts = drive(idle(limit, SLACK), arrivals)
    for (before_us, before), (after_us, after) in pairwise(starts):
        if after > limit.n:
            assert after_us - before_us >= limit.period_us
        if before > limit.n and limit.burst == 1:
            assert (after_us - before_us) * limit.n >= before * limit.period_us
        if before > limit.n and not limit.paced:
            assert (after_us - before_us) * limit.n >= before * limit.period_us
        if before > limit.n:
            assert after_us - before_us >= limit.period_us


@given(st.data())
def test_a_change_of_n_or_burst_lets_nothing_slip_through(data: st.DataObject):
    """While N and b change again and again, no window holds more than the largest N that was in force inside it."""
    period_us = data.draw(st.sampled_from([SECOND, 7 * SECOND, 60 * SECOND, 90 * SECOND]))
    first = data.draw(limits(period_us=period_us))
    segments = first.segments
    changes = data.draw(st.lists(limits(period_us=period_us), min_size=1, max_size=4))
    changes = [Limit(segments, c.n, c.period_us, c.burst, c.paced) for c in changes]
    arrivals = data.draw(arrivals_of(largest=3, pauses=st.integers(0, period_us // 2)))
    every = max(1, len(arrivals) // (len(changes) + 1))
    largest = max(limit.n for limit in [first, *changes])
    smallest = min(limit.n for limit in [first, *changes])
    left = iter(changes)
    count = 0

    def change(state: Paced | Counted, now_us: int) -> Paced | Counted:
        nonlocal count
        count += 1
        new = next(left, None) if count % every == 0 else None
        return state if new is None else state.changed(new, SLACK, now_us)

    starts = drive(idle(first, SLACK), [(pause, min(cost, smallest)) for pause, cost in arrivals], change)
    assert most_in_a_window(starts, period_us) <= largest


@given(limits(period_us=SECOND), limits(period_us=SECOND), st.integers(0, 60))
def test_a_lowered_limit_holds_at_once(old: Limit, new: Limit, sent: int):
    """From the instant of a change on, no window holds more than the new N, whatever left just before it."""
    assume(new.n < old.n)
    new = Limit(old.segments, new.n, new.period_us, new.burst, new.paced)
    starts: list[tuple[int, int]] = drive(idle(old, SLACK), [(0, 1)] * sent)
    now_us = starts[-1][0] if starts else 1_800_000_000 * SECOND
    state = idle(old, SLACK)
    for at, cost in starts:
        state = state.charge(at, cost)
    after = drive(state.changed(new, SLACK, now_us), [(0, 1)] * 60, now_us=now_us)
    assert most_in_a_window(after, SECOND) <= new.n


def test_a_change_rescales_what_is_owed_and_adds_one_spacing():
    """TAT is max(b·T, ceil(max(TAT - now, 0)·T/T_old) + T) from now, with the new T and b (design, the hard limit)."""
    now_us = 1_800_000_000 * SECOND
    old, new = parse("10/s"), parse("5/s burst 2")
    spacing = spacing_us(new, 0)
    assert (spacing_us(old, 0), spacing) == (100_000, 250_000)
    for owed_us, expected_us in [(0, 2 * spacing), (100_000, 2 * spacing), (150_000, 625_000), (-SECOND, 2 * spacing)]:
        changed = Paced(old, 0, now_us + owed_us).changed(new, 0, now_us)
        assert changed == Paced(new, 0, now_us + expected_us)


def test_a_cost_above_n_waits_no_longer_than_a_cost_of_n():
    """What can never fit leaves when the window is empty; its weight is paid afterwards."""
    now_us = 1_800_000_000 * SECOND
    for text in ("5/s", "5/h"):
        limit = parse(text.replace("/", " segments/"))
        state = idle(limit, SLACK).charge(now_us, 1)
        assert state.admit(now_us, 9) == state.admit(now_us, 5)
    assert idle(parse("5 segments/h"), SLACK).admit(now_us, 9) is None


def test_a_raised_limit_helps_those_who_wait():
    """Under 1 a minute with one just gone, a raise to 60 a minute admits the next within seconds."""
    now_us = 1_800_000_000 * SECOND
    state = Paced(parse("1/m"), SLACK).charge(now_us, 1).changed(parse("60/m"), SLACK, now_us)
    wake_us = state.admit(now_us, 1)
    assert wake_us is not None
    assert wake_us - now_us <= 3 * SECOND


def test_a_new_period_starts_without_its_burst():
    """A limit under a new period begins as if its burst had just been used."""
    now_us = 1_800_000_000 * SECOND
    limit = parse("50/s burst 10")
    state = Paced.rekeyed(limit, SLACK, now_us)
    assert state.admit(now_us, 1) == now_us + spacing_us(limit, SLACK)


def test_spacing_is_the_design_s_formula_rounded_up():
    """T is ceil((P + slack) / (N - b + 1))."""
    assert spacing_us(parse("20/s"), SLACK) == 51_000
    assert spacing_us(parse("3/s burst 1"), 0) == 333_334


@pytest.mark.parametrize("text", ["20/s", "100/s", "500/s", "100/s burst 30", "1/s", "60/m"])
def test_what_the_burst_leaves_of_a_limit_is_used(text: str):
    """A queue that never empties gets at least 99 % of (N-b+1)/P·P/(P+slack)."""
    limit = parse(text)
    starts = drive(idle(limit, SLACK), [(0, 1)] * 3000)
    span_us = starts[-1][0] - starts[0][0]
    rate = len(starts) * limit.period_us / span_us
    assert rate >= 0.99 * (limit.n - limit.burst + 1) * limit.period_us / (limit.period_us + SLACK)


def test_a_counted_limit_lets_all_n_leave_at_once():
    """Under 1,000 an hour a thousand leave in the same instant and the next one is told when it may."""
    limit = parse("1000/h")
    now_us = 1_800_000_000 * SECOND
    starts = drive(idle(limit, SLACK), [(0, 1)] * 1001, now_us=now_us)
    assert [at for at, _ in starts[:1000]] == [now_us] * 1000
    assert 3600 * SECOND <= starts[1000][0] - now_us <= 3660 * SECOND + SLACK


def test_a_paced_charge_is_given_back_only_where_it_stands_alone():
    """What was charged after it has counted on it, and of a burst nobody knows which part it was."""
    limit, now_us = parse("10/s burst 2"), 1_800_000_000 * SECOND
    once = idle(limit, SLACK).charge(now_us, 1)
    assert isinstance(once, Paced)
    assert once.refund(now_us, 1).admit(now_us, 2) is None
    twice = once.charge(now_us + 10, 1)
    assert twice.refund(now_us, 1) == twice
    assert twice.refund(now_us + 10, 1) == twice


USED = [("10/s", 1, True), ("9/s burst 8", 1, False), ("9/s burst 8", 2, True), ("8/h", 1, False), ("8/h", 2, True)]


@pytest.mark.parametrize(("text", "charges", "told"), USED)
def test_a_limit_of_which_a_quarter_is_used_is_nearly_used(text: str, charges: int, told: bool):
    """From then on what is charged has to leave in time; after a rest it is not so any more."""
    now_us = 1_800_000_000 * SECOND
    state = idle(parse(text), SLACK)
    for _ in range(charges):
        state = state.charge(now_us, 1)
    assert state.nearly_used(now_us) is told
    assert not state.nearly_used(now_us + 7300 * SECOND)


def test_a_refund_goes_back_to_its_own_sub_window():
    """A charge whose message never left makes room again, and only in the sub-window that it was written to."""
    limit = parse("2/h")
    now_us = 1_800_000_000 * SECOND
    later_us = now_us + 1800 * SECOND
    state = Counted(limit, SLACK).charge(now_us, 1).charge(later_us, 1)
    assert state.admit(later_us, 1) is not None
    assert state.refund(state.part(later_us, 1), 1) == Counted(limit, SLACK).charge(now_us, 1)
    assert state.refund(state.part(now_us, 1), 1).admit(later_us, 1) is None
    assert state.refund(state.part(now_us, 1) - 1, 1) == state


@given(limits(paced=False), st.lists(st.tuples(st.integers(0, 100 * SECOND), st.just(1)), max_size=200))
def test_a_counted_limit_remembers_a_bounded_number_of_sub_windows(limit: Limit, arrivals: list[tuple[int, int]]):
    """However many leave, the state holds 62 sub-windows at most."""
    state = Counted(limit, SLACK)
    for at, cost in drive(state, arrivals):
        state = state.charge(at, cost)
        assert len(state.parts) <= 62
