"""What a command is: its name, what it takes, what it says of itself, and where the function is that does it.

Pure and light: the whole table of commands is made of this at each start. Never imports a command's function.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from smsd.core.names import TENANT_TOLD, is_tenant

Read = Callable[[str], object]


class Takes(NamedTuple):
    """One thing that a command takes: a word by its place, an option with a value, or a switch."""

    name: str  # the parameter of the command's function
    help: str
    flag: str = ""  # "--id"; empty: a word by its place
    shown: str = ""  # what stands for the value in the help: "TENANT"
    read: Read | None = None  # makes the value of what was typed; None: the text itself, or a switch
    default: object = None
    times: str = ""  # "" one, "?" at most one word, "*" any number
    choices: tuple[str, ...] = ()
    switch: bool = False
    file: bool = False  # names a file, for completion
    blank: bool = False  # may be the empty text; else that is a mistake: a shell's unset variable would mean all


class Command(NamedTuple):
    """One command."""

    name: str  # "trace", or with the group that it belongs to, "dead list"
    call: str  # module:function, which gets what was typed by the names of `takes` and returns its exit code
    summary: str  # one line, without a full stop
    takes: tuple[Takes, ...] = ()
    more: str = ""  # what else there is to know; paragraphs are separated by an empty line
    codes: tuple[str, ...] = ()  # what its exit codes mean, where they say more than everywhere
    example: str = ""
    own_parser: str = ""  # module:function that returns its argparse parser, where the function gets all that was typed


def word(
    shown: str,
    said: str,
    *,
    name: str = "",
    read: Read | None = None,
    times: str = "",
    choices: tuple[str, ...] = (),
    blank: bool = False,
) -> Takes:
    """A word by its place. Where it may be absent, it is then None."""
    default: object = [] if times == "*" else None if times == "?" else ""
    return Takes(
        name or shown.lower(), said, shown=shown, read=read, times=times, choices=choices, default=default, blank=blank
    )


def option(
    flag: str,
    shown: str,
    said: str,
    *,
    name: str = "",
    read: Read | None = None,
    default: object = "",
    choices: tuple[str, ...] = (),
    file: bool = False,
    again: bool = False,
    blank: bool = False,
) -> Takes:
    """An option with a value. `again`: it may be given more than once, and is then a list."""
    made = Takes(name or _parameter(flag), said, flag, shown, read, default, choices=choices, file=file, blank=blank)
    return made._replace(times="*", default=[]) if again else made


def switch(flag: str, said: str) -> Takes:
    """An option without a value: False unless it is given."""
    return Takes(_parameter(flag), said, flag, default=False, switch=True)


def _parameter(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")


def whole(text: str) -> int:
    """A whole number. Raises ValueError with what would be right."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'"{text}" is no whole number, as 10') from None


def count(text: str) -> int:
    """A whole number of at least 0. Raises ValueError with what would be right."""
    if (n := whole(text)) < 0:
        raise ValueError(f'"{text}" is less than 0')
    return n


def number(text: str) -> float:
    """A number. Raises ValueError with what would be right."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f'"{text}" is no number, as 2.5')
    return value


def tenant(text: str) -> str:
    """The name of a tenant. Raises ValueError with what would be right."""
    if not is_tenant(text):
        raise ValueError(f'"{text}" can be no tenant: a tenant id is {TENANT_TOLD}')
    return text


ROWS = Takes(
    "file", "CSV with a header (commas or semicolons), or JSON lines; - is standard input", shown="FILE", default="",
    file=True,
)  # fmt: skip
CONFIG = Takes("config", "the config file", "--config", "FILE", read=Path, file=True)
JSON = switch("--json", "answer as one line of JSON")
YES = switch("--yes", "do not ask")
