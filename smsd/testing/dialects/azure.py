"""The words of Azure Communication Services SMS: requests signed by HMAC, or with access tokens of Entra ID, a status
for each recipient, Event Grid.

Never does IO and never decides. Written from https://learn.microsoft.com/rest/api/communication/sms/sms/send and
https://learn.microsoft.com/azure/event-grid/communication-services-telephony-sms-events (2026-11).
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
    20003: (401, "Denied", "Denied by the resource provider."),
    20404: (404, "NotFound", "Not found."),
    20429: (429, "TooManyRequests", "Too many requests."),
    20500: (500, "InternalServerError", "Internal server error."),
    20503: (503, "ServiceUnavailable", "Service unavailable."),
    21211: (202, "400", "Invalid To phone number format."),
    21408: (202, "400", "Invalid To phone number format."),
    21614: (202, "400", "Invalid To phone number format."),
    21617: (400, "BadRequest", "The message is too long."),
    21602: (400, "BadRequest", "The message is empty."),
    30003: (0, "4006", "The destination number is not reachable."),
    30005: (0, "4004", "The destination number does not exist."),
    30006: (0, "4003", "Unsupported destination."),
    30007: (0, "4005", "Blocked by the destination carrier."),
    30008: (0, "5000", "Message failed to deliver."),
    21610: (0, "4007", "The recipient has opted out."),
}
"""What Azure says for the carrier's codes: of answers HTTP status, code and text, within a 202 the recipient's own
status; of receipts the code and text in deliveryStatusDetails. It knows opt-outs in receipts alone.
"""

_OTHER = (401, "Unauthorized", "")
_HEADERS = b"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="


class Azure:
    """One resource: its access key is made of the secret, and so is what guards the callbacks."""

    per_segment: ClassVar[bool] = False
    opt_outs: ClassVar[OptOuts] = "receipt"

    def __init__(self, account: Account) -> None:
        self._key = hashlib.sha256(account.secret.encode()).digest()
        self._token = hashlib.sha256(self._key).hexdigest()[:32]

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told: dict[str, object] = {
            "type": "azure",
            "base_url": base_url,
            "access_key": "env:CARRIER_SECRET",
            "callbacks": {"by": "query", "name": "code", "secrets": ["env:CARRIER_TOKEN"]},
        }
        return told, {"CARRIER_SECRET": base64.b64encode(self._key).decode(), "CARRIER_TOKEN": self._token}

    def sid_prefix(self, digits: str) -> str:
        return f"Outgoing_{dialect.uuid_prefix(digits)}"

    def admits(self, request: Request) -> bool:
        head, fields = request.head, request.head.fields
        at, host, told = (fields.get(name, b"") for name in (b"x-ms-date", b"host", b"x-ms-content-sha256"))
        digest = base64.b64encode(hashlib.sha256(request.body).digest())
        text = head.method + b"\n" + head.path + b"?" + head.query + b"\n" + b";".join((at, host, digest))
        signature = base64.b64encode(hmac.new(self._key, text, "sha256").digest())
        return told == digest and hmac.compare_digest(fields.get(b"authorization", b""), _HEADERS + signature)

    def read(self, request: Request) -> Asked | None:
        if request.head.method != b"POST" or request.head.path != b"/sms" or b"api-version=" not in request.head.query:
            return None
        told = dialect.json_object(request.body)
        sender, body = dialect.text_of(told, "from"), dialect.text_of(told, "message")
        listed, options = told.get("smsRecipients"), told.get("smsSendOptions")
        rows = cast("list[dict[str, object]]", listed) if isinstance(listed, list) else []
        to = dialect.text_of(rows[0], "to") if len(rows) == 1 else ""
        key = dialect.text_of(rows[0], "repeatabilityRequestId") if rows else ""
        tag = dialect.text_of(cast("dict[str, object]", options), "tag") if isinstance(options, dict) else ""
        code = dialect.mistake(to, sender, body, 2048)
        return Asked(to=to, sender=sender, body=body, reference=tag, code=code, key=key)

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        told = {"messageId": sids[0], "httpStatusCode": 202, "repeatabilityResult": "accepted", "successful": True}
        return Said(202, msgspec.json.encode({"value": [{"to": record.to, **told}]}))

    def repeated(self, first: Record, sids: list[str], body: str, *, same: bool) -> Said:
        """One that does not match the first is rejected (rest/api/communication/repeatable-requests)."""
        if same:
            return self.taken(first, sids, body)
        row = {"to": first.to, "httpStatusCode": 400, "repeatabilityResult": "rejected", "successful": False}
        return Said(202, msgspec.json.encode({"value": [row]}))

    def refused(self, code: int, after_s: float) -> Said:
        status, kind, text = CODES.get(code, _OTHER)
        if status == 202:
            row = {"to": "", "httpStatusCode": int(kind), "errorMessage": text, "successful": False}
            return Said(status, msgspec.json.encode({"value": [row]}))
        body = msgspec.json.encode({"error": {"code": kind, "message": text}})
        return Said(status, body, dialect.retry_after(after_s))

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        return None  # nothing can be asked for

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        _, code, text = CODES[told.error_code] if told.error_code else (0, "2000", "Message Delivered Successfully.")
        if told.status == "sent":  # Azure tells of the end alone, or that the carrier tells of none
            code, text = "5002", "Carrier does not support delivery report"
        at = _at(told.done_us or told.now_us)
        good = told.segments if told.status == "delivered" else 0
        data = {
            "messageId": told.parent,
            "from": told.sender,
            "to": told.to,
            "deliveryStatus": "Delivered" if told.status == "delivered" else "Failed",
            "deliveryStatusDetails": f"{code}: {text}",
            "deliveryAttempts": [
                {"timestamp": at, "segmentsSucceeded": good, "segmentsFailed": told.segments - good},
            ],
            "receivedTimestamp": at,
            "tag": told.reference,
        }
        return self._post("SMSDeliveryReportReceived", data, f"{told.sid}-{told.event}", at, origin, target)

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        data = {"messageId": sid, "from": text.sender, "to": text.to, "message": text.body, "segmentCount": 1}
        at = _at(now_us)
        return self._post("SMSReceived", {**data, "receivedTimestamp": at}, sid, at, origin, target)

    def _post(self, kind: str, data: Mapping[str, object], id_: str, at: str, origin: Origin, target: str) -> bytes:
        event = {
            "id": id_,
            "topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Communication/CommunicationServices/res",
            "subject": f"/phonenumber/{data['from']}",
            "data": data,
            "eventType": f"Microsoft.Communication.{kind}",
            "dataVersion": "1.0",
            "metadataVersion": "1",
            "eventTime": at,
        }
        mark = "&" if "?" in target else "?"
        content, told = ("Content-Type", "application/json; charset=utf-8"), ("aeg-event-type", "Notification")
        body = msgspec.json.encode([event])
        return dialect.post(origin.netloc, f"{target}{mark}code={self._token}", body, content, told)


class AzureEntra(Azure):
    """An application of Entra ID, with a role on the resource: `user` is its id and its directory's. The subscription
    has the CloudEvents schema (https://learn.microsoft.com/azure/event-grid/cloudevents-schema).
    """

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._account = account

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        told, env = super().options(base_url)
        del told["access_key"]
        user = self._account.user
        client = {"tenant_id": user, "client_id": user, "client_secret": "env:CARRIER_SECRET", "auth_url": base_url}
        return told | client, env | {"CARRIER_SECRET": self._account.secret}

    def granted(self, request: Request) -> Said | None:
        if request.head.path != f"/{self._account.user}/oauth2/v2.0/token".encode():
            return None
        if dialect.form(request.body).get("scope") != "https://communication.azure.com//.default":
            return Said(400, b'{"error": "invalid_scope"}')
        return dialect.grant(request, self._account, time.time_ns() // 1000)

    def admits(self, request: Request) -> bool:
        return dialect.holds(request, self._account, time.time_ns() // 1000)

    def _post(self, kind: str, data: Mapping[str, object], id_: str, at: str, origin: Origin, target: str) -> bytes:
        event = {
            "id": id_,
            "source": "/subscriptions/s/resourceGroups/g/providers/microsoft.communication/communicationservices/res",
            "subject": f"/phonenumber/{data['from']}",
            "type": f"Microsoft.Communication.{kind}",
            "specversion": "1.0",
            "time": at,
            "data": data,
        }
        mark = "&" if "?" in target else "?"
        content = ("Content-Type", "application/cloudevents+json; charset=utf-8")
        body, asks = msgspec.json.encode(event), ("WebHook-Request-Origin", "eventgrid.azure.net")
        return dialect.post(origin.netloc, f"{target}{mark}code={self._token}", body, content, asks)


def _at(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"
