"""What smsd.config.check must hold: what one key says about another is true, and each untruth is told once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from smsd.config import ConfigErrors, load

GOOD = """
[routes.default]
providers = [{ use = "main" }]
[routes.us]
providers = [{ use = "main", weight = 0 }, { use = "spare" }]
[providers.main]
type = "tests.config.dummy:Dummy"
base_url = "x"
[providers.spare]
type = "tests.config.dummy:Dummy"
base_url = "x"
[plans.gold]
limits = ["100/s"]
"""

Told = Callable[..., list[str]]
KEYS = (("a", "PW"), ("b", "URL"), ("c", "PW"))


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """The mistakes of a config whose first lines are given, as `line: key: message`."""

    def mistakes(text: str, rest: str = GOOD) -> list[str]:
        path = tmp_path / "smsd.toml"
        path.write_text(text.strip("\n") + "\n" + rest)
        try:
            load(path, {"URL": "redis://h", "BAD_URL": "http://h", "PW": "p@:/", "DB": "3"})
        except ConfigErrors as errors:
            return [str(mistake).removeprefix(f"{path}:") for mistake in errors.mistakes]
        return []

    return mistakes


def test_a_config_whose_names_all_exist_has_no_mistake(told: Told):
    """Routes, providers, plans, classes, countries and zones that exist are taken."""
    assert not told("""
[dispatch]
countries = ["IE", "US"]
[tenants.acme]
plan = "gold"
route = "us"
countries = ["US"]
zone = "Europe/Dublin"
class_limits.marketing = ["10/s", "10 segments/s", "100/m"]
[tenants.all]
countries = ["*"]
[senders."+353861234567"]
limits = ["1/s"]
[[route_rules]]
countries = ["US"]
classes = ["reminder"]
route = "us"
""")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('[tenants.a]\nplan = "glod"', '2: tenants.a.plan: there is no plan "glod" (did you mean "gold"?)'),
        ('[tenants.a]\nroute = "x"', '2: tenants.a.route: there is no route "x": there are default, us'),
        ('[plans.b]\nroute = "x"', '2: plans.b.route: there is no route "x": there are default, us'),
        (
            '[tenant_defaults]\nroute = "uss"',
            '2: tenant_defaults.route: there is no route "uss" (did you mean "us"?)',
        ),
        (
            '[tenants.a]\nclass_limits.otp = ["1/s"]',
            '2: tenants.a.class_limits.otp: there is no class "otp": there are marketing, reminder',
        ),
        (
            '[plans.b.class_limits]\nreminde = ["1/s"]',
            '2: plans.b.class_limits.reminde: there is no class "reminde" (did you mean "reminder"?)',
        ),
        (
            '[dispatch]\ncountries = ["IE"]\n[tenants.a]\ncountries = ["IE", "US"]',
            "4: tenants.a.countries[1]: [dispatch] countries does not allow US: a tenant may have fewer, never more",
        ),
        (
            '[tenants.a]\nzone = "Europe/Dubln"',
            '2: tenants.a.zone: expected a time zone such as "Europe/Dublin" (did you mean "Europe/Dublin"?)',
        ),
        (
            '[tenant_defaults]\nlimits = ["20/s", "1 segments/s",\n"30/1s burst 2"]',
            '3: tenant_defaults.limits[2]: "20/s" already limits messages over the same period: keep the one you mean',
        ),
        (
            '[tenants.a.class_limits]\nmarketing = ["60/60s", "60/m"]',
            '2: tenants.a.class_limits.marketing[1]: "60/m" already limits messages over the same period: keep the one '
            "you mean",
        ),
        (
            '[senders."+353861234567"]\nlimits = ["1 segments/s", "1 segments/s"]',
            '2: senders."+353861234567".limits[1]: "1 segments/s" already limits segments over the same period: keep '
            "the one you mean",
        ),
        (
            "[routes.none]\nproviders = []",
            "2: routes.none.providers: nobody serves this route: give it at least one provider",
        ),
        (
            '[routes.a]\nproviders = [{ use = "main", weight = 0 }]',
            "2: routes.a.providers: all weights are 0: give at least one provider more",
        ),
        (
            '[routes.a]\nproviders = [\n{ use = "mian" }]',
            '3: routes.a.providers[0].use: there is no provider "mian" (did you mean "main"?)',
        ),
        (
            '[routes.a]\nproviders = [{ use = "main" },\n{ use = "main" }]',
            '3: routes.a.providers[1].use: "main" is in this route already: add the weights',
        ),
        (
            '[[route_rules]]\ncountries = ["US"]\nroute = "usa"',
            '3: route_rules[0].route: there is no route "usa" (did you mean "us"?)',
        ),
        (
            '[[route_rules]]\nroute = "us"',
            "1: route_rules[0]: a rule without a condition would take everything: give one of countries, prefixes, "
            "classes, tenants, sender_types",
        ),
        (
            '[[route_rules]]\nroute = "us"\ntenants = []',
            "3: route_rules[0].tenants: an empty list matches nothing: leave it out, or the whole rule",
        ),
        (
            '[[route_rules]]\nroute = "us"\nclasses = ["reminder", "otp"]',
            '3: route_rules[0].classes[1]: there is no class "otp": there are marketing, reminder',
        ),
        (
            '[classes.otp]\nbackoff = ["10m", "2s"]',
            "2: classes.otp.backoff: the first wait is longer than the largest: swap them",
        ),
        (
            '[routes.sandbox]\nproviders = [{ use = "main" }]',
            '1: routes.sandbox: the name "sandbox" is kept for what [sandbox] brings with it: give it another one',
        ),
        (
            '[providers.sandbox]\ntype = "tests.config.dummy:Dummy"\nbase_url = "x"',
            '1: providers.sandbox: the name "sandbox" is kept for what [sandbox] brings with it: give it another one',
        ),
        ("[dispatch]\ncountries = []", '2: dispatch.countries: an empty list lets nothing leave: ["*"] is everywhere'),
        (
            '[store]\nurl = "redis://h:6379/prod"',
            "2: store.url: what follows host:port is the number of a database, such as /0",
        ),
        (
            '[sandbox]\nenabled = true\n[tenants.x]\nroute = "sandbox"',
            '4: tenants.x.route: there is no route "sandbox": there are default, us',
        ),
    ],
)
def test_each_untruth_is_one_mistake_at_its_line(told: Told, text: str, mistake: str):
    """What does not fit together is told once, with the line and with what would be right."""
    assert told(text) == [mistake]


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "rediss://smsd:{env:PW}@h.internal:6379/0",
        "redis://[::1]:6379/",
        "redis://h:6379/{env:DB}",
        "env:URL",
    ],
)
def test_a_store_is_a_server_that_can_be_dialled(told: Told, url: str):
    """The contract's schemes with hosts, ports and references are right, also as one reference."""
    assert told(f'[store]\nurl = "{url}"') == []


@pytest.mark.parametrize(
    "url",
    ["http://h", "embeded", "redis://", "redis://h:x", "redis://h:0", "redis://h:65536", "redis://[h", "env:BAD_URL"],
)
def test_any_other_store_is_a_mistake(told: Told, url: str):
    """Another scheme, no host or no port that exists is told, and what the reference held is not."""
    mistakes = told(f'[store]\nurl = "{url}"')
    assert len(mistakes) == 1
    assert mistakes[0].startswith('2: store.url: expected "embedded" or a url that begins with redis://, ') or (
        mistakes == ["2: store.url: the url cannot be read"]
    )


@pytest.mark.parametrize("url", ["redis+cluster://h1:7000,h2:7001/0", "redis+sentinel://h1:26379,h2:26379/mymaster"])
def test_a_store_that_run_would_refuse_is_a_mistake(told: Told, url: str):
    """What is not built yet is told before the start, and not at it."""
    (mistake,) = told(f'[store]\nurl = "{url}"')
    assert mistake.startswith("2: store.url: ")
    assert mistake.endswith("is not supported yet; give one server, redis://HOST:PORT/DB")


def test_the_embedded_store_has_an_address_of_its_own(told: Told):
    """A listener cannot be where the store is; both listeners at one address are right."""
    both = '[http]\nlisten = "127.0.0.1:1"\n[webhooks]\nlisten = "127.0.0.1:1"\n[store]\n'
    assert told(f'{both}listen = "127.0.0.1:1"') == [
        "2: http.listen: [store] listens at 127.0.0.1:1 itself: give this another port",
        "4: webhooks.listen: [store] listens at 127.0.0.1:1 itself: give this another port",
    ]
    everywhere = both.replace('"127.0.0.1:1"', '"0.0.0.0:1"', 1).replace('"127.0.0.1:1"', '"[::]:1"')
    assert len(told(f'{everywhere}listen = "127.0.0.1:1"')) == 2
    assert told(f'{everywhere}listen = "127.0.0.1:2"') == []
    assert told(f'{both}listen = "127.0.0.1:1"\nurl = "redis://h"') == []
    assert told(both.replace(":1", ":0") + 'listen = "127.0.0.1:0"') == []
    assert told(both) == []


def test_a_receiver_that_hears_of_nothing_is_a_mistake(told: Told):
    """Empty lists of tenants and of states are each told of."""
    mistakes = told('[status_webhooks.a]\nurl = "https://a"\nsecret = "env:PW"\ntenants = []\nstates = []')
    assert mistakes[-2:] == [
        "4: status_webhooks.a.tenants: an empty list hears of nothing: name at least one, or leave it out",
        "5: status_webhooks.a.states: an empty list hears of nothing: name at least one, or leave it out",
    ]


def test_two_api_keys_of_one_secret_are_a_mistake(told: Told):
    """Whose tenants it would open could not be told; the secret itself is not told of."""
    keys = [f'[http.api_keys.{name}]\nkey = "env:{env}"\ntenants = ["*"]\n' for name, env in KEYS]
    said = "this is the secret of a too, so whose tenants it opens is open: give each its own"
    assert told("".join(keys)) == [f"8: http.api_keys.c.key: {said}"]


def test_a_table_with_a_mistake_of_its_own_still_counts_as_named(told: Told):
    """A route to a provider that has a mistake is not a second mistake; nor are a broken plan, class or route."""
    mistakes = told(
        """
[tenants.a]
plan = "silver"
route = "eu"
class_limits.otp = ["1/s"]
[plans.silver]
limits = 5
[routes.eu]
providers = [{ use = "third" }]
[providers.third]
base_url = "x"
[classes.otp]
weight = 0
"""
    )
    assert [mistake.split(": ")[1] for mistake in mistakes] == [
        "plans.silver.limits",
        "providers.third",
        "classes.otp.weight",
    ]


def test_the_default_route_may_be_missing_only_while_nothing_can_be_sent_at_all(told: Told):
    """A file that has neither routes nor providers is right; one that has them must have the default route."""
    assert told("", "") == []
    provider = '[providers.main]\ntype = "tests.config.dummy:Dummy"\nbase_url = "x"\n'
    mistake = 'tenant_defaults.route: there is no route "default": there are none, so add it'
    assert [text.strip() for text in told("", provider)] == [mistake]


@pytest.mark.parametrize(
    "zone", ["right/Europe/Dublin", "posix/Europe/Dublin", "Europe", "../Europe/Dublin", "tzdata.zi"]
)
def test_what_is_a_file_or_a_folder_is_not_yet_a_zone(told: Told, zone: str):
    """Only what the zone database lists as a zone is one, whatever else lies there."""
    (mistake,) = told(f'[tenants.a]\nzone = "{zone}"')
    assert mistake.startswith('2: tenants.a.zone: expected a time zone such as "Europe/Dublin"')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[sender_pools.uk]\nsenders = []", "a pool without a sender"),
        ('[sender_pools.uk]\nsenders = ["Salon", "Salon"]', '"Salon" is in this pool already'),
        ('[tenant_defaults]\nsender_pool = "ku"', 'there is no sender pool "ku"'),
        ('[[sender_rules]]\ncountries = []\ntypes = ["alpha"]', "an empty list: name at least one"),
        ('[[sender_rules]]\ncountries = ["US"]\ntypes = ["e164"]\ninstead = "Salon"', "may not send there either"),
        (
            '[dispatch]\ncountries = ["IE", "US"]\n[sender_pools.uk]\nsenders = ["Salon"]\n'
            '[[sender_rules]]\ncountries = ["US"]\ntypes = ["e164"]',
            "4: sender_pools.uk.senders: none of these may send to US, which [dispatch] countries names",
        ),
    ],
)
def test_senders_that_cannot_be_used_are_told(tmp_path: Path, text: str, told: str) -> None:
    """A pool and a rule are judged before a message needs them."""
    path = tmp_path / "smsd.toml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigErrors) as errors:
        load(path, {})
    assert told in str(errors.value)
