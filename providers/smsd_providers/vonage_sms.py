"""Vonage's older SMS API: a form by POST; failures come inside a 200, and each segment has an id and receipts.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://developer.vonage.com/en/api/sms (requests, answers, the codes of answers)
 - https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts (receipts and their codes)
 - https://developer.vonage.com/en/getting-started/concepts/signing-messages (signatures)
 - github.com/Nexmo/nexmo-developer, 2021-07-21, messaging/sms/guides/inbound-sms (tries for 24 hours), and
   github.com/Nexmo/api-specification, 2021-07-14, sms.yml (client-ref; message-timestamp is of the push): of whether
   `timestamp` is of the try, none says a word
"""

import hashlib
import hmac
from typing import ClassVar, Literal, cast

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    BadSignature,
    Callback,
    Capabilities,
    Deferred,
    HttpRequest,
    HttpResponse,
    Inbound,
    Receipt,
    ReceiptStatus,
    Refused,
    Throttled,
    Unknown,
    Unusable,
)
from smsd.secret import Secret
from smsd_providers import _proof, _vendor, _wire

CODES = _vendor.codes(
    (Throttled(), "1 10"),
    (Unknown(), "5"),  # an error "whilst processing this message": nobody says that it was not taken
    (Deferred(), "13"),
    (Unusable("the API key or its secret was refused", "process"), "4 14 32"),
    (Unusable("the account has no funds, is suspended, or not made for this API", "account", ends="funds"), "8 9 11"),
    (Refused("bad_number"), "6 33 34"),
    (Refused("blocked"), "7"),
    (Refused("filtered"), "17"),
    (Refused("content"), "12"),
    (Refused("sender", elsewhere=True), "15"),
    (Refused("config", elsewhere=True), "2 16 19 20 22 23 29"),
    (Refused("refused"), "3"),
)
"""`messages[].status` of an answer: api/sms, errors, 2026-11-28; 13 16 19 20 34 from Nexmo's list of 2019."""

ERRORS = _vendor.codes(
    (Refused("refused"), "1 2 5 7 8 15 99"),
    (Refused("bad_number"), "3 12"),
    (Refused("blocked"), "4 13 14 53"),
    (Refused("opted_out"), "9"),
    (Refused("filtered"), "6 20 21 22"),
    (Refused("content"), "10 52"),
    (Refused("sender"), "39 51"),
    (Refused("config"), "11 16 50 54"),
)
"""`err-code` of a receipt: guides/delivery-receipts, 2026-11-28. 9 is a person who has sent STOP
(https://developer.vonage.com/en/opt-out-assist/guides/messaging-opted-out-numbers).
"""

STATUSES: dict[str, ReceiptStatus] = {
    "accepted": ReceiptStatus.SENT,
    "buffered": ReceiptStatus.SENT,
    "unknown": ReceiptStatus.SENT,  # says nothing that is final
    "delivered": ReceiptStatus.DELIVERED,
    "deleted": ReceiptStatus.UNDELIVERED,
    "expired": ReceiptStatus.UNDELIVERED,
    "failed": ReceiptStatus.UNDELIVERED,
    "rejected": ReceiptStatus.UNDELIVERED,
}
"""`status` of a receipt: guides/delivery-receipts, 2026-11-28."""

TOLD_MOST = 100  # characters of `callback` and of `client-ref`
TTL_MS = (20_000, 604_800_000)


class VonageSmsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "vonage-sms". Signed callbacks are switched on by Vonage's support; until then
    `callbacks` proves them. A callback URL above 100 characters is not told: set the account's own in the dashboard.
    """

    api_key: Secret
    api_secret: Secret
    signature_secret: tuple[Secret, ...] = ()  # several while it is changed
    signature_methods: tuple[Literal["md5hash", "md5", "sha1", "sha256", "sha512"], ...] = ("sha256",)
    callbacks: _proof.Callbacks | None = None
    base_url: str = "https://rest.nexmo.com"

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url)
        _proof.check(self.callbacks)


class VonageSms(_vendor.Vendor):
    """One Vonage account, made from its config table."""

    Options: ClassVar[type[msgspec.Struct]] = VonageSmsOptions
    capabilities = Capabilities(receipts_per_segment=True, inbound=True)

    def __init__(self, name: str, options: VonageSmsOptions) -> None:
        secret = options.api_secret.reveal()
        self._keys = tuple(key.reveal() for key in options.signature_secret)
        self._methods = options.signature_methods
        self._proof = _proof.Proof(options.callbacks)
        super().__init__(name, options.base_url, [options.api_key.reveal(), secret, *self._keys, *self._proof.secrets])
        self._headers = (("Authorization", _wire.basic(options.api_key.reveal(), secret)), _vendor.FORM)

    def submit(self, attempt: Attempt) -> HttpRequest:
        message, url = attempt.message, self._proof.told(attempt.callback_url)
        least_ms, most_ms = TTL_MS
        fields = {
            "to": message.to.removeprefix("+"),
            "from": message.sender.removeprefix("+"),
            "text": message.body,
            "type": "unicode" if message.encoding == "UCS-2" else "",
            "ttl": str(min(max(attempt.valid_s * 1000, least_ms), most_ms)) if attempt.valid_s else "",
            "callback": url if len(url) <= TOLD_MOST else "",
            "client-ref": attempt.reference if len(attempt.reference) <= TOLD_MOST else "",
        }
        return HttpRequest("POST", f"{self._base_url}/sms/json", self._headers, _wire.form(fields).encode())

    def answer(self, response: HttpResponse) -> Answer:
        """A message of which only some segments were taken is in doubt: what has left cannot be called back."""
        rows = _wire.pick(_wire.decode(response.body), "/messages")
        told = [
            _wire.texts(row, "/message-id", "/status", "/error-text")
            for row in (cast("list[object]", rows) if isinstance(rows, list) else [])
        ]
        ids = [id_ for id_, status, _ in told if id_ and status == "0"]
        _, code, detail = told[0] if told else ("", "", "")
        if response.status != 200:
            return _vendor.answered(CODES, response, code, detail)
        if ids and len(ids) == len(told):
            return Accepted(ids[0], len(ids), tuple(ids[1:]))
        if ids or any(id_ or status in ("", "0") for id_, status, _ in told) or not told:
            return Unknown("200", "not every segment was taken, or the answer does not say")
        return _wire.filled(CODES.get(code, Refused("unlisted")), response, code, _wire.said(detail))

    def receipts(self, callback: Callback) -> list[Receipt]:
        fields = self._authentic(callback)
        id_, word = fields.get("messageId", ""), fields.get("status", "")
        if not id_ or word not in STATUSES:
            raise BadCallback(f"a receipt has messageId, and a status that is one of {', '.join(STATUSES)}")
        code = fields.get("err-code", "").removeprefix("0")
        reference = fields.get("client-ref", "")
        if not self._keys:  # what is signed is the fields alone: the URL of one message's receipt could be another's
            reference = reference or _vendor.reference(callback)
        told = {"provider_id": id_, "reference": reference, "to": fields.get("msisdn", ""), "parts": 0}
        return [_vendor.receipt(STATUSES, ERRORS, word, code, **told)]

    def inbound(self, callback: Callback) -> list[Inbound]:
        fields = self._authentic(callback)
        id_, sender = fields.get("messageId", ""), fields.get("msisdn", "")
        if not id_ or not sender or "status" in fields:
            raise BadCallback("a text has messageId and msisdn, and no status")
        part, parts = (max(1, _wire.count(fields.get(f"concat-{of}", ""))) for of in ("part", "total"))
        group = fields.get("concat-ref", "")
        return [Inbound(id_, sender, fields.get("to", ""), fields.get("text", ""), parts, part, group)]

    def _authentic(self, callback: Callback) -> dict[str, str]:
        """The fields, once a signature of ours holds over them and is new, or the secret that stands for one."""
        fields = _vendor.fields(callback)
        if not self._keys:
            self._proof.check(callback)
            return fields
        if any(sign in name for name in fields for sign in "&="):  # the signature could not tell it from two
            raise BadSignature
        theirs = fields.pop("sig", "").lower()
        # Where the fields come in the query, our own `ref` stands among them, and nobody says whether it is signed.
        signed = (fields, {name: value for name, value in fields.items() if name != "ref"})
        ours = (signature(how, key, each) for how in self._methods for key in self._keys for each in signed)
        if not any(_proof.equal(one, theirs) for one in ours):
            raise BadSignature
        _proof.check_fresh(fields.get("timestamp", ""), callback, _proof.RETRIED_S)
        return fields


def signature(method: str, secret: str, fields: dict[str, str]) -> str:
    """`sig` in small hexadecimal digits: of the fields by name, the two signs of a query replaced in their values."""
    pairs = [f"&{name}={value.replace('&', '_').replace('=', '_')}" for name, value in sorted(fields.items())]
    text = "".join(pairs).encode("utf-8", "replace")
    if method == "md5hash":
        return hashlib.md5(text + secret.encode(), usedforsecurity=False).hexdigest()
    return hmac.digest(secret.encode(), text, method).hex()
