"""Infobip's SMS API, v3: one text per JSON POST under an id of ours; rejections come inside a 200.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://www.infobip.com/docs/api/channels/sms/outbound-sms (requests, answers, logs, reports; OpenAPI 3.210.0)
 - https://www.infobip.com/docs/developer-resources/api-fundamentals/message-status-codes
 - https://www.infobip.com/docs/developer-resources/api-fundamentals/error-code-reference
 - https://www.infobip.com/docs/blocklist (who is on it: whoever has opted out)
"""

from datetime import timedelta
from typing import ClassVar, cast
from urllib.parse import urlencode

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    Callback,
    Capabilities,
    Deferred,
    Found,
    HttpRequest,
    HttpResponse,
    Inbound,
    Inconclusive,
    LookUpResult,
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
    (Throttled(), "E429"),
    (Deferred(), "21 100"),
    (Unknown(), "23"),  # an id of ours that it has already: the look-up tells what became of it
    (Unusable("the API key was refused", "process"), "E401"),
    (Unusable("the account has no funds", "account", ends="funds"), "12 17"),
    (Unusable("the account may not do this", "account"), "E403"),
    (Refused("bad_number"), "8 51 52"),
    (Refused("opted_out"), "14"),  # on the account's own list of those who want no more
    (Refused("blocked"), "10"),
    (Refused("filtered"), "20 87"),
    (Refused("content"), "24 25"),
    (Refused("sender", elsewhere=True), "11 13"),
    (Refused("config", elsewhere=True), "6 18 19"),
    (Refused("refused"), "E400 4 9 15 31"),
)
"""`status.id` of an answer or a report (message-status-codes), `errorCode` of an answer (OpenAPI), 2026-11-28."""

ERRORS = _vendor.codes(
    (Refused("bad_number"), "1 5 9 11 12 351 352 568 569 629 633 3041"),
    (Refused("opted_out"), "573"),  # blocked by the person
    (Refused("blocked"), "13 560 566 604 2049 2050 2052"),
    (Refused("filtered"), "603 607 608 609 4103 4104"),
    (Refused("content"), "71 355 561 4096"),
    (Refused("sender"), "368 375 488 562 563 564 571 572 574 594 2053"),
    (Refused("config"), "323 345 433 541 542 577 578 579 580 592 597 598 601 4099 4202"),
    (
        Refused("refused"),
        "2 6 7 8 10 15 20 21 24 27 31 32 33 34 35 36 51 255 256 257 258 259 260 261 262 500 501 502 503 504 507 508 "
        "509 565 581 628 630 631 632 810 811 815 1024 1025 1026 1027 1028 1029 1030 1031 1152 1153 1154 1155 1156 "
        "1157 1158 1159 1160 1161 1162 1163 1164 1165 1166 1281 1282 1283 1284 1536 1537 1538 1539 1540 1541 1792 "
        "1793 1794 1795 1796 2048 2051 4097 4098 4100 4101 4102 5492",
    ),
)
"""`error.id` of a report: error-code-reference, general error codes, 2026-11-28."""

STATUSES: dict[str, ReceiptStatus] = {
    "ACCEPTED": ReceiptStatus.ACCEPTED,
    "PENDING": ReceiptStatus.SENT,
    "DELIVERED": ReceiptStatus.DELIVERED,
    "EXPIRED": ReceiptStatus.UNDELIVERED,
    "REJECTED": ReceiptStatus.UNDELIVERED,
    "UNDELIVERABLE": ReceiptStatus.UNDELIVERED,
    "DELIVERED_TO_OPERATOR": ReceiptStatus.SENT,  # the handset is still to come
    "EXPIRED_DLR_UNKNOWN": ReceiptStatus.SENT,  # says nothing that is final
    "PENDING_ACCEPTED": ReceiptStatus.ACCEPTED,
    "PENDING_ENROUTE": ReceiptStatus.QUEUED,
}
"""`status.groupName`, and the names that do not follow their group: message-status-codes, 2026-11-28."""

VALID_MOST_S = 172_800
LOGS_GO_BACK = timedelta(hours=47)  # 48 in the OpenAPI, outbound-sms
SETTLE_S = 60  # nobody says how soon the logs have a message


class InfobipOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "infobip". `base_url` is the account's own, as the portal shows it. Infobip signs
    no report that is asked for with a message, so `callbacks` proves them.
    """

    base_url: str  # such as https://x1y2z3.api.infobip.com
    api_key: Secret
    callbacks: _proof.Callbacks | None = None

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url)
        _proof.check(self.callbacks)


class Infobip(_vendor.Vendor):
    """One Infobip account, made from its config table. The id of a message there is our reference."""

    Options: ClassVar[type[msgspec.Struct]] = InfobipOptions
    capabilities = Capabilities(look_up="reference", inbound=True, settle_s=SETTLE_S)

    def __init__(self, name: str, options: InfobipOptions) -> None:
        key = options.api_key.reveal()
        self._proof = _proof.Proof(options.callbacks)
        super().__init__(name, options.base_url, [key, *self._proof.secrets])
        self._headers = (("Authorization", f"App {key}"), ("Accept", "application/json"))

    def submit(self, attempt: Attempt) -> HttpRequest:
        message: dict[str, object] = {
            "destinations": [{"to": attempt.message.to.removeprefix("+"), "messageId": attempt.reference}],
            "content": {"text": attempt.message.body},
        }
        if attempt.message.sender:
            message["sender"] = attempt.message.sender.removeprefix("+")
        if 0 < attempt.valid_s < VALID_MOST_S:
            message["options"] = {"validityPeriod": {"amount": attempt.valid_s, "timeUnit": "SECONDS"}}
        if attempt.callback_url:
            delivery = {"url": self._proof.told(attempt.callback_url), "intermediateReport": True, "notify": True}
            message["webhooks"] = {"delivery": delivery, "contentType": "application/json"}
        body = msgspec.json.encode({"messages": [message], "options": {"includeSmsCountInResponse": True}})
        return HttpRequest("POST", f"{self._base_url}/sms/3/messages", (*self._headers, _vendor.JSON), body)

    def answer(self, response: HttpResponse) -> Answer:
        document = _wire.decode(response.body)
        if response.status != 200:
            code, detail = _wire.texts(document, "/errorCode", "/description")
            return _vendor.answered(CODES, response, code, detail)
        told = _wire.pick(document, "/messages/0")
        id_, group, code, detail = _wire.texts(
            told, "/messageId", "/status/groupName", "/status/id", "/status/description"
        )
        match STATUSES.get(group):
            case None:
                return Unknown("200", "the answer does not say whether the message was taken")
            case ReceiptStatus.UNDELIVERED:
                return _wire.filled(CODES.get(code, Refused("unlisted")), response, code, _wire.said(detail))
            case _:
                parts = _wire.scalar(_wire.pick(told, "/details/messageCount"))
                return Accepted(id_, _wire.count(parts)) if id_ else Unknown("200", "taken, but no message is named")

    def look_up(self, attempt: Attempt) -> HttpRequest:
        query = urlencode({"messageId": attempt.reference})
        return HttpRequest("GET", f"{self._base_url}/sms/3/logs?{query}", self._headers)

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        rows = _wire.pick(_wire.decode(response.body), "/results")
        if response.status != 200 or not isinstance(rows, list):
            return Inconclusive(f"the logs were answered with {response.status}")
        told = [_report(row) for row in cast("list[object]", rows)]
        candidates = tuple(one for one in told if one is not None and one.provider_id == attempt.reference)
        if len(candidates) < len(told):
            return Inconclusive("the logs have messages of another id")
        if candidates:
            return Found(candidates)
        at = _wire.answered_at(response.headers)
        if attempt.leased_us and at is not None and at - _wire.instant(attempt.leased_us) > LOGS_GO_BACK:
            return Inconclusive("the attempt is older than the logs")
        return NotFound()

    def receipts(self, callback: Callback) -> list[Receipt]:
        told = [_report(row) for row in self._results(callback)]
        if not told or None in told:
            raise BadCallback("a report has results, each with a messageId and a status.groupName of Infobip's five")
        return [one for one in told if one is not None]

    def inbound(self, callback: Callback) -> list[Inbound]:
        texts: list[Inbound] = []
        for row in self._results(callback):
            id_, sender, to, text, parts = _wire.texts(row, "/messageId", "/from", "/to", "/text", "/smsCount")
            if not id_ or not sender:
                raise BadCallback("a text is one of results, with messageId and from")
            texts.append(Inbound(id_, sender, to, text, max(1, _wire.count(parts))))
        return texts

    def _results(self, callback: Callback) -> list[object]:
        self._proof.check(callback)
        rows = _wire.pick(_wire.decode(callback.body), "/results")
        if not isinstance(rows, list):
            raise BadCallback("a callback has results")
        return cast("list[object]", rows)


def _report(row: object) -> Receipt | None:
    """A row of a report or of the logs; None where it names no message, or has no status that is known."""
    id_, to, to_logged = _wire.texts(row, "/messageId", "/to", "/destination")
    group, name, status_id, error = _wire.texts(row, "/status/groupName", "/status/name", "/status/id", "/error/id")
    status = STATUSES.get(name) or STATUSES.get(group)
    if not id_ or status is None:
        return None
    said = {"provider_id": id_, "reference": id_, "to": to or to_logged}
    if error in ("", "0"):  # then it is the status that tells why
        return _vendor.receipt({name: status}, CODES, name, status_id, error_code="", **said)
    return _vendor.receipt({name: status}, ERRORS, name, error, **said)
