"""`make bench-scale`: what a backlog costs. Messages a second, memory of the store, memory of the process.

Two rigs, one with many tenants and a long backlog, one with few and a short one, take turns: the same number of
messages each time, one daemon working while the other is stopped. So the machine's mood is in both, and the ratio
stands. Prints a line of JSON; exit code 1 when a claim does not hold.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
from redis.asyncio import Redis

from bench.rig import Entry, Rig, number, rig, rss_kb
from smsd.store import keys
from smsd.store.holds import pause, resume
from smsd.store.shard import Shard

WITHIN = 0.15
BYTES_MOST = 900
RSS_WITHIN = 1.25  # a process with a long backlog may hold so much more than one with a short one
TAKEN_S = 600.0
BODY = ("Your appointment is tomorrow at ten. Reply C to confirm or call us to move it ...." + " " * 80)[:80]
EDGE = 0.1  # of a turn, at its beginning and at its end, that is not measured

CONFIG = """\
[dispatch]
drain_s = 1
[tenant_defaults]
limits = ["100000/s", "5000000/d"]
sender = "Salon"
region = "IE"
route = "default"
[routes.default]
providers = [{{ use = "carrier" }}]
[providers.carrier]
type = "fake"
base_url = "{carrier}"
limits = ["100000 segments/s"]
max_in_flight = 128
"""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two."""

    tenants: int
    queued: int
    per_s: float  # the median of its turns
    turns: list[float]
    store_bytes: int  # per queued message, all told
    events_bytes: int  # of these, for its event in the stream
    rss_mb: float  # of the worker, with the backlog there, after all turns


class Scaled(msgspec.Struct, frozen=True, kw_only=True):
    """Both, side by side."""

    large: Side
    small: Side
    ratio: float  # of large's turns to the small ones beside them, the median
    store_allocator: str
    failed: list[str]


class Rigged:
    """A rig whose provider is paused but for its turns."""

    def __init__(self, made: Rig, tenants: int, queued: int) -> None:
        self.made, self.tenants, self.queued = made, tenants, queued
        self.turns: list[float] = []
        self.store_bytes = self.events_bytes = 0
        self._written = 0
        made.start_daemon()
        self._steer(paused=True)

    def fill(self) -> None:
        """Admits the backlog and weighs it, with the inbox empty again."""
        before = self._memory()
        self._refill(self.queued)
        after, events = self._memory(), self.made.redis.memory_usage(keys.key(0, "events"), samples=0)
        self.store_bytes = (after - before) // self.queued
        self.events_bytes = int(events or 0) // self.queued  # pyright: ignore[reportArgumentType]

    def turn(self, count: int) -> None:
        """Lets `count` messages leave, notes how fast the middle of them went, and fills the backlog up again."""
        taken = self.made.carrier.reset().taken
        assert taken == 0
        self._steer(paused=False)
        self.made.wait_for(lambda: self.made.carrier.stats().taken >= count, 120, "the turn does not end", 0.02)
        self._steer(paused=True)
        left = -1
        while left != (left := self.made.carrier.stats().taken):  # what had been leased still leaves
            self.made.pass_time(0.3)
        arrived = [line.mono_us for line in self.made.carrier.ledger() if line.sid][:count]
        first, last = int(count * EDGE), int(count * (1 - EDGE)) - 1
        self.turns.append((last - first) / ((arrived[last] - arrived[first]) / 1e6))
        self._refill(left)
        self.made.carrier.wait_idle(10)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """So that it costs nothing while it is not its turn."""
        assert self.made.daemon is not None
        os.kill(self.made.daemon.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.made.daemon.pid, signal.SIGCONT)

    def side(self) -> Side:
        """What is told of it."""
        return Side(
            tenants=self.tenants,
            queued=self.queued,
            per_s=round(statistics.median(self.turns), 1),
            turns=[round(turn, 1) for turn in self.turns],
            store_bytes=self.store_bytes,
            events_bytes=self.events_bytes,
            rss_mb=round(rss_kb(self.made.workers()[0]) / 1024, 1),
        )

    def _entries(self, count: int) -> Iterator[Entry]:
        for _ in range(count):
            i = self._written
            self._written += 1
            yield ("reminder" if i % 3 == 0 else "marketing"), {
                "tenant": f"t{i % self.tenants}", "id": f"m{i}", "to": number(i), "body": BODY,
            }  # fmt: skip

    def _refill(self, count: int) -> None:
        self.made.enqueue(self._entries(count))
        self.made.wait_for(lambda: self.made.admitted() >= self._written, TAKEN_S, "the backlog is not taken")
        inboxes = [keys.inbox(0, class_) for class_ in ("reminder", "marketing")]
        self.made.wait_for(lambda: not any(self.made.redis.xlen(one) for one in inboxes), 30, "inboxes are not drained")

    def _memory(self) -> int:
        info = self.made.redis.info("memory")  # pyright: ignore[reportUnknownMemberType]
        return int(info["used_memory"])  # pyright: ignore

    def _steer(self, *, paused: bool) -> None:
        """As an operator would: `smsd pause provider carrier`."""

        async def steer() -> None:
            async with Redis.from_url(self.made.store_url) as client:
                shard = Shard(client)
                await (pause(shard, "p:carrier", reason="bench") if paused else resume(shard, "p:carrier"))

        asyncio.run(steer())


def run(large: tuple[int, int], small: tuple[int, int], turns: int, count: int) -> Scaled:
    """(tenants, queued) of both; each gets so many turns of `count` messages, after one that warms it up."""
    with rig(CONFIG) as first, rig(CONFIG) as second:
        few = Rigged(second, *small)
        few.fill()
        with few.stopped():
            many = Rigged(first, *large)
            many.fill()
        for _ in range(turns + 1):
            for own, other in ((few, many), (many, few)):
                with other.stopped():
                    own.turn(count)
        for one in (few, many):
            del one.turns[0]
        ratio = statistics.median(a / b for a, b in zip(many.turns, few.turns, strict=True))
        scaled = Scaled(
            large=many.side(), small=few.side(), ratio=round(ratio, 3), store_allocator=first.allocator, failed=[]
        )
    return msgspec.structs.replace(scaled, failed=judge(scaled))


def judge(scaled: Scaled) -> list[str]:
    """The claims that do not hold."""
    failed: list[str] = []
    large, small = scaled.large, scaled.small
    if scaled.ratio < 1 - WITHIN:
        failed.append(f"with {large.queued} queued it goes at {scaled.ratio:.0%} of the pace with {small.queued}")
    if large.store_bytes > BYTES_MOST:
        failed.append(f"{large.store_bytes} bytes of the store per queued message: {BYTES_MOST} at most may be")
    if large.rss_mb > RSS_WITHIN * small.rss_mb:
        failed.append(f"the process has {large.rss_mb} MB with the long backlog, {small.rss_mb} with the short one")
    return failed


def main() -> int:
    """Prints it. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--queued", type=int, default=500_000)
    parser.add_argument("--small-tenants", type=int, default=10)
    parser.add_argument("--small-queued", type=int, default=5_000)
    parser.add_argument("--turns", type=int, default=10)
    args = parser.parse_args()
    large, small = (args.tenants, args.queued), (args.small_tenants, args.small_queued)
    scaled = run(large, small, args.turns, min(5_000, args.small_queued))
    print(msgspec.json.encode(scaled).decode())
    return 1 if scaled.failed else 0


if __name__ == "__main__":
    sys.exit(main())
