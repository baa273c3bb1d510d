"""Bird's platform: held to the contract by the kit, to the vendor's documents by vectors."""

import base64
import hmac
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from smsd.provider import Callback, HttpResponse, More
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks
from smsd.testing.conformance_subject import attempt
from smsd_providers.bird import Bird, BirdOptions

VECTORS = Path(__file__).parent / "vectors" / "bird.json"
KEY = b"0123456789abcdef"  # the one of the vectors
ENV = {"KEY": "bk_us1_secret", "OTHER": "secret-of-no-region", "SECRET": "whsec_?"}


def sign(callback: Callback) -> Callback:
    """As Bird would."""
    at = str(callback.received_us // 1_000_000)
    digest = hmac.digest(KEY, f"msg_1.{at}.".encode() + callback.body, "sha256")
    signed = {"id": "msg_1", "timestamp": at, "signature": f"v1,{base64.b64encode(digest).decode()}"}
    headers = {**callback.headers, **{f"webhook-{name}": value for name, value in signed.items()}}
    return msgspec.structs.replace(callback, headers=headers)


def bird(key: str = "KEY", **options: object) -> Bird:
    told: dict[str, object] = {"api_key": Secret(f"env:{key}", env=ENV), **options}
    return Bird("main", BirdOptions(**told))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("check", checks(Bird, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """Bird keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what Bird does not have: a callback URL for a message, and a key of a known window."""
    skipped = [check.name for check in checks(Bird, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["callback url", "idempotency"]


def test_the_key_tells_the_region() -> None:
    """A key that does not needs a base_url."""
    assert urlsplit(bird().submit(attempt()).url).netloc == "us1.platform.bird.com"
    assert urlsplit(bird("OTHER", base_url="https://eu1.platform.bird.com").submit(attempt()).url).path
    with pytest.raises(ValueError, match="main: base_url is needed"):
        bird("OTHER")


def test_a_webhook_secret_that_is_none_is_a_mistake() -> None:
    """The sentence says what it looks like, and not what it is."""
    with pytest.raises(ValueError, match="webhook_secret is whsec_ and base64") as told:
        bird(webhook_secret=(Secret("env:SECRET", env=ENV),))
    assert "?" not in str(told.value)


@pytest.mark.parametrize(("class_", "category"), [("marketing", "marketing"), ("otp", "service")])
def test_marketing_is_sent_as_marketing(class_: str, category: str) -> None:
    """Any other class is sent as the options say."""
    one = attempt()
    one = msgspec.structs.replace(one, message=msgspec.structs.replace(one.message, class_=class_))
    assert msgspec.json.decode(bird(category="service").submit(one).body)["category"] == category


@pytest.mark.parametrize(("valid_s", "told"), [(0, None), (5, 60), (7200, 7200), (172_800, None)])
def test_the_deadline_is_told_within_birds_bounds(valid_s: int, told: int | None) -> None:
    """In seconds, from a minute to two days, which is Bird's own."""
    body = bird().submit(msgspec.structs.replace(attempt(), valid_s=valid_s)).body
    assert msgspec.json.decode(body).get("validity_period") == told


def test_the_next_page_asks_the_same_further_on() -> None:
    """By the cursor that the page has told."""
    told = bird().found(attempt(), HttpResponse(200, {}, b'{"data": [], "next_cursor": "sms_9"}'))
    assert isinstance(told, More)
    asked = parse_qs(urlsplit(told.request.url).query)
    assert asked == {
        "to": ["+447700900123"],
        "direction": ["outbound"],
        "starting_after": ["sms_9"],
        "created_after": ["2026-11-24T22:51:37Z"],
    }
