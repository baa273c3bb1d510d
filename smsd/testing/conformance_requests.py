"""The conformance rules for what a provider says and for how it reads answers.

Each is a function that returns where the provider keeps the rule, raises Broken with a sentence where it does
not, and Skip where the rule does not apply. Never does IO.
"""

import re
from collections.abc import Iterator
from random import Random
from typing import get_args
from urllib.parse import unquote, urlsplit

import msgspec

from smsd.provider import (
    REFUSALS,
    Accepted,
    Answer,
    Attempt,
    Found,
    HttpRequest,
    HttpResponse,
    Inconclusive,
    LookUpResult,
    More,
    Refused,
    Throttled,
    Unknown,
    Unusable,
)
from smsd.testing.conformance_subject import (
    CALLBACK_URL,
    HOSTILE_BODIES,
    REFERENCE,
    ROUNDS,
    Skip,
    Subject,
    Vector,
    asked,
    attempt,
    attempts,
    hold,
    mutated,
    strings,
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TRANSPORTS = {"host", "content-length", "connection", "transfer-encoding"}


def options(subject: Subject) -> None:
    """Options are frozen, judge their keys, and show no secret; the declared secrets are told."""
    config = type(subject.options).__struct_config__
    hold(config.frozen and config.forbid_unknown_fields, "Options is a Struct with frozen and forbid_unknown_fields")
    untold = [name for name, secret in subject.own.secrets.items() if secret not in subject.provider.secrets()]
    hold(not untold, f"secrets() does not tell what {', '.join(untold)} stands for")


def request(subject: Subject) -> None:
    """A request is well-formed HTTP for every text."""
    for name, one in attempts():
        _well_formed(subject.provider.submit(one), f"submit ({name})")


def text(subject: Subject) -> None:
    """Text and number arrive exactly as they are, whatever is in them."""
    for name, one in attempts():
        said = strings(subject.provider.submit(one))
        hold(one.message.body in said, f"the text does not arrive unchanged ({name})")
        digits = one.message.to.removeprefix("+")
        hold(any(part.removeprefix("+") == digits for part in said), f"the number does not arrive ({name})")


def callback_url(subject: Subject) -> None:
    """Where the capabilities say that the callback URL travels with each message, it does, our reference in it."""
    if not subject.provider.capabilities.callback_per_message:
        raise Skip("its capabilities say that the callback URL does not travel with the message")
    said = strings(subject.provider.submit(attempt()))
    parts = urlsplit(CALLBACK_URL)
    told = [part for part in said if part.startswith(f"{parts.scheme}://{parts.netloc}/")]
    hold(told, "the callback URL is not in the request, though capabilities.callback_per_message says so")
    hold(any(REFERENCE in unquote(url) for url in told), "the callback URL has lost our reference")
    silent = subject.provider.submit(attempt(callback_url=""))
    _well_formed(silent, "submit without a callback URL")


def secrets(subject: Subject) -> None:
    """No secret stands in a URL, a repr or an answer."""
    known = [secret for secret in subject.provider.secrets() if secret]
    shown = {"repr": repr(subject.provider), "str": str(subject.provider), "the repr of Options": repr(subject.options)}
    for name, response in _responses(subject):
        shown[f"the answer to {name}"] = repr(subject.provider.answer(response))
    if not subject.own.secret_in_url:
        for name, made in _requests(subject):
            shown[f"the URL of {name}"] = made.url
    for place, said in shown.items():
        hold(not any(secret in said for secret in known), f"a secret stands in {place}")


def purity(subject: Subject) -> None:
    """The same input gives the same output, from any instance and at any time."""
    other, _ = subject.make()
    for name, one in attempts():
        made = subject.provider.submit(one)
        hold(made == subject.provider.submit(one), f"submit gives another request the second time ({name})")
        hold(made == other.submit(one), f"two instances of one config give different requests ({name})")
    for name, response in _responses(subject):
        read = subject.provider.answer(response)
        hold(read == subject.provider.answer(response) == other.answer(response), f"answer is not pure ({name})")


def idempotency(subject: Subject) -> None:
    """A declared idempotency key is in the request, or what stands for it, and a resend under it is the same to the
    byte: by a later attempt, with its own reference and callback URL, and with less time left.
    """
    if subject.provider.capabilities.idempotency_s == 0:
        raise Skip("its capabilities name no idempotency key")
    one, later_us = attempt(), 60_000_000
    made = subject.provider.submit(one)
    said = strings(made)
    other = subject.provider.submit(msgspec.structs.replace(one, idempotency_key="key-2.acme.m1"))
    hold(one.idempotency_key in said or strings(other) != said, "the idempotency key is not in the request")
    if subject.own.resend_differs:
        return
    second = attempt(reference=REFERENCE.replace("1.", "2.", 1), leased_us=one.leased_us + later_us)
    resent = subject.provider.submit(msgspec.structs.replace(second, valid_s=one.valid_s - later_us // 1_000_000))
    for what, first, again in (("URL", made.url, resent.url), ("body", made.body, resent.body)):
        hold(
            (made.method, first) == (resent.method, again),
            f"under the same key a later attempt has another {what}, which vendors refuse (leave out what changes: our "
            "reference, the callback URL, the deadline)",
        )


def look_up(subject: Subject) -> None:
    """A declared look-up asks well-formed, and takes no unreadable answer for a no or a yes."""
    if subject.provider.capabilities.look_up == "none":
        raise Skip("its capabilities say that nothing can be looked up")
    one = attempt()
    for name, each in attempts():
        made = subject.provider.look_up(each)
        _well_formed(made, f"look_up ({name})")
        if subject.provider.capabilities.look_up == "reference":
            keys = (each.reference, each.message.id, each.idempotency_key)
            hold(any(key in strings(made) for key in keys), "look_up does not ask by our reference")
    for status in (301, 401, 429, 500, 503):
        told = subject.provider.found(one, HttpResponse(status, {}, b"{}"))
        hold(isinstance(told, Inconclusive), f"found: a {status} is {_kind(told)}, but nothing was looked up")
    for body in (b"", b"OK", b"<html></html>", b"null", b'"x"'):
        told = subject.provider.found(one, HttpResponse(200, {}, body))
        hold(isinstance(told, Inconclusive), f"found: an unreadable 200 is {_kind(told)}, not Inconclusive")
    random = Random("found")
    bodies = [*HOSTILE_BODIES, *(v.body.encode() for v in subject.of_kind("look_up"))]
    for _ in range(ROUNDS):
        body = mutated(random, random.choice(bodies), bodies)
        _proper_result(subject, subject.provider.found(one, HttpResponse(random.choice([200, 404, 500]), {}, body)))


def unlisted(subject: Subject) -> None:
    """An answer that nobody listed is never Accepted, and one that may hide a yes is Unknown."""
    for status in (200, 201, 202, 204):
        for body in HOSTILE_BODIES:
            read = subject.provider.answer(HttpResponse(status, {}, body))
            hold(not isinstance(read, Accepted), f"a {status} with {body[:40]!r} is Accepted")
    for status in (100, 302, 307, 418, 451, 500, 502, 504, 599):
        for body in (*HOSTILE_BODIES, *(response.body for response in subject.accepted())):
            read = subject.provider.answer(HttpResponse(status, {"location": "https://example.com/"}, body))
            hold(not isinstance(read, Accepted), f"a {status} is Accepted")
            may_be_taken = not 400 <= status < 500
            hold(isinstance(read, Unknown) or not may_be_taken, f"a {status} is {_kind(read)}, but may have been taken")


def throttled(subject: Subject) -> None:
    """A 429 is Throttled, for as long as Retry-After says."""
    read = subject.provider.answer(HttpResponse(429, {"retry-after": "7"}, b""))
    hold(isinstance(read, Throttled), f"a 429 is {_kind(read)}, not Throttled")
    after_s = read.after_s if isinstance(read, Throttled) else None
    hold(after_s == 7, f"a Retry-After of 7 is read as {after_s}")
    bare = subject.provider.answer(HttpResponse(429, {"retry-after": "soon"}, b""))
    hold(bare == msgspec.structs.replace(read, after_s=None), "an unreadable Retry-After is not read as none")


def unusable(subject: Subject) -> None:
    """A 401 says nothing of the message: it is Unusable."""
    read = subject.provider.answer(HttpResponse(401, {}, b""))
    hold(isinstance(read, Unusable), f"a 401 is {_kind(read)}, not Unusable")


def hostile(subject: Subject) -> None:
    """No answer, however broken, makes `answer` raise or say what it may not."""
    random = Random("answer")
    bodies = [*HOSTILE_BODIES, *(vector.body.encode() for vector in subject.of_kind("answer"))]
    for _ in range(ROUNDS):
        status = random.choice([200, 201, 202, 204, 302, 400, 401, 404, 429, 500, 503, random.randint(100, 999)])
        headers = {"retry-after": random.choice(["1", "-1", "x", "9" * 400, "Wed, 21 Oct 2026 07:28:00 GMT", ""])}
        response = HttpResponse(status, headers, mutated(random, random.choice(bodies), bodies))
        _proper_answer(subject, subject.provider.answer(response), response)


def answer(subject: Subject, vector: Vector) -> None:
    """A known answer means what the vector says."""
    read = msgspec.json.decode(msgspec.json.encode(subject.provider.answer(vector.response)))
    wrong = {key: read.get(key) for key, value in vector.expected[0].items() if read.get(key) != value}
    hold(not wrong, f"expected {vector.expected[0]}, got {wrong}")


def found(subject: Subject, vector: Vector) -> None:
    """A known answer to a look-up means what the vector says."""
    read = subject.provider.found(asked(vector), vector.response)
    _proper_result(subject, read)
    hold(_kind(read) == vector.expected[0].get("type"), f"expected {vector.expected[0]}, got {_kind(read)}")
    if isinstance(read, Found) and "ids" in vector.expected[0]:
        ids = [candidate.provider_id for candidate in read.candidates]
        hold(ids == vector.expected[0]["ids"], f"expected {vector.expected[0]['ids']}, got {ids}")


# ---- What every request, answer and result must be -------------------------------------------------------------------


def _well_formed(made: HttpRequest, what: str) -> None:
    hold(re.fullmatch("[A-Z]+", made.method), f"{what}: the method is in capitals")
    hold(re.fullmatch(r"[\x21-\x7e]+", made.url), f"{what}: the URL is percent-encoded ASCII")
    parts = urlsplit(made.url)
    hold(parts.scheme in ("http", "https") and parts.hostname, f"{what}: the URL is absolute")
    hold(parts.username is None and not parts.fragment, f"{what}: the URL has no user and no fragment")
    for name, value in made.headers:
        hold(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value), f"{what}: the header {name} is no HTTP header")
        hold(name.lower() not in _TRANSPORTS, f"{what}: the header {name} is the transport's")
    named = [name.lower() for name, _ in made.headers]
    hold(len(named) == len(set(named)), f"{what}: a header is there twice")
    hold(made.method not in ("GET", "HEAD") or not made.body, f"{what}: a {made.method} has no body")
    hold(not made.body or "content-type" in named, f"{what}: a body comes with its Content-Type")
    if made.token is not None:
        hold("authorization" not in named, f"{what}: where a token is wanted, Authorization is the transport's")
        hold(made.token.token is None, f"{what}: what asks for a token wants none itself")
        _well_formed(made.token, f"{what}: what asks for its token")


def _proper_answer(subject: Subject, read: Answer, response: HttpResponse) -> None:
    hold(type(read) in get_args(Answer), "answer gives no Answer")
    if isinstance(read, Accepted):
        hold(200 <= response.status < 300, f"a {response.status} is Accepted")
        hold(read.provider_id or not subject.provider.capabilities.ids, "an Accepted has the vendor's id")
        hold(read.segments >= 0, "an Accepted has no fewer segments than none")
    if isinstance(read, Refused):
        hold(read.reason in REFUSALS, f"{read.reason!r} is none of REFUSALS")
    if isinstance(read, Throttled) and read.after_s is not None:
        hold(0 <= read.after_s < float("inf"), "Throttled.after_s is a number of seconds from now")


def _proper_result(subject: Subject, read: LookUpResult) -> None:
    hold(type(read) in get_args(LookUpResult), "found gives no LookUpResult")
    if isinstance(read, Found):
        hold(read.candidates and all(c.provider_id for c in read.candidates), "each candidate has the vendor's id")
    if isinstance(read, More):
        _well_formed(read.request, "More")
        home = urlsplit(subject.provider.look_up(attempt()).url)
        on = urlsplit(read.request.url)
        hold((on.scheme, on.netloc) == (home.scheme, home.netloc), "More leads our credentials to another host")


def _kind(value: Answer | LookUpResult) -> str:
    return str(value.__struct_config__.tag)


def _responses(subject: Subject) -> Iterator[tuple[str, HttpResponse]]:
    for vector in subject.of_kind("answer"):
        yield vector.name, vector.response
    for status in (200, 201, 302, 400, 401, 403, 404, 418, 429, 500, 503, 599):
        yield str(status), HttpResponse(status, {}, b"")


def _requests(subject: Subject) -> Iterator[tuple[str, HttpRequest]]:
    one: Attempt = attempt()
    made = {"submit": subject.provider.submit(one)}
    if subject.provider.capabilities.look_up != "none":
        made["look_up"] = subject.provider.look_up(one)
    yield from made.items()
    yield from ((f"the token of {name}", each.token) for name, each in made.items() if each.token is not None)
