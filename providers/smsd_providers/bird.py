"""Bird's platform API, v1: one text per JSON POST with our reference in its metadata, events as Standard Webhooks.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://bird.com/docs/api (messages, events)
 - https://github.com/bird/bird-sdk-python, 0.106.0 (requests, answers, errors, the list, the signature)
 - https://www.standardwebhooks.com (signature)
"""

import base64
import hmac
import re
from datetime import UTC, datetime
from typing import ClassVar, Literal, cast
from urllib.parse import urlencode

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
    Found,
    HttpRequest,
    HttpResponse,
    Inbound,
    Inconclusive,
    LookUpResult,
    More,
    NotFound,
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
    (Throttled(), "rate_limit_error"),
    (Deferred(), "provider_unavailable"),
    (Unusable("the API key was refused", "process"), "auth_error"),
    (Unusable("the account has no funds", "account", ends="funds"), "billing_error insufficient_balance"),
    (Unusable("the key may not do this, or is another region's", "account"), "permission_error misdirected_error"),
    (Unusable("there is no such URL", "account"), "not_found_error"),
    (Refused("bad_number"), "invalid_destination landline_unreachable"),
    (Refused("opted_out"), "recipient_opted_out"),
    (Refused("blocked"), "blocked_by_recipient blocked_by_carrier"),
    (Refused("filtered"), "blocked_by_fraud_protection"),
    (Refused("content"), "content_rejected payload_too_large_error"),
    (Refused("sender", elsewhere=True), "sender_unregistered"),
    (Refused("config"), "precondition_error"),
    (Refused("refused"), "bad_request_error validation_error unreachable unknown"),
)
"""`error.type` of an answer (ErrorType), `error.code` of an event (SMSErrorCode): bird-sdk-python, 2026-11-28."""

STATUSES: dict[str, ReceiptStatus] = {
    "sms.scheduled": ReceiptStatus.ACCEPTED,
    "sms.accepted": ReceiptStatus.ACCEPTED,
    "sms.sent": ReceiptStatus.SENT,
    "sms.delivered": ReceiptStatus.DELIVERED,
    "sms.canceled": ReceiptStatus.UNDELIVERED,
    "sms.expired": ReceiptStatus.UNDELIVERED,
    "sms.failed": ReceiptStatus.UNDELIVERED,
    "sms.rejected": ReceiptStatus.UNDELIVERED,
    "sms.undelivered": ReceiptStatus.UNDELIVERED,
}
"""`type` of an event, and a message's status with "sms." before it: bird-sdk-python, SMSMessageStatus, 2026-11-28."""

VALID_S = (60, 172_800)  # validity_period
LOOK_BACK_S = 600  # before the lease: clocks differ
SETTLE_S = 60  # nobody says how soon the list has a message
_KEY_REGION = re.compile(r"bk_([a-z0-9]+)_")


class BirdOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "bird". The endpoints for events are made in the workspace, one for receipts and
    one for sms.received, each with a secret of its own. A message of the class marketing is sent as marketing.
    """

    api_key: Secret
    webhook_secret: tuple[Secret, ...] = ()  # whsec_…; each is tried
    category: Literal["transactional", "marketing", "authentication", "service"] = "transactional"
    base_url: str = ""  # "": that of the region in the key

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url or "https://eu1.platform.bird.com")


class Bird(_vendor.Vendor):
    """One Bird workspace, made from its config table. Its window of idempotency is not documented, so that no resend
    relies on it: the list of messages tells our reference.
    """

    Options: ClassVar[type[msgspec.Struct]] = BirdOptions
    capabilities = Capabilities(look_up="listing", inbound=True, callback_per_message=False, settle_s=SETTLE_S)

    def __init__(self, name: str, options: BirdOptions) -> None:
        key, secrets = options.api_key.reveal(), [secret.reveal() for secret in options.webhook_secret]
        region = _KEY_REGION.match(key)
        if not options.base_url and region is None:
            raise ValueError(f"{name}: base_url is needed, for the api_key does not name its region as bk_eu1_… does")
        base_url = options.base_url or f"https://{region[1] if region else ''}.platform.bird.com"
        super().__init__(name, base_url, [key, *secrets])
        self._messages = f"{self._base_url}/v1/sms/messages"
        self._key, self._category = ("Authorization", f"Bearer {key}"), options.category
        try:
            self._keys = tuple(base64.b64decode(one.removeprefix("whsec_"), validate=True) for one in secrets)
        except ValueError:
            raise ValueError(f"{name}: webhook_secret is whsec_ and base64, as the workspace shows it") from None

    def submit(self, attempt: Attempt) -> HttpRequest:
        message, (least_s, most_s) = attempt.message, VALID_S
        fields = {
            "to": message.to,
            "from": message.sender,
            "text": message.body,
            "category": "marketing" if message.class_ == "marketing" else self._category,
            "validity_period": max(attempt.valid_s, least_s) if 0 < attempt.valid_s < most_s else 0,
            "metadata": {"ref": attempt.reference},
            "options": {"smart_encoding": False},  # the text is sent as it is
        }
        body = msgspec.json.encode({name: value for name, value in fields.items() if value})
        return HttpRequest("POST", self._messages, (self._key, _vendor.JSON), body)

    def answer(self, response: HttpResponse) -> Answer:
        document = _wire.decode(response.body)
        if response.status not in (200, 201, 202):
            code, kind, detail = _wire.texts(document, "/error/code", "/error/type", "/error/message")
            return _vendor.answered(CODES, response, code if code in CODES else kind or code, detail)
        id_, word, parts = _wire.texts(document, "/id", "/status", "/segments/count")
        if STATUSES.get(f"sms.{word}") is ReceiptStatus.UNDELIVERED:
            code, detail = _wire.texts(document, "/last_error/code", "/last_error/description")
            return _wire.filled(CODES.get(code, Refused("unlisted")), response, code or word, _wire.said(detail))
        return Accepted(id_, _wire.count(parts)) if id_ else Unknown("202", "taken, but the answer names no message")

    def look_up(self, attempt: Attempt) -> HttpRequest:
        """The messages to this number since shortly before the attempt, newest first."""
        return self._list(attempt, {})

    def _list(self, attempt: Attempt, page: dict[str, str]) -> HttpRequest:
        query = {"to": attempt.message.to, "direction": "outbound", **page}
        if attempt.leased_us:
            at = datetime.fromtimestamp(attempt.leased_us // 1_000_000 - LOOK_BACK_S, UTC)
            query["created_after"] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        return HttpRequest("GET", f"{self._messages}?{urlencode(query)}", (self._key,))

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        document = _wire.decode(response.body)
        rows, (after,) = _wire.pick(document, "/data"), _wire.texts(document, "/next_cursor")
        if response.status != 200 or not isinstance(rows, list):
            return Inconclusive(f"the list was answered with {response.status}")
        candidates: list[Receipt] = []
        for row in cast("list[object]", rows):
            id_, reference, word, code = _wire.texts(row, "/id", "/metadata/ref", "/status", "/last_error/code")
            if not id_ or f"sms.{word}" not in STATUSES:
                return Inconclusive("the list has a message without an id or a status that is known")
            if reference == attempt.reference:
                candidates.append(_receipt(f"sms.{word}", code, provider_id=id_, reference=reference))
        if candidates:
            return Found(tuple(candidates))
        return More(self._list(attempt, {"starting_after": after})) if after else NotFound()

    def receipts(self, callback: Callback) -> list[Receipt]:
        kind, data = self._authentic(callback)
        id_, reference, to, code = _wire.texts(data, "/sms_id", "/metadata/ref", "/to", "/error/code")
        if not id_ or kind not in STATUSES:
            raise BadCallback(f"a receipt has data.sms_id, and a type that is one of {', '.join(STATUSES)}")
        return [_receipt(kind, code, provider_id=id_, reference=reference, to=to)]

    def inbound(self, callback: Callback) -> list[Inbound]:
        kind, data = self._authentic(callback)
        id_, sender, to, text, parts = _wire.texts(data, "/sms_id", "/from", "/to", "/text", "/segments/count")
        if kind != "sms.received" or not id_ or not sender:
            raise BadCallback("a text is a sms.received with data.sms_id and data.from")
        return [Inbound(id_, sender, to, text, max(1, _wire.count(parts)))]

    def _authentic(self, callback: Callback) -> tuple[str, object]:
        """The event's type and data, once a signature of ours holds over its id, its time and its body."""
        id_, at, theirs = (callback.headers.get(f"webhook-{of}", "") for of in ("id", "timestamp", "signature"))
        signed = f"{id_}.{at}.".encode("utf-8", "replace") + callback.body
        digests = [base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in self._keys]
        shown = theirs.split()
        if not any(_proof.equal(f"v1,{ours}", one) for ours in digests for one in shown):
            raise BadSignature
        _proof.check_fresh(at, callback)
        document = _wire.decode(callback.body)
        return _wire.scalar(_wire.pick(document, "/type")), _wire.pick(document, "/data")


def _receipt(word: str, code: str, **told: object) -> Receipt:
    """An error that came before a message was delivered after all is no error of the receipt."""
    return _vendor.receipt(STATUSES, CODES, word, code if STATUSES[word] is ReceiptStatus.UNDELIVERED else "", **told)
