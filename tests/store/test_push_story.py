"""Random stories of processes and receivers of status webhooks: whatever happens, no event is missing untold."""

import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from smsd.store import keys
from smsd.store import push as module
from smsd.store.connect import connect
from smsd.store.push import Push, Pushes, Shut, disable, enable
from tests.support.world import SECOND, World

LEASE = 15 * SECOND
NAMES = ("a", "b")
Order = tuple[float, float]
Deed = Callable[[int], Awaitable[None]]
END: Order = (math.inf, 0)


@pytest.fixture
async def world(store_url: str) -> AsyncIterator[World]:
    """An empty shard, reached as a process reaches it."""
    store = connect(store_url)
    made = World(store.client)
    await made.put()
    yield made
    await store.aclose()


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that a story of some hundred events comes to all of them."""
    for name, n in (("MOST", 6), ("PAGE", 3), ("BATCH", 4)):
        monkeypatch.setattr(module, name, n)


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_nothing_is_missing(world: World, seed: int, late: bool) -> None:
    """Two processes read, keep, push, fail and fill gaps in any order and beyond the bound, while a receiver is shut
    now and then: each is told every event, and twice only what a process kept long after it had read it.
    """
    story = await Story(world, random.Random(seed), late=late).begin()
    for _ in range(150):
        await story.step()
    await story.end()
    for name in NAMES:
        told = story.told[name]
        assert sorted(set(told)) == sorted(story.entries), name
        assert late or len(told) == len(story.entries), name


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("trims", [False, True])
@pytest.mark.parametrize("seed", range(12))
async def test_what_was_read_long_ago_comes_to_receivers_that_are_full(world: World, seed: int, trims: bool) -> None:
    """A process that hangs has read events that another claims when receivers hold all they may: each is told, or told
    as lost where the stream was trimmed of it before.
    """
    story = await Story(world, random.Random(seed), late=True, slow=True, trims=trims).begin()
    for _ in range(150):
        await story.step()
    await story.end()
    for name in NAMES:
        missing = [entry for entry in story.entries if entry not in set(story.told[name])]
        assert [entry for entry in missing if not story.is_lost(name, entry)] == [], name
        assert trims or not missing, name


class Story:
    """Random deeds of two processes, and what receivers were told. `late`: what is read is kept later; `slow`: seldom
    does a receiver take anything; `trims`: the stream is, now and then.
    """

    def __init__(
        self, world: World, rng: random.Random, *, late: bool, slow: bool = False, trims: bool = False
    ) -> None:
        self.world, self.rng, self.late, self.slow, self.trims = world, rng, late, slow, trims
        self.client: Any = world.client
        self.desks = [Pushes(world.shard, world.client, f"p{n}") for n in (1, 2)]
        self.entries: list[str] = []
        self.told: dict[str, list[str]] = {name: [] for name in NAMES}
        self.lost: list[tuple[str, Order, Order]] = []  # receiver, from, until
        self.under_way: list[Push] = []
        self.read_by: dict[int, list[str]] = {0: [], 1: []}
        world.shard.now_us = world.now = 2 * 10**15  # behind all entries, which the server's clock stamps

    async def begin(self) -> "Story":
        await self.desks[0].open()
        return self

    async def step(self) -> None:
        deeds: list[Deed] = [
            self.tell,
            self.read,
            self.keep,
            self.keep,
            self.take,
            self.answer,
            self.answer,
            self.fill,
            self.turn,
        ]
        if self.slow:
            deeds = [self.tell, self.tell, self.hang, self.hang, self.read, self.keep, self.fill, self.claim_all]
            deeds = [*deeds, *deeds, *deeds, self.take, self.answer, self.turn]
        if self.trims:
            deeds.append(self.trim)
        await self.rng.choice(deeds)(self.rng.randrange(2))
        self.world.pass_time(1000)

    async def tell(self, _: int) -> None:
        for _ in range(self.rng.randrange(1, 6)):
            n = len(self.entries)
            fields = {"event_id": f"acme/m{n}/1", "tenant": "acme", "state": "delivered", "at": "1"}
            self.entries.append((await self.client.xadd(keys.key(0, "events"), fields)).decode())

    async def read(self, who: int) -> None:
        """If `late`, it may be long before it is kept."""
        answer = await self.client.execute_command(
            "XREADGROUP", "GROUP", keys.PUSHERS, f"p{who + 1}", "COUNT", 4, "STREAMS", keys.key(0, "events"), ">"
        )
        self.read_by[who] += [row[0].decode() for row in (answer[0][1] if answer else ())]
        if not self.late:
            await self.keep(who)

    async def hang(self, who: int) -> None:
        """Reads, and never comes to keep it."""
        was, self.late, kept = self.late, True, self.read_by[who]
        await self.read(who)
        self.late, self.read_by[who] = was, kept

    async def claim_all(self, who: int) -> None:
        """Long after."""
        for _ in range(self.rng.choice((0, 0, 0, 9))):
            await self.claim(who)

    async def claim(self, who: int) -> None:
        """Takes over what the other one has read and not kept, and keeps it."""
        claimed = [entry for entry, _ in await self.desks[who].claim(0)]
        await self.keep_these([who], claimed)

    async def keep(self, who: int) -> None:
        """Or another process claims it all, and both do."""
        both = self.rng.random() < 0.2
        await self.keep_these((who, 1 - who) if both else (who,), self.read_by[who])
        self.read_by[who] = []

    async def keep_these(self, processes: "tuple[int, ...] | list[int]", entries: list[str]) -> None:
        for one in processes:
            rows = [(entry, [(name, self.rng.random() < 0.5) for name in NAMES]) for entry in entries]
            kept = await self.desks[one].keep(rows, LEASE)
            self.under_way += [push for push in kept if push is not None]

    async def take(self, who: int) -> None:
        for taken in await self.desks[who].take([(name, self.rng.randrange(4)) for name in NAMES], 10**12):
            self.under_way += taken.pushes

    async def answer(self, who: int) -> None:
        self.rng.shuffle(self.under_way)
        for push in [self.under_way.pop() for _ in range(min(3, len(self.under_way)))]:
            (event,) = await self.desks[who].events([push.entry])
            well = self.rng.random() < 0.7 or event is None
            if event is None:
                self.lost.append((push.receiver, order(push.entry), order(push.entry)))
            elif well:
                self.told[push.receiver].append(push.entry)
            due_us = 0 if well else self.world.now + self.rng.randrange(5000)
            done = await self.desks[who].done([(push.member, due_us, push.tries + 1)])
            assert done == 1 or self.late, "an event that was kept twice may be taken twice at one instant"

    async def fill(self, who: int) -> None:
        for gap in [one for one in await self.desks[who].gaps() if one.open]:
            page = await self.desks[who].page(gap)
            filled = await self.desks[1 - who].fill(gap, page, [entry for entry, _ in page.events])
            if filled and page.trimmed:
                until = order(page.events[0][0]) if page.events else END if gap.upto == "+" else order(gap.upto)
                self.lost.append((gap.receiver, order(gap.cursor), until))

    async def turn(self, _: int) -> None:
        if not await enable(self.world.shard, "a"):
            await disable(self.world.shard, "a", Shut(1, "gone"))

    async def trim(self, _: int) -> None:
        """Events that the group has read go; of those that it has not, `trimmed` tells."""
        if self.entries:
            (group,) = await self.client.xinfo_groups(keys.key(0, "events"))
            read = group["last-delivered-id"].decode()
            until = self.rng.choice(self.entries[-12:])
            if order(until) <= order(read):
                await self.client.xtrim(keys.key(0, "events"), minid=until, approximate=False)

    def is_lost(self, name: str, entry: str) -> bool:
        """Whether the receiver's operator was told so."""
        ranges = [(since, until) for one, since, until in self.lost if one == name]
        unkept = any(entry in desk.gone for desk in self.desks)
        return unkept or any(since <= order(entry) <= until for since, until in ranges)

    async def end(self) -> None:
        """All is enabled and answered."""
        await enable(self.world.shard, "a")
        self.rng.random = lambda: 0.5  # type: ignore[method-assign]
        for _ in range(40 + len(self.entries)):
            for who in (0, 1):
                await self.read(who)
                await self.keep(who)
                await self.claim(who)
                await self.fill(who)
                await self.take(who)
                await self.answer(who)
            self.world.pass_time(10_000)


def order(entry: str) -> Order:
    """Of entries in the stream."""
    ms, _, seq = entry.partition("-")
    return int(ms), int(seq)
