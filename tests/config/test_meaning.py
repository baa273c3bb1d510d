"""What smsd.config.meaning must hold: what the file says reaches admission, the store's scripts and other hosts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from smsd.config import Config, compiled, diff_scopes, load, shared
from smsd.core.admit import ClassRules, Rules, TenantRules
from smsd.secret import SecretError
from tests.config.dummy import Dummy

FILE = """
[dispatch]
countries = ["IE", "US", "FI"]
max_segments = 3
number_check = "valid"
[classes.otp]
weight = 30
expire_after = "5m"
max_in_flight_share = 0.25
[classes.reminder]
[classes.bulk]
[tenant_defaults]
sender = "Salon"
class_limits = { bulk = ["2/s"], otp = ["9/s"] }
[plans.gold]
limits = ["100/s"]
sender = "Gold"
class_limits.bulk = ["50/s"]
[tenants.acme]
plan = "gold"
limits = ["50/s burst 5", "30 segments/m", "1000/h"]
class_limits.reminder = []
region = "US"
route = "us"
countries = ["US", "FI"]
[tenants.free]
limits = []
[tenants.golden]
plan = "gold"
[unknown_tenants]
policy = "reject"
[senders."+353861234567"]
limits = ["1 segments/s"]
[routes.default]
providers = [{ use = "main" }]
[routes.us]
providers = [{ use = "main" }]
[routes.short]
providers = [{ use = "main" }]
[[route_rules]]
sender_types = ["short"]
route = "short"
[[route_rules]]
countries = ["US", "CA"]
classes = ["otp", "bulk"]
tenants = ["acme"]
prefixes = ["+1", "+358"]
route = "us"
[[route_rules]]
sender_types = ["alpha", "e164"]
tenants = ["golden"]
route = "us"
[providers.main]
type = "tests.config.dummy:Dummy"
base_url = "x"
token = ["env:TOKEN", "file:token"]
limits = ["100 segments/s"]
max_in_flight = 7
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return made(tmp_path)


def made(folder: Path, change: Callable[[str], str] = str) -> Config:
    (folder / "token").write_text("from-file\n")
    (folder / "smsd.toml").write_text(change(FILE))
    return load(folder / "smsd.toml", {"TOKEN": "from-env"})


def test_a_config_is_what_admission_asks_for(config: Config):
    """It has the values of Rules, and answers for any tenant and any class."""
    rules: Rules = config
    assert (rules.shards, rules.max_segments, rules.number_check, rules.accept_unknown) == (1, 3, "valid", False)
    assert rules.tenant("acme") == TenantRules(True, "Gold", "US", "us", frozenset({"US", "FI"}))
    assert rules.tenant("acme") is rules.tenant("acme")
    everywhere = frozenset({"IE", "US", "FI"})
    assert rules.tenant("free") == TenantRules(True, "Salon", "IE", "default", everywhere)
    assert rules.tenant("stranger") == TenantRules(False, "Salon", "IE", "default", everywhere)
    assert rules.class_("otp") == ClassRules(300_000_000)
    assert rules.class_("bulk") == ClassRules(None)
    assert rules.class_("gone") == ClassRules(None)


def test_countries_without_a_list_are_all(tmp_path: Path):
    """ "*" on both sides is everywhere; a tenant's list holds where the dispatcher has none."""
    config = made(tmp_path, lambda text: text.replace('countries = ["IE", "US", "FI"]', 'countries = ["*"]'))
    assert config.tenant("free").countries is None
    assert config.tenant("acme").countries == {"US", "FI"}


def test_only_the_given_classes_hold(config: Config):
    """With a class in the file those of the file are all there are, and known names keep their own defaults."""
    assert list(config.classes) == ["otp", "reminder", "bulk"]
    assert config.class_config("reminder").on_unknown == "resend"
    assert config.class_config("otp").max_attempts == 8
    assert config.class_config("gone").on_unknown == "hold"


def test_a_tenant_s_value_goes_before_its_plan_s_and_that_before_the_defaults(config: Config):
    """Lists replace each other as a whole, class_limits class by class, and an empty list is no limit."""
    acme, golden, free = config.terms("acme"), config.terms("golden"), config.terms("free")
    assert [limit.n for limit in acme.limits] == [50, 30, 1000]
    assert {name: [limit.n for limit in limits] for name, limits in acme.class_limits.items()} == {
        "bulk": [50],
        "otp": [9],
        "reminder": [],
    }
    assert ([limit.n for limit in golden.limits], golden.sender) == ([100], "Gold")
    assert (free.limits, free.sender) == ((), "Salon")
    assert config.terms("stranger") is config.tenant_defaults


@pytest.mark.parametrize(
    ("given", "route"),
    [
        ({}, "us"),
        ({"sender": "12345"}, "short"),
        ({"country": "GB"}, "default"),
        ({"class_": "reminder"}, "default"),
        ({"tenant": "free"}, "default"),
        ({"to": "+44123"}, "default"),
        ({"tenant": "golden"}, "us"),
        ({"tenant": "golden", "sender": "+15550001111"}, "us"),
        ({"tenant": "golden", "sender": ""}, "default"),
        ({"tenant": "free", "tenant_route": "gone"}, None),
    ],
)
def test_the_first_rule_whose_every_condition_is_met_names_the_route(
    config: Config, given: dict[str, str], route: str | None
):
    """Else it is the tenant's own, and none where that does not exist."""
    asked = {
        "tenant_route": "default",
        "country": "US",
        "to": "+15551234567",
        "class_": "otp",
        "tenant": "acme",
        "sender": "Acme",
    }
    assert config.route(**{**asked, **given}) == route


def test_a_provider_is_made_once_with_its_options_and_secrets(config: Config):
    """The class that `type` names gets the name and the judged keys; its secrets are read from where they are."""
    main = config.provider("main")
    assert isinstance(main, Dummy)
    assert config.provider("main") is main
    assert (main.name, main.options.base_url, main.tokens) == ("main", "x", ["from-env", "from-file"])
    assert config.providers["main"].max_in_flight == 7
    with pytest.raises(KeyError):
        config.provider("gone")


def test_a_provider_whose_secret_is_missing_is_made_when_it_is_there(tmp_path: Path):
    """Without its secrets a config can be loaded for commands that send nothing, and the provider says what lacks."""
    made(tmp_path)
    env: dict[str, str] = {}
    config = load(tmp_path / "smsd.toml", env, secrets=False)
    with pytest.raises(SecretError, match="TOKEN is not set"):
        config.provider("main")
    env["TOKEN"] = "late"
    assert "late" in config.provider("main").secrets()


def test_the_data_folder_counts_from_the_file(tmp_path: Path):
    """A relative data_dir lies beside the config, an absolute one where it says."""
    assert made(tmp_path).data_dir == tmp_path / "var"
    config = made(tmp_path, lambda text: '[store]\ndata_dir = "/srv/smsd"\n' + text)
    assert config.data_dir == Path("/srv/smsd")


def test_what_the_scripts_read_is_plain_and_whole(config: Config):
    """Classes heavier first, limits packed with their spacing, every tenant, sender and provider under its scope."""
    defaults = [[0, 20, 1_000_000, 1, 51_000, 1], [0, 50_000, 86_400_000_000, 50_000, 0, 0]]
    assert compiled(config) == {
        "classes": [["otp", 30, 250], ["reminder", 8, 1000], ["bulk", 1, 1000]],
        "t:*": [defaults, {"bulk": [[0, 2, 1_000_000, 1, 510_000, 1]], "otp": [[0, 9, 1_000_000, 1, 113_334, 1]]}],
        "t:acme": [
            [
                [0, 50, 1_000_000, 5, 22_174, 1],
                [1, 30, 60_000_000, 3, 2_143_572, 1],
                [0, 1000, 3_600_000_000, 1000, 0, 0],
            ],
            {"bulk": [[0, 50, 1_000_000, 1, 20_400, 1]], "otp": [[0, 9, 1_000_000, 1, 113_334, 1]], "reminder": []},
        ],
        "t:free": [[], {"bulk": [[0, 2, 1_000_000, 1, 510_000, 1]], "otp": [[0, 9, 1_000_000, 1, 113_334, 1]]}],
        "t:golden": [
            [[0, 100, 1_000_000, 2, 10_304, 1]],
            {"bulk": [[0, 50, 1_000_000, 1, 20_400, 1]], "otp": [[0, 9, 1_000_000, 1, 113_334, 1]]},
        ],
        "s:+353861234567": [[1, 1, 1_000_000, 1, 1_020_000, 1]],
        "p:main": [7, [[1, 100, 1_000_000, 3, 10_409, 1]]],
    }


def test_a_diff_names_the_scopes_that_a_reload_must_wake(tmp_path: Path):
    """What was added, removed or changed is in it, and nothing else; a plan's change reaches its tenants."""
    old = compiled(made(tmp_path))
    assert diff_scopes(old, compiled(made(tmp_path))) == set()
    plan = compiled(made(tmp_path, lambda text: text.replace('limits = ["100/s"]', 'limits = ["99/s"]')))
    assert diff_scopes(old, plan) == {"t:golden"}
    removed = compiled(made(tmp_path, lambda text: text.replace("[tenants.free]\nlimits = []\n", "")))
    assert diff_scopes(old, removed) == diff_scopes(removed, old) == {"t:free"}
    slack = compiled(made(tmp_path, lambda text: text.replace("max_segments = 3", "slack_ms = 30")))
    assert diff_scopes(old, slack) == set(old) - {"classes"}


def test_the_revision_is_the_shared_part_s_alone(tmp_path: Path):
    """It changes with what is one for all hosts, not with a host's own sections, its comments, order or folder."""
    revision = made(tmp_path).revision_hash
    own = '[store]\nshards = 4\n[http]\nlisten = "0.0.0.0:1"\n[webhooks]\nlisten = "0.0.0.0:2"\n# a comment\n'
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    assert made(folder, lambda text: own + text).revision_hash == revision
    swapped = made(
        folder, lambda text: text.replace("[tenants.free]\nlimits = []\n", "") + "[tenants.free]\nlimits = []\n"
    )
    assert swapped.revision_hash == revision
    assert made(folder, lambda text: text.replace("weight = 30", "weight = 31")).revision_hash != revision


def test_secrets_leave_the_process_as_references_only(config: Config):
    """What is published and what is printed hold no secret, and nothing of the environment."""
    published = shared(config)
    assert b'"token":["env:TOKEN","file:token"]' in published
    for text in (published.decode(), repr(config), str(compiled(config))):
        assert "from-env" not in text
        assert "from-file" not in text
