"""Puts the scripts together from lua/: includes, key names, record indexes; and calls them.

Never retries a call whose reply was lost: it may have run. A script that the server has forgotten is sent whole.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from smsd.store import keys
from smsd.store.record import INDEX

_MAY_GROW = frozenset({"admit", "lease"})
"""Refused by the server when memory is short; all others only end or tidy up, and may always run."""


@cache
def source(verb: str) -> str:
    """The whole text of one script, as the server gets it."""
    folder = resources.files("smsd.store") / "lua"
    text = (folder / f"{verb}.lua").read_text()
    wanted = re.search(r"^--#include (.+)$", text, re.MULTILINE)
    included = [(folder / "lib" / f"{name}.lua").read_text() for name in (wanted[1].split() if wanted else [])]
    flags = "" if verb in _MAY_GROW else " flags=allow-oom"
    base, *others = included or [""]
    # A function of its own: Lua allows each 200 locals, and making a closure looks through those of its own function.
    whole = "\n".join([f"#!lua{flags}", base, "return (function()", *others, text, "end)()"])
    places = {kind: str(i) for i, kind in enumerate(keys.KINDS, 1)}
    whole = re.sub(r"\bK\.(\w+)", lambda m: f"KEYS[{places[m[1]]}]", whole)
    return re.sub(r"\[([A-Z_]+)\]", lambda m: f"[{INDEX[m[1]]}]" if m[1] in INDEX else m[0], whole)


@cache
def digest(verb: str) -> str:
    """The name under which the server knows the script."""
    return hashlib.sha1(source(verb).encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """The scripts of one client. `run` sends EVALSHA, and EVAL when the server does not know the script."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def run(self, verb: str, names: Sequence[str], args: Sequence[bytes | str | int]) -> object:
        """Raises what redis-py raises; ResponseError starting with CLOCK when the clocks disagree."""
        words = (len(names), *names, *args)
        try:
            return await self._call("EVALSHA", digest(verb), *words)
        except NoScriptError:
            return await self._call("EVAL", source(verb), *words)

    async def _call(self, *words: bytes | str | int) -> object:
        return cast("object", await self._client.execute_command(*words))  # pyright: ignore[reportUnknownMemberType]
