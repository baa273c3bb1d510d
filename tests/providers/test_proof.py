"""Proofs by a secret of ours, in each of its places, and the freshness of signed times."""

import base64
import contextlib
import hmac

import jwt
import msgspec
import pytest

from smsd.provider import BadSignature, Callback
from smsd.secret import Secret
from smsd.store.texts import REPEAT_US
from smsd_providers._proof import RETRIED_S, TOLERANCE_S, Callbacks, Proof, check, check_fresh, claims

ENV = {"NEW": "new secret/1", "OLD": "old"}
TOLD = "https://sms.example.com/webhooks/main/status?ref=1.acme%2Fm1"


def rules(by: str, name: str = "", **more: str) -> Callbacks:
    """Two secrets, as while one is changed."""
    secrets = (Secret("env:NEW", env=ENV), Secret("env:OLD", env=ENV))
    return Callbacks(by=by, name=name, secrets=secrets, **more)  # type: ignore[arg-type]


def called(url: str = TOLD, **headers: str) -> Callback:
    return Callback("POST", url, headers, b"{}", 1_000_000 * 1_000_000)


def holds(rule: Callbacks | None, callback: Callback) -> bool:
    try:
        Proof(rule).check(callback)
    except BadSignature:
        return False
    return True


@pytest.mark.parametrize(
    ("by", "name", "told"),
    [
        ("path", "", "https://sms.example.com/webhooks/main/new%20secret%2F1/status?ref=1.acme%2Fm1"),
        ("query", "k", TOLD + "&k=new+secret%2F1"),
        ("header", "x-token", TOLD),
        ("basic", "us", TOLD),
    ],
)
def test_the_told_url_carries_the_proof(by: str, name: str, told: str) -> None:
    """Where the URL is the proof, what the vendor calls back is let in; where it is not, the URL stays as it was."""
    proof = Proof(rules(by, name))
    assert proof.told(TOLD) == told
    assert proof.told("") == ""
    assert holds(rules(by, name), called(told)) is (told != TOLD)


def test_a_network_may_be_all_the_proof() -> None:
    """Where the callback comes from counts by "network" alone; it stands in for no secret."""
    from_network = msgspec.structs.replace(called(), from_network=True)
    assert holds(Callbacks(by="network"), from_network)
    assert not holds(Callbacks(by="network"), called())
    assert Proof(Callbacks(by="network")).told(TOLD) == TOLD
    assert not holds(rules("header", "X-Token"), from_network)
    assert not holds(None, from_network)


@pytest.mark.parametrize("secret", ["new secret/1", "old"])
def test_either_secret_is_taken(secret: str) -> None:
    """While a secret is changed, both hold."""
    basic = base64.b64encode(f"us:{secret}".encode()).decode()
    digest = hmac.digest(secret.encode(), b"{}", "sha256").hex()
    assert holds(rules("header", "X-Token"), called(**{"x-token": secret}))
    assert holds(rules("basic", "us"), called(authorization=f"Basic {basic}"))
    assert holds(rules("hmac", "x-sig"), called(**{"x-sig": digest}))


@pytest.mark.parametrize("by", ["path", "query", "header", "basic", "hmac"])
def test_another_secret_is_forged(by: str) -> None:
    """A wrong secret in every place at once opens none."""
    wrong = {"x": "wrong", "authorization": "Basic d3Jvbmc="}
    url = "https://sms.example.com/webhooks/main/wrong/status?x=wrong"
    assert not holds(rules(by, "" if by == "path" else "x"), called(url, **wrong))


def test_without_rules_nothing_is_proven() -> None:
    """No callback is let in, and the URL is told as it is."""
    assert Proof(None).told(TOLD) == TOLD
    assert not holds(None, called(none=""))
    check(None)


def test_a_url_that_cannot_be_read_is_forged() -> None:
    """Nobody told such a URL."""
    assert not holds(rules("path"), called("http://["))


def test_rules_without_a_secret_or_a_name_are_mistakes() -> None:
    """The sentence begins with the key."""
    for wrong, key in ((rules("query"), "name"), (msgspec.structs.replace(rules("path"), secrets=()), "secrets")):
        with pytest.raises(ValueError, match=f"^callbacks.{key}: "):
            check(wrong)


@pytest.mark.parametrize("told", ["999700", "1000300"])
def test_a_time_within_the_tolerance_is_fresh(told: str) -> None:
    """Both clocks may be some minutes apart."""
    check_fresh(told, called())


@pytest.mark.parametrize("told", ["999699", "1000301", "", "-1", "1e6", "٣", "9" * 20])
def test_any_other_time_is_a_replay(told: str) -> None:
    """Too old, too new, or no time at all."""
    with pytest.raises(BadSignature):
        check_fresh(told, called(), TOLERANCE_S)


@pytest.mark.parametrize(
    ("told", "fresh"), [("913300", True), ("913299", False), ("1000300", True), ("1000301", False)]
)
def test_a_vendor_that_tries_for_a_day_may_have_signed_once(told: str, fresh: bool) -> None:
    """A day and the tolerance old, for a try may come with the first one's time; no nearer to the future than ever."""
    with contextlib.nullcontext() if fresh else pytest.raises(BadSignature):
        check_fresh(told, called(), RETRIED_S)


def test_a_text_is_known_for_longer_than_it_can_be_replayed() -> None:
    """Else a START of yesterday, told again, would open what a STOP has closed since; the clocks may differ as well."""
    assert (RETRIED_S + TOLERANCE_S) * 1_000_000 < REPEAT_US


def test_a_token_is_believed_that_any_key_has_signed() -> None:
    """What it says is told, whenever that was said: its times are not judged here."""
    said = {"iss": "Vonage", "iat": 1, "exp": 2}
    token = jwt.encode(said, "k" * 32, "HS256")
    assert claims(token, ["j" * 32, "k" * 32]) == said
    assert claims(jwt.encode(said, "k" * 64, "HS512"), ["k" * 64], ["HS256", "HS512"]) == said


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode({"a": 1}, "j" * 32, "HS256"),
        jwt.encode({"a": 1}, "k" * 64, "HS512"),
        jwt.encode({"a": 1}, "", "none"),
        "",
        "a.b.c",
        "\udcff.é.c",
        base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.AA",
    ],
)
def test_any_other_token_is_forged(token: str) -> None:
    """Signed with another key, by another algorithm or none, or no token at all."""
    with pytest.raises(BadSignature):
        claims(token, ["k" * 32])
