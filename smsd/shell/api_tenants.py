"""What the API does with tenants' settings: shows, makes and drops them.

Never decides what a setting means, and never touches a message: smsd/control/tenants.py says what holds.
"""

import re
import time
from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec

from smsd.config import Config, ConfigErrors, tenant_settings
from smsd.config.files import Mistake
from smsd.config.settings import Terms
from smsd.control.limits import limits
from smsd.control.tenants import Tenants
from smsd.core.limit import show
from smsd.core.names import is_tenant
from smsd.shell.api_problems import Fault, answer, problem
from smsd.shell.live import Live
from smsd.shell.server import Response

Limits = list[str]


class Settings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tenant's settings, as [tenants.NAME] of smsd.toml has them; what is absent is the plan's or the defaults'."""

    limits: Limits | msgspec.UnsetType = msgspec.UNSET
    class_limits: dict[str, Limits] | msgspec.UnsetType = msgspec.UNSET
    plan: str | msgspec.UnsetType = msgspec.UNSET
    sender: str | msgspec.UnsetType = msgspec.UNSET
    sender_pool: str | msgspec.UnsetType = msgspec.UNSET
    region: str | msgspec.UnsetType = msgspec.UNSET
    route: str | msgspec.UnsetType = msgspec.UNSET
    countries: list[str] | msgspec.UnsetType = msgspec.UNSET
    zone: str | msgspec.UnsetType = msgspec.UNSET
    stop_closes: Literal["marketing", "all"] | msgspec.UnsetType = msgspec.UNSET
    cancel_words: Literal["stop", "appointment"] | msgspec.UnsetType = msgspec.UNSET


class TenantSettings(Settings, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """Whose settings, and the settings."""

    tenant: str


class TenantMade(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one element. `errors`: why its settings were not made; what was made before stays."""

    tenant: str  # "" where it cannot be told
    made: bool
    errors: tuple[Fault, ...] = ()


class InForce(msgspec.Struct, frozen=True):
    """What holds for a tenant, field by field: made here, else the file's, its plan's, the defaults'."""

    limits: Limits
    class_limits: dict[str, Limits]
    sender: str
    sender_pool: str
    region: str
    route: str
    countries: list[str]
    zone: str
    stop_closes: str
    cancel_words: str


class TenantShown(msgspec.Struct, frozen=True):
    """A tenant: what was made for it by command or API (null: nothing), and what holds for it."""

    tenant: str
    settings: dict[str, Any] | None
    in_force: InForce


class TenantVerbs:
    """The verbs of tenants, each from what was asked to the answer."""

    def __init__(self, live: Live) -> None:
        self._live = live

    @property
    def _tenants(self) -> Tenants:
        return Tenants(self._live.local, self._live.shards)

    async def show(self, tenant: str) -> Response:
        """GET /v1/tenants/{tenant}."""
        made = await self._tenants.show(tenant)
        if made is None and not self._live.config.knows(tenant):
            return problem(
                404, "nobody configured this tenant: the defaults hold for it, if unknown tenants are accepted"
            )
        return answer(200, _shown(self._live.config, tenant, None if made is None else dict(made)))

    async def put(self, tenant: str, body: dict[str, Any]) -> Response:
        """PUT /v1/tenants/{tenant}: in the place of all that was made for it before."""
        try:
            await self._tenants.put(tenant, body)
        except ConfigErrors as errors:
            faults = tuple(_fault(mistake) for mistake in errors.mistakes)
            return problem(422, "these settings cannot hold", *faults)
        return answer(200, _shown(self._live.config, tenant, body))

    async def put_many(self, body: list[Any]) -> Response:
        """PUT /v1/tenants: each as `put`, whatever the others are."""
        tables: dict[str, dict[str, Any]] = {}
        places: list[tuple[str, str]] = []  # the tenant of each element, or why it has none
        for element in body:
            table = dict(cast("dict[str, Any]", element)) if isinstance(element, dict) else {}
            tenant = table.pop("tenant", None)
            if not isinstance(tenant, str) or not tenant:
                places.append(("", "an object is wanted, with `tenant`: whose settings these are"))
            elif tenant in tables:
                places.append((tenant, "this tenant is in the list already: give it one element"))
            else:
                tables[tenant] = table
                places.append((tenant, ""))
        wrong = await self._tenants.put_each(tables)
        return answer(200, [_made(i, tenant, why, wrong.get(tenant, ())) for i, (tenant, why) in enumerate(places)])

    async def drop(self, tenant: str) -> Response:
        """DELETE /v1/tenants/{tenant}."""
        if not await self._tenants.drop(tenant):
            return problem(404, "nothing was made for this tenant by command or API")
        return Response(204)

    async def limits(self, tenant: str) -> Response:
        """GET /v1/tenants/{tenant}/limits."""
        shard = self._live.shard_of(tenant)
        return answer(200, await limits(self._live.config, shard, tenant, shard.now_us or time.time_ns() // 1000))


def _shown(config: Config, tenant: str, made: dict[str, Any] | None) -> TenantShown:
    settings = {} if made is None else {tenant: tenant_settings(config, tenant, made, strict=False)}
    terms: Terms = config.with_made(settings).terms(tenant)
    held = InForce(
        [show(limit) for limit in terms.limits],
        {name: [show(limit) for limit in limits] for name, limits in terms.class_limits.items()},
        terms.sender,
        terms.sender_pool,
        terms.region,
        terms.route,
        list(terms.countries),
        terms.zone,
        terms.stop_closes,
        terms.cancel_words,
    )
    return TenantShown(tenant, made, held)


_STEP = re.compile(r'\.?(?:"((?:[^"\\]|\\.)*)"|([A-Za-z0-9_-]+))|\[(\d+)\]')


def _made(index: int, tenant: str, why: str, mistakes: Sequence[Mistake]) -> TenantMade:
    told = tenant if is_tenant(tenant) else ""
    if why:
        return TenantMade(told, made=False, errors=(Fault(f"/{index}/tenant", "bad_setting", why),))
    return TenantMade(told, not mistakes, tuple(_fault(mistake, f"/{index}") for mistake in mistakes))


def _fault(mistake: Mistake, base: str = "") -> Fault:
    """The key of a mistake is dotted, and begins with `tenants` and the tenant."""
    steps = ["".join(step) for step in _STEP.findall(mistake.key)][2:] or (["tenant"] if base else [])
    pointer = base + "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
    return Fault(pointer, "bad_setting", mistake.message)
