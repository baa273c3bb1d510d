"""Vonage's Messages API, v1: one text per JSON POST, receipts and texts signed by a token over their hash.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://developer.vonage.com/en/api/messages (requests, answers, callbacks, the codes of both)
 - https://developer.vonage.com/en/api-errors (codes that all of Vonage's APIs share)
 - https://developer.vonage.com/en/getting-started/concepts/webhooks (the token)
 - github.com/Nexmo/nexmo-developer, 2021-07-21, messages/concepts: signed-webhooks (an unsigned callback that is
   answered 5xx is tried again, signed), messages-api-sandbox (tries for 24 hours); of a new `iat` none says a word
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
    (Throttled(), "1000 throttled"),
    (Unknown(), "1030 1320"),  # an internal error, of which nobody says that it was not taken; "already sent"
    (Deferred(), "1100 1331"),
    (
        Unusable("the API key or its secret was refused", "process"),
        "1110 unauthorized invalid-api-key invalid-signature multiple-auth-methods",
    ),
    (Unusable("the account has no funds, or has used its quota", "account", ends="funds"), "1070 1460 low-balance"),
    (
        Unusable("the account is suspended", "account", ends="funds"),
        "1060 account-suspended application-suspended",
    ),
    (Unusable("the account may not do this", "account"), "1080 forbidden unprovisioned invalid-ip"),
    (Refused("bad_number"), "1040 1170 1190 1260 1300 1310 1430"),
    (Refused("opted_out"), "1240"),
    (Refused("blocked"), "1050 1270 1280 1483"),
    (Refused("filtered"), "1210 1241 1282 1461 1470 1472 1473 1474 1475 2001"),
    (Refused("content"), "1090 1440 1482"),
    (Refused("sender", elsewhere=True), "1120 1242 1420 1476 1481"),
    (
        Refused("config", elsewhere=True),
        "1010 1020 1130 1140 1150 1160 1250 1251 1400 1410 1450 1480 1484 invalid-params invalid-json "
        "unavailable-legal",
    ),
    (Refused("refused"), "1180 1200 1220 1230 1290 1330 1360 1490"),
)
"""The fragment of a problem's `type`: api/messages and api-errors, errors, 2026-11-28."""

STATUSES: dict[str, ReceiptStatus] = {
    "submitted": ReceiptStatus.SENT,
    "delivered": ReceiptStatus.DELIVERED,
    "read": ReceiptStatus.DELIVERED,
    "rejected": ReceiptStatus.UNDELIVERED,
    "undeliverable": ReceiptStatus.UNDELIVERED,
}
"""`status` of a callback: api/messages, message status, 2026-11-28."""

REFERENCE_MOST = 100  # characters of `client_ref`, which is in every status
TTL_S = (20, 604_800)


class VonageOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "vonage". `signature_secret` is in the dashboard's settings; where callbacks are
    not signed, `callbacks` proves them. Vonage tries a callback for a day, and nobody says that it signs it anew: one
    that is a day old is believed. Where it signs, a message is known by `client_ref` and its id, not by the URL:
    after a lost answer, one whose reference is too long for `client_ref` (100 characters) is not known again.
    """

    api_key: Secret
    api_secret: Secret
    signature_secret: tuple[Secret, ...] = ()  # several while it is changed
    callbacks: _proof.Callbacks | None = None
    base_url: str = "https://api.nexmo.com"

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url)
        _proof.check(self.callbacks)


class Vonage(_vendor.Vendor):
    """One Vonage account, made from its config table."""

    Options: ClassVar[type[msgspec.Struct]] = VonageOptions
    capabilities = Capabilities(inbound=True)

    def __init__(self, name: str, options: VonageOptions) -> None:
        secret = options.api_secret.reveal()
        self._keys = tuple(key.reveal() for key in options.signature_secret)
        self._proof = _proof.Proof(options.callbacks)
        super().__init__(name, options.base_url, [options.api_key.reveal(), secret, *self._keys, *self._proof.secrets])
        self._headers = (("Authorization", _wire.basic(options.api_key.reveal(), secret)), _vendor.JSON)

    def submit(self, attempt: Attempt) -> HttpRequest:
        message, (least_s, most_s) = attempt.message, TTL_S
        fields = {
            "message_type": "text",
            "channel": "sms",
            "to": message.to.removeprefix("+"),
            "from": message.sender.removeprefix("+"),
            "text": message.body,
            "ttl": min(max(attempt.valid_s, least_s), most_s) if attempt.valid_s else 0,
            "client_ref": attempt.reference if len(attempt.reference) <= REFERENCE_MOST else "",
            "webhook_url": self._proof.told(attempt.callback_url),
            "webhook_version": "v1" if attempt.callback_url else "",
        }
        body = msgspec.json.encode({name: value for name, value in fields.items() if value})
        return HttpRequest("POST", f"{self._base_url}/v1/messages", self._headers, body)

    def answer(self, response: HttpResponse) -> Answer:
        id_, kind, title, detail = _wire.texts(
            _wire.decode(response.body), "/message_uuid", "/type", "/title", "/detail"
        )
        if response.status == 202:
            return Accepted(id_) if id_ else Unknown("202", "taken, but the answer names no message")
        return _vendor.answered(CODES, response, kind.rpartition("#")[2], detail or title)

    def receipts(self, callback: Callback) -> list[Receipt]:
        document = self._authentic(callback)
        id_, word, to, reference = _wire.texts(document, "/message_uuid", "/status", "/to", "/client_ref")
        if not id_ or word not in STATUSES:
            raise BadCallback(f"a receipt has message_uuid, and a status that is one of {', '.join(STATUSES)}")
        kind, title = _wire.texts(document, "/error/type", "/error/title")
        code = kind.rpartition("#")[2] if "#" in kind else title
        if not self._keys:  # what is signed is the body alone: the URL of one message's receipt could be another's
            reference = reference or _vendor.reference(callback)
        return [_vendor.receipt(STATUSES, CODES, word, code, provider_id=id_, reference=reference, to=to)]

    def inbound(self, callback: Callback) -> list[Inbound]:
        document = self._authentic(callback)
        id_, sender, to, text = _wire.texts(document, "/message_uuid", "/from", "/to", "/text")
        channel, parts = _wire.texts(document, "/channel", "/sms/num_messages")
        if not id_ or not sender or channel != "sms" or _wire.pick(document, "/status") is not None:
            raise BadCallback('a text has message_uuid, from and "channel": "sms", and no status')
        return [Inbound(id_, sender, to, text, max(1, _wire.count(parts)))]

    def _authentic(self, callback: Callback) -> object:
        """The document, once a token of ours holds its hash and is new, or the secret that stands for one."""
        if not self._keys:
            self._proof.check(callback)
            return _wire.decode(callback.body)
        told = _proof.claims(callback.headers.get("authorization", "").removeprefix("Bearer "), self._keys)
        if not _proof.equal(_wire.scalar(told.get("payload_hash")), hashlib.sha256(callback.body).hexdigest()):
            raise BadSignature
        _proof.check_fresh(_wire.scalar(told.get("iat")), callback, _proof.RETRIED_S)
        return _wire.decode(callback.body)
