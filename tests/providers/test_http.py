"""Any gateway by configuration: held to the contract with two example gateways, and to the escaping of every format."""

import base64
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from smsd.message import Message
from smsd.provider import (
    Accepted,
    Attempt,
    BadCallback,
    BadSignature,
    Callback,
    Found,
    HttpResponse,
    NotFound,
    Receipt,
    ReceiptStatus,
    Refused,
    Unknown,
)
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks
from smsd_providers.http import Http, HttpOptions
from smsd_providers.http_options import Auth, Callbacks, Idempotency, LookUp, Receipts, Texts

VECTORS = Path(__file__).parent / "vectors"
ENV = {"S": "s3cret", "OLD": "old-s3cret"}
CALLBACK = "https://sms.example.com/webhooks/gw/status?ref=1.acme%2Fm1"
TRICKY = '"}&to=+1{to}%s\\ €👍\r\n'


def secret(name: str = "S") -> Secret:
    return Secret(f"env:{name}", env=ENV)


def gateway(**options: Any) -> Http:
    told: dict[str, Any] = {
        "url": "https://gw.example/send",
        "id_at": "/id",
        "fields": {"to": "{to}", "text": "{body}"},
        **options,
    }
    return Http("gw", HttpOptions(**told))


def attempt(body: str = "Hello", sender: str = "Salon", callback: str = CALLBACK, valid_s: int = 0) -> Attempt:
    message = Message("acme", "m1", "+15558675310", sender, body, "reminder", "default", "UCS-2", 2, "US")
    return Attempt(message, "1.acme/m1", callback, "key-1", 0, valid_s)


def signed_json(callback: Callback) -> Callback:
    """As the example gateway signs."""
    digest = hmac.new(b"gateway-webhook-key", callback.url.encode() + callback.body, "sha256").hexdigest()
    return msgspec.structs.replace(callback, headers={**callback.headers, "x-signature": f"sha256={digest}"})


def signed_path(callback: Callback) -> Callback:
    """As Kannel repeats the URL that it was told."""
    url = "https://sms.example.com/webhooks/kannel/kannel-callback-token/status?" + callback.body.decode("latin-1")
    return msgspec.structs.replace(callback, url=url, body=b"")


GATEWAYS = [("http_json", signed_json), ("http_kannel", signed_path)]


@pytest.mark.parametrize(
    "check", [check for name, sign in GATEWAYS for check in checks(Http, VECTORS / f"{name}.json", sign)], ids=str
)
def test_conforms(check: Check) -> None:
    """A gateway that is only configured keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


@pytest.mark.parametrize(("name", "sign", "skipped"), [(*GATEWAYS[0], []), (*GATEWAYS[1], ["idempotency", "look-up"])])
def test_nothing_is_left_unchecked(name: str, sign: Callable[[Callback], Callback], skipped: list[str]) -> None:
    """The kit skips only what a gateway does not have."""
    found = checks(Http, VECTORS / f"{name}.json", sign)
    assert [check.name for check in found if check.run().outcome is Outcome.SKIPPED] == skipped


# ---- Requests --------------------------------------------------------------------------------------------------------


def test_json_nests_and_keeps_numbers() -> None:
    """JSON fields may nest; a number stays one, and so does a placeholder that is one."""
    fields = {"m": {"to": ["{to_digits}"], "text": "{body}"}, "parts": "{segments}", "n": 1, "b": True, "r": "x-{id}"}
    body = gateway(fields=fields).submit(attempt(TRICKY)).body
    assert msgspec.json.decode(body) == {
        "m": {"to": ["15558675310"], "text": TRICKY},
        "parts": 2,
        "n": 1,
        "b": True,
        "r": "x-m1",
    }


def test_a_form_is_escaped_and_repeats_lists() -> None:
    """Form fields are escaped, a list repeats its name, and words for truth are lower case."""
    fields = {"to": ["{to}", "{to_digits}"], "text": "{body}", "flash": False, "n": 1}
    request = gateway(format="form", fields=fields).submit(attempt(TRICKY))
    told = [("to", "+15558675310"), ("to", "15558675310"), ("text", TRICKY), ("flash", "false"), ("n", "1")]
    assert parse_qsl(request.body.decode()) == told
    assert dict(request.headers)["Content-Type"] == "application/x-www-form-urlencoded"


def test_a_query_joins_the_url() -> None:
    """With format "query" the fields are escaped into the URL, behind what is there already."""
    request = gateway(url="https://gw.example/send?v=2", method="GET", format="query").submit(attempt(TRICKY))
    assert parse_qsl(urlsplit(request.url).query) == [("v", "2"), ("to", "+15558675310"), ("text", TRICKY)]
    assert (request.method, request.body) == ("GET", b"")


def test_what_stands_for_nothing_is_left_out() -> None:
    """A field whose placeholder stands for nothing is not told; beside it all others are."""
    fields = {"to": "{to}", "text": "{body}", "from": "{from}", "ttl": "{valid_s}", "cb": "{callback_url}&x=1"}
    silent = gateway(fields=fields).submit(attempt(sender="", callback=""))
    assert msgspec.json.decode(silent.body) == {"to": "+15558675310", "text": "Hello"}
    told = gateway(fields=fields).submit(attempt(valid_s=60))
    assert msgspec.json.decode(told.body)["ttl"] == 60
    assert msgspec.json.decode(told.body)["cb"] == CALLBACK + "&x=1"


def test_doubled_braces_are_braces() -> None:
    """A literal brace is written twice."""
    body = gateway(fields={"to": "{to}", "text": "{{{body}}}"}).submit(attempt()).body
    assert msgspec.json.decode(body)["text"] == "{Hello}"


def test_the_url_is_escaped_whole() -> None:
    """A placeholder in the URL cannot change its path."""
    request = gateway(url="https://gw.example/{reference}/send").submit(attempt())
    assert request.url == "https://gw.example/1.acme%2Fm1/send"


def test_the_encoding_has_the_gateways_word() -> None:
    """{encoding} says GSM-7 or UCS-2, or what the gateway calls it."""
    fields = {"to": "{to}", "text": "{body}", "coding": "{encoding}"}
    assert msgspec.json.decode(gateway(fields=fields).submit(attempt()).body)["coding"] == "UCS-2"
    named = gateway(fields=fields, encodings={"UCS-2": "8"})
    assert msgspec.json.decode(named.submit(attempt()).body)["coding"] == "8"


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (Auth(scheme="basic", user="u", secret=secret()), ("Authorization", "Basic dTpzM2NyZXQ=")),
        (Auth(scheme="bearer", secret=secret()), ("Authorization", "Bearer s3cret")),
        (Auth(scheme="header", name="X-Key", secret=secret()), ("X-Key", "s3cret")),
    ],
)
def test_requests_are_authenticated_by_header(auth: Auth, header: tuple[str, str]) -> None:
    """The secret stands in the header that the scheme says, and nowhere else."""
    request = gateway(auth=auth).submit(attempt())
    assert header in request.headers
    assert "s3cret" not in request.url
    assert b"s3cret" not in request.body


def test_requests_are_authenticated_by_field_or_query() -> None:
    """Old gateways want the secret among the fields, or in the URL."""
    field = gateway(auth=Auth(scheme="field", name="key", secret=secret())).submit(attempt())
    assert msgspec.json.decode(field.body)["key"] == "s3cret"
    query = gateway(auth=Auth(scheme="query", name="key", secret=secret())).submit(attempt())
    assert parse_qsl(urlsplit(query.url).query) == [("key", "s3cret")]


def test_the_idempotency_key_is_a_header_or_a_field() -> None:
    """The key goes where the config says, and the capabilities say for how long."""
    by_header = gateway(idempotency=Idempotency(window_s=60, header="Idempotency-Key"))
    assert ("Idempotency-Key", "key-1") in by_header.submit(attempt()).headers
    by_field = gateway(
        idempotency=Idempotency(window_s=60), fields={"to": "{to}", "text": "{body}", "k": "{idempotency_key}"}
    )
    assert msgspec.json.decode(by_field.submit(attempt()).body)["k"] == "key-1"
    assert (by_header.capabilities.idempotency_s, by_field.capabilities.idempotency_s) == (60, 60)


def test_an_own_content_type_stands() -> None:
    """A configured Content-Type is not doubled."""
    request = gateway(headers={"content-type": "application/vnd.gw+json"}).submit(attempt())
    assert [value for name, value in request.headers if name.lower() == "content-type"] == ["application/vnd.gw+json"]


# ---- Answers ---------------------------------------------------------------------------------------------------------


def test_the_id_may_stand_in_a_header_or_in_text() -> None:
    """The id is found where the config says: a header, or what a regular expression finds."""
    by_header = gateway(id_at="header:Location").answer(HttpResponse(201, {"location": "/m/17"}, b""))
    assert by_header == Accepted("/m/17")
    assert gateway(id_at="regex:ID: ([0-9]+)").answer(HttpResponse(200, {}, b"OK ID: 17\n")) == Accepted("17")


@pytest.mark.parametrize("body", [b"{}", b'{"id":null}', b'{"id":""}', b'{"id":{}}', b'{"id":"' + b"x" * 256 + b'"}'])
def test_a_yes_without_an_id_is_unknown(body: bytes) -> None:
    """Without a usable id the message may have been taken, but cannot be followed."""
    assert gateway().answer(HttpResponse(200, {}, body)) == Unknown("200", "accepted, but no id at /id")


def test_a_code_that_says_accepted_needs_a_status_that_does() -> None:
    """An error page with the code of success is no success."""
    provider = gateway(code_at="/code", codes={"0": "accepted"})
    assert provider.answer(HttpResponse(200, {}, b'{"code":0,"id":"1"}')) == Accepted("1")
    assert provider.answer(HttpResponse(500, {}, b'{"code":0,"id":"1"}')) == Unknown("0", "")


def test_a_refusal_may_be_only_this_gateways() -> None:
    """A table can say that another provider may take the message."""
    provider = gateway(statuses={"422": "refused:sender:elsewhere"})
    assert provider.answer(HttpResponse(422, {}, b"")) == Refused("sender", "422", "", elsewhere=True)


# ---- Callbacks -------------------------------------------------------------------------------------------------------

RECEIPT = Receipts(
    format="form", status_at="st", id_at="id", statuses={"DELIVRD": "delivered", "UNDELIV": "undelivered"}
)
GENUINE = b"id=g1&st=DELIVRD"


def hooked(**rules: Any) -> Http:
    told: dict[str, Any] = {"secrets": (secret(), secret("OLD")), **rules}
    fields = {"to": "{to}", "text": "{body}", "cb": "{callback_url}"}
    return gateway(receipts=RECEIPT, callbacks=Callbacks(**told), fields=fields)


def taken(provider: Http, url: str = CALLBACK, body: bytes = GENUINE, **headers: str) -> bool:
    """Whether the callback is genuine."""
    try:
        read = provider.receipts(Callback("POST", url, {n.replace("_", "-"): v for n, v in headers.items()}, body))
    except BadSignature:
        return False
    assert [receipt.provider_id for receipt in read] == ["g1"]
    return True


@pytest.mark.parametrize("token", ["s3cret", "old-s3cret"])
def test_a_token_in_the_path_is_proof(token: str) -> None:
    """The secret is a whole segment of the path; each of the secrets counts."""
    provider = hooked(by="path")
    assert taken(provider, f"https://sms.example.com/webhooks/gw/{token}/status")
    assert not taken(provider, f"https://sms.example.com/webhooks/gw/{token}x/status")
    assert not taken(provider, f"https://sms.example.com/webhooks/gw/status?t={token}")


def test_a_token_in_the_query_is_proof() -> None:
    """The secret is the value of the named parameter."""
    provider = hooked(by="query", name="t")
    assert taken(provider, CALLBACK + "&t=s3cret")
    assert not taken(provider, CALLBACK + "&u=s3cret")
    assert not taken(provider, CALLBACK + "&t=")


def test_a_token_in_a_header_is_proof() -> None:
    """The secret is the whole value of the named header."""
    provider = hooked(by="header", name="X-Token")
    assert taken(provider, x_token="s3cret")
    assert not taken(provider, x_token="s3cret ")
    assert not taken(provider)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("signed", ["body", "url+body"])
def test_an_hmac_is_proof(algorithm: Any, encoding: str, signed: str) -> None:
    """The digest in the header is over the body, or the URL and the body, in the configured way and no other."""
    provider = hooked(by="hmac", name="X-Sig", algorithm=algorithm, encoding=encoding, signed=signed, prefix="v1=")
    text = (CALLBACK.encode() if signed == "url+body" else b"") + GENUINE
    digest = hmac.new(b"old-s3cret", text, algorithm).digest()
    right = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    wrong = digest.hex() if encoding != "hex" else base64.b64encode(digest).decode()
    assert taken(provider, x_sig="v1=" + right)
    assert not taken(provider, x_sig="v1=" + wrong)
    assert not taken(provider, x_sig=right)
    assert not taken(provider, body=GENUINE + b"&x=1", x_sig="v1=" + right)
    assert taken(provider, CALLBACK + "&x=1", x_sig="v1=" + right) is (signed == "body")


@pytest.mark.parametrize(
    ("rules", "url"),
    [
        ({"by": "path"}, "https://sms.example.com/webhooks/gw/s3cret/status?ref=1.acme%2Fm1"),
        ({"by": "query", "name": "t"}, CALLBACK + "&t=s3cret"),
        ({"by": "header", "name": "X"}, CALLBACK),
    ],
)
def test_the_url_that_we_tell_holds_the_proof(rules: dict[str, Any], url: str) -> None:
    """A secret that the gateway shall repeat is in the callback URL that it is told, once."""
    provider = hooked(**rules)
    assert msgspec.json.decode(provider.submit(attempt()).body)["cb"] == url
    if rules["by"] == "path":
        assert msgspec.json.decode(provider.submit(attempt(callback=url)).body)["cb"] == url


def test_a_word_that_nobody_listed_is_no_receipt() -> None:
    """An authentic receipt with a new word is a BadCallback, so that somebody hears of it."""
    with pytest.raises(BadCallback, match="one of those listed"):
        hooked(by="header", name="x").receipts(Callback("POST", CALLBACK, {"x": "s3cret"}, b"id=g1&st=NEW"))


def test_a_form_has_a_bound() -> None:
    """A form with thousands of fields is not read."""
    with pytest.raises(BadCallback, match="cannot be read"):
        hooked(by="header", name="x").receipts(Callback("POST", CALLBACK, {"x": "s3cret"}, b"a=1&" * 2000))


def test_a_receipt_that_names_no_message_is_unreadable() -> None:
    """Neither an id nor our reference: nothing can be done with it."""
    with pytest.raises(BadCallback, match="names its message"):
        hooked(by="header", name="x").receipts(
            Callback("POST", "https://sms.example.com/s", {"x": "s3cret"}, b"st=DELIVRD")
        )


def test_a_form_brings_the_reference_in_the_url() -> None:
    """Where no field repeats our reference, the callback URL does."""
    read = hooked(by="header", name="x").receipts(Callback("POST", CALLBACK, {"x": "s3cret"}, GENUINE))
    assert [(receipt.provider_id, receipt.reference) for receipt in read] == [("g1", "1.acme/m1")]


@pytest.mark.parametrize(("signed", "reference"), [("body", ""), ("url+body", "1.acme/m1")])
def test_a_url_that_nobody_signs_names_no_message(signed: str, reference: str) -> None:
    """Where the HMAC is over the body alone, the gateway's id is all that a receipt is known by."""
    text = (CALLBACK.encode() if signed == "url+body" else b"") + GENUINE
    headers = {"x": hmac.new(b"s3cret", text, "sha256").hexdigest()}
    (read,) = hooked(by="hmac", name="x", signed=signed).receipts(Callback("POST", CALLBACK, headers, GENUINE))
    assert (read.provider_id, read.reference) == ("g1", reference)


def test_texts_come_in_lists() -> None:
    """One inbound callback may hold several texts."""
    texts = Texts(format="json", list_at="/r", id_at="/id", from_at="/f", body_at="/b")
    provider = gateway(inbound=texts, callbacks=Callbacks(by="header", name="x", secrets=(secret(),)))
    body = b'{"r":[{"id":1,"f":"+15550100","b":"yes"},{"id":2,"f":"+15550101","b":""}]}'
    read = provider.inbound(Callback("POST", CALLBACK, {"x": "s3cret"}, body))
    assert [(text.provider_id, text.sender, text.body) for text in read] == [
        ("1", "+15550100", "yes"),
        ("2", "+15550101", ""),
    ]
    with pytest.raises(BadCallback):
        provider.inbound(Callback("POST", CALLBACK, {"x": "s3cret"}, b'{"r":[{"id":1}]}'))


def test_without_a_mapping_nothing_is_read() -> None:
    """A gateway without receipts or texts says so in its capabilities and refuses them."""
    bare = gateway()
    assert (bare.capabilities.receipts, bare.capabilities.inbound) == (False, False)
    with pytest.raises(BadSignature):
        bare.receipts(Callback("POST", CALLBACK, {}, GENUINE))
    with pytest.raises(BadCallback, match="no receipts"):
        gateway(callbacks=Callbacks(by="header", name="x", secrets=(secret(),))).receipts(
            Callback("POST", CALLBACK, {"x": "s3cret"}, GENUINE)
        )
    with pytest.raises(BadCallback, match="no inbound"):
        hooked(by="header", name="x").inbound(Callback("POST", CALLBACK, {"x": "s3cret"}, b""))


# ---- Look-up ---------------------------------------------------------------------------------------------------------


def test_a_single_message_may_be_looked_up() -> None:
    """A gateway that answers with the message itself needs no list, and 404 says no where the config says so."""
    provider = gateway(
        look_up=LookUp(url="https://gw.example/m/{id}", id_at="/id", status_at="/st", not_found=(404,)),
        receipts=RECEIPT,
        callbacks=Callbacks(by="header", name="x", secrets=(secret(),)),
    )
    assert provider.look_up(attempt()).url == "https://gw.example/m/m1"
    found = provider.found(attempt(), HttpResponse(200, {}, b'{"id":"g1","st":"DELIVRD"}'))
    delivered = Receipt(ReceiptStatus.DELIVERED, "g1", "1.acme/m1", raw_status="DELIVRD", to="+15558675310")
    assert found == Found((delivered,))
    assert provider.found(attempt(), HttpResponse(404, {}, b"")) == NotFound()


def test_secrets_are_all_told() -> None:
    """Every secret is known, in the form in which Basic shows it too."""
    provider = hooked(by="path")
    assert {"s3cret", "old-s3cret"} <= provider.secrets()
    basic = gateway(auth=Auth(scheme="basic", user="u", secret=secret()))
    assert basic.secrets() == {"s3cret", "dTpzM2NyZXQ="}
    assert repr(basic) == "Http('gw')"


def test_a_look_up_that_is_not_there_is_a_mistake_of_the_caller() -> None:
    """Nobody asks a gateway that has no look-up."""
    with pytest.raises(ValueError, match="no look-up"):
        gateway().look_up(attempt())
