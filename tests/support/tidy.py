"""The house rules that a machine can prove, each a function from one file's text to its complaints.

Pure: reads no file, imports nothing of smsd. `tests/test_tidy.py` applies them to the tree, and each to a bad sample.
A complaint is a sentence that begins with the line where it is due.
"""

import ast
import re
from collections.abc import Iterator

FUNCTION_LINES = 70
FILE_LINES = 400
COLUMNS = 120

# ---- Imports run one way --------------------------------------------------------------------------------------------

# A module belongs to the first part whose name it starts with, and may import its own part and the ones listed.
# `smsd.message` and `smsd.provider` are the contract between the parts, so everything may import them.
CONTRACT = ("smsd.message", "smsd.provider")
LEAVES = ("smsd.text", "smsd.number", "smsd.secret")
CONFIG_READS = (
    "smsd.core.limit",
    "smsd.core.names",
    "smsd.core.networks",
    "smsd.core.admit",
    "smsd.core.senders",
)  # grammars; what admission asks
STORE = (*LEAVES, "smsd.config", "smsd.core", "smsd.store")
CONTROL = (*STORE, "smsd.control")
SHELL = (*CONTROL, "smsd.shell")
TOP = ("smsd.cli", "smsd.demo", "smsd.client", "smsd.__main__")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "smsd.message": (),
    "smsd.provider": ("smsd.message",),
    "smsd.text": CONTRACT,
    "smsd.number": CONTRACT,
    "smsd.secret": CONTRACT,
    "smsd.config": (*CONTRACT, *LEAVES, *CONFIG_READS),
    "smsd.core": (*CONTRACT, "smsd.text", "smsd.number"),
    "smsd.store": (*CONTRACT, *STORE),
    "smsd.control": (*CONTRACT, *CONTROL),
    "smsd.testing": (*CONTRACT, *STORE),
    "smsd.shell": (*CONTRACT, *SHELL),
    "smsd.client": (),  # a platform takes it alone
    "smsd.demo": (*CONTRACT, *SHELL, "smsd.testing", *TOP),
    "smsd.cli": (*CONTRACT, *SHELL, "smsd.testing", *TOP),
    "smsd.__main__": TOP,
    "smsd_providers": (*CONTRACT, "smsd.secret"),  # and never another provider by way of smsd: entry points name them
}
OURS = ("smsd", "smsd_providers")

# ---- Purity ---------------------------------------------------------------------------------------------------------

PURE = ("smsd.core", "smsd.message", "smsd.provider", "smsd.text", "smsd.number", "smsd_providers")
IMPURE_MODULES = frozenset(
    {"asyncio", "concurrent", "multiprocessing", "select", "signal", "subprocess", "threading"}
    | {"aiohttp", "http", "httpx", "redis", "requests", "socket", "ssl", "urllib3", "valkey"}
    | {"io", "logging", "os", "pathlib", "shutil", "structlog", "sys", "tempfile"}
    | {"random", "secrets", "time", "uuid"}
)
IMPURE_PATHS = ("urllib.request", "twilio.rest", "twilio.http")
IMPURE_METHODS = frozenset({"now", "utcnow", "today"})  # of datetime and date
IMPURE_CALLS = frozenset({"open", "print", "input"})

# Built from halves, so that this file does not hold them.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
FORBIDDEN = (
    "pypi" + ".org",
    "files.python" + "hosted.org",
    "registry." + "npmjs",
    "deb." + "debian.org",
    "/wo" + "rk/",
    "/ro" + "ot/",
    "/tm" + "p/",
    "." + "library/",
)
LUA_HEADER_WORDS = ("KEYS", "ARGV", "Output")


def imports(module: str, tree: ast.Module, *, package: bool = False) -> Iterator[tuple[int, str]]:
    """Every import as (line, absolute dotted name); `from a import b` counts as `a.b`, for b may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if package else module.split(".")[:-1]
                kept = parents[: len(parents) - node.level + 1]
                base = ".".join((*kept, base)).rstrip(".")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def within(name: str, part: str) -> bool:
    """Whether a dotted name is the part or lies in it."""
    return name == part or name.startswith(part + ".")


def wrong_way(module: str, tree: ast.Module, *, package: bool = False) -> Iterator[str]:
    """Imports against the direction of the parts, and modules that no part claims."""
    if module in OURS:
        part, allowed = module, ()
    else:
        part = next((part for part in MAY_IMPORT if within(module, part)), "")
        if not part:
            yield f"1: {module} belongs to no part; say in MAY_IMPORT of tests/support/tidy.py what it may import"
            return
        allowed = MAY_IMPORT[part]
    for line, name in imports(module, tree, package=package):
        if not any(within(name, ours) for ours in OURS):
            continue
        if part != "smsd" and within(name, part):
            continue
        if not any(within(name, other) for other in allowed):
            yield f"{line}: {part} must not import {name}"


def impure(module: str, tree: ast.Module) -> Iterator[str]:
    """IO, clocks and chance where a module must be a pure function of its arguments."""
    if not any(within(module, part) for part in PURE):
        return
    for line, name in imports(module, tree):
        if name.split(".")[0] in IMPURE_MODULES or any(within(name, path) for path in IMPURE_PATHS):
            yield f"{line}: a pure module must not import {name}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(attr=attr) if attr in IMPURE_METHODS:
                yield f"{node.lineno}: a pure module takes the instant as an argument, it does not call {attr}()"
            case ast.Name(id=name) if name in IMPURE_CALLS:
                yield f"{node.lineno}: a pure module must not call {name}()"
            case _:
                pass


# ---- Form -----------------------------------------------------------------------------------------------------------

Function = ast.FunctionDef | ast.AsyncFunctionDef


def undocumented(tree: ast.Module) -> Iterator[str]:
    """A file opens with what it is for and what it never does. An empty file has nothing to say."""
    if tree.body and not (ast.get_docstring(tree) or "").strip():
        yield "1: the file opens with no docstring"


def too_long(tree: ast.Module, text: str, *, any_length: bool) -> Iterator[str]:
    """Functions that do not fit on a page, files that are more than one thing."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES:
                yield f"{node.lineno}: {node.name} has {size} lines, at most {FUNCTION_LINES} are allowed"
    size = text.count("\n")
    if size > FILE_LINES and not any_length:
        yield f"1: the file has {size} lines, at most {FILE_LINES} are allowed"


def too_wide(text: str, *, prose: bool) -> Iterator[str]:
    """Lines over 120 columns; in prose a table's row or a link cannot be broken."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > COLUMNS and not (prose and (line.startswith("|") or "://" in line)):
            yield f"{number}: the line has {len(line)} columns, at most {COLUMNS} are allowed"


def unspoken(tree: ast.Module) -> Iterator[str]:
    """Tests whose docstring is not one sentence that says what is expected."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.name.startswith("test_"):
            told = (ast.get_docstring(node) or "").strip()
            if not told:
                yield f"{node.lineno}: {node.name} does not say what it expects"
            elif not told.endswith(".") or "\n\n" in told or re.search(r"[.!?]\s+[A-Z]", told):
                yield f"{node.lineno}: the docstring of {node.name} is not one sentence with a full stop"


def sleepy(tree: ast.Module) -> Iterator[str]:
    """Tests that wait for time to pass instead of a signal; `asyncio.sleep(0)` only lets others run."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        zero = [ast.unparse(argument) for argument in node.args] == ["0"]
        if name == "sleep" and not zero:
            yield f"{node.lineno}: a test waits for a signal, it does not sleep"


def unwanted(text: str) -> Iterator[str]:
    """What no commit may hold: unfinished work, a package registry's host, a path of somebody's machine."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := UNFINISHED.search(line):
            yield f"{number}: {found[0]} marks unfinished work: finish it, or file an issue"
        yield from (f"{number}: no file may name {needle}" for needle in FORBIDDEN if needle in line)


def no_contract(text: str, *, shared: bool = False) -> Iterator[str]:
    """A Lua script opens with its contract: what it does, KEYS, ARGV, Output. `#!lua` may stand before it.

    A shared part has no KEYS of its own, so what it does is enough.
    """
    lines = text.splitlines()
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    header: list[str] = []
    for line in lines:
        if not line.startswith("--"):
            break
        header.append(line)
    missing = [word for word in LUA_HEADER_WORDS if not any(word in line for line in header)]
    if not header:
        yield "1: the script does not open with a comment that says what it does"
    elif missing and not shared:
        yield f"1: the script's first comment does not tell {', '.join(missing)}"
