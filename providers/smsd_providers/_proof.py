"""What proves a callback where the vendor signs nothing, or with a secret of ours: one in the URL, in a header or by
Basic, or an HMAC; or else the network alone that it comes from.

Never says why a proof fails: the answer to a stranger is the same whatever was wrong. Every comparison takes the same
time for right and wrong.
"""

import base64
import hmac
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

from smsd.provider import BadSignature, Callback, NoCredentials
from smsd.secret import Secret
from smsd_providers import _wire

if TYPE_CHECKING:
    from jwt.types import Options

TOLERANCE_S = 300  # how far a signature's time may lie from ours, where the vendor names none
RETRIED_S = 86_400 + TOLERANCE_S  # how old it may be where a vendor tries for a day, and may sign once for all tries


class Callbacks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What proves that a callback is the gateway's: a secret that it repeats to us, or an HMAC. By "network" it is
    where the callback comes from, and nothing else: the provider's callback_networks.
    """

    by: Literal["path", "query", "header", "basic", "hmac", "network"]
    secrets: tuple[Secret, ...] = ()  # each is tried; the first one goes into the callback URL that we tell
    name: str = ""  # of the query parameter or the header; of "basic" the user
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""  # before the digest, such as "sha256="
    signed: Literal["body", "url+body"] = "body"  # of "body" alone, no receipt is known by the reference in its URL


_NONE = Callbacks(by="header", secrets=(), name="none")


def check(callbacks: Callbacks | None) -> None:
    """Raises ValueError with a sentence that begins with the key."""
    if callbacks is None:
        return
    if callbacks.by == "network":
        if callbacks.secrets or callbacks.name:
            raise ValueError('callbacks.by: "network" has no secrets and no name; a secret beside it is another "by"')
        return
    if not callbacks.secrets:
        raise ValueError("callbacks.secrets: needs at least one, such as env:GATEWAY_TOKEN")
    if (callbacks.by != "path") != bool(callbacks.name):
        raise ValueError('callbacks.name: names the query parameter, header or user; "path" has none')


class Proof:
    """Judges callbacks by the secrets, which are read once, here. Of no rules: every callback is refused, and the URL
    is told as it is.
    """

    def __init__(self, rules: Callbacks | None) -> None:
        self._rules = rules or _NONE
        self.secrets: tuple[str, ...] = tuple(secret.reveal() for secret in self._rules.secrets)

    def told(self, url: str) -> str:
        """The callback URL with the secret in it that the vendor shall repeat, where that is the proof; "" stays ""."""
        if not url:
            return ""
        base, question, query = url.partition("?")
        if self._rules.by == "path" and quote(self.secrets[0], safe="") not in base.split("/"):
            before, _, last = base.rpartition("/")  # .../webhooks/<provider>/<token>/status
            return f"{before}/{quote(self.secrets[0], safe='')}/{last}{question}{query}"
        if self._rules.by == "query":
            return f"{base}?{query}{'&' if query else ''}{urlencode({self._rules.name: self.secrets[0]})}"
        return url

    def check(self, callback: Callback) -> None:
        """Raises BadSignature unless the callback proves, by any of the secrets, that it is the vendor's."""
        rules, right = self._rules, self.secrets
        try:
            parts = urlsplit(callback.url)
        except ValueError as error:
            raise BadSignature from error
        shown = [callback.headers.get(rules.name.lower(), "")]
        match rules.by:
            case "path":
                shown = [unquote(part) for part in parts.path.split("/")]
            case "query":
                shown = [value for name, value in parse_qsl(parts.query) if name == rules.name]
            case "basic" if "authorization" not in callback.headers:
                raise NoCredentials
            case "basic":
                shown = [callback.headers.get("authorization", "")]
                right = tuple(_wire.basic(rules.name, secret) for secret in right)
            case "network" if callback.from_network:
                return
            case "header" | "network":
                pass
            case "hmac":
                right = tuple(rules.prefix + self._digest(secret, callback) for secret in right)
        if not any(equal(ours, theirs) for ours in right for theirs in shown):
            raise BadSignature

    def _digest(self, secret: str, callback: Callback) -> str:
        rules = self._rules
        signed = callback.url.encode("utf-8", "replace") if rules.signed == "url+body" else b""
        digest = hmac.digest(secret.encode(), signed + callback.body, rules.algorithm)
        return digest.hex() if rules.encoding == "hex" else base64.b64encode(digest).decode()


def claims(token: str, keys: Sequence[str], algorithms: Sequence[str] = ("HS256",)) -> dict[str, object]:
    """What a JSON Web Token says, once one of the keys has signed it. Its times are for the caller to judge: the
    library would judge them by a clock of its own. Raises BadSignature.
    """
    import jwt
    from jwt.warnings import InsecureKeyLengthWarning

    unjudged: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)  # it is the vendor who makes the keys
        for key in keys:
            try:
                return jwt.decode(token, key, list(algorithms), unjudged)
            except (jwt.PyJWTError, ValueError, RecursionError):
                continue
    raise BadSignature


def equal(ours: str, theirs: str) -> bool:
    """Whether both are the same, in a time that does not tell."""
    return hmac.compare_digest(ours.encode("utf-8", "replace"), theirs.encode("utf-8", "replace"))


def check_fresh(told: str, callback: Callback, oldest_s: int = TOLERANCE_S) -> None:
    """Raises BadSignature unless the signed time, in epoch seconds, is near the callback's own, or no older than a
    vendor's last try may be: what is older is a replay. What is replayed sooner changes nothing: receipts are merged by
    a monotonic table, and texts are known for longer.
    """
    if not (told.isascii() and told.isdecimal() and len(told) <= 12):
        raise BadSignature
    if not -TOLERANCE_S <= callback.received_us / 1e6 - int(told) <= oldest_s:
        raise BadSignature
