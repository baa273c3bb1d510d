"""A tenant's own status webhook: judged, given a secret, put in force; and how it stands.

Never shows a secret but once, to whoever sets it. Never resolves a name: what it resolves to is looked at whenever a
connection is made.
"""

import base64
import secrets
from collections.abc import Sequence
from typing import get_args

import msgspec

from smsd.config.settings import State, StatusWebhook
from smsd.core.address import barred_url
from smsd.store import hooks, push
from smsd.store.hooks import Hook, name_of
from smsd.store.shard import Shard

STATES: tuple[str, ...] = get_args(State)
URL_MOST = 2000
SECRET_BYTES = 32


class Bad(ValueError):
    """What cannot be taken: `field`, and why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field, self.why = field, why


class HookShown(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's own status webhook, and how it stands."""

    url: str
    states: list[str]
    waiting: int  # events that it is yet to be told
    oldest_s: float  # age of the oldest of them; 0: there is none
    disabled: bool  # it answered 410: setting it again enables it


class HookMade(msgspec.Struct, frozen=True, kw_only=True):
    """As it was set. `secret` signs what comes; it is shown this once."""

    url: str
    states: list[str]
    secret: str


async def put(shard: Shard, tenant: str, url: str, states: Sequence[str] = ()) -> HookMade:
    """Sets it, with a new secret; no states: those of a receiver of the config. Raises Bad."""
    if len(url) > URL_MOST or not url.isprintable() or " " in url:
        raise Bad("url", f"expected a URL of at most {URL_MOST} characters, without blanks")
    if why := barred_url(url):
        raise Bad("url", f'expected a public URL such as "https://example.com/sms-events": {why}')
    for state in states:
        if state not in STATES:
            raise Bad("states", f"expected any of {', '.join(STATES)}")
    wanted = tuple(dict.fromkeys(states)) or StatusWebhook.__struct_defaults__[-1]
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"
    await hooks.put(shard, tenant, Hook(url, wanted, secret))
    return HookMade(url=url, states=list(wanted), secret=secret)


async def show(shard: Shard, tenant: str) -> HookShown | None:
    """None: it has none."""
    there = await hooks.hook(shard, tenant)
    if there is None:
        return None
    name = name_of(tenant)
    waiting, oldest_ms = (await push.backlog(shard, [name]))[name]
    return HookShown(
        url=there.url,
        states=list(there.states),
        waiting=waiting,
        oldest_s=max(0.0, (push.now_ms(shard) - oldest_ms) / 1000) if oldest_ms else 0.0,
        disabled=name in await push.shuts(shard),
    )


async def drop(shard: Shard, tenant: str) -> bool:
    """It is told nothing more. Returns whether there was one."""
    return await hooks.drop(shard, tenant)
