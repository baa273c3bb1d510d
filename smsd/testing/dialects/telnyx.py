"""Telnyx's words, API v2: JSON, errors as a list, an idempotency key, events signed by Ed25519.

Never does IO and never decides. Written from https://developers.telnyx.com/api-reference/messages/send-a-message and
https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks (2026-11).
"""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

CODES: Mapping[int, tuple[int, str, str]] = {
    20003: (401, "10009", "Authentication failed"),
    20404: (404, "10005", "Resource not found"),
    20429: (429, "10011", "Too many requests"),
    20500: (500, "10007", "Unexpected error"),
    20503: (503, "10016", "Service unavailable"),
    21211: (400, "40310", "Invalid 'to' address"),
    21408: (400, "40309", "Invalid destination region"),
    21610: (409, "40300", "Blocked due to STOP message"),
    21614: (400, "40001", "Not routable"),
    21617: (400, "40302", "Message too large"),
    21602: (400, "40316", "No content provided"),
    30003: (0, "40008", "Undeliverable"),
    30005: (0, "40012", "Message invalid destination number"),
    30006: (0, "40001", "Not routable"),
    30007: (0, "40002", "Blocked as spam"),
    30008: (0, "40005", "Message expired during transmission"),
}
"""What Telnyx says for the carrier's codes: HTTP status, code, title (docs/messaging/messages/error-codes; of
40300 the status is that of https://developers.telnyx.com/api/errors/40300).
"""

_OTHER = (400, "40305", "Invalid 'from' address")
_MISMATCH = {"title": "Unprocessable Entity", "detail": "The Idempotency-Key was used with another request."}
"""The 422 is documented (docs/development/api-fundamentals/idempotency), its code and its words are not."""


class Telnyx:
    """One account: `secret` is its API key, and what its signing key is made of."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "answer"

    def __init__(self, account: Account) -> None:
        self._secret = account.secret
        self._key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(account.secret.encode()).digest())

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        public = base64.b64encode(self._key.public_key().public_bytes_raw()).decode()
        told = {"base_url": base_url, "api_key": "env:CARRIER_SECRET", "public_key": [public]}
        return {"type": "telnyx", **told}, {"CARRIER_SECRET": self._secret}

    def sid_prefix(self, digits: str) -> str:
        return dialect.uuid_prefix(digits)

    def admits(self, request: Request) -> bool:
        return dialect.same(dialect.bearer(request), self._secret)

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != b"/v2/messages":
            return None
        told = dialect.json_object(request.body)
        to, sender, body = (dialect.text_of(told, name) for name in ("to", "from", "text"))
        return Asked(
            to=to,
            sender=sender,
            body=body,
            url=dialect.text_of(told, "webhook_url"),
            service=dialect.text_of(told, "messaging_profile_id"),
            code=dialect.mistake(to, sender, body),
            key=request.head.fields.get(b"idempotency-key", b"").decode("ascii", "replace"),
        )

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        data = _message(sids[0], record.to, record.sender, body, "queued") | {"parts": record.segments}
        return Said(200, msgspec.json.encode({"data": data}))

    def repeated(self, first: Record, sids: list[str], body: str, *, same: bool) -> Said:
        return self.taken(first, sids, body) if same else Said(422, msgspec.json.encode({"errors": [_MISMATCH]}))

    def refused(self, code: int, after_s: float) -> Said:
        status, told, title = CODES.get(code, _OTHER)
        error = {"code": told, "title": title, "detail": f"{title}."}
        return Said(status or 400, msgspec.json.encode({"errors": [error]}), dialect.retry_after(after_s))

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        return None  # there is a message by its id, and nobody asks for one

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        status = {"undelivered": "delivery_failed"}.get(told.status, told.status)
        _, code, title = CODES.get(told.error_code, _OTHER)
        payload = _message(told.sid, told.to, told.sender, "", status)
        payload["errors"] = [{"code": code, "title": title}] if told.error_code else []
        event = "message.sent" if told.status == "sent" else "message.finalized"
        return self._event(event, payload, f"{told.sid}-{told.event}", told.now_us, origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        payload = _message(sid, text.to, text.sender, text.body, "webhook_delivered")
        payload |= {"direction": "inbound", "parts": 1}
        return self._event("message.received", payload, sid, now_us, origin, target)

    def _event(self, kind: str, payload: object, id_: str, now_us: int, origin: Origin, target: str) -> bytes:
        at = datetime.fromtimestamp(now_us / 1e6, UTC).isoformat(timespec="milliseconds")
        data = {"event_type": kind, "id": id_, "occurred_at": at, "payload": payload, "record_type": "event"}
        body, told = msgspec.json.encode({"data": data}), str(now_us // 1_000_000)
        signature = base64.b64encode(self._key.sign(f"{told}|".encode() + body)).decode()
        return dialect.post(
            origin.netloc,
            target,
            body,
            ("Content-Type", "application/json"),
            ("telnyx-timestamp", told),
            ("telnyx-signature-ed25519", signature),
        )


def _message(sid: str, to: str, sender: str, body: str, status: str) -> dict[str, object]:
    return {
        "record_type": "message",
        "direction": "outbound",
        "id": sid,
        "type": "SMS",
        "from": {"phone_number": sender},
        "to": [{"phone_number": to, "status": status}],
        "text": body,
        "errors": [],
    }
