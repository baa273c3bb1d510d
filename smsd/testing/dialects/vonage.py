"""The words of Vonage's Messages API, v1: JSON, problems by RFC 9457, callbacks with a token over their hash.

Never does IO and never decides. Written from https://developer.vonage.com/en/api/messages and
https://developer.vonage.com/en/getting-started/concepts/webhooks (2026-11).
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
    20003: (401, "#unauthorized", "Unauthorized"),
    20404: (404, "#not-found", "Not Found"),
    20429: (429, "#throttled", "Rate Limit Hit"),
    20500: (500, "/messages#1030", "Internal error"),
    20503: (503, "/messages#1030", "Internal error"),
    21211: (422, "/messages#1170", "Invalid recipient"),
    21408: (422, "/messages#1251", "Unable to route traffic to a destination"),
    21614: (422, "/messages#1310", "Not suitable device"),
    21617: (422, "/messages#1090", "Message too long"),
    21602: (422, "/messages#1010", "Missing params"),
    30003: (0, "/messages#1260", "Destination unreachable"),
    30005: (0, "/messages#1190", "Absent Subscriber Permanent"),
    30006: (0, "/messages#1250", "Unroutable"),
    30007: (0, "/messages#1210", "Anti-Spam Rejection"),
    30008: (0, "/messages#1360", "TTL was activated, or message expired before delivered"),
    21610: (0, "/messages#1240", "Illegal Number"),
}
"""What Vonage says for the carrier's codes: HTTP status, the end of the type of a problem, title (api/messages). Who
has opted out is told of in status callbacks
(https://developer.vonage.com/en/opt-out-assist/guides/messaging-opted-out-numbers).
"""

_OTHER = (422, "/messages#1120", "Illegal Sender Address - rejected")
_TYPE = "https://developer.vonage.com/api-errors"


class Vonage:
    """One account: `user` is its API key, `secret` its secret, and what its signature secret is made of."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "receipt"

    def __init__(self, account: Account) -> None:
        self._user, self._secret = account.user, account.secret
        self._credentials = base64.b64encode(f"{account.user}:{account.secret}".encode())
        self._key = hashlib.sha256(account.secret.encode()).hexdigest()

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told = {"base_url": base_url, "api_key": "env:CARRIER_USER", "api_secret": "env:CARRIER_SECRET"}
        env = {"CARRIER_USER": self._user, "CARRIER_SECRET": self._secret, "CARRIER_KEY": self._key}
        return {"type": "vonage", **told, "signature_secret": ["env:CARRIER_KEY"]}, env

    def sid_prefix(self, digits: str) -> str:
        return dialect.uuid_prefix(digits)

    def admits(self, request: Request) -> bool:
        return hmac.compare_digest(request.head.basic, self._credentials)

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != b"/v1/messages":
            return None
        told = dialect.json_object(request.body)
        to, sender, body = (dialect.text_of(told, name) for name in ("to", "from", "text"))
        to, sender = f"+{to}", dialect.plus(sender)
        code = dialect.mistake(to, sender, body, 3200)
        if (told.get("channel"), told.get("message_type")) != ("sms", "text"):
            code = 21602
        return Asked(
            to=to,
            sender=sender,
            body=body,
            url=dialect.text_of(told, "webhook_url"),
            reference=dialect.text_of(told, "client_ref"),
            code=code,
        )

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        return Said(202, msgspec.json.encode({"message_uuid": sids[0]}))

    def refused(self, code: int, after_s: float) -> Said:
        status, _, _ = CODES.get(code, _OTHER)
        body = msgspec.json.encode(_problem(code))
        return Said(status or 422, body, dialect.retry_after(after_s), b"application/problem+json")

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        return None  # nothing can be asked for

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        failed = "rejected" if told.error_code in (30007, 21610) else "undeliverable"
        said: dict[str, object] = {
            "message_uuid": told.sid,
            "to": told.to[1:],
            "from": told.sender.removeprefix("+"),
            "timestamp": _at(told.done_us or told.now_us),
            "channel": "sms",
            "client_ref": told.reference,
            "status": {"sent": "submitted", "undelivered": failed}.get(told.status, told.status),
        }
        if told.error_code:
            said["error"] = _problem(told.error_code)
        return self._post(said, f"{told.sid}-{told.event}", told.now_us, origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        said: dict[str, object] = {
            "channel": "sms",
            "message_uuid": sid,
            "to": text.to.removeprefix("+"),
            "from": text.sender.removeprefix("+"),
            "timestamp": _at(now_us),
            "message_type": "text",
            "text": text.body,
            "sms": {"num_messages": "1"},
        }
        return self._post(said, sid, now_us, origin, target)

    def _post(self, said: Mapping[str, object], id_: str, now_us: int, origin: Origin, target: str) -> bytes:
        body = msgspec.json.encode(said)
        claims = {
            "iat": now_us // 1_000_000,
            "jti": id_,
            "iss": "Vonage",
            "payload_hash": hashlib.sha256(body).hexdigest(),
            "api_key": self._user,
        }
        authorization = ("Authorization", f"Bearer {dialect.token(self._key, claims)}")
        return dialect.post(origin.netloc, target, body, ("Content-Type", "application/json"), authorization)


def _problem(code: int) -> dict[str, str]:
    _, kind, title = CODES.get(code, _OTHER)
    return {"type": _TYPE + kind, "title": title, "detail": f"{title}.", "instance": "bf0ca0bf927b3b52e3cb03217e1a1ddf"}


def _at(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03}Z"
