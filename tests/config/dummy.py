"""Providers for tests of the config: they judge options and do nothing else."""

from typing import Any, ClassVar

import msgspec

from smsd.provider import Capabilities
from smsd.secret import Secret


class DummyOptions(msgspec.Struct, frozen=True, kw_only=True):
    base_url: str
    token: tuple[Secret, ...] = ()
    retries: int = 0

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ValueError("retries: must not be negative")
        if self.retries > 9:
            raise TypeError("it counts on one hand")


class Dummy:
    """A whole provider that never sends."""

    Options: ClassVar[type[msgspec.Struct]] = DummyOptions
    capabilities = Capabilities()

    def __init__(self, name: str, options: DummyOptions) -> None:
        self.name, self.options = name, options
        if options.base_url == "bad":
            raise ValueError("the base_url is bad")
        if options.base_url == "worse":
            raise KeyError("what may be a secret")
        self.tokens = [secret.reveal() for secret in options.token]

    def submit(self, attempt: Any) -> Any: ...
    def answer(self, response: Any) -> Any: ...
    def receipts(self, callback: Any) -> Any: ...
    def inbound(self, callback: Any) -> Any: ...
    def look_up(self, attempt: Any) -> Any: ...
    def found(self, attempt: Any, response: Any) -> Any: ...
    def secrets(self) -> frozenset[str]:
        return frozenset(self.tokens)


class Silent:
    """No provider: it has options and no verb."""

    Options = DummyOptions


class _Failing(type):
    def __getattr__(cls, name: str) -> Any:
        raise RuntimeError("it fails")


class Broken(metaclass=_Failing):
    """Fails when it is looked at."""
