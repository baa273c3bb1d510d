"""core/health.py: concurrency that learns, death by cohorts, probes, pauses, and what means that it is us."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.health import SHARE_LEAST, Health, Heard, heard
from smsd.core.retry import AFTER_MOST_S
from smsd.provider import Accepted, Answer, Deferred, Refused, Throttled, Unknown, Unusable

SECOND = 1_000_000
OK, LOST, SLOWER = Accepted("SM1"), Unknown(), Throttled()


def one(health: Health, answer: Answer, now_us: int = 0) -> Answer:
    """One attempt from its start to its settle."""
    ticket = health.begin(now_us)
    told = health.hear(ticket, answer, now_us)
    health.release(ticket)
    return told


def cohort(health: Health, answer: Answer, size: int, now_us: int = 0) -> None:
    """Attempts that are in flight together."""
    tickets = [health.begin(now_us) for _ in range(size)]
    for ticket in tickets:
        health.hear(ticket, answer, now_us)
    for ticket in tickets:
        health.release(ticket)


def test_a_new_provider_has_all_its_room() -> None:
    """At first a provider may be given max_in_flight messages, less what it has."""
    health = Health(64)
    assert health.room(0) == 64
    health.begin(0)
    assert health.room(0) == 63


def test_a_place_is_free_again_when_the_attempt_is_settled() -> None:
    """An answer alone frees nothing: until it is written, the store counts the message as in flight."""
    health = Health(2)
    ticket = health.begin(0)
    health.hear(ticket, OK, 0)
    assert health.room(0) == 1
    health.release(ticket)
    assert health.room(0) == 2


def test_a_throttled_cohort_lowers_the_concurrency_once() -> None:
    """Sixty-four throttles of messages that were in flight together are one sign, and take a tenth."""
    health = Health(100)
    cohort(health, SLOWER, 64, now_us=5)
    assert health.room(5) == 90
    cohort(health, SLOWER, 64, now_us=6)
    assert health.room(6) == 81


def test_it_grows_by_one_for_each_cohort_of_successes() -> None:
    """After being lowered, as many successes as are allowed in flight bring about one more."""
    health = Health(100)
    for now_us in range(1, 10):
        cohort(health, SLOWER, 1, now_us)
    before = health.limit
    cohort(health, OK, int(before), now_us=20)
    assert before + 0.9 < health.limit <= before + 1


def test_what_is_not_used_does_not_grow() -> None:
    """A trickle of successes says nothing about a higher concurrency."""
    health = Health(100)
    cohort(health, SLOWER, 1, now_us=1)
    for _ in range(1000):
        one(health, OK, 2)
    assert health.room(2) == 90


def test_it_dies_of_a_whole_cohort_of_failures() -> None:
    """Of sixty-four in flight together, sixty-three failures are borne and the last one kills."""
    health = Health(64)
    tickets = [health.begin(0) for _ in range(64)]
    for ticket in tickets[20:]:
        health.hear(ticket, LOST, 0)
    assert not health.dead
    for ticket in tickets[:20]:
        health.hear(ticket, LOST, 0)
    assert health.dead


def test_at_a_trickle_it_dies_of_three_failures_in_a_row() -> None:
    """A single lost answer at a low rate is no death; three without a success between are."""
    health = Health(64)
    for answer in (LOST, LOST, OK, LOST, LOST):
        one(health, answer)
    assert not health.dead
    one(health, LOST)
    assert health.dead


def test_any_answer_about_the_message_is_a_sign_of_life() -> None:
    """Refusals, deferrals and throttles come from a provider that works."""
    for answer in (Refused("bad_number"), Deferred(), SLOWER):
        health = Health(64)
        for told in (LOST, LOST, answer, LOST, LOST):
            one(health, told)
        assert not health.dead


def test_a_connection_that_cannot_be_made_is_a_failure() -> None:
    """Three in a row that could not be reached kill it."""
    health = Health(64)
    for _ in range(3):
        ticket = health.begin(0)
        health.unreachable(ticket, 0)
        health.release(ticket)
    assert health.dead


def dead(cap: int = 64) -> Health:
    health = Health(cap)
    for _ in range(3):
        one(health, LOST, now_us=0)
    return health


def test_the_dead_is_probed_by_one_message_at_a_time() -> None:
    """After a second one message may go, and no other while it is out."""
    health = dead()
    assert (health.room(0), health.wake_us(0)) == (0, SECOND)
    assert (health.room(SECOND), health.wake_us(SECOND)) == (1, None)
    ticket = health.begin(SECOND)
    assert ticket.probe
    assert health.room(SECOND) == 0


def test_a_failed_probe_doubles_the_wait_up_to_a_minute() -> None:
    """The waits between probes are 2, 4, 8 … and at most 60 seconds."""
    health, now_us, waits = dead(), SECOND, list[int]()
    for _ in range(8):
        one(health, LOST, now_us)
        wake_us = health.wake_us(now_us)
        assert wake_us is not None
        waits.append((wake_us - now_us) // SECOND)
        now_us = wake_us
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_a_probe_that_succeeds_brings_it_back_slowly() -> None:
    """Back from the dead it takes one message, then two, then four, and grows gently above half of its old measure."""
    health = dead(64)
    one(health, OK, SECOND)
    rooms: list[int] = []
    for _ in range(8):
        rooms.append(health.room(SECOND))
        cohort(health, OK, health.room(SECOND), SECOND)
    assert rooms[:5] == [1, 2, 4, 8, 16]
    assert rooms[7] < 35


def test_a_late_failure_of_an_old_attempt_puts_no_probe_off() -> None:
    """What was under way when it died says nothing new."""
    health = Health(64)
    old = health.begin(0)
    for _ in range(3):
        one(health, LOST, 0)
    health.hear(old, LOST, SECOND // 2)
    assert health.wake_us(0) == SECOND


def test_a_pressed_message_puts_a_probe_off() -> None:
    """A message that must not be risked leaves the probe to another one, a second later."""
    health = dead()
    ticket = health.begin(SECOND)
    health.postpone(SECOND)
    health.release(ticket)
    assert (health.room(SECOND), health.wake_us(SECOND)) == (0, 2 * SECOND)


def test_a_retry_after_pauses_the_offering() -> None:
    """Nothing is offered until the time that the provider named, and time alone ends it."""
    health = Health(10)
    one(health, Throttled(after_s=3), now_us=SECOND)
    assert (health.room(2 * SECOND), health.wake_us(2 * SECOND)) == (0, 4 * SECOND)
    assert health.room(4 * SECOND) == 9


@pytest.mark.parametrize("after_s", [1e6, float("inf")])
def test_a_retry_after_of_days_is_not_believed(after_s: float) -> None:
    """A pause has a longest time, after which the provider is asked again."""
    health = Health(10)
    one(health, Throttled(after_s), now_us=0)
    assert health.wake_us(0) == AFTER_MOST_S * 1_000_000


def test_unusable_stops_the_offering_until_a_success() -> None:
    """Credentials that are refused stop it at once; a probe that is answered by a mere refusal does not clear them."""
    health = Health(10)
    one(health, Unusable("the token was refused"), now_us=0)
    assert (health.stopped, health.room(0)) == ("the token was refused", 0)
    one(health, Refused("bad_number"), SECOND)
    assert health.stopped
    one(health, OK, SECOND)
    assert (health.stopped, health.room(SECOND)) == ("", 1)


def test_a_new_config_lets_the_stopped_be_tried_at_once() -> None:
    """Whoever has mended the credentials does not wait for the next probe."""
    health = Health(10)
    one(health, Unusable("the token was refused"), now_us=0)
    health.lift()
    assert health.room(0) == 1


def test_a_run_of_unlisted_refusals_is_about_us() -> None:
    """After five in a row the next is taken for Unusable, so that its message goes back unpunished."""
    health, unlisted = Health(10), Refused("unlisted", "418", "a teapot")
    assert [type(one(health, unlisted)) for _ in range(6)] == [Refused] * 5 + [Unusable]
    assert health.stopped == "6 refusals in a row that no table lists, the last: 418 a teapot"


@pytest.mark.parametrize("between", [OK, Refused("bad_number"), Deferred()])
def test_any_listed_answer_ends_a_run(between: Answer) -> None:
    """A provider whose answers we understand is not one that refuses us."""
    health = Health(10)
    for answer in [*[Refused("unlisted")] * 5, between, *[Refused("unlisted")] * 5]:
        assert one(health, answer) is answer
    assert not health.stopped


def test_more_room_in_the_config_is_reached_step_by_step() -> None:
    """A raised max_in_flight is grown into, a lowered one holds at once."""
    health = Health(4)
    health.resize(8)
    assert health.room(0) == 4
    for _ in range(4):
        cohort(health, OK, health.room(0), 0)
    assert health.room(0) == 8
    health.resize(2)
    assert health.room(0) == 2


def test_every_answer_is_heard() -> None:
    """Each kind of answer says something about its provider."""
    told = {kind: heard(kind("x") if kind in (Accepted, Refused, Unusable) else kind()) for kind in get_args(Answer)}
    assert told == {
        Accepted: Heard.WELL, Refused: Heard.NEUTRAL, Deferred: Heard.NEUTRAL, Throttled: Heard.THROTTLED,
        Unknown: Heard.FAILED, Unusable: Heard.UNUSABLE,
    }  # fmt: skip


steps = st.lists(
    st.tuples(st.sampled_from([OK, LOST, SLOWER, Throttled(2.0), Deferred(), Refused("unlisted"), Unusable("x")]),
              st.integers(0, 3 * SECOND)),
    max_size=200,
)  # fmt: skip


@given(steps, st.integers(1, 64))
def test_the_room_stays_in_its_bounds_and_always_comes_back(history: list[tuple[Answer, int]], cap: int) -> None:
    """Whatever happened, the room is never above max_in_flight, and time alone or now there is room for one."""
    health, now_us = Health(cap), 0
    for answer, wait_us in history:
        now_us += wait_us
        room = health.room(now_us)
        assert 0 <= room <= cap
        if room:
            one(health, answer, now_us)
    later_us = health.wake_us(now_us) or now_us
    assert health.room(later_us) >= 1
    assert health.in_flight == 0


def test_a_share_follows_how_many_answers_are_good() -> None:
    """One failure in twenty leaves three quarters of a weight, one in two a fifth, none all of it."""
    shares = []
    for every in (20, 2, 0):
        health = Health(10)
        for n in range(1, 2001):
            one(health, SLOWER if every and n % every == 0 else OK, n * SECOND)
        shares.append(round(health.share, 1))
    assert shares == [0.7, 0.2, 1.0]


def test_a_share_never_vanishes_and_comes_back_slowly() -> None:
    """Who fails is still asked now and then; back from the dead it takes a hundred good answers to most of it."""
    health = Health(10)
    for n in range(200):
        one(health, SLOWER, n * SECOND)
    assert health.share == SHARE_LEAST
    cohort(health, LOST, 10, now_us=300 * SECOND)
    assert health.dead
    one(health, OK, 400 * SECOND)
    assert (health.dead, health.share) == (False, SHARE_LEAST)
    counted = []
    for n in range(150):
        one(health, OK, (401 + n) * SECOND)
        counted.append(health.share)
    assert counted == sorted(counted)
    assert counted[9] < 0.25
    assert counted[-1] > 0.9
