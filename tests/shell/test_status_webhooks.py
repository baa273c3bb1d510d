"""Status webhooks on a real store and over real HTTP: who is told what, and that nobody misses or delays anything."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from smsd.control.receivers import enable
from smsd.shell import status_webhooks as module
from smsd.shell.status_post import Poster
from smsd.store import hooks, keys
from smsd.store import push as store
from smsd.store.hooks import Hook
from smsd.store.push import gaps, shuts
from tests.support.pushing import Pusher, endpoint, pushing
from tests.support.receiver import SECRET, receiver
from tests.support.valkey import Valkey


async def test_an_event_comes_signed_and_typed(store_url: str, tmp_path: Path) -> None:
    """The library verifies it; its id is the event's, and its data are the event's fields in their types."""
    async with receiver() as one, pushing(store_url, tmp_path, endpoint("platform", one.url)) as process:
        await process.tell("m1", late="1", meta='{"visit": 7}', segments="2")
        (got,) = await one.wait(1)
        assert got.id == "acme/m1/2"
        assert got.body["type"] == "message.delivered"
        assert got.body["timestamp"].endswith("Z")
        data = got.body["data"]
        assert (data["id"], data["seq"], data["final"], data["late"], data["segments"]) == ("m1", 2, True, True, 2)
        assert data["meta"] == {"visit": 7}
        assert "event_id" not in data


async def test_each_is_told_what_it_asked_for(store_url: str, tmp_path: Path) -> None:
    """By tenant and by state; what nobody wants is told to nobody, and read all the same."""
    async with receiver() as every, receiver() as one:
        extra = endpoint("every", every.url, 'states = ["queued", "delivered"]')
        extra += endpoint("one", one.url, 'tenants = ["salon-1"]')
        async with pushing(store_url, tmp_path, extra) as process:
            await process.tell("a", "salon-1", "queued")
            await process.tell("b", "salon-1", "failed")
            await process.tell("c", "salon-2", "failed")
            await process.tell("d", "salon-2", "delivered")
            assert {got.id for got in await every.wait(2)} == {"salon-1/a/2", "salon-2/d/2"}
            assert [got.id for got in await one.wait(1)] == ["salon-1/b/2"]


async def test_nothing_is_read_where_nobody_is_to_be_told(store_url: str, tmp_path: Path) -> None:
    """No group of readers is made; with the first receiver there is one, from then on; with the last it goes."""
    async with receiver() as one, pushing(store_url, tmp_path, "") as process:
        await process.tell("before")
        assert not await process.reads()
        await process.swap(tmp_path, endpoint("platform", one.url))
        await process.until(process.reads)
        await process.tell("after")
        assert [got.id for got in await one.wait(1)] == ["acme/after/2"]
        await process.swap(tmp_path, "")
        await process.until(lambda: nobody_reads(process))


async def test_a_shard_is_read_where_its_own_tenants_are_to_be_told(store_url: str, tmp_path: Path) -> None:
    """A group of readers in another would be ended as nobody's, and made again, with a warning each time."""
    async with receiver() as own, pushing(store_url, tmp_path, "", shards=2) as process:
        await hooks.put(process.live.shards[1], "acme", Hook(own.url, ("delivered",), SECRET))
        await process.until(lambda: process.reads(1))
        await process.tell("after", shard=1)
        assert [got.id for got in await own.wait(1)] == ["acme/after/2"]
        assert not await process.client.exists(keys.key(0, "events"))  # which whoever reads makes
        assert not process.logs.lines


async def test_what_a_receiver_refuses_comes_again(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only 2xx is taken: a redirect is not followed, and the same id comes until it is."""
    monkeypatch.setattr("smsd.core.push.BACKOFF_US", (1000, 2000))
    async with receiver() as one, pushing(store_url, tmp_path, endpoint("platform", one.url)) as process:
        answers = iter([500, (302, {"Location": one.url}), 404, 200])
        one.answer = lambda _: next(answers)
        await process.tell("m1")
        await one.wait(1)
        assert one.tries() == {"acme/m1/2": 4}
    text = process.metrics.render().decode()
    assert 'smsd_status_webhooks_total{endpoint="platform",outcome="refused"} 3.0' in text


async def test_an_event_that_cannot_be_taken_keeps_no_other_back(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it has opened the breaker by itself: what comes after it is the next probe."""
    monkeypatch.setattr("smsd.core.push.BACKOFF_US", (1000, 2000))
    async with receiver() as one, pushing(store_url, tmp_path, endpoint("platform", one.url)) as process:
        one.answer = lambda got: 500 if got.id == "acme/bad/2" else 200
        await process.tell("bad")
        await process.logs.wait("status_down")
        await process.tell("good")
        assert [got.id for got in await one.wait(1)] == ["acme/good/2"]
        await process.logs.wait("status_back")


async def test_one_that_is_gone_is_disabled_until_it_is_enabled(store_url: str, tmp_path: Path) -> None:
    """After 410 nothing more comes; once it is enabled, what it was not told meanwhile does."""
    async with receiver() as one, pushing(store_url, tmp_path, endpoint("platform", one.url)) as process:
        one.answer = lambda _: 410
        await process.tell("m1")
        line = await process.logs.wait("status_disabled")
        assert "410" in line["detail"]
        (shut,) = (await shuts(process.shard)).values()
        assert shut.url == one.url
        one.answer = lambda _: 200
        for i in range(2, 5):
            await process.tell(f"m{i}")
        await process.until(lambda: gaps(process.shard))
        assert one.taken == []
        assert await store.enable(process.shard, "platform")
        await one.wait(4)
        assert sorted(one.ids) == [f"acme/m{i}/2" for i in range(1, 5)]


async def test_one_that_is_gone_is_told_nothing_of_any_shard(store_url: str, tmp_path: Path) -> None:
    """One 410 is enough, and said once; enabled, it hears of what happened meanwhile in all of them."""
    async with receiver() as one, pushing(store_url, tmp_path, endpoint("platform", one.url), shards=3) as process:
        one.answer = lambda _: 410
        await process.tell("m0", shard=1)
        await process.logs.wait("status_disabled")
        one.answer = lambda _: 200
        for number, shard in enumerate(process.live.shards):
            await process.tell(f"n{number}", shard=number)
            await process.until(lambda shard=shard: gaps(shard))
        assert one.taken == []
        assert await enable(process.live.shards, "platform")
        await one.wait(4)
        assert sorted(one.ids) == ["acme/m0/2", "acme/n0/2", "acme/n1/2", "acme/n2/2"]
    assert [line["event"] for line in process.logs.lines] == ["status_disabled"]


async def test_one_that_is_gone_is_another_one_under_another_url(store_url: str, tmp_path: Path) -> None:
    """Who changes the URL in the config need not enable it."""
    async with (
        receiver() as old,
        receiver() as new,
        pushing(store_url, tmp_path, endpoint("platform", old.url)) as process,
    ):
        old.answer = lambda _: 410
        await process.tell("m1")
        await process.logs.wait("status_disabled")
        await process.swap(tmp_path, endpoint("platform", new.url))
        assert [got.id for got in await new.wait(1)] == ["acme/m1/2"]


async def test_a_receiver_that_hangs_delays_no_other(store_url: str, tmp_path: Path) -> None:
    """It holds as many as it may have under way, and the others are told at once."""
    async with receiver() as slow, receiver() as well:
        slow.hang = True
        extra = endpoint("slow", slow.url, 'tenants = ["slow"]') + endpoint("well", well.url, 'tenants = ["well"]')
        async with pushing(store_url, tmp_path, extra) as process:
            for i in range(100):
                await process.tell(f"m{i}", "slow")
                await process.tell(f"m{i}", "well")
            await well.wait(100)
            assert slow.taken == []
            assert slow.under_way == 32
            slow.let_go()
            await slow.wait(100)
            assert sorted(slow.tries().values()) == [1] * 100
        waits = [got.at for got in well.got]
        assert max(waits) - min(waits) < 5


async def test_what_a_process_leaves_behind_another_takes_over(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with webhooks under way and events read: the other process tells all of them."""
    monkeypatch.setattr(module, "LEASE_US", 300_000)
    monkeypatch.setattr(module, "CLAIM_IDLE_MS", 100)
    monkeypatch.setattr(module, "CLAIM_EVERY_S", 0.05)
    async with receiver() as one:
        extra = endpoint("platform", one.url)
        one.hang = True
        async with pushing(store_url, tmp_path, extra) as first:
            for i in range(50):
                await first.tell(f"m{i}")
            await one.wait_tries(32)
        one.let_go()
        async with pushing(store_url, tmp_path, extra) as second:
            await second.tell("last")
            await one.wait(51)
            assert {got.id.split("/")[1] for got in one.got} == {f"m{i}" for i in range(50)} | {"last"}


async def test_a_process_that_stops_gives_back_what_is_under_way(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one need not wait for the end of a lease."""
    monkeypatch.setattr(module, "STOP_S", 0.05)
    async with receiver() as one:
        extra = endpoint("platform", one.url)
        one.hang = True
        async with pushing(store_url, tmp_path, extra) as first:
            await first.tell("m1")
            await one.wait_tries(1)
            await first.stop()
        one.hang = False
        async with pushing(store_url, tmp_path, extra):
            await one.wait_tries(2)
            assert "acme/m1/2" in one.ids


async def test_an_idle_process_ends_at_once(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that waits for events is not waited for."""
    monkeypatch.setattr(store, "BLOCK_MS", 4000)
    async with receiver() as one, pushing(store_url, tmp_path, endpoint("platform", one.url)) as process:
        async with asyncio.timeout(10):
            while (await process.client.info("clients"))["blocked_clients"] == 0:
                pass
        async with asyncio.timeout(2):
            await process.stop()


async def test_a_store_that_hangs_keeps_no_process_from_ending(
    start_valkey: Callable[..., Valkey], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last word is not waited for as long as a call of the store may take."""
    monkeypatch.setattr(module, "LEAVE_S", 0.05)
    server = start_valkey()
    async with receiver() as one, pushing(server.url, tmp_path, endpoint("platform", one.url)) as process:
        os.kill(server.pid, signal.SIGSTOP)
        async with asyncio.timeout(3):
            await process.status.stop()
        os.kill(server.pid, signal.SIGCONT)


async def test_a_tenant_is_told_at_a_url_of_its_own(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From when it sets it until it drops it, signed by its own secret, beside whoever the config names."""
    monkeypatch.setattr(module, "FOLLOW_EVERY_S", 0.01)
    async with receiver() as own, receiver() as every, pushing(store_url, tmp_path, "") as process:
        await hooks.put(process.shard, "acme", Hook(own.url, ("delivered",), SECRET))
        await process.until(process.reads)
        await process.tell("m1")
        await process.tell("m2", "other")
        assert [got.id for got in await own.wait(1)] == ["acme/m1/2"]
        await process.swap(tmp_path, endpoint("platform", every.url))
        await process.tell("m3")
        assert [got.id for got in await every.wait(1)] == ["acme/m3/2"]
        assert [got.id for got in await own.wait(2)][1] == "acme/m3/2"
        assert await hooks.drop(process.shard, "acme")
        await process.until(lambda: nobody_of(process, "tenant:acme"))
        await process.tell("m4")
        await every.wait(2)
        assert len(own.ids) == 2
    text = process.metrics.render().decode()
    assert 'smsd_status_webhooks_total{endpoint="tenants",outcome="delivered"} 2.0' in text


async def test_a_tenants_url_leads_to_no_address_inside(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it came into the store: what would call loopback is a failure, and no request."""
    monkeypatch.setattr(module, "FOLLOW_EVERY_S", 0.01)
    async with receiver() as inside, pushing(store_url, tmp_path, "", guard=Poster(guarded=True)) as process:
        await hooks.put(process.shard, "acme", Hook(inside.url, ("delivered",), SECRET))
        await hooks.put(process.shard, "other", Hook("https://localhost:1/", ("delivered",), SECRET))
        await process.until(process.reads)
        for i in range(3):
            await process.tell(f"m{i}")
            await process.tell(f"m{i}", "other")
        await process.logs.wait("status_down")
        assert inside.got == []


async def nobody_reads(process: Pusher) -> bool:
    return not await process.reads()


async def nobody_of(process: Pusher, name: str) -> bool:
    return name not in process.status.lanes.of
