"""One worker as a real process, with a real store and a real carrier: start, run, reload, drain, end."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import redis as redis_py

from smsd.store import keys
from smsd.store.record import decode
from smsd.testing.carrier import CarrierProcess
from tests.support.config import write
from tests.support.running import TO, Daemon, Platform, smsd
from tests.support.valkey import Valkey

HANGS = "+15005550023"  # never answered, and not taken, so that no receipt tells


def in_flight(platform: Platform) -> int:
    """Messages that are leased to any provider."""
    held = platform.client.hgetall(keys.key(0, "inflight"))
    return sum(int(n) for name, n in held.items() if name.startswith("p:"))  # pyright: ignore


def test_a_message_goes_out_and_its_receipt_comes_back(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """From the stream to the carrier and back, with one canonical line and no text or number in the log."""
    with Daemon(write(tmp_path, store=store_url, carrier=carrier.url)).ready() as daemon:
        platform.enqueue("r-1", body="a secret text")
        (event,) = platform.wait("delivered")
        (line,) = daemon.heard("settled")
        assert (event["id"], event["provider"]) == ("r-1", "main")
        assert (line["message"], line["state"], line["provider"]) == ("acme/r-1", "submitted", "main")
        assert daemon.end() == 0
        told = str(daemon.lines)
    assert "a secret text" not in told
    assert "+353861234567" not in told
    assert [entry.reference for entry in carrier.ledger()] == ["1.acme/r-1"]


def test_a_message_that_comes_by_http_goes_out(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """From POST /v1/messages to the carrier and back, on one worker; its story is told by the same API."""
    key = '[http.api_keys.rails]\nkey = "env:RAILS_KEY"\ntenants = ["*"]\n'
    path = write(tmp_path, store=store_url, carrier=carrier.url, extra=key)
    with Daemon(path, env={"RAILS_KEY": "key-4711"}).ready() as daemon:
        (ready,) = daemon.heard("ready")
        host, _, port = ready["http"].rpartition(":")
        with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
            headers = {"Authorization": "Bearer key-4711", "Content-Type": "application/json"}
            element = {"class": "reminder", "tenant": "acme", "id": "r-1", "to": TO, "body": "a secret text"}
            connection.request("POST", "/v1/messages", json.dumps(element), headers)
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["state"]) == (202, "queued")
            platform.wait("delivered", id="r-1")
            connection.request("GET", "/v1/tenants/acme/messages/r-1", headers=headers)
            story = json.loads(connection.getresponse().read())
            assert (story["state"], story["final"]) == ("delivered", True)
            assert [story["history"][place]["what"] for place in (0, 1, -1)] == ["taken", "submitted", "delivered"]
        told = str(daemon.lines)
    assert "a secret text" not in told
    assert "key-4711" not in told


def test_sigterm_waits_for_what_has_left(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """An attempt that has left is settled before the process ends, and what waits stays queued."""
    carrier.faults(latency_ms=700)
    path = write(tmp_path, store=store_url, carrier=carrier.url, limit="1/s")
    with Daemon(path).ready() as daemon:
        platform.enqueue("first")
        platform.enqueue("second")
        platform.wait("queued", times=2)
        _until_left(carrier)
        assert daemon.end() == 0
        daemon.heard("draining")
    carrier.faults(latency_ms=0)
    assert in_flight(platform) == 0
    platform.wait("submitted", id="first")
    assert [line.reference for line in carrier.ledger()] == ["1.acme/first"]
    with Daemon(path).ready():
        platform.wait("submitted", "delivered", id="second")
    assert carrier.stats().taken_twice == 0


def status(where: str, path: str) -> int:
    """What a listener answers to GET."""
    host, _, port = where.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def page(where: str, path: str) -> str:
    """What a listener has to tell."""
    host, _, port = where.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _until_left(carrier: CarrierProcess) -> None:
    """Asks the carrier again and again; each question is a round trip, and the daemon goes on meanwhile."""
    for _ in range(20_000):
        if carrier.stats().requests:
            return
    raise AssertionError("nothing has left")


def test_a_second_signal_ends_at_once_and_loses_nothing(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """Whoever does not wait for the drain gets an end at once; what may have left is found out by the next process."""
    path = write(tmp_path, store=store_url, carrier=carrier.url, drain_s=60)
    path.write_text(path.read_text().replace("timeout_s = 2", "timeout_s = 20"))
    with Daemon(path).ready() as daemon:
        platform.enqueue("hangs", to=HANGS)
        platform.wait("queued")
        _until_left(carrier)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.heard("draining")
        # Within half a second of the first it would be the same signal; one that comes when all is said would kill.
        while daemon.process.poll() is None and all(line["event"] != "hurried" for line in daemon.lines):
            daemon.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.process.wait(0.1)
        daemon.heard("hurried")
        assert daemon.process.wait(10) == 0
    with redis_py.Redis.from_url(store_url) as client:
        packed = client.hget(keys.key(0, "msg"), "acme/hangs")
    assert decode(packed).state in ("leased", "unknown")  # pyright: ignore[reportArgumentType]


def test_a_stop_from_the_parent_and_the_terminal_is_one(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """^C reaches the parent and the worker: what the parent then says is no second signal."""
    with Daemon(write(tmp_path, store=store_url, carrier=carrier.url), "--with-parent").ready() as daemon:
        assert daemon.process.stdin is not None
        daemon.process.send_signal(signal.SIGINT)
        daemon.process.stdin.close()
        assert daemon.process.wait(30) == 0
        assert not [line for line in daemon.lines if line["event"] == "hurried"]


def test_a_parent_that_ends_ends_the_worker(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """When standard input closes, the worker drains and ends."""
    with Daemon(write(tmp_path, store=store_url, carrier=carrier.url), "--with-parent").ready() as daemon:
        assert daemon.process.stdin is not None
        daemon.process.stdin.close()
        assert daemon.process.wait(30) == 0


def test_sighup_puts_the_file_in_force(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """A changed file is checked, published and followed without a restart."""
    values = {"store": store_url, "carrier": carrier.url, "http": "127.0.0.1:0", "webhooks": "127.0.0.1:0"}
    path = write(tmp_path, **values, public_url="")
    with Daemon(path).ready() as daemon:
        write(tmp_path, **values, public_url="", limit="7/s")
        daemon.process.send_signal(signal.SIGHUP)
        (_, line) = daemon.heard("config_in_force", 2)
        assert (line["revision"], line["how"]) == (2, "published")
        assert platform.client.hget(keys.key(0, "conf"), "revision") == "2"


def test_a_signal_while_the_file_is_read_is_not_lost(tmp_path: Path, store_url: str, carrier: CarrierProcess) -> None:
    """The file as it was at the last of two reloads is in force: the second one comes while the first still works."""
    values = {"store": store_url, "carrier": carrier.url, "http": "127.0.0.1:0", "webhooks": "127.0.0.1:0"}
    path = write(tmp_path, **values, public_url="")
    text, slow = path.read_text(), tmp_path / "slow.toml"
    os.mkfifo(slow)
    with Daemon(path).ready() as daemon:
        path.write_text('include = ["slow.toml"]\n' + text)
        daemon.process.send_signal(signal.SIGHUP)
        with slow.open("w") as held:  # opens once the daemon reads it
            path.write_text(text.replace("1000/s", "7/s"))
            daemon.process.send_signal(signal.SIGHUP)
            held.write("[tenants.acme]\n")
        daemon.heard("config_in_force", 3)
        assert smsd("status", "--config", str(path), "--json").json()["config_is_file"]


def test_a_bad_file_changes_nothing_and_says_why(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """A reload with a mistake keeps the config that was in force, names the mistake, and sending goes on."""
    path = write(tmp_path, store=store_url, carrier=carrier.url)
    with Daemon(path).ready() as daemon:
        path.write_text(path.read_text() + "\n[classes.reminder2]\nwieght = 3\n")
        daemon.process.send_signal(signal.SIGHUP)
        (line,) = daemon.heard("config_refused")
        assert "wieght" in line["mistakes"]
        assert line["kept"] == 1
        platform.enqueue("r-1")
        platform.wait("delivered")


def test_other_shards_are_no_reload(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """A file that says another number than the store is refused whole, and no message is sought elsewhere."""
    values = {"store": store_url, "carrier": carrier.url, "http": "127.0.0.1:0", "webhooks": "127.0.0.1:0"}
    path = write(tmp_path, **values, public_url="")
    with Daemon(path).ready() as daemon:
        path.write_text(path.read_text().replace("[store]", "[store]\nshards = 4"))
        daemon.process.send_signal(signal.SIGHUP)
        (line,) = daemon.heard("config_refused")
        assert "store.shards: the store has 1, fixed when it was first used, and the file says 4" in line["mistakes"]
        platform.enqueue("r-1")
        assert platform.wait("submitted", "rejected")[0]["state"] == "submitted"


def test_what_waits_for_a_restart_is_told_as_long_as_it_does(
    tmp_path: Path, store_url: str, carrier: CarrierProcess
) -> None:
    """Each reload says that the file's durability does not hold yet, until the file says again what holds."""
    values = {"store": store_url, "carrier": carrier.url, "http": "127.0.0.1:0", "webhooks": "127.0.0.1:0"}
    path = write(tmp_path, **values, public_url="")
    text = path.read_text()
    with Daemon(path).ready() as daemon:
        for times in (1, 2):
            path.write_text(text.replace("[store]", '[store]\ndurability = "strict"'))
            daemon.process.send_signal(signal.SIGHUP)
            daemon.heard("config_in_force", 1 + times)
            assert len(daemon.heard("config_restart", times)) == times
        path.write_text(text)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.heard("config_in_force", 4)
        assert len(daemon.heard("config_restart")) == 2


def test_ready_is_told_over_http_and_so_is_the_drain(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """/readyz is 200 while it works and 503 while it drains."""
    with Daemon(write(tmp_path, store=store_url, carrier=carrier.url)).ready() as daemon:
        where = daemon.heard("ready")[0]["http"]
        assert status(where, "/readyz") == 200
        platform.enqueue("hangs", to=HANGS)
        platform.wait("queued")
        _until_left(carrier)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.heard("draining")
        assert status(where, "/readyz") == 503
        assert status(where, "/livez") == 200


def test_ready_needs_the_store(tmp_path: Path, carrier: CarrierProcess, start_valkey: Callable[..., Valkey]) -> None:
    """Without its store a process is alive but not ready, and ready again when the store is back."""
    server = start_valkey(appendonly=True)
    with Daemon(write(tmp_path, store=server.url, carrier=carrier.url)).ready() as daemon:
        where = daemon.heard("ready")[0]["http"]
        os.kill(server.pid, signal.SIGSTOP)
        assert page(where, "/readyz") == "the store does not answer: too slow\n"
        os.kill(server.pid, signal.SIGCONT)
        server.kill()
        assert status(where, "/readyz") == 503
        server.start()
        for _ in range(100):
            if status(where, "/readyz") == 200:
                break
        platform = Platform(server.url)
        platform.enqueue("r-1")
        platform.wait("delivered")
        platform.close()


def test_without_a_store_it_does_not_start(tmp_path: Path) -> None:
    """An unreachable store ends the start with its own exit code and one line."""
    with Daemon(write(tmp_path, store="redis://127.0.0.1:9/0")) as daemon:
        assert daemon.process.wait(30) == 3
        (line,) = daemon.heard("not_started")
        assert "127.0.0.1:9" in line["detail"]


def test_a_store_that_evicts_is_refused(tmp_path: Path, start_valkey: Callable[..., Valkey]) -> None:
    """A store that would throw messages away is refused with what would mend it."""
    server = start_valkey()
    with redis_py.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    with Daemon(write(tmp_path, store=server.url)) as daemon:
        assert daemon.process.wait(30) == 2
        assert "noeviction" in daemon.heard("not_started")[0]["detail"]


def test_a_taken_port_refuses_the_start(tmp_path: Path, store_url: str) -> None:
    """Two daemons never share a port by mistake: the second one says which it is."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with Daemon(write(tmp_path, store=store_url, http=taken)) as daemon:
            assert daemon.process.wait(30) == 2
            assert f"[http] listen {taken}" in daemon.heard("not_started")[0]["detail"]


def test_the_embedded_store_is_started_and_ended_with_it(tmp_path: Path, carrier: CarrierProcess) -> None:
    """With url = "embedded" a message goes out without any server, and its data outlives the process."""
    listen = write(tmp_path, carrier=carrier.url)
    text = listen.read_text().replace('url = "embedded"', 'url = "embedded"\nlisten = "127.0.0.1:0"')
    listen.write_text(text)
    with Daemon(listen).ready() as daemon:
        platform = Platform(daemon.heard("ready")[0]["store"])
        platform.enqueue("r-1")
        platform.wait("delivered")
        platform.close()
        assert daemon.end() == 0
    assert not (tmp_path / "store" / "store.json").exists()
    with Daemon(listen).ready() as daemon:
        platform = Platform(daemon.heard("ready")[0]["store"])
        assert platform.wait("delivered", id="r-1")
        platform.close()
        assert daemon.end() == 0


def test_workers_of_a_host_share_everything(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """Two workers behind one parent take one store, one pair of ports and one set of metrics, and end together."""
    with Daemon(write(tmp_path, store=store_url, carrier=carrier.url), "--workers", "2").ready(2) as daemon:
        addresses = {(line["http"], line["webhooks"]) for line in daemon.heard("ready", 2)}
        assert len(addresses) == 1
        for i in range(40):
            platform.enqueue(f"r-{i}")
        platform.wait("delivered", times=40)
        daemon.heard("settled", 40)
        where = daemon.heard("ready")[0]["http"]
        assert 'smsd_attempts_total{outcome="accepted",provider="main"} 40.0' in page(where, "/metrics")
        assert daemon.end() == 0
        assert len(daemon.heard("ended", 2)) == 2
    assert carrier.stats().taken_twice == 0


def test_workers_end_with_a_killed_parent(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """kill -9 of the parent leaves no worker behind, and the workers drain."""
    with Daemon(write(tmp_path, store=store_url, carrier=carrier.url), "--workers", "2").ready(2) as daemon:
        daemon.process.kill()
        daemon.gone()
        assert len(daemon.heard("ended", 2)) == 2


@contextlib.contextmanager
def alone(tmp_path: Path, path: Path) -> Iterator[tuple[socket.socket, int]]:
    """A worker as its parent starts it: the end of its standard input, and its pid. It has to end well."""
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "smsd.shell.daemon", str(path)], stdin=theirs.fileno(), stderr=log
        )
        theirs.close()
        ours.settimeout(30)
        yield ours, worker.pid
    assert worker.wait(30) == 0


def test_a_worker_tells_its_parent_when_it_serves(tmp_path: Path, store_url: str, carrier: CarrierProcess) -> None:
    """One of several workers says so through its standard input, with the time that it may drain, which a reload may
    change, and ends when that closes.
    """
    path = write(tmp_path, store=store_url, carrier=carrier.url)
    with alone(tmp_path, path) as (ours, pid):
        lines = iter(ours.makefile("rb").readline, b"")
        assert next(lines) == b"ready 5\n"
        path.write_text(path.read_text().replace("drain_s = 5", "drain_s = 7.5"))
        os.kill(pid, signal.SIGHUP)
        assert b"ready 7.5\n" in lines
        ours.shutdown(socket.SHUT_WR)
        assert set(lines) <= {b"ready 7.5\n"}  # told again, where it follows what it has published itself


def test_a_worker_ends_with_a_parent_that_never_listened(
    tmp_path: Path, store_url: str, carrier: CarrierProcess
) -> None:
    """A parent that was killed before it had read anything of its worker is gone all the same."""
    with alone(tmp_path, write(tmp_path, store=store_url, carrier=carrier.url)) as (ours, _):
        assert ours.recv(1, socket.MSG_PEEK) == b"r"  # it stays unread
