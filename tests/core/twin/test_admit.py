"""Admission: what becomes of each entry."""

from smsd.message import Cancel, Rejection
from tests.support.twin import SECOND, send, shard, states, take


def test_the_same_message_is_taken_once() -> None:
    """A repeat changes nothing, the same id with other content is a conflict."""
    twin = shard()
    assert send(twin, "acme", "a") == "taken"
    assert send(twin, "acme", "a") == "repeated"
    assert send(twin, "acme", "a", body="Other.") == "conflict"
    assert states(twin, "acme/a") == ["queued"]


def test_a_cancel_that_comes_first_is_remembered() -> None:
    """The send that meets it ends cancelled, and what it replaces is withdrawn all the same."""
    twin = shard()
    send(twin, "acme", "old")
    assert twin.admit([Cancel("acme", "new", "")], "reminder") == ["unknown"]
    assert send(twin, "acme", "new", replaces="old") == "cancelled"
    assert states(twin, "acme/old")[-1] == "cancelled"
    assert twin.events[-1]["replaced"] == "cancelled"


def test_a_replacement_says_what_became_of_the_other() -> None:
    """cancelled where it had not left, left where it had, unknown where there is none."""
    twin = shard()
    send(twin, "acme", "gone")
    take(twin)
    for old, told in (("gone", "left"), ("nobody", "unknown")):
        send(twin, "acme", f"after-{old}", replaces=old)
        assert twin.events[-1]["replaced"] == told


def test_a_rejection_is_an_event_about_the_entry() -> None:
    """It has the number 0 and the id of the entry."""
    twin = shard()
    assert twin.admit([Rejection("bad_body", "Empty.", "7-1", "acme", "x", ())], "reminder") == ["rejected"]
    event = twin.events[-1]
    assert (event["seq"], event["id"], event["given_id"], event["final"]) == ("0", "reminder-7-1", "x", "1")


def test_a_message_with_a_time_is_due() -> None:
    """Its event tells when."""
    twin = shard()
    assert send(twin, "acme", "a", not_before=twin.now_us + SECOND) == "due"
    assert twin.events[-1]["due"] == str((twin.now_us + SECOND) // 1000)
