"""From a message to the entry of an inbox, and what is told before anything is written."""

from datetime import UTC, datetime
from typing import Any

import pytest

from smsd.client.letters import BadMessage, Outgoing, cancel, inbox, letter
from smsd.core.fields import read


def made(**more: Any) -> Outgoing:
    plain: dict[str, Any] = {"tenant": "acme", "to": "+353861234567", "body": "See you"}
    return Outgoing(**plain | more)


def test_an_entry_is_one_that_smsd_reads() -> None:
    """Every field arrives under the contract's name, times in milliseconds, meta as JSON, and nothing that is empty."""
    at = datetime(2026, 12, 24, 9, tzinfo=UTC)
    one = letter(
        made(id="m1", sender="Salon", not_before=at, not_after=1798113600000, campaign="spring", meta={"a": 1})
    )
    fields, fault = read([(name.encode(), value.encode()) for name, value in one.fields.items()])
    assert fault is None
    assert fields == {
        "tenant": "acme", "id": "m1", "to": "+353861234567", "body": "See you", "from": "Salon",
        "not_before": "1798102800000", "not_after": "1798113600000", "campaign": "spring", "meta": '{"a":1}',
    }  # fmt: skip


def test_a_message_without_an_id_gets_one() -> None:
    """So that writing it again after a lost reply is harmless; two messages never share one."""
    assert letter(made()).id != letter(made()).id


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tenant": "two words"}, "tenant"),
        ({"id": "a/b"}, "id"),
        ({"campaign": "x y"}, "campaign"),
        ({"replaces": "?"}, "replaces"),
        ({"body": ""}, "body"),
        ({"to": "+12"}, "to"),
        ({"meta": {"x": "y" * 3000}}, "meta"),
        ({"not_before": 1798102800}, "look like seconds"),
        ({"not_after": datetime(2026, 1, 1)}, "zone"),  # noqa: DTZ001 - that is the mistake
    ],
)
def test_a_slip_is_told_where_it_was_made(wrong: dict[str, Any], words: str) -> None:
    """Before anything is written, with what would be right; and never with the text."""
    with pytest.raises(BadMessage, match=words) as told:
        letter(made(**wrong))
    assert "See you" not in str(told.value)


def test_a_tenant_lives_in_the_shard_that_the_contract_says() -> None:
    """crc32 of its id, modulo the shards; the braces are part of the key."""
    assert inbox(letter(made()), 1) == "smsd:{0}:in:reminder"
    assert inbox(cancel("salon-42", "m1", "marketing"), 16) == "smsd:{2}:in:marketing"
