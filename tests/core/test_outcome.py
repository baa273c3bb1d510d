"""Outcomes travel as arrays: their order is what the settle script reads."""

import msgspec

from smsd.core.outcome import Accepted, Found, Resend, Retry


def test_an_outcome_is_an_array_that_starts_with_key_fence_kind_attempt_provider() -> None:
    """The first five places are the same for every kind; the rest is the kind's own."""
    assert msgspec.to_builtins(Accepted("a/1", 7, "accepted", 2, "main", "SM1")) == [
        "a/1",
        7,
        "accepted",
        2,
        "main",
        "SM1",
        (),
    ]
    assert msgspec.to_builtins(Retry("a/1", 7, "retry", 2, "main", 99, 1, "", ("reason", "x")))[5:] == [
        99, 1, "", ("reason", "x"),
    ]  # fmt: skip


def test_receipts_that_a_look_up_told_keep_their_order() -> None:
    """Each is status, reason, error_code, raw."""
    found = Found("a/1", 7, "found", 2, "main", "SM1", (("delivered", "", "", "read"),))
    assert msgspec.to_builtins(found)[6] == (("delivered", "", "", "read"),)
    assert msgspec.to_builtins(Resend("a/1", 7, "resend", 2, "main", "main", ()))[5:] == ["main", (), 0]
