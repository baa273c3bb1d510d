"""Secrets by reference: `env:NAME` or `file:PATH`, read when they are needed and never kept, shown or written out.

A url holds references in braces, so that its own colons stay its own: `redis://smsd:{env:REDIS_PASSWORD}@db:6379/0`; or
it is one reference as a whole: `env:REDIS_URL`. What stands in braces is percent-encoded when it is put in.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

_REFERENCE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)|file:([^\0{}]+)")
_IN_BRACES = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDER = "{}"  # stands in no url by itself: braces hold references
LARGEST_FILE = 64 * 1024

HOW = "a secret is never written into the config: give env:NAME or file:PATH"


class SecretError(ValueError):
    """A secret that is no reference, or a reference that leads nowhere. The text never holds the secret."""


class Secret:
    """One reference. `reveal()` reads what it points to, each time anew; everything else about it is the reference."""

    __slots__ = ("_env", "folder", "reference")

    def __init__(self, reference: str, folder: str = "", env: Mapping[str, str] = os.environ) -> None:
        """`folder`: what a relative PATH is relative to. Raises SecretError for anything but a reference."""
        if _REFERENCE.fullmatch(reference) is None:
            raise SecretError(HOW)
        self.reference = reference
        self.folder = folder
        self._env = env

    def reveal(self) -> str:
        """The secret itself, without a newline at its end. Raises SecretError if it is missing or empty."""
        kind, _, target = self.reference.partition(":")
        if kind == "env":
            secret = self._env.get(target, "")
            if not secret:
                raise SecretError(
                    f"the environment variable {target} is {'empty' if target in self._env else 'not set'}"
                )
            return secret
        try:
            with (Path(self.folder) / target).open(encoding="utf-8") as file:
                secret = file.read(LARGEST_FILE + 1).rstrip("\r\n")
        except OSError as error:
            raise SecretError(f"the file {target} cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise SecretError(f"the file {target} is not UTF-8 text") from None
        if not secret or len(secret) > LARGEST_FILE:
            raise SecretError(f"the file {target} is {'longer than 64 KB' if secret else 'empty'}")
        return secret

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)

    def __reduce__(self) -> tuple[type["Secret"], tuple[str, str]]:
        return Secret, (self.reference, self.folder)


class SecretUrl:
    """A url of the store with its secrets as references. `reveal()` puts them in; `str` shows the url with `***`."""

    __slots__ = ("secrets", "text", "whole")

    def __init__(self, text: str, folder: str = "", env: Mapping[str, str] = os.environ) -> None:
        """Raises SecretError where a password is written out, or what stands in braces is no reference."""
        self.text = text
        self.whole = _REFERENCE.fullmatch(text) is not None
        references: list[str] = [text] if self.whole else _IN_BRACES.findall(text)
        self.secrets = {reference: Secret(reference, folder, env) for reference in references}
        if not self.whole and _has_password(_IN_BRACES.sub(_PLACEHOLDER, text)):
            raise SecretError("the url holds a password: put {env:NAME} or {file:PATH} in its place, braces included")

    def reveal(self) -> str:
        """The url as it is dialled. Raises SecretError if a reference leads nowhere."""
        if self.whole:
            return self.secrets[self.text].reveal()
        return _IN_BRACES.sub(lambda match: quote(self.secrets[match[1]].reveal(), safe=""), self.text)

    def masked(self, mask: str) -> str:
        """The url with `mask` in place of each secret."""
        return mask if self.whole else _IN_BRACES.sub(mask, self.text)

    def __str__(self) -> str:
        return self.masked("***")

    def __repr__(self) -> str:
        return repr(str(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUrl) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __reduce__(self) -> tuple[Callable[..., "SecretUrl"], tuple[str, str]]:
        folder = next((secret.folder for secret in self.secrets.values()), "")
        return SecretUrl, (self.text, folder)


def _has_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may hold the netloc, and with it the password
        raise SecretError("the url cannot be read") from None
    user, _, _ = parts.netloc.rpartition("@")
    in_query = [value for name, value in parse_qsl(parts.query) if name == "password"]
    return any(password not in ("", _PLACEHOLDER) for password in [user.partition(":")[2], *in_query])


def as_reference(value: Any) -> str:
    """For msgspec's `enc_hook`: a secret is written as its reference, a url with its references."""
    match value:
        case Secret():
            return value.reference
        case SecretUrl():
            return value.text
        case _:
            raise NotImplementedError(f"{type(value).__name__} cannot be written out")
