"""Withdrawals in the twin: bounded steps, first what is due later, then lanes."""

from smsd.core.twin.values import HOUR_US
from tests.support.twin import START, send, shard, states, taken_ids


def test_each_sweep_cancels_no_more_than_its_bound() -> None:
    """Whatever waits, a pass looks at so many messages and says that there is more."""
    twin = shard()
    for i in range(5):
        send(twin, "a", f"m{i}")
    twin.withdraw("t:a")
    assert [twin.sweep({}, most=2)[1].withdrawn for _ in range(3)] == [2, 2, 1]


def test_what_is_due_later_is_withdrawn_first() -> None:
    """Nothing can come out of the due set behind the sweep's back."""
    twin = shard()
    send(twin, "a", "later", not_before=START + HOUR_US)
    send(twin, "a", "now")
    twin.withdraw("t:a")
    twin.sweep({}, most=1)
    assert (states(twin, "a/later")[-1], states(twin, "a/now")) == ("cancelled", ["queued"])
    assert taken_ids(twin) == []


def test_a_lifted_campaign_is_sent_again() -> None:
    """What the withdrawal had not reached stays as it was."""
    twin = shard()
    send(twin, "a", "m", campaign="x")
    twin.withdraw("k:a|x")
    assert taken_ids(twin) == []
    assert twin.lift("k:a|x")
    twin.sweep({})
    assert taken_ids(twin) == ["a/m"]
