"""A provider for tests whose callbacks are proven by a public document, and which shakes hands first."""

from typing import ClassVar

import msgspec

from smsd.provider import (
    BadSignature,
    Callback,
    Capabilities,
    Greeting,
    HttpRequest,
    Inbound,
    Needs,
    Receipt,
    ReceiptStatus,
)
from tests.config.dummy import Dummy


class CertifiedOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the document lies, and where a handshake is confirmed."""

    document: str
    confirm: str


class Certified(Dummy):
    """A callback is genuine that begins with the document's text; the rest is `hello`, or a provider id."""

    Options: ClassVar[type[msgspec.Struct]] = CertifiedOptions
    capabilities = Capabilities(greets=True)

    def __init__(self, name: str, options: CertifiedOptions) -> None:
        self.name, self.urls, self.tokens = name, options, []

    def greeting(self, callback: Callback) -> Greeting | None:
        said = self._proven(callback)
        return Greeting(body=b"welcome", request=HttpRequest("GET", self.urls.confirm)) if said == "hello" else None

    def receipts(self, callback: Callback) -> list[Receipt]:
        return [Receipt(ReceiptStatus.DELIVERED, self._proven(callback))]

    def inbound(self, callback: Callback) -> list[Inbound]:
        return [Inbound(self._proven(callback), "+353861234567", "+353862222222", "Hi")]

    def _proven(self, callback: Callback) -> str:
        if self.urls.document not in callback.fetched:
            raise Needs(self.urls.document)
        shown, _, said = callback.body.decode().partition(" ")
        if shown != callback.fetched[self.urls.document].decode():
            raise BadSignature
        return said
