"""Telnyx Messaging, API v2: one text per JSON POST with an idempotency key, receipts and texts signed by Ed25519.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://developers.telnyx.com/api-reference/messages/send-a-message (requests, answers)
 - https://developers.telnyx.com/docs/messaging/messages/error-codes (codes)
 - https://developers.telnyx.com/docs/development/api-fundamentals/idempotency (24 hours; another body is answered 422,
   with what code is not told)
 - https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks (callbacks, signature)
"""

import base64
from typing import ClassVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

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

STOPPED = "40300"  # comes with a 409 (https://developers.telnyx.com/api/errors/40300), and in receipts

CODES = _vendor.codes(
    (Throttled(), "10011 40011 40016 40018"),
    (Deferred(), "10007 40004 40006 40318 40320"),
    (Unusable("the API key was refused", "process"), "10009 10010"),
    (Unusable("the account has no funds, or is blocked", "account", ends="funds"), "20002 20012 20100 40333"),
    (Unusable("the messaging profile cannot be used", "account"), "40312"),
    (Refused("bad_number"), "10002 10016 40001 40008 40012 40301 40310 40319"),
    (Refused("opted_out"), STOPPED),
    (Refused("refused"), "40005 40014"),  # expired on their side
    (Refused("content"), "40003 40009 40015 40017 40302 40316 40317 40322"),
    (Refused("filtered"), "40002"),
    (Refused("sender", elsewhere=True), "40013 40100 40305 40306 40307 40308 40311 40313 40314 40315 40321 40325"),
    (Refused("config", elsewhere=True), "40309"),
    (Refused("sender", elsewhere=True), "40010 40329 40330 40331"),
)
"""docs/messaging/messages/error-codes, 2026-11-28. A code that is not here is "unlisted"."""

STATUSES: dict[str, ReceiptStatus] = {
    "queued": ReceiptStatus.QUEUED,
    "sending": ReceiptStatus.QUEUED,
    "sent": ReceiptStatus.SENT,
    "delivery_unconfirmed": ReceiptStatus.SENT,  # says nothing that is final
    "delivered": ReceiptStatus.DELIVERED,
    "read": ReceiptStatus.DELIVERED,
    "expired": ReceiptStatus.UNDELIVERED,
    "delivery_failed": ReceiptStatus.UNDELIVERED,
    "sending_failed": ReceiptStatus.UNDELIVERED,
}
"""docs/messaging/messages/receiving-webhooks, `to[].status`, 2026-11-28."""

WINDOW_S = 86_400  # how long a key is recognised


class TelnyxOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "telnyx". `public_key` is in the portal under Keys & Credentials."""

    api_key: Secret
    public_key: tuple[str, ...] = ()  # base64 of 32 bytes; several while it is changed
    messaging_profile_id: str = ""  # needed for alphanumeric senders and number pools
    base_url: str = "https://api.telnyx.com"

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url)
        for key in self.public_key:
            _public_key(key)


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise ValueError("public_key: is base64 of the 32 bytes that the portal shows") from None


class Telnyx(_vendor.Vendor):
    """One Telnyx account, made from its config table."""

    Options: ClassVar[type[msgspec.Struct]] = TelnyxOptions
    capabilities = Capabilities(idempotency_s=WINDOW_S, inbound=True, callback_per_message=False, one_webhook=True)

    def __init__(self, name: str, options: TelnyxOptions) -> None:
        key = options.api_key.reveal()
        super().__init__(name, options.base_url, [key])
        self._headers = (("Authorization", f"Bearer {key}"), _vendor.JSON, ("Accept", "application/json"))
        self._profile = options.messaging_profile_id
        self._keys = tuple(_public_key(text) for text in options.public_key)

    def submit(self, attempt: Attempt) -> HttpRequest:
        message = attempt.message
        fields = {
            "to": message.to,
            "from": message.sender,
            "messaging_profile_id": self._profile,
            "text": message.body,
        }
        body = msgspec.json.encode({name: value for name, value in fields.items() if value})
        headers = (*self._headers, ("Idempotency-Key", attempt.idempotency_key))
        return HttpRequest("POST", f"{self._base_url}/v2/messages", headers, body)

    def answer(self, response: HttpResponse) -> Answer:
        document = _wire.decode(response.body)
        if response.status in (200, 201, 202):
            id_, parts = (_wire.scalar(_wire.pick(document, at)) for at in ("/data/id", "/data/parts"))
            return (
                Accepted(id_, _wire.count(parts)) if id_ else Unknown("200", "taken, but the answer names no message")
            )
        code, title, detail = (
            _wire.scalar(_wire.pick(document, f"/errors/0/{at}")) for at in ("code", "title", "detail")
        )
        if response.status == 422 and "idempotency" in f"{title} {detail}".lower():  # so the first was taken
            return Unknown(code or "422", _wire.said(detail or title))
        if response.status == 409 and code == STOPPED:
            return _wire.filled(CODES[code], response, code, _wire.said(detail or title))
        return _vendor.answered(CODES, response, code, detail or title)

    def receipts(self, callback: Callback) -> list[Receipt]:
        event, payload = self._authentic(callback)
        if event == "message.received":
            return []
        id_, word, to, code = _wire.texts(payload, "/id", "/to/0/status", "/to/0/phone_number", "/errors/0/code")
        if not id_ or word not in STATUSES:
            raise BadCallback(f"a receipt has payload.id, and payload.to[0].status is one of {', '.join(STATUSES)}")
        return [_vendor.receipt(STATUSES, CODES, word, code, provider_id=id_, to=to)]

    def inbound(self, callback: Callback) -> list[Inbound]:
        event, payload = self._authentic(callback)
        id_, sender, to = _wire.texts(payload, "/id", "/from/phone_number", "/to/0/phone_number")
        text, parts, took = _wire.texts(payload, "/text", "/parts", "/autoresponse_type")
        if event != "message.received":
            return []
        if not id_ or not sender:
            raise BadCallback("a text is a message.received with payload.id and payload.from.phone_number")
        return [Inbound(id_, sender, to, text, max(1, _wire.count(parts)), opt_out_type=_vendor.opt_out(took))]

    def _authentic(self, callback: Callback) -> tuple[str, object]:
        """The event's type and payload, once a signature of ours holds over its time and its body."""
        told = callback.headers.get("telnyx-timestamp", "")
        try:
            signature = base64.b64decode(callback.headers.get("telnyx-signature-ed25519", ""), validate=True)
        except ValueError as error:
            raise BadSignature from error
        if not any(_holds(key, signature, told.encode() + b"|" + callback.body) for key in self._keys):
            raise BadSignature
        _proof.check_fresh(told, callback)
        document = _wire.decode(callback.body)
        event = _wire.scalar(_wire.pick(document, "/data/event_type"))
        if not event.startswith("message."):
            raise BadCallback("an event's data.event_type begins with message.")
        return event, _wire.pick(document, "/data/payload")


def _holds(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
