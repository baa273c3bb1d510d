"""What is kept for receivers of status webhooks: each event once, within a bound, and nobody's work twice."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from smsd.store import keys
from smsd.store import push as module
from smsd.store.connect import connect
from smsd.store.push import Push, Pushes, Shut, after, backlog, disable, enable, gaps, push_of, replay, shuts
from tests.support.world import SECOND, World

LEASE = 15 * SECOND


class Desk(Pushes):
    """A process's, and the events that it reads."""

    async def begin(self) -> "Desk":
        await self.open()
        return self

    async def read_in(self, *names: str, now: bool = False) -> list[Push | None]:
        """Reads all there is, and keeps each event for these receivers."""
        events = await self.read()
        return await self.keep([(entry, [(name, now) for name in names]) for entry, _ in events], LEASE)


@pytest.fixture
async def world(store_url: str) -> AsyncIterator[World]:
    """An empty shard, reached as a process reaches it."""
    store = connect(store_url)
    made = World(store.client)
    await made.put()
    yield made
    await store.aclose()


@pytest.fixture
async def desk(world: World) -> Desk:
    """The first process."""
    return await Desk(world.shard, world.client, "p1").begin()


async def tell(world: World, n: int) -> list[str]:
    """So many events, one after the other. Returns their entries."""
    name = keys.key(0, "events")
    first = await world.client.xlen(name)
    fields = [{"event_id": f"acme/m{first + i}/1", "tenant": "acme", "state": "delivered", "at": "1"} for i in range(n)]
    client: Any = world.client
    return [(await client.xadd(name, one)).decode() for one in fields]


async def kept(world: World) -> list[str]:
    """Entries that are kept for anybody, in the order in which they are due."""
    client: Any = world.client
    members: list[bytes] = await client.zrange(keys.key(0, "push"), 0, -1)
    return [push_of(one.decode()).entry for one in members]


async def test_what_is_pushed_at_once_is_left_alone_by_others(world: World, desk: Desk) -> None:
    """It is kept before it is pushed; nobody else gets it until the lease is over, and then it is due again."""
    (entry,) = await tell(world, 1)
    (push,) = await desk.read_in("r", now=True)
    assert push is not None
    assert (push.receiver, push.entry, push.tries, push.first_us) == ("r", entry, 0, world.now)
    assert (await desk.take([("r", 5)], LEASE))[0].pushes == []
    world.pass_time(LEASE)
    (again,) = (await desk.take([("r", 5)], LEASE))[0].pushes
    assert (again.entry, again.first_us) == (entry, push.first_us)
    assert await desk.done([(push.member, 0, 0)]) == 0, "who lost it cannot end it"
    assert await desk.done([(again.member, 0, 0)]) == 1
    assert await kept(world) == []


async def test_keeping_twice_changes_nothing(world: World, desk: Desk) -> None:
    """A reply may be lost: what was acknowledged is not kept again."""
    await tell(world, 2)
    rows = [(entry, [("r", False)]) for entry, _ in await desk.read()]
    await desk.keep(rows, LEASE)
    await desk.keep(rows, LEASE)
    assert len(await kept(world)) == 2
    assert await desk.read("0") == []


async def test_pushes_are_taken_in_order_up_to_the_room_for_each(world: World, desk: Desk) -> None:
    """The oldest event first; one receiver's backlog stands before nobody else's."""
    entries = await tell(world, 5)
    await desk.read_in("a", "b")
    world.now = module.now_ms(world.shard) * 1000 + 10**15  # the entries are stamped by the server's own clock
    world.shard.now_us = world.now
    a, b = await desk.take([("a", 2), ("b", 9)], LEASE)
    assert [push.entry for push in a.pushes] == entries[:2]
    assert [push.entry for push in b.pushes] == entries
    assert (a.due, a.kept, b.due, b.kept) == (3, 5, 0, 5)


async def test_what_failed_is_due_when_it_was_said(world: World, desk: Desk) -> None:
    """With one try more, and the time of its first."""
    await tell(world, 1)
    (push,) = await desk.read_in("r", now=True)
    assert push is not None
    await desk.done([(push.member, world.now + 10 * SECOND, 1)])
    world.pass_time(9 * SECOND)
    assert (await desk.take([("r", 1)], LEASE))[0].pushes == []
    world.pass_time(SECOND)
    (again,) = (await desk.take([("r", 1)], LEASE))[0].pushes
    assert (again.tries, again.first_us) == (1, push.first_us)


async def fill_all(desk: Desk) -> None:
    """Reads on in gaps for as long as there is room."""
    going = True
    while going:
        going = False
        for gap in [one for one in await desk.gaps() if one.open]:
            page = await desk.page(gap)
            going |= await desk.fill(gap, page, [entry for entry, _ in page.events])


async def test_beyond_the_bound_a_gap_is_kept_in_place_of_events(
    world: World, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs one field however long it is; read again from the stream, each event is kept once, also new ones."""
    monkeypatch.setattr(module, "MOST", 10)
    monkeypatch.setattr(module, "PAGE", 4)
    entries = await tell(world, 25)
    await desk.read_in("r")
    assert await kept(world) == entries[:10]
    (gap,) = await gaps(world.shard)
    assert (gap.start, gap.cursor, gap.upto) == (entries[10], entries[10], "+")
    got: list[str] = []
    while len(got) < 25:
        (taken,) = await desk.take([("r", 3)], LEASE)
        if not taken.pushes:
            world.pass_time(10**15)
            continue
        got += [push.entry for push in taken.pushes]
        await desk.done([(push.member, 0, 0) for push in taken.pushes])
        await fill_all(desk)
    assert got == entries
    (gap,) = await gaps(world.shard)
    assert not gap.open
    more = await tell(world, 2)
    await desk.read_in("r")
    await fill_all(desk)
    assert await kept(world) == more


async def test_an_old_event_that_comes_late_to_a_full_receiver_is_read_again(
    world: World, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reader had died; more is kept by now than twice the bound, and the gap begins behind it: it reaches back."""
    monkeypatch.setattr(module, "MOST", 2)
    entries = await tell(world, 7)
    monkeypatch.setattr(module, "BATCH", 3)
    old = [(entry, [("r", False)]) for entry, _ in await desk.read()]
    monkeypatch.setattr(module, "BATCH", 100)
    other = await Desk(world.shard, world.client, "p2").begin()
    await other.read_in("r")
    (gap,) = await gaps(world.shard)
    assert (gap.start, await kept(world)) == (entries[5], entries[3:5])
    await other.keep(old, LEASE)
    assert await kept(world) == [*entries[:2], *entries[3:5]]
    (gap,) = await gaps(world.shard)
    assert (gap.start, gap.cursor, gap.upto) == (entries[2], entries[2], "+")
    monkeypatch.setattr(module, "MOST", 100)
    await fill_all(desk)
    assert set(await kept(world)) == set(entries)


async def test_a_page_is_filled_by_one_process_only(world: World, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second has seen a gap that is no more."""
    monkeypatch.setattr(module, "MOST", 2)
    await tell(world, 3)
    await desk.read_in("r")
    (gap,) = await gaps(world.shard)
    page = await desk.page(gap)
    monkeypatch.setattr(module, "MOST", 100)
    assert await desk.fill(gap, page, [page.events[0][0]])
    assert not await desk.fill(gap, page, [page.events[0][0]])
    assert len(await kept(world)) == 3


async def test_who_is_shut_gets_nothing_and_loses_nothing(world: World, desk: Desk) -> None:
    """What was kept stays, what comes is a gap, and once it is enabled both are taken."""
    await tell(world, 1)
    await desk.read_in("r")
    assert await disable(world.shard, "r", Shut(1, "it answered 410 Gone", "https://r.example"))
    assert not await disable(world.shard, "r", Shut(2, "again"))
    await tell(world, 2)
    await desk.read_in("r")
    world.pass_time(10**15)
    assert (await desk.take([("r", 9)], LEASE))[0] == module.Taken(0, 1, [])
    assert (await shuts(world.shard))["r"].at_ms == 1
    assert await enable(world.shard, "r")
    assert not await enable(world.shard, "r")
    await fill_all(desk)
    assert len((await desk.take([("r", 9)], LEASE))[0].pushes) == 3


async def test_who_is_shut_is_not_told_of_what_was_read_late(world: World, desk: Desk) -> None:
    """Another process has kept what came behind it already, as the beginning of the gap: it is kept until enabled."""
    first, second = await tell(world, 2)
    assert await disable(world.shard, "r", Shut(1, "it answered 410 Gone"))
    await desk.read()
    for entry in (second, first):
        assert await desk.keep([(entry, [("r", True)])], LEASE) == [None]
    assert await enable(world.shard, "r")
    await fill_all(desk)
    world.pass_time(10**15)
    assert sorted(one.entry for one in (await desk.take([("r", 9)], LEASE))[0].pushes) == [first, second]


async def test_a_replay_keeps_what_lies_between(world: World, desk: Desk) -> None:
    """From one instant to another, once, and beside what comes meanwhile; a second one waits for its end."""
    entries = await tell(world, 3)
    await desk.read_in("r")
    since, until = int(entries[0].partition("-")[0]), int(entries[-1].partition("-")[0]) + 1
    assert await replay(world.shard, "r", since, until, "*") == ""
    assert await replay(world.shard, "r", since, until, "*") == "busy"
    await fill_all(desk)
    assert sorted(await kept(world)) == sorted(entries * 2)
    assert await gaps(world.shard) == []


async def test_a_replay_of_a_tenant_that_cannot_be_keeps_nobody_from_gaps(world: World, desk: Desk) -> None:
    """Whoever has it written: it is read to its end, and is over."""
    await tell(world, 3)
    assert await replay(world.shard, "r", 1, 10**14 - 1, "two words") == ""
    assert [gap.tenant for gap in await gaps(world.shard)] == ["two words"]
    await fill_all(desk)
    assert await gaps(world.shard) == []


async def test_the_backlog_is_told_with_its_oldest_event(
    world: World, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that lies in a gap; who has none has none."""
    monkeypatch.setattr(module, "MOST", 2)
    entries = await tell(world, 3)
    await desk.read_in("r")
    oldest = int(entries[0].partition("-")[0])
    assert await backlog(world.shard, ["r", "other"]) == {"r": (2, oldest), "other": (0, 0)}
    world.pass_time(10**15)
    await desk.done([(push.member, 0, 0) for push in (await desk.take([("r", 9)], LEASE))[0].pushes])
    assert await backlog(world.shard, ["r"]) == {"r": (0, int(entries[2].partition("-")[0]))}


async def test_what_nobody_names_any_more_is_dropped(world: World, desk: Desk) -> None:
    """By who has the config in force, and by nobody else; without receivers the group of readers goes too."""
    await world.shard.publish("h-now", b"", world.settings)
    await tell(world, 2)
    await desk.read_in("a", "b")
    await disable(world.shard, "b", Shut(1, "gone"))
    assert await desk.forget("h-before", ["a"]) == 0
    assert await desk.forget("h-now", ["a"]) == 3
    assert {name for name, (n, _) in (await backlog(world.shard, ["a", "b"])).items() if n} == {"a"}
    assert await desk.forget("h-now", ["a"]) == 0
    assert await desk.forget("h-now", []) == 3
    assert await world.client.xinfo_groups(keys.key(0, "events")) == []


async def test_what_a_dead_process_has_read_another_claims(world: World, desk: Desk) -> None:
    """And forgets it, once it has nothing left."""
    entries = await tell(world, 2)
    await desk.read()
    other = await Desk(world.shard, world.client, "p2").begin()
    assert await other.read() == []
    claimed = await other.claim(0)
    assert [entry for entry, _ in claimed] == entries
    await other.keep([(entry, [("r", False)]) for entry, _ in claimed], LEASE)
    await other.leave(0, "p1")
    names = [one["name"] for one in await world.client.xinfo_consumers(keys.key(0, "events"), keys.PUSHERS)]
    assert names == [b"p2"]


async def test_a_group_that_somebody_deleted_goes_on_where_it_was(world: World, desk: Desk) -> None:
    """What came between is read."""
    await tell(world, 1)
    await desk.read_in("r")
    await world.client.xgroup_destroy(keys.key(0, "events"), keys.PUSHERS)
    (entry,) = await tell(world, 1)
    await desk.open()
    assert [found for found, _ in await desk.read()] == [entry]


async def test_what_was_trimmed_before_it_was_read_is_noticed(world: World, desk: Desk) -> None:
    """Not what was read before, and not what came a moment ago."""
    entries = await tell(world, 3)
    await desk.read_in("r")
    client: Any = world.client
    await client.xtrim(keys.key(0, "events"), maxlen=1, approximate=False)
    world.now = world.shard.now_us = 10**18
    assert await desk.trimmed(1000) == "", "the last one that was read is there"
    more = await tell(world, 3)
    await client.xtrim(keys.key(0, "events"), minid=more[1], approximate=False)
    assert await desk.trimmed(1000) == entries[-1]
    world.now = world.shard.now_us = int(more[1].partition("-")[0]) * 1000 + 1
    assert await desk.trimmed(1000) == ""


async def test_what_was_trimmed_out_of_a_gap_is_noticed(
    world: World, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where some of it was read before and nothing is left; not where all of it was read."""
    monkeypatch.setattr(module, "MOST", 1)
    monkeypatch.setattr(module, "PAGE", 2)
    entries = await tell(world, 6)
    await desk.read_in("r")
    monkeypatch.setattr(module, "MOST", 100)
    (gap,) = await gaps(world.shard)
    page = await desk.page(gap)
    assert ([entry for entry, _ in page.events], page.trimmed) == (entries[1:3], False)
    await desk.fill(gap, page, [])
    (gap,) = await gaps(world.shard)
    client: Any = world.client
    await client.xtrim(keys.key(0, "events"), minid=entries[4], approximate=False)
    page = await desk.page(gap)
    assert ([entry for entry, _ in page.events], page.trimmed) == (entries[4:], True)
    await client.xtrim(keys.key(0, "events"), maxlen=0, approximate=False)
    assert await desk.page(gap) == module.Page([], trimmed=True)
    await desk.fill(gap, page, [])
    (gap,) = await gaps(world.shard)
    assert await desk.page(gap) == module.Page([], trimmed=False)
    await client.delete(keys.key(0, "events"))
    assert await desk.page(gap) == module.Page([], trimmed=False)


async def test_what_was_trimmed_while_it_was_pending_is_noticed(world: World, desk: Desk) -> None:
    """By whoever claims it from a process that died, and by that process when it reads it again; once."""
    first, second, third = await tell(world, 3)
    await desk.read()
    client: Any = world.client
    await client.xtrim(keys.key(0, "events"), minid=second, approximate=False)
    other = await Desk(world.shard, world.client, "p2").begin()
    assert [entry for entry, _ in await other.claim(0)] == [second, third]
    assert (other.gone, await other.read("0"), other.gone) == ([first], await other.read("0"), [first])
    await client.xtrim(keys.key(0, "events"), maxlen=0, approximate=False)
    assert await other.read("0") == []
    assert other.gone == [first, second, third]


def test_an_id_is_followed_by_the_next_sequence() -> None:
    """Of the same millisecond."""
    assert after("17-0") == "17-1"
