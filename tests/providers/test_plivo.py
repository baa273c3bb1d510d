"""Plivo: held to the contract by the kit, to the vendor's documents by vectors."""

import base64
import hmac
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import msgspec
import pytest

from smsd.provider import BadCallback, BadSignature, Callback
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks, read_vectors
from smsd.testing.conformance_subject import attempt
from smsd_providers._wire import form_pairs
from smsd_providers.plivo import Plivo, PlivoOptions, signed_v3

VECTORS = Path(__file__).parent / "vectors" / "plivo.json"
TOKEN = "my_auth_token_0123456789"  # the one of the vectors
AUTH_ID = "MA" + "X" * 18


def sign(callback: Callback) -> Callback:
    """As Plivo would, by V3."""
    base, _, query = callback.url.partition("?")
    text = signed_v3(base, sorted(parse_qsl(query, keep_blank_values=True)), form_pairs(callback.body, 100))
    digest = hmac.digest(TOKEN.encode(), f"{text}.1".encode(), "sha256")
    signed = {
        "x-plivo-signature-v3": base64.b64encode(digest).decode(),
        "x-plivo-signature-v3-nonce": "1",
    }
    return msgspec.structs.replace(callback, headers={**callback.headers, **signed})


def plivo(**options: object) -> Plivo:
    token = Secret("env:TOKEN", env={"TOKEN": TOKEN})
    told: dict[str, object] = {"auth_id": AUTH_ID, "auth_token": (token,), **options}
    return Plivo("main", PlivoOptions(**told))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("check", checks(Plivo, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """Plivo keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what Plivo does not have: a look-up, and a key that it recognises."""
    skipped = [check.name for check in checks(Plivo, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["idempotency", "look-up"]


def test_a_part_is_told_with_how_many_there_are() -> None:
    """Each part has an id of its own, and the message is delivered when all of them are."""
    (vector,) = [one for one in read_vectors(VECTORS) if one.name == "our reference, the second of two parts"]
    (read,) = plivo().receipts(vector.callback)
    assert (read.part, read.parts) == (2, 2)


FORM = {"ErrorCode": "200", "From": "1", "MessageUUID": "5b", "PartInfo": "1 of 10", "Status": "failed", "To": "14"}


@pytest.mark.parametrize(
    "moved",
    [
        {"ErrorCode200From": "1"},
        {"From": "1MessageUUID5b"},
        {"PartInfo1": " of 10"},
        {"PartInf": "o1 of 10"},
        {"MessageUUID": "5bPartInfo1 of 10"},
        {"T": "o14"},
    ],
    ids=str,
)
def test_no_field_can_end_elsewhere(moved: dict[str, str]) -> None:
    """V3 signs names and values run together, so that the signature holds though one was moved into another."""
    run = "".join(name + FORM[name] for name in sorted(FORM))
    part = "".join(name + value for name, value in moved.items())
    kept = {name: value for name, value in FORM.items() if name + value not in part}
    forged = moved | kept
    assert "".join(name + forged[name] for name in sorted(forged)) == run

    def called(fields: dict[str, str]) -> Callback:
        body = urlencode(fields).encode()
        return Callback("POST", "https://x/", {"content-type": "application/x-www-form-urlencoded"}, body)

    (read,) = plivo().receipts(sign(called(FORM)))
    assert (read.reason, read.parts) == ("opted_out", 10)
    with pytest.raises((BadSignature, BadCallback)):
        plivo().receipts(sign(called(forged)))


def test_v2_can_be_refused() -> None:
    """It covers the URL alone, so that an account whose callbacks carry V3 may want no other."""
    (vector,) = [one for one in read_vectors(VECTORS) if one.name == "signed by V2"]
    assert plivo().receipts(vector.callback)
    with pytest.raises(BadSignature):
        plivo(signatures=("v3",)).receipts(vector.callback)


@pytest.mark.parametrize(("valid_s", "told"), [(0, None), (3, 5), (3600, 3600), (10_800, None)])
def test_the_deadline_is_told_where_it_is_before_plivos_own(valid_s: int, told: int | None) -> None:
    """Plivo's own is three hours, and its latest."""
    body = plivo().submit(msgspec.structs.replace(attempt(), valid_s=valid_s)).body
    assert msgspec.json.decode(body).get("message_expiry") == told


@pytest.mark.parametrize(
    ("sender", "told"), [("Salon", {"src": "Salon"}), ("", {"powerpack_uuid": "pack"})], ids=["sender", "none"]
)
def test_a_powerpack_sends_where_there_is_no_sender(sender: str, told: dict[str, str]) -> None:
    """Plivo refuses both at once."""
    said = msgspec.json.decode(plivo(powerpack_uuid="pack").submit(attempt(sender=sender)).body)
    assert {name: said[name] for name in ("src", "powerpack_uuid") if name in said} == told


@pytest.mark.parametrize(("key", "value"), [("auth_id", "ma/../x"), ("auth_token", ())])
def test_a_mistake_is_named(key: str, value: object) -> None:
    """The sentence begins with the key."""
    with pytest.raises(ValueError, match=f"^{key}: "):
        plivo(**{key: value})
