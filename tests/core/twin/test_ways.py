"""The ways on for what was not simply taken."""

from tests.support.twin import accepted, fail, resend, retry, send, shard, states, take, unknown


def test_what_may_have_left_never_ends_as_failed_or_cancelled() -> None:
    """A refused resend is held: the first attempt may still have been taken."""
    twin = shard()
    send(twin, "acme", "a")
    [first] = take(twin)
    twin.settle([unknown(first)])
    twin.settle([resend(first)])
    [second] = take(twin)
    assert twin.settle([fail(second)]) == ["unknown"]
    assert twin.book.awaited.all().keys() == {"acme/a"}


def test_an_earlier_yes_stands_when_the_later_attempt_was_not_taken() -> None:
    """Nothing is sent again once any attempt is known to have been taken."""
    twin = shard()
    send(twin, "acme", "a")
    [first] = take(twin)
    twin.settle([unknown(first)])
    twin.settle([resend(first)])
    [second] = take(twin)
    twin.settle([accepted(first)])
    assert twin.settle([retry(second, 0)]) == ["submitted"]


def test_a_message_that_goes_back_after_its_deadline_expires() -> None:
    """There is no use in trying it again."""
    twin = shard()
    send(twin, "acme", "a", span=5)
    [leased] = take(twin)
    twin.now_us += 5
    assert twin.settle([retry(leased, 0)]) == ["expired"]
    assert states(twin, "acme/a") == ["queued", "expired"]
