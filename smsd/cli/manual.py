"""What commands say of themselves, all together: the overview on a terminal, and the page docs/COMMANDS.md.

Made of the table alone. The help of one command is laid out by argparse (parsing.py).
"""

from smsd.cli.command import Command, Takes
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


# ---- The page of commands --------------------------------------------------------------------------------------------

_INTRO = """# Commands

Made from `smsd/cli/commands.py` by `make docs`. `smsd COMMAND --help` says the same on a terminal.

Every command that reads the config takes `--config FILE`, else it is `$SMSD_CONFIG`, else `smsd.toml` in the \
current folder. Every command that answers takes `--json` and then prints one line of JSON to standard output; \
mistakes are one line on standard error. Options may stand anywhere; what follows `--` is never an option. \
Commands that change much say first how many messages or entries it concerns and ask; `--yes` does not, and \
without a terminal they want it.
"""

_CODES = """## Exit codes

| code | meaning |
|---|---|
| 0 | done, and all is as wished |
| 1 | done, but not as wished: not delivered, not ready, not conforming, not known, or the answer was no |
| 2 | a mistake in the command line or the config: nothing was done |
| 3 | the store cannot be reached |
| 70 | a fault of smsd itself |
| 130 | stopped by Ctrl-C |

A config with a mistake is used by no command, whatever it holds otherwise. In a hurry a file with nothing but \
`[store]` in it will do: `smsd pause all --config store.toml`.

## Completion

`eval "$(smsd completion bash)"` in `~/.bashrc`; for zsh, `smsd completion zsh > _smsd` in a folder of `$fpath`; \
for fish, `smsd completion fish > ~/.config/fish/completions/smsd.fish`.
"""


def page() -> str:
    """docs/COMMANDS.md: every command, what it takes, how it ends, and an example."""
    parts = [f"{_filled(_INTRO)}\n", f"{_filled(_CODES)}\n"]
    for title, commands in GROUPS.items():
        parts += [f"## {title}\n", *map(_section, commands)]
    return "\n".join(parts)


def _section(command: Command) -> str:
    lines = [f"### smsd {command.name}", "", _filled(f"{command.summary}. {command.more}".strip()), ""]
    rows = [(_shown(takes), f"{takes.help}{choices(takes)}{default(takes)}") for takes in command.takes if _own(takes)]
    if rows:
        lines += [
            "| it takes | |",
            "|---|---|",
            *(f"| `{name}` | {said.replace('|', '&#124;')} |" for name, said in rows),
        ]
        lines.append("")
    if command.codes:
        lines += [_filled(ends(command)), ""]
    return "\n".join([*lines, f"    {command.example}", ""])


def _own(takes: Takes) -> bool:
    return takes.flag not in ("--config", "--json")


def _shown(takes: Takes) -> str:
    if takes.flag:
        return f"{takes.flag} {takes.shown}".strip()
    return {"": takes.shown, "?": f"[{takes.shown}]", "*": f"[{takes.shown} ...]"}[takes.times]


def choices(takes: Takes) -> str:
    """What may be given, behind what it means."""
    return f": {', '.join(takes.choices)}" if takes.choices else ""


def default(takes: Takes) -> str:
    """What is taken where nothing is given, behind what it means."""
    if not takes.flag or takes.default in ("", None, False, []):
        return ""
    return f" (default: {takes.default:g})" if isinstance(takes.default, float) else f" (default: {takes.default})"


def _filled(text: str) -> str:
    """As wide as docs are, tables as they are."""
    import textwrap

    return "\n\n".join(
        part
        if part.startswith(("|", "#"))
        else textwrap.fill(part, 118, break_on_hyphens=False, break_long_words=False)
        for part in text.split("\n\n")
    )
