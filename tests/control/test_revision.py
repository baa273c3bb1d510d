"""What is published for all hosts: a revision, its hash, and which hashes were in force before."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from smsd.config import ConfigErrors
from smsd.control import revision
from smsd.store import keys
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.world import ask


async def test_a_store_without_a_config_has_revision_0(redis: Redis) -> None:
    """Before anybody has published, there is nothing to follow."""
    assert await revision.published(Shard(redis)) == revision.Published(0)


async def test_what_is_published_is_found_and_remembered(redis: Redis, tmp_path: Path) -> None:
    """Every shard has the same hash and source, and the hash is known for good."""
    shards, mine = [Shard(redis, number) for number in range(2)], config(tmp_path)
    assert await revision.publish(mine, shards) == 1
    assert {(await revision.published(shard)).hash for shard in shards} == {revision.content_hash(mine)}
    assert await revision.seen(shards[0], revision.content_hash(mine))
    assert not await revision.seen(shards[0], "another")


async def test_publishing_what_is_in_force_makes_no_revision(redis: Redis, tmp_path: Path) -> None:
    """The same content twice is one revision; other content is the next."""
    shards, mine = [Shard(redis)], config(tmp_path)
    assert [await revision.publish(mine, shards) for _ in range(2)] == [1, 1]
    assert await revision.publish(config(tmp_path, limit="9/s"), shards) == 2


async def test_the_config_in_force_can_be_read_without_its_secrets(redis: Redis, tmp_path: Path) -> None:
    """A command that only looks works on a host that has no secret of the providers."""
    shards, mine = [Shard(redis)], config(tmp_path)
    named = '[providers.other]\ntype = "twilio"\naccount_sid = "AC0"\nauth_token = "env:NOT_HERE"\n'
    there = config(tmp_path, extra=named.replace('"AC0"', '"env:SID"'), env={"SID": "AC" + "0" * 32, "NOT_HERE": "x"})
    assert await revision.publish(there, shards) == 1
    number, theirs = await revision.in_force(mine, shards[0])
    assert (number, "other" in theirs.providers) == (1, True)
    with pytest.raises(ConfigErrors):
        await revision.in_force(mine, shards[0], secrets=True)


@pytest.mark.parametrize(("said", "bodies_us"), [("end", 1), ("90m", 5_400_000_000)])
def test_the_scripts_learn_how_long_bodies_are_kept(tmp_path: Path, said: str, bodies_us: int) -> None:
    """For the time that the file says, not only whether they go at the end."""
    mine = config(tmp_path, extra=f'[retention]\nbodies = "{said}"\n')
    assert revision.for_scripts(mine)["keep"] == [72 * 3_600_000_000, bodies_us, 20_000]


async def test_of_publishers_at_once_one_is_in_force_whole(redis: Redis, tmp_path: Path) -> None:
    """Whoever comes last, what the scripts read is all of the config whose hash is there, and nothing of another."""
    shards = [Shard(redis)]
    texts = [f'[tenants.acme]\nlimits = ["{n}/s"]\n[tenants.t{n}]\nlimits = ["{n}/m"]\n' for n in (3, 4, 5)]
    rivals = {revision.content_hash(one): one for one in (config(tmp_path, extra=text) for text in texts)}
    for _ in range(3):
        await asyncio.gather(*(revision.publish(one, shards) for one in rivals.values()))
        hash_ = (await revision.published(shards[0])).hash
        there = await ask(redis, "HGETALL", keys.key(0, "conf"))
        told = {name.decode(): value for name, value in there.items()}
        wanted = revision.for_scripts(rivals[hash_])
        assert told.keys() - wanted.keys() == {"revision", "hash", "source"}
        assert {name: msgspec.msgpack.decode(told[name]) for name in wanted} == msgspec.to_builtins(wanted)
