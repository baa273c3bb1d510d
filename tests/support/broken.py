"""Providers that break one rule each, so that the conformance kit can be seen to bite.

Never used by anything but the kit's own tests. Each is Twilio's provider, or the JSON gateway's, with one fault.
"""

from pathlib import Path
from typing import Any

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadSignature,
    Callback,
    Capabilities,
    HttpRequest,
    HttpResponse,
    Inbound,
    LookUpResult,
    More,
    NotFound,
    Receipt,
    Refused,
    Throttled,
)
from smsd_providers.http import Http
from smsd_providers.twilio import Twilio

VECTORS = Path(__file__).parents[1] / "providers" / "vectors"
TWILIO = VECTORS / "twilio.json"
GATEWAY = VECTORS / "http_json.json"


def changed(request: HttpRequest, **fields: Any) -> HttpRequest:
    return msgspec.structs.replace(request, **fields)


# ---- What they say and how they read answers -------------------------------------------------------------------------


class LooseOptions(Twilio):
    """Its options take any key."""

    class Options(msgspec.Struct, kw_only=True):
        account_sid: Any = None
        auth_token: Any = ()

    def __init__(self, name: str, options: Any) -> None:
        from smsd.secret import Secret
        from smsd_providers.twilio import TwilioOptions

        env = {"A": "AC" + "f" * 32, "T": "12345678901234567890123456789012"}
        told = TwilioOptions(account_sid=Secret("env:A", env=env), auth_token=(Secret("env:T", env=env),))
        super().__init__(name, told)


class Forgetful(Twilio):
    """It does not know its own secrets."""

    def secrets(self) -> frozenset[str]:
        return frozenset()


class UnescapedUrl(Twilio):
    """It puts the text into the URL as it is."""

    def submit(self, attempt: Attempt) -> HttpRequest:
        made = super().submit(attempt)
        return changed(made, url=f"{made.url}?text={attempt.message.body}")


class HeaderInjection(Twilio):
    """It puts the text into a header."""

    def submit(self, attempt: Attempt) -> HttpRequest:
        made = super().submit(attempt)
        return changed(made, headers=(*made.headers, ("X-Text", attempt.message.body)))


class Transporting(Twilio):
    """It sets the transport's headers."""

    def submit(self, attempt: Attempt) -> HttpRequest:
        made = super().submit(attempt)
        return changed(made, headers=(*made.headers, ("Content-Length", "7")))


class Expanding(Twilio):
    """It fills what looks like a placeholder in the text."""

    def submit(self, attempt: Attempt) -> HttpRequest:
        body = attempt.message.body.replace("{to}", attempt.message.to)
        return super().submit(
            msgspec.structs.replace(attempt, message=msgspec.structs.replace(attempt.message, body=body))
        )


class Stripping(Twilio):
    """It takes spaces off the ends of a text."""

    def submit(self, attempt: Attempt) -> HttpRequest:
        message = msgspec.structs.replace(attempt.message, body=attempt.message.body.strip())
        return super().submit(msgspec.structs.replace(attempt, message=message))


class Silent(Twilio):
    """It forgets the callback URL."""

    def submit(self, attempt: Attempt) -> HttpRequest:
        return super().submit(msgspec.structs.replace(attempt, callback_url=""))


class OwnCallback(Twilio):
    """It tells the callback URL without our reference."""

    def submit(self, attempt: Attempt) -> HttpRequest:
        return super().submit(msgspec.structs.replace(attempt, callback_url=attempt.callback_url.partition("?")[0]))


class LeaksInUrl(Twilio):
    """It authenticates in the URL, though its vectors do not say that the vendor wants it."""

    def submit(self, attempt: Attempt) -> HttpRequest:
        made = super().submit(attempt)
        return changed(made, url=f"{made.url}?key={max(self.secrets())}")


class LeaksInRepr(Twilio):
    """Its repr shows the credentials."""

    def __repr__(self) -> str:
        return f"Twilio({self._authorization})"


class LeaksInAnswer(Twilio):
    """It explains a refusal with the header that it sent."""

    def answer(self, response: HttpResponse) -> Answer:
        read = super().answer(response)
        return msgspec.structs.replace(read, detail=self._authorization) if isinstance(read, Refused) else read


class Counting(Twilio):
    """It numbers its requests."""

    count = 0

    def submit(self, attempt: Attempt) -> HttpRequest:
        self.count += 1
        made = super().submit(attempt)
        return changed(made, headers=(*made.headers, ("X-Count", str(self.count))))


class ClaimsIdempotency(Twilio):
    """It claims an idempotency key that it does not send."""

    capabilities = Capabilities(look_up="listing", inbound=True, idempotency_s=3600)


class ChangesUnderItsKey(ClaimsIdempotency):
    """It sends its key, and with it a URL that is another in each attempt."""

    def submit(self, attempt: Attempt) -> HttpRequest:
        made = super().submit(attempt)
        return changed(made, headers=(*made.headers, ("Idempotency-Key", attempt.idempotency_key)))


class SaysNo(Twilio):
    """It takes an unreadable listing for an empty one."""

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        return NotFound() if response.status == 200 else super().found(attempt, response)


class FollowsAnything(Twilio):
    """It follows the next page to wherever the answer says."""

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        if b"api.example.com" in response.body:
            return More(HttpRequest("GET", "https://api.example.com/", self._headers))
        return super().found(attempt, response)


class Trusting(Twilio):
    """Any 2xx is a yes."""

    def answer(self, response: HttpResponse) -> Answer:
        return Accepted("SM1") if response.status < 300 else super().answer(response)


class FollowsRedirects(Twilio):
    """A redirect is a yes."""

    def answer(self, response: HttpResponse) -> Answer:
        return Accepted("SM1") if response.status == 302 else super().answer(response)


class Impatient(Twilio):
    """A server's error is a refusal."""

    def answer(self, response: HttpResponse) -> Answer:
        return Refused("refused") if response.status >= 500 else super().answer(response)


class Deaf(Twilio):
    """It does not read Retry-After."""

    def answer(self, response: HttpResponse) -> Answer:
        return Throttled() if response.status == 429 else super().answer(response)


class Blaming(Twilio):
    """It blames the message for its own credentials."""

    def answer(self, response: HttpResponse) -> Answer:
        return Refused("refused") if response.status == 401 else super().answer(response)


class Brittle(Twilio):
    """It expects every answer to be JSON."""

    def answer(self, response: HttpResponse) -> Answer:
        msgspec.json.decode(response.body or b"null")
        return super().answer(response)


class OwnReason(Twilio):
    """It refuses for a reason that is its own."""

    def answer(self, response: HttpResponse) -> Answer:
        read = super().answer(response)
        return msgspec.structs.replace(read, reason="because") if isinstance(read, Refused) else read


class WithoutId(Twilio):
    """It accepts without an id."""

    def answer(self, response: HttpResponse) -> Answer:
        read = super().answer(response)
        return Accepted("") if isinstance(read, Accepted) else read


REQUESTS: dict[type[Twilio], tuple[str, ...]] = {
    LooseOptions: ("options",),
    Forgetful: ("options",),
    UnescapedUrl: ("request",),
    HeaderInjection: ("request",),
    Transporting: ("request",),
    Expanding: ("text",),
    Stripping: ("text",),
    Silent: ("callback url", "reference (delivered-with-reference)"),
    OwnCallback: ("callback url", "reference (delivered-with-reference)"),
    LeaksInUrl: ("secrets",),
    LeaksInRepr: ("secrets",),
    LeaksInAnswer: ("secrets",),
    Counting: ("purity",),
    ClaimsIdempotency: ("idempotency",),
    ChangesUnderItsKey: ("idempotency",),
    SaysNo: ("look-up", "look-up (listed)"),
    FollowsAnything: ("look-up (goes on elsewhere)",),
    Trusting: ("unlisted answers", "answer (ok is not created)"),
    FollowsRedirects: ("unlisted answers",),
    Impatient: ("unlisted answers",),
    Deaf: ("throttled",),
    Blaming: ("unusable", "answer (wrong token)"),
    Brittle: ("unlisted answers", "hostile answers"),
    OwnReason: ("hostile answers", "answer (opted out)"),
    WithoutId: ("answer (created)",),
}
"""Each broken provider, and the checks that must fail for it."""


# ---- How they read callbacks -----------------------------------------------------------------------------------------


class BelievesAnybody(Twilio):
    """It does not look at signatures."""

    def _authentic(self, callback: Callback) -> dict[str, str]:
        return {"MessageSid": "SM1", "MessageStatus": "delivered", "From": "+15550100", "Body": "x"}


class BelievesUrl(Twilio):
    """It takes a signature for genuine whose URL is another's."""

    def _authentic(self, callback: Callback) -> dict[str, str]:
        try:
            return super()._authentic(callback)
        except BadSignature:
            if "tampered" not in callback.url:
                raise
            return {"MessageSid": "SM1", "MessageStatus": "delivered", "From": "+15550100", "Body": "x"}


class BelievesBody(Http):
    """It does not look at what was appended to a body."""

    def receipts(self, callback: Callback) -> list[Receipt]:
        return super().receipts(msgspec.structs.replace(callback, body=callback.body.removesuffix(b"x")))


class BelievesItsNetwork(Twilio):
    """What comes from the right network needs no signature."""

    def receipts(self, callback: Callback) -> list[Receipt]:
        try:
            return super().receipts(callback)
        except BadSignature:
            if not callback.from_network:
                raise
            return []


class BelievesNobody(Twilio):
    """It refuses every callback."""

    def receipts(self, callback: Callback) -> list[Receipt]:
        raise BadSignature


class Raising(Twilio):
    """A missing field is a KeyError."""

    def _authentic(self, callback: Callback) -> dict[str, str]:
        fields = super()._authentic(callback)
        return {**fields, "MessageStatus": fields["MessageStatus"]} if "Body" not in fields else fields


class ReadsFirst(Twilio):
    """It reads the body before it looks at the signature."""

    def receipts(self, callback: Callback) -> list[Receipt]:
        callback.body.decode()
        return super().receipts(callback)


class LosesReference(Twilio):
    """It does not hand our reference back."""

    def receipts(self, callback: Callback) -> list[Receipt]:
        return [msgspec.structs.replace(receipt, reference="") for receipt in super().receipts(callback)]


class Optimistic(Twilio):
    """Every receipt is good news."""

    def receipts(self, callback: Callback) -> list[Receipt]:
        from smsd.provider import ReceiptStatus

        return [msgspec.structs.replace(one, status=ReceiptStatus.DELIVERED) for one in super().receipts(callback)]


class Repeating(Twilio):
    """It tells each receipt twice."""

    def receipts(self, callback: Callback) -> list[Receipt]:
        return super().receipts(callback) * 2


class Mumbling(Twilio):
    """It loses the text of what came in."""

    def inbound(self, callback: Callback) -> list[Inbound]:
        return [msgspec.structs.replace(one, body="") for one in super().inbound(callback)]


class Unexplained(Twilio):
    """A negative receipt has no reason of the contract."""

    def receipts(self, callback: Callback) -> list[Receipt]:
        return [msgspec.structs.replace(one, reason="because") for one in super().receipts(callback)]


CALLBACKS: dict[type[Twilio] | type[Http], tuple[str, ...]] = {
    BelievesAnybody: ("unsigned callbacks", "tampering (form-delivered)", "signature (forged)"),
    BelievesUrl: ("tampering (form-delivered)",),
    BelievesBody: ("tampering (delivered)",),
    BelievesItsNetwork: ("tampering (form-delivered)",),
    BelievesNobody: ("signature (form-delivered)", "receipt (opted-out)"),
    Raising: ("hostile contents",),
    ReadsFirst: ("hostile callbacks",),
    LosesReference: ("reference (delivered-with-reference)", "receipt (delivered-with-reference)"),
    Optimistic: ("receipt (opted-out)",),
    Repeating: ("receipt (status-accepted)",),
    Mumbling: ("inbound (inbound-unicode)",),
    Unexplained: ("receipt (opted-out)",),
}
"""Each broken provider, and the checks that must fail for it."""
