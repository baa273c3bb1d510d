"""smsd doctor, from outside."""

from collections.abc import Callable
from pathlib import Path

import redis as redis_py

from tests.support.config import free_address, write
from tests.support.running import Daemon, smsd
from tests.support.valkey import Valkey


def test_doctor_finds_nothing_where_all_is_well(tmp_path: Path, start_valkey: Callable[..., Valkey]) -> None:
    """A good store, a daemon with the file in force and a way to it: no finding, and 0; then one fault, and 1."""
    server = start_valkey(appendonly=True, maxmemory="100mb")
    path = write(tmp_path, store=server.url, webhooks=free_address(), http="127.0.0.1:0")
    with Daemon(path).ready():
        said = smsd("doctor", "--config", str(path))
        assert (said.code, said.out.splitlines()[0][:18]) == (0, "no findings; well:"), said.out
        with redis_py.Redis.from_url(server.url) as client:
            client.xadd("smsd:0:in:reminder", {"tenant": "acme"})
        said = smsd("doctor", "--config", str(path))
        assert said.code == 1
        assert said.out.startswith('streams: nobody reads the stream "smsd:0:in:reminder" (1 entries): the braces')
        assert "1 finding; well: clock" in said.out
        told = smsd("doctor", "--config", str(path), "--json").json()
        assert (told["ok"], [finding["check"] for finding in told["findings"]]) == (False, ["streams"])
