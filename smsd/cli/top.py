"""`smsd top`: the overview, again and again on a terminal, once, or as lines of JSON.

Never changes anything in the store; keys are read from the terminal in its cbreak mode, which is given back at the end.
"""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import msgspec

from smsd.cli.say import Code, Trouble, run, say

SLOW_S = 10.0
KEYS_S = 0.1


def top(*, interval: float, once: bool, config: Path, json: bool) -> Code:
    """Show what moves: rates, backlog, providers, tenants, what binds."""
    if not 0.2 <= interval <= 3600:
        raise Trouble("--interval must be from 0.2 to 3600 seconds", Code.MISTAKE)
    if json or once or not sys.stdout.isatty():
        return run(_plain(config, interval, once=once, json=json))
    return run(_live(config, interval))


async def _plain(config: Path, interval: float, *, once: bool, json: bool) -> Code:
    """For scripts and for terminals that can only be written on."""
    from smsd.cli.top_view import text

    async with contextlib.aclosing(_looks(config)) as looks:
        async for now, trouble in looks:
            if now is None:
                if once:
                    raise Trouble(trouble, Code.STORE)
                say(msgspec.json.encode({"trouble": trouble}).decode() if json else trouble)
            else:
                width = shutil.get_terminal_size().columns
                say(msgspec.json.encode(now).decode() if json else text(now, width))
            if once:
                break
            await asyncio.sleep(interval)
    return Code.OK


async def _live(config: Path, interval: float) -> Code:
    """On a terminal: one screen, drawn anew; q ends it, p holds it still, s sorts what binds and tenants by name."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from smsd.cli.top_view import Choices, screen

    console, choices = Console(), Choices()
    shown: Any = Text("looking …")
    with _keys() as heard, Live(shown, console=console, screen=True, auto_refresh=False) as view:
        async with contextlib.aclosing(_looks(config)) as looks:
            last: Any = None
            async for now, trouble in looks:
                left_s, last = interval, now or last
                while left_s > 0 or choices.still:
                    for key in heard():
                        if key in ("q", "\x1b", "\x03"):
                            return Code.OK
                        choices.press(key)
                    shown = screen(last, choices, console.height, trouble) if last is not None else Text(trouble)
                    view.update(shown, refresh=True)
                    await asyncio.sleep(KEYS_S)
                    left_s -= KEYS_S
    return Code.OK


async def _looks(config: Path) -> AsyncGenerator[tuple[Any, str]]:
    """Overviews without end; None and why where there is none, and the store is tried again."""
    from smsd.cli.reach import reach
    from smsd.control.overview import overview

    while True:
        try:
            async with reach(config) as store:
                while True:
                    async with asyncio.timeout(SLOW_S):
                        now = await overview(store.config, store.shards)
                    yield now, ""
        except Trouble as trouble:
            if trouble.code is not Code.STORE:
                raise
            yield None, str(trouble)
        except TimeoutError:
            yield None, f"the store does not answer within {SLOW_S:g} s"


@contextlib.contextmanager
def _keys() -> Generator[Any]:
    """Keys as they are pressed, without Enter; none where standard input is no terminal."""
    if not sys.stdin.isatty():
        yield list
        return
    import select
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def heard() -> list[str]:
        ready, _, _ = select.select([number], [], [], 0)
        return list(os.read(number, 64).decode("utf-8", "replace")) if ready else []

    tty.setcbreak(number)
    try:
        yield heard
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
