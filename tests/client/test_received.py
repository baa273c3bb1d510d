"""Events and texts as typed values."""

from smsd.client.received import event, inbound


def test_an_event_has_its_types() -> None:
    """Numbers, switches and the meta that was given; unknown fields of a newer smsd are ignored."""
    told = event({
        b"v": b"1", b"event_id": b"acme/m1/2", b"id": b"m1", b"tenant": b"acme", b"class": b"reminder", b"seq": b"2",
        b"state": b"delivered", b"final": b"1", b"at": b"1700000000000", b"attempt": b"1", b"meta": b'{"a":1}',
        b"late": b"1", b"brand_new": b"x",
    })  # fmt: skip
    assert (told.class_, told.seq, told.final, told.at_ms, told.late) == ("reminder", 2, True, 1700000000000, True)
    assert (told.meta, told.reason, told.possible_duplicate) == ({"a": 1}, "", False)


def test_a_text_has_its_types() -> None:
    """A repeat of a text has the same event_id."""
    told = inbound({
        b"v": b"1", b"at": b"1700000000000", b"provider": b"main", b"provider_id": b"SM1", b"from": b"+353861234567",
        b"to": b"+353860000000", b"body": b"C", b"parts": b"1", b"tenant": b"",
    })  # fmt: skip
    assert (told.event_id, told.from_, told.parts, told.tenant) == ("main/SM1", "+353861234567", 1, "")
