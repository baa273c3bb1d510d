"""`make specs ARGS=FOLDER`: whether our requests are what the vendors' own specifications ask for.

FOLDER holds `<type>.json`: OpenAPI 3, Swagger 2, or a service model as botocore has it (aws). Each provider that has
one sends every kind of text from every kind of sender; path, query, headers and body are held against it, and no field
may be there that the specification does not know. Ends with 1 on a difference, with 2 without the folder.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jsonschema
import msgspec

from smsd.config.plugin import known_types
from smsd.provider import HttpRequest
from smsd.testing.conformance import subject
from smsd.testing.conformance_subject import attempts

VECTORS = Path(__file__).resolve().parents[1] / "tests" / "providers" / "vectors"
KNOWN: Mapping[str, frozenset[str]] = {
    "vonage-sms": frozenset({"the body: 'api_key' is a required property"}),  # Basic takes its place since 2021
}
"""Differences that are meant, each with why."""

Json = dict[str, Any]


def differences(spec: Json, request: HttpRequest) -> Iterator[str]:
    """What of a request the specification does not allow, each in a sentence."""
    if "shapes" in spec:
        yield from _of_model(spec, request)
        return
    found = _operation(spec, request)
    if found is None:
        yield f"there is no {request.method} {urlsplit(request.url).path}"
        return
    operation, shared = found
    parameters = [_resolved(spec, one) for one in (*shared, *operation.get("parameters", []))]
    query = dict(parse_qsl(urlsplit(request.url).query))
    headers = {name.lower() for name, _ in request.headers}
    for one in parameters:
        if one.get("required") and one.get("in") in ("query", "header"):
            there = one["name"] in query if one["in"] == "query" else one["name"].lower() in headers
            if not there:
                yield f"the {one['in']} parameter {one['name']} is missing"
    known = {one["name"] for one in parameters if one.get("in") == "query"}
    yield from (f"there is no query parameter {name}" for name in query.keys() - known)
    yield from _of_body(spec, operation, parameters, request)


def _operation(spec: Json, request: HttpRequest) -> tuple[Json, list[Json]] | None:
    path = urlsplit(request.url).path
    for template, item in spec["paths"].items():
        pattern = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(template).replace("/", "/"))
        if re.search(pattern + "$", path) and request.method.lower() in item:
            return item[request.method.lower()], item.get("parameters", [])
    return None


def _of_body(spec: Json, operation: Json, parameters: list[Json], request: HttpRequest) -> Iterator[str]:
    content = next((value for name, value in request.headers if name.lower() == "content-type"), "")
    content = content.partition(";")[0]
    in_body = next((one for one in parameters if one.get("in") == "body"), None)
    if in_body is not None:
        schema = in_body["schema"]
    else:
        media = _resolved(spec, operation.get("requestBody", {})).get("content", {})
        if content not in media:
            yield f"a body of {content or 'no type'} is not asked for: {', '.join(media)}"
            return
        schema = media[content]["schema"]
    body: Any = msgspec.json.decode(request.body) if "json" in content else _typed(spec, schema, request.body)
    roots = {key: spec[key] for key in ("components", "definitions") if key in spec}
    whole = {"allOf": [schema], **roots}
    for error in jsonschema.Draft202012Validator(whole).iter_errors(body):  # pyright: ignore[reportUnknownMemberType]
        yield f"{'/'.join(map(str, error.absolute_path)) or 'the body'}: {error.message[:200]}"
    yield from (f"there is no field {name}" for name in set(body) - _fields(spec, schema))


def _typed(spec: Json, schema: Json, body: bytes) -> Json:
    """A form's fields, numbers and truths as such where the schema says so."""
    kinds = {name: _resolved(spec, one).get("type") for name, one in _properties(spec, schema).items()}
    fields: Json = dict(parse_qsl(body.decode(), keep_blank_values=True))
    for name, value in fields.items():
        if kinds.get(name) == "integer" and value.isdecimal():
            fields[name] = int(value)
        elif kinds.get(name) == "boolean":
            fields[name] = {"true": True, "false": False}.get(value, value)
    return fields


def _fields(spec: Json, schema: Json) -> set[str]:
    return set(_properties(spec, schema))


def _properties(spec: Json, schema: Json) -> Json:
    """All properties, also those of the schemas that it is put together from."""
    schema = _resolved(spec, schema)
    found = dict(schema.get("properties", {}))
    for key in ("allOf", "oneOf", "anyOf"):
        for part in schema.get(key, []):
            found |= _properties(spec, part)
    return found


def _resolved(spec: Json, node: Json) -> Json:
    while "$ref" in node:
        target: Any = spec
        for step in cast("str", node["$ref"]).removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


# ---- A service model -------------------------------------------------------------------------------------------------


def _of_model(spec: Json, request: HttpRequest) -> Iterator[str]:
    target = next((value for name, value in request.headers if name.lower() == "x-amz-target"), "")
    name = target.rpartition(".")[2]
    if name not in spec["operations"]:
        yield f"there is no operation {name or '(no X-Amz-Target)'}"
        return
    shape = spec["operations"][name]["input"]["shape"]
    yield from _of_shape(spec, shape, msgspec.json.decode(request.body), name)


def _of_shape(spec: Json, name: str, value: Any, where: str) -> Iterator[str]:
    shape = spec["shapes"][name]
    return _SHAPES[shape["type"]](spec, shape, value, where)


def _structure(spec: Json, shape: Json, value: Any, where: str) -> Iterator[str]:
    yield from (f"{where}: {key} is missing" for key in shape.get("required", []) if key not in value)
    for key, one in value.items():
        if key in shape["members"]:
            yield from _of_shape(spec, shape["members"][key]["shape"], one, f"{where}.{key}")
        else:
            yield f"{where}: there is no member {key}"


def _map(spec: Json, shape: Json, value: Any, where: str) -> Iterator[str]:
    if len(value) > shape.get("max", 1 << 30):
        yield f"{where}: has more than {shape['max']} entries"
    for key, one in value.items():
        yield from _of_shape(spec, shape["key"]["shape"], key, f"{where} key")
        yield from _of_shape(spec, shape["value"]["shape"], one, f"{where}.{key}")


def _string(spec: Json, shape: Json, value: Any, where: str) -> Iterator[str]:
    least, most, pattern = shape.get("min", 0), shape.get("max", 1 << 30), shape.get("pattern")
    if not isinstance(value, str) or not least <= len(value) <= most:
        yield f"{where}: is a text of {least} to {most} characters"
    elif pattern and not re.search(pattern, value, re.DOTALL):
        yield f"{where}: does not match {pattern}"
    elif value not in shape.get("enum", [value]):
        yield f"{where}: is one of {', '.join(shape['enum'])}"


def _number(spec: Json, shape: Json, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, int) or not shape.get("min", value) <= value <= shape.get("max", value):
        yield f"{where}: is a number from {shape.get('min')} to {shape.get('max')}"


def _boolean(spec: Json, shape: Json, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"{where}: is true or false"


_SHAPES = {
    "structure": _structure,
    "map": _map,
    "string": _string,
    "integer": _number,
    "long": _number,
    "boolean": _boolean,
}


def main(argv: list[str]) -> int:
    """Holds each provider against its file. Returns an exit code."""
    folder = Path(argv[0]) if argv else None
    files = sorted(folder.glob("*.json")) if folder else []
    if not files:
        sys.stderr.write("specs: give the folder of the vendors' specifications: make specs ARGS=FOLDER\n")
        return 2
    types, failed = known_types("smsd_providers."), False
    for path in files:
        name = path.stem
        if name not in types:
            sys.stdout.write(f"{name}: no provider of this type\n")
            continue
        spec = cast("Json", msgspec.json.decode(path.read_bytes()))
        provider = subject(name, VECTORS / f"{name.replace('-', '_')}.json").provider
        found: dict[str, str] = {}
        count = 0
        for told, attempt in attempts():
            count += 1
            if not attempt.message.sender and name not in ("twilio", "telnyx"):
                continue  # the others' specifications want a sender
            seen = set(differences(spec, provider.submit(attempt))) - KNOWN.get(name, frozenset())
            found |= dict.fromkeys(seen, told)
        failed |= bool(found)
        sys.stdout.write(f"{name}: {count} requests, {len(found) or 'no'} differences\n")
        sys.stdout.writelines(f"  {one} ({told})\n" for one, told in found.items())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
