"""compose.yaml: what it names is there, its config is one that smsd takes, its commands are ones that smsd has."""

from pathlib import Path
from typing import Any

import yaml

from smsd.cli.commands import COMMANDS
from smsd.config import load
from smsd.config.settings import HttpConfig, WebhooksConfig

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_every_mounted_file_is_there() -> None:
    """And every volume that is named is declared."""
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())]
    assert [path for path in mounted if path.startswith(".") and not (ROOT / path).exists()] == []
    assert {name for name in mounted if not name.startswith(".")} == COMPOSE["volumes"].keys()


def test_the_config_is_right_with_its_environment() -> None:
    """The store's address and the key come from compose, and the provider is the carrier that it starts."""
    env = {"SMSD_STORE__URL": SERVICES["smsd"]["environment"]["SMSD_STORE__URL"], "SMSD_API_KEY": "x"}
    config = load(ROOT / "config" / "compose" / "smsd.toml", env)
    assert config.store.url.reveal() == "redis://store:6379/0"
    listen = SERVICES["carrier"]["command"][-1].rpartition(":")[2]
    assert config.origin.table["providers"]["carrier"]["base_url"] == f"http://carrier:{listen}"
    assert config.webhooks.public_url == f"http://smsd:{WebhooksConfig().listen.rpartition(':')[2]}"


def test_commands_and_ports_are_smsds() -> None:
    """What is run is a command, what is published is where it listens, and it has its time to drain."""
    assert {SERVICES[name]["command"][0] for name in ("smsd", "carrier")} <= COMMANDS.keys()
    published = {port.rpartition(":")[2] for port in SERVICES["smsd"]["ports"]}
    assert published == {HttpConfig().listen.rpartition(":")[2], WebhooksConfig().listen.rpartition(":")[2]}
    config = load(ROOT / "config" / "compose" / "smsd.toml", {"SMSD_API_KEY": "x"})
    assert int(SERVICES["smsd"]["stop_grace_period"].rstrip("s")) > config.dispatch.drain_s


def test_prometheus_scrapes_the_job_that_the_alerts_name() -> None:
    """At the address where smsd shows its metrics, with the rules beside it."""
    told = yaml.safe_load((ROOT / "config" / "prometheus" / "prometheus.yaml").read_text())
    (job,) = told["scrape_configs"]
    assert (job["job_name"], job["static_configs"][0]["targets"]) == ("smsd", ["smsd:8775"])
    assert all((ROOT / "config" / "prometheus" / name).exists() for name in told["rule_files"])
