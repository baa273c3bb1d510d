"""The words of Vonage's older SMS API: a form, rows of segments inside a 200, callbacks signed over their fields.

Never does IO and never decides. Written from https://developer.vonage.com/en/api/sms and
https://developer.vonage.com/en/getting-started/concepts/signing-messages (2026-11).
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

import msgspec

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

CODES: Mapping[int, tuple[int, str, str]] = {
    20003: (200, "4", "Bad Credentials"),
    20404: (404, "", "Not Found"),
    20429: (200, "1", "Throughput Rate Exceeded - please wait and retry"),
    20500: (200, "5", "Internal Error"),
    20503: (503, "5", "Internal Error"),
    21211: (200, "6", "Unroutable message - rejected"),
    21408: (200, "29", "Non White-listed Destination - rejected"),
    21614: (200, "33", "Number De-activated"),
    21617: (200, "12", "Message too long"),
    21602: (200, "2", "Missing text"),
    30003: (0, "12", "failed"),
    30005: (0, "3", "failed"),
    30006: (0, "11", "failed"),
    30007: (0, "6", "rejected"),
    30008: (0, "99", "expired"),
    21610: (0, "9", "failed"),
}
"""What Vonage says for the carrier's codes: of answers HTTP status, status and text (api/sms, errors), of receipts
err-code and status (guides/delivery-receipts). Who has opted out is told of in receipts
(https://developer.vonage.com/en/opt-out-assist/guides/messaging-opted-out-numbers).
"""

_OTHER = (200, "15", "Illegal Sender Address - rejected")


class VonageSms:
    """One account: `user` is its API key, `secret` its secret, and what its signature secret is made of."""

    per_segment: ClassVar[bool] = True
    opt_outs: ClassVar[OptOuts] = "receipt"

    def __init__(self, account: Account) -> None:
        self._user, self._secret = account.user, account.secret
        self._credentials = base64.b64encode(f"{account.user}:{account.secret}".encode())
        self._key = hashlib.sha256(account.secret.encode()).hexdigest()[:32]

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told = {"base_url": base_url, "api_key": "env:CARRIER_USER", "api_secret": "env:CARRIER_SECRET"}
        env = {"CARRIER_USER": self._user, "CARRIER_SECRET": self._secret, "CARRIER_KEY": self._key}
        return {"type": "vonage-sms", **told, "signature_secret": ["env:CARRIER_KEY"]}, env

    def sid_prefix(self, digits: str) -> str:
        return f"0A{digits}"

    def admits(self, request: Request) -> bool:
        return hmac.compare_digest(request.head.basic, self._credentials)

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != b"/sms/json":
            return None
        told = dialect.form(request.body)
        to, sender, body = (told.get(name, "") for name in ("to", "from", "text"))
        to, sender = f"+{to}", dialect.plus(sender)
        reference, url = told.get("client-ref", ""), told.get("callback", "")
        too_long = max(len(reference), len(url)) > 100
        code = dialect.mistake(to, sender, body, 3200) or (21609 if too_long else 0)
        return Asked(to=to, sender=sender, body=body, url=url, reference=reference, code=code)

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        told = {"to": record.to[1:], "status": "0", "remaining-balance": "3.14", "message-price": "0.03"}
        return _said(200, [{**told, "message-id": sid, "client-ref": record.reference} for sid in sids])

    def refused(self, code: int, after_s: float) -> Said:
        http, status, text = CODES.get(code, _OTHER)
        return _said(http or 200, [{"status": status, "error-text": text}], dialect.retry_after(after_s))

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        return None  # there is a search by the message's id, and nobody asks for one

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        _, code, failed = CODES.get(told.error_code, _OTHER)
        done = datetime.fromtimestamp((told.done_us or told.now_us) / 1e6, UTC)
        fields = {
            "msisdn": told.to[1:],
            "to": told.sender.removeprefix("+"),
            "network-code": "23410",
            "messageId": told.sid,
            "price": "0.03330000",
            "status": {"sent": "accepted", "undelivered": failed}.get(told.status, told.status),
            "scts": f"{done:%y%m%d%H%M}",
            "err-code": code if told.error_code else "0",
            "client-ref": told.reference,
        }
        return self._post(fields, f"{told.sid}-{told.event}", told.now_us, origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        fields = {
            "msisdn": text.sender.removeprefix("+"),
            "to": text.to.removeprefix("+"),
            "messageId": sid,
            "text": text.body,
            "type": "unicode",
            "keyword": text.body.split(maxsplit=1)[0].upper() if text.body.split() else "",
        }
        return self._post(fields, sid, now_us, origin, target)

    def _post(self, fields: Mapping[str, str], nonce: str, now_us: int, origin: Origin, target: str) -> bytes:
        at = datetime.fromtimestamp(now_us / 1e6, UTC)
        signed = {
            **fields,
            "api-key": self._user,
            "message-timestamp": f"{at:%Y-%m-%d %H:%M:%S}",
            "timestamp": str(now_us // 1_000_000),
            "nonce": nonce,
        }
        text = "".join(f"&{name}={signed[name].translate({38: '_', 61: '_'})}" for name in sorted(signed))
        signed["sig"] = hmac.new(self._key.encode(), text.encode(), "sha256").hexdigest()
        return dialect.post(origin.netloc, target, msgspec.json.encode(signed), ("Content-Type", "application/json"))


def _said(http: int, rows: list[dict[str, str]], headers: bytes = b"") -> Said:
    return Said(http, msgspec.json.encode({"message-count": str(len(rows)), "messages": rows}), headers)
