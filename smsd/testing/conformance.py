"""The conformance kit: holds a provider to its contract (smsd.provider), without a network and without an account.

    report = vet("twilio", Path("twilio.json"))            # or "package.module:Class", or the class itself
    assert report.ok, report

    @pytest.mark.parametrize("check", checks(MyProvider, Path("mine.json")), ids=str)
    def test_conforms(check):
        result = check.run()
        assert result.outcome is not Outcome.FAILED, result.detail

Vectors are what only the vendor can tell: a JSON list of objects, each with a `kind` and a `name`.

    {"kind": "options", "options": {...},       what makes the provider, as in smsd.toml; secrets as "env:NAME"
     "env": {"NAME": "value"},                  what those names stand for here, where it is no secret
     "secrets": {"NAME": "value"},              and where it is: looked for in URLs, reprs and answers
     "secret_in_url": false,                    true: the vendor wants it there, as old gateways do
     "resend_differs": false}                   true: under one idempotency key the vendor compares no bodies
    {"kind": "answer", "status": 201, "headers": {}, "body": "...",
     "expect": {"type": "accepted", "provider_id": "SM..."}}             fields of smsd.provider.Answer
    {"kind": "receipt" | "inbound" | "signature", "url": "...", "headers": {...}, "body": "...",
     "covers": ["body", "url"],                 what the vendor's signature covers
     "proof": "headers" | "url" | "fields",     where it is; "fields": among those that it covers, each of them
     "unsigned": ["name"],                      but for these, which the vendor does not sign
     "now": 1795430631, "stale_now": 0,         when it came; when it would be a replay (0: the vendor signs no time)
     "documents": {"https://...": "..."},       public ones that the proof needs (smsd.provider.Needs)
     "expect": {...} or a list of them}         message_id, status, error_code, to, reference, reason, from, text ...
    {"kind": "look_up", "attempt": {"to", "from", "body", "reference", "leased_us"}, "status": 200, "body": "...",
     "expect": {"type": "found", "ids": ["SM..."]}}                      or not_found, more, inconclusive

A receipt with a `reference` also proves that ours survives the way there and back: its url is given to `submit` as the
callback URL. `"signature_valid": false` in `expect` marks a forgery. Other keys (document, date, key) are for readers.
A callable `sign` that signs any callback as the vendor would lets the kit reach the code behind the signature as well.

Never does IO but reading the vectors; never repeats a secret in what it says.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path

import msgspec

from smsd.config.files import dotted
from smsd.config.plugin import make, provider_class
from smsd.config.read import Reader
from smsd.provider import Provider
from smsd.testing import conformance_callbacks, conformance_requests
from smsd.testing.conformance_subject import Broken, Sign, Skip, Subject, Vector

__all__ = ["Check", "Outcome", "Report", "Result", "checks", "subject", "vet"]

RULES: Mapping[str, Callable[[Subject], None]] = {
    "options": conformance_requests.options,
    "request": conformance_requests.request,
    "text": conformance_requests.text,
    "callback url": conformance_requests.callback_url,
    "secrets": conformance_requests.secrets,
    "purity": conformance_requests.purity,
    "idempotency": conformance_requests.idempotency,
    "look-up": conformance_requests.look_up,
    "unlisted answers": conformance_requests.unlisted,
    "throttled": conformance_requests.throttled,
    "unusable": conformance_requests.unusable,
    "hostile answers": conformance_requests.hostile,
    "unsigned callbacks": conformance_callbacks.unsigned,
    "hostile callbacks": conformance_callbacks.hostile,
    "hostile contents": conformance_callbacks.hostile_contents,
    "covered": conformance_callbacks.covered,
}
"""What holds for every provider, whatever its vendor."""

EACH: Mapping[str, Mapping[str, Callable[[Subject, Vector], None]]] = {
    "answer": {"answer": conformance_requests.answer},
    "look_up": {"look-up": conformance_requests.found},
    "signature": {
        "signature": conformance_callbacks.signature,
        "tampering": conformance_callbacks.tampering,
        "replay": conformance_callbacks.replay,
    },
    "receipt": {
        "receipt": conformance_callbacks.receipt,
        "tampering": conformance_callbacks.tampering,
        "pointing": conformance_callbacks.pointing,
        "replay": conformance_callbacks.replay,
        "reference": conformance_callbacks.reference,
    },
    "inbound": {
        "inbound": conformance_callbacks.inbound,
        "tampering": conformance_callbacks.tampering,
        "replay": conformance_callbacks.replay,
    },
    "options": {},
}
"""What is checked with each vector of a kind."""


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Result(msgspec.Struct, frozen=True):
    """One check's outcome. `detail` is a sentence: what is wrong, or why it was not checked."""

    name: str
    outcome: Outcome
    detail: str = ""


class Check(msgspec.Struct, frozen=True):
    """One rule, ready to be run; its `str` is its name."""

    name: str
    rule: Callable[[], None]

    def __str__(self) -> str:
        return self.name

    def run(self) -> Result:
        """Runs it. A provider that raises anything fails; the kit itself raises nothing."""
        try:
            self.rule()
        except Skip as reason:
            return Result(self.name, Outcome.SKIPPED, str(reason))
        except Broken as complaint:
            return Result(self.name, Outcome.FAILED, str(complaint))
        except Exception as error:  # noqa: BLE001 - a provider's fault may be any exception
            return Result(
                self.name, Outcome.FAILED, f"raised {type(error).__name__}, which the contract does not allow"
            )
        return Result(self.name, Outcome.OK)


class Report(msgspec.Struct, frozen=True):
    """All results of one provider."""

    target: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed. What was skipped is not known."""
        return not self.failed

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.outcome is Outcome.FAILED)

    def __str__(self) -> str:
        lines = [
            f"{result.outcome:<8}{result.name}{': ' if result.detail else ''}{result.detail}" for result in self.results
        ]
        return "\n".join([f"{self.target}: {'conforms' if self.ok else 'does not conform'}", *lines])


def vet(target: str | type[Provider], vectors: Path | None = None, sign: Sign | None = None) -> Report:
    """Runs every check. Raises ValueError where the provider cannot be made or the vectors cannot be read."""
    name = target if isinstance(target, str) else target.__name__
    return Report(name, tuple(check.run() for check in checks(target, vectors, sign)))


def checks(target: str | type[Provider], vectors: Path | None = None, sign: Sign | None = None) -> list[Check]:
    """The checks that `vet` runs, for a test runner that wants to name each. Raises ValueError as `vet` does."""
    under_test = subject(target, vectors, sign)
    found = [Check(name, partial(rule, under_test)) for name, rule in RULES.items()]
    for vector in under_test.vectors:
        rules = {name: rule for name, rule in EACH[vector.kind].items() if name not in _needless(vector)}
        found += [Check(f"{name} ({vector.name})", partial(rule, under_test, vector)) for name, rule in rules.items()]
    return found


def subject(target: str | type[Provider], vectors: Path | None = None, sign: Sign | None = None) -> Subject:
    """The provider under test with its vectors. Raises ValueError as `vet` does."""
    provider = provider_class(target) if isinstance(target, str) else target
    read = read_vectors(vectors) if vectors else ()
    own = next((vector for vector in read if vector.kind == "options"), Vector(kind="options"))
    return Subject(partial(_made, provider, own, vectors), own, read, sign)


def _needless(vector: Vector) -> set[str]:
    """What a vector gives no occasion for: tampering with a forgery, a reference that is not there, a time unsigned, a
    URL that is signed, or that proves all the rest.
    """
    if not vector.genuine:
        return {"tampering", "reference", "replay", "pointing"}
    told = {
        "reference": conformance_callbacks.reference_in(vector),
        "replay": vector.stale_now,
        "pointing": "url" not in vector.covers and "body" in vector.covers and vector.proof != "url",
    }
    return {name for name, there in told.items() if not there}


def read_vectors(path: Path) -> tuple[Vector, ...]:
    """The vectors in a file. Raises ValueError with a sentence that names the file and what is wrong."""
    try:
        return tuple(msgspec.json.decode(path.read_bytes(), type=list[Vector]))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path}: is not a list of vectors: {error}") from error


def _made(provider: type[Provider], own: Vector, path: Path | None) -> tuple[Provider, msgspec.Struct]:
    """A new instance and its options, read as smsd.toml would be."""
    reader = Reader(str(path.parent) if path else "", own.env | own.secrets)
    options = reader.struct(provider.Options, own.options, ("options",))
    if reader.mistakes or options is None:
        told = "; ".join(f"{dotted(place)}: {sentence}" for place, sentence in reader.mistakes)
        hint = "" if path else ' (what it needs stands in an entry of kind "options": --vectors FILE)'
        raise ValueError(f"{provider.__name__} cannot be made: {told}{hint}")
    return make(provider, "vetted", options), options
