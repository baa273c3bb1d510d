"""What comes before the event loop."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smsd.shell.startup import EXIT_MISTAKE, EXIT_STORE, Refused, Settings, end, prepare
from smsd.store import embedded as module
from tests.support.config import write
from tests.support.logs import Logs
from tests.support.running import Daemon, smsd


@pytest.fixture
def signals() -> Iterator[None]:
    """Those that a process ignores once it ends, as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_config_for_another_server(tmp_path: Path) -> None:
    """Where the config names a server, none is started."""
    config, embedded = prepare(Settings(config=write(tmp_path, store="redis://127.0.0.1:9/0")))
    assert (config.store.embedded, embedded) == (False, None)
    assert not (tmp_path / "store").exists()


def test_the_embedded_store_is_started(tmp_path: Path) -> None:
    """Where it is embedded, a server runs under data_dir, and ends with who holds it."""
    path = write(tmp_path)
    path.write_text(path.read_text().replace('"embedded"', '"embedded"\nlisten = "127.0.0.1:0"'))
    _, embedded = prepare(Settings(config=path))
    assert embedded is not None
    assert (tmp_path / "store" / "store.json").exists()
    embedded.stop()
    assert not (tmp_path / "store" / "store.json").exists()


@pytest.mark.usefixtures("signals")
def test_an_embedded_store_that_hangs_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does not end, the log says which process that is, instead of a traceback."""
    monkeypatch.setattr(module, "STOP_S", 0.1)
    path = write(tmp_path)
    path.write_text(path.read_text().replace('"embedded"', '"embedded"\nlisten = "127.0.0.1:0"'))
    _, embedded = prepare(Settings(config=path))
    assert embedded is not None
    assert embedded.where is not None
    pid, logs = embedded.where.pid, Logs()
    os.kill(pid, signal.SIGSTOP)
    try:
        end(embedded, logs.logger)
    finally:
        os.kill(pid, signal.SIGKILL)
    (told,) = logs.lines
    assert told["event"] == "store_left"
    assert f"(process {pid}) does not end" in told["detail"]


def test_every_mistake_is_said(tmp_path: Path) -> None:
    """A start is refused with all mistakes at once."""
    path = write(tmp_path, extra="[classes.otp]\nwieght = 1\nmax_attempts = 0\n")
    with pytest.raises(Refused) as refused:
        prepare(Settings(config=path))
    assert refused.value.code == EXIT_MISTAKE
    assert len(refused.value.said) == 2


def test_an_embedded_store_that_cannot_start(tmp_path: Path) -> None:
    """Where data_dir cannot be written, the start is refused and says so."""
    (tmp_path / "store").write_text("a file, not a folder")
    with pytest.raises(Refused, match="data_dir"):
        prepare(Settings(config=write(tmp_path)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_last_moments_changes_nothing(number: signal.Signals) -> None:
    """Not even when the interpreter itself is ending, which takes handlers away: the exit code stays ours."""
    script = (
        "import os, sys\n"
        "from smsd.shell.startup import end\n"
        "class Last:\n"
        "    def __init__(self, kill, pid): self.kill, self.pid = kill, pid\n"
        f"    def __del__(self): self.kill(self.pid, {number.value})\n"
        "end(None, None)\n"
        "sys.last = Last(os.kill, os.getpid())\n"
        "sys.exit(3)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=30).returncode == 3


def test_a_clock_that_differs_refuses_the_start(tmp_path: Path, store_url: str) -> None:
    """A host that is a minute ahead of its store says so instead of publishing its config, and what mends it."""
    (tmp_path / "sitecustomize.py").write_text("import time\nnow = time.time\ntime.time = lambda: now() + 60\n")
    path = write(tmp_path, store=store_url)
    with Daemon(path, env={"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}) as daemon:
        assert daemon.process.wait(30) == EXIT_STORE
        (line,) = daemon.heard("not_started")
    assert line["detail"].startswith("the store does not take the config: CLOCK the store is at ")
    assert line["detail"].endswith(": set this host's clock, or the store's")


def test_a_reload_that_is_told_during_the_start_is_made_after_it(tmp_path: Path, store_url: str) -> None:
    """A SIGHUP while the file is first read does not end the process, and the file is read again once it serves."""
    path = write(tmp_path, store=store_url, http="127.0.0.1:0", webhooks="127.0.0.1:0", public_url="")
    text, slow = path.read_text(), tmp_path / "slow.toml"
    path.write_text('include = ["slow.toml"]\n' + text)
    os.mkfifo(slow)
    with Daemon(path) as daemon:
        with slow.open("w") as held:  # opens once the daemon reads it
            daemon.process.send_signal(signal.SIGHUP)
            path.write_text(text.replace("1000/s", "7/s"))
            held.write("[tenants.acme]\n")
        assert [line["revision"] for line in daemon.heard("config_in_force", 2)] == [1, 2]
        assert smsd("status", "--config", str(path), "--json").json()["config_is_file"]
