"""Bandwidth Messaging, API v2: one text per JSON POST, receipts and texts in lists, proven by Basic authentication.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://dev.bandwidth.com/apis/messaging-apis/messaging (requests, answers, callbacks; its spec in the SDK)
 - https://dev.bandwidth.com/docs/messaging/errors (types of errors, codes of receipts)
 - https://dev.bandwidth.com/docs/messaging/webhooks (callbacks, and that they are proven by Basic authentication)
"""

import re
from datetime import UTC, datetime
from typing import ClassVar, cast

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
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

TYPES = _vendor.codes(
    (Unusable("the user may not use this account", "process"), "unauthorized"),
    (Unusable("the user may not use the messaging API", "account"), "forbidden"),
    (Unusable("the application is none of the account's", "account"), "request-validation/applicationId"),
    (Refused("bad_number"), "request-validation/to"),
    (Refused("sender", elsewhere=True), "request-validation/from"),
    (Refused("content"), "request-validation/text"),
    (Refused("refused"), "request-validation"),
)
"""`type` of an answer, and the field at fault where it names one: docs/messaging/errors, 2026-11-28."""

CODES = _vendor.codes(
    (Refused("refused"), "4001 4350 4360 4401 4408 4409 4435 4700 4701 4702 4730 4750 4753"),  # 4360: expired
    (Refused("refused"), "4780 4781 4785"),  # too many for a day or a campaign
    (Refused("refused"), "5100 5101 5106 5111 5201 5211 5220 5231 5500 5501 5600 5610 5620 5630 5650 5999 9999"),
    (Refused("bad_number"), "4303 4404 4406 4434 4492 4720 4721"),
    (Refused("opted_out"), "4775"),
    (Refused("blocked"), "4482 4772 4790"),
    (Refused("filtered"), "4470 4770 4771"),
    (Refused("content"), "4301 4410 4411 4412 4711 4712 4751 4752"),
    (Refused("sender"), "4302 4403 4405 4407 4481 4740 4773 4774 4791 4792 4793 4795"),
    (Refused("config"), "4420 4421 4431 4432 4433 4451 4452 4493"),
)
"""`errorCode` of a receipt: docs/messaging/errors, 2026-11-28. A code that is not here is "unlisted"."""

UNDECIDED = "9902"  # no receipt came from the carrier within two hours: says nothing that is final

STATUSES: dict[str, ReceiptStatus] = {
    "message-sending": ReceiptStatus.QUEUED,
    "message-sent": ReceiptStatus.SENT,
    "message-delivered": ReceiptStatus.DELIVERED,
    "message-read": ReceiptStatus.DELIVERED,
    "message-failed": ReceiptStatus.UNDELIVERED,
}
"""`type` of a callback: the SDK's spec, statusCallbackTypeEnum, 2026-07-22."""

_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}")


class BandwidthOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "bandwidth". The URLs for callbacks are set in the application, and so are the
    user and the password that prove them, which `callbacks` by "basic" names here.
    """

    account_id: str
    application_id: str
    user: str
    password: Secret
    callbacks: _proof.Callbacks | None = None
    base_url: str = "https://messaging.bandwidth.com/api/v2"

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url)
        _proof.check(self.callbacks)
        if not _ACCOUNT.fullmatch(self.account_id):
            raise ValueError("account_id: is the number that the dashboard shows, such as 9900000")


class Bandwidth(_vendor.Vendor):
    """One Bandwidth application, made from its config table. Its list of messages tells neither tag nor text of any,
    so that nothing can be looked up in it.
    """

    Options: ClassVar[type[msgspec.Struct]] = BandwidthOptions
    capabilities = Capabilities(inbound=True, callback_per_message=False, one_webhook=True)

    def __init__(self, name: str, options: BandwidthOptions) -> None:
        password = options.password.reveal()
        self._proof = _proof.Proof(options.callbacks)
        super().__init__(name, options.base_url, [password, *self._proof.secrets])
        self._headers = (("Authorization", _wire.basic(options.user, password)), _vendor.JSON)
        self._url = f"{self._base_url}/users/{options.account_id}/messages"
        self._application = options.application_id

    def submit(self, attempt: Attempt) -> HttpRequest:
        message = attempt.message
        fields = {
            "applicationId": self._application,
            "to": [message.to],  # several would be a group that sees one another
            "from": message.sender,
            "text": message.body,
            "tag": attempt.reference,
            "expiration": _at(attempt.leased_us // 1_000_000 + attempt.valid_s) if attempt.valid_s else "",
        }
        body = msgspec.json.encode({name: value for name, value in fields.items() if value})
        return HttpRequest("POST", self._url, self._headers, body)

    def answer(self, response: HttpResponse) -> Answer:
        document = _wire.decode(response.body)
        if response.status in (200, 201, 202):
            id_, parts = _wire.texts(document, "/id", "/segmentCount")
            return (
                Accepted(id_, _wire.count(parts)) if id_ else Unknown("202", "taken, but the answer names no message")
            )
        kind, field, detail = _wire.texts(document, "/type", "/fieldErrors/0/fieldName", "/fieldErrors/0/description")
        field = field.partition("[")[0]
        code = f"{kind}/{field}" if f"{kind}/{field}" in TYPES else kind
        return _vendor.answered(TYPES, response, code, detail or _wire.scalar(_wire.pick(document, "/description")))

    def receipts(self, callback: Callback) -> list[Receipt]:
        return [_receipt(event) for kind, event in self._authentic(callback) if kind != "message-received"]

    def inbound(self, callback: Callback) -> list[Inbound]:
        return [_text(event) for kind, event in self._authentic(callback) if kind not in STATUSES]

    def _authentic(self, callback: Callback) -> list[tuple[str, object]]:
        """The events with their types, once the callback is proven."""
        self._proof.check(callback)
        events = _wire.decode(callback.body)
        if not isinstance(events, list):
            raise BadCallback("a callback is a list of events")
        return [(_wire.scalar(_wire.pick(event, "/type")), event) for event in cast("list[object]", events)]


def _receipt(event: object) -> Receipt:
    word, to, code, id_, tag = _wire.texts(event, "/type", "/to", "/errorCode", "/message/id", "/message/tag")
    if not id_ or word not in STATUSES:
        raise BadCallback(f"a receipt has message.id, and a type that is one of {', '.join(STATUSES)}")
    told: dict[str, object] = {"provider_id": id_, "reference": tag, "to": to}
    if code == UNDECIDED:
        told |= {"status": ReceiptStatus.SENT, "reason": ""}
    return _vendor.receipt(STATUSES, CODES, word, code, **told)


def _text(event: object) -> Inbound:
    kind, id_, sender, to = _wire.texts(event, "/type", "/message/id", "/message/from", "/to")
    text, parts = _wire.texts(event, "/message/text", "/message/segmentCount")
    if kind != "message-received" or not id_ or not sender:
        raise BadCallback("a text is a message-received with message.id and message.from")
    return Inbound(id_, sender, to, text, max(1, _wire.count(parts)))


def _at(epoch_s: int) -> str:
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
