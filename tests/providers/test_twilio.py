"""Twilio: held to the contract by the kit, to the vendor by its own SDK, and to the vendor's documents by vectors."""

import base64
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from smsd.message import Message
from smsd.provider import (
    Attempt,
    BadCallback,
    BadSignature,
    Callback,
    Found,
    HttpRequest,
    HttpResponse,
    Inconclusive,
    More,
    NotFound,
    ReceiptStatus,
    Refused,
)
from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks
from smsd_providers.twilio import CODES, STATUSES, Twilio, TwilioOptions

VECTORS = Path(__file__).parent / "vectors" / "twilio.json"
SID = "AC" + "f" * 32
TOKEN = "12345678901234567890123456789012"
ENV = {"SID": SID, "TOKEN": TOKEN, "OLD": "old-token", "KEY": "SK" + "e" * 32, "KEY_SECRET": "key-secret"}
CALLBACK = "https://sms.example.com/webhooks/main/status?ref=1.acme%2Fm1"


def secret(name: str) -> Secret:
    return Secret(f"env:{name}", env=ENV)


def twilio(**options: object) -> Twilio:
    told: dict[str, object] = {"account_sid": secret("SID"), "auth_token": (secret("TOKEN"),), **options}
    return Twilio("main", TwilioOptions(**told))  # pyright: ignore[reportArgumentType]


def attempt(body: str = "Hello", sender: str = "+15017122661", valid_s: int = 0, callback: str = CALLBACK) -> Attempt:
    message = Message("acme", "m1", "+15558675310", sender, body, "reminder", "default", "GSM-7", 1, "US")
    return Attempt(message, "1.acme/m1", callback, "", 1_795_496_500_000_000, valid_s)


def sign(callback: Callback) -> Callback:
    """As Twilio would: the form's fields, or the body's hash in the URL (docs/usage/security)."""
    url, fields = callback.url, dict(parse_qsl(callback.body.decode(), keep_blank_values=True))
    if "json" in callback.headers.get("content-type", ""):
        url += f"{'&' if '?' in url else '?'}bodySHA256={sha256(callback.body).hexdigest()}"
        fields = {}
    signature = RequestValidator(TOKEN).compute_signature(url, fields)
    headers = {**callback.headers, "x-twilio-signature": signature}
    return msgspec.structs.replace(callback, url=url, headers=headers)


def posted(fields: Mapping[str, str], url: str = CALLBACK) -> Callback:
    body = "&".join(f"{name}={value.replace('+', '%2B')}" for name, value in fields.items())
    return sign(Callback("POST", url, {"content-type": "application/x-www-form-urlencoded"}, body.encode()))


@pytest.mark.parametrize("check", checks(Twilio, VECTORS, sign), ids=str)
def test_conforms(check: Check) -> None:
    """Twilio keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what Twilio does not have: an idempotency key."""
    skipped = [check.name for check in checks(Twilio, VECTORS, sign) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["idempotency"]


# ---- The vendor's own SDK is the oracle ------------------------------------------------------------------------------


class Recorder(HttpClient):
    """Stands for the network: keeps what the SDK would have sent."""

    def __init__(self, answer: dict[str, object]) -> None:
        super().__init__(None, False, None)  # pyright: ignore[reportArgumentType]
        self.answer = answer
        self.told: tuple[str, str, dict[str, str], dict[str, str], tuple[str, str]] | None = None

    def request(
        self, method, uri, params=None, data=None, headers=None, auth=None, timeout=None, allow_redirects=False
    ):  # type: ignore[no-untyped-def]
        self.told = (method, uri, params or {}, data or {}, auth)  # pyright: ignore[reportAttributeAccessIssue]
        return Response(201 if method == "POST" else 200, msgspec.json.encode(self.answer).decode())


def ours(request: HttpRequest) -> tuple[str, str, dict[str, str], dict[str, str], tuple[str, ...]]:
    """Our request in the recorder's terms."""
    parts = urlsplit(request.url)
    credentials = base64.b64decode(dict(request.headers)["Authorization"].removeprefix("Basic ")).decode()
    return (
        request.method,
        f"{parts.scheme}://{parts.netloc}{parts.path}",
        dict(parse_qsl(parts.query)),
        dict(parse_qsl(request.body.decode())),
        tuple(credentials.split(":")),
    )


def form(data: Mapping[str, object]) -> dict[str, str]:
    """As the SDK's own client writes it."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in data.items()}


@pytest.mark.parametrize("body", ["Hello!", "€[]{}~^|\\ " * 20, "Grüße & 👍🏽 = 100 %", "a\r\nb\tc", "x" * 1600])
def test_sends_what_the_sdk_sends(body: str) -> None:
    """Method, URL, form and credentials are those of the vendor's SDK."""
    recorder = Recorder({"sid": "SM1"})
    Client(SID, TOKEN, http_client=recorder).messages.create(
        to="+15558675310",
        from_="+15017122661",
        body=body,
        status_callback=CALLBACK + "#rc=5&rp=all",
        validity_period=600,
        smart_encoded=False,
    )
    assert recorder.told is not None
    method, url, params, data, auth = recorder.told
    assert ours(twilio().submit(attempt(body, valid_s=600))) == (method, url, params, form(data), auth)


def test_sends_by_a_messaging_service_as_the_sdk_does() -> None:
    """With a messaging service and no sender the vendor chooses one; an API key takes the token's place."""
    recorder = Recorder({"sid": "SM1"})
    client = Client(ENV["KEY"], ENV["KEY_SECRET"], SID, http_client=recorder)
    client.messages.create(to="+15558675310", messaging_service_sid="MG" + "a" * 32, body="Hello", smart_encoded=False)
    provider = twilio(messaging_service_sid="MG" + "a" * 32, api_key=secret("KEY"), api_secret=secret("KEY_SECRET"))
    assert recorder.told is not None
    method, url, params, data, auth = recorder.told
    assert ours(provider.submit(attempt(sender="", callback=""))) == (method, url, params, form(data), auth)


def test_lists_what_the_sdk_lists() -> None:
    """The look-up is the SDK's listing by number and sender."""
    recorder = Recorder({"messages": []})
    Client(SID, TOKEN, http_client=recorder).messages.page(
        to="+15558675310",
        from_="+15017122661",
        page_size=50,
    )
    assert recorder.told is not None
    method, url, params, data, auth = recorder.told
    told = {name: str(value) for name, value in params.items() if value is not None}
    assert ours(twilio().look_up(attempt())) == (method, url, told, data, auth)


# ---- Requests --------------------------------------------------------------------------------------------------------


def form_of(provider: Twilio, one: Attempt) -> dict[str, str]:
    return dict(parse_qsl(provider.submit(one).body.decode()))


@pytest.mark.parametrize(("valid_s", "told"), [(0, None), (1, "1"), (36_000, "36000"), (90_000, "36000"), (-5, None)])
def test_validity_stays_in_the_vendors_bounds(valid_s: int, told: str | None) -> None:
    """ValidityPeriod is 1 to 36,000 seconds, and is not told where there is no deadline."""
    assert form_of(twilio(), attempt(valid_s=valid_s)).get("ValidityPeriod") == told


def test_callback_overrides_can_be_left_out() -> None:
    """The fragment that asks for more retries is an option."""
    assert form_of(twilio(), attempt())["StatusCallback"] == CALLBACK + "#rc=5&rp=all"
    assert form_of(twilio(callback_overrides=""), attempt())["StatusCallback"] == CALLBACK
    assert "StatusCallback" not in form_of(twilio(), attempt(callback=""))


def test_a_sender_goes_along_with_a_messaging_service() -> None:
    """A message's own sender is told beside the service, which then uses that one of its pool."""
    told = form_of(twilio(messaging_service_sid="MG" + "a" * 32), attempt())
    assert (told["MessagingServiceSid"], told["From"]) == ("MG" + "a" * 32, "+15017122661")


def test_base_url_may_end_in_a_slash() -> None:
    """A last slash in base_url is not doubled."""
    request = twilio(base_url="http://127.0.0.1:8778/").submit(attempt())
    assert request.url == f"http://127.0.0.1:8778/2010-04-01/Accounts/{SID}/Messages.json"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"auth_token": ()}, "auth_token: "),
        ({"api_key": secret("KEY")}, "api_key: "),
        ({"api_secret": secret("KEY_SECRET")}, "api_key: "),
        ({"messaging_service_sid": "MG1"}, "messaging_service_sid: "),
        ({"base_url": "api.twilio.com"}, "base_url: "),
        ({"base_url": "ftp://api.twilio.com"}, "base_url: "),
        ({"base_url": "https://api.twilio.com?x=1"}, "base_url: "),
        ({"account_sid": secret("TOKEN")}, "main: account_sid "),
    ],
)
def test_mistakes_in_options_are_named(options: dict[str, object], sentence: str) -> None:
    """A mistake in the options is a sentence that begins with the key."""
    with pytest.raises(ValueError, match=f"^{sentence}"):
        twilio(**options)


def test_secrets_are_all_told() -> None:
    """Tokens, the API secret and what Basic makes of it are known as secrets; the account's SID is none."""
    provider = twilio(
        auth_token=(secret("TOKEN"), secret("OLD")), api_key=secret("KEY"), api_secret=secret("KEY_SECRET")
    )
    basic = base64.b64encode(f"{ENV['KEY']}:key-secret".encode()).decode()
    assert provider.secrets() == {TOKEN, "old-token", "key-secret", basic}
    assert repr(provider) == "Twilio('main')"


# ---- Tables ----------------------------------------------------------------------------------------------------------


def test_every_code_means_one_thing() -> None:
    """No code stands in two rows of the table, and each row's reason is known."""
    source = Path(__file__).parents[2] / "providers" / "smsd_providers" / "twilio.py"
    text = source.read_text().partition("CODES: dict")[2].partition("for code in codes")[0]
    listed = [word.strip("(),") for word in text.split() if word.strip("(),").isdecimal()]
    assert sorted(listed) == sorted(CODES)
    assert {means.reason for means in CODES.values() if isinstance(means, Refused)} <= {
        *("refused", "bad_number", "opted_out", "blocked", "filtered", "sender", "content", "funds", "config")
    }


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_code_in_a_server_error_is_unknown(code: str) -> None:
    """A 5xx may come after the message was taken, whatever its code says."""
    answer = twilio().answer(HttpResponse(500, {}, f'{{"code":{code}}}'.encode()))
    assert msgspec.to_builtins(answer)["type"] == "unknown"


@pytest.mark.parametrize(("word", "status"), STATUSES.items())
def test_every_status_is_read(word: str, status: ReceiptStatus) -> None:
    """Each of the vendor's words for an outbound message has a place in the normal form."""
    (receipt,) = twilio().receipts(posted({"MessageSid": "SM1", "MessageStatus": word}))
    assert (receipt.status, receipt.raw_status, receipt.reference) == (status, word, "1.acme/m1")


# ---- Callbacks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"MessageStatus": "delivered"}, "MessageSid"),
        ({"MessageSid": "SM1"}, "MessageStatus"),
        ({"MessageSid": "SM1", "MessageStatus": "teleported"}, "MessageStatus is one of"),
        ({"MessageSid": "SM1", "MessageStatus": "delivered", "AccountSid": "AC" + "0" * 32}, "AccountSid"),
    ],
)
def test_a_genuine_callback_may_be_unreadable(fields: dict[str, str], sentence: str) -> None:
    """What Twilio signed and we cannot read is a BadCallback that says what was expected."""
    with pytest.raises(BadCallback, match=sentence):
        twilio().receipts(posted(fields))


def test_the_life_of_an_inbound_text_is_no_receipt() -> None:
    """A status callback about a text that came in is authentic and tells nothing."""
    assert twilio().receipts(posted({"SmsSid": "SM1", "SmsStatus": "received"})) == []


def test_an_inbound_text_needs_its_sender() -> None:
    """A text without sender or body is a BadCallback."""
    with pytest.raises(BadCallback, match="From"):
        twilio().inbound(posted({"MessageSid": "SM1", "Body": "x"}))


def test_twilios_own_judgement_of_a_text_is_told() -> None:
    """With Advanced Opt-Out it says what it has taken the text for, and has acted on it."""
    form = {"MessageSid": "SM1", "From": "+15558675310", "To": "70100", "Body": "Basta"}
    assert [text.opt_out_type for text in twilio().inbound(posted(form | {"OptOutType": "STOP"}))] == ["stop"]
    assert [text.opt_out_type for text in twilio().inbound(posted(form))] == [""]


def test_an_empty_text_is_a_text() -> None:
    """A picture comes with an empty body."""
    (text,) = twilio().inbound(posted({"MessageSid": "MM1", "From": "+15558675310", "To": "70100", "Body": ""}))
    assert (text.provider_id, text.sender, text.to, text.body, text.parts) == ("MM1", "+15558675310", "70100", "", 1)


@pytest.mark.parametrize("tokens", [("TOKEN", "OLD"), ("OLD", "TOKEN")])
def test_every_token_verifies(tokens: tuple[str, ...]) -> None:
    """While a token is rotated, callbacks signed with either are genuine, and requests use the first."""
    provider = twilio(auth_token=tuple(secret(name) for name in tokens))
    assert provider.receipts(posted({"MessageSid": "SM1", "MessageStatus": "sent"}))
    assert ours(provider.submit(attempt()))[4] == (SID, ENV[tokens[0]])


@pytest.mark.parametrize(
    ("signed", "told"),
    [
        ("https://sms.example.com/s", "https://sms.example.com:443/s"),
        ("https://sms.example.com:443/s", "https://sms.example.com/s"),
        ("http://sms.example.com:80/s", "http://sms.example.com/s"),
    ],
)
def test_the_port_may_be_missing(signed: str, told: str) -> None:
    """Twilio signs with or without the scheme's own port; either is genuine."""
    callback = posted({"MessageSid": "SM1", "MessageStatus": "sent"}, signed)
    assert twilio().receipts(msgspec.structs.replace(callback, url=told))


def test_a_repeated_field_is_signed_once() -> None:
    """Values that come twice are signed sorted and without repeats, as the vendor does."""
    body = b"MessageSid=SM1&MessageStatus=sent&Tag=b&Tag=a&Tag=b"
    validator = RequestValidator(TOKEN)
    text = CALLBACK + "MessageSidSM1MessageStatussentTagaTagb"
    signature = validator.compute_signature(text, {})
    headers = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature}
    assert twilio().receipts(Callback("POST", CALLBACK, headers, body))


NAMES = st.sampled_from(["To", "From", "Body", "Tag", "tag", "", "Été"])
FIELDS = st.lists(st.tuples(NAMES, st.text(st.characters(codec="utf-8"), max_size=5)), max_size=8)


class Repeated(dict[str, list[str]]):
    """A form as the vendor's validator reads one whose names come more than once."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


@given(FIELDS, st.integers(0))
def test_signatures_are_judged_as_the_vendors_validator_does(fields: list[tuple[str, str]], at: int) -> None:
    """Whatever fields come, and however often, exactly the vendor's signature is genuine."""
    form = Repeated()
    for name, value in [*fields, ("MessageSid", "SM1"), ("MessageStatus", "sent")]:
        form.setdefault(name, []).append(value)
    signature = RequestValidator(TOKEN).compute_signature(CALLBACK, form)
    body = urlencode([*fields, ("MessageSid", "SM1"), ("MessageStatus", "sent")]).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature}
    assert twilio().receipts(Callback("POST", CALLBACK, headers, body))
    at %= len(signature) - 1  # the last is padding
    other = "A" if signature[at] != "A" else "B"
    headers["x-twilio-signature"] = signature[:at] + other + signature[at + 1 :]
    with pytest.raises(BadSignature):
        twilio().receipts(Callback("POST", CALLBACK, headers, body))


def test_a_json_body_is_signed_by_its_hash() -> None:
    """Without bodySHA256 a signature over the URL says nothing about a JSON body."""
    body = b'{"MessageSid":"SM1","MessageStatus":"delivered"}'
    headers = {"content-type": "application/json"}
    genuine = sign(Callback("POST", CALLBACK, headers, body))
    assert twilio().receipts(genuine)[0].status is ReceiptStatus.DELIVERED
    bare = RequestValidator(TOKEN).compute_signature(CALLBACK, {})
    with pytest.raises(BadSignature):
        twilio().receipts(Callback("POST", CALLBACK, headers | {"x-twilio-signature": bare}, body))


def test_too_many_fields_are_forged() -> None:
    """A form with more fields than Twilio ever sends is refused before it costs anything."""
    with pytest.raises(BadSignature):
        twilio().receipts(Callback("POST", CALLBACK, {"x-twilio-signature": "x"}, b"a=1&" * 1000))


# ---- Look-up ---------------------------------------------------------------------------------------------------------


def listed(*items: Mapping[str, object], more: bool = False) -> HttpResponse:
    """A page of the listing, of messages to the attempt's number that differ from it as `items` say."""
    usual = {
        "sid": "SM" + "a" * 32,
        "to": "+15558675310",
        "from": "+15017122661",
        "body": "Hello",
        "direction": "outbound-api",
        "date_created": "Tue, 24 Nov 2026 05:01:45 +0000",
        "date_sent": None,
        "status": "queued",
    }
    following = f"/2010-04-01/Accounts/{SID}/Messages.json?Page=1&PageToken=PASM1" if more else None
    page = {"messages": [{**usual, **item} for item in items], "next_page_uri": following}
    return HttpResponse(200, {}, msgspec.json.encode(page))


def test_a_message_in_the_vendors_queue_is_found() -> None:
    """Nothing is asked by DateSent, which a message does not have that waits there: it would look as if not taken."""
    assert dict(parse_qsl(urlsplit(twilio().look_up(attempt()).url).query)).keys() == {"To", "From", "PageSize"}
    assert isinstance(twilio().found(attempt(), listed({})), Found)


@pytest.mark.parametrize(
    ("sent", "ends"),
    [("Tue, 24 Nov 2026 04:50:00 +0000", True), ("Tue, 24 Nov 2026 05:00:00 +0000", False), (None, False)],
)
def test_the_listing_ends_where_it_comes_to_what_was_sent_before(sent: str | None, ends: bool) -> None:
    """It is newest first: what follows a message that was sent before the attempt is none of it."""
    page = listed({"body": "Bye", "date_sent": sent}, more=True)
    assert isinstance(twilio().found(attempt(), page), NotFound if ends else More)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("It’s at 10 – bring your “card”…", 'It\'s at 10 - bring your "card"...'),
        ("Hello", "Sent from your Twilio trial account - Hello"),
        ("Grüße", "Gruße"),
    ],
)
def test_a_text_that_was_written_otherwise_is_not_taken_for_another(body: str, told: str) -> None:
    """A service with smart encoding lists what it made of a text: that nobody has it cannot be said."""
    assert isinstance(twilio().found(attempt(body), listed({"body": told})), Inconclusive)


@pytest.mark.parametrize("told", ["Hello 👍", "Bye", "你好"])
def test_another_text_is_another_message(told: str) -> None:
    """What differs in more than punctuation and accents is compared as before."""
    assert isinstance(twilio().found(attempt("Hello"), listed({"body": told})), NotFound)


def test_the_listing_goes_on_with_our_credentials() -> None:
    """The next page is asked of the same host and resource, authenticated as before."""
    path = f"/2010-04-01/Accounts/{SID}/Messages.json?Page=1&PageToken=PASM1"
    answer = msgspec.json.encode({"messages": [], "next_page_uri": path})
    more = twilio().found(attempt(), HttpResponse(200, {}, answer))
    assert isinstance(more, More)
    assert more.request == msgspec.structs.replace(twilio().look_up(attempt()), url="https://api.twilio.com" + path)


def test_a_found_message_tells_how_it_stands() -> None:
    """A candidate carries the status and the reason that the listing knows."""
    found = twilio().found(attempt(), listed({"status": "failed", "error_code": 30007}))
    assert isinstance(found, Found)
    (candidate,) = found.candidates
    assert (candidate.provider_id, candidate.status, candidate.reason, candidate.error_code) == (
        "SM" + "a" * 32,
        ReceiptStatus.UNDELIVERED,
        "filtered",
        "30007",
    )
