"""Clickatell's One API: one text per JSON POST, a yes or no for each message, receipts and texts to the account's URLs.

Never does IO, never decides. Clickatell's own pages are behind a portal; sources, all as of 2026-11-28:
 - https://docs.rs/clickatell-api/0.3.0 (requests, answers and their codes, statuses)
 - Clickatell, One API, Message Status Table (docs.clickatell.com: channels/one-api/one-api-message-status-table)
 - github.com/arcturial/clickatell 3.x (the flat callbacks of the older platform, which are read as well)
 - duengageapi.uat.scadsoftware.com, ClickatellWebhook (a receiver's description of event.messageStatusUpdate, its
   statusCode among the rest)
From memory, for no document of it was found: event.moText and its fields.
"""

import re
from typing import ClassVar, cast

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
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
    (Throttled(), "43"),
    (Unknown(), "18"),  # an internal error: nobody says that it was not taken
    (Deferred(), "19"),
    (Unusable("the API key or our address was refused", "process"), "1 7"),
    (Unusable("the account or its integration is not active", "account"), "2 3 38 39 41 42 46"),
    (Unusable("the account has no funds", "account", ends="funds"), "20"),
    (Refused("bad_number"), "23/to 25 27"),
    (Refused("opted_out"), "26"),
    (Refused("content"), "23/content 24 30 31 32 33 40 100"),
    (Refused("sender", elsewhere=True), "23/from 44 45"),
    (Refused("config", elsewhere=True), "28 101 110 111"),
    (Refused("refused"), "21 22 23"),
)
"""`error.code`, 23 with the parameter that its description names: docs.rs/clickatell-api, 2026-11-28."""

STATUSES: dict[str, ReceiptStatus] = {
    "UNKNOWN": ReceiptStatus.SENT,  # says nothing that is final, and so does the next
    "EMULATED": ReceiptStatus.SENT,
    "QUEUED": ReceiptStatus.QUEUED,
    "SCHEDULED": ReceiptStatus.ACCEPTED,
    "SENT_TO_SUPPLIER": ReceiptStatus.SENT,
    "DEVICE_ACK": ReceiptStatus.DELIVERED,
    "READ": ReceiptStatus.DELIVERED,
    "EXPIRED": ReceiptStatus.UNDELIVERED,
    "STOPPED_BY_USER": ReceiptStatus.UNDELIVERED,
    "STOPPED_BY_ADMIN": ReceiptStatus.UNDELIVERED,
    "DELIVERY_FAILURE": ReceiptStatus.UNDELIVERED,
    "INSUFFICIENT_ACCOUNT_BALANCE": ReceiptStatus.UNDELIVERED,
    "VOLUME_LIMIT": ReceiptStatus.UNDELIVERED,
    "VOLUME_LIMIT_DAILY": ReceiptStatus.UNDELIVERED,
    "VOLUME_LIMIT_MONTHLY": ReceiptStatus.UNDELIVERED,
    "RECIPIENT_DOES_NOT_EXIST": ReceiptStatus.UNDELIVERED,
    "ENCRYPTION_ACCESS_DENIED": ReceiptStatus.UNDELIVERED,
    "ENCRYPTION_CONTENT_ERROR": ReceiptStatus.UNDELIVERED,
    "ROUTING_ERROR": ReceiptStatus.UNDELIVERED,
}
"""`status` of a receipt: One API, Message Status Table, 2026-11-28; those of other channels are left out."""

REASONS = _vendor.codes(
    (Refused("refused"), "EXPIRED STOPPED_BY_USER STOPPED_BY_ADMIN DELIVERY_FAILURE"),
    (Refused("refused"), "VOLUME_LIMIT VOLUME_LIMIT_DAILY VOLUME_LIMIT_MONTHLY"),
    (Refused("funds"), "INSUFFICIENT_ACCOUNT_BALANCE"),
    (Refused("bad_number"), "RECIPIENT_DOES_NOT_EXIST"),
    (Refused("config"), "ROUTING_ERROR ENCRYPTION_ACCESS_DENIED ENCRYPTION_CONTENT_ERROR"),
)
"""What such a word says of why."""

TOLD_MOST = 64  # characters of a clientMessageId
_PARAMETER = re.compile(r"parameter: ?(\w+)")


class ClickatellOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "clickatell". The URLs for callbacks are set in the portal; nothing is signed, so
    that `callbacks` names what proves them.
    """

    api_key: Secret  # of an API integration
    callbacks: _proof.Callbacks | None = None
    base_url: str = "https://platform.clickatell.com"

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url)
        _proof.check(self.callbacks)


class Clickatell(_vendor.Vendor):
    """One API integration at Clickatell, made from its config table."""

    Options: ClassVar[type[msgspec.Struct]] = ClickatellOptions
    capabilities = Capabilities(inbound=True, callback_per_message=False, one_webhook=True)

    def __init__(self, name: str, options: ClickatellOptions) -> None:
        key = options.api_key.reveal()
        self._proof = _proof.Proof(options.callbacks)
        super().__init__(name, options.base_url, [key, *self._proof.secrets])
        self._headers = (("Authorization", key), _vendor.JSON, ("Accept", "application/json"))

    def submit(self, attempt: Attempt) -> HttpRequest:
        message = attempt.message
        fields = {
            "channel": "sms",
            "to": message.to.removeprefix("+"),
            "from": message.sender.removeprefix("+"),
            "content": message.body,
            "clientMessageId": attempt.reference if len(attempt.reference) <= TOLD_MOST else "",
        }
        body = msgspec.json.encode({"messages": [{name: value for name, value in fields.items() if value}]})
        return HttpRequest("POST", f"{self._base_url}/v1/message", self._headers, body)

    def answer(self, response: HttpResponse) -> Answer:
        """What our one message was answered, whatever the status of the whole: 202, 207 or 400."""
        document = _wire.decode(response.body)
        id_, code, detail = _wire.texts(
            document, "/messages/0/apiMessageId", "/messages/0/error/code", "/messages/0/error/description"
        )
        if response.status in (200, 202, 207) and id_ and _wire.pick(document, "/messages/0/accepted") is True:
            return Accepted(id_)
        if not code:
            code, detail = _wire.texts(document, "/error/code", "/error/description")
        found = _PARAMETER.search(detail)
        named = f"{code}/{found[1]}" if found else ""
        code = named if named in CODES else code
        if response.status not in (200, 202, 207):
            return _vendor.answered(CODES, response, code, detail)
        if not code or _wire.pick(document, "/messages/0/accepted") is not False:
            return Unknown(code or str(response.status), "the answer does not say what became of the message")
        return _vendor.answered(CODES, HttpResponse(400, response.headers, b""), code, detail)

    def receipts(self, callback: Callback) -> list[Receipt]:
        return [_receipt(told) for told in self._told(callback, "messageStatusUpdate", "status", "replyMessageId")]

    def inbound(self, callback: Callback) -> list[Inbound]:
        return [_text(told) for told in self._told(callback, "moText", "replyMessageId", "status")]

    def _told(self, callback: Callback, event: str, flat: str, other: str) -> list[object]:
        """What a proven callback tells of one kind: a list in its `event`, or the callback itself in the older form,
        which is told by a field from the `other` kind.
        """
        self._proof.check(callback)
        document = _wire.decode(callback.body)
        listed = _wire.pick(document, f"/event/{event}")
        if isinstance(listed, list):
            return cast("list[object]", listed)
        if _wire.scalar(_wire.pick(document, f"/{flat}")):
            return [document]
        if isinstance(_wire.pick(document, "/event"), dict) or _wire.scalar(_wire.pick(document, f"/{other}")):
            return []  # of another kind, such as a text where receipts are read
        raise BadCallback(f"a callback has event.{event}, or the field {flat} of the older platform")


def _receipt(told: object) -> Receipt:
    id_, word, to, code, reference = _wire.texts(
        told, "/messageId", "/status", "/to", "/statusCode", "/clientMessageId"
    )
    if not id_ or word not in STATUSES:
        raise BadCallback(f"a receipt has messageId, and a status that is one of {', '.join(STATUSES)}")
    negative = STATUSES[word] is ReceiptStatus.UNDELIVERED
    error_code = code if negative else ""
    return _vendor.receipt(
        STATUSES, REASONS, word, word, provider_id=id_, reference=reference, to=to, error_code=error_code
    )


def _text(told: object) -> Inbound:
    id_, reply, sender, to, text = _wire.texts(told, "/messageId", "/replyMessageId", "/from", "/to", "/content")
    flat_sender, flat_to, flat_text = _wire.texts(told, "/fromNumber", "/toNumber", "/text")
    if not (reply or id_) or not (sender or flat_sender):
        raise BadCallback("a text has messageId and from, or replyMessageId and fromNumber")
    return Inbound(reply or id_, sender or flat_sender, to or flat_to, text or flat_text)
