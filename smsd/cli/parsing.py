"""Reads the words and options of one command by argparse, as the command's row in the table says.

Never imports a command's function, never ends the process.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from smsd.cli.command import Command, Takes
from smsd.cli.commands import COMMANDS
from smsd.cli.manual import choices, default, ends, folded

EVERYWHERE = ("config", "json")
HELP = ("-h", "--help")
PLAIN: dict[str, Any] = {
    "add_help": False,
    "allow_abbrev": False,
    "formatter_class": argparse.RawDescriptionHelpFormatter,
}


class Mistyped(Exception):
    """What was typed is no command. The text says what would be right."""


class Helped(Exception):
    """Help was asked for; the text is it."""


class Parser(argparse.ArgumentParser):
    """argparse's, which tells a mistake in one line and does not end the process."""

    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        raise Mistyped(_hinted(message.removeprefix("argument "), flags))


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        raise Helped(parser.format_help().rstrip())


def given(command: Command, typed: Sequence[str]) -> dict[str, Any]:
    """The arguments of a command's function. Raises Mistyped, Helped."""
    if command.own_parser:
        return {"flags": list(typed)}
    parser = filled(Parser(prog=f"smsd {command.name}", **PLAIN), command)
    # Options may stand between words; argparse forgets what -- means where they do.
    return vars((parser.parse_args if "--" in typed else parser.parse_intermixed_args)(typed))


def filled(parser: argparse.ArgumentParser, command: Command, file: object = None) -> argparse.ArgumentParser:
    """A parser that knows what a command takes. `file`: how shtab completes the name of a file."""
    parser.description = folded(f"{command.summary}.", command.more)
    parser.epilog = "\n\n".join(filter(None, (folded(ends(command)), f"Example:\n  {command.example}")))
    groups = {title: parser.add_argument_group(title) for title in ("It takes", "Options", "Everywhere")}
    for takes in command.takes:
        title = "Everywhere" if takes.name in EVERYWHERE else "Options" if takes.flag else "It takes"
        action = _add(groups[title], takes)
        if takes.file:
            action.complete = file
    groups["Everywhere"].add_argument(*HELP, action=_Help, nargs=0, default=argparse.SUPPRESS, help="show this")
    return parser


def _add(group: Any, takes: Takes) -> Any:
    fixed: Any = takes.default
    said = f"{takes.help}{choices(takes)}{default(takes)}"
    if takes.name == "config":
        fixed = Path(os.environ.get("SMSD_CONFIG") or "smsd.toml")
        said += " (default: $SMSD_CONFIG, else smsd.toml)"
    options: dict[str, Any] = {"help": said.replace("%", "%%")}
    if takes.switch:
        return group.add_argument(takes.flag, dest=takes.name, action="store_true", **options)
    options["type"] = _reading(takes)
    if takes.choices:
        options["choices"] = takes.choices
    if takes.times:
        options |= {"action": "append"} if takes.flag else {"nargs": takes.times}
    options |= {"metavar": takes.shown, "default": _Default(fixed) if isinstance(fixed, str) else fixed}
    names = {"dest": takes.name} if takes.flag else {}
    return group.add_argument(takes.flag or takes.name, **names, **options)


class _Default(str):
    """What was not typed: argparse reads a text all the same."""

    __slots__ = ()


def _reading(takes: Takes) -> Callable[[str], object]:
    """A reader whose ValueError is told in its own words."""

    def type_(text: str) -> object:
        if isinstance(text, _Default):
            return str(text)
        if not text and not takes.blank:
            raise argparse.ArgumentTypeError("is empty (a variable of the shell that is not set?)")
        try:
            if not takes.file:
                text.encode()  # what was no UTF-8 has come as halves of surrogate pairs
            return takes.read(text) if takes.read else text
        except UnicodeEncodeError:
            raise argparse.ArgumentTypeError("is no UTF-8 text") from None
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return type_


def whole_parser(file: object) -> argparse.ArgumentParser:
    """One parser of all commands, with everything that each takes. `file` as `filled` has it."""
    root = Parser(prog="smsd", **PLAIN)
    root.add_argument(*HELP, action=_Help, nargs=0, default=argparse.SUPPRESS, help="show what there is")
    root.add_argument("--version", action="store_true", help="tell the version")
    groups: dict[str, Any] = {"": root.add_subparsers()}
    for command in COMMANDS.values():
        group, _, last = command.name.rpartition(" ")
        if group not in groups:
            parent = groups[""].add_parser(group, help=f"see smsd {group} --help", **PLAIN)
            groups[group] = parent.add_subparsers()
        if command.own_parser:
            module, _, function = command.own_parser.partition(":")
            groups[group].add_parser(
                last, help=command.summary, parents=[getattr(import_module(module), function)()], **PLAIN
            )
        else:
            filled(groups[group].add_parser(last, help=command.summary, **PLAIN), command, file)
    return root


def _hinted(message: str, flags: list[str]) -> str:
    """argparse's sentence, with what was probably meant."""
    head, colon, rest = message.partition("unrecognized arguments: ")
    if colon and not head:
        first = rest.split()[0]
        if not first.startswith("-"):
            return f'"{rest}" is one word too many; a text of several words goes in quotes.'
        if first not in flags and not meant(first, flags):
            return f'there is no option "{first}"; a text that begins with - goes after --.'
        return f'there is no option "{first}"{meant(first, flags)}.'
    return message.replace("the following arguments are required: ", "missing: ") + "."


def meant(typed: str, known: Iterable[str]) -> str:
    """What was probably meant, to be put behind what was typed."""
    import difflib

    close = difflib.get_close_matches(typed, list(known), 1)
    return f' (did you mean "{close[0]}"?)' if close else ""
