"""Completion of commands and options for shells, made of the table of commands by shtab. Asks no store."""

from smsd.cli.say import Code, say


def completion(*, shell: str) -> Code:
    """Print what makes a shell complete commands and options."""
    import shtab

    from smsd.cli.parsing import whole_parser

    say(shtab.complete(whole_parser(shtab.FILE), shell).rstrip())
    return Code.OK
