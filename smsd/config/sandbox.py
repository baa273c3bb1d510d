"""The sandbox: whom it keeps texts from, and the route and the provider that a config gets while it is on.

Never starts the built-in carrier and never asks for its address: the process tells that by its environment, for each
host has a carrier of its own while the config is one for all.
"""

from collections.abc import Mapping

import msgspec

from smsd.config import plugin
from smsd.config.settings import ProviderConfig, RouteConfig, SandboxConfig, Settings, Use
from smsd.provider import Provider

SANDBOX = "sandbox"
"""The route and the provider of the sandbox; no route and no provider of a file may be called so."""

URL, TOKEN = "SMSD_SANDBOX_URL", "SMSD_SANDBOX_TOKEN"
"""What tells a process of its host's carrier; `smsd run` sets both (shell/sandbox.py)."""

TYPE = "fake"
MAX_IN_FLIGHT = 256
TIMEOUT_S = 10
SETTLE_S = 1


def furnished(settings: Settings, types: dict[str, type[Provider]], env: Mapping[str, str]) -> Settings:
    """The settings, and while the sandbox is on the route and the provider of its name."""
    if not settings.sandbox.enabled:
        return settings
    types[SANDBOX] = found = plugin.provider_class(TYPE)
    told = {"base_url": env.get(URL), "auth_token": env.get(TOKEN)}
    options = msgspec.convert({key: value for key, value in told.items() if value}, found.Options)
    carrier = ProviderConfig(
        type=TYPE, max_in_flight=MAX_IN_FLIGHT, timeout_s=TIMEOUT_S, settle_s=SETTLE_S, options=options
    )
    return msgspec.structs.replace(
        settings,
        routes={**settings.routes, SANDBOX: RouteConfig(providers=(Use(use=SANDBOX),))},
        providers={**settings.providers, SANDBOX: carrier},
    )


class _Table(msgspec.Struct):
    enabled: bool = False
    allow_to: tuple[str, ...] = ()


class _Source(msgspec.Struct):
    sandbox: _Table = msgspec.field(default_factory=_Table)


def told_by(source: bytes) -> SandboxConfig:
    """The sandbox of a published config (meaning.shared), also of one that cannot be used here; off where there is
    none to be read.
    """
    try:
        table = msgspec.json.decode(source or b"{}", type=_Source).sandbox
    except msgspec.DecodeError:
        return SandboxConfig()
    return SandboxConfig(enabled=table.enabled, allow_to=table.allow_to)
