"""Azure Communication Services: held to the contract by the kit, to Microsoft's documents by vectors."""

import base64
import re
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import pytest

from smsd.provider import BadSignature, Callback, Greeting
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks, read_vectors
from smsd.testing.conformance_subject import attempt
from smsd_providers._azure_request import signed
from smsd_providers._proof import Callbacks
from smsd_providers.azure import Azure, AzureOptions

VECTORS = Path(__file__).parent / "vectors" / "azure.json"
ENV = {"KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "CODE": "shared-secret", "SHORT": "no base64"}


def made(key: str = "KEY") -> Azure:
    proven = Callbacks(by="query", name="code", secrets=(Secret("env:CODE", env=ENV),))
    url = "https://res.communication.azure.com"
    return Azure("main", AzureOptions(base_url=url, access_key=Secret(f"env:{key}", env=ENV), callbacks=proven))


def sign(callback: Callback) -> Callback:
    """As Event Grid would: it calls the URL that it was told."""
    return msgspec.structs.replace(callback, url="https://sms.example.com/webhooks/main/status?code=shared-secret")


@pytest.mark.parametrize("check", checks(Azure, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """Azure keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what Azure does not have: a URL with each message, a look-up."""
    skipped = [check.name for check in checks(Azure, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["callback url", "idempotency", "look-up"]


def entra(**keys: object) -> Azure:
    told: dict[str, object] = {"tenant_id": "t-1", "client_id": "c-1", "client_secret": Secret("env:CODE", env=ENV)}
    url = "https://res.communication.azure.com"
    return Azure("main", AzureOptions(base_url=url, **told | keys))  # pyright: ignore[reportArgumentType]


def test_entra_id_conforms_too(tmp_path: Path) -> None:
    """Nothing is signed then: the request wants an access token, for the scope that Microsoft's own SDK asks for."""
    client = {"tenant_id": "t-1", "client_id": "c-1"}
    vectors = msgspec.json.decode(VECTORS.read_bytes())
    key = vectors[0]["options"].pop("access_key")
    vectors[0]["options"] |= client | {"client_secret": key}
    (tmp_path / "entra.json").write_bytes(msgspec.json.encode(vectors))
    told = [check.run() for check in checks(Azure, tmp_path / "entra.json", sign)]
    assert [result.detail for result in told if result.outcome is Outcome.FAILED] == []
    request = entra().submit(attempt())
    assert [name for name, _ in request.headers] == ["Content-Type"]
    assert request.token is not None
    assert request.token.url == "https://login.microsoftonline.com/t-1/oauth2/v2.0/token"
    assert parse_qs(request.token.body.decode())["scope"] == ["https://communication.azure.com//.default"]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"client_id": ""}, "^access_key: give access_key, or else tenant_id and client_id and client_secret"),
        ({"access_key": Secret("env:KEY", env=ENV)}, "^access_key: give access_key, or else tenant_id"),
        ({"tenant_id": "a/b"}, "^tenant_id: is the directory's id or domain"),
        ({"auth_url": "login.microsoftonline.com"}, "^auth_url: is https:// and a host"),
    ],
)
def test_half_a_way_to_be_known_is_a_mistake(keys: dict[str, object], says: str) -> None:
    """The sentence names the key and what is right."""
    with pytest.raises(ValueError, match=says):
        entra(**keys)


def test_a_request_is_signed_as_the_sdk_signs_it() -> None:
    """The vector request-hmac-sha256, by azure-communication-sms 1.1.0 with its clock fixed."""
    body = b'{"from":"+14255550001","smsRecipients":[{"to":"+14255550002"}],"message":"hi"}'
    url = "https://res.communication.azure.com/sms?api-version=2021-03-07"
    assert signed(base64.b64decode(ENV["KEY"]), url, "Mon, 23 Nov 2026 10:42:11 GMT", body) == (
        ("x-ms-date", "Mon, 23 Nov 2026 10:42:11 GMT"),
        ("x-ms-content-sha256", "BZonV5p0P9sZyVLw2+4ZR++PzRR7X9Jel7yUOl9fqfY="),
        (
            "Authorization",
            "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256"
            "&Signature=QSUD6oMImz0xwLFH5kNzLp/NOIUXiI+95eSwTjxMrwg=",
        ),
    )


def test_each_attempt_is_a_request_of_its_own() -> None:
    """Azure refuses a known id with another body: a resend is another request, and never promised to be a repeat."""
    provider, first = made(), attempt()
    later = msgspec.structs.replace(first, leased_us=first.leased_us + 60_000_000)
    other = msgspec.structs.replace(first, reference="2.acme/m1")
    rows = [msgspec.json.decode(provider.submit(one).body)["smsRecipients"][0] for one in (first, later, other)]
    ids = [row["repeatabilityRequestId"] for row in rows]
    assert ids[0] == ids[1] != ids[2]
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", ids[0])
    assert rows[0]["repeatabilityFirstSent"] == "Tue, 24 Nov 2026 23:01:37 GMT"


def test_event_grid_is_answered_with_its_code() -> None:
    """Once the URL has our secret in it; what is no question is none."""
    by_name = {vector.name: vector.callback for vector in read_vectors(VECTORS)}
    asked = by_name["handshake"]
    body = b'{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}'
    assert made().greeting(asked) == Greeting(headers=(("Content-Type", "application/json"),), body=body)
    assert made().greeting(by_name["delivered"]) is None
    with pytest.raises(BadSignature):
        made().greeting(msgspec.structs.replace(asked, url="https://sms.example.com/webhooks/main/status?code=guess"))


def test_cloud_events_are_welcome_too() -> None:
    """The question comes by OPTIONS, and the origin that it names may send; a stranger learns nothing."""
    asked = {vector.name: vector.callback for vector in read_vectors(VECTORS)}["handshake of CloudEvents"]
    welcome = (("WebHook-Allowed-Origin", "eventgrid.azure.net"), ("WebHook-Allowed-Rate", "*"))
    assert made().greeting(asked) == Greeting(headers=welcome)
    guess = msgspec.structs.replace(asked, url="https://sms.example.com/webhooks/main/status?code=guess", headers={})
    with pytest.raises(BadSignature):
        made().greeting(guess)


def test_a_key_that_is_none_is_a_mistake() -> None:
    """The sentence names the key and where the right one is."""
    with pytest.raises(ValueError, match="access_key: is base64, as the portal shows it"):
        made("SHORT")
