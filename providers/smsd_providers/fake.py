"""The built-in carrier (`smsd carrier`), which speaks Twilio's dialect: for demos, tests and a try without an account.

Never reaches anything but `base_url`. Its credentials are literals on purpose: they guard nothing.
"""

from typing import ClassVar

import msgspec

from smsd.provider import Capabilities
from smsd_providers._vendor import checked_base_url
from smsd_providers.twilio import Dialect

BASE_URL = "http://127.0.0.1:8778"
ACCOUNT_SID = "AC5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e"
AUTH_TOKEN = "carrier-token-of-no-worth"  # noqa: S105 - of an account that exists nowhere else


class FakeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "fake"; the defaults fit a carrier that was started without arguments."""

    base_url: str = BASE_URL
    account_sid: str = ACCOUNT_SID
    auth_token: str = AUTH_TOKEN
    blind: bool = False  # true: behave as a provider that offers no look-up

    def __post_init__(self) -> None:
        checked_base_url(self.base_url)


class Fake(Dialect):
    """Twilio's dialect with the built-in carrier's account."""

    Options: ClassVar[type[msgspec.Struct]] = FakeOptions

    def __init__(self, name: str, options: FakeOptions) -> None:
        super().__init__(
            name,
            base_url=options.base_url,
            account_sid=options.account_sid,
            user=options.account_sid,
            password=options.auth_token,
            tokens=[options.auth_token],
        )
        if options.blind:
            self.capabilities = Capabilities(look_up="none", inbound=True)

    def secrets(self) -> frozenset[str]:
        """None: what is written in the code is no secret."""
        return frozenset()
