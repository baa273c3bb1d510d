"""Configs for tests: written to a file, as a user would, and loaded from there.

Never asks for a port that is not free at that moment.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from bench.ports import free_port
from smsd.config import Config, load

BASE = """\
[store]
url = "{store}"
data_dir = "store"

[http]
listen = "{http}"

[webhooks]
listen = "{webhooks}"
public_url = "{public_url}"
trusted_proxies = {proxies}

[dispatch]
drain_s = {drain_s}

[classes.reminder]
weight = 8
expire_after = "12h"
receipt_timeout = "60s"
backoff = ["100ms", "1s"]
on_unknown = "resend"

[classes.marketing]
weight = 1
expire_after = "24h"
receipt_timeout = "60s"
on_unknown = "hold"

[tenant_defaults]
limits = ["{limit}"]
region = "IE"

[routes.default]
providers = [{{ use = "main" }}]

[providers.main]
type = "fake"
base_url = "{carrier}"
timeout_s = 2
settle_s = 0.2
"""


def write(folder: Path, *, extra: str = "", **values: object) -> Path:
    """Writes smsd.toml; `values` fill BASE, what is not given has a working default. `extra` is appended."""
    webhooks = values.pop("webhooks", None) or free_address()
    filled: dict[str, object] = {
        "store": "embedded",
        "http": free_address(),
        "webhooks": webhooks,
        "public_url": f"http://{webhooks}",
        "proxies": "[]",
        "drain_s": 5,
        "limit": "1000/s",
        "carrier": "http://127.0.0.1:9",
        **values,
    }
    path = folder / "smsd.toml"
    path.write_text(BASE.format(**filled) + extra)
    return path


def config(folder: Path, *, env: Mapping[str, str] = os.environ, extra: str = "", **values: object) -> Config:
    """Writes and loads it."""
    return load(write(folder, extra=extra, **values), env)


def free_address() -> str:
    """A loopback address that nobody has at this moment."""
    return f"127.0.0.1:{free_port()}"
