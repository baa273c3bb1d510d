"""The contract that a provider implements: pure verbs that build requests and read answers.

A provider never does IO, never reads a clock, never retries, never logs, never decides what happens to a message: it
translates one vendor's language into the values below and back. The shell performs the requests, the core decides.
Contract version 1: names here stay compatible for one release (contract.md §7).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, Literal, Protocol

import msgspec

from smsd.message import Message

CONTRACT_VERSION = 1


class HttpRequest(msgspec.Struct, frozen=True):
    """One HTTP request, whole. Headers keep their spelling; the transport adds Host and Content-Length only, and where
    `token` is set `Authorization: Bearer` with what is granted to that one (OAuth 2.0, RFC 6749 §4.4), which it keeps.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    token: "HttpRequest | None" = None  # what asks for the access token that this one must show


class HttpResponse(msgspec.Struct, frozen=True):
    """One HTTP answer, whole. Header names are in lower case. Redirects have not been followed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Callback(msgspec.Struct, frozen=True):
    """What a provider called us with: the raw body and the URL as it was told to the provider (from `public_url`)."""

    method: str
    url: str  # absolute, with the query exactly as it came
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    received_us: int = 0  # when it came, epoch µs: what a signature's own time is held against
    fetched: Mapping[str, bytes] = {}  # what Needs has asked for, by URL
    from_network: bool = False  # it came from one of the provider's `callback_networks`; from none, it never comes here


# ---- What an attempt came to -----------------------------------------------------------------------------------------


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The provider took the message."""

    provider_id: str  # "" only where capabilities.ids says so
    segments: int = 0  # as the provider counts them; 0: it did not say
    segment_ids: tuple[str, ...] = ()  # where each segment has its own id, and its own receipt: all but the first


class Throttled(msgspec.Struct, frozen=True, tag="throttled"):
    """Surely not taken: too fast. No attempt is counted; the provider is slowed down."""

    after_s: float | None = None  # Retry-After, where the provider gave one
    code: str = ""
    detail: str = ""


class Deferred(msgspec.Struct, frozen=True, tag="deferred"):
    """Surely not taken, for a passing reason: tried again with backoff, here or at another provider."""

    code: str = ""
    detail: str = ""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Surely not taken, and never will be: the message ends as `failed` (or tries the route's others: `elsewhere`)."""

    reason: str  # one of REFUSALS
    code: str = ""
    detail: str = ""
    elsewhere: bool = False  # another provider may take it (a sender or a country that this one does not serve)


class Unusable(msgspec.Struct, frozen=True, tag="unusable"):
    """Nothing is wrong with the message but with us: credentials, account, URL. It goes back unpunished."""

    reason: str  # a sentence for the operator
    scope: Literal["process", "account"] = "process"  # who stops offering the provider: this process, or all
    code: str = ""
    ends: Literal["config", "funds"] = "config"  # the reason where not the answer but a receipt has such a code


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """The message may have been taken: timeout or reset after the first byte, 5xx, an answer nobody listed."""

    code: str = ""
    detail: str = ""


Answer = Accepted | Throttled | Deferred | Refused | Unusable | Unknown

REFUSALS = frozenset(
    {"refused", "bad_number", "opted_out", "blocked", "filtered", "sender", "content", "funds", "config", "unlisted"}
)
"""Reasons that a Refused or a negative Receipt may carry (contract.md §3, reasons of ends)."""


# ---- What comes back later -------------------------------------------------------------------------------------------


class ReceiptStatus(StrEnum):
    """A receipt's status in the normal form. Only the last two change a message's state."""

    QUEUED = "queued"
    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"

    @property
    def final(self) -> bool:
        return self in (ReceiptStatus.DELIVERED, ReceiptStatus.UNDELIVERED)


class Receipt(msgspec.Struct, frozen=True):
    """A delivery receipt in the normal form.

    Where each segment has an id and receipts of its own, `provider_id` is the segment's and `parts` is how many there
    are, 0 where the vendor does not say: the message is delivered when all are, and undelivered when one is.
    """

    status: ReceiptStatus
    provider_id: str = ""
    reference: str = ""  # ours, where the callback carried it
    reason: str = ""  # for UNDELIVERED: one of REFUSALS or "unlisted"
    error_code: str = ""  # the vendor's
    raw_status: str = ""  # the vendor's word
    at_ms: int = 0  # when the network said so; 0: the vendor gives no trustworthy time
    to: str = ""
    part: int = 1
    parts: int = 1


class Inbound(msgspec.Struct, frozen=True):
    """A text that a person sent (MO), or one part of it (`group` is set) where the provider does not join them."""

    provider_id: str
    sender: str
    to: str
    body: str
    parts: int = 1
    part: int = 1
    group: str = ""  # what the parts of one text have in common; "": the text is whole
    opt_out_type: Literal["", "stop", "start", "help"] = ""  # what the provider itself took the text for, and acted on


class Greeting(msgspec.Struct, frozen=True):
    """What a callback is answered that asks whether we want callbacks: a handshake, not a receipt."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    request: HttpRequest | None = None  # made first, where the vendor wants to be called back


class BadSignature(Exception):
    """The callback is forged, or signed with a secret that is not ours: answered 403 and counted, never explained."""


class NoCredentials(BadSignature):
    """It shows no credentials at all; some vendors send them only when asked: answered 401 with a challenge."""


class BadCallback(Exception):
    """The callback is authentic, but cannot be read: answered 400 and counted. The text says what was expected."""


class Needs(Exception):
    """The proof needs a public document, such as a certificate: the shell fetches it, keeps it for a while, and asks
    again with it in `Callback.fetched`. Who raises it has made sure that the URL is the vendor's own.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


# ---- Look-up ---------------------------------------------------------------------------------------------------------


class Found(msgspec.Struct, frozen=True, tag="found"):
    """What the provider has that may be the message: same number, same text, in the attempt's time (or our reference).

    The core takes the first candidate whose id belongs to no other message; with none left it counts as NotFound.
    """

    candidates: tuple[Receipt, ...]  # each with its provider_id and the status it has now


class NotFound(msgspec.Struct, frozen=True, tag="not_found"):
    """A complete answer, and the message is not in it."""


class More(msgspec.Struct, frozen=True, tag="more"):
    """The listing goes on: ask this next."""

    request: HttpRequest


class Inconclusive(msgspec.Struct, frozen=True, tag="inconclusive"):
    """The look-up failed or cannot be believed."""

    detail: str = ""


LookUpResult = Found | NotFound | More | Inconclusive


class Capabilities(msgspec.Struct, frozen=True):
    """What a provider truly can do; the core plans by it, the conformance kit holds the provider to it."""

    look_up: Literal["none", "listing", "reference"] = "none"  # listing: by number and time, candidates are compared
    idempotency_s: int = (
        0  # how long a repeated key is recognised, in a request that is the same to the byte; 0: no key
    )
    receipts: bool = True
    receipts_per_segment: bool = False  # each segment has an id and receipts of its own
    inbound: bool = False
    callback_per_message: bool = True  # the callback URL travels with each message and carries our reference
    one_webhook: bool = False  # receipts and texts come to one URL: each verb returns [] for the other's
    greets: bool = False  # it has the verb `greeting`, for the vendor asks before it sends callbacks
    ids: bool = True  # False: an answer may name no id, and our reference is what the message is known by
    settle_s: float = 5  # from a lease's end until a look-up is believed, where the config does not say; in seconds


class Attempt(msgspec.Struct, frozen=True):
    """What a provider is told about one attempt, to submit it or to look it up."""

    message: Message
    reference: str  # ours: handed back by the receipt
    callback_url: str  # for this attempt, our reference in its query; "" when no public_url is configured
    idempotency_key: str  # the same for every resend under one key; "" where capabilities name none
    leased_us: int = 0  # when the attempt was leased: a listing starts a little before
    valid_s: int = 0  # seconds until the message's deadline; 0: do not tell the provider


class Provider(Protocol):
    """One provider account in one vendor's language. Made from its config table; holds no mutable state."""

    Options: ClassVar[type[msgspec.Struct]]
    """The keys of `[providers.<name>]` beyond the common ones; `smsd check` judges by it."""

    capabilities: Capabilities

    def submit(self, attempt: Attempt) -> HttpRequest:
        """The request that sends one message. Raises nothing for any admitted message."""
        ...

    def answer(self, response: HttpResponse) -> Answer:
        """What the provider's answer to `submit` means. An unlisted answer is never Accepted."""
        ...

    def receipts(self, callback: Callback) -> list[Receipt]:
        """The receipts in a status callback. Raises BadSignature, BadCallback."""
        ...

    def inbound(self, callback: Callback) -> list[Inbound]:
        """The texts in an inbound callback. Raises BadSignature, BadCallback."""
        ...

    def look_up(self, attempt: Attempt) -> HttpRequest:
        """Asks whether the provider has the attempt's message. Called only where capabilities.look_up is not "none"."""
        ...

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        """Reads the answer to `look_up` (and to each More)."""
        ...

    def secrets(self) -> frozenset[str]:
        """Every secret text that this provider knows, so that logs and errors can be searched for them."""
        ...


class Greeter(Provider, Protocol):
    """A provider whose vendor asks, before it sends callbacks, whether we want them: capabilities.greets."""

    def greeting(self, callback: Callback) -> Greeting | None:
        """How to answer a handshake; None for a callback that is none. Raises as `receipts` does: it is proven too."""
        ...
