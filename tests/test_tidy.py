"""Proves the house rules over the whole tree, from the syntax and the text; each rule is shown to bite as well.

Never runs or imports what it judges. The rules themselves are in tests/support/tidy.py.
"""

import ast
import subprocess
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import pytest

from tests.support import tidy

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = {".venv", ".git", "var", "build", "dist", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis"}
WIDE_TOO = {".lua", ".toml", ".md", ".in", ".yml", ".yaml", ".sh", ".service"}
PROSE = {".md"}

# Modules without a test file of their own, and why.
UNTESTED = {
    "smsd/message.py": "values without behaviour; every other test makes them",
    "smsd/store/values.py": "values without behaviour; every test of the store makes them",
    "smsd/provider.py": "the contract: values and a protocol, held against each provider by the conformance kit",
}

# Folders whose modules are twins: one suite runs all of them.
TWINS = {"smsd/testing/dialects": "tests/testing/test_dialects.py"}


def _files() -> list[Path]:
    """What is or could be committed; without git, every file that no tool left behind."""
    try:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        found = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        found = [path for path in ROOT.rglob("*") if not SKIPPED & set(path.relative_to(ROOT).parts)]
    return sorted(path for path in found if path.is_file())


def _text(path: Path) -> str:
    """The file's text; of a binary file, nothing."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


class Tree:
    """What is judged, read and parsed when it is first asked for: other processes of a test run never ask."""

    @cached_property
    def files(self) -> list[Path]:
        return _files()

    @cached_property
    def python(self) -> dict[Path, ast.Module]:
        return {path: ast.parse(_text(path)) for path in self.files if path.suffix == ".py"}

    @cached_property
    def tests(self) -> dict[Path, ast.Module]:
        return self._below("tests")

    @cached_property
    def sources(self) -> dict[Path, ast.Module]:
        return self._below("smsd", "providers")

    def _below(self, *folders: str) -> dict[Path, ast.Module]:
        return {path: tree for path, tree in self.python.items() if path.relative_to(ROOT).parts[0] in folders}


TREE = Tree()


def _module(path: Path) -> str:
    """The dotted name under which a source file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "providers" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _told(path: Path, complaints: Iterable[str]) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{complaint}" for complaint in complaints]


def _clean(found: Iterable[list[str]]) -> None:
    problems = [line for lines in found for line in lines]
    assert not problems, "\n" + "\n".join(problems)


def test_imports_run_one_way() -> None:
    """Providers know only the contract, the core knows no store, the store no shell, and nothing knows the commands."""
    _clean(
        _told(path, tidy.wrong_way(_module(path), tree, package=path.name == "__init__.py"))
        for path, tree in TREE.sources.items()
    )


def test_core_and_providers_are_pure() -> None:
    """What decides or translates does no IO, reads no clock and throws no dice."""
    _clean(_told(path, tidy.impure(_module(path), tree)) for path, tree in TREE.sources.items())


def test_every_file_says_what_it_is_for() -> None:
    """Each Python file opens with a docstring."""
    _clean(_told(path, tidy.undocumented(tree)) for path, tree in TREE.python.items())


def test_functions_and_files_are_short() -> None:
    """A function has at most 70 lines and a file, unless it holds tests, at most 400."""
    _clean(
        _told(path, tidy.too_long(tree, _text(path), any_length=path in TREE.tests))
        for path, tree in TREE.python.items()
    )


def test_lines_fit() -> None:
    """No line of code, configuration or prose is wider than 120 columns."""
    named = {"Makefile", "Dockerfile"}
    judged = [path for path in TREE.files if path.suffix in WIDE_TOO or path.name in named or path in TREE.python]
    _clean(_told(path, tidy.too_wide(_text(path), prose=path.suffix in PROSE)) for path in judged)


def test_tests_say_what_they_expect() -> None:
    """The docstring of each test is one sentence."""
    _clean(_told(path, tidy.unspoken(tree)) for path, tree in TREE.tests.items())


def test_tests_do_not_sleep() -> None:
    """Tests wait for signals, so that they are neither slow nor a matter of luck."""
    _clean(_told(path, tidy.sleepy(tree)) for path, tree in TREE.tests.items())


def test_nothing_unwanted_is_committed() -> None:
    """No file holds a mark of unfinished work, the host of a package registry or a path of a developer's machine."""
    _clean(_told(path, tidy.unwanted(_text(path))) for path in TREE.files)


def test_lua_scripts_open_with_their_contract() -> None:
    """Each script tells in its first comment what it does, its KEYS, its ARGV and what it returns."""
    scripts = [path for path in TREE.files if path.suffix == ".lua"]
    _clean(_told(path, tidy.no_contract(_text(path), shared=path.parent.name == "lib")) for path in scripts)


def _test_files(path: Path) -> list[Path]:
    """Where a module's tests may be: smsd/a/b.py in tests/a/test_b.py, a provider in tests/providers/.

    A part of a module that was too long for one file, b_part.py beside b.py, may be tested with the whole: test_b.py.
    """
    parts = path.relative_to(ROOT).parts
    if suite := TWINS.get("/".join(parts[:-1])):
        return [ROOT / suite]
    folders = ("providers", *parts[2:-1]) if parts[0] == "providers" else parts[1:-1]
    words = path.stem.lstrip("_").split("_")
    stems = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    wholes = [stem for stem in stems[1:] if path.with_name(f"{stem}.py") in TREE.sources]
    return [ROOT.joinpath("tests", *folders, f"test_{stem}.py") for stem in (stems[0], *wholes)]


def test_each_module_has_its_test_file() -> None:
    """A module's tests are found where its name says, and an exemption names a file that exists."""
    names = {str(path.relative_to(ROOT)): path for path in TREE.sources if not path.stem.startswith("__")}
    missing = [
        f"{name}: its tests belong into {_test_files(path)[0].relative_to(ROOT)}"
        for name, path in names.items()
        if name not in UNTESTED and not any(test in TREE.tests for test in _test_files(path))
    ]
    gone = [f"{name}: exempted in UNTESTED, but there is no such file" for name in UNTESTED if name not in names]
    _clean([missing, gone])


# ---- The rules bite -------------------------------------------------------------------------------------------------


def _parsed(rule: Callable[..., Iterable[str]], module: str = "") -> Callable[[str], list[str]]:
    """The rule as a function of a sample's source."""
    names = (module,) if module else ()
    return lambda source: list(rule(*names, ast.parse(source)))


CORE = "smsd.core.sample"
LONG_FUNCTION = "def f():\n" + "    pass\n" * 70


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        (_parsed(tidy.wrong_way, CORE), "import smsd.store.keys", "import smsd.message"),
        (_parsed(tidy.wrong_way, CORE), "from smsd import shell", "from smsd import message"),
        (_parsed(tidy.wrong_way, CORE), "from ..store import keys", "from . import state"),
        (_parsed(tidy.wrong_way, CORE), "def f():\n    import smsd.config", "import smsd.core.limit"),
        (_parsed(tidy.wrong_way, "smsd.config"), "import smsd.core.fair", "import smsd.core.limit"),
        (_parsed(tidy.wrong_way, "smsd.cli"), "import smsd_providers.twilio", "import smsd.shell.daemon"),
        (_parsed(tidy.wrong_way, "smsd_providers.x"), "import smsd.core.state", "from smsd.provider import Answer"),
        (_parsed(tidy.wrong_way, "smsd"), "import smsd.message", "import json"),
        (lambda source: list(tidy.wrong_way(source, ast.parse(""))), "smsd.nobody", "smsd.text"),
        (_parsed(tidy.impure, CORE), "import time", "import math"),
        (_parsed(tidy.impure, CORE), "from redis.asyncio import Redis", "from redistribution import Redis"),
        (_parsed(tidy.impure, CORE), "datetime.now(UTC)", "datetime.fromtimestamp(now_s, UTC)"),
        (_parsed(tidy.impure, CORE), "print(1)", "f.print(1)"),
        (
            _parsed(tidy.impure, "smsd_providers.x"),
            "from twilio.rest import Client",
            "from twilio.request_validator import X",
        ),
        (_parsed(tidy.undocumented), "x = 1", '"""What it is for."""'),
        (
            lambda source: list(tidy.too_long(ast.parse(source), source, any_length=False)),
            LONG_FUNCTION,
            LONG_FUNCTION[:-9],
        ),
        (
            lambda source: list(tidy.too_long(ast.parse(source), source, any_length=False)),
            "x = 1\n" * 401,
            "x = 1\n" * 400,
        ),
        (lambda source: list(tidy.too_wide(source, prose=True)), "x" * 121, "| " + "x" * 121),
        (lambda source: list(tidy.too_wide(source, prose=False)), "| " + "x" * 121, "x" * 120),
        (_parsed(tidy.unspoken), "def test_x(): pass", 'def test_x():\n    "It is."'),
        (_parsed(tidy.unspoken), 'def test_x():\n    "It is"', 'def x():\n    "It is"'),
        (_parsed(tidy.unspoken), 'async def test_x():\n    "It is. So."', 'async def test_x():\n    "It is, so."'),
        (_parsed(tidy.sleepy), "asyncio.sleep(0.1)", "asyncio.sleep(0)"),
        (_parsed(tidy.sleepy), "sleep(delay)", "asyncio.wait_for(ready.wait(), 5)"),
        (lambda source: list(tidy.unwanted(source)), "# TO" + "DO: later", "# later"),
        (lambda source: list(tidy.unwanted(source)), "see https://pypi" + ".org", "see https://example.com"),
        (lambda source: list(tidy.unwanted(source)), "cd /wo" + "rk/main", "cd work/main"),
        (
            lambda source: list(tidy.no_contract(source)),
            "-- KEYS[1]",
            "#!lua\n-- X.\n-- KEYS 1\n-- ARGV 1\n-- Output 0",
        ),
        (lambda source: list(tidy.no_contract(source)), "\n-- KEYS ARGV Output", "-- KEYS ARGV Output"),
        (lambda source: list(tidy.no_contract(source, shared=True)), "return 1", "-- Reads a lane."),
    ],
)
def test_rule_bites(rule: Callable[[str], list[str]], bad: str, good: str) -> None:
    """Each rule complains of its bad sample, once, and of nothing in its good one."""
    assert len(rule(bad)) == 1
    assert rule(good) == []
