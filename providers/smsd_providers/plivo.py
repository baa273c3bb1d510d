"""Plivo's Message API, v1: one text per JSON POST, a receipt for each part, callbacks signed by V3 or V2.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://www.plivo.com/docs/messaging/api/messages/ (requests, answers, receipts)
 - https://plivo.com/docs/messaging/troubleshooting/error-codes (codes of receipts) and its first list, with what each
   code means, https://www.plivo.com/blog/introducing-sms-error-codes/
 - https://www.plivo.com/blog/better-control-over-sms-messages-with-geo-permissions/ (code 450)
 - https://support.plivo.com/support/solutions/articles/17000088423 (code 900, and what an answer says then)
 - https://github.com/plivo/plivo-python, 4.63.0 (signatures V2 and V3, statuses of answers)
"""

import base64
import hmac
import re
from collections.abc import Mapping
from typing import ClassVar, Literal
from urllib.parse import parse_qsl

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
    (Unusable("the account has no funds", "account", ends="funds"), "funds 900"),
    (Refused("refused"), "400 405 422 20 60 80 90 1000"),
    (Refused("config", elsewhere=True), "403 450"),  # geo permissions
    (Refused("bad_number"), "50 70"),
    (Refused("opted_out"), "200"),
    (Refused("blocked"), "100"),
    (Refused("filtered"), "30"),
    (Refused("content"), "10 110"),
    (Refused("sender", elsewhere=True), "40 201"),
)
"""`ErrorCode` of a receipt: troubleshooting/error-codes and the others, 2026-11-28. 300 and 420, of which people tell,
stand in none that was found, and so are "unlisted". An answer has no code but its HTTP status, and a text of which one
is documented (plivo-python; support: "Insufficient Credit").
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
_AUTH_ID = re.compile(r"[A-Z0-9]{20}")
_SHAPES = {
    "MessageUUID": re.compile(r"[0-9a-f-]{1,64}"),
    "To": re.compile(r"\+?[0-9]{1,15}"),
    "ErrorCode": re.compile(r"[0-9]{0,4}"),
    "PartInfo": re.compile(r"[1-9][0-9]{0,2} of [1-9][0-9]{0,2}"),
}
"""V3 signs names and values run together: what is used has a shape, so that none can end elsewhere unseen."""


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
        part, parts = (int(n) for n in fields.get("PartInfo", "1 of 1").split(" of "))
        told = {
            "provider_id": id_,
            "reference": _vendor.reference(callback),
            "to": fields["To"],
            "part": part,
            "parts": parts,
        }
        code = fields.get("ErrorCode", "")
        return [_vendor.receipt(STATUSES, CODES, word, "" if code == "000" else code, **told)]

    def inbound(self, callback: Callback) -> list[Inbound]:
        fields = self._authentic(callback)
        id_, sender, text = (fields.get(name, "") for name in ("MessageUUID", "From", "Text"))
        if not id_ or not sender or "Text" not in fields:
            raise BadCallback("a text has MessageUUID, From and Text")
        return [Inbound(id_, sender, fields["To"], text, max(1, _wire.count(fields.get("Units", ""))))]

    def _authentic(self, callback: Callback) -> dict[str, str]:
        """The form's fields, once a signature of ours holds over the URL (V2), or over URL and fields (V3)."""
        try:
            pairs = _wire.form_pairs(callback.body, _vendor.FIELDS_MOST)
            base, query = callback.url.partition("?")[::2]
            asked = sorted(parse_qsl(query, keep_blank_values=True, max_num_fields=_vendor.FIELDS_MOST))
        except ValueError as error:
            raise BadSignature from error
        signed = {"v3": signed_v3(base, asked, pairs), "v2": base}
        if callback.method != "POST" or not any(
            self._holds(of, signed[of], callback.headers) for of in self._signatures
        ):
            raise BadSignature
        return _tight(pairs)

    def _holds(self, version: str, signed: str, headers: Mapping[str, str]) -> bool:
        nonce = headers.get(f"x-plivo-signature-{version}-nonce", "")
        theirs = [headers.get(f"x-plivo-signature-{of}{version}", "").split(",") for of in ("", "ma-")]
        shown = [one.strip() for several in theirs for one in several if one.strip()]
        text = f"{signed}{'.' if version == 'v3' else ''}{nonce}".encode("utf-8", "replace")
        ours = [base64.b64encode(hmac.digest(token.encode(), text, "sha256")).decode() for token in self._tokens]
        return bool(nonce) and any(_proof.equal(one, other) for one in ours for other in shown)


def signed_v3(base: str, asked: list[tuple[str, str]], pairs: list[tuple[str, str]]) -> str:
    """What V3 signs before the nonce: the URL with its query in order, then the form's names and values in order."""
    query = "&".join(f"{name}={value}" for name, value in asked)
    form = "".join(name + value for name, value in sorted(pairs))
    return f"{base}{'?' if query or form else ''}{query}{'.' if query and form else ''}{form}"


def _tight(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The fields, where each is where Plivo has put it. Raises BadSignature, BadCallback."""
    fields, run = dict(pairs), "".join(name + value for name, value in pairs)
    if len(fields) < len(pairs):
        raise BadSignature
    if "Text" not in fields and any(name in run and name not in fields for name in ("ErrorCode", "PartInfo")):
        raise BadSignature
    if not {"MessageUUID", "To"} <= fields.keys():
        raise BadCallback("a callback has MessageUUID and To")
    for name, shape in _SHAPES.items():
        if not shape.fullmatch(fields.get(name, "")) and name in fields:
            raise BadCallback(f"{name} is not what Plivo writes there")
    return fields
