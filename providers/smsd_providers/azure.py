"""Azure Communication Services SMS: one text per POST that may be repeated, receipts and texts by Event Grid.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://learn.microsoft.com/rest/api/communication/sms/sms/send (requests, answers; the spec of 2026-01-23)
 - https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow (access tokens)
 - https://github.com/Azure/azure-sdk-for-python, communication-sms (the scope that they are asked for)
 - https://learn.microsoft.com/azure/event-grid/communication-services-telephony-sms-events (receipts, texts)
"""

import base64
import re
from email.utils import format_datetime
from typing import ClassVar

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    Callback,
    Capabilities,
    Greeting,
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
from smsd_providers import _azure_request, _event_grid, _proof, _vendor, _wire

CODES = _vendor.codes(
    (Unusable("the access key or its signature was refused", "process"), "Denied"),
    (Refused("sender", elsewhere=True), "Unauthorized"),  # a number that is none of the resource's: the SDKs' tests
    (Refused("refused"), "BadRequest"),
    (Refused("bad_number"), "recipient/400"),  # "Invalid To phone number format."
)
"""`error.code` of an answer, and the recipient's own httpStatusCode: github.com/Azure/azure-sdk-for-python, tests of
communication-sms, and Azure/azure-rest-api-specs#11767, 2026-11-28. Azure documents no list.
"""

DETAILS = _vendor.codes(
    (Refused("refused"), "4003 4006 4008 4020 5000 5001 9999"),
    (Refused("filtered"), "4000 4009"),
    (Refused("sender"), "4001 4010"),
    (Refused("bad_number"), "4002 4004"),
    (Refused("blocked"), "4005"),
    (Refused("opted_out"), "4007"),
)
"""`deliveryStatusDetails` of a receipt: MicrosoftDocs/azure-docs, includes/codes/sms-sdk.md, 2024-07-22."""

STATUSES: dict[str, ReceiptStatus] = {
    "Delivered": ReceiptStatus.DELIVERED,
    "Failed": ReceiptStatus.UNDELIVERED,
}
"""`deliveryStatus` of a receipt, 2026-11-28."""

UNDECIDED = "5002"  # the carrier tells no receipts: says nothing that is final
API_VERSION = "2026-01-23"
SCOPE = "https://communication.azure.com//.default"  # as the SMS SDKs ask, the two slashes too

REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"
RECEIVED = "Microsoft.Communication.SMSReceived"

_TENANT = re.compile(r"[A-Za-z0-9.-]{0,255}")


class AzureOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "azure". Requests are signed with `access_key`, or show tokens that Entra ID
    gives an application with a role on the resource. Event subscriptions, in the Event Grid or the CloudEvents schema,
    lead to our two URLs with a secret in them, which `callbacks` names.
    """

    base_url: str  # the resource's endpoint, such as https://salon.communication.azure.com
    access_key: Secret | None = None  # one of the resource's two keys, as the portal shows it
    tenant_id: str = ""  # of Entra ID: the directory
    client_id: str = ""  # the application
    client_secret: Secret | None = None
    auth_url: str = "https://login.microsoftonline.com"  # who gives access tokens
    callbacks: _proof.Callbacks | None = None

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url)
        _proof.check(self.callbacks)
        _vendor.checked_base_url(self.auth_url, "auth_url")
        _vendor.check_either(self, "access_key", "tenant_id client_id client_secret")
        if not _TENANT.fullmatch(self.tenant_id):
            raise ValueError("tenant_id: is the directory's id or domain, as the portal shows it")
        try:
            base64.b64decode(self.access_key.reveal() if self.access_key else "", validate=True)
        except ValueError:
            raise ValueError("access_key: is base64, as the portal shows it under Keys") from None


class Azure(_vendor.Vendor):
    """One Communication Services resource, made from its config table."""

    Options: ClassVar[type[msgspec.Struct]] = AzureOptions
    capabilities = Capabilities(inbound=True, callback_per_message=False, greets=True, one_webhook=True)

    def __init__(self, name: str, options: AzureOptions) -> None:
        key, secret = (each.reveal() if each else "" for each in (options.access_key, options.client_secret))
        self._proof = _proof.Proof(options.callbacks)
        super().__init__(name, options.base_url, [key, secret, *self._proof.secrets])
        self._key = base64.b64decode(key)
        auth = f"{options.auth_url.rstrip('/')}/{options.tenant_id}/oauth2/v2.0/token"
        self._grant = _vendor.grant(auth, options.client_id, secret, SCOPE) if secret else None
        self._url = f"{self._base_url}/sms?api-version={API_VERSION}"

    def submit(self, attempt: Attempt) -> HttpRequest:
        message = attempt.message
        at = format_datetime(_wire.instant(attempt.leased_us), usegmt=True)
        recipient = {"to": message.to, "repeatabilityRequestId": _azure_request.id_of(attempt.reference)}
        body = msgspec.json.encode(
            {
                "from": message.sender,
                "smsRecipients": [{**recipient, "repeatabilityFirstSent": at}],
                "message": message.body,
                "smsSendOptions": {"enableDeliveryReport": True, "tag": attempt.reference},
            }
        )
        proof = () if self._grant else _azure_request.signed(self._key, self._url, at, body)
        return HttpRequest("POST", self._url, (_vendor.JSON, *proof), body, self._grant)

    def answer(self, response: HttpResponse) -> Answer:
        """What the one recipient was answered: a 202 may have a refusal in it."""
        document = _wire.decode(response.body)
        if response.status != 202:
            code, detail = _wire.texts(document, "/error/code", "/error/message")
            if response.status == 401 and code in CODES:  # the table knows more than the status
                return _wire.filled(CODES[code], response, code, _wire.said(detail))
            return _vendor.answered(CODES, response, code, detail)
        id_, status, repeated, detail = _wire.texts(
            document,
            *(f"/value/0/{at}" for at in ("messageId", "httpStatusCode", "repeatabilityResult", "errorMessage")),
        )
        if status == "202" and id_ and repeated != "rejected" and _wire.pick(document, "/value/0/successful") is True:
            return Accepted(id_)
        if not _wire.count(status) or status == "202" or repeated == "rejected":
            return Unknown(status or "202", "the answer does not say what became of the message")
        told = HttpResponse(int(status), response.headers, b"")
        code = f"recipient/{status}"
        if code not in CODES and told.status in (401, 402, 403, 404, 407):  # of the one recipient, not of the account
            return Refused("unlisted", code=code, detail=_wire.said(detail))
        return _vendor.answered(CODES, told, code, detail)

    def greeting(self, callback: Callback) -> Greeting | None:
        """Event Grid asks once whether we want a subscription's events."""
        if not _event_grid.asks(callback):
            return None
        self._proof.check(callback)
        return _event_grid.welcome(callback)

    def receipts(self, callback: Callback) -> list[Receipt]:
        return [_receipt(data) for kind, data in self._authentic(callback) if kind == REPORT]

    def inbound(self, callback: Callback) -> list[Inbound]:
        return [_text(data) for kind, data in self._authentic(callback) if kind == RECEIVED]

    def _authentic(self, callback: Callback) -> list[tuple[str, object]]:
        """The events' types and data, once the callback is proven."""
        self._proof.check(callback)
        told = _event_grid.events(callback)
        if any(kind not in (REPORT, RECEIVED) for kind, _ in told):
            raise BadCallback(f"an event's type is {REPORT} or {RECEIVED}")
        return told


def _receipt(data: object) -> Receipt:
    id_, word, to, details = _wire.texts(data, "/messageId", "/deliveryStatus", "/to", "/deliveryStatusDetails")
    if not id_ or word not in STATUSES:
        raise BadCallback(f"a receipt has messageId, and a deliveryStatus that is one of {', '.join(STATUSES)}")
    reference = next((tag for tag in _wire.texts(data, "/tag", "/Tag") if tag), "")
    told: dict[str, object] = {"provider_id": id_, "reference": reference, "to": to}
    found = re.match("[0-9]{4}", details) if word == "Failed" else None
    code = found[0] if found else ""
    if code == UNDECIDED:
        told |= {"status": ReceiptStatus.SENT, "reason": ""}
    return _vendor.receipt(STATUSES, DETAILS, word, code, **told)


def _text(data: object) -> Inbound:
    id_, sender, to, text, parts = _wire.texts(data, "/messageId", "/from", "/to", "/message", "/segmentCount")
    if not id_ or not sender:
        raise BadCallback("a text has messageId and from")
    return Inbound(id_, sender, to, text, max(1, _wire.count(parts)))
