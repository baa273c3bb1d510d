"""Hard limits on the real scripts: no window holds more than N, wherever it starts, and what a burst leaves is used.

The instants are those at which the store charged; `make bench-limits` looks at the carrier, with real processes.
"""

import bisect
import random

import pytest

from smsd.core.limit import Limit, parse
from tests.support.world import HOUR, SECOND, SLACK, World, limits


def fullest_window(charges: list[tuple[int, int]], period_us: int) -> int:
    """The largest sum of costs in any half-open window of this length. charges: (instant, cost), in order."""
    instants = [at for at, _ in charges]
    sums = [0]
    for _, cost in charges:
        sums.append(sums[-1] + cost)
    return max(
        (sums[bisect.bisect_left(instants, at + period_us)] - sums[i] for i, at in enumerate(instants)), default=0
    )


async def drive(world: World, seconds: float, seed: int, tenants: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Leases at random moments, sometimes nothing for long; (tenant, instant, segments) of what left, in order."""
    rng = random.Random(seed)
    until, left = world.now + int(seconds * SECOND), []
    while world.now < until:
        for leased in await world.take(50):
            left.append((leased.message.tenant, world.now, leased.message.segments))
            await world.accept(leased)
        world.pass_time(rng.choice((200, 1_000, 7_000, 20_000, 50_000, 400_000)))
    assert set(tenants) >= {tenant for tenant, _, _ in left}
    return left


def cost_of(limit: Limit, segments: int) -> int:
    """What one message of so many segments costs under the limit."""
    return segments if limit.segments else 1


@pytest.mark.parametrize(
    "texts",
    [("20/s",), ("10/s burst 5",), ("5/s", "30/10s"), ("12 segments/s",), ("7/s burst 7", "40 segments/5s"), ("90/m",)],
)
async def test_no_window_is_over_its_limit(world: World, texts: tuple[str, ...]) -> None:
    """Whatever the moments of leasing, no window of any of a tenant's limits holds more than N."""
    await world.limit("acme", *texts)
    rng = random.Random(repr(texts))
    for i in range(400):
        await world.send("acme", f"m{i}", segments=rng.choice((1, 1, 1, 2, 3)), sender=f"S{i % 3}")
    left = await drive(world, 12, 1, ("acme",))
    assert len(left) > 10
    for text in texts:
        limit = parse(text)
        charges = [(at, cost_of(limit, segments)) for _, at, segments in left]
        assert fullest_window(charges, limit.period_us) <= limit.n


async def test_a_counted_limit_lets_all_leave_at_once_and_no_window_is_over(world: World) -> None:
    """Over a minute nothing is paced: N may leave at once; then nothing until they leave the sliding window."""
    await world.limit("acme", "100/h")
    for i in range(250):
        await world.send("acme", f"m{i}", deadline=world.now + 100 * HOUR)
    left: list[tuple[int, int]] = []
    for _ in range(300):
        for leased in await world.take(100):
            left.append((world.now, 1))
            await world.accept(leased)
        world.pass_time(60 * SECOND)
    assert [at for at, _ in left].count(left[0][0]) == 100
    assert len(left) == 250
    assert fullest_window(left, HOUR) <= 100


async def test_what_a_limits_burst_leaves_is_used(world: World) -> None:
    """A busy tenant gets at least 95 % of (N-b+1)/N·P/(P+slack) of its limit over a long run."""
    await world.limit("acme", "20/s")
    for i in range(700):
        await world.send("acme", f"m{i}")
    left, until = 0, world.now + 30 * SECOND
    while world.now < until:
        lease = await world.ask(50)
        for leased in lease.messages:
            left += 1
            await world.accept(leased)
        world.pass_time(lease.wake_us - world.now + 500)  # a process that wakes half a millisecond late
    n, b, p = 20, parse("20/s").burst, SECOND
    assert left >= 0.95 * 30 * n * (n - b + 1) / n * p / (p + SLACK)


async def test_all_limits_must_allow_or_none_is_charged(world: World) -> None:
    """A message that one limit refuses is charged to none: the others are used to the full by who may leave."""
    await world.put(s__Slow=limits("1/m"))
    await world.limit("acme", "10/s")
    for i in range(40):
        await world.send("acme", f"slow{i}", sender="Slow")
        await world.send("acme", f"fast{i}", sender="Fast")
    left = 0
    for _ in range(300):
        for leased in await world.take(50):
            left += leased.message.sender == "Fast"
            await world.accept(leased)
        world.pass_time(10_000)
    assert left >= 27


async def test_a_given_back_message_returns_its_counted_charge(world: World) -> None:
    """What is known not to have left gives its place in a counted limit back; nothing else does."""
    from tests.support.world import back

    await world.limit("acme", "2/h")
    for i in range(3):
        await world.send("acme", f"m{i}")
    one, two = await world.take()
    await world.settle(back(one))
    await world.accept(two)
    world.pass_time(SECOND)
    assert len(await world.take()) == 1
    world.pass_time(SECOND)
    assert await world.take() == []


async def test_a_provider_limit_holds_over_all_tenants(world: World) -> None:
    """The provider's own limit is charged by every tenant's messages, by segments where it says so."""
    await world.put(p__main=[1000, limits("30 segments/s")])
    for i in range(200):
        await world.send(f"t{i % 20}", f"m{i}", segments=1 + i % 3)
    left = await drive(world, 8, 3, tuple(f"t{i}" for i in range(20)))
    assert len(left) > 30
    assert fullest_window([(at, segments) for _, at, segments in left], SECOND) <= 30
