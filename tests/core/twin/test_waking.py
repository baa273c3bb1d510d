"""Places of waiting give back what they hold when its time has come."""

from tests.support.twin import CLASSES, SECOND, limits, send, shard, take, taken_ids


def test_due_messages_come_with_the_heavier_class_first() -> None:
    """A message waits for its time and enters its lane then."""
    twin = shard()
    send(twin, "acme", "m", "marketing", not_before=twin.now_us + SECOND)
    send(twin, "acme", "r", not_before=twin.now_us + SECOND)
    assert take(twin) == []
    twin.now_us += SECOND
    assert taken_ids(twin) == ["acme/r", "acme/m"]


def test_a_limit_wakes_no_more_than_it_admits_and_passes_paused_lanes_over() -> None:
    """The first who is not paused wakes; the paused ones leave the line."""
    twin = shard(senders={"Salon": limits("1/s")})
    for tenant in ("t1", "t2", "t3"):
        send(twin, tenant, "a")
    assert taken_ids(twin) == ["t1/a"]
    twin.pause("t:t2")
    twin.now_us += SECOND + 20_000
    assert taken_ids(twin) == ["t3/a"]
    assert {lane.where for lane in twin.book.lanes.values()} == {"paused"}


def test_a_limit_that_is_gone_lets_everybody_go() -> None:
    """Without the limit nobody waits at it any more, and the line is thrown away."""
    twin = shard(senders={"Salon": limits("1/h")})
    for tenant in ("t1", "t2", "t3"):
        send(twin, tenant, "a")
    assert len(take(twin)) == 1
    twin.put(shard().book.settings)
    assert len(take(twin)) == 2
    assert twin.book.lines == {}


def test_lifted_marks_make_lanes_ready_however_many_stay() -> None:
    """A resumed tenant leaves although thirty others stay paused."""
    twin = shard(classes=CLASSES)
    for i in range(31):
        send(twin, f"t{i}", "a")
        twin.pause(f"t:t{i}")
    assert take(twin, 100) == []
    twin.resume("t:t30")
    twin.sweep({})
    assert taken_ids(twin) == ["t30/a"]
