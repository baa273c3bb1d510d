"""What entries come to: each reason, each resolved value, and that nothing stops the judge."""

import json
import re
import subprocess
import sys
import zlib
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.admit import NEVER_US, REASONS, ClassRules, TenantRules, deadline, fingerprint, judge
from smsd.core.fields import FAULT_OF
from smsd.core.senders import SenderRule
from smsd.message import Cancel, Entry, Message, Rejection, Send
from smsd.text import segment

NOW_US = 1_774_771_200_000_000  # 2026-03-29T08:00:00Z
HOUR_US = 3_600_000_000
Pairs = list[tuple[bytes, bytes]]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


DEFAULTS = TenantRules(known=False, sender="Salon", region="IE", route="default", countries=None)


@dataclass
class TestRules:
    """Rules as data: a tenant `salon`, and whatever a test changes."""

    __test__ = False
    shards: int = 1
    max_segments: int = 10
    number_check: str = "possible"
    accept_unknown: bool = True
    defaults: TenantRules = DEFAULTS
    tenants: dict[str, TenantRules] = field(default_factory=dict)
    senders: dict[str, SenderRule] = field(default_factory=dict)
    expire_after_us: int | None = 12 * HOUR_US
    routes: dict[str, str | None] = field(default_factory=dict)  # by country; else the tenant's

    def tenant(self, tenant: str) -> TenantRules:
        return self.tenants.get(tenant, self.defaults)

    def sender_rule(self, country: str) -> SenderRule | None:
        return self.senders.get(country)

    def class_(self, name: str) -> ClassRules:
        assert name == "reminder"
        return ClassRules(self.expire_after_us)

    def route(self, *, tenant_route: str, country: str, to: str, class_: str, tenant: str, sender: str) -> str | None:
        assert to.startswith("+")
        assert tenant
        assert class_ == "reminder"
        assert sender == sender.strip()
        return self.routes.get(country, tenant_route)


def flat(fields: dict[str, str]) -> Pairs:
    return [(name.encode(), value.encode(errors="surrogatepass")) for name, value in fields.items()]


def judged(
    fields: Pairs | dict[str, str],
    rules: TestRules | None = None,
    *,
    shard: int = 0,
    now_us: int = NOW_US,
    entry_id: str = "5-1",
) -> Entry:
    pairs = flat(fields) if isinstance(fields, dict) else fields
    rules = rules or TestRules()
    return judge(pairs, class_="reminder", shard=shard, entry_id=entry_id, now_us=now_us, rules=rules)


def entry(**fields: str | None) -> dict[str, str]:
    """A good entry with these fields changed, or without those that are None. A last `_` is cut off."""
    whole: dict[str, str | None] = {"tenant": "salon", "id": "a1", "to": "+353861234567", "body": "See you at 9."}
    whole |= {name.rstrip("_"): value for name, value in fields.items()}
    return {name: value for name, value in whole.items() if value is not None}


def sent(fields: dict[str, str], rules: TestRules | None = None, *, now_us: int = NOW_US) -> Send:
    outcome = judged(fields, rules, now_us=now_us)
    assert isinstance(outcome, Send), outcome
    return outcome


def rejected(fields: Pairs | dict[str, str], rules: TestRules | None = None, *, shard: int = 0) -> Rejection:
    outcome = judged(fields, rules, shard=shard)
    assert isinstance(outcome, Rejection), outcome
    return outcome


# ---- What is taken ---------------------------------------------------------------------------------------------------


def test_usual_send() -> None:
    """A usual entry becomes a message with the tenant's sender and route, and expires with its class."""
    outcome = sent(entry())
    assert outcome == Send(
        message=Message(
            tenant="salon",
            id="a1",
            to="+353861234567",
            sender="Salon",
            body="See you at 9.",
            class_="reminder",
            route="default",
            encoding="GSM-7",
            segments=1,
            to_country="IE",
        ),
        entry_id="5-1",
        fingerprint=outcome.fingerprint,
        not_before_us=0,
        deadline_us=NOW_US + 12 * HOUR_US,
    )


def test_every_field() -> None:
    """Every field of the contract arrives where it belongs."""
    outcome = sent(
        entry(
            from_="Bob & Co.",
            to="086 123 4567",
            region="ie",
            not_before="2026-03-29T10:00:00+01:00",
            not_after="1774782000000",
            campaign="spring",
            meta='{"a": 1}',
            traceparent=TRACE,
            op="send",
            replaces="a0",
        )
    )
    assert outcome.message.sender == "Bob & Co."
    assert outcome.message.to == "+353861234567"
    assert outcome.not_before_us == NOW_US + HOUR_US
    assert outcome.deadline_us == outcome.message.not_after_us == NOW_US + 3 * HOUR_US
    assert outcome.message.campaign == "spring"
    assert outcome.message.meta == '{"a": 1}'
    assert outcome.message.traceparent == TRACE
    assert outcome.replaces == "a0"


def test_json_equals_flat() -> None:
    """The same fields as one JSON object, with numbers for times and an object for meta, come to the same."""
    fields = entry(not_before="1774774800000", not_after="1774782000000", meta='{"a":1}', campaign="c")
    document = fields | {"not_before": 1774774800000, "not_after": 1774782000000.0, "meta": {"a": 1}, "colour": "red"}
    assert judged([(b"json", json.dumps(document).encode())]) == judged(fields)


def test_empty_optional_fields() -> None:
    """An empty optional field counts as absent, but an empty id is never replaced by one of ours."""
    empty = dict.fromkeys(
        ("from", "region", "not_before", "not_after", "campaign", "meta", "traceparent", "op", "replaces"), ""
    )
    assert judged(entry() | empty) == judged(entry())
    assert rejected(entry(id="")).reason == "bad_id"


def test_made_up_id() -> None:
    """Without an id the class and the entry's id make one."""
    assert sent(entry(id=None)).message.id == "reminder-5-1"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (TRACE, TRACE),
        (TRACE.replace("00-", "cc-", 1), TRACE.replace("00-", "cc-", 1)),
        (TRACE.replace("00-", "cc-", 1) + "-more", TRACE.replace("00-", "cc-", 1) + "-more"),
        (TRACE + "-more", ""),
        (TRACE.replace("00-", "ff-", 1), ""),
        (TRACE.upper(), ""),
        (TRACE[:-1], ""),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", ""),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01", ""),
        (TRACE + "\n", ""),
        ("rubbish", ""),
    ],
)
def test_traceparent(text: str, kept: str) -> None:
    """A trace context is kept when it is one by W3C, and left out else; it never costs a message."""
    assert sent(entry(traceparent=text)).message.traceparent == kept


def test_settings_of_the_tenant() -> None:
    """Sender, region and route are the tenant's where the entry names none, and the entry's where it does."""
    settings = TenantRules(known=True, sender="12345", region="FI", route="north", countries=None)
    rules = TestRules(tenants={"salon": settings}, routes={"US": "us"})
    own = sent(entry(to="040 123 4567"), rules).message
    assert (own.to, own.to_country, own.sender, own.route) == ("+358401234567", "FI", "12345", "north")
    named = sent(entry(to="(202) 555-0123", region="US", from_="Bob"), rules).message
    assert (named.to, named.to_country, named.sender, named.route) == ("+12025550123", "US", "Bob", "us")


def test_provider_chooses_the_sender() -> None:
    """Where neither entry nor tenant names a sender, it stays empty."""
    rules = TestRules(defaults=TenantRules(known=False, sender="", region="", route="default", countries=None))
    assert sent(entry(), rules).message.sender == ""


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=400))
def test_body_is_kept(body: str) -> None:
    """A text is kept as it is, to the character, and costs the segments that smsd.text counts."""
    outcome = judged(entry(body=body), TestRules(max_segments=100))
    assert isinstance(outcome, Send)
    expected = segment(body)
    assert outcome.message.body == body
    assert (outcome.message.encoding, outcome.message.segments) == (expected.encoding, expected.count)


# ---- Times -----------------------------------------------------------------------------------------------------------


@given(
    st.integers(10**11, 7 * 10**12),
    st.one_of(st.just(0), st.integers(10**11, 7 * 10**12)),
    st.one_of(st.just(0), st.integers(10**11, 7 * 10**12)),
    st.one_of(st.none(), st.integers(1, 10**15)),
)
def test_deadlines(now_ms: int, not_before_ms: int, not_after_ms: int, expire_after_us: int | None) -> None:
    """not_after is the deadline; else the class's time counts from the later of arrival and not_before."""
    fields = entry(
        not_before=str(not_before_ms) if not_before_ms else None, not_after=str(not_after_ms) if not_after_ms else None
    )
    outcome = judged(fields, TestRules(expire_after_us=expire_after_us), now_us=now_ms * 1000)
    if not_after_ms and not_before_ms >= not_after_ms:
        assert isinstance(outcome, Rejection)
        assert outcome.reason == "bad_time"
    elif not_after_ms and not_after_ms <= now_ms:
        assert isinstance(outcome, Rejection)
        assert outcome.reason == "in_past"
    else:
        assert isinstance(outcome, Send)
        assert outcome.not_before_us == (not_before_ms * 1000 if not_before_ms > now_ms else 0)
        assert outcome.message.not_after_us == not_after_ms * 1000
        horizon = NEVER_US if expire_after_us is None else expire_after_us
        assert outcome.deadline_us == (not_after_ms or max(now_ms, not_before_ms)) * 1000 + (
            0 if not_after_ms else horizon
        )


@pytest.mark.parametrize(
    ("entry_id", "written_us"),
    [
        (f"{NOW_US // 1000 - 60_000}-3", NOW_US - 60_000_000),  # lay in the inbox for a minute
        (f"{NOW_US // 1000 + 60_000}-0", NOW_US),
        ("99999999999-0", NOW_US),
        ("", NOW_US),
    ],
)
def test_an_entry_is_as_old_as_its_id_says(entry_id: str, written_us: int) -> None:
    """The class's time counts from when the entry was written, or from now where its id is no time that has passed."""
    outcome = judged(entry(), TestRules(expire_after_us=HOUR_US), entry_id=entry_id)
    assert isinstance(outcome, Send)
    assert outcome.deadline_us == written_us + HOUR_US


def test_not_after_before_1970() -> None:
    """A not_after at the start of the epoch or before it has passed; it is not taken for an absent one."""
    assert rejected(entry(not_after="1970-01-01T00:00:00Z")).reason == "in_past"
    assert rejected(entry(not_after="1960-01-01T00:00:00Z")).reason == "in_past"


def test_deadline() -> None:
    """The function that others call says the same."""
    assert deadline(now_us=10, not_before_us=0, not_after_us=7, expire_after_us=5) == 7
    assert deadline(now_us=10, not_before_us=12, not_after_us=0, expire_after_us=5) == 17
    assert deadline(now_us=10, not_before_us=0, not_after_us=0, expire_after_us=None) == 10 + NEVER_US


# ---- The fingerprint -------------------------------------------------------------------------------------------------


def test_fingerprint_is_stable() -> None:
    """The fingerprint of a content is this one, in every release and process: records outlive both."""
    content = ("+353861234567", "See you at 9.", "", "reminder", 0, 0, "", "")
    assert fingerprint(content) == "CzfNVz836VQ"
    assert sent(entry()).fingerprint == fingerprint(content)
    program = f"from smsd.core.admit import fingerprint; print(fingerprint({content!r}))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == fingerprint(content)


@pytest.mark.parametrize(
    "changed",
    [
        {"to": "+353861234568"},
        {"body": "See you at 10."},
        {"from": "Bob"},
        {"not_before": "1774774800000"},
        {"not_after": "1774774800000"},
        {"campaign": "c"},
        {"replaces": "a0"},
    ],
)
def test_other_content(changed: dict[str, str]) -> None:
    """Number, text, sender, times, campaign and `replaces` tell contents apart."""
    assert sent(entry() | changed).fingerprint != sent(entry()).fingerprint


def test_same_content() -> None:
    """Other spellings, other meta and trace, a later arrival, other settings of the tenant: still a repeat."""
    first = entry(not_before="1774774800000", not_after="1774782000000")
    again = entry(
        to="086 123 4567",
        not_before="2026-03-29T10:00:00+01:00",
        not_after="2026-03-29T11:00:00Z",
        meta="{}",
        traceparent=TRACE,
        op="send",
    )
    rules = TestRules(defaults=TenantRules(known=True, sender="New", region="IE", route="new", countries=None))
    assert sent(again, rules, now_us=NOW_US + 2 * HOUR_US).fingerprint == sent(first).fingerprint


# ---- Cancels ---------------------------------------------------------------------------------------------------------


def test_cancel() -> None:
    """A cancel needs tenant and id, and looks at nothing else, not even at whether the tenant is configured."""
    rules = TestRules(accept_unknown=False)
    assert judged({"op": "cancel", "tenant": "salon", "id": "a1", "to": "x"}, rules) == Cancel("salon", "a1", "5-1")
    assert judged([(b"json", b'{"op":"cancel","tenant":"salon","id":"a1"}')], rules) == Cancel("salon", "a1", "5-1")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"op": "cancel", "tenant": "salon"}, "missing_field"),
        ({"op": "cancel", "id": "a1"}, "missing_field"),
        ({"op": "cancel", "tenant": "sal/on", "id": "a1"}, "bad_tenant"),
        ({"op": "cancel", "tenant": "salon", "id": "a 1"}, "bad_id"),
        ({"op": "cancel", "tenant": "salon", "id": ""}, "bad_id"),
        ({"op": "Cancel", "tenant": "salon", "id": "a1"}, "bad_op"),
        ({"op": "delete"}, "bad_op"),
    ],
)
def test_bad_cancel(fields: dict[str, str], reason: str) -> None:
    """A cancel that names no message is rejected."""
    assert rejected(fields).reason == reason


# ---- Rejections ------------------------------------------------------------------------------------------------------

LONG = "a" * 1531

REJECTED: list[tuple[dict[str, str], str, str]] = [
    (entry(tenant=None), "missing_field", "tenant"),
    (entry(to=None, body=None), "missing_field", "to, body"),
    ({}, "missing_field", "tenant, to, body"),
    (entry(tenant=""), "bad_tenant", "tenant"),
    (entry(tenant="a b"), "bad_tenant", "tenant"),
    (entry(tenant="a/b"), "bad_tenant", "tenant"),
    (entry(tenant="a\n"), "bad_tenant", "tenant"),
    (entry(tenant="é"), "bad_tenant", "tenant"),
    (entry(tenant="a" * 65), "bad_tenant", "tenant"),
    (entry(id="a/b"), "bad_id", "id:"),
    (entry(id="a\n"), "bad_id", "id:"),
    (entry(id="a" * 129), "bad_id", "id:"),
    (entry(campaign="a b"), "bad_id", "campaign:"),
    (entry(replaces="a/b"), "bad_id", "replaces:"),
    (entry(replaces="a1"), "bad_id", "itself"),
    (entry(to=""), "bad_number", "to:"),
    (entry(to="0861234567", region="XX"), "bad_number", "region"),
    (entry(to="+35386"), "bad_number", "too short"),
    (entry(from_="Twelve chars"), "bad_sender", "from:"),
    (entry(body=""), "bad_body", "empty"),
    (entry(body="a\0b"), "bad_body", "NUL"),
    (entry(body="\ud800"), "bad_body", "UTF-8"),
    (entry(body=LONG), "too_long", "11 segments in GSM-7"),
    (entry(body="中" * 671), "too_long", "11 segments in UCS-2"),
    (entry(body="a" * 2000), "too_long", "10 segments"),
    (entry(body="a" * 100_000), "too_large", "bytes"),
    (entry(not_before="1700000000"), "bad_time", "not_before: epoch"),
    (entry(not_after="2026-03-29T09:00:00"), "bad_time", "not_after: has no offset"),
    (entry(not_before="1774782000000", not_after="1774782000000"), "bad_time", "before not_after"),
    (entry(not_after="1774771200000"), "in_past", "passed"),
    (entry(meta="{"), "bad_meta", "meta:"),
    (entry(meta="a"), "bad_meta", "meta:"),
    (entry(meta='"' + "a" * 2047 + '"'), "bad_meta", "2049 bytes"),
    (entry(meta='"' + "é" * 1024 + '"'), "bad_meta", "2050 bytes"),
    (entry(meta="[" * 1000 + "]" * 1000), "bad_meta", "deep"),
    (entry(op="SEND"), "bad_op", "op:"),
]


@pytest.mark.parametrize(("fields", "reason", "says"), REJECTED)
def test_rejections(fields: dict[str, str], reason: str, says: str) -> None:
    """Each mistake gets its reason, a sentence, whose it was, and the fields as they came."""
    outcome = rejected(fields)
    assert outcome.reason == reason
    assert says in outcome.detail
    assert outcome.entry_id == "5-1"
    assert outcome.fields == tuple(flat(fields))
    assert outcome.tenant == (fields.get("tenant", "") if reason != "bad_tenant" else "")
    assert outcome.given_id == fields.get("id", "")[:128]


@pytest.mark.parametrize(
    "fields", [entry(tenant="Aa0_.:-"), entry(tenant="a" * 64), entry(id="Aa0_.:-"), entry(id="a" * 128)]
)
def test_alphabets(fields: dict[str, str]) -> None:
    """Every character of the alphabets and the greatest lengths are taken."""
    assert sent(fields).message.key == f"{fields['tenant']}/{fields['id']}"


@pytest.mark.parametrize(
    "fields",
    [
        entry(body="a" * 1530),
        entry(body="中" * 670),
        entry(meta='"' + "a" * 2046 + '"'),
        entry(meta="1"),
        entry(body=" \t\r\n\x07"),
    ],
)
def test_just_taken(fields: dict[str, str]) -> None:
    """The longest text, the largest meta and control characters are taken, as they came."""
    message = sent(fields).message
    assert (message.body, message.meta) == (fields["body"], fields.get("meta", ""))


def test_unknown_tenant() -> None:
    """Where unknown tenants are rejected, a configured one is still served."""
    rules = TestRules(accept_unknown=False)
    assert rejected(entry(), rules).reason == "unknown_tenant"
    rules.tenants["salon"] = TenantRules(known=True, sender="S", region="IE", route="default", countries=None)
    sent(entry(), rules)


@given(st.text("abcdefghijklmnop0123456789_.:-", min_size=1, max_size=64), st.integers(1, 64))
def test_shards(tenant: str, shards: int) -> None:
    """A tenant is taken in the shard that crc32 gives it and in no other; the sentence names the stream to write to."""
    rules = TestRules(shards=shards)
    home = zlib.crc32(tenant.encode()) % shards
    for shard in {0, home, shards - 1}:
        outcome = judged(entry(tenant=tenant), rules, shard=shard)
        if shard == home:
            assert isinstance(outcome, Send)
        else:
            assert isinstance(outcome, Rejection)
            assert outcome.reason == "wrong_shard"
            assert f"smsd:{{{home}}}:in:reminder" in outcome.detail


def test_countries() -> None:
    """Only the countries that are allowed are texted; a number whose country cannot be told is none of them."""
    settings = TenantRules(known=True, sender="S", region="IE", route="default", countries=frozenset({"IE", "GB"}))
    rules = TestRules(tenants={"salon": settings})
    assert sent(entry(), rules).message.to_country == "IE"
    outcome = rejected(entry(to="+358401234567"), rules)
    assert (outcome.reason, outcome.detail) == ("country_not_allowed", "texts to FI are not allowed here")
    assert rejected(entry(to="+882123456789"), rules).reason == "country_not_allowed"
    assert sent(entry(to="+882123456789")).message.to_country == ""


def test_valid_numbers_only() -> None:
    """The config's stricter check of numbers is applied."""
    sent(entry(to="+353300000000"))
    assert rejected(entry(to="+353300000000"), TestRules(number_check="valid")).reason == "bad_number"


def test_unroutable() -> None:
    """A message that no route serves is rejected, with the route that its tenant has and nobody else."""
    found = rejected(entry(), TestRules(routes={"IE": None}))
    assert found.reason == "unroutable"
    assert found.detail == 'no route rule matches, and the tenant\'s route "default" does not exist'


def test_our_own_failure() -> None:
    """A failure of ours rejects the entry as internal, with whose it was, and raises nothing."""

    class Broken(TestRules):
        def tenant(self, tenant: str) -> TenantRules:
            raise KeyError(tenant)

    outcome = rejected(entry(), Broken())
    assert (outcome.reason, outcome.tenant, outcome.given_id) == ("internal", "salon", "a1")
    assert "KeyError" in outcome.detail


@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        ({}, TestRules(defaults=DEFAULTS, accept_unknown=False)),
        ({}, TestRules(defaults=msgspec.structs.replace(DEFAULTS, countries=frozenset({"GB"})))),
        ({"not_after": "1774774800000"}, TestRules()),
        ({"from_": "Salon"}, TestRules(senders={"IE": SenderRule(frozenset({"e164"}))})),
        ({"body": "x" * 200}, TestRules(max_segments=1)),
        ({"campaign": "c", "replaces": "a0"}, TestRules(routes={"IE": None})),
    ],
    ids=["tenant", "country", "time", "sender", "segments", "route"],
)
def test_a_rejection_knows_what_it_may_repeat(changed: dict[str, str], rules: TestRules) -> None:
    """What could be taken once, and no more for the time or the settings, has the fingerprint that it had then."""
    then = sent(entry(**changed))
    outcome = judged(entry(**changed), rules, now_us=NOW_US + 2 * HOUR_US)
    assert isinstance(outcome, Rejection)
    assert (outcome.repeats, outcome.fingerprint) == (then.message.key, then.fingerprint)


@pytest.mark.parametrize(
    "fields",
    [
        entry(to="086"),
        entry(id="a b"),
        entry(id="x" * 129),
        entry(id=None, campaign="/"),
        entry(op="x"),
        entry(tenant="/"),
    ],
)
def test_a_rejection_repeats_nothing_where_it_cannot_be_told(fields: dict[str, str]) -> None:
    """Without an id, a number or an operation that are such, it can have no first."""
    assert rejected(fields).repeats == ""


@pytest.mark.parametrize(
    ("changed", "campaign", "meta"),
    [
        ({"campaign": "c", "meta": '{"a": 1}'}, "c", '{"a": 1}'),
        ({"campaign": "c d", "meta": "{"}, "", ""),
        ({"meta": "1" * 2049, "campaign": "c"}, "c", ""),
        ({}, "", ""),
    ],
)
def test_a_rejection_hands_back_what_can_be(changed: dict[str, str], campaign: str, meta: str) -> None:
    """Campaign and meta, where they are what they should be, whatever else is wrong."""
    outcome = rejected(entry(to=None, **changed))
    assert (outcome.campaign, outcome.meta) == (campaign, meta)


def test_id_of_a_wrong_type() -> None:
    """A number as id in JSON is rejected, and the rejection names it."""
    outcome = rejected([(b"json", b'{"tenant":"salon","id":4711,"to":"+353861234567","body":"a"}')])
    assert (outcome.reason, outcome.tenant, outcome.given_id) == ("bad_id", "salon", "4711")


def test_reasons_are_the_contract() -> None:
    """Every reason has its line of help, and nothing else has."""
    contract = (
        "bad_json missing_field bad_tenant unknown_tenant wrong_shard bad_id id_conflict bad_number "
        "country_not_allowed bad_sender bad_body too_long too_large bad_time in_past bad_meta bad_op "
        "unroutable internal"
    )
    assert " ".join(REASONS) == contract
    assert all(len(help_) > 20 for help_ in REASONS.values())


# ---- Anything at all -------------------------------------------------------------------------------------------------

plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
nested = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
values = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode()),
    st.sampled_from([b"salon", b"+353861234567", b"cancel", b"send", b"1774774800000", b"2026-03-29T10:00:00Z", b""]),
    st.dictionaries(st.sampled_from(sorted(FAULT_OF)), nested).map(lambda value: json.dumps(value).encode()),
)
names = st.one_of(st.sampled_from([name.encode() for name in (*FAULT_OF, "json")]), st.binary(max_size=10))


@given(st.lists(st.tuples(names, values), max_size=12), st.booleans())
def test_any_bytes(pairs: Pairs, on_a_good_entry: bool) -> None:
    """Any bytes are judged without a failure; a rejection keeps them, a taken message is whole and can be stored."""
    fields = flat(entry()) + pairs if on_a_good_entry else pairs
    outcome = judged(fields)
    msgspec.msgpack.encode(outcome)
    match outcome:
        case Rejection():
            assert outcome.reason in REASONS
            assert outcome.reason != "internal", outcome
            assert outcome.fields == tuple(fields)
            assert outcome.detail
        case Send():
            assert 1 <= outcome.message.segments <= 10
            assert re.fullmatch(r"\+[0-9]{4,17}", outcome.message.to)
            assert outcome.deadline_us > NOW_US
        case Cancel():
            assert outcome.tenant
            assert outcome.id


SECRET = "zq7xk"  # no part of any of our sentences


@pytest.mark.parametrize("name", sorted(set(FAULT_OF) - {"traceparent"}))
@pytest.mark.parametrize("spoiled", ["\0", "/", "\ud800", "{", " " * 70, "é" * 2000, "\n"])
def test_details_quote_nothing(name: str, spoiled: str) -> None:
    """A detail never repeats what the entry says: it goes to logs and to the events stream."""
    outcome = judged(entry() | {name: SECRET + spoiled + SECRET})
    if name not in ("body", "region"):
        assert isinstance(outcome, Rejection)
    if isinstance(outcome, Rejection):
        assert SECRET not in outcome.detail


def test_a_sender_that_may_not_send_there_is_told() -> None:
    """What the entry names is rejected; the tenant's own gives way to one of its pool, the same for the same person."""
    rules = TestRules(senders={"IE": SenderRule(frozenset({"e164"}))})
    assert rejected(entry(from_="Salon"), rules).reason == "bad_sender"
    assert "the tenant's sender" in rejected(entry(), rules).detail
    pool = ("+353860000001", "Salon", "+353860000002")
    rules.tenants["salon"] = msgspec.structs.replace(DEFAULTS, known=True, pool=pool)
    first = sent(entry(), rules).message.sender
    assert first in pool
    assert first != "Salon"
    assert sent(entry(id="a2", body="Another"), rules).message.sender == first
