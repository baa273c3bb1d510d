"""What the API does with status webhooks: makes, shows and drops a tenant's own; lists, enables, replays for operators.

Never calls a URL, and shows a secret once: in the answer to the request that made it.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from smsd.control import hooks, receivers
from smsd.control.receivers import ReceiverNow
from smsd.core.names import TENANT
from smsd.core.push import Receiver
from smsd.shell.api_problems import Fault, answer, problem
from smsd.shell.live import Live
from smsd.shell.server import Response
from smsd.store.push import now_ms

LAST_MS = 10**14 - 1
NOBODY = "there is no receiver of that name in the config in force"
NONE = "this tenant has set no status webhook"


class HookWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a tenant is to be told of its events, and of which states; none: of those that end a message's way."""

    url: str
    states: list[str] = []


class Receivers(msgspec.Struct, frozen=True):
    """Those of the config in force."""

    receivers: list[ReceiverNow]


class Enabled(msgspec.Struct, frozen=True):
    """`enabled` false: it was not disabled."""

    enabled: bool


class ReplayWanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when to when (epoch ms; no end: until now), and of which tenant ("": of all)."""

    since_ms: Annotated[int, Meta(gt=0, le=LAST_MS)]
    until_ms: Annotated[int, Meta(ge=0, le=LAST_MS)] = 0
    tenant: Annotated[str, Meta(pattern=f"^(?:{TENANT})?$")] = ""


class HookVerbs:
    """The verbs, each from what was asked to the answer."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def show(self, tenant: str) -> Response:
        """GET /v1/tenants/{tenant}/status_webhook."""
        there = await hooks.show(self._live.shard_of(tenant), tenant)
        return answer(200, there) if there is not None else problem(404, NONE)

    async def put(self, tenant: str, wanted: HookWanted) -> Response:
        """PUT /v1/tenants/{tenant}/status_webhook."""
        try:
            made = await hooks.put(self._live.shard_of(tenant), tenant, wanted.url, wanted.states)
        except hooks.Bad as bad:
            return problem(422, "this webhook cannot be set", Fault(f"/{bad.field}", "bad_setting", bad.why))
        return answer(200, made)

    async def drop(self, tenant: str) -> Response:
        """DELETE /v1/tenants/{tenant}/status_webhook."""
        dropped = await hooks.drop(self._live.shard_of(tenant), tenant)
        return Response(204) if dropped else problem(404, NONE)

    # ---- For operators -----------------------------------------------------------------------------------------------

    async def receivers(self) -> Response:
        """GET /v1/status_webhooks."""
        return answer(200, Receivers(await receivers.receivers(self._live.config, self._live.shards)))

    async def enable(self, name: str) -> Response:
        """POST /v1/status_webhooks/{receiver}/enable."""
        if await self._named(name) is None:
            return problem(404, NOBODY)
        return answer(200, Enabled(await receivers.enable(self._live.shards, name)))

    async def replay(self, name: str, wanted: ReplayWanted) -> Response:
        """POST /v1/status_webhooks/{receiver}/replay."""
        one, shards = await self._named(name), self._live.shards
        if one is None:
            return problem(404, NOBODY)
        until_ms, tenant = wanted.until_ms or now_ms(shards[0]), wanted.tenant or "*"
        if wanted.since_ms >= until_ms:
            what = "expected an instant before the end of the replay"
            return problem(422, "nothing lies between", Fault("/since_ms", "bad_time", what))
        found = await receivers.count(one, shards, wanted.since_ms, until_ms, tenant)
        if (found.events or found.at_least) and not await receivers.replay(
            one, shards, wanted.since_ms, until_ms, tenant
        ):
            return problem(409, "another replay to this receiver is under way")
        return answer(200, found)

    async def _named(self, name: str) -> Receiver | None:
        if name in self._live.config.status_webhooks:
            return receivers.receiver(self._live.config, name)
        return await receivers.receivers_own(self._live.shards, name)
