"""What proves a message of Amazon SNS: its topic is ours, and a certificate of Amazon's has signed it.

Never fetches: it says which certificate is wanted (Needs), once the URL is one of Amazon's own. Source:
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html (2026-11-28).
"""

import base64
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import load_pem_x509_certificate

from smsd.provider import BadSignature, Callback, Needs
from smsd_providers import _proof

CERTIFICATE = re.compile(
    r"https://sns\.[a-z0-9-]{3,32}\.amazonaws\.com(?:\.cn)?/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem"
)
SUBSCRIBE = re.compile(
    r"https://sns\.[a-z0-9-]{3,32}\.amazonaws\.com(?:\.cn)?/\?Action=ConfirmSubscription&[!-~]{1,2000}"
)
HASHES = {"1": SHA1, "2": SHA256}  # by SignatureVersion
SIGNED = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
NOTIFICATION = tuple(name for name in SIGNED if name not in ("SubscribeURL", "Token"))
CONFIRMATION = tuple(name for name in SIGNED if name != "Subject")
TOLERANCE_S = 3_900  # tries of an HTTP delivery go on for an hour at most, under the time of the first


def public_key(pem: bytes) -> RSAPublicKey:
    """Of a certificate. Raises ValueError."""
    key = load_pem_x509_certificate(pem).public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the certificate's key is not RSA")
    return key


def prove(told: Mapping[str, object], callback: Callback, topics: Collection[str], pinned: RSAPublicKey | None) -> None:
    """Raises BadSignature unless the message is from one of our topics and signed; Needs for the certificate.

    Anybody can have a topic of their own send to us, signed by Amazon as well: the topic is a part of the proof.
    `pinned` takes the place of Amazon's certificate, for rehearsals.
    """
    texts = {name: value for name, value in told.items() if isinstance(value, str)}
    if texts.get("TopicArn") not in topics:
        raise BadSignature
    fields = NOTIFICATION if texts.get("Type") == "Notification" else CONFIRMATION
    signed = "".join(f"{name}\n{texts[name]}\n" for name in fields if name in texts)
    try:
        signature = base64.b64decode(texts.get("Signature", ""), validate=True)
        key = pinned or _fetched(texts.get("SigningCertURL", ""), callback)
        hashed = HASHES[texts.get("SignatureVersion", "")]()
        key.verify(signature, signed.encode(), PKCS1v15(), hashed)
        at = datetime.fromisoformat(texts["Timestamp"])
    except (ValueError, KeyError, InvalidSignature) as error:  # a lone surrogate has no UTF-8
        raise BadSignature from error
    _proof.check_fresh(str(int(at.timestamp())), callback, TOLERANCE_S)


def _fetched(url: str, callback: Callback) -> RSAPublicKey:
    if not CERTIFICATE.fullmatch(url):
        raise BadSignature
    if url not in callback.fetched:
        raise Needs(url)
    return public_key(callback.fetched[url])


def message_of(document: object) -> Mapping[str, object]:
    """The fields of what may be SNS's JSON; {} for anything else."""
    return cast("dict[str, object]", document) if isinstance(document, dict) else {}
