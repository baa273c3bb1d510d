"""shell/sandbox.py, and what it is for: while the sandbox is on, only numbers of allow_to reach a provider."""

import ast
import asyncio
import base64
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

import smsd
from smsd.config import Config
from smsd.config.sandbox import TOKEN, URL
from smsd.shell import log as logs
from smsd.shell.listening import Address
from smsd.shell.live import Live
from smsd.shell.sandbox import Carrier, Place, Watch, loopback
from smsd.testing.carrier import ACCOUNT_SID, CarrierProcess, start
from tests.support.config import config
from tests.support.gateway import Gateway, Lines
from tests.support.sandboxed import Story

STEPS = int(os.environ.get("STEPS", "60"))
STORIES = int(os.environ.get("STORIES", "5"))


@pytest.fixture(scope="module")
def shared() -> Iterator[CarrierProcess]:
    with start(receipt_missing=1.0, sent_receipts=False) as running:
        yield running


@pytest.fixture
def carrier(shared: CarrierProcess) -> CarrierProcess:
    shared.reset()
    return shared


@contextlib.asynccontextmanager
async def told(story: Story) -> AsyncIterator[Story]:
    await story.open()
    try:
        await story.play(STEPS)
        yield story
    finally:
        await story.close()


# ---- Nothing else can leave ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(STORIES))
async def test_nothing_reaches_a_provider_that_the_sandbox_bars(
    redis: Redis, gateway: Gateway, carrier: CarrierProcess, tmp_path: Path, seed: int
) -> None:
    """Two hosts, routes and rules that change, throttles, refusals, failover, resends, unknown outcomes, and a sandbox
    that is switched under what waits and what is on its way: whatever is barred goes to the carrier.
    """
    async with told(Story(seed, redis, tmp_path, carrier, gateway)) as story:
        await story.put_in_force(on=True)
        await story.follow()
        await story.come_to_rest()
        seen = len(gateway.received)
        for _ in range(5):
            await story.enqueue()
        await story.come_to_rest()
        assert story.leaked == []
        assert len(story.excused) <= story.put_in / 10
        assert len(gateway.received) == seen
        events = await story.events()
    taken = {line.reference for line in carrier.ledger() if line.sid}
    by_carrier = {
        f"{e['attempt']}.acme/{e['id']}" for e in events if e["state"] == "submitted" and e["provider"] == "sandbox"
    }
    assert by_carrier == taken
    assert any("the sandbox is on" in e.get("detail", "") for e in events)
    assert seen > 0


def writes(statement: ast.stmt) -> bool:
    """Whether it puts a request on the wire itself."""
    return isinstance(statement, ast.Assign) and ".exchange(" in ast.unparse(statement)


OUTWARD = {"aiohttp", "http.client", "httpx", "requests", "urllib3", "urllib.request"}


def test_only_the_transport_can_send() -> None:
    """No other part of a worker that knows a message has a client of HTTP, and in the transport one line alone writes
    a request: behind the guard.
    """
    root = Path(smsd.__file__).parent
    clients: set[str] = set()
    for path in [p for part in ("core", "store", "shell") for p in (root / part).rglob("*.py")]:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name == client or name.startswith(f"{client}.") for name in names for client in OUTWARD):
                clients.add(path.name)
    assert clients <= {"transport.py", "transport_wire.py", "status_post.py"}
    posts = ast.parse((root / "shell" / "status_post.py").read_text())  # of events, to a platform
    ours = {
        node.module for node in ast.walk(posts) if isinstance(node, ast.ImportFrom) and "smsd" in (node.module or "")
    }
    assert ours == {"smsd.core.address", "smsd.shell.metrics"}
    blocks = [node.body for node in ast.walk(ast.parse((root / "shell" / "transport.py").read_text()))
              if isinstance(node, ast.Try)]  # fmt: skip
    (before,) = [block[i - 1] for block in blocks for i, one in enumerate(block) if writes(one)]
    assert isinstance(before, ast.If)
    assert "self._barred(provider, to)" in ast.unparse(before.test)
    assert isinstance(before.body[-1], ast.Return)


# ---- What is told, and the carrier -----------------------------------------------------------------------------------


def on(folder: Path, *, on: bool = True) -> Config:
    """A config with the sandbox on or off."""
    return config(folder, extra=f'[sandbox]\nenabled = {str(on).lower()}\nallow_to = ["+35386123456"]\n')


async def test_each_swap_tells_what_the_sandbox_does(tmp_path: Path) -> None:
    """A warning whenever it is on and once when it goes off, without a prefix, which may be a number; the carrier is
    asked for only when it is on.
    """
    lines, started = Lines(), list[bool]()
    live = Live(on(tmp_path, on=False), [])
    Watch(live, logs.setup(verbose=True, file=lines), lambda: started.append(True)).follow()
    assert (lines.lines, started) == ([], [])
    for revision, enabled in enumerate((True, True, False, False), 2):
        live.swap(on(tmp_path, on=enabled), revision)
    assert [(line["event"], line["level"], line["revision"]) for line in lines.lines] == [
        ("sandbox_on", "warning", 2), ("sandbox_on", "warning", 3), ("sandbox_off", "warning", 4),
    ]  # fmt: skip
    assert lines.lines[0]["prefixes"] == 1
    assert "35386" not in str(lines.lines)
    assert len(started) == 2


async def ask(place: Place, token: str) -> bytes:
    """The first line that the carrier answers to a sender with that token."""
    host, _, port = place.env[URL].removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    proof = base64.b64encode(f"{ACCOUNT_SID}:{token}".encode()).decode()
    path = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {proof}\r\n\r\n".encode())
    async with asyncio.timeout(20):
        line = await reader.readline()
    writer.close()
    return line


async def test_the_carrier_takes_connections_before_it_runs_and_answers_only_its_token() -> None:
    """Who comes while it starts waits; started twice it is one; nobody gets in by the token that is in the code."""
    lines = Lines()
    with contextlib.ExitStack() as down:
        place = Place(down)
        carrier = Carrier(place, logs.setup(verbose=True, file=lines))
        carrier.start()
        carrier.start()
        try:
            assert b" 200 " in await ask(place, place.env[TOKEN])
            assert b" 401 " in await ask(place, "carrier-token-of-no-worth")
            (line,) = await lines.until("sandbox_carrier_started")
            os.kill(line["pid"], signal.SIGTERM)  # as a service manager does with all processes: not yet
            os.kill(line["pid"], signal.SIGINT)
            assert b" 200 " in await ask(place, place.env[TOKEN])
        finally:
            await carrier.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(line["pid"], 0)


async def test_a_carrier_that_nobody_asked_for_is_none() -> None:
    """While the sandbox is off its port refuses, and there is nothing to stop."""
    with contextlib.ExitStack() as down:
        place = Place(down)
        with pytest.raises(ConnectionRefusedError):
            await ask(place, "")
        await Carrier(place, logs.logger()).stop()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104 - bound by nobody
        ("::", "http://[::1]:80"),
        ("10.0.0.5", "http://10.0.0.5:80"),
    ],
)
def test_a_listener_is_found_over_loopback_where_it_listens_there(host: str, url: str) -> None:
    """Receipts of the carrier never take the way around by the public address."""
    assert loopback(Address(host, 80)) == url
