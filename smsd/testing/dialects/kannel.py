"""Kannel's words: sendsms by GET or POST, answers in plain text, receipts by a GET of dlr-url with its escapes filled.

Never does IO and never decides. Written from https://www.kannel.org/download/1.5.0/userguide-1.5.0/userguide.html and
gw/smsbox.c (2026-11).
"""

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote_plus

from smsd.testing import carrier_dialect as dialect
from smsd.testing.carrier_dialect import Account, Asked, OptOuts, Origin, Said, Text, Told
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

CODES: Mapping[int, tuple[int, str]] = {
    20003: (403, "Authorization failed for sendsms"),
    20404: (404, "Unknown request.\n"),
    20429: (429, "Too many requests"),
    20500: (500, "Sending failed."),
    20503: (503, "<html><body>Service Unavailable</body></html>"),
    21211: (400, "Empty receiver number not allowed, rejected"),
    21408: (403, "Not routable. Do not try again."),
    21614: (400, "Number(s) has/have been denied by white- and/or black-lists."),
    21617: (400, "Charset or body misformed, rejected"),
    21602: (400, "Charset or body misformed, rejected"),
    30003: (2, "id:1 sub:001 dlvrd:000 submit date:2611281000 done date:2611281001 stat:UNDELIV err:027 text:"),
    30005: (16, "NACK/0x0000000b/Invalid Destination Address"),
    30006: (2, "id:1 sub:001 dlvrd:000 submit date:2611281000 done date:2611281001 stat:UNDELIV err:011 text:"),
    30007: (16, "NACK/0x00000045/submit_sm or submit_multi failed"),
    30008: (34, "id:1 sub:001 dlvrd:000 submit date:2611281000 done date:2611281001 stat:EXPIRED err:000 text:"),
    21610: (2, "id:1 sub:001 dlvrd:000 submit date:2611281000 done date:2611281001 stat:UNDELIV err:000 text:"),
}
"""What Kannel says for the carrier's codes: of answers HTTP status and text, of receipts the escapes %d and %A. A 429
comes of a gateway that only speaks like it, a 503 of a proxy: Kannel's own says that nothing was taken, and the carrier
says 503 after it has taken a text as well. Of opt-outs it knows nothing: a network that does says no like any other.
"""

_OTHER = (400, "Sender missing and no global set, rejected")
_ESCAPES = {"sent": (8, "ACK/"), "delivered": (1, "stat:DELIVRD err:000")}


class Kannel:
    """One user: `secret` is the password, and what guards the callbacks."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "untold"

    def __init__(self, account: Account) -> None:
        self._user, self._secret = account.user, account.secret

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told: dict[str, object] = {
            "type": "kannel",
            "base_url": f"{base_url}/cgi-bin/sendsms",
            "username": self._user,
            "password": "env:CARRIER_SECRET",
            "callbacks": {"by": "query", "name": "token", "secrets": ["env:CARRIER_SECRET"]},
        }
        return told, {"CARRIER_SECRET": self._secret}

    def sid_prefix(self, digits: str) -> str:
        return dialect.uuid_prefix(digits)

    def admits(self, request: Request) -> bool:
        told = _variables(request)
        theirs = (told.get("username", ""), told.get("password", ""))
        pairs = zip(theirs, (self._user, self._secret), strict=True)
        return all(dialect.same(one, other) for one, other in pairs)

    def read(self, request: Request) -> Asked | None:
        if request.head.path != b"/cgi-bin/sendsms":
            return None
        told = _variables(request)
        to, sender, body = (told.get(name, "") for name in ("to", "from", "text"))
        code = dialect.mistake(to, sender, body)
        if not told.get("validity", "1").isdecimal() or told.get("coding", "0") not in ("0", "1", "2"):
            code = 21617
        url = told.get("dlr-url", "") if told.get("dlr-mask") else ""
        return Asked(to=to, sender=sender, body=body, url=url, service=told.get("smsc", ""), code=code)

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        return Said(202, b"0: Accepted for delivery", content=b"text/plain")

    def refused(self, code: int, after_s: float) -> Said:
        status, text = CODES.get(code, _OTHER)
        return Said(status, text.encode(), dialect.retry_after(after_s), b"text/plain")

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        return None  # nothing can be asked for

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        kind, answer = CODES[told.error_code] if told.error_code else _ESCAPES[told.status]
        filled = target.replace("%d", str(kind)).replace("%A", quote_plus(answer))
        return dialect.post(origin.netloc, filled, b"", ("User-Agent", "Kannel/1.5.0"), method="GET")

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        said = {"id": sid, "from": text.sender, "to": text.to, "text": text.body, "token": self._secret}
        query = "&".join(f"{name}={quote_plus(value)}" for name, value in said.items())
        mark = "&" if "?" in target else "?"
        return dialect.post(origin.netloc, f"{target}{mark}{query}", b"", method="GET")


def _variables(request: Request) -> dict[str, str]:
    """Of a GET the query, of a POST the headers and the text."""
    if request.head.method == b"GET":
        return dialect.form(request.head.query)
    told = {
        name.removeprefix(b"x-kannel-").decode(): value.decode("utf-8", "replace")
        for name, value in request.head.fields.items()
        if name.startswith(b"x-kannel-")
    }
    return {**told, "text": request.body.decode("utf-8", "replace")}
