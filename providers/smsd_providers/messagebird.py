"""MessageBird's older SMS API: one text per JSON POST, receipts by GET, each signed by a token over URL and body.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://developers.messagebird.com/api/sms-messaging (requests, receipts)
 - https://docs.bird.com/api/channels-api/message-status-and-interactions/message-failure-sources (SMS platform extended
   error codes: reasons, and the codes of networks, which are MAP's, 3GPP TS 29.002 §17.6)
 - https://github.com/messagebird/python-rest-api, 2.2.0 (errors, the token: RequestValidator)
From memory, for no document of them was found: some reasons of receipts, "opted out" among them.
"""

import hashlib
from typing import ClassVar

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    BadSignature,
    Callback,
    Capabilities,
    HttpRequest,
    HttpResponse,
    Inbound,
    Receipt,
    ReceiptStatus,
    Refused,
    Unknown,
    Unusable,
)
from smsd.secret import Secret
from smsd_providers import _proof, _vendor, _wire

CODES = _vendor.codes(
    (Unusable("the access key was refused", "process"), "2"),
    (Unusable("there is no such URL", "account"), "20 98"),
    (Unusable("the account has no funds", "account", ends="funds"), "25"),
    (Unknown(), "99"),
    (Refused("bad_number"), "10/recipient 10/recipients"),
    (Refused("sender", elsewhere=True), "10/originator"),
    (Refused("content"), "10/body"),
    (Refused("config"), "9"),
    (Refused("refused"), "10 21"),
)
"""`errors[].code` of an answer, with the parameter that 10 names: python-rest-api and api, errors, 2026-11-28."""

REASONS = _vendor.codes(
    (Refused("bad_number"), "incorrect_number unknown_subscriber 1 2 3 5 9 11 12"),
    (Refused("opted_out"), "opted_out"),
    (Refused("blocked"), "13"),
    (Refused("filtered"), "carrier_rejected"),
    (Refused("funds"), "insufficient_balance"),
    (
        Refused("refused"),
        "unavailable_subscriber expired received_network_error capacity_limit_reached generic_delivery_failure "
        "DLR_not_received 6 7 8 10 21 27 31 32 33 34 35 36",
    ),
)
"""`statusReason` of a receipt with _ for its spaces, and `statusErrorCode`: extended error codes, 2026-11-28. From
memory, for no document of them was found: `incorrect_number`, `unavailable_subscriber`, `opted_out`,
`carrier_rejected`, `insufficient_balance`, `capacity_limit_reached` and `generic_delivery_failure`.
"""

STATUSES: dict[str, ReceiptStatus] = {
    "scheduled": ReceiptStatus.ACCEPTED,
    "buffered": ReceiptStatus.SENT,
    "sent": ReceiptStatus.SENT,
    "delivered": ReceiptStatus.DELIVERED,
    "delivery_failed": ReceiptStatus.UNDELIVERED,
    "expired": ReceiptStatus.UNDELIVERED,
}
"""`status` of a receipt: api/sms-messaging, status, 2026-11-28."""

ALGORITHMS = ("HS256", "HS384", "HS512")
LEEWAY_S = 1
VALID_MOST_S = 172_800


class MessageBirdOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "messagebird". `signing_key` is in the dashboard's developer settings; without
    it, `callbacks` proves receipts and texts.
    """

    access_key: Secret
    signing_key: tuple[Secret, ...] = ()  # several while it is changed
    callbacks: _proof.Callbacks | None = None
    base_url: str = "https://rest.messagebird.com"

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url)
        _proof.check(self.callbacks)


class MessageBird(_vendor.Vendor):
    """One MessageBird account, made from its config table."""

    Options: ClassVar[type[msgspec.Struct]] = MessageBirdOptions
    capabilities = Capabilities(inbound=True)

    def __init__(self, name: str, options: MessageBirdOptions) -> None:
        key = options.access_key.reveal()
        self._keys = tuple(one.reveal() for one in options.signing_key)
        self._proof = _proof.Proof(options.callbacks)
        super().__init__(name, options.base_url, [key, *self._keys, *self._proof.secrets])
        self._headers = (("Authorization", f"AccessKey {key}"), _vendor.JSON, ("Accept", "application/json"))

    def submit(self, attempt: Attempt) -> HttpRequest:
        message = attempt.message
        fields = {
            "recipients": [message.to.removeprefix("+")],
            "originator": message.sender.removeprefix("+"),
            "body": message.body,
            "datacoding": "unicode" if message.encoding == "UCS-2" else "plain",
            "validity": attempt.valid_s if attempt.valid_s < VALID_MOST_S else 0,
            "reference": attempt.reference,  # without one there are no receipts
            "reportUrl": self._proof.told(attempt.callback_url),
        }
        body = msgspec.json.encode({name: value for name, value in fields.items() if value})
        return HttpRequest("POST", f"{self._base_url}/messages", self._headers, body)

    def answer(self, response: HttpResponse) -> Answer:
        document = _wire.decode(response.body)
        if response.status in (200, 201):
            id_, parts = _wire.texts(document, "/id", "/recipients/items/0/messagePartCount")
            return (
                Accepted(id_, _wire.count(parts)) if id_ else Unknown("201", "taken, but the answer names no message")
            )
        code, detail, about = (
            _wire.texts(document, f"/errors/0/{of}")[0] for of in ("code", "description", "parameter")
        )
        return _vendor.answered(CODES, response, f"{code}/{about}" if f"{code}/{about}" in CODES else code, detail)

    def receipts(self, callback: Callback) -> list[Receipt]:
        fields = self._authentic(callback)
        id_, word = fields.get("id", ""), fields.get("status", "")
        if not id_ or word not in STATUSES:
            raise BadCallback(f"a receipt has id, and a status that is one of {', '.join(STATUSES)}")
        reference = fields.get("reference") or _vendor.reference(callback)
        code, why = fields.get("statusErrorCode", ""), fields.get("statusReason", "").replace(" ", "_")
        told = {"provider_id": id_, "reference": reference, "to": fields.get("recipient", ""), "error_code": code}
        return [_vendor.receipt(STATUSES, REASONS, word, why if why in REASONS else code, **told)]

    def inbound(self, callback: Callback) -> list[Inbound]:
        fields = self._authentic(callback)
        id_, sender, to, text = (fields.get(name, "") for name in ("id", "originator", "recipient", "body"))
        if not id_ or not sender:
            raise BadCallback("a text has id and originator")
        return [Inbound(id_, sender, to, text)]

    def _authentic(self, callback: Callback) -> dict[str, str]:
        """The fields, once a token of ours holds the hashes of URL and body and is in force, or the secret that stands
        for one.
        """
        if not self._keys:
            self._proof.check(callback)
            return _vendor.fields(callback)
        told = _proof.claims(callback.headers.get("messagebird-signature-jwt", ""), self._keys, ALGORITHMS)
        url, body = (
            hashlib.sha256(part).hexdigest() for part in (callback.url.encode("utf-8", "replace"), callback.body)
        )
        right = {"iss": "MessageBird", "url_hash": url, "payload_hash": body if callback.body else ""}
        if not all(_proof.equal(value, _wire.scalar(told.get(name))) for name, value in right.items()):
            raise BadSignature
        from_s, until_s, now_s = told.get("nbf"), told.get("exp"), callback.received_us / 1e6
        if not isinstance(from_s, int) or not isinstance(until_s, int):
            raise BadSignature
        if not from_s - LEEWAY_S <= now_s <= until_s + LEEWAY_S:
            raise BadSignature
        return _vendor.fields(callback)
