"""Every command by its name, and the one place where what was typed becomes an exit code."""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from smsd.cli import ask, operate, tools
from smsd.cli.say import EXIT_CODES, Code, Trouble, complain


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("smsd-dispatch")
    except PackageNotFoundError:  # from a source folder that nobody installed
        return "unknown"


def made() -> App:
    """The commands, each with its help."""
    app = App(
        name="smsd",
        help="Brings text messages from Redis streams to SMS providers.",
        help_epilogue=EXIT_CODES,
        help_format="plaintext",
        version=_version,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    for command in (operate.run, operate.check, operate.reload, ask.status, ask.trace, ask.send, ask.health):
        app.command(command)
    for command in (tools.demo, tools.segments, tools.vet):
        app.command(command)
    app.command(tools.carrier, help_flags=[], version_flags=[])
    return app


def call(argv: Sequence[str] | None = None) -> int:
    """Runs what was typed; whatever goes wrong becomes one line and an exit code."""
    typed = list(sys.argv[1:] if argv is None else argv)
    try:
        result = made()(typed)
    except CycloptsError as error:
        name = f"smsd {typed[0]}" if typed and not typed[0].startswith("-") else "smsd"
        complain(f"{' '.join(str(error).split())} Try: {name} --help")
        return Code.MISTAKE
    except Trouble as trouble:
        complain(str(trouble))
        return trouble.code
    except KeyboardInterrupt:
        return Code.STOPPED
    except BrokenPipeError:  # as `smsd status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Code.OK
    return int(result) if isinstance(result, int) else Code.OK
