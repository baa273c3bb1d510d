"""Sinch: held to the contract by the kit, to the vendor's documents by vectors."""

import base64
import hmac
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from smsd.provider import BadSignature, Callback
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks
from smsd.testing.conformance_subject import attempt
from smsd_providers._proof import Callbacks
from smsd_providers.sinch import Sinch, SinchOptions

VECTORS = Path(__file__).parent / "vectors" / "sinch.json"
KEY = b"foo_secret1234"  # the one of the vectors
TOKEN = Secret("env:TOKEN", env={"TOKEN": "token-1"})
RECEIPT = b'{"type": "recipient_delivery_report_sms", "batch_id": "01F", "code": 0, "status": "Delivered"}'


def sign(callback: Callback) -> Callback:
    """As Sinch would."""
    nonce, at = "01FJA8B4A7BM43YGWSG9GBV067", str(callback.received_us // 1_000_000)
    digest = hmac.digest(KEY, callback.body + f".{nonce}.{at}".encode(), "sha256")
    signed = {
        "x-sinch-webhook-signature": base64.b64encode(digest).decode(),
        "x-sinch-webhook-signature-nonce": nonce,
        "x-sinch-webhook-signature-timestamp": at,
    }
    return msgspec.structs.replace(callback, headers={**callback.headers, **signed})


def sinch(**options: object) -> Sinch:
    told: dict[str, object] = {"service_plan_id": "plan", "api_token": TOKEN, **options}
    return Sinch("main", SinchOptions(**told))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("check", checks(Sinch, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """Sinch keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what Sinch does not have: a key that it recognises."""
    skipped = [check.name for check in checks(Sinch, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["idempotency"]


def test_a_project_conforms_too(tmp_path: Path) -> None:
    """With an access key in place of the plan's token: its hosts have another name, its requests want access tokens."""
    key = {"project_id": "p-1", "key_id": "k-1", "key_secret": "env:SINCH_API_TOKEN"}
    vectors = msgspec.json.decode(VECTORS.read_bytes())
    kept = {name: vectors[0]["options"][name] for name in ("webhook_secret", "region")}
    vectors[0]["options"] = kept | key
    (tmp_path / "project.json").write_bytes(msgspec.json.encode(vectors))
    told = [check.run() for check in checks(Sinch, tmp_path / "project.json", sign)]
    assert [result.detail for result in told if result.outcome is Outcome.FAILED] == []
    provider = sinch(service_plan_id="", api_token=None, project_id="p-1", key_id="k-1", key_secret=TOKEN)
    for request in (provider.submit(attempt()), provider.look_up(attempt())):
        assert request.url.startswith("https://zt.us.sms.api.sinch.com/xms/v1/p-1/batches")
        assert request.token is not None
        assert request.token.url == "https://auth.sinch.com/oauth2/token"
        known = dict(request.token.headers)["Authorization"].removeprefix("Basic ")
        assert base64.b64decode(known) == b"k-1:token-1"


@pytest.mark.parametrize(
    "keys",
    [
        {"service_plan_id": ""},
        {"api_token": None},
        {"project_id": "p-1"},
        {"service_plan_id": "", "api_token": None, "project_id": "p-1", "key_id": "k-1"},
    ],
)
def test_half_a_way_to_be_known_is_a_mistake(keys: dict[str, object]) -> None:
    """A plan with its token or a project with its key, each whole, and not both."""
    with pytest.raises(
        ValueError, match=r"^service_plan_id: give service_plan_id and api_token, or else project_id and "
    ):
        sinch(**keys)


def test_where_nothing_is_signed_basic_is_the_proof() -> None:
    """The name and the password are those that the account manager was given."""
    provider = sinch(callbacks=Callbacks(by="basic", name="smsd", secrets=(TOKEN,)))
    basic = base64.b64encode(b"smsd:token-1").decode()
    told = Callback("POST", "https://x/?ref=1.a%2Fb", {"authorization": f"Basic {basic}"}, RECEIPT)
    (read,) = provider.receipts(told)
    assert (read.provider_id, read.reference) == ("01F", "1.a/b")
    with pytest.raises(BadSignature):
        provider.receipts(msgspec.structs.replace(told, headers={}))


@pytest.mark.parametrize(("valid_s", "told"), [(0, None), (7200, "2026-11-25T01:01:37.000Z"), (259_200, None)])
def test_the_deadline_is_told_where_it_is_before_sinchs_own(valid_s: int, told: str | None) -> None:
    """Sinch's own is three days, and its latest."""
    body = sinch().submit(msgspec.structs.replace(attempt(), valid_s=valid_s)).body
    assert msgspec.json.decode(body).get("expire_at") == told


def test_the_look_up_starts_before_the_attempt() -> None:
    """By our reference, in the attempt's time rather than the last day alone."""
    url = urlsplit(sinch(region="eu").look_up(attempt()).url)
    assert (url.netloc, url.path) == ("eu.sms.api.sinch.com", "/xms/v1/plan/batches")
    asked = parse_qs(url.query)
    assert (asked["client_reference"], asked["start_date"]) == (["1.acme/m1"], ["2026-11-24T22:01:37.000Z"])


def test_a_plan_that_is_none_is_a_mistake() -> None:
    """It becomes a part of the path."""
    with pytest.raises(ValueError, match=r"^service_plan_id: "):
        sinch(service_plan_id="a/b")
