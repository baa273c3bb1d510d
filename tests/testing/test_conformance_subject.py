"""What the rules work on: samples that are what they claim, and requests that are read as a receiver would."""

from random import Random

import pytest

from smsd.provider import HttpRequest
from smsd.testing import conformance_subject as subject
from smsd.testing.conformance_subject import Broken, Vector
from smsd.text import segment


def test_samples_are_what_they_are_called() -> None:
    """The texts cover one segment and ten, both alphabets, the extension table and characters beyond the BMP."""
    ten, emoji = segment(subject.BODIES["ten segments"]), segment(subject.BODIES["emoji"])
    assert (ten.encoding, ten.count) == ("GSM-7", 10)
    assert (emoji.encoding, emoji.units > len(subject.BODIES["emoji"])) == ("UCS-2", True)
    extension = segment(subject.BODIES["extension characters"])
    assert (extension.encoding, extension.units > len(subject.BODIES["extension characters"])) == ("GSM-7", True)
    assert len(list(subject.attempts())) == len(subject.BODIES) * len(subject.SENDERS)


def test_an_attempt_is_as_the_core_makes_it() -> None:
    """The callback URL holds the reference, escaped; the segments are counted."""
    one = subject.attempt(reference="2.acme/ü")
    assert one.callback_url == "https://sms.example.com/webhooks/vetted/status?ref=2.acme%2F%C3%BC"
    assert (one.message.segments, subject.attempt(callback_url="").callback_url) == (1, "")


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (HttpRequest("GET", "https://x/a%2Fb?c=d+e&f"), {"a/b", "d e", ""}),
        (
            HttpRequest("POST", "https://x/", (("Content-Type", "application/json"),), b'{"a":[{"b":"c"}],"n":7}'),
            {"c", "7"},
        ),
        (
            HttpRequest("POST", "https://x/", (("content-type", "application/x-www-form-urlencoded"),), b"a=b%26+c"),
            {"b& c"},
        ),
        (HttpRequest("POST", "https://x/", (("X-Key", "k"),), b"<to>1</to>"), {"<to>1</to>", "k"}),
    ],
)
def test_strings_are_read_as_a_receiver_would(request_: HttpRequest, found: set[str]) -> None:
    """Path, query, headers and body are unescaped once, as their format says."""
    assert found <= subject.strings(request_)


def test_accidents_come_back() -> None:
    """The same seed does the same damage, and damage it is."""
    text = b"MessageSid=SM1&MessageStatus=delivered"
    first = [subject.mutated(Random(seed), text, [b"null"]) for seed in range(50)]
    assert first == [subject.mutated(Random(seed), text, [b"null"]) for seed in range(50)]
    assert sum(damaged != text for damaged in first) > 40


def test_hold_is_no_assert() -> None:
    """A rule is broken in optimised bytecode as well."""
    subject.hold(1, "kept")
    with pytest.raises(Broken, match="otherwise"):
        subject.hold(0, "otherwise")


def test_a_vector_reads_the_shared_shape() -> None:
    """Header names become lower case, one expectation is a list of one, an attempt is made of its words."""
    vector = Vector(
        kind="receipt", url="https://x/", headers={"X-Sig": "1"}, body="b", expect={"signature_valid": False}
    )
    assert vector.callback.headers == {"x-sig": "1"}
    assert (vector.expected, vector.genuine) == ([{"signature_valid": False}], False)
    asked = subject.asked(Vector(kind="look_up", attempt={"to": "+1", "from": "S", "body": "x", "leased_us": 5}))
    assert (asked.message.to, asked.message.sender, asked.message.body, asked.leased_us) == ("+1", "S", "x", 5)
