"""A tenant's limits as they stand: from where, how much used, who waits, which binds."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.config import Config
from smsd.control.limits import Limits, limits
from smsd.control.revision import publish
from smsd.control.tenants import Tenants, config_for
from smsd.store import holds
from tests.support.config import config
from tests.support.world import World

EXTRA = """\
[plans.gold]
limits = ["5/s", "1000/d"]
class_limits.marketing = ["1/s"]
[tenants.acme]
plan = "gold"
sender = "Acme"
[tenants.own]
limits = ["7/s"]
[tenants.many]
sender_pool = "uk"
[sender_pools.uk]
senders = ["+447700900001", "+447700900002"]
[senders."+447700900002"]
limits = ["1/s"]
[senders.Acme]
limits = ["3 segments/s"]
"""


class Desk:
    def __init__(self, world: World, mine: Config) -> None:
        self.world, self.mine = world, mine

    async def ask(self, tenant: str) -> Limits:
        mine = await config_for(self.mine, self.world.shard, tenant)
        return await limits(mine, self.world.shard, tenant, self.world.now)


@pytest.fixture
async def desk(redis: Redis, tmp_path: Path) -> Desk:
    made = Desk(World(redis), config(tmp_path, extra=EXTRA))
    await publish(made.mine, [made.world.shard])
    return made


async def test_each_limit_says_where_it_comes_from(desk: Desk) -> None:
    """Plan, file, sender, defaults; and what was made by command goes before them all."""
    told = {(use.scope, use.limit): use.source for use in (await desk.ask("acme")).uses}
    assert told == {
        ("tenant", "5/s"): "[plans.gold]",
        ("tenant", "1000/d"): "[plans.gold]",
        ("class", "1/s"): "[plans.gold]",
        ("sender", "3 segments/s"): "[senders.Acme]",
    }
    assert [use.source for use in (await desk.ask("own")).uses] == ["[tenants.own]"]
    assert [use.source for use in (await desk.ask("stranger")).uses] == ["[tenant_defaults]"]
    await Tenants(desk.mine, [desk.world.shard]).put("own", {"limits": ["9/s"]})
    assert [(use.limit, use.source) for use in (await desk.ask("own")).uses] == [("9/s", "command or API")]


async def test_what_is_used_and_who_waits_is_told(desk: Desk) -> None:
    """After one of three messages has left: the paced limit is full, the day's has one, and the lane waits."""
    for i in range(3):
        await desk.world.send("acme", f"m{i}", sender="Acme")
    assert len(await desk.world.take(10)) == 1
    told = await desk.ask("acme")
    uses = {use.limit: use for use in told.uses}
    assert (uses["5/s"].used, uses["5/s"].of) == (1, 1)
    assert (uses["1000/d"].used, uses["1000/d"].of) == (1, 1000)
    assert sum(use.waiting for use in told.uses if use.binds) == 1
    assert told.queued == 2


async def test_the_limit_that_opens_last_binds(desk: Desk) -> None:
    """Of all that a message has to pass; none when it would leave at once."""
    assert not any(use.binds for use in (await desk.ask("acme")).uses)
    await desk.world.send("acme", "m", sender="Acme")
    await desk.world.take(1)
    binding = [use for use in (await desk.ask("acme")).uses if use.binds]
    assert [(use.scope, use.name) for use in binding] == [("sender", "Acme")]
    assert binding[0].opens_ms > desk.world.now // 1000


async def test_each_class_has_its_own_limit_that_binds(desk: Desk) -> None:
    """Where marketing waits for its own limit, the tenant's still is what binds its reminders."""
    await desk.world.send("acme", "m", "marketing")
    await desk.world.take(1)
    binding = {(use.scope, use.limit) for use in (await desk.ask("acme")).uses if use.binds}
    assert binding == {("class", "1/s"), ("tenant", "5/s")}


async def test_what_is_paused_is_told_beside_the_limits(desk: Desk) -> None:
    """Whatever a message of the tenant would meet, with who and why; nothing of others, nor what is over."""
    shard = desk.world.shard
    for what in ("t:acme", "p:main", "t:other", "s:Other"):
        await holds.pause(shard, what, by="ann", reason="why not")
    await holds.pause(shard, "c:marketing", until_us=desk.world.now - 1)
    told = (await desk.ask("acme")).paused
    assert [one.partition(" since")[0] for one in told] == [
        "provider main is paused by ann",
        "its tenant is paused by ann",
    ]
    assert all("(why not)" in one for one in told)


async def test_a_pool_is_told_with_the_limits_of_its_senders(desk: Desk) -> None:
    """Any of them may be the one that a message leaves under."""
    told = await desk.ask("many")
    assert told.pool == ("+447700900001", "+447700900002")
    assert [(use.name, use.limit) for use in told.uses if use.scope == "sender"] == [("+447700900002", "1/s")]
    assert (await desk.ask("acme")).pool == ()
