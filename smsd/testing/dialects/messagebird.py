"""The words of MessageBird's older SMS API: JSON, errors as a list, receipts by GET with a token over their URL.

Never does IO and never decides. Written from https://developers.messagebird.com/api/sms-messaging and
https://github.com/messagebird/python-rest-api, 2.2.0 (2026-11).
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, cast
from urllib.parse import urlencode

import msgspec

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

CODES: Mapping[int, tuple[int, int, str]] = {
    20003: (401, 2, "access_key"),
    20404: (404, 20, ""),
    20429: (429, 0, ""),
    20500: (500, 99, ""),
    20503: (503, 99, ""),
    21211: (422, 10, "recipients"),
    21408: (422, 21, ""),
    21614: (422, 10, "recipient"),
    21617: (422, 10, "body"),
    21602: (422, 9, "body"),
    30003: (0, 27, "unavailable subscriber"),
    30005: (0, 1, "unknown subscriber"),
    30006: (0, 0, "incorrect number"),
    30007: (0, 0, "carrier rejected"),
    30008: (0, 0, "expired"),
    21610: (0, 0, "opted out"),
}
"""What MessageBird says for the carrier's codes: of answers HTTP status, code and parameter, of receipts code (0: none)
and reason, of which some, "opted out" too, are from memory.
"""

_OTHER = (422, 10, "originator")


class MessageBird:
    """One account: `secret` is its access key, and what its signing key is made of."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "receipt"

    def __init__(self, account: Account) -> None:
        self._secret = account.secret
        self._key = hashlib.sha256(account.secret.encode()).hexdigest()[:32]

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told = {"base_url": base_url, "access_key": "env:CARRIER_SECRET", "signing_key": ["env:CARRIER_KEY"]}
        return {"type": "messagebird", **told}, {"CARRIER_SECRET": self._secret, "CARRIER_KEY": self._key}

    def sid_prefix(self, digits: str) -> str:
        return digits

    def admits(self, request: Request) -> bool:
        scheme, _, key = request.head.fields.get(b"authorization", b"").decode("ascii", "replace").partition(" ")
        return scheme == "AccessKey" and dialect.same(key, self._secret)

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != b"/messages":
            return None
        told = dialect.json_object(request.body)
        numbers = told.get("recipients")
        all_to = cast("list[object]", numbers) if isinstance(numbers, list) else []
        to = f"+{all_to[0]}" if len(all_to) == 1 else ""
        sender, body = dialect.plus(dialect.text_of(told, "originator")), dialect.text_of(told, "body")
        return Asked(
            to=to,
            sender=sender,
            body=body,
            url=dialect.text_of(told, "reportUrl"),
            reference=dialect.text_of(told, "reference"),
            code=dialect.mistake(to, sender, body),
        )

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        item = {"recipient": int(record.to[1:]), "status": "sent", "messagePartCount": record.segments}
        told = {
            "id": sids[0],
            "originator": record.sender.removeprefix("+"),
            "body": body,
            "reference": record.reference,
            "recipients": {"totalCount": 1, "totalSentCount": 1, "items": [item]},
        }
        return Said(201, msgspec.json.encode(told))

    def refused(self, code: int, after_s: float) -> Said:
        status, told, about = CODES.get(code, _OTHER)
        error = {"code": told, "description": f"{about or 'request'} is not right", "parameter": about or None}
        return Said(status, msgspec.json.encode({"errors": [error]}), dialect.retry_after(after_s))

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        return None  # there is a message by its id, and nobody asks for one

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        _, code, why = CODES.get(told.error_code, _OTHER) if told.error_code else (0, 0, "successfully delivered")
        fields = {
            "id": told.sid,
            "reference": told.reference,
            "recipient": told.to[1:],
            "status": "delivery_failed" if told.status == "undelivered" else told.status,
            "statusDatetime": _at(told.done_us or told.now_us),
            "statusReason": why,
            "messagePartCount": "1",
        }
        if code:
            fields["statusErrorCode"] = str(code)
        mark = "&" if "?" in target else "?"
        more = f"{mark}{urlencode(fields)}"
        return self._call("GET", url.partition("#")[0] + more, b"", told.now_us, origin, target + more)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        fields = {
            "id": sid,
            "originator": text.sender.removeprefix("+"),
            "recipient": text.to.removeprefix("+"),
            "body": text.body,
            "createdDatetime": _at(now_us),
        }
        return self._call("POST", text.url.partition("#")[0], urlencode(fields).encode(), now_us, origin, target)

    def _call(self, method: str, url: str, body: bytes, now_us: int, origin: Origin, target: str) -> bytes:
        now_s = now_us // 1_000_000
        claims: dict[str, object] = {
            "iss": "MessageBird",
            "nbf": now_s - 1,
            "exp": now_s + 60,
            "jti": hashlib.sha256(url.encode() + body).hexdigest(),
            "url_hash": hashlib.sha256(url.encode()).hexdigest(),
        }
        if body:
            claims["payload_hash"] = hashlib.sha256(body).hexdigest()
        proof = ("MessageBird-Signature-JWT", dialect.token(self._key, claims))
        content = [("Content-Type", "application/x-www-form-urlencoded")] if body else []
        return dialect.post(origin.netloc, target, body, *content, proof, method=method)


def _at(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%S+00:00}"
