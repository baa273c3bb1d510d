"""The record's fields are the schema that the scripts share."""

import msgspec
import pytest

from smsd.store.record import ECHOED_MOST, INDEX, LaneState, Record, decode, echo_of


def test_the_scripts_indexes_are_the_fields_in_order() -> None:
    """Lua counts from 1; the names are the fields' in capitals."""
    assert (INDEX["VERSION"], INDEX["STATE"], INDEX["CLASS"], INDEX["TRIES"]) == (1, 2, 4, 26)
    assert (INDEX["L_STATUS"], INDEX["L_HEAD"], INDEX["L_COST"]) == (1, 2, 7)
    assert len(INDEX) == len(Record.__struct_fields__) + len(LaneState.__struct_fields__)


def test_another_schema_is_an_error_not_a_guess() -> None:
    """A record that is too short does not decode."""
    with pytest.raises(msgspec.ValidationError):
        decode(msgspec.msgpack.encode([1, "queued"]))


@pytest.mark.parametrize("meta", ["", "a", "é" * 60, "x" * 256])
def test_what_events_repeat_is_kept_whatever_its_length(meta: str) -> None:
    """The field is a string of msgpack with a head of one, two or three bytes before the array in it."""
    pairs = {"segments": "1", "meta": meta} if meta else {}
    assert decode(_packed(echo_of(pairs))).echoed == pairs


def test_a_record_of_before_says_the_same() -> None:
    """What its events repeat was text then."""
    assert decode(_packed("segments\x1f1\x1fto_country\x1fIE")).echoed == {"segments": "1", "to_country": "IE"}


def test_more_than_the_scripts_can_step_over_is_refused() -> None:
    """An array of more than 15 has a longer head."""
    with pytest.raises(ValueError, match="at most 7"):
        echo_of({str(n): "x" for n in range(ECHOED_MOST + 1)})


def _packed(echo: object) -> bytes:
    fields = [1, "queued", 0, "reminder", "default", "lane", *[0] * 6, "", 0, "print", 0, 0, 0]
    return msgspec.msgpack.encode([*fields, echo, [], [], 0, 0, "", "", 0])
