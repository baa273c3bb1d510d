"""Sinch's SMS API (XMS, v1): a batch of one text per JSON POST, found again by its client reference.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://developers.sinch.com/docs/sms/api-reference/sms/tag/Batches (requests, answers, the listing)
 - https://developers.sinch.com/docs/sms/api-reference/sms/tag/Delivery-reports (receipts and their codes)
 - https://developers.sinch.com/docs/sms/api-reference/sms/tag/Webhooks (tries for 22 h 45; client_reference is in each
   report; of whether a try is signed anew, not a word)
 - https://developers.sinch.com/docs/sms/smpp/10dlc-errors (codes of networks that receipts pass on)
 - https://developers.sinch.com/docs/accesskeys/api-reference (access tokens of a project)
 - https://github.com/sinch/sinch-sdk-python, 2.3.0 (hosts of a project; validate_sinch_event_signature_with_nonce)
"""

import re
from datetime import timedelta
from typing import ClassVar, Literal, cast
from urllib.parse import urlencode

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    Callback,
    Capabilities,
    Found,
    HttpRequest,
    HttpResponse,
    Inbound,
    Inconclusive,
    LookUpResult,
    NotFound,
    Receipt,
    ReceiptStatus,
    Refused,
    Unknown,
    Unusable,
)
from smsd.secret import Secret
from smsd_providers import _proof, _sinch_signature, _vendor, _wire

CODES = _vendor.codes(
    (Refused("refused"), "syntax_invalid_parameter_format 321 399 404 406 407 408"),
    (Refused("config"), "syntax_invalid_json syntax_constraint_violation unknown_group missing_callback_url"),
    (Refused("config", elsewhere=True), "332 334 349 403 405 409 412"),
    (Refused("bad_number"), "300 402"),
    (Refused("blocked"), "152"),
    (Refused("filtered"), "15 62 64"),
    (Refused("sender", elsewhere=True), "unknown_campaign 60 310 410"),
    (Refused("content"), "411 414 415 416 417 418"),
    (Unusable("the account is blocked, or has no funds", "account", ends="funds"), "413"),
)
"""`code` of an answer, a word, and of a receipt, a number: Batches, Delivery-reports and 10dlc-errors, 2026-11-28."""

STATUSES: dict[str, ReceiptStatus] = {
    "queued": ReceiptStatus.QUEUED,
    "dispatched": ReceiptStatus.SENT,
    "unknown": ReceiptStatus.SENT,  # says nothing that is final
    "delivered": ReceiptStatus.DELIVERED,
    "aborted": ReceiptStatus.UNDELIVERED,
    "cancelled": ReceiptStatus.UNDELIVERED,
    "deleted": ReceiptStatus.UNDELIVERED,
    "expired": ReceiptStatus.UNDELIVERED,
    "failed": ReceiptStatus.UNDELIVERED,
    "rejected": ReceiptStatus.UNDELIVERED,
}
"""`status` of a receipt in small letters: Delivery-reports, delivery report statuses, 2026-11-28."""

VALID_MOST = timedelta(days=3)  # Sinch's own default
LOOK_BACK = timedelta(hours=1)  # before the lease: a listing without a start is of the last day
SETTLE_S = 60  # nobody says how soon a listing has a batch
_ID = re.compile(r"[A-Za-z0-9_-]{0,64}")


class SinchOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "sinch". A service plan has `api_token`; a project has an access key, by which
    access tokens are asked for. Sinch signs callbacks, or adds Basic, once its account manager has switched that on;
    until then `callbacks` proves them.
    """

    service_plan_id: str = ""
    api_token: Secret | None = None  # the plan's
    project_id: str = ""
    key_id: str = ""
    key_secret: Secret | None = None  # of the project's access key
    auth_url: str = "https://auth.sinch.com"  # who gives access tokens
    webhook_secret: tuple[Secret, ...] = ()  # several while it is changed
    callbacks: _proof.Callbacks | None = None
    region: Literal["us", "eu", "br", "au", "ca"] = "us"
    base_url: str = ""  # "": the region's

    def __post_init__(self) -> None:
        _vendor.check_either(self, "service_plan_id api_token", "project_id key_id key_secret")
        for key, id_ in (("service_plan_id", self.service_plan_id), ("project_id", self.project_id)):
            if not _ID.fullmatch(id_):
                raise ValueError(f"{key}: is the id that the dashboard shows, letters and digits")
        _vendor.checked_base_url(self.base_url or "https://us.sms.api.sinch.com")
        _vendor.checked_base_url(self.auth_url, "auth_url")
        _proof.check(self.callbacks)


class Sinch(_vendor.Vendor):
    """One service plan or project at Sinch, made from its config table."""

    Options: ClassVar[type[msgspec.Struct]] = SinchOptions
    capabilities = Capabilities(look_up="reference", inbound=True, settle_s=SETTLE_S)

    def __init__(self, name: str, options: SinchOptions) -> None:
        token, secret = (each.reveal() if each else "" for each in (options.api_token, options.key_secret))
        self._keys = tuple(key.reveal() for key in options.webhook_secret)
        self._proof = _proof.Proof(options.callbacks)
        host = f"{options.region}.sms.api.sinch.com" if token else f"zt.{options.region}.sms.api.sinch.com"
        base_url = options.base_url or f"https://{host}"
        super().__init__(name, base_url, [token, secret, *self._keys, *self._proof.secrets])
        self._batches = f"{self._base_url}/xms/v1/{options.service_plan_id or options.project_id}/batches"
        self._known = (("Authorization", f"Bearer {token}"),) if token else ()
        auth = f"{options.auth_url.rstrip('/')}/oauth2/token"
        self._grant = _vendor.grant(auth, options.key_id, secret) if secret else None

    def submit(self, attempt: Attempt) -> HttpRequest:
        message, valid = attempt.message, timedelta(seconds=attempt.valid_s)
        fields = {
            "to": [message.to.removeprefix("+")],
            "from": message.sender.removeprefix("+"),
            "body": message.body,
            "type": "mt_text",
            "delivery_report": "per_recipient",
            "expire_at": _instant(attempt.leased_us, valid) if timedelta() < valid < VALID_MOST else "",
            "callback_url": self._proof.told(attempt.callback_url),
            "client_reference": attempt.reference,
        }
        body = msgspec.json.encode({name: value for name, value in fields.items() if value})
        return HttpRequest("POST", self._batches, (*self._known, _vendor.JSON), body, self._grant)

    def answer(self, response: HttpResponse) -> Answer:
        id_, code, text = _wire.texts(_wire.decode(response.body), "/id", "/code", "/text")
        if response.status in (200, 201):
            return Accepted(id_) if id_ else Unknown("201", "taken, but the answer names no batch")
        return _vendor.answered(CODES, response, code, text)

    def look_up(self, attempt: Attempt) -> HttpRequest:
        query = {"client_reference": attempt.reference, "page_size": "10"}
        if attempt.leased_us:
            query["start_date"] = _instant(attempt.leased_us, -LOOK_BACK)
        return HttpRequest("GET", f"{self._batches}?{urlencode(query)}", self._known, b"", self._grant)

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        document = _wire.decode(response.body)
        batches, count = _wire.pick(document, "/batches"), _wire.scalar(_wire.pick(document, "/count"))
        if response.status != 200 or not isinstance(batches, list):
            return Inconclusive(f"the listing was answered with {response.status}")
        told = [_wire.texts(batch, "/id", "/client_reference") for batch in cast("list[object]", batches)]
        if any(not id_ or reference != attempt.reference for id_, reference in told):
            return Inconclusive("the listing has batches of another reference")
        if not told:
            return NotFound() if count == "0" else Inconclusive("the listing is empty, and does not count to 0")
        return Found(tuple(Receipt(ReceiptStatus.ACCEPTED, id_, reference) for id_, reference in told))

    def receipts(self, callback: Callback) -> list[Receipt]:
        kind, document = self._authentic(callback)
        id_, reference, to = _wire.texts(document, "/batch_id", "/client_reference", "/recipient")
        if not self._keys:  # what is signed is the body alone: the URL of one message's receipt could be another's
            reference = reference or _vendor.reference(callback)
        rows = _wire.pick(document, "/statuses") if kind == "delivery_report_sms" else [document]
        told: list[Receipt] = []
        for row in cast("list[object]", rows) if isinstance(rows, list) else []:
            word, code, recipient = _wire.texts(row, "/status", "/code", "/recipients/0")
            status = STATUSES.get(word.lower())
            if not id_ or status is None:
                raise BadCallback(f"a report has batch_id, and a status that is one of {', '.join(STATUSES)}")
            said = {"provider_id": id_, "reference": reference, "to": to or recipient, "raw_status": word}
            code = code if status is ReceiptStatus.UNDELIVERED else ""
            told.append(_vendor.receipt(STATUSES, CODES, word.lower(), code, **said))
        if not told:
            raise BadCallback("a report's type is recipient_delivery_report_sms, or delivery_report_sms with statuses")
        return told

    def inbound(self, callback: Callback) -> list[Inbound]:
        kind, document = self._authentic(callback)
        id_, sender, to, text = _wire.texts(document, "/id", "/from", "/to", "/body")
        if kind != "mo_text" or not id_ or not sender:
            raise BadCallback("a text is a mo_text with id and from")
        return [Inbound(id_, sender, to, text)]

    def _authentic(self, callback: Callback) -> tuple[str, object]:
        """The event's type and document, once a signature of ours holds, or the secret that stands for one."""
        if self._keys:
            _sinch_signature.check(callback, self._keys)
        else:
            self._proof.check(callback)
        document = _wire.decode(callback.body)
        return _wire.scalar(_wire.pick(document, "/type")), document


def _instant(at_us: int, later: timedelta) -> str:
    return f"{_wire.instant(at_us) + later:%Y-%m-%dT%H:%M:%S}.000Z"
