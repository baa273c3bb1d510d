"""A parent and its workers as real processes: what dies comes back, and nobody outlives the parent."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smsd.shell import log as logs
from smsd.shell.listening import address, bind
from smsd.shell.startup import Settings
from smsd.shell.supervisor import FOLDERS, MARGIN_S, Supervisor, metrics_folder, run_many
from tests.support.config import free_address, write
from tests.support.gateway import Lines

PARENT = """
import asyncio, os, sys
from pathlib import Path
from smsd.shell import log, supervisor
from smsd.shell.startup import Settings
from smsd.shell.supervisor import supervise

supervisor.STEADY_S = float(sys.argv[4])
settings = Settings(config=Path("none"), with_parent=len(sys.argv) > 5)
command = [sys.executable, "-c", sys.argv[1]]
work = supervise(command, int(sys.argv[2]), log.setup(), dict(os.environ), settings, float(sys.argv[3]))
sys.exit(asyncio.run(work))
"""

# A worker that says its pid, and each signal; it ends when its standard input does.
DOCILE = """
import os, signal, sys
def heard(number, frame): os.write(1, f"{signal.Signals(number).name}\\n".encode())
for number in (signal.SIGHUP, signal.SIGTERM): signal.signal(number, heard)
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.write(1, f"{os.getpid()}\\n".encode())
sys.stdin.read()
os.write(1, b"ended\\n")
"""
STUBBORN = DOCILE.replace("sys.stdin.read()", "[signal.pause() for _ in iter(int, 1)]")
READY = f"import os; os.write(0, b'ready 10\\n')\n{DOCILE}"
SERVES = DOCILE.replace("sys.stdin.read()", "os.write(0, b'ready 10\\n'); sys.stdin.read()")
# One that takes its time to end, until it is told by SIGUSR1: a drain.
SLOW = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.write(0, b"ready 10\\nready 20\\n")
os.write(1, f"{os.getpid()}\\n".encode())
sys.stdin.read()
os.write(1, b"draining\\n")
signal.sigwait([signal.SIGUSR1])
os.write(1, b"ended\\n")
"""
# One that takes its time to start, until it is told by SIGUSR1, and till then knows no other signal.
LATE = f"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.write(1, b"starts\\n")
signal.sigwait([signal.SIGUSR1])
{SERVES}"""
BROKEN = "import sys; sys.exit(1)"
SHORT = "import os; os.write(0, b'ready 10\\n')"
WRONG = "import os, sys; os.write(1, b'wrong\\n'); sys.exit(2)"

# A parent that was killed, and its worker that lives on.
KILLED = """
import contextlib, os, signal, subprocess, sys
from smsd.shell.supervisor import metrics_folder
down = contextlib.ExitStack()
folder, lock = metrics_folder(down)
os.write(1, f"{folder}\\n".encode())
open(folder + "/counter_1.db", "w").close()
subprocess.Popen([sys.executable, "-c", sys.argv[1]], pass_fds=[lock])
os.kill(os.getpid(), signal.SIGKILL)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a parent: `start(WORKER, count)`. Its standard output is that of its workers as well."""
    running: list[subprocess.Popen[str]] = []

    def started(
        worker: str, count: int, *, drain_s: float = 10, steady_s: float = 1, with_parent: bool = False
    ) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PARENT, textwrap.dedent(worker), str(count), str(drain_s), str(steady_s)]
        process = subprocess.Popen(
            [*command, *(["with-parent"] if with_parent else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        running.append(process)
        return process

    yield started
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def lines(process: "subprocess.Popen[str]", n: int) -> list[str]:
    """The next lines that workers write; waits for them."""
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(n)]


def logged(process: "subprocess.Popen[str]", event: str) -> dict[str, Any]:
    """The next line in which the parent's log tells of it; waits for that."""
    assert process.stderr is not None
    for line in process.stderr:
        if f'"{event}"' in line:
            return json.loads(line)
    raise AssertionError(f"the log ended without {event}")


def test_a_killed_worker_is_started_again(start: Start) -> None:
    """After kill -9 of one worker another one takes its place, and the others go on."""
    parent = start(DOCILE, 2)
    first, second = (int(pid) for pid in lines(parent, 2))
    os.kill(first, signal.SIGKILL)
    (third,) = (int(pid) for pid in lines(parent, 1))
    assert third not in (first, second)
    os.kill(second, 0)


def test_who_served_is_replaced_at_once(start: Start) -> None:
    """A worker that served for a while is started again without a growing wait, however often it is killed."""
    parent = start(READY, 1, steady_s=0)
    waits: list[float] = []
    for _ in range(4):
        (pid,) = (int(pid) for pid in lines(parent, 1))
        os.kill(pid, signal.SIGKILL)
        waits.append(logged(parent, "worker_ended")["again_in_s"])
    assert waits == [0.1] * 4


@pytest.mark.parametrize("worker", [BROKEN, SHORT], ids=["never ready", "ready and gone"])
def test_who_never_serves_is_waited_for(start: Start, worker: str) -> None:
    """A worker that ends before it serves, or as soon as it does, is started again after waits that double."""
    parent = start(worker, 1)
    assert [logged(parent, "worker_ended")["again_in_s"] for _ in range(3)] == [0.1, 0.2, 0.4]


async def test_a_worker_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    """Where the system gives no process now, the place is filled when it does, and the log says what is in the way."""
    program, lines = tmp_path / "worker", Lines()
    supervisor = Supervisor([str(program)], 1, logs.setup(file=lines))
    running = asyncio.create_task(supervisor.run())
    told = await lines.until("worker_not_started", 2)
    assert [one["again_in_s"] for one in told[:2]] == [0.1, 0.2]
    assert "No such file" in told[0]["error"]
    ready = program.with_suffix(".new")
    ready.write_text("#!/bin/sh\nread line\n")
    ready.chmod(0o700)
    ready.rename(program)
    await lines.until("worker_started")
    supervisor.stop()
    await running


def test_workers_stay_in_the_parents_group(start: Start) -> None:
    """What a terminal or a service manager sends to the group reaches the workers."""
    parent = start(DOCILE, 1)
    (pid,) = (int(pid) for pid in lines(parent, 1))
    assert os.getpgid(pid) == os.getpgid(parent.pid)


def test_no_worker_outlives_a_killed_parent(start: Start) -> None:
    """After kill -9 of the parent its workers see that it is gone, and end."""
    parent = start(DOCILE, 3)
    lines(parent, 3)
    parent.kill()
    assert parent.stdout is not None
    assert parent.stdout.read().split() == ["ended"] * 3  # the pipe ends with the last that holds it


def test_sigterm_ends_the_workers_and_then_the_parent(start: Start) -> None:
    """Told to stop, the parent lets its workers drain and ends with 0 when all have."""
    parent = start(DOCILE, 2)
    lines(parent, 2)
    parent.terminate()
    out, _ = parent.communicate(timeout=30)
    assert (out.split(), parent.returncode) == (["ended"] * 2, 0)


def test_a_second_signal_reaches_the_workers(start: Start) -> None:
    """Whoever cannot wait for the drain tells the parent again, and it tells the workers."""
    parent = start(STUBBORN, 1)
    lines(parent, 1)
    parent.terminate()
    logged(parent, "stopping")
    parent.terminate()
    assert lines(parent, 1) == ["SIGTERM"]


def test_what_does_not_end_is_killed(start: Start) -> None:
    """A worker that hangs past the drain and a margin is killed: the parent ends in a bounded time, and by its code."""
    parent = start(STUBBORN, 1, drain_s=-MARGIN_S)
    lines(parent, 1)
    parent.terminate()
    out, _ = parent.communicate(timeout=30)
    assert "ended" not in out
    assert parent.returncode == 1


def test_a_drain_lasts_as_long_as_the_config_in_force_says(start: Start) -> None:
    """What a worker says of its drain, at first or after a reload, goes before what the parent has read."""
    parent = start(SLOW, 1, drain_s=-MARGIN_S)
    (pid,) = (int(pid) for pid in lines(parent, 1))
    parent.terminate()
    assert lines(parent, 1) == ["draining"]
    assert logged(parent, "stopping")["drain_s"] == 20
    os.kill(pid, signal.SIGUSR1)
    out, _ = parent.communicate(timeout=30)
    assert (out.split(), parent.returncode) == (["ended"], 0)


def test_a_worker_that_is_starting_reads_the_file_again_when_it_serves(start: Start) -> None:
    """A SIGHUP that comes before it can hear one neither ends it nor is forgotten."""
    parent = start(LATE, 1)
    pid = logged(parent, "worker_started")["pid"]
    assert lines(parent, 1) == ["starts"]
    parent.send_signal(signal.SIGHUP)
    parent.send_signal(signal.SIGHUP)
    os.kill(pid, signal.SIGUSR1)
    assert lines(parent, 2) == [str(pid), "SIGHUP"]


def test_sighup_is_forwarded(start: Start) -> None:
    """A reload told to the parent is told to each worker."""
    parent = start(SERVES, 2)
    lines(parent, 2)
    parent.send_signal(signal.SIGHUP)
    assert lines(parent, 2) == ["SIGHUP", "SIGHUP"]


def test_the_parent_ends_with_its_own_parent(start: Start) -> None:
    """Started with a pipe as its standard input, it stops when that closes."""
    parent = start(DOCILE, 1, with_parent=True)
    lines(parent, 1)
    out, _ = parent.communicate(timeout=30)
    assert (out.split(), parent.returncode) == (["ended"], 0)


def test_a_mistake_ends_everything(start: Start) -> None:
    """A worker that says that the config is wrong is not started again and again."""
    parent = start(WRONG, 1)
    out, _ = parent.communicate(timeout=30)
    assert (out.split(), parent.returncode) == (["wrong"], 2)


def test_what_killed_parents_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new parent removes the folders of those of whom nobody lives, and no folder that anybody still uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{FOLDERS}link").symlink_to(tmp_path)
    (tmp_path / f"{FOLDERS}file").touch()
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, DOCILE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as parent:  # fmt: skip
        theirs, worker = Path(lines(parent, 1)[0]), lines(parent, 1)[0]
        assert parent.wait() == -signal.SIGKILL
        with contextlib.ExitStack() as down:
            ours = Path(metrics_folder(down)[0])
            assert (theirs.is_dir(), ours.is_dir()) == (True, True)
        assert not ours.exists()
        os.kill(int(worker), 0)
        assert parent.communicate()[0] == "ended\n"
    with contextlib.ExitStack() as down:
        metrics_folder(down)
        assert not theirs.exists()
    assert {path.name for path in tmp_path.iterdir()} == {f"{FOLDERS}link", f"{FOLDERS}file"}


def test_a_taken_port_refuses_the_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Before any worker starts, somebody else's port is told with its section."""
    where = free_address()
    with bind(address(where), "http", shared=True) as other:
        other.listen()
        path = write(tmp_path, store="redis://127.0.0.1:9/0", http=where)
        assert run_many(Settings(config=path), 2) == 2
    assert f"[http] listen {where}" in capfd.readouterr().err


def test_a_mistake_in_the_config_refuses_the_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Every mistake is told, and nothing starts."""
    path = write(tmp_path, extra="[classes.x]\nwieght = 1\nmax_attempts = 0\n")
    assert run_many(Settings(config=path), 2) == 2
    told = capfd.readouterr().err
    assert "wieght" in told
    assert "max_attempts" in told
