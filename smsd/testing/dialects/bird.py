"""The words of Bird's platform API, v1: JSON, typed errors, a list by cursor, events as Standard Webhooks.

Never does IO and never decides. Written from https://github.com/bird/bird-sdk-python, 0.106.0, and
https://www.standardwebhooks.com (2026-11).
"""

import base64
import hashlib
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
    20003: (401, "auth_error", ""),
    20404: (404, "not_found_error", ""),
    20429: (429, "rate_limit_error", ""),
    20500: (500, "internal_error", ""),
    20503: (503, "service_unavailable_error", ""),
    21211: (422, "validation_error", "invalid_destination"),
    21408: (422, "validation_error", "country_not_enabled"),
    21614: (422, "validation_error", "landline_unreachable"),
    21617: (422, "validation_error", "text_too_long"),
    21602: (422, "validation_error", "text_required"),
    30003: (0, "sms.undelivered", "unreachable"),
    30005: (0, "sms.undelivered", "invalid_destination"),
    30006: (0, "sms.failed", "landline_unreachable"),
    30007: (0, "sms.rejected", "blocked_by_fraud_protection"),
    30008: (0, "sms.expired", "unknown"),
    21610: (0, "sms.rejected", "recipient_opted_out"),
}
"""What Bird says for the carrier's codes: of answers HTTP status, type and code, of events type and code."""

_OTHER = (422, "validation_error", "sender_unregistered")
PAGE_SIZE = 20


class Bird:
    """One workspace: `secret` is what its API key and its webhook secret are made of."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "receipt"

    def __init__(self, account: Account) -> None:
        self._api_key = f"bk_eu1_{account.secret}"
        self._secret = hashlib.sha256(account.secret.encode()).digest()

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told = {"base_url": base_url, "api_key": "env:CARRIER_SECRET", "webhook_secret": ["env:CARRIER_KEY"]}
        secret = f"whsec_{base64.b64encode(self._secret).decode()}"
        return {"type": "bird", **told}, {"CARRIER_SECRET": self._api_key, "CARRIER_KEY": secret}

    def sid_prefix(self, digits: str) -> str:
        return f"sms_{digits}"

    def admits(self, request: Request) -> bool:
        return dialect.same(dialect.bearer(request), self._api_key)

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != b"/v1/sms/messages":
            return None
        told = dialect.json_object(request.body)
        to, sender, body = (dialect.text_of(told, name) for name in ("to", "from", "text"))
        code = dialect.mistake(to, sender, body)
        if told.get("category") not in ("transactional", "marketing", "authentication", "service"):
            code = 21602
        metadata = told.get("metadata")
        reference = dialect.text_of(cast("dict[str, object]", metadata), "ref") if isinstance(metadata, dict) else ""
        return Asked(to=to, sender=sender, body=body, reference=reference, code=code)

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        return Said(202, msgspec.json.encode(_message(record, sids[0], body, "accepted")))

    def refused(self, code: int, after_s: float) -> Said:
        status, kind, told = CODES.get(code, _OTHER)
        error = {"type": kind, "code": told or None, "message": f"{kind}.", "request_id": "req_1"}
        return Said(status, msgspec.json.encode({"error": error}), dialect.retry_after(after_s))

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        if request.head.path != b"/v1/sms/messages":
            return None
        asked = dialect.form(request.head.query)
        after = ledger.find(asked.get("starting_after", "")) if "starting_after" in asked else None
        from_us = datetime.fromisoformat(asked["created_after"]).timestamp() * 1e6 if "created_after" in asked else 0
        found = [
            record
            for record in ledger.newest_first(asked.get("to", ""))
            if from_us <= record.at_us <= until_us and (after is None or record.n < after.n)
        ]
        shown = found[:PAGE_SIZE]
        rows = [_message(one, ledger.sid(one), one.body, _status(one.status(now_us), one.error_code)) for one in shown]
        cursor = ledger.sid(shown[-1]) if len(found) > PAGE_SIZE else None
        return Said(200, msgspec.json.encode({"data": rows, "next_cursor": cursor}))

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        data = _data(told.sid, told.to, told.sender, told.reference)
        if told.error_code:
            code = CODES.get(told.error_code, _OTHER)[2]
            data["error"] = {"code": code, "description": f"{code}.", "occurred_at": _at(told.now_us)}
        kind = f"sms.{_status(told.status, told.error_code)}"
        return self._event(kind, data, f"msg_{told.sid}-{told.event}", told.now_us, origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        data = _data(sid, text.to, text.sender, "") | {
            "text": text.body,
            "segments": {"count": 1, "encoding": "UCS_2", "characters": len(text.body)},
        }
        return self._event("sms.received", data, f"msg_{sid}", now_us, origin, target)

    def _event(self, kind: str, data: object, id_: str, now_us: int, origin: Origin, target: str) -> bytes:
        body = msgspec.json.encode({"type": kind, "timestamp": _at(now_us), "data": data})
        at = str(now_us // 1_000_000)
        signed = b".".join((id_.encode(), at.encode(), body))
        signature = base64.b64encode(hmac.new(self._secret, signed, hashlib.sha256).digest()).decode()
        return dialect.post(
            origin.netloc,
            target,
            body,
            ("Content-Type", "application/json"),
            ("webhook-id", id_),
            ("webhook-timestamp", at),
            ("webhook-signature", f"v1,{signature}"),
        )


def _status(status: str, error_code: int) -> str:
    """A carrier's status in Bird's words."""
    if status == "undelivered":
        return CODES.get(error_code, _OTHER)[1].removeprefix("sms.")
    return "accepted" if status == "queued" else status


def _message(record: Record, sid: str, body: str, status: str) -> dict[str, object]:
    return {
        "id": sid,
        "direction": "outbound",
        "status": status,
        "to": record.to,
        "from": record.sender,
        "text": body,
        "segments": {"count": record.segments, "encoding": "GSM_7BIT", "characters": len(body)},
        "metadata": {"ref": record.reference},
        "created_at": _at(record.at_us),
    }


def _data(sid: str, to: str, sender: str, reference: str) -> dict[str, object]:
    return {
        "sms_id": sid,
        "workspace_id": "ws_01krdgeqcxet5s7t44vh8rt9mg",
        "to": to,
        "from": sender,
        "tags": None,
        "metadata": {"ref": reference} if reference else None,
    }


def _at(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03}Z"
