"""What proves a message of Amazon SNS; whole messages are in the vectors of the provider `aws`."""

from pathlib import Path

import msgspec
import pytest

from smsd.provider import BadSignature, Callback, Needs
from smsd.testing.conformance import read_vectors
from smsd.testing.conformance_subject import Vector
from smsd_providers._sns import CERTIFICATE, SUBSCRIBE, message_of, prove, public_key

TOPICS = ["arn:aws:sns:us-east-1:123456789012:smsd-dlr"]
KEPT = read_vectors(Path(__file__).parent / "vectors" / "aws.json")


def named(name: str) -> Vector:
    return next(vector for vector in KEPT if vector.name == name)


def told(callback: Callback) -> dict[str, object]:
    return dict(message_of(msgspec.json.decode(callback.body)))


@pytest.mark.parametrize("name", ["sns-v1-successful", "ttl-expired", "subscription-confirmation", "inbound"])
def test_what_amazon_has_signed_is_proven(name: str) -> None:
    """By either version of the signature, for a message and for the question whether we want any."""
    callback = named(name).callback
    prove(told(callback), callback, TOPICS, None)
    with pytest.raises(BadSignature):
        prove(told(callback) | {"Message": "another"}, callback, TOPICS, None)


def test_the_certificate_is_asked_for_once_its_url_is_amazons() -> None:
    """Nothing is believed before it is there."""
    callback = msgspec.structs.replace(named("ttl-expired").callback, fetched={})
    with pytest.raises(Needs) as wanted:
        prove(told(callback), callback, TOPICS, None)
    assert wanted.value.url == "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0000.pem"


@pytest.mark.parametrize("topics", [[], ["arn:aws:sns:us-east-1:123456789012:other"]])
def test_a_topic_that_is_not_ours_is_forged(topics: list[str]) -> None:
    """Amazon signs for everybody's topics."""
    callback = named("ttl-expired").callback
    with pytest.raises(BadSignature):
        prove(told(callback), callback, topics, None)


def test_a_pinned_certificate_takes_the_place_of_amazons() -> None:
    """For rehearsals: no other is fetched, and none but it is believed."""
    (mine,), (other,) = (named(name).documents.values() for name in ("queued", "ttl-expired"))
    callback = msgspec.structs.replace(named("queued").callback, fetched={})
    prove(told(callback), callback, TOPICS, public_key(mine.encode()))
    with pytest.raises(BadSignature):
        prove(told(callback), callback, TOPICS, public_key(other.encode()))


@pytest.mark.parametrize("document", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "<html>"])
def test_a_certificate_that_is_none_proves_nothing(document: str) -> None:
    """Whatever came instead of it."""
    callback = named("ttl-expired").callback
    fetched = dict.fromkeys(callback.fetched, document.encode())
    with pytest.raises(BadSignature):
        prove(told(callback), msgspec.structs.replace(callback, fetched=fetched), TOPICS, None)


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-7ff5318490ec183fbaddaa2a969abfda.pem", True),
        ("https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0a.pem", True),
        ("http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a.pem", False),
        ("https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0a.pem", False),
        ("https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-0a.pem", False),
        ("https://evil.example/sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a.pem", False),
        ("https://bucket.s3.amazonaws.com/SimpleNotificationService-0a.pem", False),
        ("https://sns.eu-west-1.amazonaws.com/other.pem", False),
        ("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a.pem?x", False),
        ("https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-0a.pem", False),
        ("", False),
    ],
)
def test_only_amazons_own_urls_are_asked(url: str, right: bool) -> None:
    """Host and path are pinned."""
    assert bool(CERTIFICATE.fullmatch(url)) is right


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:x&Token=2336412f", True),
        ("https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=x", False),
        ("https://sns.eu-west-1.evil.example/?Action=ConfirmSubscription&Token=1", False),
        ("http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1", False),
    ],
)
def test_only_amazons_own_confirmation_is_visited(url: str, right: bool) -> None:
    """A signed message could still lead elsewhere."""
    assert bool(SUBSCRIBE.fullmatch(url)) is right
