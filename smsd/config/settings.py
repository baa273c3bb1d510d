"""The structs of smsd.toml: every key, its type and its default (contract §5). smsd.toml at the root explains them.

Never reads a file, never looks at two keys at once. Durations are integers in microseconds under a name that ends in
`_us`; their key in the file is without it.
"""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, field

from smsd.config.read import Reads
from smsd.config.regions import REGIONS
from smsd.core import names, networks
from smsd.core.limit import GRAMMAR, Limit, parse
from smsd.core.senders import SenderRule
from smsd.secret import Secret, SecretUrl

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US

# ---- How texts are read ----------------------------------------------------------------------------------------------

_UNITS_US = {"ms": 1000, "s": SECOND_US, "m": 60 * SECOND_US, "h": HOUR_US, "d": 24 * HOUR_US}
_LONGEST_US = 3650 * 24 * HOUR_US
_DURATION = 'a duration with its unit: "500ms", "2s", "10m", "12h" or "7d"'
_DURATION_PATTERN = r"(\d{1,12})(ms|s|m|h|d)"


def duration_us(text: str) -> int:
    """Microseconds of `500ms`, `2s`, `10m`, `12h`, `7d`. Raises ValueError."""
    match = re.fullmatch(_DURATION_PATTERN, text, re.ASCII)
    if match is None:
        raise ValueError(f"expected {_DURATION}, one whole number and one unit")
    if not 0 < (span_us := int(match[1]) * _UNITS_US[match[2]]) <= _LONGEST_US:
        raise ValueError("a duration is more than nothing and at most 3650d")
    return span_us


def show_duration(us: int) -> str:
    """As a duration is written, in the largest unit that it is a whole number of; 0: [retention] bodies' "end"."""
    if not us:
        return "end"
    unit = next(unit for unit in reversed(_UNITS_US) if us % _UNITS_US[unit] == 0)
    return f"{us // _UNITS_US[unit]}{unit}"


def _bodies_us(text: str) -> int:
    return 0 if text == "end" else duration_us(text)


def country(text: str) -> str:
    """An ISO 3166 code that libphonenumber knows. Raises ValueError."""
    if text not in REGIONS:
        meant = {"UK": "GB", "EL": "GR"}.get(text.upper(), text.upper())
        hint = f' (did you mean "{meant}"?)' if meant in REGIONS else ""
        raise ValueError(f'expected an ISO 3166 country code such as "IE" or "US"{hint}')
    return text


def _matching(pattern: str, what: str, sentence: str = "") -> Reads:
    """Takes what the pattern matches as a whole, and says the sentence about all else."""
    compiled = re.compile(pattern, re.ASCII)

    def read(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise ValueError(sentence or f"expected {what}")
        return text

    return Reads(read, what, pattern)


def _sender(text: str) -> str:
    from smsd.number import sender_ok  # with all of libphonenumber, which no other key needs

    problem = sender_ok(text) if text else None
    if problem is not None:
        raise ValueError(problem)
    return text


def _listen(text: str) -> str:
    match = re.fullmatch(_LISTEN_PATTERN, text, re.ASCII)
    if match is None or int(match[1]) > 65535:
        raise ValueError('expected host:port, as "127.0.0.1:8775", "0.0.0.0:8775" or "[::1]:8775"')
    return text


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good, parts = False, urlsplit("")
    if not good or parts.query or parts.fragment or "@" in parts.netloc or re.search(r"[\s\x00-\x1f]", text):
        raise ValueError('expected a url such as "https://sms.example.com" (a path may follow, but no ?, # or user@)')
    return text


def _url_or_none(text: str) -> str:
    return _http_url(text).rstrip("/") if text else ""


_COUNTRIES = tuple(sorted(REGIONS))
_LISTEN_PATTERN = r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})"
_URL_PATTERN = r"https?://[^\s?#]+"
_COUNTRY = 'a country code such as "IE"'

Us = Annotated[int, Reads(duration_us, _DURATION, _DURATION_PATTERN)]
LimitText = Annotated[Limit, Reads(parse, 'a limit such as "20/s"', GRAMMAR.pattern)]
Name = Annotated[
    str, _matching(r"[a-z0-9_-]{1,32}", "a name of a-z, 0-9, _ and -", "a name is 1 to 32 of a-z, 0-9, _ and -")
]
TenantId = Annotated[
    str,
    _matching(names.TENANT, "a tenant id", f"a tenant id is {names.TENANT_TOLD}"),
]
Tenant = Annotated[
    str,
    _matching(rf"\*|{names.TENANT}", 'a tenant id, or "*" for all', 'expected tenant ids, or "*" for all'),
]
Country = Annotated[str, Reads(country, _COUNTRY, options=_COUNTRIES)]
Countries = Annotated[
    str, Reads(lambda text: text if text == "*" else country(text), 'a country code, or "*" for all', r"\*", _COUNTRIES)
]
Region = Annotated[str, Reads(lambda text: country(text) if text else text, _COUNTRY, "()", _COUNTRIES)]
Sender = Annotated[str, Reads(_sender, 'a sender: "+353861234567", a short code or up to 11 letters')]
Prefix = Annotated[
    str, _matching(r"\+[0-9]{1,15}", 'a prefix such as "+353"', 'expected a number or its beginning, as "+353"')
]
Listen = Annotated[str, Reads(_listen, 'host:port, as "127.0.0.1:8775"', _LISTEN_PATTERN)]
NetworkText = Annotated[networks.Network, Reads(networks.network, networks.WHAT, networks.GRAMMAR)]
Url = Annotated[str, Reads(_http_url, 'a url such as "https://sms.example.com"', _URL_PATTERN)]

# ---- What belongs to one host ----------------------------------------------------------------------------------------


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    url: SecretUrl = SecretUrl("embedded")
    listen: Listen = "127.0.0.1:8777"
    data_dir: str = "var"  # as written; Config.data_dir is where it lies
    shards: Annotated[int, Meta(ge=1, le=1024)] = 1
    durability: Literal["relaxed", "strict"] = "relaxed"

    @property
    def embedded(self) -> bool:
        return self.url.text == "embedded"


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    key: Secret
    tenants: tuple[Tenant, ...]


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    listen: Listen = "127.0.0.1:8775"
    api_keys: dict[Name, ApiKey] = field(default_factory=dict[str, ApiKey])


class WebhooksConfig(msgspec.Struct, frozen=True, kw_only=True):
    listen: Listen = "127.0.0.1:8776"
    public_url: Annotated[str, Reads(_url_or_none, "a url", f"(?:{_URL_PATTERN})?")] = (
        ""  # no slash at its end; "": no callbacks are asked for
    )
    trusted_proxies: tuple[NetworkText, ...] = ()  # whose X-Forwarded-For is believed


class OtelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Traces by OpenTelemetry, with the extra `otel`. What is "" is asked of the standard OTEL_ variables."""

    enabled: bool = False
    endpoint: Annotated[str, Reads(_url_or_none, "a url", f"(?:{_URL_PATTERN})?")] = ""
    service_name: str = ""
    sample: Annotated[float, Meta(ge=0, le=1)] = 1.0


# ---- What is one for all hosts ---------------------------------------------------------------------------------------


class DispatchConfig(msgspec.Struct, frozen=True, kw_only=True):
    drain_s: Annotated[float, Meta(ge=0, le=3600)] = 25
    start_by_s: Annotated[float, Meta(ge=0.05, le=60)] = 1.0
    slack_ms: Annotated[int, Meta(ge=0, le=1000)] = 20
    max_segments: Annotated[int, Meta(ge=1, le=255)] = 10
    number_check: Literal["possible", "valid"] = "possible"
    countries: tuple[Countries, ...] = ("*",)
    memory_mark: Annotated[float, Meta(gt=0, le=1)] = 0.75


class ClassConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A class of messages, and what becomes of one that fails or stays unknown. These are the defaults of any name."""

    weight: Annotated[int, Meta(ge=1, le=100)] = 1
    expire_after_us: Us | None = field(name="expire_after", default=None)  # None: never expires by itself
    receipt_timeout_us: Us = field(name="receipt_timeout", default=48 * HOUR_US)
    ask_after_us: Us = field(name="ask_after", default=HOUR_US)  # without a receipt, where the provider can be asked
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 8
    backoff_us: tuple[Us, Us] = field(name="backoff", default=(2 * SECOND_US, 600 * SECOND_US))  # first and largest
    on_unknown: Literal["resend", "hold"] = "hold"
    opt_out: Literal["marketing", "all"] = "all"  # the narrowest scope that keeps it from whoever has opted out
    max_in_flight_share: Annotated[float, Meta(gt=0, le=1)] = 1.0

    @property
    def share_permille(self) -> int:
        """Of the summed max_in_flight of the route's offered providers; 1000: no cap."""
        return max(1, round(self.max_in_flight_share * 1000))


CLASSES = {
    "reminder": ClassConfig(weight=8, expire_after_us=12 * HOUR_US, on_unknown="resend"),
    "marketing": ClassConfig(weight=1, expire_after_us=24 * HOUR_US, max_in_flight_share=0.8, opt_out="marketing"),
}
"""The classes that hold without `[classes]`, and the defaults of classes of these names."""

ClassLimits = dict[Name, tuple[LimitText, ...]]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a tenant. These are the values of [tenant_defaults]."""

    limits: tuple[LimitText, ...] = (parse("20/s"), parse("50000/d"))
    class_limits: ClassLimits = field(default_factory=dict[str, tuple[Limit, ...]])
    sender: Sender = "Salon"
    sender_pool: Annotated[str, Meta(max_length=64)] = ""  # the name of one: before `sender`
    region: Region = "IE"
    route: Name = "default"
    countries: tuple[Countries, ...] = ("*",)
    zone: str = ""
    stop_closes: Literal["marketing", "all"] = "marketing"
    cancel_words: Literal["stop", "appointment"] = "stop"


class PlanConfig(msgspec.Struct, frozen=True, kw_only=True):
    """As Terms; what is None is inherited, class_limits class by class."""

    limits: tuple[LimitText, ...] | None = None
    class_limits: ClassLimits | None = None
    sender: Sender | None = None
    sender_pool: Annotated[str, Meta(max_length=64)] | None = None
    region: Region | None = None
    route: Name | None = None
    countries: tuple[Countries, ...] | None = None
    zone: str | None = None
    stop_closes: Literal["marketing", "all"] | None = None
    cancel_words: Literal["stop", "appointment"] | None = None


class TenantConfig(PlanConfig, frozen=True, kw_only=True):
    plan: Name | None = None


class UnknownTenants(msgspec.Struct, frozen=True, kw_only=True):
    policy: Literal["accept", "reject"] = "accept"


class SenderConfig(msgspec.Struct, frozen=True, kw_only=True):
    limits: tuple[LimitText, ...] = ()


class SenderPool(msgspec.Struct, frozen=True, kw_only=True):
    """Senders of which each person always gets the same one."""

    senders: tuple[Sender, ...]


SenderTypes = tuple[Literal["e164", "short", "alpha"], ...]


class SenderRuleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who may send to these countries; the first rule with a country is the one for it."""

    countries: tuple[Country, ...]
    types: SenderTypes
    registered: tuple[Sender, ...] | None = None  # of alphanumeric senders only these; None: any
    instead: Sender = ""  # for a tenant's own sender that may not

    @property
    def meaning(self) -> SenderRule:
        """For admission: names compare whatever their case."""
        names = None if self.registered is None else frozenset(name.lower() for name in self.registered)
        return SenderRule(frozenset(self.types), names, self.instead)


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One provider of a route."""

    use: Name
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1


class RouteConfig(msgspec.Struct, frozen=True, kw_only=True):
    providers: tuple[Use, ...]


class RouteRule(msgspec.Struct, frozen=True, kw_only=True):
    """Sends what meets every given condition by `route`."""

    route: Name
    countries: tuple[Country, ...] | None = None
    prefixes: tuple[Prefix, ...] | None = None
    classes: tuple[Name, ...] | None = None
    tenants: tuple[TenantId, ...] | None = None
    sender_types: SenderTypes | None = None


class NoOptions(msgspec.Struct, frozen=True):
    """The options of a provider whose class could not be found."""


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The common keys of a provider; every other key of its table is one of its class's Options."""

    type: str
    limits: tuple[LimitText, ...] = ()
    max_in_flight: Annotated[int, Meta(ge=1, le=100_000)] = 64
    timeout_s: Annotated[float, Meta(ge=0.1, le=300)] = 10
    settle_s: Annotated[float, Meta(ge=0, le=3600)] = 5
    callback_networks: tuple[NetworkText, ...] = ()  # where its callbacks may come from; (): from anywhere
    options: msgspec.Struct = NoOptions()  # no key: read by the class that `type` names


State = Literal[
    "queued", "submitted", "unknown", "delivered", "undelivered", "unconfirmed", "failed", "expired", "rejected",
    "suppressed", "cancelled",
]  # fmt: skip


class StatusWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where events are pushed to (docs/WEBHOOKS.md)."""

    url: Url
    secret: Secret | list[Secret]  # a tuple once read; each signs, so that a receiver may change from one to the next
    tenants: tuple[Tenant, ...] = ("*",)
    states: tuple[State, ...] = ("delivered", "undelivered", "failed", "expired", "unconfirmed")


class RetentionConfig(msgspec.Struct, frozen=True, kw_only=True):
    messages_us: Us = field(name="messages", default=72 * HOUR_US)
    bodies_us: Annotated[int, Reads(_bodies_us, f'"end", or {_DURATION}', f"end|{_DURATION_PATTERN}")] = field(
        name="bodies", default=0
    )  # 0: "end"
    events_us: Us = field(name="events", default=168 * HOUR_US)
    events_max: Annotated[int, Meta(ge=1000, le=1_000_000_000)] = 5_000_000
    dead_max: Annotated[int, Meta(ge=100, le=10_000_000)] = 100_000


class OptOutConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What texts that people send close, whoever's they are."""

    all_in: tuple[Country, ...] = ("US", "PR", "VI", "GU", "AS", "MP", "CA")  # STOP closes everything to their numbers
    parts_wait_us: Us = field(name="parts_wait", default=180 * SECOND_US)  # for the rest of a text that came in parts


class SandboxConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool = False
    allow_to: tuple[Prefix, ...] = ()

    def keeps(self, to: str) -> bool:
        """Whether a text to that E.164 number must reach nobody but the built-in carrier."""
        return self.enabled and not to.startswith(self.allow_to)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of smsd.toml."""

    store: StoreConfig = StoreConfig()
    http: HttpConfig = HttpConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    otel: OtelConfig = OtelConfig()
    dispatch: DispatchConfig = DispatchConfig()
    classes: dict[Name, ClassConfig] = field(default_factory=lambda: dict(CLASSES))
    tenant_defaults: Terms = Terms()
    plans: dict[Name, PlanConfig] = field(default_factory=dict[str, PlanConfig])
    tenants: dict[TenantId, TenantConfig] = field(default_factory=dict[str, TenantConfig])
    unknown_tenants: UnknownTenants = UnknownTenants()
    senders: dict[Sender, SenderConfig] = field(default_factory=dict[str, SenderConfig])
    sender_pools: dict[Name, SenderPool] = field(default_factory=dict[str, SenderPool])
    sender_rules: tuple[SenderRuleConfig, ...] = ()
    routes: dict[Name, RouteConfig] = field(default_factory=dict[str, RouteConfig])
    route_rules: tuple[RouteRule, ...] = ()
    providers: dict[Name, ProviderConfig] = field(default_factory=dict[str, ProviderConfig])
    status_webhooks: dict[Name, StatusWebhook] = field(default_factory=dict[str, StatusWebhook])
    retention: RetentionConfig = RetentionConfig()
    opt_out: OptOutConfig = OptOutConfig()
    sandbox: SandboxConfig = SandboxConfig()
