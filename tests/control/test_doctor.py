"""The whole table: all is well with a good store and a working process, and a check that may not look says so."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from smsd.control.doctor import CHECKS, examine
from smsd.store import keys
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.valkey import Valkey


async def test_each_finding_names_its_check(redis: Any, tmp_path: Path) -> None:
    """A store of a test, with nobody at work and a list for an inbox, has just these findings, in the table's order."""
    await redis.lpush(keys.inbox(0, "reminder"), "{}")
    report = await examine(config(tmp_path, public_url=""), [Shard(redis)])
    assert not report.ok
    assert report.checked == list(CHECKS)
    assert [finding.check for finding in report.findings] == ["durability", "streams", "processes", "public_url"]
    assert all(finding.what and finding.mend for finding in report.findings)


async def test_a_check_that_may_not_look_says_so(start_valkey: Callable[..., Valkey], tmp_path: Path) -> None:
    """A user of the store without the right to read its settings is told which check could not be made."""
    server = start_valkey(appendonly=True)
    admin: Any = Redis.from_url(server.url)
    await admin.execute_command("ACL", "SETUSER", "smsd", "on", ">pw", "~*", "&*", "+@all", "-config")
    user = Redis.from_url(server.url.replace("redis://", "redis://smsd:pw@"))
    report = await examine(config(tmp_path, public_url=""), [Shard(user)])
    (found,) = [finding for finding in report.findings if finding.check == "durability"]
    assert found.what.startswith("could not look:")
    await user.aclose()
    await admin.aclose()


def test_the_page_tells_of_every_check() -> None:
    """docs/CONFIG.md has a row for each check, in the table's order."""
    page = (Path(__file__).parents[2] / "docs" / "CONFIG.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(CHECKS)
