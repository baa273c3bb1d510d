"""The demo's processes and files: a folder, a store, a carrier, and `smsd run` with a config that names them.

Never leaves anything behind: whatever it started is ended, and the folder is gone, also when it is interrupted. If this
process is killed, the daemon and the carrier see it and end, and the store ends with the last that uses it.
"""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import cast

import msgspec

from smsd.shell.listening import Address
from smsd.store.connect import StoreError
from smsd.store.embedded import Embedded
from smsd.testing.carrier import CarrierProcess, start

READY_S = 30.0
POLL_S = 0.05
END_S = 20.0
RECEIPT_TIMEOUT_S = 20
DRAIN_S = 10
THROTTLE = 0.004  # of requests: each 429 slows a worker down, as it should, and the demo is to end soon

CONFIG = """\
# Made by `smsd demo`: one store, one carrier, and its faults.
[store]
url = "embedded"
listen = "{store}"
data_dir = "store"

[http]
listen = "{http}"

[webhooks]
listen = "{webhooks}"
public_url = "http://{webhooks}"

[dispatch]
drain_s = {drain_s}
number_check = "valid"

[classes.reminder]
weight = 8
expire_after = "12h"
receipt_timeout = "{receipt_timeout_s}s"
backoff = ["500ms", "5s"]
on_unknown = "resend"

[classes.marketing]
weight = 1
expire_after = "24h"
receipt_timeout = "{receipt_timeout_s}s"
max_in_flight_share = 0.8
backoff = ["500ms", "5s"]
on_unknown = "hold"

[tenant_defaults]
limits = ["20/s", "50000/d"]
sender = "Salon"
region = "IE"
route = "default"

[tenants.chain]
limits = ["400/s"]
sender = "Chain"

[routes.default]
providers = [{{ use = "carrier" }}]

[providers.carrier]
{provider}
limits = ["800 segments/s"]
max_in_flight = 64
timeout_s = 3
settle_s = 1
"""


class Unstaged(Exception):
    """A process of the demo did not start, or ended too early. The text says which, and what it said last."""


class Stage(msgspec.Struct, frozen=True):
    """What the run needs to know of it."""

    folder: Path
    store_url: str
    carrier: CarrierProcess
    daemon: "subprocess.Popen[bytes]"
    http: Address

    def ready(self) -> bool:
        """Whether a worker says that it is. Raises Unstaged when the daemon has ended."""
        if self.daemon.poll() is not None:
            raise Unstaged(f"smsd run ended with {self.daemon.returncode}: {last_lines(self.folder)}")
        connection = http.client.HTTPConnection(self.http.host, self.http.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_ready(self) -> None:
        until = time.monotonic() + READY_S
        while not self.ready():
            if time.monotonic() > until:
                raise Unstaged(f"smsd run is not ready after {READY_S:.0f} s: {last_lines(self.folder)}")
            time.sleep(POLL_S)

    def end_daemon(self) -> None:
        """Drains and ends it. Harmless when it has ended."""
        if self.daemon.stdin is not None:
            self.daemon.stdin.close()
        try:
            self.daemon.wait(DRAIN_S + END_S)
        except subprocess.TimeoutExpired:
            self.daemon.kill()  # its workers see that it is gone
            self.daemon.wait()


@contextlib.contextmanager
def stage(*, seed: int, workers: int, keep: bool, dialect: str = "twilio") -> Generator[Stage]:
    """Sets it up, and takes it down. `dialect`: whose API the carrier speaks, and smsd with it."""
    folder = Path(tempfile.mkdtemp(prefix="smsd-demo-"))
    with contextlib.ExitStack() as down:
        if not keep:
            down.callback(shutil.rmtree, folder, ignore_errors=True)
        store = Embedded(folder / "store", "127.0.0.1:0")
        down.callback(store.stop)
        try:
            store_url = store.start()
            http_at, webhooks_at = _free(), _free()
            told = f"http://{webhooks_at}/webhooks/carrier/status"
            carrier = down.enter_context(
                start(dialect=dialect, profile="demo", seed=seed, connections=64, throttle=THROTTLE, callback_url=told)
            )
        except (StoreError, RuntimeError) as error:
            raise Unstaged(str(error)) from None
        path = folder / "smsd.toml"
        path.write_text(
            CONFIG.format(
                store=store_url.removeprefix("redis://").removesuffix("/0"),
                http=http_at,
                webhooks=webhooks_at,
                provider="\n".join(f"{key} = {_toml(value)}" for key, value in carrier.provider.items()),
                receipt_timeout_s=RECEIPT_TIMEOUT_S,
                drain_s=DRAIN_S,
            )
        )
        with (folder / "smsd.log").open("wb") as log:
            daemon = subprocess.Popen(  # noqa: S603 - ourselves
                [
                    sys.executable,
                    "-m",
                    "smsd",
                    "run",
                    "--workers",
                    str(workers),
                    "--config",
                    str(path),
                    "--with-parent",
                ],
                env=os.environ | carrier.env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        made = Stage(folder, store_url, carrier, daemon, http_at)
        down.callback(made.end_daemon)
        made.wait_ready()
        yield made


def _toml(value: object) -> str:
    """A value as TOML writes it; a table stands in one line."""
    if isinstance(value, dict):
        table = cast("dict[str, object]", value)
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in table.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in cast("list[object]", value)) + "]"
    return msgspec.json.encode(value).decode()


def _free() -> Address:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", probe.getsockname()[1])


def last_lines(folder: Path) -> str:
    """What the daemon said last, for an error."""
    try:
        lines = (folder / "smsd.log").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    return " | ".join(lines[-5:]) or "it said nothing"
