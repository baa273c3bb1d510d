"""Plivo's words, Message API v1: JSON, errors that are a status and a text, forms signed by V3, a receipt per part.

Never does IO and never decides. Written from https://www.plivo.com/docs/messaging/api/messages/ and
https://plivo.com/docs/messaging/troubleshooting/error-codes (2026-11).
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import unquote_plus, urlencode

import msgspec

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

CODES: Mapping[int, tuple[int, str]] = {
    20003: (401, "authentication failed"),
    20404: (404, "not found"),
    20429: (429, "too many requests"),
    20500: (500, "internal server error"),
    20503: (503, "service unavailable"),
    21211: (400, "dst is not a valid phone number"),
    21408: (403, "the destination country is not enabled"),
    21614: (400, "dst cannot receive messages"),
    21617: (400, "text is too long"),
    21602: (400, "text is missing"),
    30003: (0, "80"),
    30005: (0, "70"),
    30006: (0, "50"),
    30007: (0, "30"),
    30008: (0, "420"),
    21610: (0, "200"),
}
"""What Plivo says for the carrier's codes: of answers HTTP status and text, of receipts ErrorCode (error-codes). It
takes a text to who has opted out, and marks it failed (support.plivo.com, "Can I reply to customers who have
opted out?").
"""

_OTHER = (400, "src is not a number of this account")


class Plivo:
    """One account: `user` is its auth id, here made of what it is called, and `secret` its token."""

    per_segment: ClassVar[bool] = True  # though the answer tells the first part's id alone
    opt_outs: ClassVar[OptOuts] = "receipt"

    def __init__(self, account: Account) -> None:
        self._auth_id = f"MA{hashlib.sha256(account.user.encode()).hexdigest()[:18].upper()}"
        self._token = account.secret
        self._credentials = base64.b64encode(f"{self._auth_id}:{account.secret}".encode())
        self._path = f"/v1/Account/{self._auth_id}/Message/".encode()

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told = {"base_url": base_url, "auth_id": self._auth_id, "auth_token": "env:CARRIER_SECRET"}
        return {"type": "plivo", **told}, {"CARRIER_SECRET": self._token}

    def sid_prefix(self, digits: str) -> str:
        return dialect.uuid_prefix(digits)

    def admits(self, request: Request) -> bool:
        return hmac.compare_digest(request.head.basic, self._credentials)

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != self._path:
            return None
        told = dialect.json_object(request.body)
        to, sender, body = (dialect.text_of(told, name) for name in ("dst", "src", "text"))
        to = dialect.plus(to)
        return Asked(
            to=to,
            sender=dialect.plus(sender),
            body=body,
            url=dialect.text_of(told, "url"),
            service=dialect.text_of(told, "powerpack_uuid"),
            code=dialect.mistake(to, dialect.plus(sender), body),
        )

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        told = {"api_id": sids[0], "message": "message(s) queued", "message_uuid": [sids[0]]}
        return Said(202, msgspec.json.encode(told))

    def refused(self, code: int, after_s: float) -> Said:
        status, text = CODES.get(code, _OTHER)
        body = msgspec.json.encode({"api_id": "58dee5ae", "error": text})
        return Said(status or 400, body, dialect.retry_after(after_s))

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        return None  # there is a list of messages without their texts, and nobody asks for it

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        fields = {
            "From": told.sender.removeprefix("+"),
            "To": told.to[1:],
            "MessageUUID": told.sid,
            "ParentMessageUUID": told.parent,
            "PartInfo": f"{told.segment} of {told.segments}",
            "Status": told.status,
            "ErrorCode": CODES.get(told.error_code, _OTHER)[1] if told.error_code else "000",
            "Units": "1",
            "TotalRate": "0.0045",
            "TotalAmount": "0.0045",
        }
        return self._post(fields, f"{told.now_us}{told.event}", url, origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        fields = {
            "From": text.sender.removeprefix("+"),
            "To": text.to.removeprefix("+"),
            "Type": "sms",
            "Text": text.body,
            "MessageUUID": sid,
            "Units": "1",
        }
        return self._post(fields, str(now_us), text.url, origin, target)

    def _post(self, fields: Mapping[str, str], nonce: str, url: str, origin: Origin, target: str) -> bytes:
        base, _, query = url.partition("#")[0].partition("?")
        asked = sorted(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
        told = "&".join(f"{name}={unquote_plus(value)}" for name, value in asked)
        run = "".join(f"{name}{fields[name]}" for name in sorted(fields))
        signed = f"{base}?{told}{'.' if told else ''}{run}.{nonce}"
        digest = hmac.new(self._token.encode(), signed.encode(), hashlib.sha256).digest()
        return dialect.post(
            origin.netloc,
            target,
            urlencode(fields).encode(),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Plivo-Signature-V3", base64.b64encode(digest).decode()),
            ("X-Plivo-Signature-V3-Nonce", nonce),
        )
