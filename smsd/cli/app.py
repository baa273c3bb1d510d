"""From what was typed to a command's function and its exit code: the one place where both meet.

Reads only the options of the command that was typed, and imports only its function: any command starts at once.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from smsd.cli.commands import COMMANDS, members
from smsd.cli.manual import overview
from smsd.cli.parsing import Helped, Mistyped, given, meant
from smsd.cli.say import Code, Trouble, Unheard, complain, say


def call(argv: Sequence[str] | None = None) -> int:
    """Runs what was typed; whatever goes wrong becomes one line and an exit code."""
    _open_standard()
    typed = list(sys.argv[1:] if argv is None else argv)
    name, rest = _named(typed)
    try:
        return _call(name, rest)
    except Trouble as trouble:
        complain(str(trouble))
        return trouble.code
    except KeyboardInterrupt:
        return Code.STOPPED
    except (Unheard, BrokenPipeError) as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the end of Python would write the rest
        if isinstance(error, Unheard) and not error.gone:
            complain(f"the answer cannot be written ({error}): mend where standard output goes to")
            return Code.NOT
        return Code.OK
    except Exception:  # noqa: BLE001 - a fault of ours must not look like an answer: 1 means "not as wished"
        import traceback

        traceback.print_exc()
        complain("this is a fault of smsd itself: report it with the lines above")
        return Code.BROKEN


def _open_standard() -> None:
    """Makes all three streams usable: whoever called may have closed one, or let it take no more than ASCII."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - to the end of the process
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="backslashreplace")


def _named(typed: Sequence[str]) -> tuple[str, list[str]]:
    """The longest name of a command, or of a group of commands, that was typed; and what follows it."""
    for words in (2, 1):
        name = " ".join(typed[:words])
        if len(typed) >= words and (name in COMMANDS or members(name)):
            return name, list(typed[words:])
    return "", list(typed)


def _call(name: str, rest: list[str]) -> int:
    command, typed = COMMANDS.get(name), f"smsd {name}".rstrip()
    try:
        if command is not None:
            module, _, function = command.call.partition(":")
            return int(getattr(import_module(module), function)(**given(command, rest)))
        if not rest or rest[0] in ("-h", "--help"):
            say(overview(name))
            return Code.OK if rest else Code.MISTAKE
        if rest[0] == "--version":
            say(_version())
            return Code.OK
        known = [member.removeprefix(f"{name} ").split()[0] for member in members(name)]
        raise Mistyped(f'{typed} has no command "{rest[0]}"{meant(rest[0], known)}.')
    except Helped as helped:
        say(str(helped))
        return Code.OK
    except Mistyped as mistyped:
        complain(f"{mistyped} Try: {typed} --help")
        return Code.MISTAKE


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("smsd-dispatch")
    except PackageNotFoundError:  # from a source folder that nobody installed
        return "unknown"
