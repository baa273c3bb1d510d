"""The fields of an entry, flat and as JSON, and the instants in them against datetime."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.fields import ENTRY_MAX_BYTES, FAULT_OF, JSON_READ_MAX_BYTES, parse_instant, read, unknown_fields

texts = st.dictionaries(st.sampled_from(sorted(FAULT_OF)), st.text(max_size=30))


def flat(fields: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in fields.items()]


def document(value: object) -> list[tuple[bytes, bytes]]:
    return [(b"json", json.dumps(value).encode())]


def fault_of(fields: list[tuple[bytes, bytes]]) -> tuple[str, str]:
    fault = read(fields)[1]
    assert fault is not None
    return fault.reason, fault.detail


@given(texts)
def test_flat_and_json_agree(fields: dict[str, str]) -> None:
    """Texts come out as they went in, flat or as JSON."""
    assert read(flat(fields)) == (fields, None)
    assert read(document(fields)) == (fields, None)


@pytest.mark.parametrize("name", sorted(set(FAULT_OF) - {"traceparent"}))
def test_not_utf8(name: str) -> None:
    """Bytes that are not UTF-8 are the fault of their field, and the others are read all the same."""
    good = "tenant" if name != "tenant" else "id"
    given, fault = read([(name.encode(), b"\xff\xfe"), (good.encode(), b"a")])
    assert given == {good: "a"}
    assert fault is not None
    assert (fault.reason, fault.detail) == (FAULT_OF[name], f"{name}: not UTF-8")


@pytest.mark.parametrize("name", sorted(set(FAULT_OF) - {"traceparent", "meta"}))
@pytest.mark.parametrize("value", [True, 1.5, [], {}])
def test_wrong_json_type(name: str, value: object) -> None:
    """A JSON value of the wrong type is the fault of its field, and the others are read all the same."""
    good = "tenant" if name != "tenant" else "id"
    given, fault = read(document({name: value, good: "a"}))
    assert given == {good: "a"}
    assert fault is not None
    assert fault.reason == FAULT_OF[name]
    assert fault.detail.startswith(f"{name}: a JSON string")


def test_number_as_id() -> None:
    """A number as id is a fault, but readable, so that the rejection can say whose it is."""
    given, fault = read(document({"tenant": 17, "id": 123456}))
    assert given == {"tenant": "17", "id": "123456"}
    assert fault is not None
    assert fault.reason == "bad_tenant"


def test_traceparent_is_no_fault() -> None:
    """A trace context that cannot be read is left out."""
    assert read([(b"traceparent", b"\xff")]) == ({}, None)
    assert read(document({"traceparent": ["a"]})) == ({}, None)


def test_json_values() -> None:
    """null is absent, times may be whole numbers, meta may be any value and comes back compact and exact."""
    times, meta = b'"not_before": 1700000000000, "not_after": 1.8e12', b'{"n": 12345678901234567890123, "b": 1.50}'
    assert read([(b"json", b'{"id": null, %s, "meta": %s}' % (times, meta))]) == (
        {"not_before": "1700000000000", "not_after": "1800000000000", "meta": '{"n":12345678901234567890123,"b":1.50}'},
        None,
    )
    assert read(document({"meta": '{"a": 1}'})) == ({"meta": '{"a": 1}'}, None)
    assert read(document({"meta": [1, 2]})) == ({"meta": "[1,2]"}, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "an object"),
        (b"null", "an object"),
        (b'"a"', "an object"),
        (b'{"a": 1} x', "trailing"),
        (b'{"tenant": "\\ud800"}', "inside an emoji"),
        (b'{"body": "\\uD83D\\uDC4B \\uD83D"}', "inside an emoji"),
        (b'{"body": "\\udc4b"}', "surrogate"),
        (b'{"body": "\\ud83d\\udc4b"', "truncated"),
        (b'{"tenant": "\xff"}', "UTF-8"),
        (b'{"x": ' + b"[" * 20000 + b"]" * 20000 + b"}", "deep"),
        (b'{"x": NaN}', "malformed"),
    ],
)
def test_bad_json(text: bytes, says: str) -> None:
    """What is no JSON object is bad_json, with a sentence that says where or why."""
    reason, detail = fault_of([(b"json", text)])
    assert reason == "bad_json"
    assert detail.startswith("json: ")
    assert any(word in detail for word in says.split("|"))


def test_json_decides() -> None:
    """Beside a json field nothing else counts, and it counts as unknown."""
    fields = [(b"tenant", b"flat"), *document({"id": "a", "colour": "red"}), (b"body", b"flat")]
    assert read(fields) == ({"id": "a"}, None)
    assert unknown_fields(fields) == 3
    assert unknown_fields([(b"json", b"["), (b"body", b"flat")]) == 1


def test_last_counts() -> None:
    """Of a field that comes twice the last counts, as in JSON."""
    assert read([(b"id", b"a"), (b"id", b"b")]) == ({"id": "b"}, None)
    assert read([(b"id", b"a"), (b"id", b"\xff")])[0] == {}
    assert unknown_fields([(b"json", b'{"x": 1, "y": 2}'), (b"json", b'{"z": 1}')]) == 1
    assert read([(b"json", b"["), (b"json", b'{"id": "a", "id": "b"}')]) == ({"id": "b"}, None)


@given(st.lists(st.tuples(st.binary(max_size=10), st.binary(max_size=10))), texts)
def test_unknown(pairs: list[tuple[bytes, bytes]], known: dict[str, str]) -> None:
    """Unknown fields are counted, each time they come, and are not read."""
    others = [(b"x-" + name, value) for name, value in pairs]
    assert unknown_fields(others + flat(known)) == len(others)
    assert read(others + flat(known)) == (known, None)


def test_too_large() -> None:
    """An entry may have 64 KB, names and unknown fields counted; a larger one is still read for whose it is."""
    room = ENTRY_MAX_BYTES - len(b"tenant" + b"acme" + b"x")
    assert read([(b"tenant", b"acme"), (b"x", b"a" * room)]) == ({"tenant": "acme"}, None)
    given, fault = read([(b"tenant", b"acme"), (b"x", b"a" * (room + 1))])
    assert given == {"tenant": "acme"}
    assert fault is not None
    assert fault.reason == "too_large"
    given, fault = read(document({"tenant": "acme", "id": "a", "body": "a" * 100_000}))
    assert (given["tenant"], given["id"]) == ("acme", "a")
    assert fault is not None
    assert fault.reason == "too_large"


def test_far_too_large() -> None:
    """A json of more than a megabyte is not parsed at all."""
    given, fault = read(document({"tenant": "acme", "body": "a" * JSON_READ_MAX_BYTES}))
    assert given == {}
    assert fault is not None
    assert fault.reason == "too_large"


offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2199, 12, 1), timezones=offsets))  # noqa: DTZ001 - zones follow
def test_instants(moment: datetime) -> None:
    """RFC 3339 in every spelling, and epoch milliseconds, name the instant that datetime names."""
    expected = (moment - EPOCH) // timedelta(microseconds=1)
    text = moment.isoformat()
    assert parse_instant(text) == expected
    assert parse_instant(text.replace("T", " ")) == expected
    assert parse_instant(text.replace("T", "t")) == expected
    assert parse_instant(moment.astimezone(UTC).isoformat().replace("+00:00", "z")) == expected
    if expected >= 10**14:
        assert parse_instant(str(expected // 1000)) == expected // 1000 * 1000


@pytest.mark.parametrize(
    ("text", "expected_us"),
    [
        ("2026-03-29T09:00:00+01:00", 1_774_771_200_000_000),
        ("2026-03-29T08:00:00Z", 1_774_771_200_000_000),
        ("2026-03-29T08:00:00-00:00", 1_774_771_200_000_000),
        ("2026-03-29T08:00:00.1Z", 1_774_771_200_100_000),
        ("2026-03-29T08:00:00.1234567899Z", 1_774_771_200_123_456),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),  # a leap second is the first of the next minute
        ("2016-12-31T23:59:60.5Z", 1_483_228_800_000_000),
        ("100000000000", 100_000_000_000_000),
        ("7258118399999", 7_258_118_399_999_000),
        ("1970-01-01T00:00:00Z", 1),  # 0 means that no time was given
        ("0001-01-01T00:00:00+14:00", 1),
    ],
)
def test_instant_examples(text: str, expected_us: int) -> None:
    """Known instants, and the edges of what is taken."""
    assert parse_instant(text) == expected_us


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("99999999999", "milliseconds"),
        ("1700000000", "milliseconds"),
        ("0", "milliseconds"),
        ("7258118400000", "milliseconds"),
        ("1700000000000000", "milliseconds"),
        ("9" * 5000, "milliseconds"),
        ("2200-01-01T00:00:00Z", "2199"),
        ("2026-03-29T09:00:00", "offset"),
        ("2026-03-29 09:00:00.5", "offset"),
        ("2026-02-30T09:00:00Z", "calendar"),
        ("0000-01-01T00:00:00Z", "calendar"),
        ("2026-03-29", "RFC 3339"),
        ("20260329T090000Z", "RFC 3339"),
        ("2026-W13-7T09:00:00Z", "RFC 3339"),
        ("2026-03-29T09:00Z", "RFC 3339"),
        ("2026-03-29T24:00:00Z", "RFC 3339"),
        ("2026-03-29T09:00:61Z", "RFC 3339"),
        ("2026-03-29T09:00:00+24:00", "RFC 3339"),
        ("2026-03-29T09:00:00+01:60", "RFC 3339"),
        ("2026-03-29T09:00:00+01:00\n", "RFC 3339"),
        ("-1700000000000", "RFC 3339"),
        ("1700000000000.5", "RFC 3339"),
        ("١٧٠٠٠٠٠٠٠٠٠٠٠", "RFC 3339"),
        ("", "RFC 3339"),
        ("tomorrow", "RFC 3339"),
    ],
)
def test_no_instants(text: str, says: str) -> None:
    """What is no instant, or one in another unit, is refused with what would be right."""
    with pytest.raises(ValueError, match=says):
        parse_instant(text)


@given(st.text(max_size=40))
def test_any_instant(text: str) -> None:
    """Any text is an instant or a ValueError."""
    try:
        assert parse_instant(text) >= 1
    except ValueError as error:
        assert str(error) != ""  # noqa: PT017 - either way is right
