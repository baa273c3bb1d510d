"""Any HTTP gateway by configuration alone: what to say, where the answer says what, and what its words mean.

Never does IO, never guesses: an answer that the config does not list is never Accepted, a callback without its proof is
forged. The keys are explained in `http_options`; the defaults for statuses are RFC 9110's.
"""

import re
from collections.abc import Callable, Mapping
from typing import ClassVar, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    BadSignature,
    Callback,
    Capabilities,
    Found,
    HttpRequest,
    HttpResponse,
    Inbound,
    Inconclusive,
    LookUpResult,
    NotFound,
    Receipt,
    ReceiptStatus,
    Unknown,
)
from smsd_providers import _wire
from smsd_providers._proof import Proof
from smsd_providers.http_options import ANSWERS, NUMERIC, PLACEHOLDERS, RECEIPTS, Format, HttpOptions, names

REGEX_BYTES = 64 * 1024  # how much of an answer a regular expression looks at
ID_MAX = 255
FIELDS_MAX = 1000
_CONTENT = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
_SINGLE = {f"{{{name}}}": name for name in PLACEHOLDERS}


class Http:
    """One gateway account, made from its config table. Credentials are read once, here."""

    Options: ClassVar[type[msgspec.Struct]] = HttpOptions

    def __init__(self, name: str, options: HttpOptions) -> None:
        self.name = name
        self._options = options
        self._codes = {code: ANSWERS[means] for code, means in options.codes.items()}
        self._statuses = {int(status): ANSWERS[means] for status, means in options.statuses.items()}
        self._secret = options.auth.secret.reveal() if options.auth else ""
        self._proof = Proof(options.callbacks) if options.callbacks else None
        proven = options.callbacks  # by an HMAC over the body alone, the URL of one receipt could be another's
        self._url_proven = proven is None or (proven.by, proven.signed) != ("hmac", "body")
        self.capabilities = Capabilities(
            look_up="reference" if options.look_up else "none",
            idempotency_s=options.idempotency.window_s if options.idempotency else 0,
            receipts=options.receipts is not None,
            inbound=options.inbound is not None,
            callback_per_message="callback_url" in options.used,
        )

    def __repr__(self) -> str:
        return f"Http({self.name!r})"

    def secrets(self) -> frozenset[str]:
        auth = self._options.auth
        encoded = {_wire.basic(auth.user, self._secret).removeprefix("Basic ")} if auth else set[str]()
        return frozenset({self._secret, *(self._proof.secrets if self._proof else ()), *encoded} - {""})

    # ---- Sending -----------------------------------------------------------------------------------------------------

    def submit(self, attempt: Attempt) -> HttpRequest:
        options, values = self._options, self._values(attempt)
        fields = cast("dict[str, object]", _fill(options.fields, values, numbers=options.format == "json"))
        if options.auth and options.auth.scheme == "field":
            fields[options.auth.name] = self._secret
        query = _pairs(_fill(options.query, values))
        headers = [(name, value.format_map(values)) for name, value in options.headers.items()]
        body = b""
        if options.format == "query":
            query += _pairs(fields)
        else:
            body = msgspec.json.encode(fields) if options.format == "json" else urlencode(_pairs(fields)).encode()
            if not any(name.lower() == "content-type" for name, _ in headers):
                headers.append(("Content-Type", _CONTENT[options.format]))
        if options.idempotency and options.idempotency.header and attempt.idempotency_key:
            headers.append((options.idempotency.header, attempt.idempotency_key))
        return self._request(options.method, options.url, values, query, headers, body)

    def _request(
        self,
        method: str,
        url: str,
        values: Mapping[str, object],
        query: list[tuple[str, str]],
        headers: list[tuple[str, str]],
        body: bytes = b"",
    ) -> HttpRequest:
        url = url.format_map({name: quote(str(value), safe="") for name, value in values.items()})
        auth = self._options.auth
        match auth and auth.scheme:
            case "basic" if auth:
                headers = [*headers, ("Authorization", _wire.basic(auth.user, self._secret))]
            case "bearer":
                headers = [*headers, ("Authorization", f"Bearer {self._secret}")]
            case "header" if auth:
                headers = [*headers, (auth.name, self._secret)]
            case "query" if auth:
                query = [*query, (auth.name, self._secret)]
            case _:
                pass
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        return HttpRequest(method, url, tuple(headers), body)

    def _values(self, attempt: Attempt) -> dict[str, str | int]:
        """What the placeholders stand for; "" where there is nothing to say."""
        message = attempt.message
        return {
            "to": message.to,
            "to_digits": message.to.removeprefix("+"),
            "from": message.sender,
            "body": message.body,
            "reference": attempt.reference,
            "callback_url": self._proof.told(attempt.callback_url)
            if self._proof and attempt.callback_url
            else attempt.callback_url,
            "id": message.id,
            "segments": message.segments,
            "encoding": self._options.encodings.get(message.encoding, message.encoding),
            "valid_s": attempt.valid_s or "",
            "idempotency_key": attempt.idempotency_key,
        }

    def answer(self, response: HttpResponse) -> Answer:
        options, document = self._options, _wire.decode(response.body)
        code = _locate(response, document, options.code_at)
        detail = _wire.said(_locate(response, document, options.detail_at))
        taken = response.status in options.accepted
        means = self._codes.get(code) or self._statuses.get(response.status)
        if means is None and taken and not code:
            means = ANSWERS["accepted"]
        if means is None:
            return _wire.by_status(response, code, detail)
        if not isinstance(means, Accepted) or not taken:
            return _wire.filled(means, response, code or str(response.status), detail)
        provider_id = _locate(response, document, options.id_at)
        if not 0 < len(provider_id) <= ID_MAX:
            return Unknown(code or str(response.status), f"accepted, but no id at {options.id_at}")
        return Accepted(provider_id, _wire.count(_locate(response, document, options.segments_at)))

    # ---- Callbacks ---------------------------------------------------------------------------------------------------

    def receipts(self, callback: Callback) -> list[Receipt]:
        mapping = self._options.receipts
        self._prove(callback)
        if mapping is None:
            raise BadCallback("no receipts are configured")
        items = _items(callback, mapping.format, mapping.list_at)
        told = dict(parse_qsl(_query(callback.url))).get("ref", "") if len(items) == 1 else ""
        receipts: list[Receipt] = []
        for get in items:
            provider_id = get(mapping.id_at)
            reference = get(mapping.reference_at) or (told if self._url_proven or not provider_id else "")
            if get(mapping.status_at) in mapping.statuses and (provider_id or reference):
                word, code = get(mapping.status_at), get(mapping.error_at)
                receipts.append(self._receipt(provider_id, reference, word, code, get(mapping.to_at)))
        if not receipts and items:  # of several, those that can be read are
            raise BadCallback(f"a receipt names its message, and its {mapping.status_at} is one of those listed")
        return receipts

    def _receipt(self, provider_id: str, reference: str, word: str, code: str, to: str = "") -> Receipt:
        mapping = self._options.receipts
        status, reason = RECEIPTS[mapping.statuses.get(word, "accepted") if mapping else "accepted"]
        if status is ReceiptStatus.UNDELIVERED and mapping and code:
            reason = mapping.errors.get(code, reason if reason != "refused" else "unlisted")
        return Receipt(status, provider_id, reference, reason, code, word, to=to)

    def inbound(self, callback: Callback) -> list[Inbound]:
        mapping = self._options.inbound
        self._prove(callback)
        if mapping is None:
            raise BadCallback("no inbound texts are configured")
        texts: list[Inbound] = []
        for get in _items(callback, mapping.format, mapping.list_at):
            provider_id, sender = get(mapping.id_at), get(mapping.from_at)
            if not provider_id or not sender:
                raise BadCallback(f"a text has {mapping.id_at} and {mapping.from_at}")
            texts.append(Inbound(provider_id, sender, get(mapping.to_at), get(mapping.body_at)))
        return texts

    def _prove(self, callback: Callback) -> None:
        """Raises BadSignature unless the callback proves, by any of the secrets, that it is the gateway's."""
        if self._proof is None:
            raise BadSignature
        self._proof.check(callback)

    # ---- Look-up -----------------------------------------------------------------------------------------------------

    def look_up(self, attempt: Attempt) -> HttpRequest:
        if self._options.look_up is None:
            raise ValueError(f"{self.name}: there is no look-up, as capabilities say")
        return self._request("GET", self._options.look_up.url, self._values(attempt), [], [])

    def found(self, attempt: Attempt, response: HttpResponse) -> LookUpResult:
        rules, document = self._options.look_up, _wire.decode(response.body)
        if rules is None or response.status in rules.not_found:
            return NotFound() if rules else Inconclusive("no look_up is configured")
        items = _objects(document if rules.list_at is None else _wire.pick(document, rules.list_at))
        if response.status != 200 or items is None or (rules.list_at is None and not isinstance(document, dict)):
            return Inconclusive(f"the look-up was answered with {response.status} and cannot be read")
        candidates: list[Receipt] = []
        for item in items:
            get = _getter(item)
            if rules.reference_at and get(rules.reference_at) != attempt.reference:
                continue
            if not get(rules.id_at):
                return Inconclusive(f"a message without an id at {rules.id_at}")
            word, code = get(rules.status_at), get(rules.error_at)
            candidates.append(self._receipt(get(rules.id_at), attempt.reference, word, code, attempt.message.to))
        return Found(tuple(candidates)) if candidates else NotFound()


Get = Callable[[str], str]


def _fill(template: object, values: Mapping[str, str | int], numbers: bool = False) -> object:
    """`template` with its placeholders filled; a field with one that stands for nothing is left out."""
    match template:
        case str():
            if template in _SINGLE:
                value = values[_SINGLE[template]]
                return value if numbers and _SINGLE[template] in NUMERIC else str(value)
            return template.format_map(values)
        case dict():
            items = cast("dict[str, object]", template).items()
            return {name: _fill(part, values, numbers) for name, part in items if not _says_nothing(part, values)}
        case list():
            return [_fill(part, values, numbers) for part in cast("list[object]", template)]
        case _:
            return template


def _says_nothing(template: object, values: Mapping[str, str | int]) -> bool:
    return isinstance(template, str) and any(values[name] == "" for name in names(template))


def _pairs(fields: object) -> list[tuple[str, str]]:
    """Flat fields as name and value; a list repeats its name."""
    pairs: list[tuple[str, str]] = []
    for name, value in cast("dict[str, object]", fields).items():
        parts = cast("list[object]", value) if isinstance(value, list) else [value]
        pairs += [(name, str(part).lower() if isinstance(part, bool) else str(part)) for part in parts]
    return pairs


def _locate(response: HttpResponse, document: object, place: str) -> str:
    """What the answer says at `place`: a JSON pointer, "header:NAME" or "regex:PATTERN"; "" where it says nothing."""
    kind, _, rest = place.partition(":")
    if not place or place.startswith("/"):
        return _wire.scalar(_wire.pick(document, place)) if place else ""
    if kind == "header":
        return response.headers.get(rest.lower(), "")
    match = re.search(rest, response.body[:REGEX_BYTES].decode("utf-8", "replace"))
    return (match[1] or "") if match else ""


def _items(callback: Callback, form: Format, list_at: str) -> list[Get]:
    """One getter for each receipt or text in the callback. Raises BadCallback."""
    if form == "json":
        items = _objects(_wire.pick(_wire.decode(callback.body), list_at))
        if items is None:
            raise BadCallback("the body is a JSON object, or an array of them")
        return [_getter(item) for item in items]
    try:
        text = _query(callback.url) if form == "query" else callback.body.decode("utf-8", "replace")
        fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError as error:
        raise BadCallback(f"the {form} cannot be read") from error
    return [lambda place: fields.get(place, "")]


def _objects(document: object) -> list[object] | None:
    """A JSON object, or an array of them, as a list; None for anything else."""
    items = cast("list[object]", document) if isinstance(document, list) else [document]
    return items if all(isinstance(item, dict) for item in items) else None


def _getter(item: object) -> Get:
    return lambda place: _wire.scalar(_wire.pick(item, place)) if place else ""


def _query(url: str) -> str:
    return urlsplit(url).query
