"""dead list, show, redrive and purge, typed as an operator does."""

from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from smsd.store import keys
from tests.support.running import TO, Said
from tests.support.world import ask

Typed = Callable[..., Said]
DEAD = keys.key(0, "dead")


@pytest.fixture
async def there(redis: Redis) -> Redis:
    """Three dead entries, the last of which came from no inbox."""
    for n, tenant in enumerate(("acme", "other"), 1):
        fields = {"reason": "unroutable", "detail": "no route", "at": f"{n}000", "stream": keys.inbox(0, "reminder")}
        await redis.xadd(DEAD, {**fields, "in.tenant": tenant, "in.to": TO, "in.body": "secret"}, id=f"{n}000-0")
    await redis.xadd(DEAD, {"reason": "internal", "detail": "stuck", "tenant": "acme", "message": "x"}, id="3000-0")
    return redis


async def test_a_list_says_why_and_not_to_whom(typed: Typed, there: Redis) -> None:
    """One line each, the last ones last, and how to see those before them; nobody's number and no text."""
    said = typed("dead list --limit 2")
    assert said.out.splitlines() == [
        "2000-0  1970-01-01 00:00:02Z  unroutable: other, reminder: no route",
        "3000-0  1970-01-01 00:00:03Z  internal: acme, no class: stuck",
        "3 are there in all; older ones: --older 2000-0",
    ]
    assert typed("dead list --limit 2 --older 2000-0").out.splitlines() == [
        "1000-0  1970-01-01 00:00:01Z  unroutable: acme, reminder: no route",
    ]
    told = typed("dead list --tenant acme --json").json()
    assert ([one["id"] for one in told["dead"]], told["next"], told["kept"]) == (["3000-0", "1000-0"], "", 3)
    assert typed("dead list --since 2h").out == "no dead entry is there, or none of these\n"


async def test_an_entry_is_shown_without_what_is_private(typed: Typed, there: Redis) -> None:
    """To whom it goes and what it says is shown only when that is asked for."""
    said = typed("dead show 1000-0")
    assert (said.code, TO in said.out, "secret" in said.out) == (0, False, False)
    assert "in.tenant  acme" in said.out
    assert typed("dead show 1000-0 --json").json()["hidden"] == {"in.to": len(TO), "in.body": 6}
    assert typed("dead show 1000-0 --private --json").json()["fields"]["in.body"] == "secret"
    assert (typed("dead show 9-9").code, typed("dead show nosuch").code) == (1, 2)


async def test_a_producer_cannot_write_lines_of_its_own(typed: Typed, redis: Redis) -> None:
    """An id or a field with new lines or a terminal's orders in it is shown with these written out."""
    odd = "x\n1-1  \x1b[2J"
    await redis.xadd(DEAD, {"reason": "bad_id", "detail": "id", "at": "1000", "in.id": odd, f"in.{odd}": odd}, id="1-0")
    assert typed("dead list").out.splitlines() == [
        "1-0  1970-01-01 00:00:01Z  bad_id: no tenant, no class, x\\x0a1-1  \\x1b[2J: id"
    ]
    assert typed("dead show 1-0 --private").out.splitlines()[-1] == r"in.x\x0a1-1  \x1b[2J  x\x0a1-1  \x1b[2J"


async def test_redriving_says_how_many_and_wants_a_yes(typed: Typed, there: Redis) -> None:
    """Nothing is done without a yes; what came from no inbox is told, and stays."""
    said = typed("dead redrive")
    assert (said.code, "3 dead entries back into the inboxes, of which 1 came from no inbox" in said.err) == (2, True)
    assert await there.xlen(DEAD) == 3
    assert typed("dead redrive --tenant other --yes").out == "1 redriven\n"
    done = typed("dead redrive --yes --json")
    assert (done.code, done.json()) == (1, {"redriven": 1, "gone": 0, "left": 1, "absent": []})
    written = await ask(there, "XRANGE", keys.inbox(0, "reminder"), "-", "+")
    assert written[0][1] == {b"tenant": b"other", b"to": TO.encode(), b"body": b"secret"}


async def test_purging_says_how_many_and_wants_a_yes(typed: Typed, there: Redis) -> None:
    """By id or by what they are, as many as were told."""
    assert "2 dead entries for good" in typed("dead purge 1000-0 3000-0").err
    assert typed("dead purge --limit 1 --yes").out == "1 purged\n"
    assert typed("dead purge 3000-0 --yes --json").json() == {"purged": 1, "absent": []}
    assert typed("dead purge --before 2000-01-01T00:00:00Z --yes").out == "1 purged\n"
    assert typed("dead purge --yes").out == "no dead entry is there, or none of these\n"


async def test_one_that_was_named_and_is_not_there_is_told(typed: Typed, there: Redis) -> None:
    """What is there is done; the exit code says that it was not all."""
    done = typed("dead redrive 1000-0 9-9 --yes")
    assert (done.code, done.out) == (1, "1 redriven; not there: 9-9\n")
    done = typed("dead purge 2000-0 6-6 7-7 8-8 9-9 --yes")
    assert (done.code, done.out) == (1, "1 purged; not there: 6-6, 7-7, 8-8 and 1 more\n")
    assert typed("dead purge 9-9 --yes --json").json() == {"purged": 0, "absent": ["9-9"]}
    for verb in ("redrive", "purge"):
        nothing = typed(f"dead {verb} 9-9 --yes")
        assert (nothing.code, nothing.out) == (1, "no dead entry is there, or none of these\n")


@pytest.mark.parametrize("line", ["list --limit 0", "list --limit 1001", "list --older x", "purge 12 --yes"])
def test_a_page_or_a_name_that_is_none_is_told(typed: Typed, line: str) -> None:
    """In one line, and nothing is done."""
    said = typed(f"dead {line}")
    assert (said.code, len(said.err.splitlines())) == (2, 1)


@pytest.mark.parametrize("line", ["dead list --since yesterday", "dead list --before 2026-01-01T00:00:00"])
def test_a_time_that_is_none_is_told(typed: Typed, line: str) -> None:
    """An instant needs its offset."""
    said = typed(line)
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "a time ago as 2h, or an instant as" in said.err
