"""The story of one message and the limits of a tenant, in plain words."""

from typing import Any

import msgspec

from smsd.cli.story import REASONS, SOURCES, WORDS, table, tell
from smsd.control.limits import Limits, Use
from smsd.control.queue import Hold
from smsd.control.story import Delays, OptedOut, Step, Story
from smsd.core import optout
from smsd.message import State
from smsd.provider import REFUSALS

AT = 1_700_000_000_000  # ms: 2023-11-14 22:13:20 UTC
TAKEN = Step(
    AT,
    "taken",
    {
        "class": "reminder",
        "route": "default",
        "segments": "2",
        "encoding": "GSM-7",
        "to_country": "IE",
        "campaign": "x",
    },
)


def made(state: str, *steps: Step, **more: Any) -> Story:
    plain = Story(
        tenant="acme", id="r-1", state=state, final=False, class_="reminder", route="default", campaign="x",
        attempts=1, taken_ms=AT, deadline_ms=AT + 3_600_000, cancel_asked=False, possible_duplicate=False,
        delays=Delays(), holds=[], history=[TAKEN, *steps],
    )  # fmt: skip
    return msgspec.structs.replace(plain, **more)


def test_a_delivered_message() -> None:
    """Each step has its time, how long after the entry it was, and what happened; then where the time went."""
    came = {"provider": "main", "provider_id": "SM1", "attempt": "1"}
    told = tell(
        made("delivered", Step(AT + 12, "submitted", came), Step(AT + 2500, "delivered", came),
             delays=Delays(7, 0, 5, 2488)), AT,
    )  # fmt: skip
    assert told == [
        "message r-1 of tenant acme: delivered",
        "  2023-11-14 22:13:20.000Z     +0.000 s  taken by smsd: reminder, route default, 2 x GSM-7 to IE, campaign x",
        "  2023-11-14 22:13:20.012Z     +0.012 s  taken by the provider (provider main, id SM1, attempt 1)",
        "  2023-11-14 22:13:22.500Z     +2.500 s  delivered (provider main, id SM1, attempt 1)",
        "Delays: 0.007 s in the queue, 0.000 s of it at limits, 0.005 s until the provider answered, "
        "2.488 s until its receipt.",
    ]


def test_a_message_that_waits_says_for_what_and_how_long() -> None:
    """Each hold is a sentence with the time from now; a message that nothing holds says that."""
    hold = Hold("limit", "t:acme", AT + 130_000, True, "tenant acme's limit allows 5/s: about then, an estimate")
    told = tell(made("queued", Step(AT + 50, "queued", {"due": str(AT + 2050)}), holds=[hold]), AT + 10_000)
    assert told[2].endswith("waits until 2023-11-14 22:13:22.050Z")
    assert told[3] == "Now: tenant acme's limit allows 5/s: about then, an estimate, in 2 min."
    assert told[4] == "It expires at 2023-11-14 23:13:20.000Z, if it has not left by then."
    late = tell(made("queued", holds=[msgspec.structs.replace(hold, until_ms=AT + 4_000_000)]), AT)
    assert late[-1] == "By this it will not leave in time: it expires at 2023-11-14 23:13:20.000Z."
    assert "nothing holds it" in tell(made("queued"), AT)[2]


def test_a_retry_says_that_the_provider_did_not_take_it() -> None:
    """With whose answer it was, and when the next attempt is due."""
    facts = {"provider": "main", "attempt": "1", "error_code": "20429", "due": str(AT + 2050)}
    told = tell(made("queued", Step(AT, "queued", facts)), AT)
    assert told[2].endswith(
        "not taken: it is tried again at 2023-11-14 22:13:22.050Z (provider main, attempt 1, code 20429)"
    )
    back = tell(made("queued", Step(AT, "queued", {"provider": "main", "detail": "nobody found it"})), AT)
    assert back[2].endswith("not taken: back in the queue (provider main, because nobody found it)")


def test_a_failed_message_says_why() -> None:
    """A reason is told in words, with the vendor's code beside it."""
    told = tell(made("failed", Step(AT, "failed", {"reason": "bad_number", "error_code": "21211"})), AT)
    assert told[-1].endswith("failed for good: the number cannot be reached (code 21211)")


def test_a_possible_duplicate_is_told() -> None:
    """A message that was sent again although the first attempt was not certain says so."""
    assert "may have it twice" in tell(made("submitted", possible_duplicate=True), AT)[-1]


def test_a_cancel_on_the_way_is_told() -> None:
    """A message that was cancelled while it was leaving says what becomes of it."""
    assert "It was cancelled" in tell(made("unknown", cancel_asked=True), AT)[-1]


def test_a_cancel_without_its_message() -> None:
    """Of a message of which only the cancel is known, that is all there is to tell."""
    told = tell(made("tomb", history=[]), AT)
    assert told == ["message r-1 of tenant acme: not known, but for its cancel", told[-1]]
    assert told[-1].startswith("Only its cancel is known yet")


def test_the_words_cover_every_state_and_reason() -> None:
    """No state that an event tells and no reason of a refusal is without words."""
    assert {str(state) for state in State} - {"leased"} <= WORDS.keys()
    assert REASONS.keys() >= REFUSALS


def test_limits_are_a_table_that_names_what_binds() -> None:
    """A line for each with whose it is, what is used, when it admits and where it comes from."""

    def use(scope: str, name: str, limit: str, **more: Any) -> Use:
        plain = {
            "source": "[tenant_defaults]",
            "used": 0,
            "of": 1,
            "opens_ms": 0,
            "waiting": 0,
            "binds": False,
            "paced": True,
        }
        return Use(scope=scope, name=name, limit=limit, **plain | more)

    uses = [
        use("tenant", "acme", "5/s"),
        use("sender", "A", "1/m", used=1, opens_ms=AT + 30_000, waiting=2, binds=True),
    ]
    limits = Limits(tenant="acme", known=True, plan="gold", route="default", queued=9, uses=uses, pool=("A", "B"))
    told = table(limits, AT)
    assert told[0] == "tenant acme (plan gold), route default, 9 queued"
    assert told[1] == "senders, each person always the same of: A, B"
    assert told[4].split() == [
        "*",
        "sender",
        "A",
        "1/m",
        "1",
        "of",
        "1",
        "at",
        "once",
        "in",
        "30.0",
        "s",
        "2",
        "lanes",
        "[tenant_defaults]",
    ]
    assert told[-1] == "* binds now: sender A: 1/m"
    idle = Limits(tenant="acme", known=True, plan="", route="default", queued=0, uses=uses[:1], paused=["it is paused"])
    assert table(idle, AT)[-2:] == ["Paused: it is paused.", "None binds now."]
    assert table(msgspec.structs.replace(idle, paused=[]), AT)[-1].endswith("a message would leave at once.")


def test_a_message_whose_recipient_has_opted_out() -> None:
    """Why, of what, since when and how it came about; no number."""
    closed = OptedOut("tenant", "marketing", AT - 86_400_000, "inbound", "main")
    told = tell(
        made("suppressed", Step(AT, "suppressed", {"reason": "opted_out", "detail": "marketing of this tenant"}),
             opted_out=[closed]), AT,
    )  # fmt: skip
    assert told[2:] == [
        "  2023-11-14 22:13:20.000Z     +0.000 s  not sent: the recipient has opted out, of marketing of this tenant",
        "Closed to the recipient: marketing of this tenant, since 2023-11-13 22:13:20.000Z, by a text of theirs "
        "(main).",
    ]


def test_every_way_onto_the_list_has_words() -> None:
    """None is told by its name in the code."""
    assert set(SOURCES) == set(optout.SOURCES)
