"""What proves a callback of Sinch's: an HMAC over its body, a nonce and a time, where the account has that switched on.

Never says why a proof fails. Source: https://github.com/sinch/sinch-sdk-python, 2.3.0
(validate_sinch_event_signature_with_nonce).
"""

import base64
import hmac
from collections.abc import Sequence

from smsd.provider import BadSignature, Callback
from smsd_providers import _proof

SIGNED = tuple(f"x-sinch-webhook-signature{of}" for of in ("", "-nonce", "-timestamp"))


def check(callback: Callback, keys: Sequence[str]) -> None:
    """Raises BadSignature unless one of the keys has signed it, no longer ago than Sinch tries for."""
    theirs, nonce, at = (callback.headers.get(name, "") for name in SIGNED)
    signed = callback.body + f".{nonce}.{at}".encode("utf-8", "replace")
    ours = [base64.b64encode(hmac.digest(key.encode(), signed, "sha256")).decode() for key in keys]
    if not any(_proof.equal(one, theirs) for one in ours):
        raise BadSignature
    _proof.check_fresh(at, callback, _proof.RETRIED_S)
