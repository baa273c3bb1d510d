"""Who has opted out, over all shards of a store."""

import pytest
from redis.asyncio import Redis

from smsd.control import optouts as control
from smsd.control.optouts import CHOSEN, BadAfter, Listed, Whose
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
        assert await control.page(every, whose, "", 10) == Listed([(whose, OptOut(ANNA, "all", 5, "api"))], "")
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


@pytest.mark.parametrize("wide", [0, 1, 2])
async def test_the_widest_of_all_shards_is_told(redis: Redis, wide: int) -> None:
    """A provider's code closes all in the shard of its message alone."""
    every, salon = shards(redis), Whose(sender="Salon")
    await control.close(every, salon, [OptOut(ANNA, "marketing", 5, "inbound", "main")])
    await optouts.close(every[wide], salon.name, [OptOut(ANNA, "all", 6, "provider", "main")])
    told = OptOut(ANNA, "all", 6, "provider", "main")
    assert await control.get(every, salon, ANNA) == told
    assert [one async for _, one in control.every(every, salon)] == [told]
    assert [one async for _, one in control.every(every)] == [told]


@pytest.mark.parametrize("size", [1, 2, 3, 50])
async def test_all_lists_come_in_pages(redis: Redis, size: int) -> None:
    """Over all shards, each entry once, also where the last shard alone has it; or those of one list."""
    every, salon = shards(redis), Whose(sender="Salon")
    numbers = [f"+3538612345{n:02}" for n in range(7)]
    for whose in (Whose("acme"), Whose("other"), salon, Whose(sender=CHOSEN)):
        await control.close(every, whose, [OptOut(number, "all") for number in numbers])
    await optouts.close(every[2], salon.name, [OptOut(ANNA, "all")])
    for only, n in ((None, 29), (salon, 8), (Whose("acme"), 7), (Whose("nobody"), 0)):
        found, after, pages = list[tuple[Whose, str]](), "", 0
        while pages == 0 or after:
            page = await control.page(every, only, after, size)
            assert len(page.found) <= size
            found += [(whose, one.number) for whose, one in page.found]
            after, pages = page.after, pages + 1
        assert (len(found), len(set(found))) == (n, n)
        assert only is None or {whose for whose, _ in found} <= {only}


@pytest.mark.parametrize("after", ["x", "9.", "1", "-1.YQ", "0._w", "0.cw", "0.dDphYmU", "0.dDphY21lMg"])
async def test_a_page_that_follows_none_is_a_mistake(redis: Redis, after: str) -> None:
    """Nobody comes by one to another tenant's list, nor to a shard that has none."""
    await control.close(shards(redis), Whose("abe"), [OptOut(ANNA, "all")])
    with pytest.raises(BadAfter):
        await control.page(shards(redis), Whose("acme"), after, 10)


async def test_what_is_set_is_narrower_too(redis: Redis) -> None:
    """In every shard that has it."""
    every, salon = shards(redis), Whose(sender="Salon")
    await control.close(every, salon, [OptOut(ANNA, "all")])
    await control.set_(every, salon, OptOut(ANNA, "marketing"))
    found = [await optouts.get(shard, salon.name, ANNA) for shard in every]
    assert [one.scope for one in found if one] == ["marketing"] * 3
    assert (str(salon), str(Whose("acme"))) == ("sender Salon", "tenant acme")
