"""Gaps on a real store and over real HTTP: what did not fit comes from the stream, once; what was trimmed is told."""

from pathlib import Path

import pytest

from smsd.shell import status_gaps, status_webhooks
from smsd.store import keys
from smsd.store import push as store
from smsd.store.push import gaps
from tests.support.pushing import endpoint, pushing
from tests.support.receiver import receiver


async def test_a_long_backlog_is_read_again_from_the_stream(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept has a bound; what came beyond it is told all the same, each event once."""
    monkeypatch.setattr(store, "MOST", 20)
    monkeypatch.setattr(store, "PAGE", 7)
    monkeypatch.setattr(status_gaps, "MOST", 20)
    monkeypatch.setattr(status_gaps, "PAGE", 7)
    monkeypatch.setattr(status_webhooks, "TICK_S", 0.01)
    async with receiver() as one, pushing(store_url, tmp_path, endpoint("platform", one.url)) as process:
        one.hang = True
        for i in range(150):
            await process.tell(f"m{i}")
        await one.wait_tries(20)
        await process.until(lambda: gaps(process.shard))
        assert await process.count("push") == 20
        one.let_go()
        await one.wait(150)
        for i in range(150, 200):
            await process.tell(f"m{i}")
        await one.wait(200)
        assert len(one.ids) == 200
        await process.until(process.empty)
        assert [gap.open for gap in await gaps(process.shard)] == [False]


async def test_a_replay_tells_again_what_was_told_before(store_url: str, tmp_path: Path) -> None:
    """From a point in time to another, of one tenant; then all is as it was."""
    async with receiver() as one, pushing(store_url, tmp_path, endpoint("platform", one.url)) as process:
        entries = [await process.tell(f"m{i}", tenant) for i in range(3) for tenant in ("acme", "other")]
        await one.wait(6)
        since, until = int(entries[0].split("-")[0]), int(entries[-1].split("-")[0]) + 1
        assert await store.replay(process.shard, "platform", since, until, "acme") == ""
        await one.wait_tries(9)
        await process.until(process.empty)
        assert await gaps(process.shard) == []
        assert one.tries() == {f"{t}/m{i}/2": 2 if t == "acme" else 1 for i in range(3) for t in ("acme", "other")}


async def test_what_was_trimmed_is_told_of(store_url: str, tmp_path: Path) -> None:
    """An event that is gone before it was delivered is counted and logged."""
    async with receiver() as one, pushing(store_url, tmp_path, endpoint("platform", one.url)) as process:
        one.answer = lambda _: 410
        await process.tell("m1")
        await process.logs.wait("status_disabled")
        await process.tell("m2")
        await process.until(lambda: gaps(process.shard))
        one.answer = lambda _: 200
        await process.client.xtrim(keys.key(0, "events"), maxlen=0, approximate=False)
        await store.enable(process.shard, "platform")
        await process.tell("m3")
        await one.wait(1)
        line = await process.logs.wait("status_lost")
        assert line["receiver"] == "platform"
        assert one.ids == ["acme/m3/2"]


async def test_what_was_trimmed_before_anybody_read_it_is_told_of(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for all receivers, with the last entry that was read."""
    monkeypatch.setattr(status_webhooks, "TIDY_EVERY_S", 0.0)
    monkeypatch.setattr(status_webhooks, "TRIMMED_MS", -1)
    async with receiver() as one, pushing(store_url, tmp_path, endpoint("platform", one.url)) as process:
        await process.tell("m1")
        await one.wait(1)
        name = keys.key(0, "events")
        await process.client.xtrim(name, maxlen=0, approximate=False)
        await process.tell("m2")

        async def seen() -> bool:
            await process.client.xgroup_setid(name, keys.PUSHERS, "1-0")  # as if it had read no further
            return "status_lost" in process.logs.events()

        await process.until(seen)
        line = await process.logs.wait("status_lost")
        assert line["receiver"] == "*"
        assert line["since"]  # its last entry before the trim, or the one that was set
    assert 'endpoint="platform",outcome="lost"' in process.metrics.render().decode()


async def test_what_was_trimmed_between_two_processes_is_told_of(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One had read it and died before it kept it; whoever claims it finds it gone."""
    monkeypatch.setattr(status_webhooks, "CLAIM_EVERY_S", 0.0)
    monkeypatch.setattr(status_webhooks, "CLAIM_IDLE_MS", 0)
    name = keys.key(0, "events")
    async with pushing(store_url, tmp_path, endpoint("platform", "http://127.0.0.1:9/")) as process:
        await process.until(process.reads)
        await process.stop()
        entry = await process.tell("m1")
        await process.client.xreadgroup(keys.PUSHERS, "dead", {name: ">"})
        await process.client.xtrim(name, maxlen=0, approximate=False)
        async with pushing(store_url, tmp_path, endpoint("platform", "http://127.0.0.1:9/")) as other:
            line = await other.logs.wait("status_lost")
            assert (line["receiver"], line["since"]) == ("*", entry)
