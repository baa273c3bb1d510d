"""`smsd demo` from outside: a small run accounts for everything, and an interrupted one leaves nothing behind."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(150)

KEYS = ("enqueued", "submitted", "delivered", "lost", "duplicated", "rate_per_s")
STATES = ("delivered", "undelivered", "unconfirmed", "failed", "expired", "rejected", "suppressed", "cancelled")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts demos; their temporary folders are in `tmp_path`."""
    running: list[subprocess.Popen[str]] = []

    def started(*flags: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "smsd", "demo", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        running.append(process)
        return process

    yield started
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_small_run_loses_and_doubles_nothing(start: Start, tmp_path: Path) -> None:
    """600 messages through all the carrier's faults: each is accounted for, and nothing is left behind."""
    demo = start("--messages", "600", "--tenants", "200", "--workers", "2")
    out, err = demo.communicate(timeout=140)
    assert demo.returncode == 0, err
    ledger = json.loads(out.splitlines()[-1])
    assert all(key in ledger for key in KEYS)
    assert (ledger["enqueued"], ledger["lost"], ledger["duplicated"], ledger["open"]) == (600, 0, 0, 0)
    assert sum(ledger[state] for state in STATES) == 600
    assert ledger["taken"] > 500
    assert "The ledger" in out
    assert list(tmp_path.iterdir()) == []


def descendants(pid: int) -> set[int]:
    """Of a process, as the kernel tells them now."""
    found: set[int] = set()
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, tasks.read_text().split()):
            found |= {child, *descendants(child)}
    return found


def all_ended(handles: list[int]) -> bool:
    """Waits for the ends of all processes."""
    ends = [bool(select.select([handle], [], [], 30)[0]) for handle in handles]
    for handle in handles:
        os.close(handle)
    return all(ends)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for processes by /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)], ids=["^C", "TERM", "KILL"]
)
def test_an_interrupted_run_leaves_no_process(start: Start, tmp_path: Path, number: int, code: int) -> None:
    """However it is ended, store, carrier and workers end with it; unless it was killed, its folder is gone too."""
    demo = start("--messages", "3000", "--tenants", "200", "--workers", "2")
    assert demo.stdout is not None
    assert any("ended" in line for line in demo.stdout)  # the first line of the view
    handles = [os.pidfd_open(pid) for pid in descendants(demo.pid)]
    assert len(handles) >= 5  # store, carrier, parent, two workers
    if number == signal.SIGINT:
        os.killpg(demo.pid, number)  # as a terminal does
    else:
        demo.send_signal(number)
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == code, err
    assert all_ended(handles)
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []
