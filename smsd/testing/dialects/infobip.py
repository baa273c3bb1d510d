"""Infobip's words, SMS API v3: JSON, rejections inside a 200, logs by the sender's own id, reports that nobody signs.

Never does IO and never decides. Written from https://www.infobip.com/docs/api/channels/sms/outbound-sms and
https://www.infobip.com/docs/developer-resources/api-fundamentals/message-status-codes (2026-11).
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

import msgspec

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

PROBLEMS: Mapping[int, tuple[int, str, str]] = {
    20003: (401, "E401", "The request lacks valid authentication credentials."),
    20404: (404, "E404", "The resource was not found."),
    20429: (429, "E429", "The number of requests exceeded the limit."),
    20500: (500, "E500", "An unexpected error occurred."),
    20503: (503, "E503", "The service is unavailable."),
    21602: (400, "E400", "The request cannot be processed."),
}
"""What Infobip says instead of an answer: HTTP status, errorCode, description (the API's OpenAPI document)."""

STATUSES: Mapping[int, tuple[int, str, int, str]] = {
    0: (1, "PENDING", 26, "PENDING_ACCEPTED"),
    21211: (5, "REJECTED", 52, "REJECTED_DESTINATION"),
    21408: (5, "REJECTED", 6, "REJECTED_NETWORK"),
    21614: (5, "REJECTED", 8, "REJECTED_PREFIX_MISSING"),
    21617: (5, "REJECTED", 25, "REJECTED_MESSAGE_TOO_LONG"),
    23: (5, "REJECTED", 23, "REJECTED_DUPLICATE_MESSAGE_ID"),
    30003: (2, "UNDELIVERABLE", 9, "UNDELIVERABLE_NOT_DELIVERED"),
    30005: (2, "UNDELIVERABLE", 9, "UNDELIVERABLE_NOT_DELIVERED"),
    30006: (2, "UNDELIVERABLE", 4, "UNDELIVERABLE_REJECTED_OPERATOR"),
    30007: (5, "REJECTED", 87, "SIGNALS_BLOCKED"),
    30008: (4, "EXPIRED", 15, "EXPIRED_EXPIRED"),
    21610: (5, "REJECTED", 14, "REJECTED_DESTINATION_BLOCKLISTED"),
}
"""What a message's status says for the carrier's codes (message-status-codes). The blocklist has those who have opted
out (https://www.infobip.com/docs/blocklist).
"""

ERRORS: Mapping[int, tuple[int, str]] = {
    30003: (27, "EC_ABSENT_SUBSCRIBER"),
    30005: (1, "EC_UNKNOWN_SUBSCRIBER"),
    30006: (568, "EC_DESTINATION_NOT_SMS_PROVISIONED"),
    30007: (608, "EC_SIGNALS_BLOCKED"),
    30008: (0, "NO_ERROR"),
}
"""What a report's error says for the carrier's codes (error-code-reference)."""

_OTHER = (5, "REJECTED", 11, "REJECTED_SOURCE")
_DUPLICATE = 23  # no code of the carrier's


class Infobip:
    """One account: `secret` is its API key, and what is in the path of its callbacks is made of it."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "receipt"

    def __init__(self, account: Account) -> None:
        self._secret = account.secret
        self._token = hashlib.sha256(account.secret.encode()).hexdigest()[:32]

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told = {"base_url": base_url, "api_key": "env:CARRIER_SECRET"}
        callbacks = {"by": "query", "name": "token", "secrets": ["env:CARRIER_TOKEN"]}
        env = {"CARRIER_SECRET": self._secret, "CARRIER_TOKEN": self._token}
        return {"type": "infobip", **told, "callbacks": callbacks}, env

    def sid_prefix(self, digits: str) -> str:
        return digits

    def admits(self, request: Request) -> bool:
        scheme, _, key = request.head.fields.get(b"authorization", b"").decode("ascii", "replace").partition(" ")
        return scheme == "App" and dialect.same(key, self._secret)

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != b"/sms/3/messages":
            return None
        try:
            messages = msgspec.json.decode(request.body, type=_Messages).messages
        except msgspec.MsgspecError:
            messages = []
        if len(messages) != 1 or len(messages[0].destinations) != 1:
            return Asked(to="", sender="", body="", code=21602)
        message, destination = messages[0], messages[0].destinations[0]
        to, sender, body = f"+{destination.to}", dialect.plus(message.sender), message.content.text
        return Asked(
            to=to,
            sender=sender,
            body=body,
            url=message.webhooks.delivery.url,
            reference=destination.message_id,
            code=dialect.mistake(to, sender, body, 4000),
            key=destination.message_id,
        )

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        return self._said(0, record.reference or sids[0], record.to[1:], record.segments)

    def repeated(self, first: Record, sids: list[str], body: str, *, same: bool) -> Said:
        """An id is taken once, whatever comes with it."""
        return self._said(_DUPLICATE, first.reference, first.to[1:], first.segments)

    def refused(self, code: int, after_s: float) -> Said:
        problem = PROBLEMS.get(code)
        if problem is None:
            return self._said(code, "", "", 1)
        status, told, text = problem
        body = {"errorCode": told, "description": text, "action": "See the documentation."}
        return Said(status, msgspec.json.encode(body), dialect.retry_after(after_s))

    def _said(self, code: int, id_: str, to: str, segments: int) -> Said:
        told = {"messageId": id_, "status": _status(code), "destination": to, "details": {"messageCount": segments}}
        return Said(200, msgspec.json.encode({"bulkId": "BULK-1", "messages": [told]}))

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        if request.head.path != b"/sms/3/logs":
            return None
        record = ledger.of_reference(dialect.form(request.head.query).get("messageId", ""))
        rows: list[dict[str, object]] = []
        if record is not None and record.at_us <= until_us:
            status = record.status(now_us)
            code = record.error_code if status == "undelivered" else 0
            rows = [_row(record.reference, status, code) | {"destination": record.to[1:]}]
        return Said(200, msgspec.json.encode({"results": rows, "cursor": {"limit": 50}}))

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        row = _row(told.reference or told.sid, told.status, told.error_code) | {
            "bulkId": "BULK-1",
            "to": told.to[1:],
            "sender": told.sender.removeprefix("+"),
            "sentAt": _at(told.now_us),
            "doneAt": _at(told.done_us or told.now_us),
            "messageCount": 1,
        }
        return _post([row], origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        row: dict[str, object] = {
            "messageId": sid,
            "from": text.sender.removeprefix("+"),
            "to": text.to.removeprefix("+"),
            "text": text.body,
            "receivedAt": _at(now_us),
            "smsCount": 1,
        }
        # The account's own URL for texts holds the secret, as its owner has set it in the portal.
        return _post([row], origin, f"{target}{'&' if '?' in target else '?'}token={self._token}")


class _Content(msgspec.Struct):
    text: str = ""


class _Destination(msgspec.Struct, rename="camel"):
    to: str
    message_id: str = ""


class _Delivery(msgspec.Struct):
    url: str = ""


class _Webhooks(msgspec.Struct):
    delivery: _Delivery = msgspec.field(default_factory=_Delivery)


class _Message(msgspec.Struct):
    destinations: list[_Destination]
    content: _Content
    sender: str = ""
    webhooks: _Webhooks = msgspec.field(default_factory=_Webhooks)


class _Messages(msgspec.Struct):
    messages: list[_Message]


def _status(code: int) -> dict[str, object]:
    group_id, group, id_, name = STATUSES.get(code, _OTHER)
    return {"groupId": group_id, "groupName": group, "id": id_, "name": name, "description": name.lower()}


def _row(id_: str, status: str, code: int) -> dict[str, object]:
    told = _status(code)
    if status == "sent":
        told |= {"groupId": 3, "groupName": "DELIVERED", "id": 2, "name": "DELIVERED_TO_OPERATOR"}
    elif status == "delivered":
        told |= {"groupId": 3, "groupName": "DELIVERED", "id": 5, "name": "DELIVERED_TO_HANDSET"}
    error_id, error = ERRORS.get(code, (0, "NO_ERROR"))
    return {"messageId": id_, "status": told, "error": {"groupId": 1, "id": error_id, "name": error}}


def _post(rows: list[dict[str, object]], origin: Origin, target: str) -> bytes:
    body = msgspec.json.encode({"results": rows})
    return dialect.post(origin.netloc, target, body, ("Content-Type", "application/json"))


def _at(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03}+0000"
