"""The passes of a process: bounded, at once again while there is more, and never the end of the process."""

import asyncio
import io
import time
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from smsd.config import Config
from smsd.control.revision import publish
from smsd.message import Message, Send
from smsd.shell import log as logs
from smsd.shell import sweeper as sweepers
from smsd.shell.live import Live, agree
from smsd.shell.sweeper import Sweeper
from smsd.store import holds, keys
from smsd.store.shard import Offer, Shard
from tests.support.config import config

LONG_AGO_US = 1_700_000_000_000_000


def made(client: Redis, mine: Config) -> tuple[Live, Sweeper, "Heard"]:
    file = Heard()
    live = Live(mine, [Shard(client)])
    return live, Sweeper(live, logs.setup(file=file)), file


async def ended(running: asyncio.Task[None]) -> None:
    """Cancelled, and gone with all that it had open."""
    running.cancel()
    await asyncio.wait([running], timeout=10)
    assert running.done()


class Heard(io.BytesIO):
    """A log that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._written = asyncio.Event()

    def write(self, line: object, /) -> int:
        self._written.set()
        return super().write(line)  # pyright: ignore[reportArgumentType]

    async def until(self, text: bytes, times: int) -> None:
        async with asyncio.timeout(10):
            while self.getvalue().count(text) < times:
                self._written.clear()
                await self._written.wait()


def sent(id: str, deadline_us: int) -> Send:
    message = Message("acme", id, "+353861234567", "Salon", "hi", "reminder", "default", "GSM-7", 1, "IE")
    return Send(message, "", id, 0, deadline_us)


async def ends(client: Any, n: int) -> list[dict[bytes, bytes]]:
    """Waits until `n` final events are on the stream."""
    found: list[dict[bytes, bytes]] = []
    after = "0"
    while len(found) < n:
        read = await client.xread({keys.key(0, "events"): after}, block=4000)
        assert read, f"only {len(found)} of {n} have ended"
        after = read[0][1][-1][0].decode()
        found += [pairs for _, pairs in read[0][1] if pairs[b"final"] == b"1"]
    return found


async def test_a_wrong_count_of_what_is_in_flight_is_mended_and_told(redis: Redis, tmp_path: Path) -> None:
    """The log has a line about it, for it means that a script once failed half way."""
    live, sweeper, file = made(redis, config(tmp_path))
    await agree(live)
    await redis.hset(keys.key(0, "inflight"), "p:main", "5")
    await sweeper.sweep(live.shards[0])
    assert b'"in_flight_mended"' in file.getvalue()
    assert await redis.hlen(keys.key(0, "inflight")) == 0


@pytest.mark.parametrize("kind", ["events", "dead"])
async def test_what_is_kept_is_bounded_by_the_config(redis: Redis, tmp_path: Path, kind: str) -> None:
    """Of events and of dead letters as many stay as [retention] says, and at most a node of the stream more."""
    live, sweeper, _ = made(redis, config(tmp_path, extra=f"[retention]\n{kind}_max = 1000\n"))
    await agree(live)
    async with redis.pipeline(transaction=False) as pipe:
        for _ in range(1500):
            pipe.xadd(keys.key(0, kind), {"reason": "internal"})
        await pipe.execute()
    await sweeper.sweep(live.shards[0])
    assert 1000 <= await redis.xlen(keys.key(0, kind)) <= 1100


async def test_a_sweep_goes_on_until_nothing_is_left(redis: Redis, tmp_path: Path) -> None:
    """More messages than one pass takes are ended without a pause between the passes."""
    live, sweeper, _ = made(redis, config(tmp_path))
    await agree(live)
    live.shards[0].now_us = LONG_AGO_US
    for at in range(0, 250, 50):
        batch = [sent(f"m-{i}", LONG_AGO_US + 1) for i in range(at, at + 50)]
        await live.shards[0].admit(batch, "reminder", from_inbox=False)
    live.shards[0].now_us = LONG_AGO_US + 2
    swept = await sweeper.sweep(live.shards[0])
    assert swept.expired == 250
    events = await ends(redis, 250)
    assert {event[b"state"] for event in events} == {b"expired"}


@pytest.mark.parametrize(
    ("dead", "paused_us", "reason"),
    [(["main"], None, b"provider_down"), ([], 0, b"provider_down"), ([], 3, b"provider_down"), ([], 2, b"expired")],
)
async def test_a_route_that_nobody_serves_is_the_reason(
    redis: Redis, tmp_path: Path, dead: list[str], paused_us: int | None, reason: bytes
) -> None:
    """What expires while its providers are dead or paused is told to have waited for one; a pause may be over."""
    live, _, file = made(redis, config(tmp_path))
    await agree(live)
    live.shards[0].now_us = LONG_AGO_US
    if paused_us is not None:
        await holds.pause(live.shards[0], "p:main", until_us=paused_us and LONG_AGO_US + paused_us)
    await live.shards[0].admit([sent("m", LONG_AGO_US + 1)], "reminder", from_inbox=False)
    live.shards[0].now_us = LONG_AGO_US + 2
    await Sweeper(live, logs.setup(file=file), dead_providers=lambda: dead).sweep(live.shards[0])
    assert (await ends(redis, 1))[0][b"reason"] == reason


async def test_what_is_left_on_the_sandbox_s_route_waits_for_nobody(redis: Redis, tmp_path: Path) -> None:
    """Once the sandbox is off nobody serves it, and that is why it expires."""
    live, sweeper, _ = made(redis, config(tmp_path))
    await agree(live)
    live.shards[0].now_us = LONG_AGO_US
    left = sent("m", LONG_AGO_US + 1)
    message = msgspec.structs.replace(left.message, route="sandbox")
    await live.shards[0].admit([msgspec.structs.replace(left, message=message)], "reminder", from_inbox=False)
    live.shards[0].now_us = LONG_AGO_US + 2
    await sweeper.sweep(live.shards[0])
    assert (await ends(redis, 1))[0][b"reason"] == b"provider_down"


async def test_running_it_ends_what_is_over(redis: Redis, tmp_path: Path) -> None:
    """Without being asked, a message past its deadline ends within the period."""
    live, sweeper, _ = made(redis, config(tmp_path))
    await agree(live)
    running = asyncio.create_task(sweeper.run())
    await live.shards[0].admit([sent("m", time.time_ns() // 1000 + 100_000)], "reminder", from_inbox=False)
    assert (await ends(redis, 1))[0][b"state"] == b"expired"
    await ended(running)


async def test_a_hurried_sweep_is_made_at_once(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a pause is lifted, nobody waits for the period to be over."""
    live, sweeper, _ = made(redis, config(tmp_path))
    await agree(live)
    await live.shards[0].admit([sent("m", time.time_ns() // 1000 + 60_000_000)], "reminder", from_inbox=False)
    await holds.pause(live.shards[0], "t:acme")
    await live.shards[0].lease("default", [Offer("main", 1, 1)], n=1, request="1", process="p", span_us=1_000_000)
    monkeypatch.setattr(sweepers, "PERIOD_S", 1000.0)
    running = asyncio.create_task(sweeper.run())
    await sweeper.sweep(live.shards[0])
    async with redis.pubsub() as line:
        await line.subscribe(keys.key(0, "bell"))
        await holds.resume(live.shards[0], "t:acme")
        sweeper.hurry()
        async with asyncio.timeout(10):
            rung: list[bytes] = []
            while b"default\tp" not in rung:
                heard = await line.get_message(timeout=5)
                rung.append(heard["data"] if heard else b"")
    await ended(running)


async def test_a_rung_config_is_followed_at_once(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bell is enough: a process follows without waiting for its next look."""
    monkeypatch.setattr(sweepers, "CATCH_UP_S", 1000.0)
    live, sweeper, _ = made(redis, config(tmp_path, limit="5/s"))
    await agree(live)
    swapped = asyncio.Event()
    live.on_swap(swapped.set)
    running = asyncio.create_task(sweeper.run())
    await asyncio.wait_for(redis.publish("unrelated", ""), 5)
    await publish(config(tmp_path, limit="9/s"), live.shards)
    sweeper.config_rung()
    await asyncio.wait_for(swapped.wait(), 5)
    assert (live.revision, live.config.tenant_defaults.limits[0].n) == (2, 9)
    await ended(running)


async def test_a_config_is_followed_without_a_bell(redis: Redis, tmp_path: Path) -> None:
    """A process that misses the bell follows within a second."""
    live, sweeper, _ = made(redis, config(tmp_path, limit="5/s"))
    await agree(live)
    swapped = asyncio.Event()
    live.on_swap(swapped.set)
    running = asyncio.create_task(sweeper.run())
    since = time.monotonic()
    await publish(config(tmp_path, limit="9/s"), live.shards)
    await asyncio.wait_for(swapped.wait(), 5)
    assert time.monotonic() - since < 1.2
    await ended(running)


class Ends(Shard):
    """Of a process that ends once a config is in force."""

    async def rewake(self) -> None:
        raise ConnectionError


async def test_a_raise_whose_publisher_ended_half_way_helps_those_who_wait(redis: Redis, tmp_path: Path) -> None:
    """Who waits at a limit of a day is looked at again by each process that follows, not by the publisher alone."""
    live, sweeper, _ = made(redis, config(tmp_path, limit="1/d"))
    await agree(live)
    (shard,), far_us = live.shards, (time.time_ns() // 1000) + 3600 * 1_000_000
    await shard.admit([sent("a", far_us), sent("b", far_us)], "reminder", from_inbox=False)

    async def take(request: str) -> int:
        lease = await shard.lease("default", [Offer("main", 1, 9)], n=9, request=request, process="p", span_us=1)
        return len(lease.messages)

    assert [await take("first"), await take("second")] == [1, 0]
    with pytest.raises(ConnectionError):
        await publish(config(tmp_path, limit="9/d"), [Ends(redis)])
    assert await take("third") == 0
    assert await sweeper.follow()
    assert await take("fourth") == 1


async def test_who_reads_of_a_swap_finds_it_told(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process has its new revision in the list of all before its log says so."""
    live, sweeper, file = made(redis, config(tmp_path))
    await agree(live)
    told: list[tuple[int, bool]] = []
    tell = sweeper.presence.tell

    async def telling() -> bool:
        told.append((live.revision, b"config_swapped" in file.getvalue()))
        return await tell()

    monkeypatch.setattr(sweeper.presence, "tell", telling)
    await publish(config(tmp_path, limit="9/d"), live.shards)
    assert await sweeper.follow()
    assert told == [(2, False)]
    assert b"config_swapped" in file.getvalue()


async def test_a_config_that_cannot_be_used_is_told(redis: Redis, tmp_path: Path) -> None:
    """The log says what is missing on this host, and which revision is kept."""
    live, sweeper, file = made(redis, config(tmp_path, env={}))
    await agree(live)
    named = '[providers.spare]\ntype = "twilio"\naccount_sid = "env:SID"\nauth_token = "env:TOKEN"\n'
    there = {"SID": "AC" + "0" * 32, "TOKEN": "secret"}
    await publish(config(tmp_path, env=there, extra=named), live.shards)
    assert not await sweeper.follow()
    line = orjson.loads(file.getvalue().splitlines()[-1])
    assert (line["event"], line["level"], line["kept"]) == ("config_not_followed", "error", 1)
    assert "SID" in line["mistakes"]


async def test_a_store_that_is_away_is_waited_for(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed pass is logged, and the next one is made."""
    monkeypatch.setattr(sweepers, "PERIOD_S", 0.01)
    nobody = Redis(host="127.0.0.1", port=9, retry=Retry(NoBackoff(), 0))
    _, sweeper, file = made(nobody, config(tmp_path))
    running = asyncio.create_task(sweeper.run())
    await file.until(b'"what":"sweep"', 2)
    assert not running.done()
    await ended(running)
    await nobody.aclose()
