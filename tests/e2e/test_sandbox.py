"""The sandbox from outside: `smsd run` as a user starts it, a carrier of the test's own in the place of the provider.

Whatever reaches that one is read from its ledger: only numbers of allow_to may be in it while the sandbox is on.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import pytest
from redis.asyncio import Redis

from smsd.store import holds
from smsd.store.shard import Shard
from smsd.testing.carrier import CarrierProcess
from tests.support.config import write
from tests.support.running import Daemon, Platform, smsd

OURS, ELSE = "+353861234567", "+447400123456"
ON = '[sandbox]\nenabled = true\nallow_to = ["+35386"]\n'
OFF = "[sandbox]\nenabled = false\n"


@pytest.fixture
def provider(carrier: CarrierProcess) -> CarrierProcess:
    """What stands in the place of the provider."""
    return carrier


class Host:
    """One host: its file, and the daemon that runs with it."""

    def __init__(self, folder: Path, store_url: str, provider: CarrierProcess) -> None:
        folder.mkdir(exist_ok=True)
        self.path = write(folder, store=store_url, carrier=provider.url)
        self.base = self.path.read_text()

    def says(self, sandbox: str) -> "Host":
        self.path.write_text(self.base + sandbox)
        return self

    def reloads(self, sandbox: str, *flags: str) -> None:
        assert smsd("reload", *flags, "--config", str(self.says(sandbox).path)).code == 0

    def runs(self, workers: int = 1) -> Daemon:
        flags = ("--workers", str(workers)) if workers > 1 else ()
        return Daemon(self.path, *flags).ready(workers)


@pytest.fixture
def host(tmp_path: Path, store_url: str, provider: CarrierProcess) -> Host:
    return Host(tmp_path / "one", store_url, provider)


def who(events: list[dict[str, str]]) -> dict[str, str]:
    """The provider of each message's event."""
    return {event["id"]: event["provider"] for event in events}


def texted(provider: CarrierProcess) -> set[str]:
    """The numbers that reached the provider."""
    return {line.to for line in provider.ledger()}


def hold(store_url: str, verb: Callable[[Shard, str], Coroutine[Any, Any, bool]]) -> None:
    """Pauses or resumes the sandbox's provider."""

    async def do() -> None:
        async with Redis.from_url(store_url) as client:
            assert await verb(Shard(client), "p:sandbox")

    asyncio.run(do())


def carrier_of(daemon: Daemon) -> int:
    """The pid of the daemon's own carrier."""
    return daemon.heard("sandbox_carrier_started")[-1]["pid"]


def is_gone(pid: int) -> bool:
    """Whether it runs no more, reaped or not."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("workers", [1, 2])
def test_numbers_outside_allow_to_reach_the_carrier_only(
    host: Host, provider: CarrierProcess, platform: Platform, workers: int
) -> None:
    """Both kinds are delivered with receipts; the provider saw allow_to alone, and everything says that it is on."""
    with host.says(ON).runs(workers) as daemon:
        for n in range(20):
            platform.enqueue(f"ours-{n}", to=OURS)
            platform.enqueue(f"else-{n}", to=ELSE)
        told = who(platform.wait("delivered", times=40))
        assert told == {f"ours-{n}": "main" for n in range(20)} | {f"else-{n}": "sandbox" for n in range(20)}
        assert texted(provider) == {OURS}
        lines = daemon.heard("sandbox_on", workers)
        assert lines[0]["level"] == "warning"
        assert "+35386" not in str(daemon.lines)
        assert len(daemon.heard("sandbox_carrier_started")) == 1
        status: Any = smsd("status", "--json", "--config", str(host.path)).json()
        assert status["sandbox"] is True
        assert "sandbox" in smsd("status", "--config", str(host.path)).out
        page = got(daemon.heard("ready")[0]["http"], "/metrics").decode()
        assert "smsd_sandbox_enabled 1.0" in page
        assert 'smsd_attempts_total{outcome="accepted",provider="sandbox"} 20.0' in page
        pid = carrier_of(daemon)
        assert daemon.end() == 0
        daemon.gone()
    assert is_gone(pid)


def got(where: str, path: str, body: bytes | None = None) -> bytes:
    """What a listener has to tell."""
    with urlopen(f"http://{where.removeprefix('http://')}{path}", body) as page:
        return page.read()


def test_what_waits_when_it_is_switched_on_goes_to_the_carrier(
    host: Host, provider: CarrierProcess, platform: Platform
) -> None:
    """A reload keeps from the provider what was queued on its route; the event says why, and it is delivered."""
    provider.faults(throttle=1.0)
    try:
        with host.runs(2) as daemon:
            platform.enqueue("ours", to=OURS)
            platform.enqueue("else", to=ELSE)
            platform.wait("queued", id="ours", times=2)
            platform.wait("queued", id="else", times=2)  # throttled, and due again
            before = len(provider.ledger())
            host.reloads(ON)
            daemon.heard("sandbox_on", 2)
            provider.faults(throttle=0)
            delivered = who(platform.wait("delivered", times=2))
            assert delivered == {"ours": "main", "else": "sandbox"}
            assert {line.to for line in provider.ledger() if line.sid} == {OURS}
            assert before >= 2
            (moved,) = [event for event in platform.events if "the sandbox is on" in event.get("detail", "")]
            assert (moved["id"], moved["state"]) == ("else", "queued")
    finally:
        provider.faults(throttle=0)


def test_what_the_sandbox_took_texts_nobody_when_it_is_switched_off(
    host: Host, store_url: str, provider: CarrierProcess, platform: Platform
) -> None:
    """It stays on the sandbox's route, while new messages are texted for real; switched on again, it goes on."""
    with host.says(ON).runs() as daemon:
        platform.enqueue("later", to=ELSE, not_before="2099-01-01T00:00:00Z")
        platform.wait("queued", id="later")
        hold(store_url, holds.pause)
        platform.enqueue("held", to=ELSE)
        platform.wait("queued", id="held")
        refused = smsd("reload", "--config", str(host.says(OFF).path))
        assert refused.code != 0
        assert "route sandbox: 2 queued" in refused.err
        host.reloads(OFF, "--force")
        daemon.heard("sandbox_off")
        hold(store_url, holds.resume)
        platform.enqueue("real", to=ELSE)
        assert who(platform.wait("delivered", id="real")) == {"real": "main"}
        assert [line.reference for line in provider.ledger()] == ["1.acme/real"]
        host.reloads(ON)
        assert who(platform.wait("delivered", id="held")) == {"held": "sandbox"}
        assert [line.reference for line in provider.ledger()] == ["1.acme/real"]


def test_a_second_host_follows_the_store_and_has_a_carrier_of_its_own(
    host: Host, tmp_path: Path, store_url: str, provider: CarrierProcess, platform: Platform
) -> None:
    """A host whose file was superseded, and does not know of the sandbox, keeps to it all the same."""
    other = Host(tmp_path / "two", store_url, provider)
    with host.says("").runs() as one:  # the store has seen a config without it
        one.heard("ready")
        host.reloads(ON)
        one.heard("sandbox_on")
        other.path.write_text(host.base)
        with other.says("").runs() as two:
            two.heard("config_superseded")
            two.heard("sandbox_on")
            assert one.end() == 0
            platform.enqueue("else", to=ELSE)
            assert who(platform.wait("delivered", id="else")) == {"else": "sandbox"}
            assert carrier_of(two) != carrier_of(one)
    assert texted(provider) == set()


def test_a_carrier_that_dies_is_started_again_at_the_same_place(
    host: Host, provider: CarrierProcess, platform: Platform
) -> None:
    """kill -9 of it: the next message is delivered by its successor, for all workers."""
    with host.says(ON).runs(2) as daemon:
        platform.enqueue("before", to=ELSE)
        platform.wait("delivered", id="before")
        os.kill(carrier_of(daemon), signal.SIGKILL)
        daemon.heard("sandbox_carrier_ended")
        platform.enqueue("after", to=ELSE)
        platform.wait("delivered", id="after")
        first, second = daemon.heard("sandbox_carrier_started", 2)
        assert (first["url"], first["pid"] != second["pid"]) == (second["url"], True)
    assert texted(provider) == set()


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_outlives_a_parent_that_is_killed(host: Host, platform: Platform, workers: int) -> None:
    """After kill -9 of the process that started it the carrier ends with the last worker, by itself."""
    with host.says(ON).runs(workers) as daemon:
        pid = carrier_of(daemon)
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.gone()
    assert is_gone(pid)


def test_a_config_without_any_provider_runs_in_the_sandbox(tmp_path: Path, store_url: str, platform: Platform) -> None:
    """Two lines are enough to try smsd: no route, no provider, no account."""
    path = tmp_path / "smsd.toml"
    address = '[http]\nlisten = "127.0.0.1:0"\n[webhooks]\nlisten = "127.0.0.1:0"\n'
    path.write_text(f'[store]\nurl = "{store_url}"\n{address}[sandbox]\nenabled = true\n')
    with Daemon(path).ready():
        platform.enqueue("m1", to=OURS)
        assert who(platform.wait("delivered", id="m1")) == {"m1": "sandbox"}


def test_the_carrier_is_twilio_s_to_look_at_and_to_fail(host: Host, platform: Platform) -> None:
    """As docs/SANDBOX.md says: its ledger tells what was texted, magic numbers and faults work."""
    with host.says(ON).runs() as daemon:
        url = daemon.heard("sandbox_carrier_started")[0]["url"]
        platform.enqueue("read", to=ELSE, body="See you at ten")
        platform.enqueue("magic", to="+15005550001")
        platform.wait("delivered", id="read")
        (failed,) = platform.wait("failed", id="magic")
        assert (failed["provider"], failed["reason"]) == ("sandbox", "bad_number")
        ledger = msgspec.json.decode(got(url, "/_carrier/ledger"))["records"]
        assert {line["to"]: line["body"] for line in ledger}[ELSE] == "See you at ten"
        got(url, "/_carrier/faults", b'{"undelivered": 1.0, "undelivered_codes": [30005]}')
        platform.enqueue("lost", to=ELSE)
        assert platform.wait("undelivered", id="lost")[0]["reason"] == "bad_number"
