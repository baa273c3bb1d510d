"""Every mistake in a gateway's config is found when it is read, and its sentence begins with the key."""

from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from smsd.config.read import Reader
from smsd_providers.http_options import ANSWERS, PLACEHOLDERS, RECEIPTS, Callbacks, HttpOptions, names

VECTORS = Path(__file__).parent / "vectors"


def example(name: str = "http_json") -> dict[str, Any]:
    """The options of one of the example gateways."""
    return msgspec.json.decode((VECTORS / f"{name}.json").read_bytes())[0]["options"]


def mistakes(table: dict[str, Any]) -> list[tuple[str, str]]:
    """What `smsd check` would say: where, and what would be right."""
    reader = Reader("", {})
    reader.struct(HttpOptions, table, ())
    return [(".".join(map(str, path)), sentence) for path, sentence in reader.mistakes]


def changed(path: str, value: object, name: str = "http_json") -> dict[str, Any]:
    """The example with one key changed, or taken away by None."""
    table = deepcopy(example(name))
    *parents, last = path.split("/")
    place = table
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is None:
        place.pop(last)
    else:
        place[last] = value
    return table


@pytest.mark.parametrize("name", ["http_json", "http_kannel"])
def test_the_examples_are_right(name: str) -> None:
    """The example gateways have no mistake."""
    assert mistakes(example(name)) == []


@pytest.mark.parametrize(
    ("path", "value", "key", "sentence"),
    [
        ("url", "api.gateway.example", "url", "http:// or https://"),
        ("url", "https://{id}.example/x", "url", "a host that holds no placeholder"),
        ("url", "https://api.gateway.example:99999/", "url", "cannot be read"),
        ("url", "https://me:pw@api.gateway.example/", "url", "credentials belong to `auth`"),
        ("url", "https://api.gateway.example/ü", "url", "beyond ASCII"),
        ("url", "https://api.gateway.example/{body}", "url", "{body} is no placeholder here"),
        ("fields/content/text", "{txt}", "fields.content.text", "{txt} is no placeholder"),
        ("fields/content/text", "{body!r}", "fields.content.text", "no placeholder"),
        ("fields/content/text", "{body:>9}", "fields.content.text", "no placeholder"),
        ("fields/content/text", "{body.upper}", "fields.content.text", "no placeholder"),
        ("fields/content/text", "{", "fields.content.text", "written twice"),
        ("fields/recipients", ["{whom}"], "fields.recipients.0", "no placeholder"),
        ("fields/content", "hello", "fields", "{body}"),
        ("fields/when", datetime(2026, 11, 24, tzinfo=UTC), "fields.when", "a text, a number"),
        ("format", "form", "fields.content", 'format = "json"'),
        ("format", "xml", "format", "one of"),
        ("method", "GET", "format", 'format = "query"'),
        ("query", {"x": "{y}"}, "query.x", "no placeholder"),
        ("headers", {"X-Text": "{body}"}, "headers.X-Text", "{body} is no placeholder here"),
        ("headers", {"X-Text": "a\r\nb"}, "headers.X-Text", "on one line"),
        ("headers", {"Authorization": "Bearer hunter2"}, "headers.Authorization", "`auth` takes it, as env:NAME"),
        ("headers", {"X-Api-Key": "salons"}, None, ""),  # an account's name beside the secret of `auth`
        ("query", {"auth_token": "hunter2"}, "query.auth_token", "never written into the config"),
        ("query", {"token": "{reference}"}, None, ""),
        ("fields/content/password", "hunter2", "fields.content.password", "never written into the config"),
        ("url", "https://api.gateway.example/?Password=hunter2", "url", "never written into the config"),
        ("look_up/url", "https://a.example/{id}?secret=hunter2", "look_up.url", "never written into the config"),
        ("encodings", {"UCS2": "8"}, "encodings.UCS2", "GSM-7, UCS-2"),
        ("auth/scheme", "header", "auth.name", "names the header"),
        ("auth/scheme", "basic", "auth.user", "needed by"),
        ("auth/name", "X", "auth.name", "have none"),
        ("auth/secret", "hunter2", "auth.secret", "env:NAME"),
        ("idempotency", None, None, ""),
        ("idempotency/header", "", "idempotency.header", "names the header"),
        ("idempotency/compares", True, "idempotency.compares", "{callback_url} is another with each attempt"),
        ("idempotency/window_s", 0, "idempotency.window_s", "how many seconds"),
        ("fields/key", "{idempotency_key}", None, ""),
        ("id_at", "", "id_at", "JSON pointer"),
        ("id_at", "data/id", "id_at", "JSON pointer"),
        ("id_at", "/data/~2", "id_at", "~ is ~0"),
        ("id_at", "header:X Y", "id_at", "header:NAME"),
        ("id_at", "header:Location", None, ""),
        ("id_at", "regex:(", "id_at", "regular expression is wrong"),
        ("id_at", "regex:ID", "id_at", "one group"),
        ("accepted", [], "accepted", "200 to 299"),
        ("accepted", [200, 302], "accepted", "200 to 299"),
        ("statuses", {"4xx": "deferred"}, "statuses.4xx", "HTTP status"),
        ("statuses", {"400": "refused:bad"}, "statuses.400", "'refused:bad' is none of"),
        ("statuses", {"202": "accepted"}, "statuses.202", "the list `accepted`"),
        ("codes/E1", "nope", "codes.E1", "is none of accepted, deferred"),
        ("code_at", "", "code_at", "goes with the table `codes`"),
        ("look_up/url", "https://api.gateway.example/messages", "look_up.url", "ask by {reference}"),
        ("look_up/reference_at", "", "look_up.reference_at", "anybody's"),
        ("look_up/id_at", "id", "look_up.id_at", "JSON pointer"),
        ("receipts/status_at", "status", "receipts.status_at", "JSON pointer"),
        ("receipts/statuses", {"X": "gone"}, "receipts.statuses.X", "is none of"),
        ("receipts/errors", {"1": "gone"}, "receipts.errors.1", "is none of"),
        ("receipts/format", "csv", "receipts.format", "one of"),
        ("callbacks", None, "callbacks", "forged by anybody"),
        ("callbacks/name", "", "callbacks.name", "names the query parameter, header or user"),
        ("callbacks/by", "path", "callbacks.name", '"path" has none'),
        ("colour", "red", "colour", "unknown key"),
    ],
)
def test_a_mistake_is_named(path: str, value: object, key: str | None, sentence: str) -> None:
    """One wrong key gives one sentence at that key, and a harmless change gives none."""
    found = mistakes(changed(path, value))
    assert [where for where, _ in found] == ([] if key is None else [key])
    assert all(sentence in said for _, said in found)


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("receipts/list_at", "/x", "receipts.list_at"),
        ("receipts/status_at", "", "receipts.status_at"),
        ("fields/dlr-url", "x", "receipts.id_at"),
        ("fields/key", "{idempotency_key}", "idempotency"),
    ],
)
def test_a_mistake_without_json_is_named(path: str, value: object, key: str) -> None:
    """Names of parameters are judged as such, and a receipt must name its message somehow."""
    assert [where for where, _ in mistakes(changed(path, value, "http_kannel"))] == [key]


def test_without_auth_a_key_is_the_secret() -> None:
    """Nothing else could be, so it may not stand in the config."""
    table = changed("auth", None) | {"headers": {"X-Api-Key": "hunter2"}}
    assert [where for where, _ in mistakes(table)] == ["headers.X-Api-Key"]


def test_a_proof_needs_a_secret() -> None:
    """Options that are made without the reader are judged as well."""
    with pytest.raises(ValueError, match=r"^callbacks\.secrets: needs at least one"):
        HttpOptions(
            url="https://gw.example/",
            id_at="/id",
            fields={"to": "{to}", "text": "{body}"},
            callbacks=Callbacks(by="path", secrets=()),
        )


def test_tables_say_what_the_contract_knows() -> None:
    """A table can name every refusal, and no status of the normal form is missing."""
    assert {"refused:opted_out", "refused:sender:elsewhere", "unusable:process", "throttled"} <= ANSWERS.keys()
    assert {"queued", "accepted", "sent", "delivered", "undelivered", "undelivered:bad_number"} <= RECEIPTS.keys()


def test_names_are_found_at_any_depth() -> None:
    """The placeholders of a template are found in tables and lists, and doubled braces are none."""
    template = {"a": "{to}", "b": [{"c": "{{x}} {body}"}], "d": 7}
    assert names(template) == {"to", "body"} <= PLACEHOLDERS
