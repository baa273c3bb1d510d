"""The API as OpenAPI 3.1, made of the table of routes and of the structs that the verbs take and give.

Never says what the table does not: a path, a status or a field that is not there cannot be told of.
"""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, field

from smsd.core.names import ID, TENANT
from smsd.shell.api_problems import PROBLEM, REASONS, Problem
from smsd.shell.api_route import PATTERNS, Route
from smsd.shell.api_routes import MESSAGES, ROUTES
from smsd.shell.metrics import release

Tenant = Annotated[str, Meta(pattern=f"^{TENANT}$", examples=["acme"])]
Id = Annotated[str, Meta(pattern=f"^{ID}$", examples=["reminder-4711"])]
Instant = Annotated[
    str | int,
    Meta(description="RFC 3339 with an offset, or epoch milliseconds", examples=["2026-03-29T09:00:00+01:00"]),
]
Class = Annotated[str, Meta(description="A class of the config", examples=["reminder"])]


class Message(msgspec.Struct, kw_only=True):
    """A message to send. Unknown fields are ignored and counted."""

    class_: Class = field(name="class")
    tenant: Tenant
    to: Annotated[str, Meta(description="E.164, or national with `region`", examples=["+353861234567"])]
    body: Annotated[str, Meta(description="The text, up to max_segments segments", examples=["See you at ten."])]
    id: Id | msgspec.UnsetType = msgspec.UNSET
    from_: str | msgspec.UnsetType = field(name="from", default=msgspec.UNSET)
    region: str | msgspec.UnsetType = msgspec.UNSET
    not_before: Instant | msgspec.UnsetType = msgspec.UNSET
    not_after: Instant | msgspec.UnsetType = msgspec.UNSET
    campaign: Id | msgspec.UnsetType = msgspec.UNSET
    replaces: Id | msgspec.UnsetType = msgspec.UNSET
    meta: Any = msgspec.UNSET
    traceparent: str | msgspec.UnsetType = msgspec.UNSET
    op: Literal["send"] | msgspec.UnsetType = msgspec.UNSET


class Cancel(msgspec.Struct, kw_only=True):
    """Cancels a message, as POST /v1/tenants/{tenant}/messages/{id}/cancel does."""

    op: Literal["cancel"]
    tenant: Tenant
    id: Id
    class_: Class | msgspec.UnsetType = field(name="class", default=msgspec.UNSET)


_ALWAYS = (400, 401, 408, 413, 503)
_TOLD: Mapping[int, str] = {
    400: "The query or the body is not what this path takes",
    401: "No key of [http.api_keys], or a wrong one",
    403: "This is for keys of all tenants",
    404: "There is no such thing, or it is not this key's",
    408: "The body did not arrive in time",
    409: "It conflicts with what is there",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "The message cannot be taken",
    429: "The store's memory is short; send it again later",
    500: "smsd itself failed; its log has more",
    503: "The store is away or slow; send it again, with the same ids",
}
_RETRY = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}, "required": True}}
_HEADERS: Mapping[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}},
    429: _RETRY,
    503: _RETRY,
}
_INTRO = f"""\
Sends texts, tells what became of them, and steers. The streams of the store are the other way in, with the same rules:
the same entry comes to the same outcome by either, and an id that came by both is taken once.

Errors are problems after RFC 9457; `errors` says with a JSON pointer what is wrong where. Beside the reasons of
rejected entries (docs/REASONS.md) there are {", ".join(f"`{name}`" for name in REASONS)}. A method that a path does
not have is answered with 405 and `Allow`; a head that is too large with 431, and what is no HTTP with 400, both without
a body.
"""


@cache
def document() -> bytes:
    """/openapi.json."""
    types = [Problem, Message, Cancel, *{name: kind for route in ROUTES for name, kind in _types(route)}.values()]
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    told: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "smsd",
            "version": release(),
            "description": _INTRO,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "A key of [http.api_keys]"}},
        },
    }
    return msgspec.json.encode(told)


def _types(route: Route) -> list[tuple[str, Any]]:
    """The structs that a route's answers and body are made of, by name."""
    found: list[tuple[str, Any]] = []
    for kind in [*route.answers.values(), None if route.raw else route.asked or route.body]:
        found += [(repr(one), one) for one in _structs(kind)]
    return found


def _structs(kind: Any) -> list[Any]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [struct for one in get_args(kind) for struct in _structs(one)]


def _schema(kind: Any) -> dict[str, Any]:
    """By reference, text as text; `A | list[A]` as msgspec would not have it, for it could not tell them apart."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    if kind is str:
        return {"type": "string"}
    if get_origin(kind) is Annotated:
        inner, meta = get_args(kind)
        return {**_schema(inner), "minItems": meta.min_length, "maxItems": meta.max_length}
    if get_origin(kind) is list:
        return {"type": "array", "items": _schema(get_args(kind)[0])}
    return {"anyOf": [_schema(one) for one in get_args(kind)]}


def _operation(route: Route) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, kind in route.answers.items():
        answers[str(status)] = {"description": HTTPStatus(status).phrase}
        if kind is not None:
            answers[str(status)]["content"] = {route.gives: {"schema": _schema(kind)}}
    problems = {*_ALWAYS, *route.problems, *((403,) if route.admin else ()), *((404,) if "{" in route.path else ())}
    for status in sorted(problems):
        content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        answers[str(status)] = {"description": _TOLD[status], "content": content}
        if status in _HEADERS:
            answers[str(status)]["headers"] = _HEADERS[status]
    told: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": route.told + (" For keys of all tenants only." if route.admin else ""),
        "tags": [route.tag],
        "parameters": _parameters(route),
        "responses": answers,
    }
    if route.body is not None:
        told["requestBody"] = {"required": True, "content": {route.takes: {"schema": _asked(route)}}}
    return told


def _asked(route: Route) -> dict[str, Any]:
    if route.path != MESSAGES:
        return _schema(route.asked or route.body)
    one = {"anyOf": [_schema(Message), _schema(Cancel)]}
    return {"anyOf": [*one["anyOf"], {"type": "array", "items": one, "minItems": 1, "maxItems": 1000}]}


def _parameters(route: Route) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{PATTERNS[name]}$"}}
        for name in PATTERNS
        if f"{{{name}}}" in route.path
    ]
    if route.path == MESSAGES:
        key = {"type": "string", "pattern": '^("[A-Za-z0-9_.:-]{1,120}"|[A-Za-z0-9_.:-]{1,120})$'}
        what = "Supplies an id that is missing; in an array the key, a colon, and the index"
        told.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": key, "description": what})
    if route.query is not None:
        schema = msgspec.json.schema(route.query)["$defs"][route.query.__name__]
        told += [
            {"name": name, "in": "query", "required": name in schema.get("required", []), "schema": one}
            for name, one in schema["properties"].items()
        ]
    return told
