"""Messages: their key, their reference, and that a record of today still decodes tomorrow."""

import msgspec

from smsd.message import Leased, Message


def made() -> Message:
    """A usual message."""
    return Message("acme", "a-1", "+353861234567", "Salon", "Hi", "reminder", "default", "GSM-7", 1, "IE")


def test_a_message_is_named_by_tenant_and_id() -> None:
    """The key joins both by a character of neither alphabet; the reference adds the attempt."""
    assert made().key == "acme/a-1"
    assert Leased(made(), "main", 2, 9, 0, 0).reference == "2.acme/a-1"


def test_a_message_without_the_later_fields_still_decodes() -> None:
    """Fields are appended with defaults, so that what the release before stored can be read."""
    short = msgspec.msgpack.encode(list(msgspec.to_builtins(made()))[:10])
    assert msgspec.msgpack.decode(short, type=Message) == made()
