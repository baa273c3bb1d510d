"""Who may call the API: bearer tokens of [http.api_keys], kept as hashes only, each bound to its tenants.

Never keeps a token, never tells which part of one was wrong, and takes the same time for any wrong one.
"""

import hashlib
import hmac
from collections.abc import Mapping

import msgspec
from structlog.typing import FilteringBoundLogger

from smsd.secret import SecretError
from smsd.shell.live import Live


class Key(msgspec.Struct, frozen=True):
    """A key that was shown: its name in the config, and whose things it may see and send."""

    name: str
    tenants: frozenset[str]
    all_tenants: bool

    def may(self, tenant: str) -> bool:
        return self.all_tenants or tenant in self.tenants


class Keyring:
    """The keys of this host's file; a reload brings new ones."""

    def __init__(self, live: Live, log: FilteringBoundLogger) -> None:
        self._live, self._log = live, log
        self._keys: list[tuple[bytes, Key]] = []
        self._load()
        live.on_swap(self._load)

    def _load(self) -> None:
        """Reads the secrets anew, for their files may have changed. One that cannot be read opens nothing."""
        keys: list[tuple[bytes, Key]] = []
        for name, one in self._live.local.http.api_keys.items():
            try:
                hashed = _hashed(one.key.reveal())
            except SecretError as error:
                self._log.warning("api_key_unreadable", key=name, detail=str(error))
                continue
            keys.append((hashed, Key(name, frozenset(one.tenants), "*" in one.tenants)))
        self._keys = keys

    def key(self, headers: Mapping[str, str]) -> Key | None:
        """Whose `Authorization: Bearer` this is; None for none or a wrong one."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        shown, found = _hashed(token.strip()), None
        for hashed, key in self._keys:  # all of them, so that the time tells nothing
            if hmac.compare_digest(hashed, shown):
                found = key
        return found


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
