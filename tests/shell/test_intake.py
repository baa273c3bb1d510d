"""Intake on a real store: what is taken, what is rejected and why, and that nothing is lost, whatever breaks."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from smsd.config import Config
from smsd.control.revision import publish
from smsd.control.tenants import Tenants
from smsd.core.fields import ENTRY_MAX_BYTES
from smsd.shell import intake as module
from smsd.shell.intake import FIELDS_KEPT, Intake, too_much
from smsd.shell.live import Live, reload
from smsd.shell.metrics import Metrics
from smsd.store import inbox, keys
from smsd.store.connect import Store, connect
from smsd.store.shard import Shard
from tests.support import config as configs
from tests.support.logs import Logs
from tests.support.scrape import counted
from tests.support.valkey import Valkey
from tests.support.world import ask

PATIENCE_MS = 20_000
GOOD = {"tenant": "acme", "to": "+353861234567", "body": "See you at ten."}


class Station:
    """An intake over one store, and what a platform does and sees there."""

    def __init__(self, store: Store, live: Live) -> None:
        self.store, self.live = store, live
        self.client = store.client
        self.logs, self.metrics = Logs(), Metrics()
        self.nudged: asyncio.Queue[str] = asyncio.Queue()
        self._seen = dict.fromkeys((shard.number for shard in live.shards), "0")
        self._intake = Intake(live, store.blocking, self.metrics, self.nudged.put_nowait, self.logs.logger)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "Station":
        self._task = asyncio.create_task(self._intake.run())
        return self

    async def stop(self) -> None:
        self._intake.stop()
        if self._task is not None:
            async with asyncio.timeout(20):
                await self._task

    async def write(self, class_: str = "reminder", shard: int = 0, **fields: Any) -> str:
        """XADD of a good entry with these fields changed; None leaves one out. Returns the entry's id."""
        return await self.raw(
            {name: value for name, value in {**GOOD, **fields}.items() if value is not None}, class_, shard
        )

    async def raw(self, fields: Mapping[Any, Any], class_: str = "reminder", shard: int = 0) -> str:
        entry_id: Any = await self.client.xadd(keys.inbox(shard, class_), dict(fields))
        return entry_id.decode()

    async def events(self, count: int, shard: int = 0) -> list[dict[str, str]]:
        """The next events of the shard, once they have been written."""
        got: list[dict[str, str]] = []
        stream = keys.key(shard, "events")
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while len(got) < count:
                answer: Any = await self.store.blocking.xread(
                    {stream: self._seen[shard]}, count=count - len(got), block=1000
                )
                for entry_id, fields in answer[0][1] if answer else ():
                    self._seen[shard] = entry_id.decode()
                    got.append({name.decode(): value.decode() for name, value in fields.items()})
        return got

    async def dead(self) -> list[dict[bytes, bytes]]:
        entries: Any = await self.client.xrange(keys.key(0, "dead"))
        return [fields for _, fields in entries]

    async def left(self, class_: str = "reminder", shard: int = 0) -> tuple[int, int]:
        """Entries in the inbox, and those that are pending."""
        pending: Any = await self.client.xpending(keys.inbox(shard, class_), keys.GROUP)
        return await self.client.xlen(keys.inbox(shard, class_)), pending["pending"]

    def counted(self, metric: str = "smsd_intake_total") -> dict[str, float]:
        """The counter's values by class and outcome."""
        return counted(self.metrics.render(), metric)


Make = Callable[..., Any]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Stations, stopped at the end: `await make(url, shards=1, process="")`."""
    async with contextlib.AsyncExitStack() as stack:

        async def one(url: str, *, shards: int = 1, process: str = "") -> Station:
            config = configs.config(tmp_path, env={**os.environ, "SMSD_STORE__SHARDS": str(shards)})
            store = connect(url)
            stack.push_async_callback(store.aclose)
            live = Live(config, [Shard(store.client, n) for n in range(shards)], process=process)
            with contextlib.suppress(Exception):  # a store that is away is part of some tests
                await publish(config, live.shards)
            station = Station(store, live)
            stack.push_async_callback(station.stop)
            return station

        yield one


@pytest.fixture
async def station(make: Make, store_url: str) -> Station:
    """One that runs on the shared server."""
    return (await make(store_url)).start()


@pytest.fixture(autouse=True)
def short_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blocking read ends soon, so that no test waits for it when it stops."""
    monkeypatch.setattr(inbox, "BLOCK_MS", 50)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done now and then is done at once, so that no test waits for it."""
    monkeypatch.setattr(module, "CLAIM_IDLE_MS", 1)
    monkeypatch.setattr(module, "CLAIM_EVERY_S", 0.0)
    monkeypatch.setattr(module, "FORGET_IDLE_MS", 1)
    monkeypatch.setattr(module, "FORGET_EVERY_S", 0.0)
    monkeypatch.setattr(module, "MEMORY_EVERY_S", 0.0)
    monkeypatch.setattr(module, "MEMORY_UNBOUNDED_S", 0.0)
    monkeypatch.setattr(module, "BACKOFF_S", (0.001, 0.01))


# ---- What is taken ---------------------------------------------------------------------------------------------------


async def test_an_entry_becomes_a_message(station: Station) -> None:
    """A good entry is queued, its route is nudged, and nothing of it stays in the inbox."""
    entry_id = await station.write(id="m1")
    [event] = await station.events(1)
    assert (event["state"], event["id"], event["entry_id"]) == ("queued", "m1", entry_id)
    assert await station.nudged.get() == "default"
    assert await station.left() == (0, 0)
    assert station.counted() == {'class="reminder",outcome="taken"': 1.0}


async def test_one_json_field_is_as_good(station: Station) -> None:
    """The fields may come as one JSON object."""
    await station.raw({"json": json.dumps({**GOOD, "id": "m1", "extra": 1, "more": 2})})
    [event] = await station.events(1)
    assert (event["state"], event["id"]) == ("queued", "m1")
    await station.nudged.get()
    assert station.counted("smsd_unknown_fields_total") == {'class="reminder"': 2.0}


async def test_what_was_written_before_the_first_start_is_taken(make: Make, store_url: str) -> None:
    """Inboxes that the platform filled before any intake ran are read from their beginning."""
    station = await make(store_url)
    for n in range(3):
        await station.write(id=f"m{n}")
    station.start()
    assert {event["id"] for event in await station.events(3)} == {"m0", "m1", "m2"}


async def test_the_heavier_class_goes_first(make: Make, store_url: str) -> None:
    """Of what waits in all inboxes the reminders are taken before the marketing, whichever was written first."""
    station = await make(store_url)
    for n in range(50):
        await station.write("marketing", id=f"b{n}")
    for n in range(50):
        await station.write("reminder", id=f"r{n}")
    station.start()
    assert [event["class"] for event in await station.events(100)] == ["reminder"] * 50 + ["marketing"] * 50


async def test_a_message_for_later_nudges_nobody(station: Station) -> None:
    """One with a not_before is queued with the time that it is due, and counted as such."""
    await station.write(id="m1", not_before=str(int(time.time() * 1000) + 3_600_000))
    [event] = await station.events(1)
    assert int(event["due"]) > time.time() * 1000
    await station.stop()
    assert station.nudged.empty()
    assert station.counted() == {'class="reminder",outcome="due"': 1.0}


async def test_a_repeat_is_counted_and_changes_nothing(station: Station) -> None:
    """The same id with the same content is taken once."""
    await station.write(id="m1")
    await station.write(id="m1")
    await station.write(id="m2")
    assert [event["id"] for event in await station.events(2)] == ["m1", "m2"]
    await station.stop()
    assert station.counted() == {
        'class="reminder",outcome="taken"': 2.0,
        'class="reminder",outcome="repeated"': 1.0,
    }


async def test_a_repeat_stays_one_when_its_time_is_over(make: Make, store_url: str) -> None:
    """After its not_after it is counted as before, and the first one's state is not contradicted by a rejection."""
    station: Station = await make(store_url)
    at_ms = 1_774_771_200_000
    station.live.shards[0].now_us = at_ms * 1000
    station.start()
    await station.write(id="m1", not_after=str(at_ms + 1000))
    assert [event["state"] for event in await station.events(1)] == ["queued"]
    station.live.shards[0].now_us = (at_ms + 2000) * 1000
    await station.write(id="m1", not_after=str(at_ms + 1000))
    await station.write(id="m1", not_after=str(at_ms + 1001))
    await station.write(id="m2", not_after=str(at_ms + 1000))
    assert [(event["given_id"], event["reason"]) for event in await station.events(2)] == [
        ("m1", "in_past"), ("m2", "in_past"),
    ]  # fmt: skip
    await station.stop()
    assert station.counted()['class="reminder",outcome="repeated"'] == 1.0
    assert len(await station.dead()) == 2
    assert await station.left() == (0, 0)


async def test_the_same_id_with_other_content_is_a_conflict(station: Station) -> None:
    """It is rejected as id_conflict, the first one stays as it is, and the dead stream keeps what was asked for."""
    await station.write(id="m1", meta="1", campaign="a")
    entry_id = await station.write(id="m1", body="Something else.", meta="2", campaign="b")
    _, event = await station.events(2)
    assert (event["state"], event["reason"], event["given_id"]) == ("rejected", "id_conflict", "m1")
    assert (event["meta"], event["campaign"]) == ("2", "b")
    assert event["id"] == f"reminder-{entry_id}"
    [dead] = await station.dead()
    assert dead[b"in.body"] == b"Something else."
    assert await station.left() == (0, 0)


async def test_cancels_are_told_apart_from_messages(station: Station) -> None:
    """What a cancel found is counted under its own name."""
    await station.write(id="m1")
    await station.raw({"op": "cancel", "tenant": "acme", "id": "m1"})
    await station.raw({"op": "cancel", "tenant": "acme", "id": "m2"})
    await station.write(id="m3")
    assert [event["state"] for event in await station.events(3)] == ["queued", "cancelled", "queued"]
    await station.stop()
    assert station.counted() == {
        'class="reminder",outcome="taken"': 2.0,
        'class="reminder",outcome="cancel_cancelled"': 1.0,
        'class="reminder",outcome="cancel_unknown"': 1.0,
    }


async def test_a_class_that_a_reload_brings_is_read(station: Station, tmp_path: Path, impatient: None) -> None:
    """An inbox is read as soon as its class is in force, without a restart and without a warning."""
    await station.write(id="m1")
    await station.events(1)
    config = configs.config(tmp_path, extra="\n[classes.otp]\nweight = 50\n")
    await publish(config, station.live.shards)
    station.live.swap(config, 2)
    await station.write("otp", id="m2")
    [event] = await station.events(1)
    assert event["class"] == "otp"
    assert "store_away" not in station.logs.events()


async def test_an_inbox_that_is_no_stream_stops_no_other(make: Make, store_url: str, impatient: None) -> None:
    """A class whose producers push to a list is told of and left out, until somebody has moved the list away."""
    station: Station = await make(store_url)
    await ask(station.client, "LPUSH", keys.inbox(0, "reminder"), "a text")
    station.start()
    await station.write("marketing", id="m1")
    assert [event["id"] for event in await station.events(1)] == ["m1"]
    assert (await station.logs.wait("inbox_is_no_stream"))["classes"] == ["reminder"]
    await station.client.delete(keys.inbox(0, "reminder"))
    await station.write(id="m2")
    assert [event["id"] for event in await station.events(1)] == ["m2"]
    told = [line for line in station.logs.lines if line["event"] == "inbox_is_no_stream"]
    assert [line["classes"] for line in told] == [["reminder"], []]


async def test_a_class_that_a_reload_drops_is_left_in_its_inbox(
    station: Station, tmp_path: Path, impatient: None
) -> None:
    """Also what a read that waits already brings, else queued for ever: it is taken once the class is back."""
    more, less = configs.config(tmp_path, extra="\n[classes.otp]\nweight = 50\n"), station.live.config
    station.live.swap(more, 2)
    await station.write("otp", id="m1")
    await station.events(1)
    while not (await ask(station.client, "INFO", "clients"))["blocked_clients"]:
        pass  # until the next read waits, for all three classes
    station.live.swap(less, 3)
    await station.write("otp", id="m2")
    await station.write(id="m3")
    assert [event["id"] for event in await station.events(1)] == ["m3"]
    station.live.swap(more, 4)
    assert [event["id"] for event in await station.events(1)] == ["m2"]


async def test_every_shard_is_read(make: Make, store_url: str) -> None:
    """Each shard's inboxes are read, and an entry in the wrong shard is told where it belongs."""
    station = await make(store_url, shards=2)
    station.start()
    home = zlib.crc32(b"acme") % 2
    await station.write(shard=home, id="m1")
    await station.write(shard=1 - home, id="m2")
    assert [event["state"] for event in await station.events(1, home)] == ["queued"]
    [event] = await station.events(1, 1 - home)
    assert event["reason"] == "wrong_shard"


# ---- What is rejected ------------------------------------------------------------------------------------------------

MANY = {f"f{n}": "x" for n in range(9000)}  # more than one call of a script can hand on

RUBBISH: dict[str, tuple[dict[Any, Any], str]] = {
    "bytes": ({b"\xff\x00": b"\xfe\x01"}, "missing_field"),
    "empty names": ({"": ""}, "missing_field"),
    "no tenant": ({"to": "+353861234567", "body": "x"}, "missing_field"),
    "no body": ({"tenant": "acme", "to": "+353861234567"}, "missing_field"),
    "empty body": ({**GOOD, "body": ""}, "bad_body"),
    "body in latin-1": ({**GOOD, "body": b"caf\xe9"}, "bad_body"),
    "body with nul": ({**GOOD, "body": "a\0b"}, "bad_body"),
    "body too long": ({**GOOD, "body": "x" * 2000}, "too_long"),
    "body of 100 KB": ({**GOOD, "body": "x" * 100_000}, "too_large"),
    "tenant": ({**GOOD, "tenant": "a/b"}, "bad_tenant"),
    "number": ({**GOOD, "to": "12"}, "bad_number"),
    "sender": ({**GOOD, "from": "much too long for a sender"}, "bad_sender"),
    "id": ({**GOOD, "id": "a b"}, "bad_id"),
    "time": ({**GOOD, "not_before": "tomorrow"}, "bad_time"),
    "past": ({**GOOD, "not_after": "2020-01-01T00:00:00Z"}, "in_past"),
    "meta": ({**GOOD, "meta": "{"}, "bad_meta"),
    "op": ({**GOOD, "op": "recall"}, "bad_op"),
    "json": ({"json": "{"}, "bad_json"),
    "json of bytes": ({"json": b"\xff"}, "bad_json"),
    "json list": ({"json": "[]"}, "bad_json"),
    "json number for to": ({"json": json.dumps({**GOOD, "to": 353861234567})}, "bad_number"),
    "json list for body": ({"json": json.dumps({**GOOD, "body": ["x"]})}, "bad_body"),
    "many fields": ({**MANY, "tenant": "acme"}, "missing_field"),
}


@pytest.mark.parametrize("name", RUBBISH)
async def test_rubbish_is_rejected_with_its_reason(make: Make, store_url: str, name: str) -> None:
    """Each bad entry becomes an event and a dead entry with its reason, and the good ones around it are taken."""
    fields, reason = RUBBISH[name]
    station = await make(store_url)
    await station.write(id="before")
    await station.raw(fields)
    await station.write(id="after")
    station.start()
    events = await station.events(3)
    assert [event.get("reason", event["state"]) for event in events] == ["queued", reason, "queued"]
    assert [dead[b"reason"].decode() for dead in await station.dead()] == [reason]
    assert await station.left() == (0, 0)
    await station.stop()
    assert station.counted("smsd_rejected_total") == {f'class="reminder",reason="{reason}"': 1.0}


async def test_all_rubbish_in_one_batch(make: Make, store_url: str) -> None:
    """All of it at once, among good entries, costs no good one, and each gets the reason that it has alone."""
    station = await make(store_url)
    for name, (fields, _) in RUBBISH.items():
        await station.raw(fields)
        await station.write(id=name.replace(" ", "-"))
    station.start()
    events = await station.events(2 * len(RUBBISH))
    assert [event["reason"] for event in events if event["state"] == "rejected"] == [why for _, why in RUBBISH.values()]
    assert sum(event["state"] == "queued" for event in events) == len(RUBBISH)


async def test_of_too_many_fields_the_first_are_kept(make: Make, store_url: str) -> None:
    """The dead entry of one with thousands of fields keeps a bounded number, and its detail says so."""
    station = await make(store_url)
    await station.raw(MANY)
    station.start()
    [event] = await station.events(1)
    assert f"of its {len(MANY)} fields the first {FIELDS_KEPT} are kept" in event["detail"]
    [dead] = await station.dead()
    assert sum(name.startswith(b"in.") for name in dead) == FIELDS_KEPT


async def test_the_dead_entry_keeps_the_original(make: Make, store_url: str) -> None:
    """Every byte of a rejected entry can be read again, and which inbox it came from."""
    station = await make(store_url)
    entry_id = await station.raw({"tenant": "acme", "x": b"\xff\x00", "body": "y" * ENTRY_MAX_BYTES})
    station.start()
    await station.events(1)
    [dead] = await station.dead()
    assert dead[b"in.x"] == b"\xff\x00"
    assert len(dead[b"in.body"]) == ENTRY_MAX_BYTES
    assert (dead[b"stream"].decode(), dead[b"entry_id"].decode()) == (keys.inbox(0, "reminder"), entry_id)


async def test_an_entry_that_the_store_cannot_take_is_rejected_alone(station: Station) -> None:
    """An entry on which the script itself fails is rejected as internal, and its batch is taken."""
    await station.write(id="m1")
    await station.events(1)
    await station.client.hset(keys.key(0, "msg"), "acme/broken", b"\xc1")
    pipe = station.client.pipeline()
    for id_ in ("a", "broken", "b"):
        pipe.xadd(keys.inbox(0, "reminder"), {**GOOD, "id": id_})
    await pipe.execute()
    got = {event.get("given_id") or event["id"]: event.get("reason", "") for event in await station.events(3)}
    assert got == {"a": "", "broken": "internal", "b": ""}


# ---- What breaks -----------------------------------------------------------------------------------------------------


async def test_what_a_dead_process_has_read_is_claimed(make: Make, store_url: str, impatient: None) -> None:
    """Entries that another consumer has read and never admitted are taken over."""
    station = await make(store_url)
    stream = keys.inbox(0, "reminder")
    await station.client.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)
    for n in range(250):
        await station.write(id=f"m{n}")
    await station.client.xreadgroup(keys.GROUP, "dead", {stream: ">"}, count=200)
    station.start()
    assert len({event["id"] for event in await station.events(250)}) == 250
    assert (await station.logs.wait("intake_claims"))["class"] == "reminder"
    await station.stop()
    assert await station.left() == (0, 0)


def test_a_dead_process_is_noticed_within_ten_seconds() -> None:
    """The longest time from a consumer's death to the claim is below what the contract promises."""
    worst_s = module.CLAIM_IDLE_MS / 1000 + 1.2 * module.CLAIM_EVERY_S + module.MEMORY_EVERY_S
    assert worst_s < 9


KILLED = """
import asyncio, sys
from smsd.config import load
from smsd.shell.intake import Intake
from smsd.control.revision import publish
from smsd.shell.live import Live
from smsd.shell.log import setup
from smsd.shell.metrics import Metrics
from smsd.store.connect import connect
from smsd.store.shard import Shard

async def main():
    store = connect(sys.argv[2])
    live = Live(load(sys.argv[1]), [Shard(store.client)])
    told = lambda route: print("nudged", flush=True)
    await Intake(live, store.blocking, Metrics(), told, setup()).run()

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing(make: Make, store_url: str, tmp_path: Path, impatient: None) -> None:
    """After SIGKILL in the middle of its work another process takes the rest, and each entry is taken exactly once."""
    station = await make(store_url)
    for at in range(0, 3000, 500):
        pipe = station.client.pipeline()
        for n in range(at, at + 500):
            pipe.xadd(keys.inbox(0, "reminder"), {**GOOD, "id": f"m{n}"})
        await pipe.execute()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "smsd.toml"), store_url]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"nudged\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    station.start()
    events = await station.events(3000)
    assert sorted(event["id"] for event in events) == sorted(f"m{n}" for n in range(3000))
    await station.stop()
    assert await station.left() == (0, 0)
    assert await station.client.xlen(keys.key(0, "events")) == 3000


async def test_what_it_has_read_itself_is_read_again(make: Make, store_url: str) -> None:
    """Entries that are pending under its own name, as after a lost reply, come first when it starts to read."""
    station = await make(store_url, process="me")
    stream = keys.inbox(0, "reminder")
    await station.client.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)
    for n in range(150):
        await station.write(id=f"m{n:03}")
    await station.client.xreadgroup(keys.GROUP, "me", {stream: ">"}, count=120)
    station.start()
    assert [event["id"] for event in await station.events(150)] == [f"m{n:03}" for n in range(150)]


async def test_an_entry_that_was_deleted_while_pending_is_let_go(make: Make, store_url: str) -> None:
    """Somebody's XDEL leaves a pending entry without fields, which is acknowledged and told to nobody."""
    station = await make(store_url, process="me")
    stream = keys.inbox(0, "reminder")
    await station.client.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)
    entry_id = await station.write(id="gone")
    await station.client.xreadgroup(keys.GROUP, "me", {stream: ">"})
    await station.client.xdel(stream, entry_id)
    await station.write(id="m1")
    station.start()
    assert [event["id"] for event in await station.events(1)] == ["m1"]
    assert await station.left() == (0, 0)
    assert await station.dead() == []


async def test_a_crash_of_the_store_is_waited_out(
    make: Make, start_valkey: Callable[..., Valkey], impatient: None
) -> None:
    """While the store is away only the reading fails; when it is back all is taken, and the log says each once."""
    server = start_valkey(appendonly=True, fsync="always")
    station = await make(server.url)
    station.start()
    await station.write(id="m1")
    await station.events(1)
    server.kill()
    await station.logs.wait("store_away")
    server.start()
    await station.logs.wait("store_back")
    await station.write(id="m2")
    assert [event["id"] for event in await station.events(1)] == ["m2"]
    assert [event for event in station.logs.events() if event.startswith("store")] == ["store_away", "store_back"]
    assert station.counted("smsd_store_errors_total")['part="intake"'] >= 1


async def test_a_store_that_comes_later_is_waited_for(
    make: Make, start_valkey: Callable[..., Valkey], impatient: None
) -> None:
    """An intake that starts before its store begins to read when that is there."""
    server = start_valkey()
    server.kill()
    station = await make(server.url)
    station.start()
    await station.logs.wait("store_away")
    server.start()
    await station.write(id="m1")
    assert [event["id"] for event in await station.events(1)] == ["m1"]


async def test_a_lost_group_is_made_again(station: Station, impatient: None) -> None:
    """After somebody has emptied the store the groups come back, and what is written then is taken."""
    await station.write(id="m1")
    await station.events(1)
    await station.client.flushall()
    station._seen[0] = "0"
    await station.write(id="m2")
    assert [event["id"] for event in await station.events(1)] == ["m2"]


async def test_memory_that_is_short_sheds_the_lightest_class(
    make: Make, start_valkey: Callable[..., Valkey], impatient: None
) -> None:
    """Above the mark marketing stays in its inbox while reminders are taken, and below it marketing is taken too."""
    server = start_valkey()
    station = await make(server.url)
    station.start()
    await station.write(id="m1")
    await station.events(1)
    await station.client.setrange("ballast", 20_000_000, "x")  # beside which the buffers of clients are nothing
    used = (await station.client.info("memory"))["used_memory"]
    await station.client.config_set("maxmemory", int(used / 0.80))
    assert (await station.logs.wait("intake_sheds"))["classes"] == ["marketing"]
    await station.write("marketing", id="b1")
    await station.write(id="m2")
    assert [event["id"] for event in await station.events(1)] == ["m2"]
    assert await station.left("marketing") == (1, 0)
    assert 'smsd_intake_shed_total{class="marketing"}' in station.metrics.render().decode()
    await station.client.config_set("maxmemory", used * 10)
    assert [event["id"] for event in await station.events(1)] == ["b1"]


async def test_memory_that_is_out_loses_nothing(
    make: Make, start_valkey: Callable[..., Valkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that the store refuses for want of memory stays pending, is not rejected, and is taken afterwards."""
    monkeypatch.setattr(module, "MEMORY_UNBOUNDED_S", 3600.0)
    monkeypatch.setattr(module, "BACKOFF_S", (0.001, 0.01))
    server = start_valkey()
    station = await make(server.url)
    station.start()
    await station.write(id="m1")
    await station.events(1)
    used = (await station.client.info("memory"))["used_memory"]
    # One step, so that the entry is there although the store takes no more.
    pipe = station.client.pipeline()
    pipe.xadd(keys.inbox(0, "reminder"), {**GOOD, "id": "m2"})
    pipe.config_set("maxmemory", used // 2)
    await pipe.execute()
    assert "OutOfMemory" in (await station.logs.wait("store_away"))["error"]
    assert await station.left() == (1, 1)
    await station.client.config_set("maxmemory", 0)
    [event] = await station.events(1)
    assert (event["id"], event["state"]) == ("m2", "queued")


@pytest.mark.parametrize(
    ("used", "shed"),
    [(0, []), (749, []), (750, ["marketing"]), (833, ["marketing"]), (834, ["marketing", "reminder"]),
     (917, ["marketing", "otp", "reminder"]), (2000, ["marketing", "otp", "reminder"])],
)  # fmt: skip
def test_classes_are_shed_in_steps(used: int, shed: list[str]) -> None:
    """The lightest at the mark, the others at even steps up to the full memory."""
    assert sorted(too_much(used, 1000, 0.75, ["marketing", "reminder", "otp"])) == shed


def test_without_a_bound_nothing_is_shed() -> None:
    """A store without maxmemory has no mark."""
    assert too_much(10**12, 0, 0.75, ["marketing", "reminder"]) == frozenset()


# ---- Consumers -------------------------------------------------------------------------------------------------------


async def test_an_idle_reader_ends_at_once(make: Make, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that waits for entries is not waited for, and its consumer is forgotten."""
    monkeypatch.setattr(inbox, "BLOCK_MS", 4000)
    station = (await make(store_url)).start()
    async with asyncio.timeout(10):
        while (await station.client.info("clients"))["blocked_clients"] == 0:
            pass
    async with asyncio.timeout(2):
        await station.stop()
    assert await station.client.xinfo_consumers(keys.inbox(0, "reminder"), keys.GROUP) == []


async def _consumers(client: Redis) -> set[str]:
    rows: Any = await client.xinfo_consumers(keys.inbox(0, "reminder"), keys.GROUP)
    return {row["name"].decode() for row in rows}


async def test_dead_consumers_are_forgotten(make: Make, store_url: str, impatient: None) -> None:
    """A consumer that is idle with nothing pending goes, and the one that reads is there."""
    station = await make(store_url, process="me")
    stream = keys.inbox(0, "reminder")
    await station.client.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)
    for n in range(30):
        await station.client.xgroup_createconsumer(stream, keys.GROUP, f"dead{n}")
    station.start()
    async with asyncio.timeout(20):
        n = 0
        while await _consumers(station.client) != {"me"}:  # which is gone itself from a look until its next read
            n += 1
            await station.write(id=f"m{n}")
            await station.events(1)


async def test_it_stops_within_a_second_and_leaves_no_consumer(make: Make, store_url: str) -> None:
    """An intake that is stopped admits what it has read, and takes its name away."""
    station = await make(store_url, process="me")
    station.start()
    await station.write(id="m1")
    await station.events(1)
    assert await _consumers(station.client) == {"me"}
    started = time.monotonic()
    await station.stop()
    assert time.monotonic() - started < 3
    assert await _consumers(station.client) == set()
    assert await station.left() == (0, 0)


async def test_two_processes_share_the_work(make: Make, store_url: str) -> None:
    """Two intakes on one store take each entry once."""
    one, two = await make(store_url), await make(store_url)
    for n in range(1000):
        await one.write(id=f"m{n}")
    one.start()
    two.start()
    assert len({event["id"] for event in await one.events(1000)}) == 1000
    await one.stop()
    await two.stop()
    taken = 'class="reminder",outcome="taken"'
    assert one.counted().get(taken, 0) + two.counted().get(taken, 0) == 1000
    assert one.logs.events() == two.logs.events() == []


def test_the_config_of_these_tests_has_both_classes(tmp_path: Path) -> None:
    """Reminders outweigh marketing, as the order of reading supposes."""
    config: Config = configs.config(tmp_path)
    assert config.classes["reminder"].weight > config.classes["marketing"].weight


async def test_a_tenant_that_was_made_a_moment_ago_is_known(make: Make, store_url: str, tmp_path: Path) -> None:
    """Where unknown tenants are rejected, a process that has not followed yet looks before it rejects."""
    station = await make(store_url)
    strict = configs.config(tmp_path, extra='[unknown_tenants]\npolicy = "reject"\n')
    await reload(station.live, strict)
    await Tenants(strict, station.live.shards).put("acme", {"limits": ["9/s"]})
    station.start()
    await station.write(id="r-1")
    await station.write(id="r-2", tenant="nobody")
    told = {event.get("given_id") or event["id"]: event["state"] for event in await station.events(2)}
    assert told == {"r-1": "queued", "r-2": "rejected"}
