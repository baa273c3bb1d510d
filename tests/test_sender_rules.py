"""The rules for senders that come with smsd, as an operator includes them."""

from pathlib import Path

import msgspec
import pytest

from smsd.config import Config, load
from smsd.core.admit import judge
from smsd.message import Rejection, Send

FILE = Path(__file__).parents[1] / "config" / "sender_rules.toml"
SALON = '[tenants.acme]\nsender = "Salon"\n'


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("rules") / "smsd.toml"
    path.write_text(f'include = ["{FILE}"]\n[routes.default]\nproviders = [{{ use = "main" }}]\n{SALON}' + PROVIDER)
    return load(path, {})


PROVIDER = '[providers.main]\ntype = "fake"\nbase_url = "http://127.0.0.1:1"\n'


def taken(config: Config, to: str, **more: str) -> str:
    """The sender that a text leaves under, or why it does not."""
    fields = {"tenant": "acme", "to": to, "body": "See you at 10:00", **more}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    entry = judge(raw, class_="reminder", shard=0, entry_id="1-0", now_us=1, rules=config)
    if isinstance(entry, Rejection):
        return f"{entry.reason}: {entry.detail}"
    assert isinstance(entry, Send)
    return entry.message.sender


def test_each_country_has_one_rule_with_a_source(rules: Config) -> None:
    """A second rule for a country would never be asked, and what nobody says is no rule."""
    named = [country for rule in rules.sender_rules for country in rule.countries]
    assert sorted(named) == sorted(set(named))
    blocks = FILE.read_text().split("[[sender_rules]]")[:-1]
    assert len(blocks) == len(rules.sender_rules)
    assert all("https://" in block for block in blocks)


def test_a_salon_is_told_that_it_may_not_text_the_united_states(rules: Config) -> None:
    """By the tenant's own name; a number that the entry names may."""
    told = "the tenant's sender, an alphanumeric sender, may not send to US: use a number or a short code"
    assert taken(rules, "+12025550123") == f"bad_sender: {told}"
    assert taken(rules, "+12025550123", **{"from": "+12025550100"}) == "+12025550100"


@pytest.mark.parametrize("to", ["+353861234567", "+358401234567", "+6591234567"])
def test_where_names_are_registered_none_is_yet(rules: Config, to: str) -> None:
    """Until the operator lists what was registered; then whatever its case."""
    assert "lists as registered" in taken(rules, to)
    listed = [msgspec.structs.replace(rule, registered=("SALON",)) for rule in rules.sender_rules]
    assert taken(msgspec.structs.replace(rules, sender_rules=tuple(listed)), to) == "Salon"


def test_where_no_rule_is_a_salon_texts_under_its_name(rules: Config) -> None:
    """Germany and the United Kingdom ask for nothing that a rule could say."""
    assert [taken(rules, to) for to in ("+4915112345678", "+447400123456")] == ["Salon", "Salon"]


def test_the_provider_s_choice_may_send_everywhere(rules: Config) -> None:
    """Also where nobody else may, for the provider knows what it has there."""
    mine = msgspec.structs.replace(rules.tenants["acme"], sender="")
    chosen = msgspec.structs.replace(rules, tenants={"acme": mine})
    assert [taken(chosen, to) for to in ("+12025550123", "+8613800138000", "+353861234567")] == ["", "", ""]
