"""Turns tables of plain values into frozen structs and collects every mistake on the way, with what would be right.

Never stops at the first mistake, never repeats a text of unknown meaning (it may be a secret), never looks at two keys
at once: that is smsd.config.check's. A field's type says how it is read; `Annotated[..., Reads(...)]` names a grammar.
"""

import re
import types
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec

from smsd.config.files import KeyPath
from smsd.secret import HOW, Secret, SecretError, SecretUrl

S = TypeVar("S", bound=msgspec.Struct)


class Reads(msgspec.Struct, frozen=True):
    """How a text becomes the field's value. `read` raises ValueError with a sentence that says what is right."""

    read: Callable[[str], object]
    what: str  # "a duration with its unit, as "12h""
    pattern: str = ""  # what it matches as a whole, for the JSON Schema: never narrower than `read`
    options: tuple[str, ...] = ()  # beside the pattern: the texts that it may be


class _Bad:
    """The value of what could not be read; its mistake is already noted."""


BAD: Final = _Bad()


class Field(msgspec.Struct, frozen=True):
    """One key of a table."""

    name: str  # the struct's
    type: Any
    required: bool


@lru_cache(maxsize=256)
def keys_of(struct: type[msgspec.Struct]) -> Mapping[str, Field]:
    """The keys that a struct's table may have, as written in TOML."""
    return {
        field.encode_name: Field(field.name, field.type, field.required)
        for field in msgspec.structs.fields(struct)
        if field.encode_name
    }


class Reader:
    """Reads tables, and remembers mistakes and secrets."""

    def __init__(self, folder: str, env: Mapping[str, str], lax: Iterable[KeyPath] = ()) -> None:
        """`lax`: paths whose value came as text (from the environment) and may stand for a number."""
        self.mistakes: list[tuple[KeyPath, str]] = []
        self.secrets: list[tuple[KeyPath, Secret]] = []
        self._folder, self._env, self._lax = folder, env, frozenset(lax)

    def note(self, path: KeyPath, message: str) -> _Bad:
        self.mistakes.append((path, message))
        return BAD

    def struct(
        self, struct: type[S], raw: object, path: KeyPath, base: S | None = None, also: Iterable[str] = ()
    ) -> S | None:
        """The table as a struct; what is absent or wrong is taken from `base` or has the field's default.

        `also`: keys that the table may have beside, read elsewhere. None if a required key is missing or wrong.
        """
        if not isinstance(raw, dict):
            self.note(path, f"expected a table, got {_word(raw)}")
            return None
        fields, table = keys_of(struct), cast("dict[str, object]", raw)
        values: dict[str, object] = {}
        for key, value in table.items():
            field = fields.get(key)
            if field is None:
                self.unknown((*path, key), {*fields, *also})
            elif (read := self.value(field.type, value, (*path, key))) is not BAD:
                values[field.name] = read
        missing = [key for key, field in fields.items() if field.required and field.name not in values]
        for key in missing:
            if key not in table:
                self.note(path, f'the key "{key}" is missing')
        if missing:
            return None
        try:
            return struct(**values) if base is None else msgspec.structs.replace(base, **values)
        except ValueError as error:  # a provider's Options may judge its keys together: "key: sentence"
            key, colon, sentence = str(error).partition(": ")
            steps = _steps(key)
            if colon and steps and steps[0] in fields:
                self.note((*path, *steps), sentence)
            else:
                self.note(path, str(error))
            return None

    def unknown(self, path: KeyPath, known: Iterable[str]) -> None:
        """Notes an unknown key, with the known one that was probably meant."""
        options = sorted(known)
        self.note(path, f"unknown key{suggestion(str(path[-1]), options) or ': known are ' + ', '.join(options)}")

    def value(self, type_: Any, raw: object, path: KeyPath) -> object:
        """The value as the type wants it, or BAD."""
        return _way(type_)(self, raw, path)

    # ---- one method for each kind of type, see _way ----

    def text(self, reads: Reads, raw: object, path: KeyPath) -> object:
        if not isinstance(raw, str):
            return self.note(path, f"expected {reads.what}, got {_word(raw)}")
        try:
            return reads.read(raw)
        except ValueError as error:
            return self.note(path, str(error))

    def secret(self, raw: object, path: KeyPath) -> object:
        try:
            secret = Secret(raw, self._folder, self._env) if isinstance(raw, str) else None
        except SecretError:
            secret = None
        if secret is None:
            return self.note(path, HOW)
        self.secrets.append((path, secret))
        return secret

    def secrets_(self, raw: object, path: KeyPath) -> object:
        """One reference or a list of them, for rotation: always a tuple."""
        if not isinstance(raw, list):
            one = self.secret(raw, path)
            return one if one is BAD else (one,)
        read = self.many(Secret, cast("list[object]", raw), path)
        return read if read else self.note(path, "the list is empty: give at least one secret")

    def url(self, raw: object, path: KeyPath) -> object:
        if not isinstance(raw, str):
            return self.note(path, f"expected a url, got {_word(raw)}")
        try:
            url = SecretUrl(raw, self._folder, self._env)
        except SecretError as error:
            return self.note(path, str(error))
        self.secrets.extend((path, secret) for secret in url.secrets.values())
        return url

    def many(self, element: Any, raw: object, path: KeyPath) -> object:
        if not isinstance(raw, list):
            return self.note(path, f"expected a list in [brackets], got {_word(raw)}")
        read = [self.value(element, value, (*path, i)) for i, value in enumerate(cast("list[object]", raw))]
        return BAD if BAD in read else tuple(read)

    def several(self, element: Any, raw: object, path: KeyPath) -> object:
        read = self.many(element, raw, path)
        return list(cast("tuple[object, ...]", read)) if isinstance(read, tuple) else read

    def fixed(self, elements: tuple[Any, ...], raw: object, path: KeyPath) -> object:
        values = cast("list[object]", raw) if isinstance(raw, list) else []
        if len(values) != len(elements):
            got = f"{len(values)}" if isinstance(raw, list) else _word(raw)
            return self.note(path, f"expected a list of {len(elements)} values, got {got}")
        pairs = zip(elements, values, strict=True)
        read = [self.value(element, value, (*path, i)) for i, (element, value) in enumerate(pairs)]
        return BAD if BAD in read else tuple(read)

    def mapping(self, key_type: Any, value_type: Any, raw: object, path: KeyPath) -> object:
        """What is wrong in one entry is noted and left out; the others are kept."""
        if not isinstance(raw, dict):
            return self.note(path, f"expected a table, got {_word(raw)}")
        read: dict[object, object] = {}
        for key, value in cast("dict[str, object]", raw).items():
            name, entry = self.value(key_type, key, (*path, key)), self.value(value_type, value, (*path, key))
            if name is not BAD and entry is not BAD:
                read[name] = entry
        return read

    def choice(self, options: tuple[str, ...], raw: object, path: KeyPath) -> object:
        if raw in options:
            return raw
        listed = ", ".join(f'"{option}"' for option in options)
        return self.note(path, f"expected one of {listed}{suggestion(raw, options) if isinstance(raw, str) else ''}")

    def plain(self, type_: Any, raw: object, path: KeyPath) -> object:
        try:
            return msgspec.convert(raw, type_, strict=path not in self._lax)
        except msgspec.ValidationError as error:
            message, _, inner = str(error).partition(" - at `$")
            text = re.sub(r"`([^`]+)`", lambda match: _in_words(match[1]), message)
            shown = f", got {raw}" if isinstance(raw, int | float) and "got" not in text else ""
            return self.note((*path, *_steps(inner)), text[:1].lower() + text[1:] + shown)


def _steps(written: str) -> KeyPath:
    """`a.b[0]` as a path."""
    return tuple(int(index) if index else key for index, key in re.findall(r"\[(\d+)\]|([A-Za-z0-9_-]+)", written))


def suggestion(word: str, options: Iterable[str]) -> str:
    """` (did you mean "x"?)`, or nothing where nothing is near."""
    import difflib  # that few need

    near = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f' (did you mean "{near[0]}"?)' if near else ""


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
_KINDS: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "str", list: "array", dict: "object"}


def _in_words(type_: str) -> str:
    """A type as msgspec writes it."""
    return " or ".join(_WORDS.get(part, part) for part in type_.split(" | "))


def _word(raw: object) -> str:
    """What a wrong value is, for a message; numbers as they are, texts never."""
    if isinstance(raw, int | float):
        return str(raw).lower()
    return _WORDS[_KINDS[type(raw)]] if type(raw) in _KINDS else f"a {type(raw).__name__}"


_Way = Callable[[Reader, object, KeyPath], object]


@lru_cache(maxsize=512)
def _way(type_: Any) -> _Way:
    """How a type is read. What is none of ours is left to msgspec."""
    origin, args = get_origin(type_), get_args(type_)
    way: _Way = lambda reader, raw, path: reader.plain(type_, raw, path)  # noqa: E731
    if type_ is Secret:
        way = Reader.secret
    elif type_ is SecretUrl:
        way = Reader.url
    elif isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        way = _struct_way(type_)
    elif origin is Annotated:
        reads = next((note for note in args[1:] if isinstance(note, Reads)), None)
        if reads is not None:
            way = lambda reader, raw, path: reader.text(reads, raw, path)  # noqa: E731
    elif origin is Literal and all(isinstance(option, str) for option in args):
        way = lambda reader, raw, path: reader.choice(args, raw, path)  # noqa: E731
    elif origin in (Union, types.UnionType):
        way = _union_way(args, way)
    elif origin in (tuple, list) and Secret in args:
        way = Reader.secrets_
    elif origin is tuple and args[-1] is not Ellipsis:
        way = lambda reader, raw, path: reader.fixed(args, raw, path)  # noqa: E731
    elif origin is list:
        way = lambda reader, raw, path: reader.several(args[0], raw, path)  # noqa: E731
    elif origin is tuple:
        way = lambda reader, raw, path: reader.many(args[0], raw, path)  # noqa: E731
    elif origin is dict:
        way = lambda reader, raw, path: reader.mapping(args[0], args[1], raw, path)  # noqa: E731
    return way


def _struct_way(struct: type[msgspec.Struct]) -> _Way:
    def way(reader: Reader, raw: object, path: KeyPath) -> object:
        read = reader.struct(struct, raw, path)
        return BAD if read is None else read

    return way


def _union_way(args: tuple[Any, ...], otherwise: _Way) -> _Way:
    """`X | None` is read as X, for TOML has no null; `Secret | list[Secret]` as one or many; all else by msgspec."""
    kinds = [arg for arg in args if arg is not type(None)]
    if Secret in kinds and len(kinds) > 1:
        return Reader.secrets_
    return _way(kinds[0]) if len(kinds) == 1 else otherwise
