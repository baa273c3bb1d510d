"""What must hold between the keys of smsd.toml: names that exist, routes that somebody serves, lists that can be kept.

Never changes a value and never stops at the first mistake. Single values were judged when they were read.
"""

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import Protocol
from urllib.parse import urlsplit

from smsd.config.files import KeyPath
from smsd.config.read import suggestion
from smsd.config.sandbox import SANDBOX
from smsd.config.settings import PlanConfig, RouteConfig, Settings, TenantConfig, Terms
from smsd.core.limit import Limit, show
from smsd.secret import SecretError

_URL_SCHEMES = ("redis", "rediss")
NOT_YET = {"redis+cluster": "a cluster", "redis+sentinel": "Sentinel"}
NOT_YET_TOLD = "{} ({}://) is not supported yet; give one server, redis://HOST:PORT/DB"
_OTEL = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?", re.ASCII)
_DB = re.compile(r"/?[0-9]*", re.ASCII)


class Note(Protocol):
    def __call__(self, path: KeyPath, message: str, /) -> object: ...


class Names(Protocol):
    """What the file names, also where its table has a mistake of its own: one mistake is told once."""

    def __call__(self, section: str, /) -> Collection[str]: ...


class Checker:
    """One pass over the settings."""

    def __init__(self, settings: Settings, names: Names, note: Note) -> None:
        self.settings, self.note = settings, note
        self.classes, self.plans = names("classes") or settings.classes, names("plans")
        self.routes, self.providers = names("routes"), names("providers")

    def run(self, *, secrets: bool) -> None:
        """Notes every mistake. `secrets`: whether smsd is to run here, so that what the store's url refers to may
        be read, and packages have to be here.
        """
        self._store(secrets=secrets)
        if secrets and self.settings.otel.enabled and not all(map(_installed, _OTEL)):
            extra = 'the packages for traces are not installed: pip install "smsd-dispatch[otel]", or enabled = false'
            self.note(("otel", "enabled"), extra)
        if secrets:
            self._api_keys()
        self._classes()
        if not self.settings.dispatch.countries:
            self.note(("dispatch", "countries"), 'an empty list lets nothing leave: ["*"] is everywhere')
        self._terms()
        for sender, config in self.settings.senders.items():
            self._limits(config.limits, ("senders", sender, "limits"))
        for name, provider in self.settings.providers.items():
            self._limits(provider.limits, ("providers", name, "limits"))
        for name, route in self.settings.routes.items():
            self._route(name, route)
        self._rules()
        self._senders()
        self._receivers()
        for section, names in (("routes", self.routes), ("providers", self.providers)):
            if SANDBOX in names:
                said = f'the name "{SANDBOX}" is kept for what [sandbox] brings with it: give it another one'
                self.note((section, SANDBOX), said)

    def _store(self, *, secrets: bool) -> None:
        url, own = self.settings.store.url, self.settings.store.listen
        for section in ("http", "webhooks") if self.settings.store.embedded and not own.endswith(":0") else ():
            if _covers(getattr(self.settings, section).listen, own):
                self.note((section, "listen"), f"[store] listens at {own} itself: give this another port")
        if self.settings.store.embedded or (url.whole and not secrets):
            return
        try:
            text = url.reveal() if secrets else url.masked("x")
        except SecretError:
            return  # noted with the other references that lead nowhere
        try:
            parts = urlsplit(text)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme in NOT_YET:
            self.note(("store", "url"), NOT_YET_TOLD.format(NOT_YET[parts.scheme], parts.scheme))
            return
        host = _HOST.fullmatch(parts.netloc.rpartition("@")[2])
        if parts.scheme not in _URL_SCHEMES or host is None or int(host[1] or 1) not in range(1, 65536):
            schemes = ", ".join(f"{scheme}://" for scheme in _URL_SCHEMES)
            self.note(("store", "url"), f'expected "embedded" or a url that begins with {schemes}, then host:port')
        elif secrets and not _DB.fullmatch(parts.path):  # which clients take for the database 0
            self.note(("store", "url"), "what follows host:port is the number of a database, such as /0")

    def _receivers(self) -> None:
        for name, receiver in self.settings.status_webhooks.items():
            for key in ("tenants", "states"):
                if not getattr(receiver, key):
                    self.note(
                        ("status_webhooks", name, key),
                        "an empty list hears of nothing: name at least one, or leave it out",
                    )

    def _api_keys(self) -> None:
        first: dict[str, str] = {}
        for name, one in self.settings.http.api_keys.items():
            with contextlib.suppress(SecretError):  # noted with the other references that lead nowhere
                other = first.setdefault(one.key.reveal(), name)
                if other != name:
                    same = f"this is the secret of {other} too, so whose tenants it opens is open: give each its own"
                    self.note(("http", "api_keys", name, "key"), same)

    def _classes(self) -> None:
        for name, config in self.settings.classes.items():
            first, largest = config.backoff_us
            if first > largest:
                self.note(("classes", name, "backoff"), "the first wait is longer than the largest: swap them")

    def _terms(self) -> None:
        defaults = self.settings.tenant_defaults
        explicit = bool(self.routes or self.providers) or defaults.route != Terms().route
        self._one_terms(defaults, ("tenant_defaults",), route=explicit)
        for name, plan in self.settings.plans.items():
            self._one_terms(plan, ("plans", name))
        for name, tenant in self.settings.tenants.items():
            self.tenant(tenant, ("tenants", name))

    def tenant(self, tenant: TenantConfig, path: KeyPath) -> None:
        """Of one tenant's settings, wherever they come from."""
        self._one_terms(tenant, path)
        if tenant.plan is not None:
            self._exists(tenant.plan, self.plans, "plan", (*path, "plan"))

    def _one_terms(self, terms: Terms | PlanConfig, path: KeyPath, *, route: bool = True) -> None:
        self._limits(terms.limits or (), (*path, "limits"))
        for name, limits in (terms.class_limits or {}).items():
            self._exists(name, self.classes, "class", (*path, "class_limits", name))
            self._limits(limits, (*path, "class_limits", name))
        if terms.sender_pool:
            self._exists(terms.sender_pool, self.settings.sender_pools, "sender pool", (*path, "sender_pool"))
        if terms.route is not None and route:
            self._exists(terms.route, self.routes, "route", (*path, "route"))
        allowed = self.settings.dispatch.countries
        for i, country in enumerate(terms.countries or ()):
            if country != "*" and "*" not in allowed and country not in allowed:
                message = f"[dispatch] countries does not allow {country}: a tenant may have fewer, never more"
                self.note((*path, "countries", i), message)
        if terms.zone and not _is_zone(terms.zone) and _zones() and terms.zone not in _zones():
            message = f'expected a time zone such as "Europe/Dublin"{suggestion(terms.zone, _zones())}'
            self.note((*path, "zone"), message)

    def _route(self, name: str, route: RouteConfig) -> None:
        path: KeyPath = ("routes", name, "providers")
        if not route.providers:
            self.note(path, "nobody serves this route: give it at least one provider")
        elif not any(use.weight for use in route.providers):
            self.note(path, "all weights are 0: give at least one provider more")
        for i, use in enumerate(route.providers):
            self._exists(use.use, self.providers, "provider", (*path, i, "use"))
            if use.use in [other.use for other in route.providers[:i]]:
                self.note((*path, i, "use"), f'"{use.use}" is in this route already: add the weights')

    def _rules(self) -> None:
        for i, rule in enumerate(self.settings.route_rules):
            path: KeyPath = ("route_rules", i)
            self._exists(rule.route, self.routes, "route", (*path, "route"))
            conditions = {
                "countries": rule.countries,
                "prefixes": rule.prefixes,
                "classes": rule.classes,
                "tenants": rule.tenants,
                "sender_types": rule.sender_types,
            }
            if all(condition is None for condition in conditions.values()):
                listed = ", ".join(conditions)
                self.note(path, f"a rule without a condition would take everything: give one of {listed}")
            for key, condition in conditions.items():
                if condition == ():
                    self.note((*path, key), "an empty list matches nothing: leave it out, or the whole rule")
            for j, name in enumerate(rule.classes or ()):
                self._exists(name, self.classes, "class", (*path, "classes", j))

    def _senders(self) -> None:
        for name, pool in self.settings.sender_pools.items():
            path: KeyPath = ("sender_pools", name, "senders")
            if not pool.senders:
                self.note(path, "a pool without a sender: give it one, or leave it out")
            for i, sender in enumerate(pool.senders):
                if sender in pool.senders[:i]:
                    self.note((*path, i), f'"{sender}" is in this pool already')
            for country in self._closed(pool.senders):
                self.note(path, f"none of these may send to {country}, which [dispatch] countries names")
        for i, rule in enumerate(self.settings.sender_rules):
            for key in ("countries", "types"):
                if not getattr(rule, key):
                    self.note(("sender_rules", i, key), "an empty list: name at least one")
            if rule.instead and not rule.meaning.allows(rule.instead):
                self.note(("sender_rules", i, "instead"), "this sender may not send there either, by the same rule")

    def _closed(self, senders: Iterable[str]) -> Iterator[str]:
        """Of the countries named, those that the rules close to all of these senders and offer no other for."""
        for country in self.settings.dispatch.countries if senders else ():
            rule = next((rule for rule in self.settings.sender_rules if country in rule.countries), None)
            if rule is not None and not rule.instead and not any(map(rule.meaning.allows, senders)):
                yield country

    def _limits(self, limits: Iterable[Limit], path: KeyPath) -> None:
        seen: dict[tuple[bool, int], Limit] = {}
        for i, limit in enumerate(limits):
            other = seen.get(limit.key)
            seen[limit.key] = limit
            if other is not None:
                unit = "segments" if limit.segments else "messages"
                message = f'"{show(other)}" already limits {unit} over the same period: keep the one you mean'
                self.note((*path, i), message)

    def _exists(self, name: str, known: Collection[str], what: str, path: KeyPath) -> None:
        if name not in known:
            listed = suggestion(name, known) or f": there are {', '.join(sorted(known)[:10]) or 'none, so add it'}"
            self.note(path, f'there is no {what} "{name}"{listed}')


def _covers(listen: str, other: str) -> bool:
    """Whether a listener there takes the other's address, as one on all of a host's does."""
    (host, _, port), (other_host, _, other_port) = listen.rpartition(":"), other.rpartition(":")
    return port == other_port and host in (other_host, "0.0.0.0", "[::]")  # noqa: S104 - compared, not bound


def _installed(package: str) -> bool:
    """Without importing it."""
    try:
        return find_spec(package) is not None
    except ImportError:  # of a package that it lies in
        return False


def _is_zone(name: str) -> bool:
    """Whether the zone can be opened, and surely is one: to read the names of all takes longer than all else here."""
    if name.startswith(("posix", "right/")):  # the same again, under names that nobody should use
        return False
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@cache
def _zones() -> frozenset[str]:
    """Every time zone this machine knows; none on one without a zone database, where nothing can be judged."""
    from zoneinfo import available_timezones

    return frozenset(available_timezones())
