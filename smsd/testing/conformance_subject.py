"""What the conformance rules work on: the provider under test, its vectors, and texts and answers to try it with.

Never judges; the rules do. Everything random comes from a seeded generator, so that a failure comes back.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Literal, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from smsd.message import Message
from smsd.provider import Attempt, Callback, HttpRequest, HttpResponse, Provider
from smsd.text import segment

CALLBACK_URL = "https://sms.example.com/webhooks/vetted/status?ref="
REFERENCE = "1.acme/m1"
NOW_US = 1_795_561_297_000_000  # 2026-11-24: an instant like any other
ROUNDS = 300

BODIES: Mapping[str, str] = {
    "short": "Your appointment is tomorrow at 9.",
    "ten segments": "a" * 1530,
    "extension characters": "€ [x] {y} ~ ^ | \\ " * 12,
    "emoji": "Grüße 👍🏽 中文 𝄞 " * 6,
    "like a form": "a=b&To=%2B15550100&c+d %zz #x;y=1",
    "like JSON": '"},{"to":"+15550100","text":"\\u0041\\',
    "like a template": "{to} {{from}} {body!r} %(to)s %s ${to} $to {0}",
    "lines": " first\r\nsecond\tthird\n ",
}
"""Texts that a careless encoding mangles."""

SENDERS = ("+353861234567", "Salon & Co", "70100", "")

HOSTILE_BODIES: tuple[bytes, ...] = (
    b"",
    b"OK",
    b"null",
    b"{}",
    b"[]",
    b"[null, 1, {}]",
    b'{"sid": null, "id": {}, "messages": [], "status": "queued"}',
    b'"accepted"',
    b"<html><body>Welcome</body></html>",
    b"\xff\xfe\x00",
    b"[" * 5000,
    b'{"code": 99999999999999999999999, "message": ["x"]}',
)
"""What proxies, log-in pages and broken gateways answer with."""


class Skip(Exception):
    """Raised by a rule that does not apply; its text says why."""


class Broken(Exception):
    """Raised by a rule that the provider breaks; its text says how."""


def hold(kept: object, otherwise: str) -> None:
    """Raises Broken with the sentence `otherwise` unless `kept`. No `assert`: python -O would pass every provider."""
    if not kept:
        raise Broken(otherwise)


class Vector(msgspec.Struct, frozen=True, kw_only=True):
    """One vector; smsd.testing.conformance explains the keys."""

    kind: Literal["options", "answer", "signature", "receipt", "inbound", "look_up"]
    name: str = ""
    options: dict[str, object] = {}
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    secret_in_url: bool = False
    resend_differs: bool = False
    method: str = "POST"
    url: str = ""
    headers: dict[str, str] = {}
    body: str = ""
    status: int = 0
    attempt: dict[str, str | int] = {}
    covers: tuple[Literal["body", "url"], ...] = ("body", "url")
    proof: Literal["headers", "url", "fields"] = "headers"
    unsigned: tuple[str, ...] = ()
    now: int = NOW_US // 1_000_000
    stale_now: int = 0
    documents: dict[str, str] = {}
    expect: dict[str, object] | list[dict[str, object]] = {}

    @property
    def expected(self) -> list[dict[str, object]]:
        return self.expect if isinstance(self.expect, list) else [self.expect]

    @property
    def genuine(self) -> bool:
        return all(expect.get("signature_valid", True) for expect in self.expected)

    @property
    def callback(self) -> Callback:
        known = {url: document.encode() for url, document in self.documents.items()}
        return Callback(self.method, self.url, _lowered(self.headers), self.body.encode(), self.now * 1_000_000, known)

    @property
    def response(self) -> HttpResponse:
        return HttpResponse(self.status, _lowered(self.headers), self.body.encode())


Sign = Callable[[Callback], Callback]


class Subject:
    """The provider under test."""

    def __init__(
        self,
        make: Callable[[], tuple[Provider, msgspec.Struct]],
        own: Vector,
        vectors: tuple[Vector, ...],
        sign: Sign | None,
    ) -> None:
        self.make = make
        self.provider, self.options = make()
        self.own = own
        self.vectors = vectors
        self.sign = sign

    def of_kind(self, *kinds: str) -> list[Vector]:
        return [vector for vector in self.vectors if vector.kind in kinds]

    def accepted(self) -> list[HttpResponse]:
        """The answers that are known to say yes."""
        return [v.response for v in self.of_kind("answer") if v.expected[0].get("type") == "accepted"]


def attempts() -> Iterator[tuple[str, Attempt]]:
    """Each text from each kind of sender, named."""
    for name, body in BODIES.items():
        for sender in SENDERS:
            yield f"{name} from {sender or 'no sender'}", attempt(body, sender)


def attempt(
    body: str = BODIES["short"],
    sender: str = SENDERS[0],
    *,
    to: str = "+447700900123",
    reference: str = REFERENCE,
    callback_url: str | None = None,
    leased_us: int = NOW_US,
) -> Attempt:
    """An attempt as the core would make one."""
    counted = segment(body)
    message = Message(
        "acme", "m1", to, sender, body, "reminder", "default", counted.encoding, counted.count, "GB", not_after_us=0
    )
    told = CALLBACK_URL + quote(reference, safe="") if callback_url is None else callback_url
    return Attempt(message, reference, told, "key-1.acme.m1", leased_us, 7200)


def asked(vector: Vector) -> Attempt:
    """The attempt that a look-up vector tells of."""
    told = {key: str(value) for key, value in vector.attempt.items()}
    return attempt(
        told.get("body", BODIES["short"]),
        told.get("from", ""),
        to=told.get("to", "+447700900123"),
        reference=told.get("reference", REFERENCE),
        leased_us=int(told.get("leased_us", NOW_US)),
    )


def strings(request: HttpRequest) -> set[str]:
    """Every text that the receiver of a request would read: in path, query, headers, form or JSON."""
    parts = urlsplit(request.url)
    found = {unquote(part) for part in parts.path.split("/")} | {value for _, value in request.headers}
    found |= {value for _, value in parse_qsl(parts.query, keep_blank_values=True)}
    content = next((value for name, value in request.headers if name.lower() == "content-type"), "")
    if "json" in content:
        return found | set(_leaves(msgspec.json.decode(request.body)))
    if "form" in content:
        return found | {value for _, value in parse_qsl(request.body.decode(), keep_blank_values=True)}
    return found | {request.body.decode("utf-8", "replace")}


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for part in cast("dict[str, object]", value).values():
            yield from _leaves(part)
    elif isinstance(value, list):
        for part in cast("list[object]", value):
            yield from _leaves(part)
    else:
        yield str(value)


def mutated(random: Random, text: bytes, seeds: Iterable[bytes]) -> bytes:
    """`text` after a few accidents: bytes changed, cut out, doubled, or a piece of another text put in."""
    data = bytearray(text)
    others = [*seeds, b"null", b"[]", b"{}", b"-1", b"1e999", b"%", b"&", b"\x00", b"\xff", b'"']
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(data))
        end = min(len(data), at + random.randint(0, 12))
        match random.randrange(4):
            case 0:
                data[at:end] = random.randbytes(end - at)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * random.randint(1, 3)
            case _:
                data[at:end] = random.choice(others)
    return bytes(data)


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
