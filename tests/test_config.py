"""What the shipped files must hold: smsd.toml shows every key with its default, and every example is right."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from smsd.config import Config, load
from smsd.config.read import keys_of
from smsd.config.settings import ProviderConfig, Settings, Use

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "smsd.toml"
EXAMPLES = {"providers", "routes", "route_rules", "plans", "tenants", "senders", "sender_pools", "sender_rules"}
EXAMPLES |= {"status_webhooks"}
RUNNABLE = {("webhooks", "public_url"), ("http", "api_keys")}  # what makes the example run, and what has no default

ENV = {
    name: f"the value of {name}"
    for name in [
        "SMSD_API_KEY",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_AUTH_TOKEN_BEFORE",
        "GATEWAY_TOKEN",
        "WEBHOOK_SECRET",
        "REDIS_PASSWORD",
        "REDIS_URL",
    ]
}
ENV["TWILIO_ACCOUNT_SID"] = "AC" + "0" * 32
ENV["WEBHOOK_SECRET"] = "whsec_" + "QUJD" * 8


@pytest.fixture(scope="module")
def shipped() -> Config:
    return load(SHIPPED, {})


def test_the_shipped_file_has_the_defaults_of_the_code(shipped: Config):
    """Each value that smsd.toml shows outside its examples is the one that holds without it."""
    defaults = Settings()
    for section in keys_of(Settings).keys() - EXAMPLES:
        shown, default = getattr(shipped, section), getattr(defaults, section)
        if isinstance(shown, dict):
            assert shown == default
            continue
        for field in keys_of(type(shown)).values():
            if (section, field.name) not in RUNNABLE:
                assert getattr(shown, field.name) == getattr(default, field.name), f"{section}.{field.name}"
    carrier = shipped.providers["carrier"]
    assert carrier == ProviderConfig(type="fake", options=carrier.options)
    assert shipped.routes["default"].providers == (Use(use="carrier"),)


def test_the_shipped_file_shows_every_key_that_has_a_default():
    """No default is left to be found in the code."""
    shown: dict[str, Any] = tomllib.loads(SHIPPED.read_text("utf-8"))
    sections: dict[str, type[msgspec.Struct]] = {
        section: type(getattr(Settings(), section)) for section in keys_of(Settings).keys() - EXAMPLES - {"classes"}
    }
    for section, struct in sections.items():
        assert set(shown[section]) | {"api_keys"} == set(keys_of(struct)) | {"api_keys"}, section
    for name, default in Settings().classes.items():
        assert set(shown["classes"][name]) == set(keys_of(type(default)))
    assert set(keys_of(ProviderConfig)) - {"options"} <= set(shown["providers"]["carrier"])


def test_the_shipped_file_runs_as_it_is(shipped: Config):
    """The bundled store and the built-in carrier need no secret, no account and no other file."""
    assert shipped.store.embedded
    assert shipped.providers["carrier"].type == "fake"
    assert getattr(shipped.providers["carrier"].options, "base_url", "") == "http://127.0.0.1:8778"
    assert shipped.provider("carrier").capabilities.receipts
    assert {"acme", "corner-cuts", "helsinki-hiukset"} <= set(shipped.tenants)
    assert shipped.data_dir == ROOT / "var"


def test_the_commented_examples_of_the_shipped_file_are_right(tmp_path: Path):
    """Uncommented, all of them together are a config without a mistake."""
    text = re.sub(r"(?m)^#(?=[^\s#:])", "", SHIPPED.read_text("utf-8"))
    (tmp_path / "smsd.toml").write_text(text, "utf-8")
    config = load(tmp_path / "smsd.toml", ENV)
    assert set(config.providers) == {"carrier", "main", "spare"}
    assert set(config.status_webhooks) == {"platform"}
    asked = {"tenant_route": "default", "to": "+15551234567", "class_": "reminder", "tenant": "acme", "sender": "Acme"}
    assert config.route(country="US", **asked) == "us"


def test_the_production_example_is_right(tmp_path: Path):
    """It has no mistake once its secrets exist, where its gateway's token lies in a file."""
    token = tmp_path / "gateway_token"
    token.write_text("a token\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "salons.toml").write_bytes((ROOT / "config" / "conf.d" / "salons.toml").read_bytes())
    text = (ROOT / "config" / "production.toml").read_text("utf-8")
    (tmp_path / "smsd.toml").write_text(text.replace("/run/secrets/gateway_token", str(token)), "utf-8")
    config = load(tmp_path / "smsd.toml", ENV)
    assert (config.store.durability, config.accept_unknown) == ("strict", False)
    assert [use.use for use in config.routes["default"].providers] == ["main", "spare"]
    assert "acme" in config.tenants
