"""Files of tenants' settings: both forms say the same, and every mistake has its line."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.control.tenant_file import judged, read
from smsd.store.shard import Shard
from tests.support.config import config

CSV = (
    "tenant,limits,class_limits.marketing,region,plan\n"
    'acme,50/s; 1000/d,10/s,IE,\n\n"b",,,GB,gold\n'
)  # fmt: skip
LINES = (
    '{"tenant": "acme", "limits": ["50/s", "1000/d"], "class_limits": {"marketing": ["10/s"]}, "region": "IE"}\n'
    '\n{"tenant": "b", "region": "GB", "plan": "gold"}\n'
)


def test_both_forms_say_the_same() -> None:
    """An empty cell sets nothing, an empty line is none, and each tenant knows its line."""
    from_csv, from_lines = (read("f", text.encode()) for text in (CSV, "\ufeff" + LINES))
    tables = {tenant: line.table for tenant, line in from_csv.lines.items()}
    assert tables == {
        "acme": {"limits": ["50/s", "1000/d"], "class_limits": {"marketing": ["10/s"]}, "region": "IE"},
        "b": {"region": "GB", "plan": "gold"},
    }
    assert {tenant: line.table for tenant, line in from_lines.lines.items()} == tables
    assert [line.number for line in from_csv.lines.values()] == [2, 4]
    assert [line.number for line in from_lines.lines.values()] == [1, 3]
    assert from_csv.mistakes == from_lines.mistakes == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "f:1: the file is empty"),
        (b"tenat,limits\n", 'f:1: the column "tenat" is unknown (did you mean "tenant"?)'),
        (b"limits\n1/s\n", "f:1: the header has no column tenant"),
        (b"tenant,zone,zone\n", 'f:1: the column "zone" is there twice'),
        (b"tenant,zone\na\n", "f:2: 1 cells, but the header has 2"),
        (b"tenant,zone\n,x\n", "f:2: tenant: say whose settings these are"),
        (b"tenant\na\n\na\n", "f:4: tenant: a is on line 2 already"),
        (b'tenant\n"a', "f:2: this is no CSV"),
        (b"tenant\na\n\xff\n", "f:3: this is no UTF-8"),
        (b'{"tenant": "a"}\n{"tenant"}\n', "f:2: this is no JSON object on one line"),
        (b'{"tenant": 5}\n', "f:1: tenant: say whose settings these are"),
    ],
)
def test_a_mistake_in_the_form_has_its_line(text: bytes, told: str) -> None:
    """What cannot be read is told where it stands, with what would be right."""
    (mistake,) = read("f", text).mistakes
    assert str(mistake).startswith(told)


async def test_what_the_config_does_not_allow_has_its_line(redis: Redis, tmp_path: Path) -> None:
    """All mistakes of all lines come at once, in the order of the lines, and the right lines stay."""
    text = b"tenant,limits,plan,zone\na,5/s,,\nb,many,nosuch,\nc,1/s,,Nowhere/City\n*,,,\n"
    shards = [Shard(redis, number) for number in range(2)]
    there = await judged("f", read("f", text), config(tmp_path), shards)
    assert list(there.lines) == ["a"]
    assert [mistake.line for mistake in there.mistakes] == [3, 3, 4, 5]
    assert "tenants.b.limits" in there.mistakes[0].key
