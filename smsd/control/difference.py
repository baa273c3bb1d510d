"""What would change if one config took the place of another: who gets faster, slower or cut off, and what else.

Pure: two configs in, a list of changes out. Never says what the store holds: dropping.py does. Tenants of which the
same is to be said are one change, so that thousands of them are a few lines.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from smsd.config import Config
from smsd.config.settings import RouteConfig, RouteRule, Terms, show_duration
from smsd.control.difference_words import compare, fields
from smsd.core.limit import Limit
from smsd.core.senders import SPOKEN, SenderRule

Kind = Literal["cut_off", "slower", "faster", "changed"]
KINDS: tuple[Kind, ...] = ("cut_off", "slower", "faster", "changed")

NAMES_SHOWN = 5
OTHERS = "every other tenant"
ALL = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one or many of a kind."""

    kind: Kind
    what: str  # tenant, class, route, provider, sender, rule, or a section
    names: list[str]  # the first few of them, in order; [] where there is only one of its kind
    count: int  # how many there are
    said: str

    def __str__(self) -> str:
        more = f" and {self.count - len(self.names):,} more" if self.count > len(self.names) else ""
        if self.names == [OTHERS]:
            return f"{OTHERS}: {self.said}"
        if self.count > 1:
            plural = f"{self.what}{'es' if self.what.endswith('s') else 's'}"
            return f"{self.count:,} {plural} ({', '.join(self.names)}{more}): {self.said}"
        return f"{' '.join([self.what, *self.names])}: {self.said}"


def difference(old: Config, new: Config) -> list[Change]:
    """Every change, those that hurt first; [] where both mean the same.

    What was made for tenants by API or command goes before either file, where both configs hold it (Config.with_made).
    """
    found = _Found()
    _tenants(found, old, new)
    _classes(found, old, new)
    _routes(found, old, new)
    _providers(found, old, new)
    _senders(found, old, new)
    _sections(found, old, new)
    return found.changes()


class _Found:
    """What was found, by what is to be said of it."""

    def __init__(self) -> None:
        self._names: defaultdict[tuple[Kind, str, str], list[str]] = defaultdict(list)

    def add(self, kind: Kind, what: str, name: str, said: str) -> None:
        self._names[kind, what, said].append(name)

    def limits(self, what: str, name: str, old: Sequence[Limit], new: Sequence[Limit], of: str = "") -> None:
        if changed := compare(old, new):
            speed, said = changed
            self.add(speed, what, name, f"{of}{said}")

    def changes(self) -> list[Change]:
        made = [
            Change(
                kind=kind,
                what=what,
                names=[] if names == [ALL] else sorted(names, key=lambda name: (name == OTHERS, name))[:NAMES_SHOWN],
                count=len(names),
                said=said,
            )
            for (kind, what, said), names in self._names.items()
        ]
        return sorted(made, key=lambda one: (KINDS.index(one.kind), -one.count))


# ---- Who -------------------------------------------------------------------------------------------------------------


def _tenants(found: _Found, old: Config, new: Config) -> None:
    """Each tenant that is configured under either, by what holds for it in the end; and all others, by the defaults."""
    if old.accept_unknown and not new.accept_unknown:
        found.add("cut_off", "tenant", OTHERS, "rejected from now on, unless it was set by API or command")
    elif new.accept_unknown and not old.accept_unknown:
        found.add("changed", "tenant", OTHERS, "taken from now on, with the defaults")
    if old.accept_unknown or new.accept_unknown:
        _terms(found, OTHERS, old, new, old.tenant_defaults, new.tenant_defaults)
    for name in sorted(old.tenants.keys() | new.tenants.keys() | old.made.keys() | new.made.keys()):
        was, there = old.knows(name) or old.accept_unknown, new.knows(name) or new.accept_unknown
        if was and not there:
            found.add("cut_off", "tenant", name, "not configured any more, and unknown tenants are rejected")
        elif there and not was:
            found.add("changed", "tenant", name, "taken from now on")
        else:
            _terms(found, name, old, new, old.terms(name), new.terms(name))


def _terms(found: _Found, name: str, old: Config, new: Config, before: Terms, after: Terms) -> None:
    found.limits("tenant", name, before.limits, after.limits)
    for class_ in sorted(before.class_limits.keys() | after.class_limits.keys()):
        if class_ in new.classes:
            one, other = before.class_limits.get(class_, ()), after.class_limits.get(class_, ())
            found.limits("tenant", name, one, other, f"{class_} ")
    if before.route in old.routes and after.route not in new.routes:
        found.add("cut_off", "tenant", name, f"no route {after.route} any more: only what a rule routes is sent")
    elif before.route != after.route:
        found.add("changed", "tenant", name, f"goes by route {after.route} instead of {before.route}")
    _countries(found, "tenant", name, before.countries, after.countries)
    for said in fields(before, after, ("limits", "class_limits", "route", "countries")):
        found.add("changed", "tenant", name, said)


def _countries(found: _Found, what: str, name: str, old: Sequence[str], new: Sequence[str]) -> None:
    if set(old) == set(new):
        return
    if "*" in new:
        found.add("changed", what, name, f"all countries are open, not only {_few(old)}")
    elif "*" in old:
        found.add("cut_off", what, name, f"all countries are closed but {_few(new)}")
    else:
        if closed := set(old) - set(new):
            found.add("cut_off", what, name, f"{_few(closed)} closed")
        if opened := set(new) - set(old):
            found.add("changed", what, name, f"{_few(opened)} open")


def _senders(found: _Found, old: Config, new: Config) -> None:
    for name in sorted(old.senders.keys() | new.senders.keys()):
        before, after = old.senders.get(name), new.senders.get(name)
        found.limits("sender", name, before.limits if before else (), after.limits if after else ())
    for name in sorted(old.sender_pools.keys() | new.sender_pools.keys()):
        one, other = (set(c.sender_pools[name].senders if name in c.sender_pools else ()) for c in (old, new))
        if one != other:
            found.add("changed", "sender pool", name, f"{len(other - one)} senders more, {len(one - other)} fewer")
    for country in sorted({country for config in (old, new) for r in config.sender_rules for country in r.countries}):
        before, after = old.sender_rule(country), new.sender_rule(country)
        if before != after:
            kind: Kind = "changed" if _covers(after, before) else "cut_off"
            found.add(kind, "country", country, f"may be texted by {_may(after)}")


def _covers(after: SenderRule | None, before: SenderRule | None) -> bool:
    """Whether whoever may send by one rule may by the other."""
    if after is None or before is None:
        return after is None
    names = "alpha" not in before.types or after.registered is None
    return before.types <= after.types and (
        names
        or (before.registered is not None and after.registered is not None and before.registered <= after.registered)
    )


def _may(rule: SenderRule | None) -> str:
    if rule is None:
        return "everybody"
    told = [SPOKEN[kind] for kind in SPOKEN if kind in rule.types]
    if "alpha" in rule.types and rule.registered is not None:
        told[-1] += f" (registered: {_few(rule.registered) or 'none'})"
    return ", ".join(told) + (f"; a tenant's own that may not gives way to {rule.instead}" if rule.instead else "")


# ---- By what ---------------------------------------------------------------------------------------------------------


def _classes(found: _Found, old: Config, new: Config) -> None:
    totals = [sum(one.weight for one in config.classes.values()) for config in (old, new)]
    for name in [*old.classes, *(name for name in new.classes if name not in old.classes)]:
        before, after = old.classes.get(name), new.classes.get(name)
        if before is None:
            found.add("changed", "class", name, "new")
        elif after is None:
            found.add("cut_off", "class", name, "dropped: nobody reads its inbox any more")
        else:
            shares = round(100 * before.weight / totals[0]), round(100 * after.weight / totals[1])
            if shares[0] != shares[1] or before.weight != after.weight:
                kind = _speed(before.weight / totals[0], after.weight / totals[1])
                weights = "" if before.weight == after.weight else f" (weight {before.weight} -> {after.weight})"
                found.add(kind, "class", name, f"{shares[0]} % -> {shares[1]} % of a busy route{weights}")
            room = before.max_in_flight_share, after.max_in_flight_share
            if room[0] != room[1]:
                found.add(_speed(*room), "class", name, f"max_in_flight_share {room[0]:g} -> {room[1]:g}")
            for said in fields(before, after, ("weight", "max_in_flight_share")):
                found.add("changed", "class", name, said)


def _speed(before: float, after: float) -> Kind:
    return "changed" if before == after else "faster" if after > before else "slower"


def _routes(found: _Found, old: Config, new: Config) -> None:
    for name in sorted(old.routes.keys() | new.routes.keys()):
        before, after = old.routes.get(name), new.routes.get(name)
        if before is None or after is None:
            found.add("changed", "route", name, "dropped" if after is None else "new")
            continue
        one, other = _shares(before), _shares(after)
        if one != other:
            told = [
                f"{use} {one.get(use, 0)} % -> {other.get(use, 0)} %"
                for use in (one | other)
                if one.get(use) != other.get(use)
            ]
            found.add("changed", "route", name, ", ".join(told))
    gone = [rule for rule in old.route_rules if rule not in new.route_rules]
    come = [rule for rule in new.route_rules if rule not in old.route_rules]
    for rule in gone:
        found.add("changed", "rule", _rule(rule), "dropped")
    for rule in come:
        found.add("changed", "rule", _rule(rule), "new")
    kept = [[rule for rule in rules if rule not in (*gone, *come)] for rules in (old.route_rules, new.route_rules)]
    if kept[0] != kept[1]:
        found.add("changed", "route_rules", ALL, "another order: the first that matches wins")


def _shares(route: RouteConfig) -> dict[str, int]:
    """Percent by provider."""
    total = sum(use.weight for use in route.providers) or 1
    return {use.use: round(100 * use.weight / total) for use in route.providers}


def _rule(rule: RouteRule) -> str:
    conditions = (
        ("countries", rule.countries),
        ("prefixes", rule.prefixes),
        ("classes", rule.classes),
        ("tenants", rule.tenants),
        ("sender_types", rule.sender_types),
    )
    told = "; ".join(f"{key} {_few(values, by_name=False)}" for key, values in conditions if values)
    return f"[{told} -> {rule.route}]"


def _providers(found: _Found, old: Config, new: Config) -> None:
    for name in sorted(old.providers.keys() | new.providers.keys()):
        before, after = old.providers.get(name), new.providers.get(name)
        if before is None or after is None:
            said = "new" if before is None else "dropped: receipts for what it took are refused from then on"
            found.add("changed", "provider", name, said)
            continue
        found.limits("provider", name, before.limits, after.limits)
        if before.max_in_flight != after.max_in_flight:
            kind = _speed(before.max_in_flight, after.max_in_flight)
            found.add(kind, "provider", name, f"max_in_flight {before.max_in_flight} -> {after.max_in_flight}")
        changed = fields(before, after, ("limits", "max_in_flight", "options"))
        if type(before.options) is type(after.options):
            changed += fields(before.options, after.options)
        for said in changed:
            found.add("changed", "provider", name, said)


# ---- All else --------------------------------------------------------------------------------------------------------


def _sections(found: _Found, old: Config, new: Config) -> None:
    _countries(found, "dispatch", ALL, old.dispatch.countries, new.dispatch.countries)
    for said in fields(old.dispatch, new.dispatch, ("countries",)):
        found.add("changed", "dispatch", ALL, said)
    _retention(found, old, new)
    for said in fields(old.opt_out, new.opt_out):
        found.add("changed", "opt_out", ALL, said)
    if new.sandbox.enabled and not old.sandbox.enabled:
        allowed = _few(new.sandbox.allow_to) or "none"
        found.add("cut_off", "sandbox", ALL, f"on: no number is texted for real but those that begin with: {allowed}")
    elif old.sandbox.enabled and not new.sandbox.enabled:
        found.add("changed", "sandbox", ALL, "off: every number is texted for real")
    else:
        for said in fields(old.sandbox, new.sandbox):
            found.add("changed", "sandbox", ALL, said)
    for name in sorted(old.status_webhooks.keys() | new.status_webhooks.keys()):
        before, after = old.status_webhooks.get(name), new.status_webhooks.get(name)
        if before is None or after is None:
            found.add("changed", "status webhook", name, "dropped" if after is None else "new")
        else:
            for said in fields(before, after):
                found.add("changed", "status webhook", name, said)


def _retention(found: _Found, old: Config, new: Config) -> None:
    for key, unit in (("messages", "messages_us"), ("bodies", "bodies_us"), ("events", "events_us")):
        before, after = getattr(old.retention, unit), getattr(new.retention, unit)
        if before != after:
            how = "shorter" if after < before else "longer"
            found.add(
                "changed", "retention", ALL, f"{key} kept {how}: {show_duration(before)} -> {show_duration(after)}"
            )
    for said in fields(old.retention, new.retention, ("messages", "bodies", "events")):
        found.add("changed", "retention", ALL, said)


def _few(names: Iterable[str], *, by_name: bool = True) -> str:
    """The first of many names; in their own order where that means something."""
    every = sorted(names) if by_name else list(names)
    more = f" and {len(every) - 2 * NAMES_SHOWN} more" if len(every) > 2 * NAMES_SHOWN else ""
    return ", ".join(every[: 2 * NAMES_SHOWN]) + more
