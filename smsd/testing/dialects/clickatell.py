"""Clickatell's words, One API: a list of messages, a yes or no for each, callbacks with a list in their event.

Never does IO and never decides. Written from https://docs.rs/clickatell-api/0.3.0 and the table of One API's status
codes at docs.clickatell.com (2026-11).
"""

import base64
import hmac
from collections.abc import Mapping
from typing import ClassVar, cast

import msgspec

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

CODES: Mapping[int, tuple[int, int, str]] = {
    20003: (401, 1, "Invalid or missing integration API Key"),
    20404: (404, 41, "Resource does not exist"),
    20429: (429, 43, "Rate limit exceeded"),
    20500: (500, 18, "Internal error"),
    20503: (503, 19, "Internal error - please retry"),
    21211: (400, 23, "Invalid or missing parameter: to ."),
    21408: (400, 101, "Destination does not support two-way messaging"),
    21610: (400, 26, "Recipient opted out"),
    21614: (400, 25, "Invalid recipient address"),
    21617: (400, 100, "Maximum message parts exceeded"),
    21602: (400, 23, "Invalid or missing parameter: content ."),
}
"""What Clickatell says for the carrier's codes: HTTP status, code and description; from 400 of the message itself."""

STATUSES: Mapping[int, tuple[int, str]] = {
    30003: (23, "DELIVERY_FAILURE"),
    30005: (29, "RECIPIENT_DOES_NOT_EXIST"),
    30006: (100, "ROUTING_ERROR"),
    30007: (22, "STOPPED_BY_ADMIN"),
    30008: (20, "EXPIRED"),
}
"""And in a receipt: statusCode and status."""

_OTHER = (400, 45, "From number is not related to integration")
_ENDS = {"sent": (4, "SENT_TO_SUPPLIER"), "delivered": (5, "DEVICE_ACK")}


class Clickatell:
    """One integration: `secret` is its API key, and its callbacks name `user` and half of that."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "answer"

    def __init__(self, account: Account) -> None:
        self._user, self._secret = account.user, account.secret
        self._token = account.secret[: len(account.secret) // 2]

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told: dict[str, object] = {
            "type": "clickatell",
            "base_url": base_url,
            "api_key": "env:CARRIER_SECRET",
            "callbacks": {"by": "basic", "name": self._user, "secrets": ["env:CARRIER_TOKEN"]},
        }
        return told, {"CARRIER_SECRET": self._secret, "CARRIER_TOKEN": self._token}

    def sid_prefix(self, digits: str) -> str:
        return digits

    def admits(self, request: Request) -> bool:
        return hmac.compare_digest(request.head.fields.get(b"authorization", b""), self._secret.encode())

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != b"/v1/message":
            return None
        listed = dialect.json_object(request.body).get("messages")
        rows = cast("list[dict[str, object]]", listed) if isinstance(listed, list) else []
        told = rows[0] if len(rows) == 1 else {}
        to, sender, body = (dialect.text_of(told, name) for name in ("to", "from", "content"))
        to, sender = f"+{to}", dialect.plus(sender)
        code = dialect.mistake(to, sender, body)
        if dialect.text_of(told, "channel") != "sms":
            code = 21602
        return Asked(to=to, sender=sender, body=body, reference=dialect.text_of(told, "clientMessageId"), code=code)

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        row = {"apiMessageId": sids[0], "accepted": True, "to": record.to[1:]}
        return Said(202, msgspec.json.encode({"messages": [row], "error": None}))

    def refused(self, code: int, after_s: float) -> Said:
        status, number, text = CODES.get(code, _OTHER)
        error = {"code": number, "description": text}
        row = {"error": error, "accepted": False, "to": ""}
        told = {"messages": [row], "error": None} if status == 400 else {"error": error}
        return Said(status, msgspec.json.encode(told), dialect.retry_after(after_s))

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        return None  # there is a message by its id, and nobody asks for one

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        number, word = STATUSES[told.error_code] if told.error_code else _ENDS[told.status]
        row = {
            "channel": "sms",
            "timestamp": (told.done_us or told.now_us) // 1000,
            "statusCode": number,
            "status": word,
            "messageId": told.parent,
            "clientMessageId": told.reference,
        }
        return self._post("messageStatusUpdate", row, origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        row = {
            "channel": "sms",
            "messageId": sid,
            "from": text.sender.removeprefix("+"),
            "to": text.to.removeprefix("+"),
            "content": text.body,
            "charset": "UTF-8",
            "timestamp": now_us // 1000,
        }
        return self._post("moText", row, origin, target)

    def _post(self, kind: str, row: Mapping[str, object], origin: Origin, target: str) -> bytes:
        told = {"integrationId": "int-1", "integrationName": "main", "event": {kind: [row]}}
        proof = base64.b64encode(f"{self._user}:{self._token}".encode()).decode()
        content, authorization = ("Content-Type", "application/json"), ("Authorization", f"Basic {proof}")
        return dialect.post(origin.netloc, target, msgspec.json.encode(told), content, authorization)
