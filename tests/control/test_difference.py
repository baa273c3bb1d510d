"""What a new config would change, in words: everybody it makes faster or slower, and everything it closes."""

from pathlib import Path

import msgspec

from smsd.config import Config, TenantConfig
from smsd.control.difference import OTHERS, difference
from smsd.core.limit import parse
from tests.support.config import config

US = '[routes.us]\nproviders = [{ use = "main", weight = 90 }, { use = "spare", weight = 10 }]\n'
SPARE = '[providers.spare]\ntype = "fake"\nlimits = ["100/s"]\n'


def told(old: Config, new: Config) -> list[str]:
    """Each change as "kind: text"."""
    return [f"{change.kind}: {change}" for change in difference(old, new)]


def changed(folder: Path, old: str, new: str) -> list[str]:
    return told(config(folder, extra=old), config(folder, extra=new))


def test_the_same_changes_nothing(tmp_path: Path) -> None:
    """A file that means the same, also written in another way, is no change."""
    assert changed(tmp_path, "", "[retention]\nmessages = '3d'\n") == []


def test_tenants_that_change_alike_are_one_line(tmp_path: Path) -> None:
    """Thousands of tenants are a few lines with counts and the first names, each with what it was and becomes."""
    rows = [f"[tenants.t{n:04}]\nplan = 'gold'\n" for n in range(3000)]
    gold = "[plans.gold]\nlimits = ['{}']\n"
    own = "[tenants.own]\nlimits = ['50/s']\n"
    old, new = gold.format("20/s") + "".join(rows) + own, gold.format("10/s") + "".join(rows) + own
    (line,) = changed(tmp_path, old, new)
    assert line == "slower: 3,000 tenants (t0000, t0001, t0002, t0003, t0004 and 2,995 more): 20/s -> 10/s"
    (change,) = difference(config(tmp_path, extra=old), config(tmp_path, extra=new))
    assert (change.count, len(change.names)) == (3000, 5)
    assert len(msgspec.json.encode(change)) < 300


def test_the_defaults_are_those_of_every_other_tenant(tmp_path: Path) -> None:
    """A change of the defaults is told of them and of the named tenants whose own settings leave it open."""
    named = "[tenants.named]\nsender = 'Acme'\n[tenants.own]\nlimits = ['1/s']\n"
    old, new = config(tmp_path, extra=named, limit="5/s"), config(tmp_path, extra=named, limit="9/s")
    assert told(old, new) == [f"faster: 2 tenants (named, {OTHERS}): 5/s -> 9/s"]


def test_what_was_made_by_command_goes_before_the_file(tmp_path: Path) -> None:
    """A tenant whose settings were made keeps these under any file; one that only they name is not cut off."""
    made = {"acme": TenantConfig(limits=(parse("7/s"),)), "only": TenantConfig()}
    old = config(tmp_path, extra="[tenants.acme]\nlimits = ['50/s']\n")
    new = config(tmp_path, extra="[tenants.acme]\nlimits = ['1/s']\n[unknown_tenants]\npolicy = 'reject'\n")
    assert told(old.with_made(made), new.with_made(made)) == [
        f"cut_off: {OTHERS}: rejected from now on, unless it was set by API or command"
    ]


def test_class_limits_are_told_by_class(tmp_path: Path) -> None:
    """A limit of a tenant in one class is told as such."""
    old, new = (f"[tenants.acme]\nclass_limits.marketing = ['{limit}']\n" for limit in ("5/s", "50/s"))
    assert changed(tmp_path, old, new) == ["faster: tenant acme: marketing 5/s -> 50/s"]


def test_who_is_cut_off_comes_first(tmp_path: Path) -> None:
    """Tenants that are rejected, countries that are closed, classes that nobody reads."""
    old = "[tenants.acme]\n[tenants.gone]\n[classes.otp]\n"
    new = "[tenants.acme]\ncountries = ['IE']\nlimits = ['9999/s']\n[unknown_tenants]\npolicy = 'reject'\n"
    lines = changed(tmp_path, old, new)
    assert "faster: tenant acme: 1000/s -> 9999/s" in lines
    assert [line for line in lines if line.startswith("cut_off")] == lines[:4]
    assert lines[:4] == [
        f"cut_off: {OTHERS}: rejected from now on, unless it was set by API or command",
        "cut_off: tenant acme: all countries are closed but IE",
        "cut_off: tenant gone: not configured any more, and unknown tenants are rejected",
        "cut_off: class otp: dropped: nobody reads its inbox any more",
    ]
    back = changed(tmp_path, new, old)
    assert f"changed: {OTHERS}: taken from now on, with the defaults" in back
    assert "changed: tenant acme: all countries are open, not only IE" in back
    assert "changed: tenant gone: taken from now on" in back


def test_a_tenant_without_a_route_is_cut_off(tmp_path: Path) -> None:
    """Where the last routes go, whoever was sent by them is told."""
    old = config(tmp_path)
    bare = msgspec.structs.replace(old, routes={}, providers={})
    assert f"cut_off: {OTHERS}: no route default any more: only what a rule routes is sent" in told(old, bare)


def test_shares_of_classes(tmp_path: Path) -> None:
    """Weights are told as what they are worth beside the other classes."""
    old = config(tmp_path)
    lighter = msgspec.structs.replace(old.classes["reminder"], weight=4, max_in_flight_share=0.5)
    new = msgspec.structs.replace(old, classes={**old.classes, "reminder": lighter})
    assert told(old, new) == [
        "slower: class reminder: 89 % -> 80 % of a busy route (weight 8 -> 4)",
        "slower: class reminder: max_in_flight_share 1 -> 0.5",
        "faster: class marketing: 11 % -> 20 % of a busy route",
    ]
    sooner = msgspec.structs.replace(old.classes["reminder"], expire_after_us=3_600_000_000)
    shorter = msgspec.structs.replace(old, classes={**old.classes, "reminder": sooner})
    assert told(old, shorter) == ["changed: class reminder: expire_after 12h -> 1h"]


def test_routes_and_providers(tmp_path: Path) -> None:
    """Weights are told in percent, providers by what they may do, rules by their conditions."""
    rule = "[[route_rules]]\ncountries = ['US']\nroute = 'us'\n"
    old, new = US + SPARE, US.replace("90", "50").replace("weight = 10", "weight = 50") + SPARE.replace("100/s", "10/s")
    assert changed(tmp_path, old, new + rule) == [
        "slower: provider spare: 100/s -> 10/s",
        "changed: route us: main 90 % -> 50 %, spare 10 % -> 50 %",
        "changed: rule [countries US -> us]: new",
    ]
    assert changed(tmp_path, SPARE, "")[0].startswith("changed: provider spare: dropped: receipts for what it took")
    assert changed(tmp_path, SPARE, SPARE + "max_in_flight = 8\nsettle_s = 1\n") == [
        "slower: provider spare: max_in_flight 64 -> 8",
        "changed: provider spare: settle_s 5 -> 1",
    ]


def test_senders(tmp_path: Path) -> None:
    """Who may text a country no more is cut off; a pool is told by how many come and go."""
    pool = "[sender_pools.uk]\nsenders = [{}]\n"
    assert changed(tmp_path, pool.format("'A', 'B'"), pool.format("'B', 'C', 'D'")) == [
        "changed: sender pool uk: 2 senders more, 1 fewer"
    ]
    rule = "[[sender_rules]]\ncountries = ['US']\ntypes = [{}]\n"
    numbers, names = rule.format("'e164', 'short'"), rule.format("'e164', 'alpha'")
    assert changed(tmp_path, "", numbers) == ["cut_off: country US: may be texted by a number, a short code"]
    assert changed(tmp_path, numbers, "") == ["changed: country US: may be texted by everybody"]
    one, two = names + "registered = ['A']\n", names + "registered = ['A', 'B']\n"
    assert changed(tmp_path, names, one) == [
        "cut_off: country US: may be texted by a number, an alphanumeric sender (registered: a)"
    ]
    assert changed(tmp_path, one, two)[0].startswith("changed: ")
    assert changed(tmp_path, two, one)[0].startswith("cut_off: ")
    assert changed(tmp_path, numbers, numbers + "instead = '12345'\n") == [
        "changed: country US: may be texted by a number, a short code; a tenant's own that may not gives way to 12345"
    ]


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    """A provider's other secret is told as another one, without its reference."""
    env = {"SID": "AC" + "0" * 32, "OLD_TOKEN": "x", "NEW_TOKEN": "y"}
    twilio = '[providers.tw]\ntype = "twilio"\naccount_sid = "env:SID"\nauth_token = "env:{}_TOKEN"\n'
    old, new = (config(tmp_path, env=env, extra=twilio.format(which)) for which in ("OLD", "NEW"))
    assert told(old, new) == ["changed: provider tw: another auth_token"]


def test_all_other_sections(tmp_path: Path) -> None:
    """Retention says which way, countries what is closed, senders how fast."""
    old = "[senders.Salon]\nlimits = ['1/s']\n[retention]\nmessages = '72h'\nevents_max = 2000\n"
    new = "[senders.Salon]\nlimits = ['2/s']\n[retention]\nmessages = '24h'\nevents_max = 1000\n"
    assert changed(tmp_path, old, new) == [
        "faster: sender Salon: 1/s -> 2/s",
        "changed: retention: messages kept shorter: 3d -> 1d",
        "changed: retention: events_max 2000 -> 1000",
    ]
    base = config(tmp_path)
    closed = msgspec.structs.replace(base.dispatch, countries=("IE", "GB"), max_segments=3)
    assert told(base, msgspec.structs.replace(base, dispatch=closed)) == [
        "cut_off: dispatch: all countries are closed but GB, IE",
        "changed: dispatch: max_segments 10 -> 3",
    ]
    sandbox = msgspec.structs.replace(base.sandbox, enabled=True, allow_to=("+353",))
    (line,) = told(base, msgspec.structs.replace(base, sandbox=sandbox))
    assert line.startswith("cut_off: sandbox: on: no number is texted for real but those that begin with: +353")
