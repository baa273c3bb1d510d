"""The record's fields are the schema that the scripts share."""

import msgspec
import pytest

from smsd.store.record import INDEX, Record, decode


def test_the_scripts_indexes_are_the_fields_in_order() -> None:
    """Lua counts from 1; the names are the fields' in capitals."""
    assert (INDEX["VERSION"], INDEX["STATE"], INDEX["CLASS"], INDEX["TRIES"]) == (1, 2, 4, 26)
    assert len(INDEX) == len(Record.__struct_fields__)


def test_another_schema_is_an_error_not_a_guess() -> None:
    """A record that is too short does not decode."""
    with pytest.raises(msgspec.ValidationError):
        decode(msgspec.msgpack.encode([1, "queued"]))
