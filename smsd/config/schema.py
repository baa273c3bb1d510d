"""The JSON Schema of smsd.toml, made from the same structs that read it: for editors, and for checks without smsd.

Never stricter than `smsd check`, and never as strict: what must hold between keys is not in it. Draft 7, which the
TOML editors know.
"""

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import msgspec

from smsd.config import plugin
from smsd.config.read import Reads, keys_of
from smsd.config.settings import (
    Countries,
    Country,
    LimitText,
    Listen,
    Name,
    NetworkText,
    Prefix,
    ProviderConfig,
    Region,
    Sender,
    Settings,
    Tenant,
    TenantId,
    Url,
    Us,
    show_duration,
)
from smsd.core.limit import Limit, show
from smsd.secret import HOW, Secret, SecretUrl

Json = dict[str, Any]

_GRAMMARS: dict[Any, str] = {
    Countries: "countries",
    Country: "country",
    LimitText: "limit",
    Listen: "listen",
    Name: "name",
    NetworkText: "network",
    Prefix: "prefix",
    Region: "region",
    Sender: "sender_text",
    Tenant: "tenant_or_all",
    TenantId: "tenant_id",
    Url: "url",
    Us: "duration",
}
"""The texts that are used in many places, by their names among the definitions."""

_SECRET: Json = {
    "type": "string",
    "pattern": r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:[^{}]+)$",
    "description": HOW,
}


def page() -> str:
    """config/smsd.schema.json: with the providers that come with smsd, whatever else is installed here."""
    return written({name: plugin.provider_class(name) for name in plugin.known_types("smsd_providers.")})


def installed() -> str:
    """The schema with every provider that is installed here and can be imported."""
    found: dict[str, type[Any]] = {}
    for name in plugin.known_types():
        try:
            found[name] = plugin.provider_class(name)
        except ValueError:  # smsd check tells of it, where it is used
            continue
    return written(found)


def written(providers: Mapping[str, type[Any]]) -> str:
    """The schema as text, with the options of providers by their `type`."""
    return msgspec.json.format(msgspec.json.encode(_Schema(providers).whole()), indent=2).decode() + "\n"


class _Schema:
    """One schema while it is made: structs and grammars are definitions, each once."""

    def __init__(self, providers: Mapping[str, type[Any]]) -> None:
        self._providers = providers
        self._names: dict[type[msgspec.Struct], str] = {}
        self.definitions: Json = {}

    def whole(self) -> Json:
        root = self._table(Settings)
        root["properties"]["include"] = {
            "type": "array",
            "items": {"type": "string"},
            "description": 'files whose keys are added to these, as ["config/conf.d/*.toml"]; only in the first file',
        }
        return {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "smsd.toml",
            **root,
            "definitions": dict(sorted(self.definitions.items())),
        }

    def _provider(self) -> Json:
        """A provider's table: its common keys, and those of the type that it names."""
        common = self._properties(ProviderConfig)
        common["type"] = {
            "anyOf": [{"enum": list(self._providers)}, {"type": "string", "pattern": ":"}],
            "description": "an installed type, or package.module:Class",
        }
        branches: list[Json] = []
        for name, provider in self._providers.items():
            table = self._table(provider.Options)
            settle = {"settle_s": common["settle_s"] | {"default": plugin.settle_s(provider)}}
            table["properties"] = common | settle | table["properties"]
            self.definitions[f"provider_{name}"] = table
            named = {"properties": {"type": {"const": name}}, "required": ["type"]}
            branches.append({"if": named, "then": {"$ref": f"#/definitions/provider_{name}"}})
        return {"type": "object", "required": ["type"], "properties": common, "allOf": branches}

    def _table(self, struct: type[msgspec.Struct]) -> Json:
        required = [key for key, field in keys_of(struct).items() if field.required]
        table: Json = {"type": "object"}
        if struct.__doc__ and "\n" not in struct.__doc__:
            table["description"] = struct.__doc__
        table["properties"] = self._properties(struct)
        table["additionalProperties"] = False
        return table | ({"required": required} if required else {})

    def _properties(self, struct: type[msgspec.Struct]) -> Json:
        found: Json = {}
        defaults = {field.encode_name: field.default for field in msgspec.structs.fields(struct)}
        for key, field in keys_of(struct).items():
            if field.type is msgspec.Struct:  # a provider's own options stand beside the common keys
                continue
            schema = self.of(field.type)
            default = _default(defaults[key], field.name)
            found[key] = schema if default is None else {**schema, "default": default}
        return found

    def of(self, type_: Any) -> Json:
        """What a key of that type may be, as smsd.config.read reads it."""
        origin, args = get_origin(type_), get_args(type_)
        schema: Json
        if type_ in _GRAMMARS:
            schema = self._defined(_GRAMMARS[type_], self._text(_reads(type_)))
        elif type_ is Secret:
            schema = self._defined("secret", _SECRET)
        elif type_ is SecretUrl:
            schema = {
                "type": "string",
                "description": "a url; what is secret in it stands as {env:NAME} or {file:PATH}",
            }
        elif isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            schema = self._struct(type_)
        elif origin is Annotated and any(isinstance(note, Reads) for note in args):
            schema = self._text(_reads(type_))
        elif origin is Literal:
            schema = {"enum": list(args)}
        elif origin in (Union, types.UnionType):
            kinds = [arg for arg in args if arg is not type(None)]
            schema = self._secrets() if Secret in kinds and len(kinds) > 1 else self.of(kinds[0])
        elif origin in (tuple, list):
            schema = self._list(origin, args)
        elif origin is dict:
            schema = {"type": "object", "propertyNames": self.of(args[0]), "additionalProperties": self.of(args[1])}
        elif type_ in (object, Any):
            schema = {}
        else:
            schema = msgspec.json.schema(type_)
        return schema

    def _list(self, origin: Any, args: tuple[Any, ...]) -> Json:
        if Secret in args:
            return self._secrets()
        schema: Json = {"type": "array", "items": self.of(args[0])}
        if origin is tuple and args[-1] is not Ellipsis:
            schema |= {"minItems": len(args), "maxItems": len(args)}
        return schema

    def _secrets(self) -> Json:
        """One, or a list of them for rotation."""
        one = self.of(Secret)
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}

    def _struct(self, struct: type[msgspec.Struct]) -> Json:
        if struct not in self._names:
            name = re.sub(r"(?<=[a-z])([A-Z])", r"_\1", struct.__name__.removesuffix("Config")).lower()
            taken = {*self._names.values(), *_GRAMMARS.values()}
            while name in taken:  # providers may have structs of one name
                name += "_"
            self._names[struct] = name
            self.definitions[name] = self._provider() if struct is ProviderConfig else self._table(struct)
        return {"$ref": f"#/definitions/{self._names[struct]}"}

    def _text(self, reads: Reads) -> Json:
        schema: Json = {"type": "string", "description": reads.what}
        if reads.options and reads.pattern:
            return schema | {"anyOf": [{"pattern": _whole(reads.pattern)}, self.of(Country)]}
        if reads.options:
            return schema | {"enum": list(reads.options)}
        return schema | ({"pattern": _whole(reads.pattern)} if reads.pattern else {})

    def _defined(self, name: str, schema: Json) -> Json:
        self.definitions[name] = schema
        return {"$ref": f"#/definitions/{name}"}


def _reads(type_: Any) -> Reads:
    return next(note for note in get_args(type_) if isinstance(note, Reads))


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _default(value: Any, name: str) -> Any:
    """A default as the file writes it; None where there is none to show."""
    match value:
        case bool() | float() | str():
            return value
        case int():
            return show_duration(value) if name.endswith("_us") else value
        case Limit():
            return show(value)
        case SecretUrl():
            return value.text
        case tuple():
            return [_default(one, name) for one in cast("tuple[Any, ...]", value)]
        case _:
            return None
