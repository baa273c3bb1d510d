"""Reading what vendors send: values that are not there, numbers in their words, and what bare statuses mean."""

from collections.abc import Callable
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.provider import (
    Accepted,
    Answer,
    Deferred,
    HttpResponse,
    Refused,
    Throttled,
    Unknown,
    Unusable,
)
from smsd_providers import _wire

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", {"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, "deep": [{"x": "y"}]}),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/m~0n", 8),
        ("/deep/0/x", "y"),
        ("/foo/2", None),
        ("/foo/-1", None),
        ("/foo/-", None),
        ("/foo/bar", None),
        ("/foo/99999999999999999999", None),
        ("/nothing/there", None),
    ],
)
def test_pick_follows_rfc_6901(pointer: str, value: object) -> None:
    """A pointer finds what RFC 6901 says, and None where there is nothing."""
    document = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, "deep": [{"x": "y"}]}
    assert _wire.pick(document, pointer) == value


@given(JSON, st.text(max_size=6), st.binary(max_size=20))
def test_reading_never_raises(document: object, pointer: str, body: bytes) -> None:
    """Whatever a vendor sends can be looked into."""
    assert isinstance(_wire.scalar(_wire.pick(document, pointer)), str)
    _wire.decode(body)


# What a form is made of, without and with more escapes than a receipt has.
PLAIN = ["&", "=", "+", "%2B", "é", "To", "353", ";"]
ESCAPES = ["%2b", "%", "%2", "B", "%C3%A9", "%ff", "?", "#"]
FORMS = st.lists(st.sampled_from(PLAIN), max_size=12) | st.lists(st.sampled_from(PLAIN + ESCAPES), max_size=12)


def outcome(read: Callable[[], object]) -> object:
    """What was read, or that it could not be."""
    try:
        return read()
    except ValueError:
        return "cannot be read"


@given(FORMS.map(lambda pieces: "".join(pieces).encode()) | st.binary(max_size=20), st.integers(0, 5))
def test_a_form_is_read_as_urllib_reads_it(body: bytes, most: int) -> None:
    """The same pairs in the same order come of any body, and too many are refused alike."""
    text = body.decode("utf-8", "replace")
    assert outcome(lambda: _wire.form_pairs(body, most)) == outcome(
        lambda: parse_qsl(text, keep_blank_values=True, max_num_fields=most)
    )


WHOLE = ["https://", "//", "h.example", "/a", "?ref=", "1.acme", "%2F", "%3A", "m:1", "~"]
BROKEN = ["&ref=", "?", "&", "=", "#", "+", "%2f", "%", "[", "]", "é", ";", "\t", "\N{FULLWIDTH SOLIDUS}"]
PARTS = st.lists(st.sampled_from(WHOLE), max_size=8) | st.lists(st.sampled_from(WHOLE + BROKEN), max_size=8)
URLS = PARTS.map("".join)


@given(URLS | URLS.map("https://h.example/webhooks/main/status?ref=1.acme%2F".__add__))
def test_a_query_is_read_as_urllib_reads_it(url: str) -> None:
    """The first value of a name is the same for any URL, and one that cannot be split cannot be read."""
    assert outcome(lambda: _wire.query_value(url, "ref")) == outcome(
        lambda: parse_qs(urlsplit(url).query).get("ref", [""])[0]
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "x"), (7, "7"), (1.5, "1.5"), (True, ""), (None, ""), (["x"], ""), ({"x": "y"}, "")],
)
def test_scalar_is_a_string_or_a_number(value: object, text: str) -> None:
    """Only strings and numbers read as text."""
    assert _wire.scalar(value) == text


def test_too_deep_json_is_no_json() -> None:
    """A document that is nested without end reads as none."""
    assert _wire.decode(b"[" * 100_000) is None


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3), ("0", 0), ("999", 999), ("1000", 0), ("-1", 0), ("٣", 0), ("", 0), ("9" * 5000, 0)]
)
def test_count_is_small(text: str, number: int) -> None:
    """A count is a small number of ASCII digits, or 0."""
    assert _wire.count(text) == number


@pytest.mark.parametrize(
    ("words", "masked"),
    [
        ("The 'To' number +15558675310 is not valid", "The 'To' number *** is not valid"),
        ("To: +44 7700 900-123, code 21211", "To: ***, code 21211"),
        ("(353) 861234567", "***"),
        ("error 30007", "error 30007"),
    ],
)
def test_said_hides_phone_numbers(words: str, masked: str) -> None:
    """A vendor's words lose the numbers that are as long as a phone number."""
    assert _wire.said(words) == masked


def test_said_is_short() -> None:
    """A vendor's page does not fill an event."""
    assert len(_wire.said("x" * 10_000)) == _wire.DETAIL_MAX


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Tue, 24 Nov 2026 05:01:45 GMT", "date": "Tue, 24 Nov 2026 05:01:15 GMT"}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 05:01:15 GMT", "date": "Tue, 24 Nov 2026 05:01:45 GMT"}, 0.0),
        ({"retry-after": "Tue, 24 Nov 2026 05:01:45 GMT"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 05:01:45", "date": "Tue, 24 Nov 2026 05:01:15 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "1.2.3"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_needs_no_clock(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After is a number of seconds, or a date that is measured from the answer's own."""
    assert _wire.retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, Unknown("200", "d")),
        (302, Unknown("302", "d")),
        (400, Refused("unlisted", "400", "d")),
        (401, Unusable("the credentials were refused: d", "process", "401")),
        (403, Unusable("the account may not do this: d", "account", "403")),
        (408, Unknown("408", "d")),
        (409, Unknown("409", "d")),
        (425, Unknown("425", "d")),
        (429, Throttled(7.0, "429", "d")),
        (500, Unknown("500", "d")),
        (599, Unknown("599", "d")),
    ],
)
def test_by_status_is_what_http_says(status: int, answer: Answer) -> None:
    """A clear 4xx is a refusal, what may have been taken is Unknown, and nothing is Accepted."""
    assert _wire.by_status(HttpResponse(status, {"retry-after": "7"}, b""), "", "d") == answer


def test_an_id_does_not_come_from_a_table() -> None:
    """A table that says accepted cannot name the message, so it is Unknown."""
    assert _wire.filled(Accepted(""), HttpResponse(200, {}, b""), "c", "d") == Unknown("c", "d")
    assert _wire.filled(Deferred(), HttpResponse(200, {}, b""), "c", "d") == Deferred("c", "d")


def test_basic_is_rfc_7617() -> None:
    """The header is the one of RFC 7617 §2."""
    assert _wire.basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


STRANGE = ["plain", "a b&c=d+e%f", "Grüße 👍 €", "~tilde-dash_dot.", "\n\r\t\x00", "/?#[]@!$'()*,;:"]


@pytest.mark.parametrize("text", STRANGE)
def test_a_form_is_written_as_urllib_writes_it(text: str) -> None:
    """Each value is escaped like urlencode's; a field without a value is left out."""
    assert _wire.form({"Body": text, "Empty": "", "To": "+353861234567"}) == urlencode(
        {"Body": text, "To": "+353861234567"}
    )


def test_an_instant_is_told_in_utc() -> None:
    """To the microsecond."""
    assert _wire.instant(1_795_561_297_000_001).isoformat() == "2026-11-24T23:01:37.000001+00:00"


@pytest.mark.parametrize(
    ("date", "at"), [("Thu, 01 Jan 1970 00:00:01 GMT", "1970-01-01T00:00:01+00:00"), ("soon", None), ("", None)]
)
def test_an_answer_tells_when_it_was_given(date: str, at: str | None) -> None:
    """By its Date, where that can be read."""
    told = _wire.answered_at({"date": date})
    assert (told and told.isoformat()) == at
