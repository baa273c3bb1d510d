"""Twilio Programmable Messaging, API version 2010-04-01: one text per form POST, receipts and texts as signed forms.

Never does IO, never decides. Sources, all as of 2026-11-23:
 - https://www.twilio.com/docs/messaging/api/message-resource (requests, statuses, listing)
 - https://www.twilio.com/docs/api/errors (codes)
 - https://www.twilio.com/docs/usage/security (signatures, in _twilio_signature)
 - https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides (the callback's fragment)
"""

import re
from collections.abc import Sequence
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import ClassVar, cast
from unicodedata import category, normalize
from urllib.parse import urlencode

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    Callback,
    Capabilities,
    Deferred,
    Found,
    HttpRequest,
    HttpResponse,
    Inbound,
    Inconclusive,
    LookUpResult,
    More,
    NotFound,
    Receipt,
    ReceiptStatus,
    Refused,
    Throttled,
    Unknown,
    Unusable,
)
from smsd.secret import Secret
from smsd_providers import _vendor, _wire
from smsd_providers._twilio_signature import Signature

CODES: dict[str, Answer] = {
    str(code): means
    for means, codes in (
        (Throttled(), (20429, 60728, 63017, 63038)),
        (Deferred(), (14107, 20500, 20503, 21611, 21730)),
        (Unusable("the account SID or its token was refused", "process"), (20003,)),
        (
            Unusable("the account is not active: suspended, or out of funds", "account", ends="funds"),
            (10001, 20005, 20403, 90010),
        ),
        (Unusable("there is no such account", "account"), (20404,)),
        (Unusable("the StatusCallback was refused: look at public_url", "account"), (21609,)),
        (Unusable("the messaging service cannot be used", "account"), (21701, 21702, 21703, 21704, 21705)),
        (Refused("bad_number"), (21211, 21214, 21217, 21265, 21268, 21604, 21614, 21635, 30005, 30006)),
        (Refused("bad_number", elsewhere=True), (21612,)),
        (Refused("opted_out"), (21610,)),
        (Refused("config", elsewhere=True), (21408,)),
        (Refused("sender", elsewhere=True), (21212, 21266, 21267, 21603, 21606, 21657, 21659, 21660, 21661)),
        (Refused("sender", elsewhere=True), (21708, 21709, 21711, 21712)),
        (Refused("content"), (21602, 21605, 21617, 21618, 21619, 30019, 30038)),
        (Refused("config"), (21608, 21624, 30010, 30045)),
        (Refused("funds"), (30002, 30037)),
        (Refused("blocked"), (30004, 30450)),
        (Refused("filtered"), (30007, 30039)),
        (Refused("sender"), (30018, 30024, 30032, 30033, 30034, 30035, 30040, 30041, 30042)),
        (Refused("refused"), (30001, 30003, 30008, 30011, 30017, 30020, 30021, 30022, 30023, 30027, 30036, 30410)),
        (Refused("refused"), (30453, 30454)),
    )
    for code in codes
}
"""Codes of errors and of receipts (https://www.twilio.com/docs/api/errors, 2026-11-23). A code that is not here is
"unlisted". 21611 and 14107 concern one sender or recipient, so they defer the message and slow nobody else down."""

STATUSES: dict[str, ReceiptStatus] = {
    "accepted": ReceiptStatus.ACCEPTED,
    "scheduled": ReceiptStatus.ACCEPTED,
    "queued": ReceiptStatus.QUEUED,
    "sending": ReceiptStatus.QUEUED,
    "sent": ReceiptStatus.SENT,
    "partially_delivered": ReceiptStatus.SENT,  # says nothing that is final
    "delivered": ReceiptStatus.DELIVERED,
    "read": ReceiptStatus.DELIVERED,
    "undelivered": ReceiptStatus.UNDELIVERED,
    "failed": ReceiptStatus.UNDELIVERED,
    "canceled": ReceiptStatus.UNDELIVERED,
}
"""message-resource, "Message Status values", 2026-11-23."""

VALIDITY_MAX_S = 36_000
PAGE_SIZE = 50  # of the longest texts, so many fit into an answer that is read whole
LOOK_BACK = timedelta(minutes=5)  # how far their clock may be behind ours

_ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")
_SERVICE_SID = re.compile(r"MG[0-9a-fA-F]{32}")
_MESSAGE_SID = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")


class TwilioOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "twilio"."""

    account_sid: Secret
    auth_token: tuple[Secret, ...]  # callbacks are checked with each, requests authenticated with the first
    api_key: Secret | None = None  # instead of the token for requests: the key's SID, with `api_secret`
    api_secret: Secret | None = None
    base_url: str = "https://api.twilio.com"
    messaging_service_sid: str = ""
    callback_overrides: str = "rc=5&rp=all"  # "": one retry, and only when no connection was made

    def __post_init__(self) -> None:
        if not self.auth_token:
            raise ValueError("auth_token: needs at least one, such as env:TWILIO_AUTH_TOKEN")
        if (self.api_key is None) != (self.api_secret is None):
            raise ValueError("api_key: goes with api_secret, neither works alone")
        if self.messaging_service_sid and not _SERVICE_SID.fullmatch(self.messaging_service_sid):
            raise ValueError("messaging_service_sid: is MG and 32 hexadecimal digits")
        _vendor.checked_base_url(self.base_url)


class Dialect(_vendor.Vendor):
    """Twilio's language, spoken to whoever understands it: the vendor itself, or the built-in carrier."""

    capabilities: Capabilities = Capabilities(look_up="listing", inbound=True)

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        account_sid: str,
        user: str,
        password: str,
        tokens: Sequence[str],
        service: str = "",
        overrides: str = "",
    ) -> None:
        if not _ACCOUNT_SID.fullmatch(account_sid):
            raise ValueError(f"{name}: account_sid is AC and 32 hexadecimal digits")
        self._authorization = _wire.basic(user, password)
        super().__init__(name, base_url, [password, *tokens, self._authorization.removeprefix("Basic ")])
        self._account_sid = account_sid
        self._path = f"/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._signature = Signature(tokens)
        self._service = service
        self._fragment = f"#{overrides}" if overrides else ""

    # ---- Sending -----------------------------------------------------------------------------------------------------

    def submit(self, attempt: Attempt) -> HttpRequest:
        message = attempt.message
        fields = {
            "To": message.to,
            "MessagingServiceSid": self._service,
            "From": message.sender,  # with a service: that one of its pool
            "Body": message.body,
            "StatusCallback": attempt.callback_url and attempt.callback_url + self._fragment,
            "ValidityPeriod": str(min(attempt.valid_s, VALIDITY_MAX_S)) if attempt.valid_s > 0 else "",
            "SmartEncoded": "false",  # the text is sent, counted and listed as it is; a service has it on by default
        }
        headers = (*self._headers, _vendor.FORM)
        return HttpRequest("POST", self._base_url + self._path, headers, _wire.form(fields).encode())

    @property
    def _headers(self) -> tuple[tuple[str, str], ...]:
        return (("Authorization", self._authorization), ("Accept", "application/json"))

    def answer(self, response: HttpResponse) -> Answer:
        document = _wire.decode(response.body)
        if response.status == 201:
            sid, segments = _wire.texts(document, "/sid", "/num_segments")
            if not _MESSAGE_SID.fullmatch(sid):
                return Unknown("201", "created, but the answer names no message")
            return Accepted(sid, _wire.count(segments))
        # {code, message} or, newer, RFC 9457 {code, title, detail}
        code, detail, message, title = _wire.texts(document, "/code", "/detail", "/message", "/title")
        return _vendor.answered(CODES, response, code, detail or message or title)

    # ---- Callbacks ---------------------------------------------------------------------------------------------------

    def receipts(self, callback: Callback) -> list[Receipt]:
        fields = self._authentic(callback)
        sid = fields.get("MessageSid") or fields.get("SmsSid")
        word = fields.get("MessageStatus") or fields.get("SmsStatus")
        if not sid or not word:
            raise BadCallback("a status callback has MessageSid and MessageStatus")
        if word in ("receiving", "received"):  # the life of a text that came in
            return []
        if word not in STATUSES:
            raise BadCallback(f"MessageStatus is one of {', '.join(STATUSES)}")
        return [_receipt(sid, word, fields.get("ErrorCode", ""), fields.get("To", ""), _vendor.reference(callback))]

    def inbound(self, callback: Callback) -> list[Inbound]:
        fields = self._authentic(callback)
        sid, sender, to = (fields.get(name, "") for name in ("MessageSid", "From", "To"))
        if not sid or not sender or "Body" not in fields:
            raise BadCallback("a text has MessageSid, From and Body")
        parts, took = max(1, _wire.count(fields.get("NumSegments", ""))), fields.get("OptOutType", "")
        return [Inbound(sid, sender, to, fields["Body"], parts, opt_out_type=_vendor.opt_out(took))]

    def _authentic(self, callback: Callback) -> dict[str, str]:
        """The callback's fields once its signature holds, by whichever token; else BadSignature."""
        fields = self._signature.fields(callback)
        if fields.get("AccountSid", self._account_sid) != self._account_sid:
            raise BadCallback("AccountSid is another account's")
        return fields

    # ---- Look-up -----------------------------------------------------------------------------------------------------

    def look_up(self, attempt: Attempt) -> HttpRequest:
        """The account's messages to this number, newest first. Not by DateSent, which is null of what still waits in a
        queue of theirs, for up to ten hours.
        """
        query = {"To": attempt.message.to, "From": attempt.message.sender}
        query = {name: value for name, value in query.items() if value} | {"PageSize": str(PAGE_SIZE)}
        return HttpRequest("GET", f"{self._base_url}{self._path}?{urlencode(query)}", self._headers)

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        document = _wire.decode(response.body)
        items = _wire.pick(document, "/messages")
        if response.status != 200 or not isinstance(items, list):
            return Inconclusive(f"the listing was answered with {response.status}")
        candidates: list[Receipt] = []
        rows = cast("list[object]", items)
        for item in rows:
            same = _same(attempt, item)
            if same is None:
                return Inconclusive("the listing has a message to this number that cannot be compared")
            if same:
                sid, word, code = _wire.texts(item, "/sid", "/status", "/error_code")
                candidates.append(_receipt(sid, word, code, attempt.message.to))
        if candidates:
            return Found(tuple(candidates))
        following = _wire.scalar(_wire.pick(document, "/next_page_uri"))
        if not following or (rows and _is_older(attempt, _wire.scalar(_wire.pick(rows[-1], "/date_sent")))):
            return NotFound()
        # Our credentials go along, so it must be this very resource: anything else could lead to another host.
        if not following.removeprefix(self._base_url).startswith(self._path + "?"):
            return Inconclusive("the listing goes on at another address")
        url = self._base_url + following.removeprefix(self._base_url)
        return More(HttpRequest("GET", url, self._headers))


class Twilio(Dialect):
    """One Twilio account, made from its config table. Credentials are read once, here."""

    Options: ClassVar[type[msgspec.Struct]] = TwilioOptions

    def __init__(self, name: str, options: TwilioOptions) -> None:
        sid, tokens = options.account_sid.reveal(), [token.reveal() for token in options.auth_token]
        user, password = sid, tokens[0]
        if options.api_key is not None and options.api_secret is not None:
            user, password = options.api_key.reveal(), options.api_secret.reveal()
        super().__init__(
            name,
            base_url=options.base_url,
            account_sid=sid,
            user=user,
            password=password,
            tokens=tokens,
            service=options.messaging_service_sid,
            overrides=options.callback_overrides,
        )


def _receipt(sid: str, word: str, code: str, to: str, reference: str = "") -> Receipt:
    status = STATUSES.get(word, ReceiptStatus.QUEUED)
    code = "" if code == "0" else code
    negative = status is ReceiptStatus.UNDELIVERED
    reason = _vendor.ended(CODES.get(code, Refused("unlisted" if code else "refused"))) if negative else ""
    # RawDlrDoneDate has no zone, so at_ms stays 0
    return Receipt(status, sid, reference, reason, code, word, to=to)


def _same(attempt: Attempt, item: object) -> bool | None:
    """Whether a listed message is the attempt's; None where that cannot be told (a redacted body, one that is written
    otherwise, no date).
    """
    message = attempt.message
    sid, direction, to, sender, created = _wire.texts(item, "/sid", "/direction", "/to", "/from", "/date_created")
    if not direction.startswith("outbound") or to != message.to or (message.sender and sender != message.sender):
        return False
    body = _wire.scalar(_wire.pick(item, "/body"))
    if body and not _is_alike(body, message.body):
        return False
    older = _is_older(attempt, created)
    if older is None:
        return None
    if older:
        return False
    return True if body == message.body and _MESSAGE_SID.fullmatch(sid) else None


def _is_alike(listed: str, body: str) -> bool:
    """Whether it may be the same text: some services write signs otherwise, a trial account puts words in front."""
    bare = _bare(body)
    return listed == body or (bare != "" and _bare(listed).endswith(bare))


def _bare(text: str) -> str:
    """Without punctuation, spaces and accents."""
    return "".join(sign for sign in normalize("NFKD", text) if category(sign)[0] not in "CMPZ")


def _is_older(attempt: Attempt, told: str) -> bool | None:
    """Whether a date lies before the attempt; None where it cannot be read."""
    try:
        date = parsedate_to_datetime(told)
    except (ValueError, TypeError, IndexError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return attempt.leased_us > 0 and aware < _wire.instant(attempt.leased_us) - LOOK_BACK
