"""smsd top: one screen of 80 x 24, plain text, lines of JSON; on a real terminal and without a store."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis
from rich.console import Console

from smsd.cli.top_view import Choices, screen, text
from smsd.control.overview import BindNow, Overview, ProviderNow, TenantNow
from smsd.control.standing import Standing
from smsd.store.holds import Pause
from tests.support.config import write
from tests.support.running import smsd

AT = 1_700_000_000_000


def overview(**more: Any) -> Overview:
    standing = Standing(
        revision=7, config_is_file=True, sandbox=False, backlog={"reminder": 12, "marketing": 200_000},
        oldest_s={"reminder": 0.2, "marketing": 7300.0}, inbox={"reminder": 0, "marketing": 3}, in_flight={"main": 64},
        paused=[Pause("t:acme", 0, AT * 1000, "ann", "wrong\x1b prices")], withdrawing=["k:acme|x"], withdrawn=0,
        dead=0, events=9, groups=[], store="Valkey 9.1.2", store_memory_bytes=300 << 20,
        store_memory_max_bytes=1 << 30, processes=[],
    )  # fmt: skip
    provider = ProviderNow(
        name="main", health="dead", why="", in_flight=64, max_in_flight=64, answer_ms=41.0, submitted_per_s=310.0,
        delivered_per_s=290.5, undelivered_per_s=1.5,
    )  # fmt: skip
    plain = Overview(
        at_ms=AT, standing=standing, per_s={"queued": 10, "submitted": 310.4, "failed": 2.0}, providers=[provider],
        tenants=[TenantNow(f"salon-{i}", 1000 - i) for i in range(20)],
        binds=[BindNow("c:acme|marketing", "10/s", 3, AT + 90_000), BindNow("t:salon-1", "20/s, 50000/d", 1, AT)],
    )  # fmt: skip
    return msgspec.structs.replace(plain, **more)


def drawn(now: Overview, choices: Choices | None = None) -> list[str]:
    """What a terminal of 80 x 24 shows."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, width=80, height=24, record=True, color_system=None, legacy_windows=False)
        console.print(screen(now, choices or Choices(), 24, ""))
        return [line.rstrip() for line in console.export_text().splitlines()]


def test_all_that_matters_fits_a_small_terminal() -> None:
    """Rates, classes, providers, tenants, limits and who stopped what, in 24 lines of 80."""
    lines = drawn(overview())
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    said = "\n".join(lines)
    for words in ("submitted 310/s", "failed 2/s", "marketing  200,000", "2 h", "64 of 64", "41 ms", "dead", "salon-0",
                  "class acme marketing", "10/s", "90.0 s", "paused: tenant acme by ann wrong\\x1b prices",
                  "being cancelled: campaign x of tenant acme", "300 MB of 1024 MB",
                  "NO PROCESS WORKS"):  # fmt: skip
        assert words in said, words


def test_it_can_be_sorted_by_name_and_held() -> None:
    """s and p; each a second time undoes it."""
    choices = Choices()
    choices.press("s")
    choices.press("p")
    names = [line.split()[0] for line in drawn(overview(), choices) if line.startswith("salon-")]
    assert names == sorted(names)
    assert (choices.still, "HELD" in "\n".join(drawn(overview(), choices))) == (True, True)
    choices.press("p")
    assert not choices.still


def test_plain_text_shows_every_row() -> None:
    """Where nobody counts lines, nothing is left out."""
    assert sum(line.startswith("salon-") for line in text(overview()).splitlines()) == 20


async def test_one_look_as_text_and_as_json(redis: Redis, store_url: str, tmp_path: Path) -> None:
    """For scripts: --once, and --json for one line of it."""
    path = write(tmp_path, store=store_url)
    said = smsd("top", "--once", "--config", str(path), env={"COLUMNS": "wide"})  # which is no width
    assert (said.code, "backlog" in said.out, "NO PROCESS WORKS" in said.out) == (0, True, True)
    assert smsd("top", "--once", "--json", "--config", str(path)).json()["providers"][0]["name"] == "main"


def test_without_a_store_it_says_so(tmp_path: Path) -> None:
    """One look ends with 3; a wrong interval is a mistake."""
    path = write(tmp_path, store="redis://127.0.0.1:9/0")
    said = smsd("top", "--once", "--config", str(path))
    assert (said.code, "does not answer" in said.err) == (3, True)
    assert smsd("top", "--interval", "0", "--config", str(path)).code == 2


def test_on_a_terminal_it_draws_and_ends_by_q(store_url: str, tmp_path: Path) -> None:
    """A real terminal of 80 x 24: the screen comes, q ends it, and the terminal is given back as it was."""
    path = write(tmp_path, store=store_url)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-m", "smsd", "top", "--interval", "0.2", "--config", str(path)]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    shown = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as running:
        while b"backlog" not in shown:
            shown += os.read(ours, 65536)
        os.write(ours, b"q")
        while running.poll() is None:
            if select.select([ours], [], [], 0.05)[0]:
                os.read(ours, 65536)
        assert running.returncode == 0
    assert termios.tcgetattr(theirs)[3] == before[3]
    os.close(theirs)
    os.close(ours)
