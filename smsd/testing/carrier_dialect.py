"""What a dialect is: one vendor's words for what the carrier understands and says, and what all dialects share.

Never does IO and never decides: a dialect reads and writes text. The carrier and its dice speak Twilio's codes
(carrier_faults); a dialect has a table of what its vendor says instead. Dialects are written apart from smsd's own
providers, from the vendors' documents, so that each can convict the other.
"""

import hmac
import re
from base64 import b64encode, urlsafe_b64encode
from binascii import a2b_qp
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import ClassVar, Literal, Protocol, cast
from urllib.parse import unquote, urlsplit

import msgspec

from smsd.testing.carrier_faults import MAGIC_SENDERS
from smsd.testing.carrier_http import Request
from smsd.testing.carrier_ledger import Ledger, Record

DIALECTS: Mapping[str, str] = {
    "twilio": "smsd.testing.dialects.twilio:Twilio",
    "vonage": "smsd.testing.dialects.vonage:Vonage",
    "vonage-sms": "smsd.testing.dialects.vonage_sms:VonageSms",
    "plivo": "smsd.testing.dialects.plivo:Plivo",
    "telnyx": "smsd.testing.dialects.telnyx:Telnyx",
    "sinch": "smsd.testing.dialects.sinch:Sinch",
    "sinch-project": "smsd.testing.dialects.sinch:SinchProject",
    "infobip": "smsd.testing.dialects.infobip:Infobip",
    "bird": "smsd.testing.dialects.bird:Bird",
    "messagebird": "smsd.testing.dialects.messagebird:MessageBird",
    "bandwidth": "smsd.testing.dialects.bandwidth:Bandwidth",
    "aws": "smsd.testing.dialects.aws:Aws",
    "azure": "smsd.testing.dialects.azure:Azure",
    "azure-entra": "smsd.testing.dialects.azure:AzureEntra",
    "clickatell": "smsd.testing.dialects.clickatell:Clickatell",
    "kannel": "smsd.testing.dialects.kannel:Kannel",
}
"""Each by the `type` of the provider that speaks it, and where that has another way to be known, by this too."""


OptOuts = Literal["answer", "receipt", "untold"]
"""Where a vendor says that the recipient has opted out; "untold": its receipt has no word that means this alone."""

GRANTED_S = 3  # the life of an access token


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Who may send. Each dialect calls these as its vendor does; signing keys are made of the secret."""

    user: str
    secret: str


class Asked(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A request for a message."""

    to: str  # E.164, with its +
    sender: str
    body: str
    url: str = ""  # where its receipts go; "": to the account's own, if it has one
    reference: str = ""  # the sender's own, from a field; "": as the url says it
    service: str = ""
    code: int = 0  # what the vendor refuses it for; 0: nothing
    key: str = ""  # of a repeat that the vendor recognises (then the dialect is Keyed); "": it recognises none


class Said(msgspec.Struct, frozen=True, gc=False):
    """An answer. `headers`: whole lines, each ended."""

    status: int
    body: bytes
    headers: bytes = b""
    content: bytes = b"application/json"


class Told(msgspec.Struct, gc=False, kw_only=True):
    """What one status callback says."""

    sid: str  # of the message, or of the segment
    parent: str  # of the message
    to: str
    sender: str
    service: str
    reference: str
    status: str  # sent, delivered, undelivered
    error_code: int  # 0: none
    done_us: int  # when the network said so; 0: not yet
    now_us: int
    event: int  # which of the message's callbacks this is, the same in every try
    segment: int = 1
    segments: int = 1


class Text(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text that somebody sends to one of the account's numbers."""

    sender: str = msgspec.field(name="from")
    to: str
    body: str
    url: str  # where the account wants its texts


class Origin(msgspec.Struct, frozen=True, cache_hash=True):
    """Where a callback URL leads: one pool of connections each."""

    tls: bool
    host: str
    port: int
    netloc: str


class Dialect(Protocol):
    """One account at one vendor, who speaks so. Holds no mutable state."""

    per_segment: ClassVar[bool]  # each segment has an id and receipts of its own
    opt_outs: ClassVar[OptOuts]

    def __init__(self, account: Account) -> None: ...

    def options(self, base_url: str) -> tuple[dict[str, object], dict[str, str]]:
        """What `[providers.<name>]` says to send here, and the environment that its secrets are read from."""
        ...

    def sid_prefix(self, digits: str) -> str:
        """What every message's id of one run begins with: made of 22 hex digits, ten more follow."""
        ...

    def admits(self, request: Request) -> bool:
        """Whether the credentials are the account's."""
        ...

    def read(self, request: Request) -> Asked | None:
        """A request for a message; None for any other."""
        ...

    def taken(self, record: Record, sids: list[str], body: str) -> Said:
        """The answer to a message that was taken; one id for each segment where per_segment."""
        ...

    def refused(self, code: int, after_s: float) -> Said:
        """The answer that is one of Twilio's codes in the vendor's words. `after_s`: Retry-After, 0 for none."""
        ...

    def looked_up(self, request: Request, ledger: Ledger, now_us: int, until_us: int) -> Said | None:
        """The answer to a look-up, from what came until `until_us`; None where the request is none."""
        ...

    def receipt(self, told: Told, url: str, origin: Origin, target: str) -> bytes:
        """The whole request of a status callback."""
        ...

    def text(self, text: Text, sid: str, now_us: int, origin: Origin, target: str) -> bytes:
        """The whole request that brings in a text."""
        ...


class Keyed(Dialect, Protocol):
    """One whose vendor recognises a repeat by a key: its Asked has one."""

    def repeated(self, first: Record, sids: list[str], body: str, *, same: bool) -> Said:
        """The answer to a request whose key stands for a message already. `same`: to the byte what was asked then."""
        ...


class Granting(Dialect, Protocol):
    """A vendor that gives access tokens, and wants to see them."""

    def granted(self, request: Request) -> Said | None:
        """The answer to a request for an access token; None for any other."""
        ...


def dialect(name: str, account: Account) -> Dialect:
    """Raises KeyError where nobody speaks so."""
    return kind_of(name)(account)


def kind_of(name: str) -> type[Dialect]:
    """What speaks so. Raises KeyError."""
    module, _, kind = DIALECTS[name].partition(":")
    return cast("type[Dialect]", getattr(import_module(module), kind))


# ---- What dialects share ---------------------------------------------------------------------------------------------


def form(body: bytes) -> dict[str, str]:
    """The fields of a urlencoded form or query; of a repeated one the last. Bytes that are not UTF-8 become U+FFFD."""
    fields: dict[str, str] = {}
    for pair in body.replace(b"+", b" ").split(b"&"):
        name, _, value = pair.partition(b"=")
        if name:
            fields[_NAMES.get(name) or _plain(name)] = _plain(value)
    return fields


# Twilio's, which come a million times in a benchmark.
_NAMES = {
    name.encode(): name for name in ("To", "From", "Body", "StatusCallback", "MessagingServiceSid", "ValidityPeriod")
}


_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_DIGITS = re.compile(r"[1-9][0-9]{6,14}")
_URL = re.compile(r"https?://[!-~]+")
_QUERY = re.compile(r"[!-~]*")


def _plain(text: bytes) -> str:
    # Quoted-printable (RFC 2045 §6.7) is percent-encoding with another sign, no `=` can stand in here, and its decoder
    # is in C: several times as fast as urllib's.
    return (a2b_qp(text.replace(b"%", b"=")) if b"%" in text else text).decode("utf-8", "replace")


def origin_and_target(url: str) -> tuple[Origin, str] | None:
    """Splits a callback URL into where to connect and what to ask for (fragment dropped); None if it is none."""
    base, mark, query = url.partition("#")[0].partition("?")
    leads = _origin_and_path(base)
    if leads is None or not _QUERY.fullmatch(query):
        return None
    return leads[0], f"{leads[1]}{mark}{query}"


@lru_cache(maxsize=1024)
def _origin_and_path(url: str) -> tuple[Origin, str] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not _URL.fullmatch(url) or not parts.hostname:
        return None
    tls = parts.scheme == "https"
    origin = Origin(tls, parts.hostname, port or (443 if tls else 80), parts.netloc.rpartition("@")[2])
    return origin, parts.path or "/"


def reference(target: str) -> str:
    """The sender's own reference: the parameter `ref` in a callback's query, decoded; "" where there is none."""
    for pair in target.partition("?")[2].split("&"):
        if pair.startswith("ref="):
            return unquote(pair[4:].replace("%2F", "/"))
    return ""


def mistake(to: str, sender: str, body: str, most: int = 1600) -> int:
    """The code of what any vendor would refuse in a request for a message, or 0."""
    if not _E164.fullmatch(to):
        return 21211
    if sender in MAGIC_SENDERS:
        return MAGIC_SENDERS[sender]
    if not sender:
        return 21603
    return 0 if 0 < len(body) <= most else 21602 if not body else 21617


def post(url_host: str, target: str, body: bytes, *headers: tuple[str, str], method: str = "POST") -> bytes:
    """A whole request with its Content-Length; a GET has no body."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    length = f"Content-Length: {len(body)}\r\n" if body or method != "GET" else ""
    return f"{method} {target} HTTP/1.1\r\nHost: {url_host}\r\n{lines}{length}\r\n".encode("ascii") + body


def retry_after(after_s: float) -> bytes:
    """The header, where there is anything to say."""
    return f"Retry-After: {after_s:g}\r\n".encode() if after_s else b""


def uuid_prefix(digits: str) -> str:
    """Ids that look like UUIDs, whatever dialect: 22 digits, the last ten to follow."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def plus(number: str) -> str:
    """A phone number with its +, where the vendor wants none; a short code or a word as it is."""
    return f"+{number}" if _DIGITS.fullmatch(number) else number


def bearer(request: Request) -> str:
    """The token of a Bearer authorization; "" for none."""
    scheme, _, token = request.head.fields.get(b"authorization", b"").partition(b" ")
    return token.strip().decode("ascii", "replace") if scheme.lower() == b"bearer" else ""


def same(shown: str, ours: str) -> bool:
    """Whether a secret is the account's, whatever characters it has, in a time that does not tell."""
    return hmac.compare_digest(shown.encode("utf-8", "replace"), ours.encode("utf-8", "replace"))


def grant(request: Request, account: Account, now_us: int) -> Said:
    """The answer to a client that asks for an access token by its own credentials (RFC 6749 §4.4): one of a short life,
    so that it is renewed in any rehearsal.
    """
    known = request.head.fields.get(b"authorization", b"")
    ours = b"Basic " + b64encode(f"{account.user}:{account.secret}".encode())
    if not hmac.compare_digest(known, ours):
        return Said(401, b'{"error": "invalid_client", "error_description": "The client is not known"}')
    if form(request.body).get("grant_type") != "client_credentials":
        return Said(400, b'{"error": "unsupported_grant_type"}')
    until = str(now_us // 1_000_000 + GRANTED_S)
    given = {"access_token": f"{until}.{_seal(account, until)}", "token_type": "Bearer", "expires_in": GRANTED_S}
    return Said(200, msgspec.json.encode(given))


def holds(request: Request, account: Account, now_us: int) -> bool:
    """Whether it shows an access token of the account's that has not ended."""
    until, _, seal = bearer(request).partition(".")
    return same(seal, _seal(account, until)) and int(until) > now_us // 1_000_000


def _seal(account: Account, until: str) -> str:
    return hmac.digest(account.secret.encode(), until.encode(), "sha256").hex()


def token(key: str, claims: Mapping[str, object]) -> str:
    """A JSON Web Token of HS256 (RFC 7519)."""
    head, said = (
        urlsafe_b64encode(msgspec.json.encode(part)).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT"}, dict(claims))
    )
    signature = urlsafe_b64encode(hmac.digest(key.encode(), head + b"." + said, "sha256")).rstrip(b"=")
    return b".".join((head, said, signature)).decode()


def json_object(body: bytes) -> dict[str, object]:
    """A JSON object; anything else reads as an empty one."""
    try:
        told = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", told) if isinstance(told, dict) else {}


def text_of(told: Mapping[str, object], name: str) -> str:
    """A field's text; "" where it has none."""
    value = told.get(name)
    return value if isinstance(value, str) else ""
