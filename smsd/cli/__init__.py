"""The command `smsd`: reads what was typed, calls who can do it, says what came of it.

Never decides about a message. Heavy libraries are imported inside the commands that need them: any command must start
at once. app: what there is. say: how commands speak. operate, ask, tools: the commands. reach: the way to the store.
"""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit code (smsd.cli.say.Code)."""
    from smsd.cli.app import call

    return call(argv)
