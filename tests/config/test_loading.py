"""What smsd.config.loading must hold: a whole config, or every mistake of every file at once."""

import re
import time
from pathlib import Path

import pytest

from smsd.config import ConfigErrors, Mistake, compiled, follow, load, shared
from smsd.config.plugin import known_types

PROVIDER = '[providers.main]\ntype = "tests.config.dummy:Dummy"\nbase_url = "x"\n'
ROUTE = '[routes.default]\nproviders = [{ use = "main" }]\n'


def mistakes(folder: Path, text: str, env: dict[str, str] | None = None, *, secrets: bool = True) -> list[str]:
    """The mistakes of a file, without the folder."""
    (folder / "smsd.toml").write_text(text)
    try:
        load(folder / "smsd.toml", env or {}, secrets=secrets)
    except ConfigErrors as errors:
        return sorted(line.replace(f"{folder}/", "") for line in str(errors).splitlines())
    return []


def test_an_empty_file_is_a_config_of_defaults(tmp_path: Path):
    """Nothing needs to be said to start; both classes of the contract hold."""
    (tmp_path / "smsd.toml").write_text("")
    config = load(tmp_path / "smsd.toml", {})
    assert list(config.classes) == ["reminder", "marketing"]
    assert config.route(tenant_route="default", country="", to="", class_="", tenant="", sender="") is None


def test_every_mistake_of_every_file_is_told_at_once(tmp_path: Path):
    """Unknown keys, wrong values, literal secrets, names that do not exist, overrides and included files: one list."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.toml").write_text('[tenants.a]\nplan = "gold"\nlimit = ["1/s"]\n\n[store]\nshards = 2\n')
    text = """include = ["conf.d/*.toml"]
[stor]
[store]
url = "redis://:hunter2@db"
shards = 0
[http.api_keys.rails]
key = "hunter2"
tenants = ["*"]
[classes.reminder]
expire_after = 12
wieght = 3
[routes.default]
providers = [{ use = "main" }, { use = "spare" }]
[providers.main]
type = "tests.config.dummy:Dummy"
base_url = 5
token = ["env:NOWHERE", "hunter2"]
timeout = 5
max_in_flight = 0
[providers.odd]
type = "twillio"
account_sid = "hunter2"
[status_webhooks.platform]
url = "https://e.example"
secret = "hunter2"
"""
    expected = """\
conf.d/a.toml:2: tenants.a.plan: there is no plan "gold": there are none, so add it
conf.d/a.toml:3: tenants.a.limit: unknown key (did you mean "limits"?)
conf.d/a.toml:6: store.shards: is given in smsd.toml:5 too: keep one of them
environment: SMSD_CLASSES__X: only single keys of [store], [http], [webhooks] and [otel] can be overridden by the \
environment: all else is one for all hosts and belongs into smsd.toml
environment: SMSD_HTTP__LISTEN: expected host:port, as "127.0.0.1:8775", "0.0.0.0:8775" or "[::1]:8775"
smsd.toml:2: stor: unknown key (did you mean "store"?)
smsd.toml:4: store.url: the url holds a password: put {env:NAME} or {file:PATH} in its place, braces included
smsd.toml:5: store.shards: expected a whole number >= 1, got 0
smsd.toml:7: http.api_keys.rails.key: a secret is never written into the config: give env:NAME or file:PATH
smsd.toml:10: classes.reminder.expire_after: expected a duration with its unit: \
"500ms", "2s", "10m", "12h" or "7d", got 12
smsd.toml:11: classes.reminder.wieght: unknown key (did you mean "weight"?)
smsd.toml:13: routes.default.providers[1].use: there is no provider "spare": there are main, odd
smsd.toml:16: providers.main.base_url: expected a text in quotes, got a whole number
smsd.toml:17: providers.main.token[0]: the environment variable NOWHERE is not set
smsd.toml:17: providers.main.token[1]: a secret is never written into the config: give env:NAME or file:PATH
smsd.toml:18: providers.main.timeout: unknown key (did you mean "timeout_s"?)
smsd.toml:19: providers.main.max_in_flight: expected a whole number >= 1, got 0
smsd.toml:21: providers.odd.type: no provider of type "twillio" is installed (did you mean "twilio"?): \
there are "fake", "http", "twilio", or give "package.module:Class"
smsd.toml:25: status_webhooks.platform.secret: a secret is never written into the config: give env:NAME or file:PATH
"""
    listed = ", ".join(f'"{name}"' for name in known_types())
    expected = expected.replace('"fake", "http", "twilio"', listed)
    told = mistakes(tmp_path, text, {"SMSD_HTTP__LISTEN": "8080", "SMSD_CLASSES__X": "1"})
    assert told == sorted(expected.splitlines())
    assert "hunter2" not in "".join(told)


def test_a_file_that_cannot_be_read_is_the_only_kind_of_mistake_told(tmp_path: Path):
    """What a broken file would have said cannot be judged, so nothing is invented about it."""
    (tmp_path / "a.toml").write_text("[plans.gold\n")
    assert [
        text.split(" (")[0] for text in mistakes(tmp_path, 'include = ["a.toml"]\n[tenants.a]\nplan = "gold"\n')
    ] == ["a.toml:1: not TOML: Expected ']' at the end of a table declaration"]
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path / "gone.toml", {})
    assert caught.value.mistakes == [
        Mistake(
            f"{tmp_path}/gone.toml", 0, "", "there is no such file: --config FILE, or $SMSD_CONFIG, says which is meant"
        )
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("classes = 1", "smsd.toml:1: classes: expected tables: [classes.NAME]"),
        ("[classes]\nx = 1", "smsd.toml:2: classes.x: expected a table: [classes.x]"),
        ("[classes.Big]", "smsd.toml:1: classes.Big: a name is 1 to 32 of a-z, 0-9, _ and -"),
        ("providers = []", "smsd.toml:1: providers: expected tables: [providers.NAME]"),
        ("store = []", "smsd.toml:1: store: expected a table, got a list"),
        ('includes = ["a"]', 'smsd.toml:1: includes: unknown key (did you mean "include"?)'),
        ("routes = 5", "smsd.toml:1: routes: expected a table, got 5"),
        ("route_rules = {}", "smsd.toml:1: route_rules: expected a list in [brackets], got a table"),
        ("tenants.a = 5", "smsd.toml:1: tenants.a: expected a table, got 5"),
        (
            '[tenants."a b"]',
            'smsd.toml:1: tenants."a b": a tenant id is 1 to 64 of A-Z, a-z, 0-9, _ . : and -',
        ),
    ],
)
def test_nonsense_in_the_place_of_a_section_is_told_and_harms_nothing(tmp_path: Path, text: str, told: str):
    """A value where tables belong is one mistake, not a crash."""
    assert mistakes(tmp_path, text) == [told]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("", ': the key "base_url" is missing'),
        ('base_url = "x"\nretries = -1', ".retries: must not be negative"),
        ('base_url = "bad"', ": the base_url is bad"),
        (
            'base_url = "worse"',
            ": its class fails with these keys (KeyError): that is a fault of the provider's own code",
        ),
        ('base_url = "x"\nretries = 10', ": its class fails with these keys (TypeError): that is"),
        ('base_url = "x"\noptions = 1', ".options: unknown key: known are base_url, callback_networks, limits, max_"),
        ('base_url = "x"\ntoken = "file:gone"', ".token: the file gone cannot be read: No such file or directory"),
    ],
)
def test_a_provider_s_own_keys_are_judged_by_its_class(tmp_path: Path, keys: str, told: str):
    """Its struct of options, what that says of several keys, its constructor and its secrets: each has its mistake,
    whatever way its code fails.
    """
    text = ROUTE + '[providers.main]\ntype = "tests.config.dummy:Dummy"\n' + keys
    (mistake,) = mistakes(tmp_path, text)
    assert mistake.split(": ", 1)[1].startswith("providers.main" + told)


ENV = {"GATEWAY": "secret"}
GATEWAY = """
[providers.plain]
type = "kannel"
base_url = "http://127.0.0.1:13013/cgi-bin/sendsms"
username = "smsd"
password = "env:GATEWAY"
callbacks = { by = "network" }
"""


def test_where_callbacks_come_from_is_judged(tmp_path: Path):
    """What is no network, and a proof by the network that names none, are told with their lines."""
    text = ROUTE + PROVIDER + GATEWAY + 'callback_networks = ["192.0.2.7/24"]\n'
    (mistake,) = mistakes(tmp_path, '[webhooks]\ntrusted_proxies = ["10.0.0.0/8", "::1"]\n' + text, ENV)
    says = "providers.plain.callback_networks[0]: the address lies within 192.0.2.0/24: write that for all of it"
    assert says in mistake
    assert re.search(r"smsd\.toml:[0-9]+: ", mistake)
    (mistake,) = mistakes(tmp_path, text.replace("callback_networks", "#"), ENV)
    says = 'providers.plain.callbacks.by: "network" needs callback_networks in [providers.plain]: which they may come'
    assert says in mistake
    text = text.replace("7/24", "0/24")
    assert mistakes(tmp_path, text, ENV) == []
    (mistake,) = mistakes(tmp_path, text.replace('by = "network"', 'by = "network", secrets = ["env:GATEWAY"]'), ENV)
    assert 'callbacks.by: "network" has no secrets' in mistake


def test_without_secrets_a_reference_that_leads_nowhere_is_no_mistake(tmp_path: Path):
    """A command that only talks to the store works where the providers' tokens are not; literals are mistakes still."""
    text = '[store]\nurl = "redis://:{env:GONE}@h"\n' + ROUTE + PROVIDER + 'token = "env:GONE"\n'
    assert len(mistakes(tmp_path, text)) == 2
    assert mistakes(tmp_path, text, secrets=False) == []
    assert mistakes(tmp_path, '[store]\nurl = "env:GONE"\n', secrets=False) == []
    assert len(mistakes(tmp_path, '[store]\nurl = "http://:{env:GONE}@h"\n', secrets=False)) == 1
    assert len(mistakes(tmp_path, text.replace("env:GONE", "hunter2"), secrets=False)) == 2


def test_the_environment_overrides_what_belongs_to_the_host(tmp_path: Path):
    """Numbers and words come from the variable; a secret's variable may look like an override."""
    (tmp_path / "smsd.toml").write_text(
        '[store]\nshards = 1\n[http.api_keys.a]\nkey = "env:SMSD_X__Y"\ntenants = ["*"]\n'
    )
    env = {
        "SMSD_STORE__SHARDS": "8",
        "SMSD_STORE__URL": "redis://:{env:PW}@h",
        "SMSD_STORE__DURABILITY": "strict",
        "SMSD_WEBHOOKS__PUBLIC_URL": "https://sms.example.com/",
        "SMSD_X__Y": "the key",
        "PW": "s3cret",
    }
    config = load(tmp_path / "smsd.toml", env)
    assert (config.shards, config.store.durability) == (8, "strict")
    assert config.store.url.reveal() == "redis://:s3cret@h"
    assert config.webhooks.public_url == "https://sms.example.com"
    assert config.http.api_keys["a"].key.reveal() == "the key"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SMSD_STORE__SHARDS", "many", "expected a whole number, got a text in quotes"),
        ("SMSD_STORE__SHARDS", "0", "expected a whole number >= 1"),
        ("SMSD_STORE__SHARD", "1", 'unknown key (did you mean "shards"?)'),
        ("SMSD_STORE__URL", "redis://:hunter2@h", "the url holds a password"),
        ("SMSD_STORE__DURABILITY", "stric", 'expected one of "relaxed", "strict" (did you mean "strict"?)'),
        ("SMSD_HTTP__API_KEYS", "x", "expected a table, got a text in quotes"),
    ],
)
def test_a_wrong_override_names_its_variable(tmp_path: Path, name: str, value: str, says: str):
    """It is judged as the file's value would be."""
    told = mistakes(tmp_path, "", {name: value})
    assert len(told) == 1
    assert told[0].startswith(f"environment: {name}: {says}")


def test_a_published_config_is_followed_with_the_host_s_own_sections(tmp_path: Path):
    """The shared part is the other host's as a whole, the store and the listeners stay, secrets are this host's."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "smsd.toml").write_text(ROUTE + PROVIDER + 'token = "env:T"\n[tenants.x]\nlimits = ["5/s"]\n')
    (tmp_path / "smsd.toml").write_text('[store]\ndata_dir = "mine"\n[tenants.y]\nlimits = ["6/s"]\n')
    other = load(tmp_path / "a" / "smsd.toml", {"T": "theirs", "SMSD_STORE__SHARDS": "2"})
    local = load(tmp_path / "smsd.toml", {"T": "mine", "SMSD_STORE__SHARDS": "4"})
    followed = follow(local, shared(other))
    assert followed.revision_hash == other.revision_hash
    assert compiled(followed) == compiled(other)
    assert (followed.data_dir, followed.shards) == (tmp_path / "mine", 4)
    assert followed.provider("main").secrets() == {"mine"}


def test_a_published_config_that_this_host_cannot_use_is_told(tmp_path: Path):
    """A provider or a secret that is not here, or a key of a newer release, is a mistake of what was published."""
    (tmp_path / "smsd.toml").write_text("")
    local = load(tmp_path / "smsd.toml", {})
    with pytest.raises(ConfigErrors) as caught:
        follow(local, b'{"http":{"listen":"theirs"},"newer":1,"providers":{"p":{"type":"gone"}}}')
    assert [(mistake.file, mistake.line, mistake.key) for mistake in caught.value.mistakes] == [
        ("the published config", 0, "newer"),
        ("the published config", 0, "providers.p.type"),
        ("the published config", 0, "tenant_defaults.route"),
    ]
    with pytest.raises(ConfigErrors, match="the published config: cannot be read"):
        follow(local, b"[]")


@pytest.mark.alone
def test_ten_thousand_tenants_load_in_seconds(tmp_path: Path):
    """10,000 tenants of five keys are read, checked and compiled in 3 s of CPU, and a mistake is placed in 5."""
    tenant = (
        '[tenants.t{0}]\nplan = "gold"\nlimits = ["{1}/s", "50000/d"]\nsender = "Salon {0}"\nregion = "IE"\n'
        'class_limits.marketing = ["10/s", "30 segments/m"]\n'
    )
    text = ROUTE + PROVIDER + '[plans.gold]\nlimits = ["100/s"]\n'
    path = tmp_path / "smsd.toml"
    path.write_text(text + "".join(tenant.format(i, i % 50 + 1) for i in range(10_000)))
    started = time.process_time()
    config = load(path, {})
    assert len(compiled(config)) == 10_000 + 3
    assert time.process_time() - started < 3
    path.write_text(path.read_text() + "limit = 5\n")
    started = time.process_time()
    with pytest.raises(ConfigErrors, match=r":60008: tenants.t9999.limit: unknown key"):
        load(path, {})
    assert time.process_time() - started < 5


@pytest.mark.parametrize("secret", ["correct horse", "whsec_c2hvcnQ=", "whsec_" + "QUJD" * 30, "QUJD" * 8 + "\u00e9"])
def test_a_secret_that_signs_nothing_is_a_mistake(tmp_path: Path, secret: str) -> None:
    """Of status webhooks: what no library could verify, by its reference and never by itself."""
    text = '[status_webhooks.x]\nurl = "https://x.example"\nsecret = ["env:GOOD", "env:HOOK"]\n'
    (told,) = mistakes(tmp_path, text, {"GOOD": "whsec_" + "QUJD" * 8, "HOOK": secret})
    assert "env:HOOK is no secret of Standard Webhooks: whsec_" in told
    assert secret not in told


@pytest.mark.parametrize(("given", "settle_s"), [("", 60), ("settle_s = 5\n", 5)])
def test_a_look_up_is_believed_when_the_vendor_s_class_says_so_unless_the_file_does(
    tmp_path: Path, given: str, settle_s: float
) -> None:
    """What the operator writes goes before what comes with the provider."""
    text = f'[providers.main]\ntype = "sinch"\nservice_plan_id = "plan"\napi_token = "env:T"\n{given}' + ROUTE
    (tmp_path / "smsd.toml").write_text(text)
    assert load(tmp_path / "smsd.toml", {"T": "t"}).providers["main"].settle_s == settle_s
