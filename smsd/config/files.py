"""Reads smsd.toml, the files that it includes and the overrides from the environment into one table of plain values.

Never judges a value: it only knows where each one stands. Values are tomllib's; lines, which tomllib does not tell, are
from a scanner of our own that runs only once there is a mistake to place, on text that tomllib has found to be TOML.
"""

import glob
import os
import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import msgspec

KeyPath = tuple[str | int, ...]
Table = dict[str, Any]

OVERRIDABLE = ("store", "http", "webhooks", "otel")  # what belongs to one host; all else is one for all hosts
ENVIRONMENT = "environment"
DEEPEST = 100  # tables and lists in each other


class Mistake(msgspec.Struct, frozen=True, order=True):
    """What is wrong, where, and what would be right."""

    file: str  # as the caller would open it; "environment" for an override
    line: int  # from 1; 0 where there is none
    key: str  # dotted; the variable's name for an override; "" for a file as a whole
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class File:
    """One file as it was read. `table` is empty where it could not be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = ""
        self.table: Table = {}
        self.mistake: Mistake | None = None
        try:
            self.text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
            table = tomllib.loads(self.text)
            if _deeper(table, DEEPEST):
                raise RecursionError
            self.table = table
        except FileNotFoundError:
            none = "there is no such file: --config FILE, or $SMSD_CONFIG, says which is meant"
            self._broken(0, "is a link that leads to no file" if path.is_symlink() else none)
        except OSError as error:
            self._broken(0, f"cannot be read: {error.strerror or error}")
        except UnicodeDecodeError as error:
            self._broken(error.object.count(b"\n", 0, error.start) + 1, "not UTF-8 text")
        except tomllib.TOMLDecodeError as error:
            message, at = str(error), re.search(r" \(at line (\d+), column \d+\)$", str(error))
            line = int(at[1]) if at else self.text.rstrip().count("\n") + 1
            self._broken(line, f"not TOML: {message[: at.start()] if at else message}")
        except ValueError:  # of Python itself, and alike in what TOML takes
            self._broken(0, "holds a number of thousands of digits")
        except RecursionError:
            self._broken(0, "nested too deeply")

    def _broken(self, line: int, message: str) -> None:
        self.mistake = Mistake(str(self.path), line, "", message)

    @cached_property
    def lines(self) -> dict[KeyPath, int]:
        """The line, from 1, on which each key, table and element of a list first appears."""
        return {} if self.mistake else dict(_Scanner(self.text).run())


def _deeper(table: Table, most: int) -> bool:
    """Whether there is anything in more than `most` tables and lists: what reads it goes down one by one."""
    level: list[Table | list[Any]] = [table]
    for _ in range(most):
        inside = [value for one in level for value in (one.values() if isinstance(one, dict) else one)]
        level = [cast("Table | list[Any]", value) for value in inside if isinstance(value, dict | list)]
    return bool(level)


class Document:
    """All files as one table, and where each of its keys stands."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        """Reads everything that can be read; what cannot is in `mistakes`."""
        root = File(path)
        self.table: Table = {key: value for key, value in root.table.items() if key != "include"}
        self.folder = path.parent
        self.files = [root]
        self.mistakes = [root.mistake] if root.mistake else []
        self.overridden: dict[KeyPath, str] = {}  # and by which variable
        for included in self._included(root):
            self._include(included)
        self.whole = not any(file.mistake for file in self.files)  # else judging would only find what is not there
        self._override(env)

    def where(self, path: KeyPath) -> tuple[str, int, str]:
        """File, line and written form of a key; of the nearest table around one that is nowhere."""
        if path in self.overridden:
            return ENVIRONMENT, 0, self.overridden[path]
        best, found = self.files[0], 0
        for file in self.files:
            depth = next((n for n in range(len(path), 0, -1) if path[:n] in file.lines), 0)
            if depth > found:
                best, found = file, depth
        return str(best.path), best.lines.get(path[:found], 0), dotted(path)

    def mistake(self, path: KeyPath, message: str) -> Mistake:
        return Mistake(*self.where(path), message)

    def _included(self, root: File) -> Iterator[File]:
        patterns = root.table.get("include", [])
        if not isinstance(patterns, list) or not all(isinstance(p, str) for p in cast("list[Any]", patterns)):
            self.mistakes.append(self.mistake(("include",), 'expected a list of paths: ["config/conf.d/*.toml"]'))
            return
        seen = {os.path.realpath(root.path)}  # Path.resolve fails at a link that leads to itself
        for i, pattern in enumerate(cast("list[str]", patterns)):
            found = sorted(glob.glob(pattern, root_dir=self.folder, recursive=True))
            if not found and not glob.has_magic(pattern):
                self.mistakes.append(self.mistake(("include", i), f'there is no file "{pattern}" beside this one'))
            for name in found:
                path = self.folder / name
                if path.is_dir():
                    if not glob.has_magic(pattern):
                        said = f'"{pattern}" is a folder: "{pattern.rstrip("/")}/*.toml" are the files in it'
                        self.mistakes.append(self.mistake(("include", i), said))
                elif (real := os.path.realpath(path)) not in seen:
                    seen.add(real)
                    yield File(path)

    def _include(self, file: File) -> None:
        if file.mistake:
            self.mistakes.append(file.mistake)
        if file.table.pop("include", None) is not None:
            line = file.lines[("include",)]
            self.mistakes.append(Mistake(str(file.path), line, "include", "only the first file may include others"))
        folder = Path(os.path.relpath(file.path.parent, self.folder)).as_posix()
        self._merge(self.table, _anchored(file.table, folder), (), file)
        self.files.append(file)

    def _merge(self, into: Table, new: Table, path: KeyPath, file: File) -> None:
        for key, value in new.items():
            here = (*path, key)
            if key not in into:
                into[key] = value
            elif isinstance(into[key], dict) and isinstance(value, dict):
                self._merge(cast("Table", into[key]), cast("Table", value), here, file)
            else:
                other, line, _ = self.where(here)
                message = f"is given in {other}:{line} too: keep one of them"
                self.mistakes.append(Mistake(str(file.path), file.lines[here], dotted(here), message))

    def _override(self, env: Mapping[str, str]) -> None:
        for name in sorted(env):
            section, separator, key = name.removeprefix("SMSD_").partition("__")
            if name.startswith("SMSD_") and separator and section.lower() in OVERRIDABLE:
                path = (section.lower(), key.lower())
                table: Any = self.table.setdefault(path[0], {})
                if isinstance(table, dict):
                    table[path[1]] = env[name]
                    self.overridden[path] = name

    def misplaced(self, env: Mapping[str, str], referenced: set[str]) -> Iterator[Mistake]:
        """Variables that look like overrides of what none may override, unless a secret refers to them."""
        for name in sorted(env.keys() - referenced - set(self.overridden.values())):
            if name.startswith("SMSD_") and "__" in name:
                message = (
                    "only single keys of [store], [http], [webhooks] and [otel] can be overridden by the environment: "
                    f"all else is one for all hosts and belongs into {self.files[0].path}"
                )
                yield Mistake(ENVIRONMENT, 0, name, message)


def dotted(path: KeyPath) -> str:
    """A key as TOML writes it, elements of lists by their place from 0."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            written += ("." if written else "") + (part if bare else msgspec.json.encode(part).decode())
    return written


def _anchored(table: Table, folder: str) -> Table:
    """An included file's table, with paths relative to its own folder made relative to the first file's."""
    if folder == ".":
        return table

    def anchor(value: Any) -> Any:
        match value:
            case str():
                value = re.sub(r"^file:(?!/)", f"file:{folder}/", value)
                return re.sub(r"\{file:(?!/)", f"{{file:{folder}/", value)
            case list():
                return [anchor(element) for element in cast("list[Any]", value)]
            case dict():
                return {key: anchor(element) for key, element in cast("Table", value).items()}
            case _:
                return value

    store = table.get("store")
    if isinstance(store, dict) and isinstance(path := cast("Table", store).get("data_dir"), str):
        store["data_dir"] = (Path(folder) / path).as_posix()
    return anchor(table)


# ---- Lines -----------------------------------------------------------------------------------------------------------

_GAP = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
# Up to two quotes may stand before the three that close a multi-line text (TOML 1.0, "String").
_SCALAR = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'" r"|[^,\]}#\n]+",
    re.DOTALL,
)


class _Scanner:
    """Walks over text that is TOML and yields (key path, line) for everything in it, where it first appears."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.newlines = [match.start() for match in re.finditer("\n", text)]
        self.elements: dict[KeyPath, int] = {}  # how many elements each array of tables has so far
        self.seen: set[KeyPath] = set()

    def run(self) -> Iterator[tuple[KeyPath, int]]:
        table: KeyPath = ()
        while self._skip(_GAP) < len(self.text):
            if self.text[self.at] == "[":
                line, array = self._line(), self.text.startswith("[[", self.at)
                self.at += 2 if array else 1
                table = self._resolved(self._keys(), array=array)
                self.at += 2 if array else 1
                yield from self._mark(table, line, 0)
            else:
                yield from self._pair(table)

    def _pair(self, table: KeyPath) -> Iterator[tuple[KeyPath, int]]:
        line = self._line()
        path = (*table, *self._keys())
        self.at += 1  # the equals sign
        self._skip(_BLANK)
        yield from self._mark(path, line, len(table))
        yield from self._value(path)

    def _value(self, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
        opening = self.text[self.at]
        if opening not in "[{":
            self._take(_SCALAR)
            return
        self.at += 1
        count = 0
        while self.text[self._skip(_GAP)] not in "]}":
            if self.text[self.at] == ",":
                self.at += 1
            elif opening == "{":
                yield from self._pair(path)
            else:
                yield from self._mark((*path, count), self._line(), len(path))
                yield from self._value((*path, count))
                count += 1
        self.at += 1

    def _keys(self) -> KeyPath:
        keys: list[str] = []
        while True:
            self._skip(_BLANK)
            key = self._take(_KEY)
            keys.append(tomllib.loads(f"k = {key}")["k"] if key[0] in "\"'" else key)
            self._skip(_BLANK)
            if self.text[self.at] != ".":
                return tuple(keys)
            self.at += 1

    def _resolved(self, keys: KeyPath, *, array: bool) -> KeyPath:
        """The path of a header: a name that is an array of tables means its last element."""
        path: KeyPath = ()
        for i, key in enumerate(keys):
            path = (*path, key)
            if array and i == len(keys) - 1:
                self.elements[path] = self.elements.get(path, 0) + 1
            if path in self.elements:
                path = (*path, self.elements[path] - 1)
        return path

    def _mark(self, path: KeyPath, line: int, known: int) -> Iterator[tuple[KeyPath, int]]:
        for end in range(known + 1, len(path) + 1):
            if path[:end] not in self.seen:
                self.seen.add(path[:end])
                yield path[:end], line

    def _skip(self, pattern: re.Pattern[str]) -> int:
        self._take(pattern)
        return self.at

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        taken = match[0] if match else ""
        self.at += len(taken)
        return taken

    def _line(self) -> int:
        return bisect_left(self.newlines, self.at) + 1
