"""Tenants' settings by command or API: judged, written with what the scripts read, followed by every process."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from smsd.config import Config, ConfigErrors, Mistake
from smsd.control.made import Table
from smsd.control.revision import publish
from smsd.control.tenants import Tenants
from smsd.core.limit import parse
from smsd.shell.live import Live, agree, catch_up
from smsd.store import keys
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.world import ask

PLANS = '[plans.gold]\nlimits = ["100/s"]\nsender = "Gold"\n[tenants.acme]\nlimits = ["5/s"]\nregion = "GB"\n'


class Office:
    """A store with a config in force, a process that follows it, and who changes tenants."""

    def __init__(self, redis: Redis, mine: Config, shards: int = 1) -> None:
        self.redis, self.mine = redis, mine
        self.shards = [Shard(redis, number) for number in range(shards)]
        self.tenants = Tenants(mine, self.shards)
        self.live = Live(mine, self.shards)

    async def limits(self, tenant: str) -> object:
        """What the scripts read of a tenant: N of each of its limits."""
        shard = self.live.shard_of(tenant).number
        packed = await ask(self.redis, "HGET", keys.key(shard, "conf"), f"t:{tenant}")
        return [limit[1] for limit in msgspec.msgpack.decode(packed)[0]] if packed else None


@pytest.fixture
async def office(redis: Redis, tmp_path: Path) -> Office:
    made = Office(redis, config(tmp_path, extra=PLANS))
    await agree(made.live)
    return made


async def test_settings_go_before_the_files_field_by_field(office: Office) -> None:
    """What was not made is the file's, else the plan's, else the defaults'."""
    await office.tenants.put("acme", {"limits": ["9/s"]})
    await catch_up(office.live)
    terms = office.live.config.terms("acme")
    assert (terms.limits, terms.region) == ((parse("9/s"),), "GB")
    assert await office.limits("acme") == [9]


async def test_a_new_tenant_is_known_at_once(office: Office) -> None:
    """Its plan counts as if the file had named it, for admission and for the scripts."""
    await office.tenants.put("salon-7", {"plan": "gold", "region": "FI"})
    await catch_up(office.live)
    rules = office.live.config.tenant("salon-7")
    assert (rules.known, rules.sender, rules.region) == (True, "Gold", "FI")
    assert await office.limits("salon-7") == [100]


async def test_a_put_stands_in_the_place_of_the_one_before(office: Office) -> None:
    """What the later one does not name is not made any more."""
    await office.tenants.put("acme", {"limits": ["9/s"], "sender": "Old"})
    await office.tenants.put("acme", {"sender": "New"})
    await catch_up(office.live)
    assert await office.tenants.show("acme") == {"sender": "New"}
    assert await office.limits("acme") == [5]


async def test_dropped_settings_leave_the_files(office: Office) -> None:
    """And for a tenant that the file does not name, the defaults."""
    await office.tenants.put_many({"acme": {"limits": ["9/s"]}, "salon-7": {"plan": "gold"}})
    await catch_up(office.live)
    assert [await office.tenants.drop(name) for name in ("acme", "salon-7", "salon-7")] == [True, True, False]
    await catch_up(office.live)
    assert (await office.limits("acme"), await office.limits("salon-7")) == ([5], None)
    assert not office.live.config.knows("salon-7")
    assert await office.tenants.show("acme") is None


async def test_a_mistake_is_told_and_nothing_is_written(office: Office) -> None:
    """Every mistake of every tenant, each with its path; not one of the good ones is in force either."""
    wrong = {"good": {"plan": "gold"}, "bad": {"plan": "silver", "limits": ["9"], "colour": "red"}}
    with pytest.raises(ConfigErrors) as told:
        await office.tenants.put_many(wrong)
    assert {mistake.key for mistake in told.value.mistakes} == {
        "tenants.bad.plan",
        "tenants.bad.limits[0]",
        "tenants.bad.colour",
    }
    assert await office.tenants.show("good") is None


async def test_each_is_made_by_itself(office: Office) -> None:
    """A tenant with a mistake leaves the others alone, and keeps what it had."""
    await office.tenants.put("bad", {"plan": "gold"})
    wrong = await office.tenants.put_each({"good": {"plan": "gold"}, "bad": {"plan": "silver"}, "b d": {}})
    assert {name: [one.key for one in found] for name, found in wrong.items()} == {
        "bad": ["tenants.bad.plan"],
        "b d": ['tenants."b d"'],
    }
    assert await office.tenants.show("good") == await office.tenants.show("bad") == {"plan": "gold"}


class Overtaken(Tenants):
    """Judges by a config in whose place another comes before the first write."""

    async def mistakes(self, tables: Mapping[str, Table]) -> dict[str, list[Mistake]]:
        wrong = await super().mistakes(tables)
        await publish(self._config, self._shards)
        return wrong


async def test_a_config_that_comes_meanwhile_judges_each(office: Office, tmp_path: Path) -> None:
    """What it does not allow is told, and the others are made all the same."""
    await publish(config(tmp_path, extra=PLANS + '[plans.silver]\nlimits = ["1/s"]\n'), office.shards)
    tenants = Overtaken(office.mine, office.shards)
    wrong = await tenants.put_each({"a": {"plan": "silver"}, "b": {"plan": "gold"}})
    assert list(wrong) == ["a"]
    assert (await tenants.show("a"), await tenants.show("b")) == (None, {"plan": "gold"})


async def test_a_bad_id_is_a_mistake(office: Office) -> None:
    """A tenant is named as the contract has it."""
    with pytest.raises(ConfigErrors, match="tenant id"):
        await office.tenants.put("two words", {"plan": "gold"})


async def test_a_new_config_keeps_what_was_made(office: Office, tmp_path: Path) -> None:
    """A plan that changes in the file changes for the tenants that have it by command."""
    await office.tenants.put("salon-7", {"plan": "gold"})
    await publish(config(tmp_path, extra=PLANS.replace("100/s", "200/s")), office.shards)
    await catch_up(office.live)
    assert await office.limits("salon-7") == [200]
    assert office.live.config.terms("salon-7").limits == (parse("200/s"),)


async def test_settings_are_judged_by_the_config_in_force(office: Office, tmp_path: Path) -> None:
    """Not by the file that whoever changes them happens to have."""
    await publish(config(tmp_path, extra=PLANS + '[plans.silver]\nlimits = ["1/s"]\n'), office.shards)
    await office.tenants.put("salon-7", {"plan": "silver"})
    assert await office.limits("salon-7") == [1]


async def test_a_publisher_that_has_not_seen_a_change_looks_again(office: Office, tmp_path: Path) -> None:
    """What the scripts read never falls behind the settings, whoever writes first."""
    newer = config(tmp_path, extra=PLANS.replace('region = "GB"', 'region = "FI"'))
    await office.tenants.put("acme", {"limits": ["9/s"]})
    assert await office.shards[0].publish("h", b"", {}, tenants=0) == -1
    await publish(newer, office.shards)
    assert await office.limits("acme") == [9]


async def test_many_are_made_in_every_shard(redis: Redis, tmp_path: Path) -> None:
    """A thousand tenants of three shards, each in its own; a process that starts later has them all."""
    office = Office(redis, config(tmp_path), shards=3)
    await agree(office.live)
    await office.tenants.put_many({f"t{i}": {"limits": [f"{i + 1}/s"]} for i in range(1000)})
    later = Live(office.mine, office.shards)
    await agree(later)
    assert len([name for name in (f"t{i}" for i in range(1000)) if later.config.knows(name)]) == 1000
    assert await office.limits("t41") == [42]
