"""Sinch's words, XMS v1: batches by JSON, a listing by client reference, reports signed over body, nonce and time; by a
service plan's token, or by a project's access tokens (https://developers.sinch.com/docs/accesskeys/api-reference).

Never does IO and never decides. Written from https://developers.sinch.com/docs/sms/api-reference/sms/tag/Batches and
https://developers.sinch.com/docs/sms/api-reference/sms/tag/Delivery-reports (2026-11).
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, cast

import msgspec

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

CODES: Mapping[int, tuple[int, str, str]] = {
    20003: (401, "unauthorized", "The token is not the plan's"),
    20404: (404, "not_found", "The resource was not found"),
    20429: (429, "too_many_requests", "Too many requests"),
    20500: (500, "internal_error", "Internal error"),
    20503: (503, "unavailable", "Service unavailable"),
    21211: (400, "syntax_invalid_parameter_format", "to: is no MSISDN"),
    21408: (400, "syntax_constraint_violation", "to: the region is not allowed"),
    21614: (400, "syntax_invalid_parameter_format", "to: is no mobile"),
    21617: (400, "syntax_constraint_violation", "body: is too long"),
    21602: (400, "syntax_constraint_violation", "body: is missing"),
    30003: (404, "Aborted", ""),
    30005: (402, "Rejected", ""),
    30006: (402, "Aborted", ""),
    30007: (62, "Failed", ""),
    30008: (406, "Expired", ""),
    21610: (408, "Deleted", ""),
}
"""What Sinch says for the carrier's codes: of answers HTTP status, code and text, of receipts code and status
(Batches; Delivery-reports, delivery report error codes). Of an opt-out it has no word of its own: Deleted is "an
invalid MSISDN or opted out subscriber" (Delivery-reports, statuses).
"""

_OTHER = (403, "unknown_campaign", "from: is not the campaign's")


class Sinch:
    """One service plan: `user` is its id, `secret` its token, and what its webhook secret is made of."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "untold"

    def __init__(self, account: Account) -> None:
        self._secret, self._plan = account.secret, account.user
        self._batches = f"/xms/v1/{account.user}/batches".encode()
        self._key = hashlib.sha256(account.secret.encode()).hexdigest()

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told = {"base_url": base_url, "service_plan_id": self._plan, "api_token": "env:CARRIER_SECRET"}
        env = {"CARRIER_SECRET": self._secret, "CARRIER_KEY": self._key}
        return {"type": "sinch", **told, "webhook_secret": ["env:CARRIER_KEY"]}, env

    def sid_prefix(self, digits: str) -> str:
        return f"01{digits}"

    def admits(self, request: Request) -> bool:
        return dialect.same(dialect.bearer(request), self._secret)

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != self._batches:
            return None
        told = dialect.json_object(request.body)
        numbers = told.get("to")
        all_to = cast("list[object]", numbers) if isinstance(numbers, list) else []
        to = f"+{all_to[0]}" if len(all_to) == 1 else ""
        sender, body = dialect.plus(dialect.text_of(told, "from")), dialect.text_of(told, "body")
        return Asked(
            to=to,
            sender=sender,
            body=body,
            url=dialect.text_of(told, "callback_url"),
            reference=dialect.text_of(told, "client_reference"),
            code=dialect.mistake(to, sender, body, 2000),
        )

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        return Said(201, msgspec.json.encode(_batch(record, sids[0], body)))

    def refused(self, code: int, after_s: float) -> Said:
        status, told, text = CODES.get(code, _OTHER)
        return Said(status, msgspec.json.encode({"code": told, "text": text}), dialect.retry_after(after_s))

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        if request.head.path != self._batches:
            return None
        asked = dialect.form(request.head.query)
        record = ledger.of_reference(asked.get("client_reference", ""))
        from_us = datetime.fromisoformat(asked["start_date"]).timestamp() * 1e6 if "start_date" in asked else 0
        there = record is not None and from_us <= record.at_us <= until_us
        batches = [_batch(record, ledger.sid(record), record.body)] if record is not None and there else []
        return Said(200, msgspec.json.encode({"count": len(batches), "page": 0, "page_size": 10, "batches": batches}))

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        code, failed, _ = CODES.get(told.error_code, _OTHER)
        report: dict[str, object] = {
            "type": "recipient_delivery_report_sms",
            "batch_id": told.sid,
            "recipient": told.to[1:],
            "code": code if told.error_code else 401 if told.status == "sent" else 0,
            "status": {"sent": "Dispatched", "delivered": "Delivered"}.get(told.status, failed),
            "at": _at(told.now_us),
            "client_reference": told.reference,
        }
        return self._post(report, f"{told.sid}-{told.event}", told.now_us, origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        told: dict[str, object] = {
            "type": "mo_text",
            "id": sid,
            "from": text.sender.removeprefix("+"),
            "to": text.to.removeprefix("+"),
            "body": text.body,
            "received_at": _at(now_us),
        }
        return self._post(told, sid, now_us, origin, target)

    def _post(self, told: Mapping[str, object], nonce: str, now_us: int, origin: Origin, target: str) -> bytes:
        body, at = msgspec.json.encode(told), str(now_us // 1_000_000)
        signed = b".".join((body, nonce.encode(), at.encode()))
        signature = base64.b64encode(hmac.new(self._key.encode(), signed, hashlib.sha256).digest()).decode()
        return dialect.post(
            origin.netloc,
            target,
            body,
            ("Content-Type", "application/json"),
            ("x-sinch-webhook-signature", signature),
            ("x-sinch-webhook-signature-nonce", nonce),
            ("x-sinch-webhook-signature-timestamp", at),
            ("x-sinch-webhook-signature-algorithm", "HmacSHA256"),
        )


class SinchProject(Sinch):
    """A project's access key: `user` is its id and the project's, `secret` what is secret of it."""

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._account = account

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told, env = super().options(base_url)
        key = {
            "project_id": self._plan,
            "key_id": self._plan,
            "key_secret": told.pop("api_token"),
            "auth_url": base_url,
        }
        del told["service_plan_id"]
        return told | key, env

    def granted(self, request: Request) -> Said | None:
        asked = request.head.path == b"/oauth2/token"
        return dialect.grant(request, self._account, time.time_ns() // 1000) if asked else None

    def admits(self, request: Request) -> bool:
        return dialect.holds(request, self._account, time.time_ns() // 1000)


def _batch(record: Record, sid: str, body: str) -> dict[str, object]:
    return {
        "id": sid,
        "to": [record.to[1:]],
        "from": record.sender.removeprefix("+"),
        "canceled": False,
        "body": body,
        "type": "mt_text",
        "client_reference": record.reference,
        "created_at": _at(record.at_us),
        "modified_at": _at(record.at_us),
    }


def _at(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03}Z"
