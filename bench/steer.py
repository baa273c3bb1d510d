"""`make bench-steer`: how soon an operator's word holds at the carrier, with 500,000 messages queued and 4 workers.

Pauses and resumes a campaign, lowers a tenant's limit, cancels the campaign; and looks, in the carrier's own ledger,
when the last message left that should not have left, and when the first one did that may leave again. Prints a line of
JSON; exit code 1 when something did not hold within a second.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
from redis.asyncio import Redis

from bench.rig import Entry, Rig, number, rig
from smsd.config import Config, load
from smsd.control.limits import limits
from smsd.control.overview import overview
from smsd.control.story import story
from smsd.control.tenants import Tenants
from smsd.store import keys
from smsd.store.holds import pause, resume, withdraw, withdrawals
from smsd.store.shard import Shard

WITHIN_S = 1.0
LOOK_MS = 200.0
WATCHED_S = 4.0
LOWERED = 50  # a second

CONFIG = """\
[dispatch]
drain_s = 1
[tenant_defaults]
limits = ["100000/s"]
[routes.default]
providers = [{{ use = "carrier" }}]
[providers.carrier]
type = "fake"
base_url = "{carrier}"
limits = ["600/s"]
max_in_flight = 128
"""


class Steered(msgspec.Struct, kw_only=True):
    """What was seen. Seconds count from the moment when the store had the word."""

    queued: int
    pause_s: float = 0.0  # until the last message of the paused campaign
    resume_s: float = 0.0  # until its first one again
    limit_s: float = 0.0  # until no second begins that has more than the lowered limit allows
    cancel_s: float = 0.0  # until the last message of the cancelled campaign
    told_s: float = 0.0  # until each of its messages had its event
    cancelled: int = 0
    beside: int = 0  # messages of the other campaign that left while the first was paused
    overview_ms: float = 0.0  # what `smsd top` looks at
    story_ms: float = 0.0  # what `smsd trace` tells of a message deep in the queue
    limits_ms: float = 0.0
    failed: list[str] = []


class Bench:
    """One rig, steered as the commands do it."""

    def __init__(self, made: Rig) -> None:
        self.made = made

    def steer(self, act: Callable[[Shard], Awaitable[object]]) -> int:
        """Does it; returns when the store had it, in µs of CLOCK_MONOTONIC."""

        async def call() -> None:
            async with Redis.from_url(self.made.store_url) as client:
                await act(Shard(client))

        asyncio.run(call())
        return time.monotonic_ns() // 1000

    def left(self, campaign: str) -> list[int]:
        """When each message of a campaign came to the carrier, in µs of CLOCK_MONOTONIC."""
        mark = f".blast/{campaign}-"
        return [line.mono_us for line in self.made.carrier.ledger() if line.sid and mark in line.reference]

    def watch(self) -> None:
        self.made.pass_time(WATCHED_S)


def entries(count: int) -> Iterator[Entry]:
    """Two campaigns of one tenant, in turns, and as many reminders of 10,000 others."""
    for i in range(count):
        fields = {"to": number(i), "body": "20 % off all week. Reply STOP."}
        if i % 4 < 2:
            name = ("spring", "summer")[i % 2]
            yield "marketing", fields | {"tenant": "blast", "id": f"{name}-{i}", "campaign": name}
        else:
            yield "reminder", fields | {"tenant": f"t{i // 4 % 10_000}", "id": f"m{i}"}


def run(queued: int, workers: int) -> Steered:
    """All steps, one after the other."""
    seen = Steered(queued=queued)
    with rig(CONFIG) as made:
        bench = Bench(made)
        made.start_daemon(workers)
        bench.steer(lambda shard: pause(shard, "t:blast"))
        bench.steer(lambda shard: pause(shard, "c:reminder"))  # they only lie there
        made.enqueue(entries(queued))
        made.wait_for(lambda: made.admitted() >= queued, 600, "the backlog is not taken")
        config = load(made.path)
        bench.steer(lambda shard: _look(shard, config, seen))
        bench.steer(lambda shard: resume(shard, "t:blast"))
        bench.watch()

        at = bench.steer(lambda shard: pause(shard, "k:blast|spring", by="bench", reason="measured"))
        bench.watch()
        seen.pause_s = _after(bench.left("spring"), at, last=True)
        seen.beside = sum(us > at + 1_000_000 for us in bench.left("summer"))

        at = bench.steer(lambda shard: resume(shard, "k:blast|spring"))
        bench.watch()
        seen.resume_s = _after(bench.left("spring"), at, last=False)

        at = bench.steer(lambda shard: Tenants(config, [shard]).put("blast", {"limits": [f"{LOWERED}/s"]}))
        bench.watch()
        seen.limit_s = _over(sorted(bench.left("spring") + bench.left("summer")), at)
        bench.steer(lambda shard: Tenants(config, [shard]).drop("blast"))
        bench.watch()

        at = bench.steer(lambda shard: withdraw(shard, "k:blast|spring", by="bench"))
        began = time.monotonic()
        bench.watch()
        seen.cancel_s = _after(bench.left("spring"), at, last=True)
        made.wait_for(lambda: not made.redis.exists(keys.key(0, "withdrawing")), 300, "not all are cancelled")
        seen.told_s = round(time.monotonic() - began, 2)
        seen.cancelled = sum(event["state"] == "cancelled" for event in made.events())
        known: list[bool] = []
        bench.steer(lambda shard: _done(shard, known))
        left = len(bench.left("spring"))
        if known != [True] or left + seen.cancelled != queued // 4:
            seen.failed.append(f"{left} left and {seen.cancelled} were cancelled of {queued // 4}")
    late = {"pause": seen.pause_s, "resume": seen.resume_s, "limit": seen.limit_s, "cancel": seen.cancel_s}
    seen.failed += [f"the {what} held after {took} s" for what, took in late.items() if took > WITHIN_S]
    looks = {"overview": seen.overview_ms, "story": seen.story_ms, "limits": seen.limits_ms}
    seen.failed += [f"{what} takes {ms} ms" for what, ms in looks.items() if ms > LOOK_MS]
    if not seen.beside:
        seen.failed.append("nothing of the other campaign left beside the paused one")
    return seen


async def _look(shard: Shard, config: Config, seen: Steered) -> None:
    """The slowest of ten of each look that a person waits for."""
    deep = f"summer-{seen.queued - 3}"

    async def timed(ask: Callable[[], Awaitable[object]]) -> float:
        took: list[float] = []
        for _ in range(10):
            since = time.perf_counter()
            assert await ask() is not None
            took.append(time.perf_counter() - since)
        return round(max(took) * 1000, 1)

    seen.overview_ms = await timed(lambda: overview(config, [shard]))
    seen.story_ms = await timed(lambda: story(config, shard, "blast", deep, time.time_ns() // 1000))
    seen.limits_ms = await timed(lambda: limits(config, shard, "blast", time.time_ns() // 1000))


async def _done(shard: Shard, known: list[bool]) -> None:
    known += [one.done for one in await withdrawals(shard)]


def _after(times: list[int], at: int, *, last: bool) -> float:
    """Seconds from `at` to the last, or first, of these that came after it; 0: none did"""
    later = [us for us in times if us > at]
    if not later:
        return 0.0 if last else 1e9
    return round(((max if last else min)(later) - at) / 1e6, 3)


def _over(times: list[int], at: int) -> float:
    """Seconds after `at` from which on no second begins that has more than the lowered limit allows."""
    begins = [times[i - LOWERED] for i in range(LOWERED, len(times)) if times[i] - times[i - LOWERED] < 1_000_000]
    return round(max(0, max(begins, default=at) - at) / 1e6, 3)


def main() -> int:
    """Prints it. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queued", type=int, default=500_000)
    parser.add_argument("--workers", type=int, default=4)
    args = parser.parse_args()
    seen = run(args.queued, args.workers)
    print(msgspec.json.encode(seen).decode())
    return 1 if seen.failed else 0


if __name__ == "__main__":
    sys.exit(main())
