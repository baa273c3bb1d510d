"""What smsd.config.settings must hold: the grammars of single values, and the contract's defaults."""

import pytest

from smsd.config.read import BAD, Reader
from smsd.config.settings import (
    CLASSES,
    ClassConfig,
    Countries,
    Country,
    HttpConfig,
    Listen,
    Name,
    Prefix,
    RetentionConfig,
    RouteRule,
    Sender,
    SenderConfig,
    Settings,
    StatusWebhook,
    StoreConfig,
    Tenant,
    TenantId,
    Terms,
    Us,
    WebhooksConfig,
    duration_us,
    show_duration,
)
from smsd.secret import Secret

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("text", "us"),
    [("500ms", 500_000), ("2s", 2 * SECOND), ("10m", 600 * SECOND), ("12h", 43_200 * SECOND), ("7d", 604_800 * SECOND)],
)
def test_a_duration_has_a_unit(text: str, us: int):
    """Milliseconds to days become microseconds."""
    assert duration_us(text) == us


@pytest.mark.parametrize("text", ["500ms", "90s", "10m", "12h", "7d"])
def test_a_duration_is_shown_as_it_is_written(text: str):
    """What is shown can be written; nothing is what retention calls the end."""
    assert show_duration(duration_us(text)) == text
    assert show_duration(0) == "end"


@pytest.mark.parametrize(
    "text", ["12", "", "1.5h", "1h30m", "12 h", "-1s", "0s", "4000d", "9" * 400 + "s", "٢s", "2s\n"]
)
def test_what_is_no_duration_is_told(text: str):
    """A number without a unit, mixed units, nothing and for ever are mistakes."""
    with pytest.raises(ValueError, match="duration"):
        duration_us(text)


def test_a_number_where_a_duration_belongs_says_how_one_is_written():
    """A bare number is never guessed to be seconds."""
    reader = Reader("", {})
    assert reader.value(Us, 12, ("x",)) is BAD
    assert reader.mistakes == [
        (("x",), 'expected a duration with its unit: "500ms", "2s", "10m", "12h" or "7d", got 12')
    ]


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (Name, ["reminder", "a-b_9", "x" * 32], ["", "Reminder", "a.b", "x" * 33, "ä", "a\n"]),
        (TenantId, ["acme", "A.b:c-d_1", "x" * 64], ["", "a b", "x" * 65, "*", "a/b"]),
        (Tenant, ["*", "acme"], ["", "a*"]),
        (Country, ["IE", "US"], ["ie", "UK", "XX", "", "*"]),
        (Countries, ["*", "IE"], ["ie", "**"]),
        (Sender, ["", "+353861234567", "12345", "Acme Hair"], ["Much too long a sender", "+1", "Ä"]),
        (Prefix, ["+353", "+3"], ["353", "+", "+3a", "+1234567890123456"]),
        (Listen, ["127.0.0.1:0", "h-1.example:65535", "[::1]:80"], ["8080", ":80", "h:", "h:65536", "::1:80", "h:1 "]),
    ],
)
def test_names_and_addresses_have_their_alphabets(type_: object, good: list[str], bad: list[str]):
    """What fits is taken as it stands, and each misfit is one mistake."""
    reader = Reader("", {})
    assert [reader.value(type_, text, ()) for text in good] == good
    assert [reader.value(type_, text, ()) for text in bad] == [BAD] * len(bad)
    assert len(reader.mistakes) == len(bad)


def test_a_country_that_is_often_meant_is_suggested():
    """UK is not the ISO code of Britain."""
    reader = Reader("", {})
    assert reader.value(Country, "UK", ()) is BAD
    assert reader.value(Country, "fr", ()) is BAD
    assert ['(did you mean "GB"?)' in reader.mistakes[0][1], '(did you mean "FR"?)' in reader.mistakes[1][1]] == [
        True
    ] * 2


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("", ""),
        ("https://sms.example.com", "https://sms.example.com"),
        ("https://example.com/sms/", "https://example.com/sms"),
        ("http://127.0.0.1:8776", "http://127.0.0.1:8776"),
        ("sms.example.com", None),
        ("ftp://example.com", None),
        ("https://", None),
        ("https://a:b@example.com", None),
        ("https://example.com/?x", None),
        ("https://example.com/#x", None),
        ("https://example.com:99999", None),
        ("https://[example.com", None),
        ("https://exa mple.com", None),
    ],
)
def test_a_public_url_may_have_a_path_and_ends_without_a_slash(url: str, read: str | None):
    """What callbacks are built from is one url with nothing after its path."""
    reader = Reader("", {})
    config = reader.struct(WebhooksConfig, {"public_url": url}, ())
    assert config == WebhooksConfig(public_url=read or "")
    assert len(reader.mistakes) == (read is None)


@pytest.mark.parametrize(
    "url", ["https://rails.example.com/events/", "https://rails.example.com/", "http://10.0.0.7/e"]
)
def test_a_receiver_is_called_at_its_url_as_it_is_written(url: str):
    """To many a framework /events is another page than /events/, or a redirect to it, which is not followed."""
    reader = Reader("", {})
    told = reader.struct(StatusWebhook, {"url": url, "secret": "env:HOOK"}, ())
    assert told is not None
    assert (told.url, reader.mistakes) == (url, [])


def test_the_defaults_are_the_contract_s():
    """What a file does not say is as contract §5 shows it."""
    settings = Settings()
    assert settings.store.embedded
    assert (settings.store.listen, settings.store.shards, settings.store.durability) == ("127.0.0.1:8777", 1, "relaxed")
    assert (settings.http.listen, settings.webhooks.listen) == ("127.0.0.1:8775", "127.0.0.1:8776")
    dispatch = settings.dispatch
    assert (dispatch.drain_s, dispatch.start_by_s, dispatch.slack_ms, dispatch.max_segments) == (25, 1.0, 20, 10)
    assert (dispatch.number_check, dispatch.countries, dispatch.memory_mark) == ("possible", ("*",), 0.75)
    assert list(settings.classes) == ["reminder", "marketing"]
    assert settings.unknown_tenants.policy == "accept"
    assert settings.retention == RetentionConfig(
        messages_us=72 * 3600 * SECOND,
        bodies_us=0,
        events_us=168 * 3600 * SECOND,
        events_max=5_000_000,
        dead_max=100_000,
    )
    assert not settings.sandbox.enabled


def test_a_class_says_its_policy_in_microseconds():
    """The two known classes have the contract's values, any other the defaults of any name."""
    reminder, marketing, other = CLASSES["reminder"], CLASSES["marketing"], ClassConfig()
    assert (reminder.weight, reminder.expire_after_us, reminder.on_unknown) == (8, 12 * 3600 * SECOND, "resend")
    assert (marketing.weight, marketing.expire_after_us, marketing.on_unknown) == (1, 24 * 3600 * SECOND, "hold")
    assert (reminder.share_permille, marketing.share_permille, other.share_permille) == (1000, 800, 1000)
    assert ClassConfig(max_in_flight_share=0.0001).share_permille == 1
    for config in (reminder, marketing, other):
        assert config.receipt_timeout_us == 48 * 3600 * SECOND
        assert config.backoff_us == (2 * SECOND, 600 * SECOND)
        assert config.max_attempts == 8
    assert (other.weight, other.expire_after_us, other.on_unknown) == (1, None, "hold")


def test_bodies_are_kept_to_the_end_or_for_a_time():
    """`bodies` is a word or a duration."""
    reader = Reader("", {})
    assert reader.struct(RetentionConfig, {"bodies": "end"}, ()) == RetentionConfig()
    assert reader.struct(RetentionConfig, {"bodies": "1h"}, ()) == RetentionConfig(bodies_us=3600 * SECOND)
    assert reader.struct(RetentionConfig, {"bodies": "never"}, ()) == RetentionConfig()
    assert len(reader.mistakes) == 1


def test_what_must_be_said_has_no_default():
    """A key's tenants, a rule's route, a webhook's url and secret are never guessed."""
    reader = Reader("", {})
    reader.struct(HttpConfig, {"api_keys": {"rails": {"key": "env:K"}}}, ())
    reader.struct(RouteRule, {"countries": ["US"]}, ())
    reader.struct(StatusWebhook, {}, ())
    assert [message for _, message in reader.mistakes] == [
        f'the key "{key}" is missing' for key in ("tenants", "route", "url", "secret")
    ]


def test_a_status_webhook_knows_states_and_rotated_secrets():
    """Its keys are judged although a later release uses them."""
    reader = Reader("", {})
    table = {"url": "https://e.example/x", "secret": ["env:A", "env:B"], "states": ["delivered"]}
    read = reader.struct(StatusWebhook, table, ())
    assert read is not None
    assert read.secret == (Secret("env:A"), Secret("env:B"))
    reader.struct(StatusWebhook, {**table, "states": ["sent"]}, ("w",))
    assert [path for path, _ in reader.mistakes] == [("w", "states", 0)]


def test_a_wrong_limit_says_what_the_grammar_is():
    """The sentence of smsd.core.limit reaches the key of the limit."""
    reader = Reader("", {})
    reader.struct(SenderConfig, {"limits": ["1/s", "1 per s", 5]}, ())
    assert [path for path, _ in reader.mistakes] == [("limits", 1), ("limits", 2)]
    assert '"1 per s" is no limit: write N[ segments]/' in reader.mistakes[0][1]
    assert 'expected a limit such as "20/s", got 5' in reader.mistakes[1][1]


def test_only_the_word_embedded_is_the_bundled_store():
    """Whatever else the url is, the store is somebody else's."""
    reader = Reader("", {"U": "embedded"})
    assert reader.struct(StoreConfig, {"url": "redis://h"}, ()) != StoreConfig()
    other = reader.struct(StoreConfig, {"url": "env:U"}, ())
    assert other is not None
    assert not other.embedded
    assert Terms().limits[0].n == 20
