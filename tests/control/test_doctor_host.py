"""Whether providers can call us is asked of real servers, and what this host allows of real limits."""

import os
import resource
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.control import doctor_host as host
from smsd.control.doctor_facts import Facts
from smsd.control.processes import Process, tell
from smsd.store.shard import Shard
from tests.support.config import config, free_address, write
from tests.support.running import Daemon

Look = Callable[..., Awaitable[Facts]]


@contextmanager
def answering(status: int, *headers: tuple[str, str]) -> Iterator[str]:
    """A server that answers every HEAD alike; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            for header in headers:
                self.send_header(*header)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def why(look: Look, folder: Path, url: str) -> str:
    found = await host.public_url(await look(mine=config(folder, public_url=url)))
    assert all(finding.mend for finding in found)
    return "; ".join(finding.what for finding in found)


async def test_a_daemon_that_can_be_called(look: Look, store_url: str, tmp_path: Path) -> None:
    """A public_url that leads to a running smsd is well, and the probe leaves no trace in its log."""
    webhooks = free_address()
    path = write(tmp_path, store=store_url, webhooks=webhooks, http="127.0.0.1:0")
    with Daemon(path).ready() as daemon:
        (tmp_path / "mine").mkdir()
        assert await why(look, tmp_path / "mine", f"http://{webhooks}") == ""
        assert "another answers" not in await why(look, tmp_path / "mine", f"http://{webhooks}/prefix")
        daemon.end()
        assert "callback_refused" not in [line["event"] for line in daemon.lines]


async def test_nobody_listens(look: Look, tmp_path: Path) -> None:
    """A closed port and a host that does not exist are told as such."""
    assert "Connection refused" in await why(look, tmp_path, f"http://{free_address()}")
    assert "there is no host" in await why(look, tmp_path, "http://no-such-host.invalid")


async def test_something_else_answers(look: Look, tmp_path: Path) -> None:
    """A page of somebody else, a redirect and a proxy without a backend are no way to smsd."""
    with answering(404) as url:
        assert "something else answers there, with 404" in await why(look, tmp_path, url)
    with answering(301, ("Location", "https://sms.example.com/")) as url:
        assert "it redirects to https://sms.example.com/" in await why(look, tmp_path, url)
    with answering(405, ("Allow", "GET")) as url:
        assert "with 405" in await why(look, tmp_path, url)


async def test_who_never_answers(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes connections and says nothing is given up in time."""
    monkeypatch.setattr(host, "PROBE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        assert "no answer within 0.2 s" in await why(look, tmp_path, f"http://127.0.0.1:{mute.getsockname()[1]}")
        assert time.monotonic() - began < 5


async def test_without_a_public_url(look: Look, tmp_path: Path) -> None:
    """Where a provider would call us and is not told where, that is found."""
    assert "no public_url is configured, so main is not told" in await why(look, tmp_path, "")


async def test_too_few_open_files(look: Look, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of this host that may open too few files is found by its real limit; enough is well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        (here,) = await host.files(await look())
        assert here.what.startswith("what is started from here may open 300 files, and 576 may be needed")
        now_ms = time.time_ns() // 1_000_000
        mine = Process(
            process="x", host=socket.gethostname(), pid=os.getpid(), version="1", since_ms=now_ms, at_ms=now_ms,
            revision=1, file="in_force",
        )  # fmt: skip
        await tell(Shard(redis), mine)
        (found,) = await host.files(await look())
        assert found.what.startswith(f"process {os.getpid()} may open 300 files")
        monkeypatch.setattr(host, "FILES_SPARE", 100)
        assert await host.files(await look()) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
