"""Who has opted out, over all shards of a store."""

from redis.asyncio import Redis

from smsd.control import optouts as control
from smsd.control.optouts import CHOSEN, Whose
from smsd.store import optouts
from smsd.store.optouts import OptOut, of_sender, of_tenant
from smsd.store.shard import Shard

ANNA, BEN = "+353861234567", "+353861234568"


def shards(redis: Redis) -> list[Shard]:
    return [Shard(redis, number, clock_step_us=0) for number in range(3)]


async def test_a_tenants_list_is_in_its_shard_and_a_senders_in_each(redis: Redis) -> None:
    """Closed, shown and opened as one."""
    every = shards(redis)
    for whose, there in ((Whose("acme"), 1), (Whose(sender="Salon"), 3), (Whose(sender=CHOSEN), 3)):
        assert await control.close(every, whose, [OptOut(ANNA, "all", 5, "api")]) == 1
        found = [await optouts.get(shard, whose.name, ANNA) for shard in every]
        assert found.count(OptOut(ANNA, "all", 5, "api")) == there
        assert await control.get(every, whose, ANNA) == OptOut(ANNA, "all", 5, "api")
        assert [one.number for one in (await control.page(every, whose, "", 10)).found] == [ANNA]
        assert await control.open_(every, whose, ANNA)
        assert not await control.open_(every, whose, ANNA)
    assert [Whose("acme").name, Whose(sender=CHOSEN).name] == [of_tenant("acme"), of_sender("")]


async def test_each_is_told_once(redis: Redis) -> None:
    """Also what a provider has told one shard alone."""
    every = shards(redis)
    await control.close(every, Whose("acme"), [OptOut(ANNA, "all")])
    await control.close(every, Whose(sender="Salon"), [OptOut(ANNA, "all"), OptOut(BEN, "marketing")])
    await optouts.close(every[2], of_sender(""), [OptOut(BEN, "all")])
    told = [(whose, one.number) async for whose, one in control.every(every)]
    salon = Whose(sender="Salon")
    assert sorted(told, key=str) == sorted(
        [(Whose("acme"), ANNA), (salon, ANNA), (salon, BEN), (Whose(sender=CHOSEN), BEN)], key=str
    )
    assert [one.number async for _, one in control.every(every, Whose("acme"))] == [ANNA]


async def test_what_is_set_is_narrower_too(redis: Redis) -> None:
    """In every shard that has it."""
    every, salon = shards(redis), Whose(sender="Salon")
    await control.close(every, salon, [OptOut(ANNA, "all")])
    await control.set_(every, salon, OptOut(ANNA, "marketing"))
    found = [await optouts.get(shard, salon.name, ANNA) for shard in every]
    assert [one.scope for one in found if one] == ["marketing"] * 3
    assert (str(salon), str(Whose("acme"))) == ("sender Salon", "tenant acme")
