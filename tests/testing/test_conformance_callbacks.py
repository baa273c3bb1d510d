"""The kit bites: a provider that breaks a rule about callbacks fails that rule."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec
import pytest
from twilio.request_validator import RequestValidator

from smsd.provider import Callback, Receipt
from smsd.testing.conformance import Outcome, checks
from smsd_providers import _vendor
from smsd_providers._vendor import fields
from smsd_providers.http import Http
from smsd_providers.sinch import Sinch
from smsd_providers.twilio import Twilio
from smsd_providers.vonage_sms import VonageSms
from tests.support.broken import CALLBACKS, GATEWAY, TWILIO, VECTORS


def sign(callback: Callback) -> Callback:
    """As Twilio signs forms."""
    fields = dict(parse_qsl(callback.body.decode(), keep_blank_values=True))
    signature = RequestValidator("12345678901234567890123456789012").compute_signature(callback.url, fields)
    return msgspec.structs.replace(callback, headers={**callback.headers, "x-twilio-signature": signature})


@pytest.mark.parametrize(("provider", "rules"), CALLBACKS.items(), ids=[provider.__name__ for provider in CALLBACKS])
def test_the_broken_fail(provider: type[Twilio] | type[Http], rules: tuple[str, ...]) -> None:
    """A broken provider fails the checks that are about its fault, each with a sentence."""
    vectors = GATEWAY if issubclass(provider, Http) else TWILIO
    results = {check.name: check.run() for check in checks(provider, vectors, sign) if check.name in rules}
    missed = [rule for rule in rules if results[rule].outcome is not Outcome.FAILED]
    assert missed == []
    assert all(results[rule].detail for rule in rules)


class ByItsUrl(Sinch):
    """It takes a receipt for the message that its URL names, though Sinch signs the body alone."""

    def receipts(self, callback: Callback) -> list[Receipt]:
        ours = _vendor.reference(callback)
        return [msgspec.structs.replace(read, reference=ours or read.reference) for read in super().receipts(callback)]


def test_a_url_that_nobody_signs_names_no_message() -> None:
    """A receipt that was caught could be told again for any other message."""
    pointing = {
        provider: [
            check.run() for check in checks(provider, VECTORS / "sinch.json") if check.name.startswith("pointing")
        ]
        for provider in (Sinch, ByItsUrl)
    }
    assert {result.outcome for result in pointing[Sinch]} == {Outcome.OK}
    assert {result.outcome for result in pointing[ByItsUrl]} == {Outcome.FAILED}
    assert "which is not signed" in pointing[ByItsUrl][0].detail


def less(kind: str, keep: Callable[[dict[str, object]], bool], folder: Path) -> Path:
    """Twilio's vectors without some of a kind."""
    vectors = msgspec.json.decode(TWILIO.read_bytes())
    path = folder / "less.json"
    path.write_bytes(msgspec.json.encode([one for one in vectors if one["kind"] != kind or keep(one["expect"])]))
    return path


@pytest.mark.parametrize(
    ("kind", "keep", "lacking"),
    [
        ("answer", lambda expect: expect["type"] != "accepted", "an answer that is accepted"),
        ("receipt", lambda expect: expect["status"] != "undelivered", "one that is undelivered"),
        ("receipt", lambda expect: "reference" not in expect, "a receipt with our reference"),
        ("receipt", lambda expect: False, "a receipt;"),
        ("inbound", lambda expect: False, "an inbound text"),
        ("look_up", lambda expect: expect["type"] != "not_found", "a look-up that finds and one that does not"),
    ],
)
def test_vectors_must_show_what_is_claimed(
    kind: str, keep: Callable[[dict[str, object]], bool], lacking: str, tmp_path: Path
) -> None:
    """A capability that no vector shows is not believed."""
    (covered,) = [check for check in checks(Twilio, less(kind, keep, tmp_path)) if check.name == "covered"]
    result = covered.run()
    assert result.outcome is Outcome.FAILED
    assert lacking in result.detail


def test_a_wrong_vector_is_told_with_both_values(tmp_path: Path) -> None:
    """Where vector and provider differ, the sentence shows what was expected and what came."""
    vectors = msgspec.json.decode(TWILIO.read_bytes())
    for vector in vectors:
        if vector["name"] == "opted-out":
            vector["expect"]["reason"] = "blocked"
    path = tmp_path / "wrong.json"
    path.write_bytes(msgspec.json.encode(vectors))
    (check,) = [check for check in checks(Twilio, path) if check.name == "receipt (opted-out)"]
    assert check.run().detail == "reason: expected 'blocked', got 'opted_out'"


class Trusting(VonageSms):
    """It looks at no signature."""

    def _authentic(self, callback: Callback) -> dict[str, str]:
        return fields(callback)


def test_a_field_that_no_signature_covers_is_found() -> None:
    """Where the proof stands among the fields, each of them is tried gone and with another value."""
    by_name = {check.name: check for check in checks(Trusting, VECTORS / "vonage_sms.json")}
    result = by_name["tampering (sig-md5hash)"].run()
    assert (result.outcome, result.detail) == (
        Outcome.FAILED,
        "a callback is taken though its field msisdn is gone",
    )
