"""The kit bites: a provider that breaks a rule about requests or answers fails that rule."""

from pathlib import Path

import msgspec
import pytest

from smsd.testing.conformance import Outcome, checks
from smsd_providers.http import Http
from smsd_providers.twilio import Twilio
from tests.support.broken import REQUESTS, TWILIO


@pytest.mark.parametrize(("provider", "rules"), REQUESTS.items(), ids=[provider.__name__ for provider in REQUESTS])
def test_the_broken_fail(provider: type[Twilio], rules: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    """A broken provider fails the checks that are about its fault, each with a sentence."""
    vectors = None if provider.__name__ == "LooseOptions" else TWILIO
    results = {check.name: check.run() for check in checks(provider, vectors) if check.name in rules}
    missed = [rule for rule in rules if results[rule].outcome is not Outcome.FAILED]
    assert missed == []
    assert all(results[rule].detail for rule in rules)


def test_each_rule_is_shown_to_bite() -> None:
    """No general rule about requests and answers is without a provider that breaks it."""
    shown = {rule for rules in REQUESTS.values() for rule in rules}
    assert {
        *("options", "request", "text", "callback url", "secrets", "purity", "idempotency", "look-up"),
        *("unlisted answers", "throttled", "unusable", "hostile answers"),
    } <= shown


def test_what_does_not_apply_is_skipped(tmp_path: Path) -> None:
    """A gateway without callback URL, look-up or idempotency key is not held to them, and the reason is told."""
    path = tmp_path / "vectors.json"
    options = {"url": "https://gw.example/", "id_at": "/id", "fields": {"to": "{to}", "text": "{body}"}}
    path.write_bytes(msgspec.json.encode([{"kind": "options", "options": options}]))
    results = {check.name: check.run() for check in checks(Http, path)}
    skipped = {name: result.detail for name, result in results.items() if result.outcome is Outcome.SKIPPED}
    assert skipped.keys() == {"callback url", "idempotency", "look-up", "hostile contents"}
    assert all(detail.startswith(("its capabilities", "there is no `sign`")) for detail in skipped.values())
