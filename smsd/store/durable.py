"""Scripts whose effects are on disk before their replies are believed: `durability = "strict"`.

Never two connections for one call: WAITAOF speaks of the connection that wrote.
"""

from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, TimeoutError  # noqa: A004 - redis-py's is not the built-in one

from smsd.store.scripts import Scripts, digest, source

WAIT_MS = 2000


class DurableScripts(Scripts):
    """As Scripts; returns once the server's own append-only file holds what was written."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client)
        self._pool = client.connection_pool

    async def run(self, verb: str, names: Sequence[str], args: Sequence[bytes | str | int]) -> object:
        """Raises redis TimeoutError when the file is not written in time: the call has run, and may be repeated."""
        words = (len(names), *names, *args)
        connection: Any = await self._pool.get_connection()

        async def call(*command: bytes | str | int) -> object:
            await connection.send_command(*command)
            return await connection.read_response()

        try:
            try:
                reply = await call("EVALSHA", digest(verb), *words)
            except NoScriptError:
                reply = await call("EVAL", source(verb), *words)
            local, _ = cast("list[int]", await call("WAITAOF", 1, 0, WAIT_MS))
        finally:
            await self._pool.release(connection)
        if local < 1:
            raise TimeoutError(f"the store's append-only file was not written within {WAIT_MS} ms")
        return reply
