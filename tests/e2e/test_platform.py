"""docs/PLATFORM.md does what it says: its commands and programs are run, with ports of their own."""

import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.testing.carrier import start
from tests.support.config import write
from tests.support.running import Daemon

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "PLATFORM.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^    \.venv/bin/smsd (send .*|trace .*)$", PAGE, re.MULTILINE)


@pytest.fixture
async def port(redis: Redis, store_url: str, tmp_path: Path) -> AsyncIterator[str]:
    """Of the store of a running smsd; the page's is 8777."""
    with start(receipt_min_ms=10, receipt_max_ms=50) as carrier:
        path = write(tmp_path, carrier=carrier.url, store=store_url)
        with Daemon(path) as daemon:
            daemon.ready()
            yield store_url.rpartition(":")[2].partition("/")[0]


def test_the_page_takes_its_reader_to_a_receipt(port: str, tmp_path: Path) -> None:
    """Every program ends by itself, every command with 0, and the last one tells of a delivery."""
    assert (len(PROGRAMS), len(COMMANDS)) == (2, 2)
    send, trace = COMMANDS
    said = [run_command(send, tmp_path)]
    said += [run([sys.executable, "-c", program.replace("8777", port)]) for program in PROGRAMS]
    said.append(run_command(trace, tmp_path))
    assert "delivered" in said[0]
    assert "r-3 delivered {'appointment': 17}" in said[2]
    assert "message r-3 of tenant acme: delivered" in said[3]


def run_command(words: str, folder: Path) -> str:
    return run([sys.executable, "-m", "smsd", *shlex.split(words), "--config", str(folder / "smsd.toml")])


def run(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
