"""The story of one message, in plain words."""

from smsd.cli.story import REASONS, WORDS, steps, tell
from smsd.message import State
from smsd.provider import REFUSALS
from smsd.store.record import FLAG_CANCEL, FLAG_DOUBLE, Record

AT = 1_700_000_000_000  # ms: 2023-11-14 22:13:20 UTC
ECHO = "\x1f".join(["segments", "2", "encoding", "GSM-7", "to_country", "IE", "campaign", "spring"])


def record(state: str, *history: str, **more: object) -> Record:
    fields: dict[str, object] = {
        "version": 1, "state": state, "seq": 1, "class_": "reminder", "route": "default", "lane": "", "cost": 2,
        "deadline": (AT + 3_600_000) * 1000, "arrival": 1, "due": 0, "attempt": 1, "fence": 1, "provider": "main",
        "flags": 0, "print": "", "entered": AT * 1000, "leased": 0, "submitted": 0, "echo": ECHO, "taken": [],
        "parked": [], "nos": 0, "fails": 0, "waited": "", "hist": "\n".join(history), "tries": 0, **more,
    }  # fmt: skip
    return Record(**{name: fields[name] for name in Record.__struct_fields__ if name in fields})  # pyright: ignore


def test_a_delivered_message() -> None:
    """Each step has its time, how long after the entry it was, and what happened."""
    told = tell(
        "acme/r-1",
        record(
            "delivered",
            f"{AT + 12}\tsubmitted\tprovider\tmain\tprovider_id\tSM1\tattempt\t1",
            f"{AT + 2500}\tdelivered\tprovider\tmain\tprovider_id\tSM1\tattempt\t1",
        ),
        AT * 1000,
    )
    assert told == [
        "message r-1 of tenant acme: delivered",
        "  2023-11-14 22:13:20.000Z     +0.000 s  "
        "taken by smsd: reminder, route default, 2 x GSM-7 to IE, campaign spring",
        "  2023-11-14 22:13:20.012Z     +0.012 s  taken by the provider (provider main, id SM1, attempt 1)",
        "  2023-11-14 22:13:22.500Z     +2.500 s  delivered (provider main, id SM1, attempt 1)",
    ]


def test_a_message_that_waits_for_a_retry() -> None:
    """What it waits for, and until when, is told at the end."""
    told = tell(
        "acme/r-1",
        record("queued", f"{AT + 50}\tqueued\tdue\t{AT + 2050}", due=(AT + 2050) * 1000, waited="provider_down"),
        (AT + 100) * 1000,
    )
    assert told[2].endswith("waits until 2023-11-14 22:13:22.050Z")
    assert told[-1] == (
        "It waits to be sent (not before 2023-11-14 22:13:22.050Z; no provider of its route was alive in time; "
        "it expires at 2023-11-14 23:13:20.000Z)."
    )


def test_a_failed_message_says_why() -> None:
    """A reason is told in words, with the vendor's code beside it."""
    told = tell("acme/r-1", record("failed", f"{AT}\tfailed\treason\tbad_number\terror_code\t21211"), AT)
    assert told[-1].endswith("failed for good: the number cannot be reached (code 21211)")


def test_a_possible_duplicate_is_told() -> None:
    """A message that was sent again although the first attempt was not certain says so."""
    assert "may have it twice" in tell("acme/r-1", record("submitted", flags=FLAG_DOUBLE), AT)[-1]


def test_a_cancel_on_the_way_is_told() -> None:
    """A message that was cancelled while it was leaving says what becomes of it."""
    assert "It was cancelled" in tell("acme/r-1", record("unknown", flags=FLAG_CANCEL), AT)[-1]


def test_a_cancel_without_its_message() -> None:
    """Of a message of which only the cancel is known, that is all there is to tell."""
    told = tell("acme/r-1", record("tomb", echo=""), AT)
    assert told == ["message r-1 of tenant acme: tomb", told[-1]]
    assert told[-1].startswith("Only its cancel is known yet")


def test_the_words_cover_every_state_and_reason() -> None:
    """No state that an event tells and no reason of a refusal is without words."""
    assert {str(state) for state in State} - {"leased"} <= WORDS.keys()
    assert REASONS.keys() >= REFUSALS


def test_the_history_is_data_too() -> None:
    """For JSON the same steps come with their facts as they are."""
    (first, second) = steps(record("delivered", f"{AT + 1}\treceipt\tstatus\tsent\tattempt\t1\traw\tSENT"))
    assert (first.what, first.facts["class"], first.facts["campaign"]) == ("taken", "reminder", "spring")
    assert (second.at_ms, second.what, second.facts["status"]) == (AT + 1, "receipt", "sent")
