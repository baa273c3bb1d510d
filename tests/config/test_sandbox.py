"""What smsd.config.sandbox must hold: a route and a provider while it is on, and whom it keeps texts from."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from smsd.config import SANDBOX, Config, ConfigErrors, SandboxConfig, follow, load, shared, tenant_settings, told_by
from smsd.config.sandbox import TOKEN, URL

ON = '[sandbox]\nenabled = true\nallow_to = ["+35386", "+4474001"]\n'
REAL = """
[routes.default]
providers = [{ use = "main" }]
[[route_rules]]
countries = ["GB"]
route = "default"
[providers.main]
type = "tests.config.dummy:Dummy"
base_url = "x"
"""
HERE = {URL: "http://127.0.0.1:4711", TOKEN: "t0ken"}


def made(folder: Path, text: str, env: Mapping[str, str] = HERE) -> Config:
    path = folder / "smsd.toml"
    path.write_text(text)
    return load(path, env)


def way(config: Config, to: str, country: str = "IE") -> str | None:
    """The route of a reminder of a tenant without settings."""
    return config.route(
        tenant_route="default", country=country, to=to, class_="reminder", tenant="acme", sender="Salon"
    )


@pytest.mark.parametrize(
    ("to", "kept"),
    [("+353861234567", False), ("+353871234567", True), ("+447400123456", False), ("+447400223456", True), ("", True)],
)
def test_a_number_is_kept_unless_a_prefix_allows_it(to: str, kept: bool) -> None:
    """The prefixes are beginnings of E.164 numbers; while the sandbox is off nothing is kept."""
    allowed = ("+35386", "+4474001")
    assert SandboxConfig(enabled=True, allow_to=allowed).keeps(to) is kept
    assert not SandboxConfig(enabled=False, allow_to=allowed).keeps(to)
    assert SandboxConfig(enabled=True).keeps(to)


def test_the_sandbox_is_before_every_rule_and_route(tmp_path: Path) -> None:
    """A number outside allow_to has the sandbox's route whatever the rules say; the others have their own."""
    config = made(tmp_path, REAL + ON)
    assert way(config, "+353871234567") == way(config, "+447500123456", "GB") == SANDBOX
    assert way(config, "+353861234567") == way(config, "+447400123456", "GB") == "default"
    assert way(made(tmp_path, REAL), "+353871234567") == "default"


def test_without_a_route_of_its_own_a_message_still_has_the_sandbox_s(tmp_path: Path) -> None:
    """Nothing but the section is needed; a number of allow_to then has no way, and is unroutable as before."""
    config = made(tmp_path, ON)
    assert way(config, "+353871234567") == SANDBOX
    assert way(config, "+353861234567") is None


def test_the_carrier_s_address_is_the_process_s_own(tmp_path: Path) -> None:
    """It comes by the environment, and is in nothing that other hosts read."""
    here, there = made(tmp_path, ON), made(tmp_path, ON, {URL: "http://127.0.0.1:9", TOKEN: "other"})
    assert [use.use for use in here.routes[SANDBOX].providers] == [SANDBOX]
    options = msgspec.to_builtins(here.providers[SANDBOX].options)
    assert (options["base_url"], options["auth_token"]) == ("http://127.0.0.1:4711", "t0ken")
    assert here.revision_hash == there.revision_hash
    assert b"4711" not in shared(here)
    assert b"t0ken" not in shared(here)
    followed = follow(there, shared(here))
    assert followed.providers[SANDBOX] == there.providers[SANDBOX] != here.providers[SANDBOX]


def test_while_it_is_off_there_is_no_trace_of_it(tmp_path: Path) -> None:
    """No route, no provider, no type."""
    config = made(tmp_path, REAL + ON.replace("true", "false"))
    assert SANDBOX not in config.routes.keys() | config.providers.keys() | config.provider_types.keys()


def test_what_is_published_tells_of_the_sandbox_to_whoever_cannot_use_it(tmp_path: Path) -> None:
    """The section is read alone; where there is none, or nothing that can be read, it is off."""
    config = made(tmp_path, REAL + ON)
    assert told_by(shared(config)) == config.sandbox
    for source in (shared(made(tmp_path, REAL)), b"", b"{", b'{"sandbox": 3}'):
        assert told_by(source) == SandboxConfig()


def test_no_tenant_chooses_the_sandbox_s_route(tmp_path: Path) -> None:
    """Settings by command or API are judged as those of a file."""
    with pytest.raises(ConfigErrors, match='there is no route "sandbox"'):
        tenant_settings(made(tmp_path, REAL + ON), "acme", {"route": "sandbox"})
