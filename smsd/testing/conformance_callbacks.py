"""The conformance rules for callbacks: the genuine is read rightly, the forged refused, and nothing else is raised.

Each is a function that returns where the provider keeps the rule, raises Broken with a sentence where it does
not, and Skip where the rule does not apply. Never does IO.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from random import Random
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec

from smsd.provider import REFUSALS, BadCallback, BadSignature, Callback, Inbound, Needs, Receipt, ReceiptStatus
from smsd.testing.conformance_subject import ROUNDS, Skip, Subject, Vector, attempt, hold, mutated, strings

_WORDS = {"failed": "undelivered", "rejected": "undelivered", "expired": "undelivered"}  # of other normal forms
_RECEIPT = {
    "message_id": "provider_id",
    "raw_status": "raw_status",
    "error_code": "error_code",
    "to": "to",
    "client_ref": "reference",
    "reference": "reference",
    "reason": "reason",
}
_INBOUND = {
    "message_id": "provider_id",
    "from": "sender",
    "to": "to",
    "text": "body",
    "parts": "parts",
    "part": "part",
    "group": "group",
    "opt_out_type": "opt_out_type",
}

Verb = Callable[[Callback], Sequence[Receipt | Inbound]]


def unsigned(subject: Subject) -> None:
    """A callback without any proof is refused."""
    for url in ("https://sms.example.com/webhooks/vetted/status", "https://sms.example.com/"):
        for body in (b"", b"{}", b"[]", b"MessageSid=SM1&MessageStatus=delivered", b'{"id":"1","status":"delivered"}'):
            for content in ("application/json", "application/x-www-form-urlencoded", ""):
                for verb in _verbs(subject):
                    forged = Callback("POST", url, {"content-type": content}, body)
                    hold(_refused(verb, forged), f"a callback without any proof is taken: {body!r} as {content!r}")


def signature(subject: Subject, vector: Vector) -> None:
    """What the vendor signed is genuine; what is marked as forged is not."""
    verb = _verb(subject, vector)
    refused = _refused(verb, vector.callback)
    hold(refused is not vector.genuine, f"{'a genuine callback is refused' if refused else 'a forgery is taken'}")


def tampering(subject: Subject, vector: Vector) -> None:
    """A genuine callback is refused once anything that its signature covers was changed, wherever it comes from."""
    verb = _verb(subject, vector)
    for what, forged in _tampered(subject, vector):
        near = msgspec.structs.replace(forged, from_network=True)
        hold(_refused(verb, near), f"a callback is taken though {what}")


def pointing(subject: Subject, vector: Vector) -> None:
    """A genuine receipt of which only the body is signed is no other message's because its URL says so."""
    parts, other = urlsplit(vector.url), "1.other/m9"
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "ref"]
    url = parts._replace(query=urlencode([*query, ("ref", other)])).geturl()
    try:
        read = subject.provider.receipts(msgspec.structs.replace(vector.callback, url=url))
    except (BadSignature, BadCallback, Needs):
        return
    pointed = any(one.reference == other and one.provider_id for one in read)
    hold(not pointed, "a receipt with the vendor's id is taken for the message that its URL names, which is not signed")


def replay(subject: Subject, vector: Vector) -> None:
    """A genuine callback that comes long after it was signed is refused."""
    late = msgspec.structs.replace(vector.callback, received_us=vector.stale_now * 1_000_000)
    hold(_refused(_verb(subject, vector), late), "a callback is taken though it was signed long before")


def receipt(subject: Subject, vector: Vector) -> None:
    """A receipt is read as the vector says."""
    if not vector.genuine:
        return signature(subject, vector)
    read = subject.provider.receipts(vector.callback)
    hold(len(read) == len(vector.expected), f"expected {len(vector.expected)} receipts, got {len(read)}")
    for one, expected in zip(read, vector.expected, strict=True):
        _proper(one)
        told = {"status": one.status.value, "final": one.status.final, **_told(one, _RECEIPT)}
        words = {key: _WORDS.get(str(value), value) for key, value in expected.items() if key == "status"}
        _compare(told, expected | words)
    return None


def inbound(subject: Subject, vector: Vector) -> None:
    """A text that came in is read as the vector says."""
    if not vector.genuine:
        return signature(subject, vector)
    read = subject.provider.inbound(vector.callback)
    hold(len(read) == len(vector.expected), f"expected {len(vector.expected)} texts, got {len(read)}")
    for one, expected in zip(read, vector.expected, strict=True):
        _compare(_told(one, _INBOUND), expected)
    return None


def reference(subject: Subject, vector: Vector) -> None:
    """Our reference survives: what `submit` was given is in the request, and comes back in the receipt."""
    expected = reference_in(vector)
    said = strings(subject.provider.submit(attempt(reference=expected, callback_url=vector.url)))
    hold(any(expected in part or expected in unquote(part) for part in said), "the reference is not in the request")
    back = [one.reference for one in subject.provider.receipts(vector.callback)]
    hold(back[:1] == [expected], f"the receipt brings back {back} instead of {expected!r}")


def covered(subject: Subject) -> None:
    """The vectors show what the capabilities claim: an accepted answer, a receipt with our reference, a text."""
    if not subject.vectors:
        raise Skip("there are no vectors")
    can = subject.provider.capabilities
    receipts = [expect for vector in subject.of_kind("receipt") for expect in vector.expected]
    wanted = {
        "an answer that is accepted": bool(subject.accepted()),
        "a receipt": not can.receipts or bool(receipts),
        "a receipt that is delivered and one that is undelivered": not can.receipts
        or {"delivered", "undelivered"}
        <= {_WORDS.get(str(one.get("status")), str(one.get("status"))) for one in receipts},
        "a receipt with our reference": not (can.receipts and can.callback_per_message)
        or any(reference_in(vector) for vector in subject.of_kind("receipt")),
        "an inbound text": not can.inbound or bool(subject.of_kind("inbound")),
        "a look-up that finds and one that does not": can.look_up == "none"
        or {"found", "not_found"} <= {str(vector.expected[0].get("type")) for vector in subject.of_kind("look_up")},
    }
    missing = [what for what, there in wanted.items() if not there]
    hold(not missing, f"the vectors lack {'; '.join(missing)}")


def hostile(subject: Subject) -> None:
    """No callback, however broken, makes the provider raise anything but BadSignature, BadCallback and Needs."""
    random = Random("callbacks")
    for callback in _broken(subject, random):
        for verb in _verbs(subject):
            _proper_all(verb, callback)


def hostile_contents(subject: Subject) -> None:
    """Neither does one that is signed rightly: a vendor's own nonsense is a BadCallback."""
    if subject.sign is None:
        raise Skip("there is no `sign` to sign callbacks with")
    random = Random("contents")
    for callback in _broken(subject, random):
        try:
            signed = subject.sign(callback)
        except ValueError:  # what the vendor could not have signed
            continue
        for verb in _verbs(subject):
            _proper_all(verb, signed)


def reference_in(vector: Vector) -> str:
    """Our reference in the first receipt that a vector expects, or ""."""
    return str(vector.expected[0].get("reference") or vector.expected[0].get("client_ref") or "")


# ---- Leaves ----------------------------------------------------------------------------------------------------------


def _verbs(subject: Subject) -> list[Verb]:
    return [subject.provider.receipts, subject.provider.inbound]


def _verb(subject: Subject, vector: Vector) -> Verb:
    return subject.provider.inbound if vector.kind == "inbound" else subject.provider.receipts


def _refused(verb: Verb, callback: Callback) -> bool:
    """Whether the callback is judged forged. An authentic one that cannot be read is not."""
    try:
        verb(callback)
    except (BadSignature, Needs):
        return True
    except BadCallback:
        return False
    return False


def _tampered(subject: Subject, vector: Vector) -> Iterator[tuple[str, Callback]]:
    genuine = vector.callback
    kept = {name: value for name, value in genuine.headers.items() if name == "content-type"}
    proofs = {name: value for name, value in genuine.headers.items() if name != "content-type"}
    if vector.proof == "headers":
        yield "its signature is gone", msgspec.structs.replace(genuine, headers=kept)
        for what, forge in _FORGERIES.items():
            forged = kept | {name: forge(value) for name, value in proofs.items()}
            yield f"its signature is {what}", msgspec.structs.replace(genuine, headers=forged)
    elif vector.proof == "fields":
        yield from _other_fields(genuine, vector.unsigned)
    else:
        url = genuine.url
        for secret in subject.provider.secrets():
            url = url.replace(secret, "x" * len(secret))
        hold(url != genuine.url, "the vector's URL holds none of the secrets, though `proof` says so")
        yield "the secret in its URL is another", msgspec.structs.replace(genuine, url=url)
    if "body" in vector.covers:
        for body in {genuine.body + b"x", b"x" + genuine.body, b""} - {genuine.body}:
            yield "its body was changed", msgspec.structs.replace(genuine, body=body)
    if "url" in vector.covers:
        more = genuine.url + ("&" if "?" in genuine.url else "?") + "tampered=1"
        for url in (more, genuine.url.replace("://", "://other."), genuine.url.replace("://", "://x/", 1)):
            yield "its URL was changed", msgspec.structs.replace(genuine, url=url)


def _other_fields(genuine: Callback, unsigned: Collection[str]) -> Iterator[tuple[str, Callback]]:
    """Each field of a JSON object, a form or a query gone, and each with another value, but for the unsigned."""
    parts = urlsplit(genuine.url)
    as_json = genuine.body.startswith(b"{")
    told: dict[str, object] = (
        msgspec.json.decode(genuine.body) if as_json else dict(parse_qsl(genuine.body.decode() or parts.query))
    )
    for name, value in ((name, value) for name, value in told.items() if name not in unsigned):
        for what, others in (("gone", {}), ("another", {name: f"{value}0"})):
            fields = {other: kept for other, kept in told.items() if other != name} | others
            written = msgspec.json.encode(fields) if as_json else urlencode(fields).encode()
            forged = {"body": written} if genuine.body else {"url": parts._replace(query=written.decode()).geturl()}
            yield f"its field {name} is {what}", msgspec.structs.replace(genuine, **forged)


_FORGERIES: dict[str, Callable[[str], str]] = {
    "empty": lambda value: "",
    "another": lambda value: ("A" if value[:1] != "A" else "B") + value[1:],
    "cut short": lambda value: value[: len(value) // 2],
    "doubled": lambda value: value + value,
    "no ASCII": lambda value: "é" * len(value),
}


def _broken(subject: Subject, random: Random) -> Iterator[Callback]:
    vectors = [vector.callback for vector in subject.of_kind("receipt", "inbound", "signature")]
    genuine = vectors or [Callback("POST", "https://sms.example.com/", {"content-type": "application/json"}, b"{}")]
    bodies = [callback.body for callback in genuine]
    urls = [
        "http://[",
        "",
        "https://sms.example.com:99999/",
        "https://x/\udcff?ref=\ud800",
        "https://x/?" + "a&" * 3000,
    ]
    contents = ["application/json", "application/x-www-form-urlencoded", "", "text/plain; charset=\udcff"]
    for _ in range(ROUNDS):
        one = random.choice(genuine)
        headers = dict(one.headers)
        if random.random() < 0.3:
            headers["content-type"] = random.choice(contents)
        for name in [name for name in headers if name != "content-type" and random.random() < 0.3]:
            headers[name] = mutated(random, headers[name].encode(), []).decode("latin-1")
        url = random.choice(urls) if random.random() < 0.3 else one.url
        body = mutated(random, one.body, bodies) if random.random() < 0.8 else random.randbytes(random.randint(0, 400))
        method = random.choice(["POST", "GET"])
        yield msgspec.structs.replace(one, method=method, url=url, headers=headers, body=body)


def _proper_all(verb: Verb, callback: Callback) -> None:
    try:
        read = verb(callback)
    except (BadSignature, BadCallback, Needs):
        return
    for one in read:
        _proper(one)


def _proper(one: Receipt | Inbound) -> None:
    if isinstance(one, Inbound):
        hold(one.provider_id and one.sender and one.parts >= 1, "a text has the vendor's id and its sender")
        return
    hold(one.provider_id or one.reference, "a receipt names its message")
    negative = one.status is ReceiptStatus.UNDELIVERED
    hold(not negative or one.reason in REFUSALS, f"{one.reason!r} is none of REFUSALS")


def _told(one: Receipt | Inbound, names: dict[str, str]) -> dict[str, object]:
    return {name: getattr(one, field) for name, field in names.items()}


def _compare(told: dict[str, object], expected: dict[str, object]) -> None:
    """Only what both know is compared; a vector's null is nothing."""
    pairs = {key: (value if value is not None else "", told[key]) for key, value in expected.items() if key in told}
    wrong = {key: pair for key, pair in pairs.items() if pair[0] != pair[1] and not (key == "parts" and pair[0] == "")}
    hold(not wrong, "; ".join(f"{key}: expected {pair[0]!r}, got {pair[1]!r}" for key, pair in wrong.items()))
