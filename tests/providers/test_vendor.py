"""What vendors' files start from."""

import base64
import re
import sys

import pytest

from smsd.config.plugin import known_types, provider_class
from smsd.provider import (
    BadCallback,
    BadSignature,
    Callback,
    Deferred,
    HttpResponse,
    Inconclusive,
    ReceiptStatus,
    Refused,
    Throttled,
    Unknown,
    Unusable,
)
from smsd_providers import _vendor

TABLE = _vendor.codes(
    (Throttled(), "1"),
    (Refused("bad_number"), "2 3"),
    (Deferred(), "4"),
    (Unusable("the account has no funds", "account", ends="funds"), "5"),
    (Unusable("the key was refused"), "6"),
)
STATUSES = {"ok": ReceiptStatus.DELIVERED, "no": ReceiptStatus.UNDELIVERED}


def test_a_code_stands_in_the_table_once() -> None:
    """Two meanings of one code are a mistake of the author."""
    with pytest.raises(ValueError, match="3 stands in the table twice"):
        _vendor.codes((Refused("refused"), "3"), (Deferred(), "2 3"))


def test_a_grant_is_asked_for_as_the_rfc_has_it() -> None:
    """RFC 6749 §2.3.1: the id and the secret are form-encoded before they become Basic; §4.4.2: the form."""
    asked = _vendor.grant("https://auth.example.com/token", "the id", "a/b:c+d", "https://api.example.com//.default")
    headers = dict(asked.headers)
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"the+id:a%2Fb%3Ac%2Bd"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    scope = b"&scope=https%3A%2F%2Fapi.example.com%2F%2F.default"
    assert (asked.method, asked.body) == ("POST", b"grant_type=client_credentials" + scope)
    assert _vendor.grant("https://auth.example.com/token", "a", "b").body == b"grant_type=client_credentials"


@pytest.mark.parametrize(("status", "certain"), [(400, True), (422, True), (408, False), (409, False), (500, False)])
def test_only_a_clear_no_is_believed(status: int, certain: bool) -> None:
    """A code in a 5xx, or where the vendor is in doubt, says nothing of whether the message was taken."""
    answer = _vendor.answered(TABLE, HttpResponse(status, {}, b""), "2", "to +353861234567")
    assert answer == (Refused("bad_number", "2", "to ***") if certain else Unknown("2", "to ***"))


def test_a_receipt_has_its_reason_from_the_table() -> None:
    """A code that nobody listed is "unlisted", none at all is "refused"; what is wrong with our account has its own."""
    reasons = {
        code: _vendor.receipt(STATUSES, TABLE, "no", code, provider_id="x").reason for code in ("2", "9", "", *"1456")
    }
    ours = {"5": "funds", "6": "config"}
    assert reasons == {"2": "bad_number", "9": "unlisted", "": "refused", "1": "refused", "4": "refused"} | ours


@pytest.mark.parametrize("type_", known_types("smsd_providers."))
def test_an_empty_account_is_called_so_by_every_vendor(type_: str) -> None:
    """No table speaks of funds or of a suspended account without the reason that tells who has to mend it."""
    tables = [vars(sys.modules[provider_class(type_).__module__]).get(name, {}) for name in ("CODES", "REASONS")]
    means = [each for table in tables for each in table.values() if isinstance(each, Unusable)]
    empty = [each for each in means if re.search("funds|suspended|spending", each.reason)]
    assert [each for each in means if each.ends == "funds"] == empty
    assert {_vendor.ended(each) for each in empty} <= {"funds"}


@pytest.mark.parametrize(
    ("type_", "code"),
    [
        ("plivo", "900"),
        ("sinch", "413"),
        ("vonage", "1070"),
        ("telnyx", "20012"),
        ("infobip", "12"),
        ("twilio", "90010"),
    ],
)
def test_what_failed_for_want_of_funds_says_so(type_: str, code: str) -> None:
    """In a receipt as in an answer."""
    table = vars(sys.modules[provider_class(type_).__module__])["CODES"]
    assert _vendor.receipt(STATUSES, table, "no", code).reason == "funds"
    assert _vendor.receipt(STATUSES, TABLE, "ok", "2").reason == ""


def test_the_reference_is_the_one_in_our_url() -> None:
    """Decoded; a URL that cannot be read is told."""
    told = Callback("POST", "https://sms.example.com/webhooks/main/status?ref=2.acme%2Fm1", {}, b"")
    assert _vendor.reference(told) == "2.acme/m1"
    with pytest.raises(BadCallback):
        _vendor.reference(Callback("POST", "http://[?ref=%2", {}, b""))


def test_only_a_reference_of_ours_counts() -> None:
    """A field that others may fill is no reference unless it looks like one."""
    assert [_vendor.ours(text) for text in ("1.acme/m1", "invoice 7", "0.a/b", "")] == ["1.acme/m1", "", "", ""]


@pytest.mark.parametrize("url", ["ftp://a", "https://", "https://a/?b=1", "https://a/#b", "a", "https://u:p@a"])
def test_a_base_url_is_checked(url: str) -> None:
    """Our credentials go there."""
    with pytest.raises(ValueError, match=r"^base_url: "):
        _vendor.checked_base_url(url)


def test_what_a_vendor_lacks_is_told() -> None:
    """No look-up, no texts."""
    vendor = _vendor.Vendor("main", "https://api.example.com/", ["secret", ""])
    assert (repr(vendor), vendor.secrets()) == ("Vendor('main')", frozenset({"secret"}))
    with pytest.raises(BadSignature):
        vendor.inbound(Callback("POST", "https://x/", {}, b""))
    assert isinstance(vendor.found(None, HttpResponse(200, {}, b"")), Inconclusive)  # type: ignore[arg-type]


def test_the_vendors_own_judgement_of_a_text_is_one_of_three() -> None:
    """Anything else is none."""
    assert [_vendor.opt_out(word) for word in ("STOP", "Start", "help", "other", "")] == [
        "stop",
        "start",
        "help",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("url", "body", "told"),
    [
        ("https://x/?ref=1.a%2Fb", b'{"a": "1", "n": 2, "more": {}}', {"a": "1", "n": "2", "more": ""}),
        ("https://x/?ref=1.a%2Fb", b"a=1&b=%26+", {"a": "1", "b": "& "}),
        ("https://x/?ref=1.a%2Fb&c=", b"", {"ref": "1.a/b", "c": ""}),
        ("https://x/", b"&".join([b"a=1"] * 101), {}),
        ("https://[/", b"", {}),
    ],
)
def test_a_callbacks_fields_are_read_wherever_they_stand(url: str, body: bytes, told: dict[str, str]) -> None:
    """In a JSON object, a form or the query, as the account has it; too many are none."""
    assert _vendor.fields(Callback("POST", url, {}, body)) == told
