"""Whether an inbox entry is taken, and as what: a Send, a Cancel, or a Rejection that says what would mend it.

Pure: never reads a clock or the store. Duplicates, `id_conflict` and opt-outs need the store's memory, so they are
decided there. A detail never quotes the entry: it travels to logs and to the events stream, which carry no number and
no text of a message.
"""

import base64
import re
import zlib
from hashlib import blake2b
from typing import Protocol

import msgspec

from smsd.core.fields import EARLIEST_EPOCH_MS, Fault, RawFields, parse_instant, parse_json, read, unknown_fields
from smsd.core.names import is_id, is_tenant
from smsd.core.senders import NoSender, SenderRule, choose
from smsd.message import Cancel, Entry, Message, Rejection, Send
from smsd.number import BadNumber, Number, normalise, sender_ok
from smsd.text import GSM_SINGLE, Segments, segment

__all__ = ["REASONS", "ClassRules", "Rules", "TenantRules", "deadline", "fingerprint", "judge", "unknown_fields"]

REASONS: dict[str, str] = {
    "bad_json": "The field `json` is not a JSON object. Write one object of the entry's fields.",
    "missing_field": "A field that is needed is not there. A send needs tenant, to and body; a cancel tenant and id.",
    "bad_tenant": "The tenant's id is not 1 to 64 of A-Z a-z 0-9 _ . : -",
    "unknown_tenant": "Nobody configured the tenant, and unknown ones are rejected. Add it, or accept unknown tenants.",
    "wrong_shard": "The tenant lives in another shard: crc32 of its id, modulo the number of shards. Write it there.",
    "bad_id": "An id (also of a campaign, or in `replaces`) is not 1 to 128 of A-Z a-z 0-9 _ . : -",
    "id_conflict": "The id was used for a message with other content. Give every message an id of its own.",
    "bad_number": "`to` is no possible phone number. Write E.164 like +353861234567, or a national one and `region`.",
    "country_not_allowed": "Texts may not go to the number's country. Allow it in [dispatch] and for the tenant.",
    "bad_sender": "`from` is no sender, or may not send to that country. `detail` says which would be right.",
    "bad_body": "The text is empty, not Unicode, or holds a NUL.",
    "too_long": "The text takes more segments than max_segments. Shorten it; characters outside GSM-7 cost most.",
    "too_large": "The entry has more than 64 KB.",
    "bad_time": "A time is not RFC 3339 with an offset or epoch milliseconds, or not_before is not before not_after.",
    "in_past": "not_after had passed when the entry was read. Write it earlier, or give it longer.",
    "bad_meta": "`meta` is not JSON text of up to 2 KB.",
    "bad_op": "`op` is neither send nor cancel.",
    "unroutable": "No route serves the message. Give the tenant a route, or add a route rule that matches.",
    "internal": "smsd itself failed on the entry; its log has the error. Redrive the entry once that is mended.",
}
"""Why an entry is rejected: what each reason means and what to do (contract §2)."""

META_MAX_BYTES = 2048
NEVER_US = 10 * 365 * 86_400 * 1_000_000
"""The horizon, ten years, of a message that never expires: only its place in the deadline order depends on it."""


class TenantRules(msgspec.Struct, frozen=True):
    """What holds for a tenant, defaults resolved."""

    known: bool  # configured, as opposed to served by the defaults
    sender: str  # for an entry without `from`; "" lets the provider choose
    region: str  # for a national `to`; "" where there is none
    route: str
    countries: frozenset[str] | None  # where its texts may go, the dispatcher's list applied; None: everywhere
    pool: tuple[str, ...] = ()  # of senders, before `sender`; (): none


class ClassRules(msgspec.Struct, frozen=True):
    """What holds for a class."""

    expire_after_us: int | None  # None: never expires by itself


class Rules(Protocol):
    """What the config says to admission. All look-ups answer for any text, in constant time."""

    @property
    def shards(self) -> int: ...
    @property
    def max_segments(self) -> int: ...
    @property
    def number_check(self) -> str:
        """ "possible" or "valid": see smsd.number.normalise."""
        ...

    @property
    def accept_unknown(self) -> bool:
        """Whether a tenant that nobody configured is served by the defaults."""
        ...

    def tenant(self, tenant: str) -> TenantRules: ...
    def class_(self, name: str) -> ClassRules: ...
    def sender_rule(self, country: str) -> SenderRule | None:
        """Who may send there; None: everybody."""
        ...

    def route(self, *, tenant_route: str, country: str, to: str, class_: str, tenant: str, sender: str) -> str | None:
        """The name of the route, or None where none serves the message."""
        ...


def judge(
    fields: RawFields, *, class_: str, shard: int, entry_id: str, now_us: int, rules: Rules, made_id: str = ""
) -> Entry:
    """What an entry of `class_` in `shard` comes to. Raises nothing, whatever the bytes are.

    `made_id`: of a send that names none; "" for one of an inbox stream, which gets `<class>-<entry id>`.
    """
    given: dict[str, str] = {}
    sends, content = False, ""
    try:
        given, fault = read(fields)
        if fault is None:
            sends = given.get("op") in (None, "", "send")
            if sends:
                return _send(given, class_, shard, entry_id, now_us, rules, made_id)
            return _cancel(given, class_, shard, entry_id, rules)
    except Fault as raised:
        fault, content = raised, _content(given, class_, rules) if sends else ""
    except Exception as error:  # noqa: BLE001 - one entry that we fail on must not stop the batch that it came in
        fault = Fault("internal", f"smsd failed on this entry ({type(error).__name__}); its log has more")
    tenant, campaign = given.get("tenant", ""), given.get("campaign", "")
    return Rejection(
        reason=fault.reason,
        detail=fault.detail,
        entry_id=entry_id,
        tenant=tenant if is_tenant(tenant) else "",
        given_id=given.get("id", "")[:128],
        fields=tuple(fields),
        fingerprint=content,
        campaign=campaign if is_id(campaign) else "",
        meta=_meta_or_none(given.get("meta", "")),
    )


def deadline(*, now_us: int, not_before_us: int, not_after_us: int, expire_after_us: int | None) -> int:
    """When a message expires: at its not_after, else `expire_after` after the later of entry and not_before."""
    if not_after_us:
        return not_after_us
    return max(now_us, not_before_us) + (NEVER_US if expire_after_us is None else expire_after_us)


def fingerprint(content: tuple[str | int, ...]) -> str:
    """Eleven characters that tell apart contents under one id; the same in every process and release."""
    digest = blake2b(_encode(content), digest_size=8).digest()
    return base64.urlsafe_b64encode(digest)[:11].decode()


_encode = msgspec.msgpack.Encoder().encode  # canonical for texts and integers: always the shortest form


# ---- The two kinds of entries ----------------------------------------------------------------------------------------


def _cancel(given: dict[str, str], class_: str, shard: int, entry_id: str, rules: Rules) -> Cancel:
    """Also for a tenant that is unknown by now: what was taken of it must stay possible to withdraw."""
    if given["op"] != "cancel":
        raise Fault("bad_op", "op: send or cancel")
    _require(given, "tenant", "id")
    _check_tenant(given["tenant"], class_, shard, rules.shards)
    return Cancel(given["tenant"], _identifier(given, "id"), entry_id)


def _send(
    given: dict[str, str], class_: str, shard: int, entry_id: str, now_us: int, rules: Rules, made_id: str
) -> Send:
    if "tenant" not in given or "to" not in given or "body" not in given:
        _require(given, "tenant", "to", "body")
    tenant, body = given["tenant"], given["body"]
    _check_tenant(tenant, class_, shard, rules.shards)
    settings = rules.tenant(tenant)
    if not settings.known and not rules.accept_unknown:
        raise Fault("unknown_tenant", "the tenant is not configured, and unknown tenants are rejected")
    id_ = _identifier(given, "id") if "id" in given else made_id or f"{class_}-{entry_id}"
    number = _number(given, settings, rules.number_check)
    sender = given.get("from", "")
    if sender and (problem := sender_ok(sender)):
        raise Fault("bad_sender", f"from: {problem}")
    segments = _segments(body, rules.max_segments)
    not_before_us, not_after_us = _times(given, now_us) if "not_before" in given or "not_after" in given else (0, 0)
    campaign = _identifier(given, "campaign") if given.get("campaign") else ""
    replaces = _identifier(given, "replaces") if given.get("replaces") else ""
    if replaces == id_:
        raise Fault("bad_id", "replaces: names the message itself; it takes the id of an earlier one")
    meta = _meta(given["meta"]) if given.get("meta") else ""
    from_ = _sender(sender, settings, tenant, number, rules)
    route = rules.route(
        tenant_route=settings.route, country=number.country, to=number.e164, class_=class_, tenant=tenant, sender=from_
    )
    if route is None:
        raise Fault("unroutable", f'no route rule matches, and the tenant\'s route "{settings.route}" does not exist')
    message = Message(
        tenant=tenant,
        id=id_,
        to=number.e164,
        sender=from_,
        body=body,
        class_=class_,
        route=route,
        encoding=segments.encoding,
        segments=segments.count,
        to_country=number.country,
        campaign=campaign,
        meta=meta,
        traceparent=traceparent(given["traceparent"]) if "traceparent" in given else "",
        not_after_us=not_after_us,
    )
    return Send(
        message,
        entry_id,
        # As it was given, not as it was resolved: a repeat stays a repeat when the tenant's sender has changed, or when
        # not_before has come. And `_content` has the same.
        fingerprint((number.e164, body, sender, class_, not_before_us, not_after_us, campaign, replaces)),
        not_before_us if not_before_us > now_us else 0,
        deadline(
            now_us=_written_us(entry_id, now_us),
            not_before_us=not_before_us,
            not_after_us=not_after_us,
            expire_after_us=rules.class_(class_).expire_after_us,
        ),
        replaces,
    )


def _content(given: dict[str, str], class_: str, rules: Rules) -> str:
    """The fingerprint of a send that is rejected, for it may repeat one that was taken: before its not_after passed, or
    under other settings. "" where that cannot be read.
    """
    if not is_id(given.get("id", "-")):
        return ""
    try:
        region = given.get("region") or rules.tenant(given["tenant"]).region
        to = normalise(given["to"], region, "possible").e164
        times = _instant(given, "not_before"), _instant(given, "not_after")
        others = given.get("campaign", ""), given.get("replaces", "")
        return fingerprint((to, given["body"], given.get("from", ""), class_, *times, *others))
    except (KeyError, BadNumber, Fault):
        return ""


# ---- One field each --------------------------------------------------------------------------------------------------


# W3C Trace Context §3.2: version 00 is exactly this long, later ones may go on after a dash; ff and zeros are no ids.
_is_traceparent = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:(?<!^00.{53})-[!-~]{0,200})?"
).fullmatch


def _written_us(entry_id: str, now_us: int) -> int:
    """When an entry was written, as its id has it: what lay in the inbox while nobody read is as old as it is. An id
    that somebody made up and that is no time, or one still to come, counts from now.
    """
    ms = entry_id.partition("-")[0]
    written_us = int(ms) * 1000 if ms.isdecimal() else 0
    return written_us if EARLIEST_EPOCH_MS * 1000 <= written_us < now_us else now_us


def _require(given: dict[str, str], *names: str) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise Fault("missing_field", f"missing: {', '.join(missing)}")


def _check_tenant(tenant: str, class_: str, shard: int, shards: int) -> None:
    if not is_tenant(tenant):
        raise Fault("bad_tenant", "tenant: 1 to 64 of the characters A-Z a-z 0-9 _ . : -")
    home = zlib.crc32(tenant.encode()) % shards
    if home != shard:
        raise Fault(
            "wrong_shard", f"the tenant lives in shard {home} of {shards}: write to smsd:{{{home}}}:in:{class_}"
        )


def _identifier(given: dict[str, str], name: str) -> str:
    """An id is never made up for one that was given empty: the platform counts on it against duplicates."""
    if not is_id(given[name]):
        raise Fault("bad_id", f"{name}: 1 to 128 of the characters A-Z a-z 0-9 _ . : -")
    return given[name]


def _number(given: dict[str, str], settings: TenantRules, check: str) -> Number:
    try:
        number = normalise(given["to"], given.get("region") or settings.region, check)
    except BadNumber as error:
        raise Fault("bad_number", f"to: {error}") from None
    if settings.countries is not None and number.country not in settings.countries:
        country = number.country or "a number whose country cannot be told"
        raise Fault("country_not_allowed", f"texts to {country} are not allowed here")
    return number


def _sender(given: str, settings: TenantRules, tenant: str, number: Number, rules: Rules) -> str:
    rule = rules.sender_rule(number.country)
    if rule is None and (given or not settings.pool):
        return given or settings.sender
    try:
        return choose(
            given, settings.sender, settings.pool, rule, tenant=tenant, to=number.e164, country=number.country
        )
    except NoSender as error:
        raise Fault("bad_sender", str(error)) from None


def _segments(body: str, allowed: int) -> Segments:
    if not body:
        raise Fault("bad_body", "body: empty")
    if "\0" in body:
        raise Fault("bad_body", "body: holds a NUL character, which no phone can show")
    if len(body) > allowed * GSM_SINGLE:  # surely too long, and maybe too long to be worth counting
        raise Fault("too_long", f"body: takes more than the {allowed} segments that are allowed")
    segments = segment(body)  # what was UTF-8 or JSON holds no lone surrogate, so this raises nothing
    if segments.count > allowed:
        detail = f"body: takes {segments.count} segments in {segments.encoding}; {allowed} are allowed"
        raise Fault("too_long", detail)
    return segments


def _times(given: dict[str, str], now_us: int) -> tuple[int, int]:
    not_before_us, not_after_us = _instant(given, "not_before"), _instant(given, "not_after")
    if not_after_us and not_before_us >= not_after_us:
        raise Fault("bad_time", "not_before: must lie before not_after")
    if not_after_us and not_after_us <= now_us:
        raise Fault("in_past", "not_after: has passed already")
    return not_before_us, not_after_us


def _instant(given: dict[str, str], name: str) -> int:
    text = given.get(name)
    if not text:
        return 0
    try:
        return parse_instant(text)
    except ValueError as error:
        raise Fault("bad_time", f"{name}: {error}") from None


def _meta(text: str) -> str:
    size = len(text) if text.isascii() else len(text.encode())
    if size > META_MAX_BYTES:
        raise Fault("bad_meta", f"meta: {size} bytes; {META_MAX_BYTES} are allowed")
    try:
        parse_json(text)
    except ValueError as error:
        raise Fault("bad_meta", f"meta: {error}") from None
    return text


def _meta_or_none(text: str) -> str:
    try:
        return _meta(text) if text else ""
    except Fault:
        return ""


def traceparent(text: str) -> str:
    """Kept when well formed, else left out: a trace is never worth a message."""
    return text if _is_traceparent(text) else ""
