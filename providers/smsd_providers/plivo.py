"""Plivo's Message API, v1: one text per JSON POST, a receipt for each part, callbacks signed by V3 or V2.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://www.plivo.com/docs/messaging/api/messages/ (requests, answers, receipts)
 - https://plivo.com/docs/messaging/troubleshooting/error-codes (codes of receipts)
 - https://github.com/plivo/plivo-python, 4.63.0 (signatures V2 and V3, statuses of answers)
"""

import base64
import hmac
import re
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    BadSignature,
    Callback,
    Capabilities,
    HttpRequest,
    HttpResponse,
    Inbound,
    Receipt,
    ReceiptStatus,
    Refused,
    Unknown,
    Unusable,
)
from smsd.secret import Secret
from smsd_providers import _proof, _vendor, _wire

CODES = _vendor.codes(
    (Unusable("the account has no funds", "account"), "funds 900"),
    (Refused("refused"), "400 405 422 20 60 80 90 300 420 1000"),
    (Refused("config", elsewhere=True), "403 450"),  # geo permissions
    (Refused("bad_number"), "50 70"),
    (Refused("opted_out"), "200"),
    (Refused("blocked"), "100"),
    (Refused("filtered"), "30"),
    (Refused("content"), "10 110"),
    (Refused("sender", elsewhere=True), "40 201"),
)
"""`ErrorCode` of a receipt: troubleshooting/error-codes, 2026-11-28. An answer has no code but its HTTP status, and a
text of which one is documented (plivo-python; support: "Insufficient Credit").
"""

STATUSES: dict[str, ReceiptStatus] = {
    "queued": ReceiptStatus.QUEUED,
    "sent": ReceiptStatus.SENT,
    "delivered": ReceiptStatus.DELIVERED,
    "read": ReceiptStatus.DELIVERED,
    "failed": ReceiptStatus.UNDELIVERED,
    "undelivered": ReceiptStatus.UNDELIVERED,
    "rejected": ReceiptStatus.UNDELIVERED,
}
"""`Status` of a receipt: api/messages, message_state, 2026-11-28."""

EXPIRY_S = (5, 10_800)  # message_expiry; Plivo's own is the latest
FIELDS_MOST = 100
_AUTH_ID = re.compile(r"[A-Z0-9]{20}")
_PART = re.compile(r"([0-9]{1,3}) of ([0-9]{1,3})")


class PlivoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "plivo". V2 covers a callback's URL alone: leave it out of `signatures` once the
    account's callbacks carry V3. A subaccount's callbacks may be signed with the main account's token: add it.
    """

    auth_id: str
    auth_token: tuple[Secret, ...]  # callbacks are checked with each, requests authenticated with the first
    powerpack_uuid: str = ""  # sends where a message has no sender
    signatures: tuple[Literal["v3", "v2"], ...] = ("v3", "v2")
    base_url: str = "https://api.plivo.com"

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url)
        if not _AUTH_ID.fullmatch(self.auth_id):
            raise ValueError("auth_id: is the 20 capitals and digits that the console shows")
        if not self.auth_token:
            raise ValueError("auth_token: needs at least one, such as env:PLIVO_AUTH_TOKEN")


class Plivo(_vendor.Vendor):
    """One Plivo account, made from its config table."""

    Options: ClassVar[type[msgspec.Struct]] = PlivoOptions
    capabilities = Capabilities(receipts_per_segment=True, inbound=True)

    def __init__(self, name: str, options: PlivoOptions) -> None:
        self._tokens = tuple(token.reveal() for token in options.auth_token)
        super().__init__(name, options.base_url, self._tokens)
        self._url = f"{self._base_url}/v1/Account/{options.auth_id}/Message/"
        self._headers = (("Authorization", _wire.basic(options.auth_id, self._tokens[0])), _vendor.JSON)
        self._powerpack, self._signatures = options.powerpack_uuid, options.signatures

    def submit(self, attempt: Attempt) -> HttpRequest:
        message, (least_s, most_s) = attempt.message, EXPIRY_S
        fields = {
            "src": message.sender,
            "powerpack_uuid": "" if message.sender else self._powerpack,
            "dst": message.to,
            "text": message.body,
            "type": "sms",
            "url": attempt.callback_url,
            "method": "POST" if attempt.callback_url else "",
            "message_expiry": max(attempt.valid_s, least_s) if 0 < attempt.valid_s < most_s else 0,
        }
        body = msgspec.json.encode({name: value for name, value in fields.items() if value})
        return HttpRequest("POST", self._url, self._headers, body)

    def answer(self, response: HttpResponse) -> Answer:
        id_, error = _wire.texts(_wire.decode(response.body), "/message_uuid/0", "/error")
        if response.status in (200, 201, 202):
            return Accepted(id_) if id_ else Unknown("202", "taken, but the answer names no message")
        code = "funds" if "insufficient credit" in error.lower() else str(response.status)
        return _vendor.answered(CODES, response, code, error)

    def receipts(self, callback: Callback) -> list[Receipt]:
        fields = self._authentic(callback)
        id_, word = fields.get("MessageUUID", ""), fields.get("Status", "")
        if not id_ or word not in STATUSES:
            raise BadCallback(f"a receipt has MessageUUID, and a Status that is one of {', '.join(STATUSES)}")
        counted = _PART.fullmatch(fields.get("PartInfo", ""))
        part, parts = (max(1, int(n)) for n in counted.groups()) if counted else (1, 1)
        told = {
            "provider_id": id_,
            "reference": _vendor.reference(callback),
            "to": fields.get("To", ""),
            "part": part,
            "parts": parts,
        }
        code = fields.get("ErrorCode", "")
        return [_vendor.receipt(STATUSES, CODES, word, "" if code == "000" else code, **told)]

    def inbound(self, callback: Callback) -> list[Inbound]:
        fields = self._authentic(callback)
        id_, sender, to, text = (fields.get(name, "") for name in ("MessageUUID", "From", "To", "Text"))
        if not id_ or not sender or "Status" in fields:
            raise BadCallback("a text has MessageUUID and From, and no Status")
        return [Inbound(id_, sender, to, text, max(1, _wire.count(fields.get("Units", ""))))]

    def _authentic(self, callback: Callback) -> dict[str, str]:
        """The fields, once a signature of ours holds over the URL (V2), or over URL and fields (V3)."""
        for version in self._signatures:
            headers = callback.headers
            nonce = headers.get(f"x-plivo-signature-{version}-nonce", "")
            theirs = [headers.get(f"x-plivo-signature-{of}{version}", "").split(",") for of in ("", "ma-")]
            shown = [one.strip() for several in theirs for one in several if one.strip()]
            if nonce and shown and self._holds(version, nonce, shown, callback):
                return _vendor.fields(callback)
        raise BadSignature

    def _holds(self, version: str, nonce: str, shown: list[str], callback: Callback) -> bool:
        try:
            signed = signed_v3(callback, nonce) if version == "v3" else _base(callback.url) + nonce
        except ValueError:
            return False
        digests = [hmac.digest(token.encode(), signed.encode("utf-8", "replace"), "sha256") for token in self._tokens]
        ours = [base64.b64encode(digest).decode() for digest in digests]
        return any(_proof.equal(one, other) for one in ours for other in shown)


def _base(url: str) -> str:
    """The URL without its query. Raises ValueError."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def signed_v3(callback: Callback, nonce: str) -> str:
    """What V3 signs: the URL with its query in order, then the form's names and values in order. Raises ValueError."""
    query = sorted(parse_qsl(urlsplit(callback.url).query, keep_blank_values=True, max_num_fields=FIELDS_MOST))
    form = [] if callback.method == "GET" else sorted(_wire.form_pairs(callback.body, FIELDS_MOST))
    asked = "&".join(f"{name}={value}" for name, value in query)
    mark = "?" if asked or form else ""
    dot = "." if asked and form else ""
    return f"{_base(callback.url)}{mark}{asked}{dot}{''.join(name + value for name, value in form)}.{nonce}"
