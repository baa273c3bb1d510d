"""Bandwidth's words, API v2: JSON, callbacks in lists to the application's own URL, proven by Basic authentication.

Never does IO and never decides. Written from https://dev.bandwidth.com/apis/messaging-apis/messaging and
https://dev.bandwidth.com/docs/messaging/errors (2026-11).
"""

import base64
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, cast

import msgspec

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

CODES: Mapping[int, tuple[int, str, str]] = {
    20003: (401, "unauthorized", ""),
    20404: (404, "not-found", ""),
    20429: (429, "max-message-queue-size-exceeded", ""),
    20500: (500, "internal-server-error", ""),
    20503: (503, "service-unavailable", ""),
    21211: (400, "request-validation", "to"),
    21408: (400, "request-validation", "to"),
    21614: (400, "request-validation", "to"),
    21617: (400, "request-validation", "text"),
    21602: (400, "request-validation", "text"),
    30003: (4702, "destination-subscriber-unavailable", ""),
    30005: (4720, "invalid-destination-address", ""),
    30006: (4721, "destination-tn-deactivated", ""),
    30007: (4770, "destination-spam-detected", ""),
    30008: (9999, "unknown-error", ""),
    21610: (4775, "destination-opted-out", ""),
}
"""What Bandwidth says for the carrier's codes: of answers HTTP status, type and the field at fault; of receipts
errorCode and description. It knows an opt-out only when the carrier has refused the text for it.
"""

_OTHER = (400, "request-validation", "from")
_APPLICATION = "93de2206-9669-4e07-948d-329f4b722ee2"
_ACCOUNT = "9900000"
_EVENTS = {"undelivered": "message-failed"}


class Bandwidth:
    """One application: `user` and `secret` are its credentials, for its callbacks as well."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "receipt"

    def __init__(self, account: Account) -> None:
        self._user, self._secret = account.user, account.secret
        self._credentials = base64.b64encode(f"{account.user}:{account.secret}".encode())

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told: dict[str, object] = {
            "type": "bandwidth",
            "base_url": f"{base_url}/api/v2",
            "account_id": _ACCOUNT,
            "application_id": _APPLICATION,
            "user": self._user,
            "password": "env:CARRIER_SECRET",
            "callbacks": {"by": "basic", "name": self._user, "secrets": ["env:CARRIER_SECRET"]},
        }
        return told, {"CARRIER_SECRET": self._secret}

    def sid_prefix(self, digits: str) -> str:
        return f"16{digits}"

    def admits(self, request: Request) -> bool:
        return hmac.compare_digest(request.head.basic, self._credentials)

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != f"/api/v2/users/{_ACCOUNT}/messages".encode():
            return None
        told = dialect.json_object(request.body)
        sender, body = dialect.text_of(told, "from"), dialect.text_of(told, "text")
        numbers = told.get("to")
        to = [str(one) for one in cast("list[object]", numbers)] if isinstance(numbers, list) else []
        code = dialect.mistake(to[0] if len(to) == 1 else "", sender, body, 2048)
        if dialect.text_of(told, "applicationId") != _APPLICATION:
            code = 20404
        return Asked(to="".join(to), sender=sender, body=body, reference=dialect.text_of(told, "tag"), code=code)

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        message = _message(sids[0], record.to, record.sender, record.reference, record.segments, record.at_us)
        return Said(202, msgspec.json.encode(message | {"text": body, "priority": "default"}))

    def refused(self, code: int, after_s: float) -> Said:
        status, kind, field = CODES.get(code, _OTHER)
        told: dict[str, object] = {"type": kind, "description": "Your request could not be accepted."}
        if field:
            told["fieldErrors"] = [{"fieldName": field, "description": f"'{field}' is not right"}]
        return Said(status, msgspec.json.encode(told), dialect.retry_after(after_s))

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        return None  # there is a list, and nothing in it that a message could be known by

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        event: dict[str, object] = {
            "time": _at(told.done_us or told.now_us),
            "type": _EVENTS.get(told.status, f"message-{told.status}"),
            "to": told.to,
            "description": "ok",
            "message": _message(told.parent, told.to, told.sender, told.reference, told.segments, told.now_us),
        }
        if told.error_code:
            code, description, _ = CODES[told.error_code]
            event |= {"errorCode": code, "description": description}
        return self._post(event, origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        message = _message(sid, text.to, text.sender, "", 1, now_us) | {"direction": "in", "text": text.body}
        event = {"time": _at(now_us), "type": "message-received", "to": text.to, "description": "Incoming message"}
        return self._post({**event, "message": {**message, "owner": text.to}}, origin, target)

    def _post(self, event: Mapping[str, object], origin: Origin, target: str) -> bytes:
        proof = ("Authorization", f"Basic {self._credentials.decode()}")
        content = ("Content-Type", "application/json; charset=utf-8")
        return dialect.post(origin.netloc, target, msgspec.json.encode([event]), content, proof)


def _message(sid: str, to: str, sender: str, tag: str, segments: int, at_us: int) -> dict[str, object]:
    return {
        "id": sid,
        "owner": sender,
        "applicationId": _APPLICATION,
        "time": _at(at_us),
        "segmentCount": segments,
        "direction": "out",
        "to": [to],
        "from": sender,
        "text": "",
        "tag": tag,
    }


def _at(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
