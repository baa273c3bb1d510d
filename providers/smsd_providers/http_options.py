"""The keys of a provider of type "http", and every mistake in them found before a message is sent.

Never sends and never reads a secret. A mistake is a ValueError whose sentence begins with the key, so that `smsd check`
can show it beside its line.
"""

import re
from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Literal, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec

from smsd.provider import REFUSALS, Accepted, Answer, Deferred, ReceiptStatus, Refused, Throttled, Unknown, Unusable
from smsd.secret import Secret
from smsd_providers._proof import Callbacks, check

PLACEHOLDERS = frozenset(
    {"to", "to_digits", "from", "body", "segments", "encoding", "id", "reference", "callback_url"}
    | {"valid_s", "idempotency_key"}
)
NUMERIC = frozenset({"segments", "valid_s"})
CHANGING = frozenset({"reference", "callback_url", "valid_s"})  # what stands for something else in each attempt

ANSWERS: dict[str, Answer] = {
    "accepted": Accepted(""),
    "throttled": Throttled(),
    "deferred": Deferred(),
    "unknown": Unknown(),
    "unusable": Unusable("the gateway refuses us", "account"),
    "unusable:account": Unusable("the gateway refuses us", "account"),
    "unusable:process": Unusable("the gateway refuses us", "process"),
    "refused": Refused("refused"),
    "refused:elsewhere": Refused("refused", elsewhere=True),
    **{f"refused:{reason}": Refused(reason) for reason in REFUSALS},
    **{f"refused:{reason}:elsewhere": Refused(reason, elsewhere=True) for reason in REFUSALS},
}
"""What the tables `statuses` and `codes` may say."""

RECEIPTS: dict[str, tuple[ReceiptStatus, str]] = {
    **{status.value: (status, "refused" if status is ReceiptStatus.UNDELIVERED else "") for status in ReceiptStatus},
    **{f"undelivered:{reason}": (ReceiptStatus.UNDELIVERED, reason) for reason in REFUSALS},
}
"""What `receipts.statuses` may say: a status of the normal form, `undelivered` with a reason where it is known."""

_NEEDED = ("status_at", "from_at", "body_at")  # of a callback; other places may stay open

_SECRET = re.compile(r"(authorization|password|passwd|passphrase|pwd|secret|token)$")
_MAYBE_SECRET = re.compile(r"(api|access|auth|private)key$")  # beside what `auth` holds, it may be an account's name
_NEVER = "a secret is never written into the config: `auth` takes it, as env:NAME or file:PATH"

Format = Literal["form", "json", "query"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the config: no key that nobody reads."""


class Auth(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests are authenticated."""

    scheme: Literal["basic", "bearer", "header", "query", "field"]
    secret: Secret
    user: str = ""  # of "basic"
    name: str = ""  # of "header", "query" and "field": which one holds the secret


class Idempotency(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That the gateway recognises a repeated key, and for how long."""

    window_s: int
    header: str = ""  # or use {idempotency_key} in a field
    compares: bool = True  # it refuses a repeat that is not the same to the byte; false: it never looks


class LookUp(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to ask whether the gateway has a message. Its status words are those of `receipts.statuses`."""

    url: str
    id_at: str
    list_at: str | None = None  # where the array is ("" for the whole answer); without it the answer is one message
    reference_at: str = ""  # where each message repeats our reference: a listing must be compared
    status_at: str = ""
    error_at: str = ""
    not_found: tuple[int, ...] = ()  # HTTP statuses that say so, such as 404


class Receipts(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a status callback says what. Names of parameters, or JSON pointers where `format` is "json"."""

    format: Format
    status_at: str
    statuses: dict[str, str]
    list_at: str = ""
    id_at: str = ""
    reference_at: str = ""  # without it: `ref` in the callback's URL, where {callback_url} was told
    error_at: str = ""
    errors: dict[str, str] = {}  # code -> reason
    to_at: str = ""


class Texts(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an inbound callback says what."""

    format: Format
    id_at: str
    from_at: str
    body_at: str
    to_at: str = ""
    list_at: str = ""


class HttpOptions(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "http". Templates hold `{placeholders}`; what they stand for is always escaped."""

    url: str
    id_at: str  # of the gateway's id in its answer: a JSON pointer, "header:NAME" or "regex:PATTERN" with one group
    method: Literal["POST", "PUT", "GET"] = "POST"
    format: Format = "json"
    fields: dict[str, object] = {}  # a field with a placeholder that stands for nothing is left out
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    auth: Auth | None = None
    encodings: dict[str, str] = {}  # what {encoding} says instead of GSM-7 and UCS-2
    accepted: tuple[int, ...] = (200, 201, 202)
    statuses: dict[str, str] = {}
    code_at: str = ""
    codes: dict[str, str] = {}
    detail_at: str = ""
    segments_at: str = ""
    idempotency: Idempotency | None = None
    look_up: LookUp | None = None
    receipts: Receipts | None = None
    inbound: Texts | None = None
    callbacks: Callbacks | None = None

    def __post_init__(self) -> None:
        _check_requests(self)
        _check_answers(self)
        _check_callbacks(self)

    @property
    def used(self) -> frozenset[str]:
        """The placeholders that requests make use of."""
        return frozenset(names(self.url) | names(self.fields) | names(self.query) | names(self.headers))


def names(template: object) -> set[str]:
    """The placeholders in a checked template, however deep it is."""
    match template:
        case str():
            return {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        case dict():
            return {name for value in cast("dict[str, object]", template).values() for name in names(value)}
        case list():
            return {name for value in cast("list[object]", template) for name in names(value)}
        case _:
            return set()


def _check_template(key: str, template: object, known: frozenset[str] = PLACEHOLDERS, nests: bool = False) -> None:
    match template:
        case str():
            _check_text(key, template, known)
        case bool() | int() | float():
            pass
        case dict() if nests:
            for name, value in cast("dict[str, object]", template).items():
                _check_template(f"{key}.{name}", value, known, nests)
        case list():
            for place, value in enumerate(cast("list[object]", template)):
                _check_template(f"{key}[{place}]", value, known, nests)
        case dict():
            raise ValueError(f'{key}: a table inside a field needs format = "json"')
        case _:
            raise ValueError(f"{key}: is a text, a number, true, false or a list of those")


def _check_text(key: str, template: str, known: frozenset[str]) -> None:
    try:
        parsed = list(Formatter().parse(template))
    except ValueError:
        raise ValueError(f"{key}: a brace that means itself is written twice: {{{{ or }}}}") from None
    for _, name, spec, conversion in parsed:
        if name is not None and (name not in known or spec or conversion):
            raise ValueError(f"{key}: {{{name}}} is no placeholder here; there are {', '.join(sorted(known))}")


def _check_url(key: str, url: str, auth: Auth | None) -> None:
    _check_text(key, url, PLACEHOLDERS - {"body"})
    try:
        parts = urlsplit(url.partition("{")[0])
        port = parts.port
    except ValueError:
        raise ValueError(f"{key}: cannot be read as a URL") from None
    fixed = parts.path or "{" not in url  # else the first placeholder would be part of the host
    if parts.scheme not in ("http", "https") or not parts.hostname or not fixed or port == 0:
        raise ValueError(f"{key}: is http:// or https:// with a host that holds no placeholder")
    if parts.username is not None or parts.fragment or not url.isascii() or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError(f"{key}: holds no user, fragment, space or letter beyond ASCII; credentials belong to `auth`")
    if any(_is_secret(name, auth) for name, value in parse_qsl(urlsplit(url).query) if not names(value)):
        raise ValueError(f"{key}: {_NEVER}")


def _check_requests(options: HttpOptions) -> None:
    _check_url("url", options.url, options.auth)
    _check_template("fields", options.fields, nests=True)
    for name, value in options.fields.items() if options.format != "json" else ():
        _check_template(f"fields.{name}", value)
    _check_template("query", options.query, nests=True)
    for name, value in options.headers.items():
        _check_text(f"headers.{name}", value, PLACEHOLDERS - {"body"})
        if not (name + value).isascii() or not (name + value).isprintable():
            raise ValueError(f"headers.{name}: holds ASCII text on one line")
    _check_keys("encodings", options.encodings, ("GSM-7", "UCS-2"))
    if options.method == "GET" and options.format != "query":
        raise ValueError('format: a GET has no body, so its fields go into the URL: format = "query"')
    if not {"to", "to_digits"} & options.used or "body" not in options.used:
        raise ValueError("fields: must say {to} (or {to_digits}) and {body} somewhere")
    auth = options.auth
    if auth is not None and (auth.scheme in ("header", "query", "field")) != bool(auth.name):
        raise ValueError('auth.name: names the header, query parameter or field; "basic" and "bearer" have none')
    if auth is not None and (auth.scheme == "basic") != bool(auth.user):
        raise ValueError('auth.user: is needed by "basic", and by nothing else')
    for key in ("fields", "query", "headers"):
        _check_literals(key, getattr(options, key), auth)
    _check_idempotency(options, options.idempotency)


def _check_literals(key: str, table: Mapping[str, object], auth: Auth | None) -> None:
    """A config holds no secret: what is one by its name stands in `auth`."""
    for name, value in table.items():
        if isinstance(value, dict):
            _check_literals(f"{key}.{name}", cast("dict[str, object]", value), auth)
        elif isinstance(value, str) and value and not names(value) and _is_secret(name, auth):
            raise ValueError(f"{key}.{name}: {_NEVER}")


def _is_secret(name: str, auth: Auth | None) -> bool:
    plain = re.sub(r"[^a-z]", "", name.lower())
    return bool(_SECRET.search(plain) or (auth is None and _MAYBE_SECRET.search(plain)))


def _check_idempotency(options: HttpOptions, rules: Idempotency | None) -> None:
    keyed = "idempotency_key" in options.used
    if rules is None:
        if keyed:
            raise ValueError("idempotency: {idempotency_key} needs `idempotency = { window_s = ... }`")
        return
    if not keyed and not rules.header:
        raise ValueError("idempotency.header: names the header, unless a field says {idempotency_key}")
    if rules.window_s <= 0:
        raise ValueError("idempotency.window_s: is how many seconds the gateway recognises a repeated key")
    if rules.compares and (changing := CHANGING & options.used):
        raise ValueError(
            f"idempotency.compares: {{{min(changing)}}} is another with each attempt, so that a gateway which compares "
            "a repeat with the first refuses it: leave it out, or say `compares = false` where yours does not"
        )


def _check_answers(options: HttpOptions) -> None:
    for key in ("id_at", "code_at", "detail_at", "segments_at"):
        _check_place(key, cast("str", getattr(options, key)), needed=key == "id_at")
    if not options.accepted or any(not 200 <= status < 300 for status in options.accepted):
        raise ValueError("accepted: lists at least one status, and only statuses from 200 to 299 can say yes")
    for status, means in options.statuses.items():
        if not re.fullmatch("[1-5][0-9][0-9]", status):
            raise ValueError(f"statuses.{status}: is an HTTP status")
        if means == "accepted":
            raise ValueError(f"statuses.{status}: what is accepted stands in the list `accepted`")
    _check_values("statuses", options.statuses, ANSWERS)
    _check_values("codes", options.codes, ANSWERS)
    if bool(options.codes) != bool(options.code_at):
        raise ValueError("code_at: goes with the table `codes`, neither is of use alone")
    look_up = options.look_up
    if look_up is None:
        return
    _check_url("look_up.url", look_up.url, options.auth)
    if not {"reference", "id", "idempotency_key"} & names(look_up.url):
        raise ValueError("look_up.url: must ask by {reference}, {id} or {idempotency_key}")
    if look_up.list_at is not None and not look_up.reference_at:
        raise ValueError("look_up.reference_at: a list must be compared with our reference, or it may be anybody's")
    for key in ("id_at", "list_at", "reference_at", "status_at", "error_at"):
        _check_pointer(f"look_up.{key}", cast("str | None", getattr(look_up, key)) or "", needed=key == "id_at")


def _check_callbacks(options: HttpOptions) -> None:
    if options.callbacks is not None:
        check(options.callbacks)
    receipts, inbound = options.receipts, options.inbound
    for table, mapping in (("receipts", receipts), ("inbound", inbound)):
        if mapping is None:
            continue
        if options.callbacks is None:
            raise ValueError(f"callbacks: {table} can be forged by anybody until this says what proves them")
        for key in [key for key in mapping.__struct_fields__ if key.endswith("_at")]:
            place = cast("str", getattr(mapping, key))
            if mapping.format == "json":
                _check_pointer(f"{table}.{key}", place, needed=key in _NEEDED)
            elif key == "list_at" and place:
                raise ValueError(f'{table}.list_at: only format = "json" has lists')
            elif key in _NEEDED and not place:
                raise ValueError(f"{table}.{key}: is the name of a parameter")
    if receipts is not None:
        _check_values("receipts.statuses", receipts.statuses, RECEIPTS)
        _check_values("receipts.errors", receipts.errors, REFUSALS)
        if not receipts.id_at and not receipts.reference_at and "callback_url" not in options.used:
            raise ValueError("receipts.id_at: a receipt names its message, by this, reference_at or {callback_url}")


def _check_place(key: str, place: str, needed: bool) -> None:
    kind, colon, rest = place.partition(":")
    if colon and kind == "header" and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", rest):
        return
    if colon and kind == "regex":
        try:
            groups = re.compile(rest).groups
        except re.error as error:
            raise ValueError(f"{key}: the regular expression is wrong: {error}") from None
        if groups != 1:
            raise ValueError(f"{key}: the regular expression has one group, around what is looked for")
        return
    if place and not place.startswith("/"):
        raise ValueError(f'{key}: is a JSON pointer such as /messages/0/id, "header:NAME" or "regex:PATTERN"')
    _check_pointer(key, place, needed)


def _check_pointer(key: str, pointer: str, needed: bool) -> None:
    if not re.fullmatch(r"(/([^~/]|~[01])*)*", pointer) or (needed and not pointer):
        raise ValueError(f"{key}: is a JSON pointer (RFC 6901) such as /messages/0/id; in it ~ is ~0 and / is ~1")


def _check_keys(key: str, table: Mapping[str, str], known: Iterable[str]) -> None:
    for name in table:
        if name not in known:
            raise ValueError(f"{key}.{name}: is one of {', '.join(known)}")


def _check_values(key: str, table: Mapping[str, str], known: Iterable[str]) -> None:
    for name, value in table.items():
        if value not in known:
            raise ValueError(f"{key}.{name}: {value!r} is none of {', '.join(sorted(known))}")
