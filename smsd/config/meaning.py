"""What a checked config says: to admission (smsd.core.admit.Rules), to the store's scripts, and to all other hosts.

Never reads a file, never changes: a reload makes a new one, and whoever holds the old one sees the old one whole.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from smsd.config import plugin
from smsd.config.files import OVERRIDABLE, KeyPath, Table
from smsd.config.sandbox import SANDBOX
from smsd.config.settings import ClassConfig, PlanConfig, RouteRule, Settings, TenantConfig, Terms
from smsd.core.limit import Limit, spacing_us
from smsd.provider import Provider

if TYPE_CHECKING:
    from smsd.core.admit import ClassRules, TenantRules  # commands that only read a config admit nothing
    from smsd.core.senders import SenderRule


class Origin:
    """Where a config came from, kept to read it with another shared part. Never shown: it holds the environment."""

    __slots__ = ("env", "folder", "overridden", "table")

    def __init__(self, table: Table, folder: str, env: Mapping[str, str], overridden: frozenset[KeyPath]) -> None:
        self.table, self.folder, self.env, self.overridden = table, folder, env, overridden

    def __repr__(self) -> str:
        return f"Origin(folder={self.folder!r})"


class Config(Settings, frozen=True, kw_only=True, dict=True, eq=False):
    """smsd.toml with everything checked. Implements smsd.core.admit.Rules."""

    origin: Origin = Origin({}, "", os.environ, frozenset())
    provider_types: dict[str, type[Provider]] = {}  # noqa: RUF012 - msgspec copies an empty default for each instance
    made: dict[str, TenantConfig] = {}  # noqa: RUF012 - tenants' settings by command or API; these go before the file's

    # ---- smsd.core.admit.Rules ----

    @property
    def shards(self) -> int:
        return self.store.shards

    @property
    def max_segments(self) -> int:
        return self.dispatch.max_segments

    @property
    def number_check(self) -> str:
        return self.dispatch.number_check

    @property
    def accept_unknown(self) -> bool:
        return self.unknown_tenants.policy == "accept"

    def tenant(self, tenant: str) -> "TenantRules":
        """What holds for a tenant; for one that is not configured, the defaults."""
        if not self.knows(tenant):
            return self._strangers
        rules = self._tenant_rules.get(tenant)
        if rules is None:  # thousands are configured, few of them are busy
            rules = self._tenant_rules[tenant] = self._rules(self.terms(tenant), known=True)
        return rules

    def class_(self, name: str) -> "ClassRules":
        return self._class_rules.get(name) or self._never

    def sender_rule(self, country: str) -> "SenderRule | None":
        """Who may send there; None: everybody."""
        return self._sender_rules.get(country) if self.sender_rules else None

    def route(self, *, tenant_route: str, country: str, to: str, class_: str, tenant: str, sender: str) -> str | None:
        """The first rule whose every condition is met, else the tenant's own route; None if there is no such route.

        Whatever they say, the sandbox's where it keeps the number.
        """
        if self.sandbox.keeps(to):
            return SANDBOX
        for rule in self._rules_compiled:
            if rule.meets(country=country, to=to, class_=class_, tenant=tenant, sender=sender):
                return rule.route
        return tenant_route if tenant_route in self.routes else None

    # ---- What the store and the shell ask ----

    @cached_property
    def data_dir(self) -> Path:
        """Where the embedded store keeps its data; a relative path counts from the folder of the config file."""
        return (Path(self.origin.folder) / self.store.data_dir).absolute()

    def with_made(self, made: dict[str, TenantConfig]) -> "Config":
        """The same with these settings of tenants; who changes one of them says so by `changed`."""
        return msgspec.structs.replace(self, made=made)

    def changed(self, tenant: str) -> None:
        """The tenant's made settings are others now."""
        self._tenant_rules.pop(tenant, None)

    def knows(self, tenant: str) -> bool:
        """Whether anybody configured the tenant."""
        return tenant in self.tenants or tenant in self.made

    def own(self, tenant: str) -> TenantConfig | None:
        """What is set for this tenant alone, field by field: by command or API, else in the file; None: nothing."""
        written, made = self.tenants.get(tenant), self.made.get(tenant)
        if written is None or made is None:
            return made or written
        return cast("TenantConfig", _over(written, made))

    def terms(self, tenant: str) -> Terms:
        """What holds for a tenant, field by field: its own, else its plan's, else the defaults'."""
        terms, own = self.tenant_defaults, self.own(tenant)
        if own is None:
            return terms
        layers = [self.plans[own.plan], own] if own.plan is not None and own.plan in self.plans else [own]
        for layer in layers:
            terms = cast("Terms", _over(terms, layer))
        return terms

    def class_config(self, name: str) -> ClassConfig:
        """A class; for one that is not configured any more, the defaults of any name."""
        return self.classes.get(name, _ANY_CLASS)

    def provider(self, name: str) -> Provider:
        """The provider of that name, made once. Raises KeyError, and SecretError if a secret of it cannot be read."""
        made = self._providers.get(name)
        if made is None:
            made = plugin.make(self.provider_types[name], name, self.providers[name].options)
            self._providers[name] = made
        return made

    @cached_property
    def revision_hash(self) -> str:
        """Of the shared part: two hosts with the same one agree on everything but their own sections."""
        return hashlib.blake2b(shared(self), digest_size=16).hexdigest()

    # ---- Kept, for each is asked for again and again ----

    @cached_property
    def _strangers(self) -> "TenantRules":
        return self._rules(self.tenant_defaults, known=False)

    @cached_property
    def _tenant_rules(self) -> "dict[str, TenantRules]":
        return {}

    @cached_property
    def _providers(self) -> dict[str, Provider]:
        return {}

    @cached_property
    def _class_rules(self) -> "dict[str, ClassRules]":
        from smsd.core.admit import ClassRules

        return {name: ClassRules(config.expire_after_us) for name, config in self.classes.items()}

    @cached_property
    def _never(self) -> "ClassRules":
        from smsd.core.admit import ClassRules

        return ClassRules(None)

    @cached_property
    def _sender_rules(self) -> "dict[str, SenderRule]":
        rules: dict[str, SenderRule] = {}
        for rule in self.sender_rules:
            made = rule.meaning
            rules |= {country: made for country in rule.countries if country not in rules}
        return rules

    @cached_property
    def _rules_compiled(self) -> tuple["_Rule", ...]:
        return tuple(_Rule(rule) for rule in self.route_rules)

    def _rules(self, terms: Terms, *, known: bool) -> "TenantRules":
        from smsd.core.admit import TenantRules

        countries = None if "*" in terms.countries else frozenset(terms.countries)
        if "*" not in self.dispatch.countries:
            allowed = frozenset(self.dispatch.countries)
            countries = allowed if countries is None else allowed & countries
        pool = self.sender_pools.get(terms.sender_pool)
        senders = pool.senders if pool is not None else ()
        return TenantRules(known, terms.sender, terms.region, terms.route, countries, senders)


_ANY_CLASS = ClassConfig()


def _over(below: Terms | PlanConfig, layer: PlanConfig) -> msgspec.Struct:
    """`below` with what `layer` says, class_limits class by class."""
    given = {name: value for name in layer.__struct_fields__ if (value := getattr(layer, name)) is not None}
    if isinstance(below, Terms):
        given.pop("plan", None)
    if "class_limits" in given:
        given["class_limits"] = {**(below.class_limits or {}), **given["class_limits"]}
    return msgspec.structs.replace(below, **given)


def _sender_type(sender: str) -> str:
    from smsd.core.senders import sender_type

    return sender_type(sender)


class _Rule:
    """A route rule as sets, for a look-up that does not grow with its lists."""

    __slots__ = ("classes", "countries", "prefixes", "route", "sender_types", "tenants")

    def __init__(self, rule: RouteRule) -> None:
        self.route = rule.route
        self.prefixes = rule.prefixes
        self.countries, self.classes, self.tenants, self.sender_types = (
            None if names is None else frozenset(names)
            for names in (rule.countries, rule.classes, rule.tenants, rule.sender_types)
        )

    def meets(self, *, country: str, to: str, class_: str, tenant: str, sender: str) -> bool:
        return (
            (self.countries is None or country in self.countries)
            and (self.prefixes is None or to.startswith(self.prefixes))
            and (self.classes is None or class_ in self.classes)
            and (self.tenants is None or tenant in self.tenants)
            and (self.sender_types is None or _sender_type(sender) in self.sender_types)
        )


# ---- What leaves the process -----------------------------------------------------------------------------------------


def shared(config: Config) -> bytes:
    """The part that is one for all hosts, canonical: as it was written, so that it means the same to any release.

    Secrets are in it as references only, for a literal one is a mistake.
    """
    table = {key: value for key, value in config.origin.table.items() if key not in OVERRIDABLE}
    return msgspec.json.encode(table, order="sorted")


def compiled(config: Config) -> dict[str, object]:
    """What the store's scripts read, in plain values. A limit is [segments, N, P_us, b, T_us, paced]; T_us 0: counted.

    "classes": [[name, weight, share_permille]], heavier first; "t:<tenant>" and "t:*" (any other tenant): [[limit],
    {class: [limit]}]; "s:<sender>": [limit]; "p:<provider>": [max_in_flight, [limit]].
    """
    slack_us = config.dispatch.slack_ms * 1000
    by_weight = sorted(config.classes.items(), key=lambda item: (-item[1].weight, item[0]))
    scopes: dict[str, object] = {
        "classes": [[name, class_.weight, class_.share_permille] for name, class_ in by_weight],
        "t:*": _tenant_limits(config.tenant_defaults, slack_us),
    }
    scopes.update((f"t:{name}", compiled_tenant(config, name)) for name in (*config.tenants, *config.made))
    scopes.update((f"s:{name}", _many(sender.limits, slack_us)) for name, sender in config.senders.items())
    scopes.update((f"p:{name}", [p.max_in_flight, _many(p.limits, slack_us)]) for name, p in config.providers.items())
    return scopes


def compiled_tenant(config: Config, tenant: str) -> object:
    """The value of one tenant's "t:<tenant>"; None where only the defaults hold for it."""
    return _tenant_limits(config.terms(tenant), config.dispatch.slack_ms * 1000) if config.knows(tenant) else None


def _tenant_limits(terms: Terms, slack_us: int) -> list[object]:
    by_class = {name: _many(limits, slack_us) for name, limits in sorted(terms.class_limits.items())}
    return [_many(terms.limits, slack_us), by_class]


def _many(limits: tuple[Limit, ...], slack_us: int) -> list[list[int]]:
    return [list(_packed(limit, slack_us)) for limit in limits]


def diff_scopes(old: Mapping[str, object], new: Mapping[str, object]) -> set[str]:
    """The keys of two compiled configs that were added, removed or changed."""
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


@lru_cache(maxsize=4096)
def _packed(limit: Limit, slack_us: int) -> tuple[int, ...]:
    spacing = spacing_us(limit, slack_us) if limit.paced else 0
    return int(limit.segments), limit.n, limit.period_us, limit.burst, spacing, int(limit.paced)
