"""What proves a callback of Twilio's: a signature over its URL and form, or over a URL that names its body's hash.

Never says why a proof fails. Source: https://www.twilio.com/docs/usage/security (2026-11-23); the vendor's own
RequestValidator judges all that is unusual.
"""

import hmac
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from itertools import chain
from typing import Protocol, cast

from twilio.request_validator import RequestValidator  # pyright: ignore[reportMissingTypeStubs]

from smsd.provider import BadSignature, Callback
from smsd_providers import _wire

FIELDS_MAX = 200


class _Validator(Protocol):
    def validate(self, uri: str, params: object, signature: str) -> bool: ...


class _Form(dict[str, list[str]]):
    """A form as the RequestValidator reads one: it asks `getlist` for names that come more than once."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


class Signature:
    """Judges callbacks by an account's tokens, each of which may have signed."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._validators: tuple[_Validator, ...] = tuple(
            cast("_Validator", RequestValidator(token)) for token in tokens
        )
        self._keyed = tuple(hmac.new(token.encode(), digestmod="sha1") for token in tokens)

    def fields(self, callback: Callback) -> dict[str, str]:
        """What the callback says, of a repeated field the first. Raises BadSignature unless its signature holds."""
        signature = callback.headers.get("x-twilio-signature", "")
        is_json = "json" in callback.headers.get("content-type", "")
        try:
            if is_json:
                _check_hash(callback)
            pairs = [] if is_json else _wire.form_pairs(callback.body, FIELDS_MAX)
            genuine = signature and self._genuine(callback.url, pairs, signature)
        except ValueError as error:  # a URL or a form that cannot be read was not signed by Twilio
            raise BadSignature from error
        if not genuine:
            raise BadSignature
        if not is_json:
            return dict(reversed(pairs))
        document = _wire.decode(callback.body)
        told = cast("dict[str, object]", document) if isinstance(document, dict) else {}
        return {name: _wire.scalar(value) for name, value in told.items()}

    def _genuine(self, url: str, pairs: Sequence[tuple[str, str]], signature: str) -> bool:
        """Whether the signature is Twilio's. The plain one over this very URL costs a fourth of what the validator
        does, which judges all that this does not recognise (other spellings of the port, what was sent twice).
        """
        text = (url + "".join(chain.from_iterable(sorted(pairs)))).encode()
        told = signature.encode("utf-8", "replace")
        for keyed in self._keyed:
            signed = keyed.copy()  # the key is worked in already
            signed.update(text)
            if compare_digest(b64encode(signed.digest()), told):
                return True
        form = _Form()
        for name, value in pairs:
            form.setdefault(name, []).append(value)
        return any(validator.validate(url, form, signature) for validator in self._validators)


def _check_hash(callback: Callback) -> None:
    """Of a JSON body the URL alone is signed, which names the body's hash. Raises ValueError."""
    if _wire.query_value(callback.url, "bodySHA256").lower() != sha256(callback.body).hexdigest():
        raise ValueError("the body's hash is not the one that the URL names")
