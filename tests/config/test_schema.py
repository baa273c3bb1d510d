"""The JSON Schema: current, valid itself, true of every file that is right, and of use against typical mistakes."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from smsd.config import schema
from smsd.config.read import keys_of
from smsd.config.settings import Settings
from tests.config.dummy import Dummy
from tests.support.config import write

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "config" / "smsd.schema.json"
SHIPPED = [ROOT / "smsd.toml", *sorted((ROOT / "config").rglob("*.toml"))]


@pytest.fixture(scope="module")
def judge() -> Draft7Validator:
    return Draft7Validator(json.loads(KEPT.read_text("utf-8")))


def wrong(judge: Draft7Validator, text: str) -> list[str]:
    """Where the schema finds a mistake, dotted."""
    return sorted(".".join(map(str, error.absolute_path)) for error in judge.iter_errors(tomllib.loads(text)))


def test_the_kept_file_is_what_the_code_says() -> None:
    """config/smsd.schema.json is made by `make docs` and nothing else."""
    assert KEPT.read_text("utf-8") == schema.page()


def test_it_is_a_schema_itself(judge: Draft7Validator) -> None:
    """It is valid under its own draft, names every section, and refers to nothing that is not there."""
    Draft7Validator.check_schema(judge.schema)
    text = KEPT.read_text("utf-8")
    whole: dict[str, Any] = json.loads(text)
    assert set(whole["properties"]) == set(keys_of(Settings)) | {"include"}
    assert set(re.findall(r'"#/definitions/([\w-]+)"', text)) == set(whole["definitions"])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_are_right_by_it(judge: Draft7Validator, path: Path) -> None:
    """Each of our files names the schema in its first line, by a path that leads to it, and is right by it."""
    text = path.read_text("utf-8")
    named = re.match(r"#:schema (\S+)\n", text)
    assert named is not None
    assert (path.parent / named[1]).resolve() == KEPT
    assert wrong(judge, text) == []
    assert wrong(judge, re.sub(r"(?m)^#(?=[^\s#:])", "", text)) == [], "with the examples in it"


def test_files_of_the_tests_are_right_by_it(judge: Draft7Validator, tmp_path: Path) -> None:
    """What smsd check takes, such as a provider of a class of one's own, the schema takes too."""
    own = f'[providers.own]\ntype = "{Dummy.__module__}:{Dummy.__name__}"\nanything = 1\n'
    assert wrong(judge, write(tmp_path, extra=own).read_text()) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[clases.otp]\nweight = 1", ""),
        ("[classes.otp]\nwieght = 1", "classes.otp"),
        ("[classes.otp]\nweight = 0", "classes.otp.weight"),
        ('[classes.otp]\nexpire_after = "5 minutes"', "classes.otp.expire_after"),
        ("[classes.otp]\nexpire_after = 300", "classes.otp.expire_after"),
        ('[classes.otp]\nbackoff = ["2s"]', "classes.otp.backoff"),
        ('[classes.otp]\non_unknown = "retry"', "classes.otp.on_unknown"),
        ('[tenant_defaults]\nlimits = "20/s"', "tenant_defaults.limits"),
        ('[tenants.acme]\nlimits = ["20 per second"]', "tenants.acme.limits.0"),
        ('[tenants.acme]\ncountries = ["UK"]', "tenants.acme.countries.0"),
        ('[tenant_defaults]\nregion = "Ireland"', "tenant_defaults.region"),
        ('[tenants."a b"]\n', "tenants"),
        ('[http]\nlisten = "8775"', "http.listen"),
        ('[webhooks]\npublic_url = "sms.example.com"', "webhooks.public_url"),
        ('[http.api_keys.rails]\nkey = "s3cret"\ntenants = ["*"]', "http.api_keys.rails.key"),
        ('[http.api_keys.rails]\nkey = "env:KEY"', "http.api_keys.rails"),
        ("[routes.us]\nproviders = [{ weight = 1 }]", "routes.us.providers.0"),
        ('[providers.main]\naccount_sid = "env:SID"', "providers.main"),
        ('[providers.main]\ntype = "twillio"', "providers.main.type"),
        ('[providers.main]\ntype = "twilio"\naccount_sid = "env:SID"', "providers.main"),
        ('[providers.main]\ntype = "twilio"\naccount_sid = "AC1"\nauth_token = "env:T"', "providers.main.account_sid"),
        ('[providers.gw]\ntype = "http"\nurl = "https://gw"\nid_at = "/id"\nmethod = "PATCH"', "providers.gw.method"),
        ('[providers.gw]\ntype = "http"\nurl = "https://gw"\nid_at = "/id"\nfield = {}', "providers.gw"),
        ('[status_webhooks.x]\nurl = "https://x"\nsecret = []', "status_webhooks.x.secret"),
    ],
)
def test_typical_mistakes_are_caught(judge: Draft7Validator, text: str, where: str) -> None:
    """An editor shows each where it stands, before smsd is asked."""
    assert wrong(judge, text) == [where]


def test_all_installed_providers_are_in_what_the_command_prints() -> None:
    """The printed one holds at least what the kept one does."""
    printed = json.loads(schema.installed())
    kept = json.loads(schema.page())
    assert kept["definitions"].keys() <= printed["definitions"].keys()


def test_providers_of_others_are_judged_by_their_options() -> None:
    """A schema made with another provider knows its keys."""
    judge = Draft7Validator(json.loads(schema.written({"dummy": Dummy})))
    assert wrong(judge, '[providers.x]\ntype = "dummy"\nbase_url = "x"\nnosuch = 1') == ["providers.x"]
