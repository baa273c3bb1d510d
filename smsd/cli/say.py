"""How every command speaks: an answer as text or JSON, a mistake as one line, and the exit codes.

Never shows a traceback for what a person can mend.
"""

import sys
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, TypeVar

T = TypeVar("T")


class Code(IntEnum):
    """What a command's exit code means."""

    OK = 0  # done, and all is as wished
    NOT = 1  # done, but not as wished: not delivered, not ready, not conforming, a message not known
    MISTAKE = 2  # in the command line or the config; nothing was done
    STORE = 3  # the store cannot be reached
    BROKEN = 70  # a fault of smsd itself
    STOPPED = 130  # by Ctrl-C


EXIT_CODES = (
    "Exit codes: 0 as wished; 1 done, but not as wished; 2 a mistake in the command line or the config; "
    "3 the store cannot be reached."
)


class Trouble(Exception):
    """Why a command ends otherwise than wished: what went wrong, and what would mend it."""

    def __init__(self, said: str, code: Code = Code.NOT) -> None:
        super().__init__(said)
        self.code = code


class Unheard(Exception):
    """What was to be said cannot be written. `gone`: who read it has gone, as with `smsd status | head`."""

    def __init__(self, why: str, *, gone: bool) -> None:
        super().__init__(why)
        self.gone = gone


# What a terminal would obey: parts of an answer were written by others. A tab does no harm.
_OBEYED = {n: f"\\x{n:02x}" for n in (*range(9), *range(10, 32), *range(127, 160))}


def one_line(text: str) -> str:
    """With what a terminal would obey, and new lines, written out."""
    return text.translate(_OBEYED)


def say(text: str) -> None:
    """A line of the answer, or several. Raises Unheard."""
    write("\n".join(map(one_line, text.split("\n"))) + "\n")


def write(text: str) -> None:
    """As it is, to standard output. Raises Unheard: an OSError would be taken for the store's."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise Unheard(error.strerror or str(error), gone=isinstance(error, BrokenPipeError)) from None


def answer(value: object, text: str, *, json: bool) -> None:
    """The answer, in the form that was asked for."""
    if json:
        import msgspec

        text = msgspec.json.encode(value).decode()
    say(text)


def agreed(question: str, *, yes: bool) -> None:
    """Asks on the terminal whether to go on; `yes`: it was said before. Raises Trouble when it is not to go on."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Trouble(f"{question} Nobody can be asked without a terminal: --yes says that it is meant", Code.MISTAKE)
    sys.stderr.write(f"{question} Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Trouble("nothing was done")


def moment(at_ms: int) -> str:
    """An instant, for people."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def complain(text: str) -> None:
    """To standard error."""
    sys.stderr.write(f"smsd: {one_line(text)}\n")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine to its end."""
    import asyncio

    return asyncio.run(work)
