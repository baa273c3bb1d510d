"""What commands say of themselves, all together: the overview on a terminal.

Pure: of the table alone. The help of one command is laid out by argparse (parsing.py).
"""

from smsd.cli.command import Command
from smsd.cli.commands import GROUPS, members
from smsd.cli.say import EXIT_CODES


def overview(group: str = "") -> str:
    """What there is: all commands, or those of one group."""
    shown = {title: [c for c in commands if c.name in members(group)] for title, commands in GROUPS.items()}
    width = max(len(name) for name in members(group)) + 2
    lines = [f"Usage: smsd {group} COMMAND ...".replace("  ", " "), ""]
    if not group:
        lines += ["Brings text messages from Redis streams to SMS providers.", ""]
    for title, commands in shown.items():
        if commands:
            lines += [f"{title}:", *(f"  {c.name:{width}}{c.summary}" for c in commands), ""]
    more = [f"smsd {group} COMMAND --help says what a command takes.".replace("  ", " ")]
    more += [] if group else ["smsd --version tells the version."]
    return "\n".join([*lines, *more, folded(EXIT_CODES)])


def ends(command: Command) -> str:
    """What its exit codes mean, where they say more than everywhere."""
    return f"Exits with {'; '.join(command.codes)}." if command.codes else ""


def folded(*texts: str) -> str:
    """Paragraphs, as wide as the terminal."""
    return "\n\n".join(_wrapped(text) for whole in texts if whole for text in whole.split("\n\n"))


def _wrapped(text: str) -> str:
    import shutil
    import textwrap

    width = max(40, min(100, shutil.get_terminal_size().columns - 2))
    return textwrap.fill(text, width, break_on_hyphens=False, break_long_words=False)
