"""Infobip: held to the contract by the kit, to the vendor's documents by vectors."""

from pathlib import Path

import msgspec
import pytest

from smsd.provider import HttpResponse, Inconclusive, LookUpResult, NotFound
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks
from smsd.testing.conformance_subject import attempt
from smsd_providers._proof import Callbacks
from smsd_providers.infobip import Infobip, InfobipOptions

VECTORS = Path(__file__).parent / "vectors" / "infobip.json"
KEY = Secret("env:KEY", env={"KEY": "key-1"})


def infobip() -> Infobip:
    proven = Callbacks(by="path", secrets=(KEY,))
    return Infobip("main", InfobipOptions(base_url="https://x1y2z3.api.infobip.com/", api_key=KEY, callbacks=proven))


@pytest.mark.parametrize("check", checks(Infobip, VECTORS, lambda callback: callback), ids=str)
def test_conforms(check: Check) -> None:
    """Infobip keeps the contract; its callbacks are proven by their URL, so each is signed as it is."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what Infobip does not have: a key that it recognises."""
    every = checks(Infobip, VECTORS, lambda callback: callback)
    assert [check.name for check in every if check.run().outcome is Outcome.SKIPPED] == ["idempotency"]


def test_the_message_is_told_as_infobips_document_has_it() -> None:
    """Its id there is our reference, and the report comes to a URL that proves itself."""
    request = infobip().submit(attempt("Hello"))
    assert request.url == "https://x1y2z3.api.infobip.com/sms/3/messages"
    url = "https://sms.example.com/webhooks/vetted/key-1/status?ref=1.acme%2Fm1"
    assert msgspec.json.decode(request.body) == {
        "messages": [
            {
                "sender": "353861234567",
                "destinations": [{"to": "447700900123", "messageId": "1.acme/m1"}],
                "content": {"text": "Hello"},
                "options": {"validityPeriod": {"amount": 7200, "timeUnit": "SECONDS"}},
                "webhooks": {
                    "delivery": {"url": url, "intermediateReport": True, "notify": True},
                    "contentType": "application/json",
                },
            }
        ],
        "options": {"includeSmsCountInResponse": True},
    }


@pytest.mark.parametrize("valid_s", [0, 172_800])
def test_a_deadline_beyond_infobips_own_is_not_told(valid_s: int) -> None:
    """Infobip's own is 48 hours, and its latest."""
    body = infobip().submit(msgspec.structs.replace(attempt(), valid_s=valid_s)).body
    assert "options" not in msgspec.json.decode(body)["messages"][0]


@pytest.mark.parametrize(
    ("date", "means"),
    [("Tue, 24 Nov 2026 05:00:00 GMT", NotFound), ("Thu, 26 Nov 2026 05:00:00 GMT", Inconclusive), ("", NotFound)],
)
def test_logs_that_do_not_go_back_to_the_attempt_prove_nothing(date: str, means: type[LookUpResult]) -> None:
    """They keep 48 hours: after a longer outage an empty list is no word about what was sent before it."""
    leased = msgspec.structs.replace(attempt("Hello"), leased_us=1_795_496_500_000_000)  # 24 November, 05:01:40
    looked = infobip().found(leased, HttpResponse(200, {"date": date}, b'{"results": []}'))
    assert isinstance(looked, means)
