"""Twilio Programmable Messaging, API version 2010-04-01: one text per form POST, receipts and texts as signed forms.

Never does IO, never decides. Sources, all as of 2026-11-23:
 - https://www.twilio.com/docs/messaging/api/message-resource (requests, statuses, listing)
 - https://www.twilio.com/docs/api/errors (codes)
 - https://www.twilio.com/docs/usage/security (signatures, checked by the vendor's own RequestValidator)
 - https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides (the callback's fragment)
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from hmac import compare_digest
from itertools import chain
from typing import ClassVar, Protocol, cast
from urllib.parse import urlencode

import msgspec
from twilio.request_validator import RequestValidator  # pyright: ignore[reportMissingTypeStubs]

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    BadSignature,
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
from smsd_providers._vendor import checked_base_url

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
PAGE_SIZE = 1000  # the vendor's maximum: what one number got in a day fits one page
LOOK_BACK = timedelta(minutes=5)  # how far their clock may be behind ours
FIELDS_MAX = 200

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
        checked_base_url(self.base_url)


class _Validator(Protocol):
    def validate(self, uri: str, params: object, signature: str) -> bool: ...


class _Form(dict[str, list[str]]):
    """A form as the RequestValidator reads one: it asks `getlist` for names that come more than once."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


class Dialect:
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
        self.name = name
        self._base_url = checked_base_url(base_url)
        self._account_sid = account_sid
        self._path = f"/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._authorization = _wire.basic(user, password)
        self._validators: tuple[_Validator, ...] = tuple(
            cast("_Validator", RequestValidator(token)) for token in tokens
        )
        self._keyed = tuple(hmac.new(token.encode(), digestmod="sha1") for token in tokens)
        self._secrets = frozenset({password, *tokens, self._authorization.removeprefix("Basic ")})
        self._service = service
        self._fragment = f"#{overrides}" if overrides else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def secrets(self) -> frozenset[str]:
        return self._secrets

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
        }
        content = ("Content-Type", "application/x-www-form-urlencoded")
        return HttpRequest("POST", self._base_url + self._path, (*self._headers, content), _wire.form(fields).encode())

    @property
    def _headers(self) -> tuple[tuple[str, str], ...]:
        return (("Authorization", self._authorization), ("Accept", "application/json"))

    def answer(self, response: HttpResponse) -> Answer:
        document = _wire.decode(response.body)
        if response.status == 201:
            sid, segments = (_wire.scalar(_wire.pick(document, at)) for at in ("/sid", "/num_segments"))
            if not _MESSAGE_SID.fullmatch(sid):
                return Unknown("201", "created, but the answer names no message")
            return Accepted(sid, _wire.count(segments))
        # {code, message} or, newer, RFC 9457 {code, title, detail}
        code, detail, message, title = (
            _wire.scalar(_wire.pick(document, at)) for at in ("/code", "/detail", "/message", "/title")
        )
        detail = _wire.said(detail or message or title)
        means = CODES.get(code)
        # A 5xx may come after the message was taken (docs/api/errors/20500), whatever its code says.
        if means is None or not 400 <= response.status < 500 or response.status in (408, 409, 425):
            return _wire.by_status(response, code, detail)
        return _wire.filled(means, response, code, detail)

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
        try:
            reference = _wire.query_value(callback.url, "ref")
        except ValueError as error:
            raise BadCallback("the callback's URL cannot be read") from error
        return [_receipt(sid, word, fields.get("ErrorCode", ""), fields.get("To", ""), reference)]

    def inbound(self, callback: Callback) -> list[Inbound]:
        fields = self._authentic(callback)
        sid, sender, to = (fields.get(name, "") for name in ("MessageSid", "From", "To"))
        if not sid or not sender or "Body" not in fields:
            raise BadCallback("a text has MessageSid, From and Body")
        parts, took = max(1, _wire.count(fields.get("NumSegments", ""))), fields.get("OptOutType", "")
        return [Inbound(sid, sender, to, fields["Body"], parts, opt_out_type=_vendor.opt_out(took))]

    def _genuine(self, url: str, pairs: Sequence[tuple[str, str]], signature: str) -> bool:
        """Whether the signature is Twilio's. The plain one over this very URL costs a fourth of what the validator
        does, which judges all that this does not recognise (other spellings of the port, what was sent twice).
        """
        text = (url + "".join(chain.from_iterable(sorted(pairs)))).encode()
        told = signature.encode("utf-8", "replace")
        for keyed in self._keyed:
            signed = keyed.copy()  # the key is worked in already
            signed.update(text)
            if compare_digest(b64encode(signed.digest()), told):
                return True
        form = _Form()
        for name, value in pairs:
            form.setdefault(name, []).append(value)
        return any(validator.validate(url, form, signature) for validator in self._validators)

    def _authentic(self, callback: Callback) -> dict[str, str]:
        """The callback's fields once its signature holds, by whichever token; else BadSignature."""
        signature = callback.headers.get("x-twilio-signature", "")
        is_json = "json" in callback.headers.get("content-type", "")
        try:
            if is_json:
                _check_hash(callback)
            pairs = [] if is_json else _wire.form_pairs(callback.body, FIELDS_MAX)
            genuine = signature and self._genuine(callback.url, pairs, signature)
        except ValueError as error:  # a URL or a form that cannot be read was not signed by Twilio
            raise BadSignature from error
        if not genuine:
            raise BadSignature
        if is_json:
            document = _wire.decode(callback.body)
            told = cast("dict[str, object]", document) if isinstance(document, dict) else {}
            fields = {name: _wire.scalar(value) for name, value in told.items()}
        else:
            fields = dict(reversed(pairs))  # of a repeated one the first
        if fields.get("AccountSid", self._account_sid) != self._account_sid:
            raise BadCallback("AccountSid is another account's")
        return fields

    # ---- Look-up -----------------------------------------------------------------------------------------------------

    def look_up(self, attempt: Attempt) -> HttpRequest:
        """The account's messages to this number since the day before the lease began: the filter knows days only."""
        query = {"To": attempt.message.to, "From": attempt.message.sender}
        if attempt.leased_us:
            query["DateSent>"] = (_instant(attempt.leased_us) - LOOK_BACK).date().isoformat()
        query = {name: value for name, value in query.items() if value} | {"PageSize": str(PAGE_SIZE)}
        return HttpRequest("GET", f"{self._base_url}{self._path}?{urlencode(query)}", self._headers)

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        document = _wire.decode(response.body)
        items = _wire.pick(document, "/messages")
        if response.status != 200 or not isinstance(items, list):
            return Inconclusive(f"the listing was answered with {response.status}")
        candidates: list[Receipt] = []
        for item in cast("list[object]", items):
            same = _same(attempt, item)
            if same is None:
                return Inconclusive("the listing has a message to this number that cannot be compared")
            if same:
                sid, word, code = (_wire.scalar(_wire.pick(item, at)) for at in ("/sid", "/status", "/error_code"))
                candidates.append(_receipt(sid, word, code, attempt.message.to))
        if candidates:
            return Found(tuple(candidates))
        following = _wire.scalar(_wire.pick(document, "/next_page_uri"))
        if not following:
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


def _check_hash(callback: Callback) -> None:
    """Of a JSON body the URL alone is signed, which names the body's hash (docs/usage/security). Raises ValueError."""
    if _wire.query_value(callback.url, "bodySHA256").lower() != sha256(callback.body).hexdigest():
        raise ValueError("the body's hash is not the one that the URL names")


def _receipt(sid: str, word: str, code: str, to: str, reference: str = "") -> Receipt:
    status = STATUSES.get(word, ReceiptStatus.QUEUED)
    code = "" if code == "0" else code
    negative = status is ReceiptStatus.UNDELIVERED
    reason = _vendor.ended(CODES.get(code, Refused("unlisted" if code else "refused"))) if negative else ""
    # RawDlrDoneDate has no zone, so at_ms stays 0
    return Receipt(status, sid, reference, reason, code, word, to=to)


def _same(attempt: Attempt, item: object) -> bool | None:
    """Whether a listed message is the attempt's; None where that cannot be told (a redacted body, no date)."""
    message = attempt.message
    sid, direction, to, sender, created = (
        _wire.scalar(_wire.pick(item, at)) for at in ("/sid", "/direction", "/to", "/from", "/date_created")
    )
    if not direction.startswith("outbound") or to != message.to or (message.sender and sender != message.sender):
        return False
    body = _wire.scalar(_wire.pick(item, "/body"))
    if body and body != message.body:
        return False
    try:
        date = parsedate_to_datetime(created)
    except (ValueError, TypeError, IndexError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    if attempt.leased_us and aware < _instant(attempt.leased_us) - LOOK_BACK:
        return False
    return True if body and _MESSAGE_SID.fullmatch(sid) else None


def _instant(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
