"""What a running daemon shows to Prometheus: every stable name with its labels, and nothing that the page lacks."""

import http.client
import subprocess
import time
from pathlib import Path

import pytest

from smsd.shell.metrics import COUNTERS, HISTOGRAMS, TOLD
from smsd.shell.metrics_store import GAUGES
from smsd.testing.carrier import start
from tests.support.config import write
from tests.support.running import WAIT_S, Daemon, Platform
from tests.support.scrape import CONTRACT, PROMTOOL, read

PARTS = ("_total", "_bucket", "_count", "_sum")


def scrape(where: str) -> bytes:
    host, _, port = where.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.getheader("Content-Type", "").startswith("text/plain; version=")
        return answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_stable_name_is_shown(tmp_path: Path, store_url: str, workers: int) -> None:
    """After a few messages a scrape of one worker, or of any of several, has all names of §8."""
    platform = Platform(store_url)
    with start(receipt_min_ms=10, receipt_max_ms=50) as carrier:
        config = write(tmp_path, store=store_url, carrier=carrier.url, limit="2/s")
        with Daemon(config, "--workers", str(workers)).ready(workers) as daemon:
            where = str(daemon.heard("ready")[0]["http"])
            for n in range(6):
                platform.enqueue(f"m-{n}")
            platform.enqueue("wrong", to="12")
            platform.client.xgroup_create("smsd:{0}:events", "platform", id="0", mkstream=True)
            platform.wait("delivered", times=6)
            until, text, found = time.monotonic() + WAIT_S, b"", dict[str, set[str]]()
            while not CONTRACT.keys() <= found.keys():  # counters of the last batch are told a moment later
                assert time.monotonic() < until, CONTRACT.keys() - found.keys()
                text = scrape(where)
                found = {name: {label for label, _ in labels} for name, labels in read(text)}
    platform.close()
    assert {name: found[name] for name in CONTRACT} == CONTRACT
    known = {*COUNTERS, *HISTOGRAMS, *GAUGES, *TOLD}
    assert {name for name in found if name not in known and not _part(name, known)} == set()
    if PROMTOOL is not None:
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    assert {"smsd_processes", "smsd_receipts_expected_total", "smsd_reader_lag_entries"} <= found.keys()


def _part(name: str, known: set[str]) -> bool:
    return any(name.endswith(part) and name.removesuffix(part) in known for part in PARTS)
