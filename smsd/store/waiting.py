"""A blocking read that can be ended early, and then loses nothing that the store hands out at that very moment.

Never gives up a read: what it was handed would stay pending until another process claims it, seconds later. The store
ends it, with an answer that holds all of it or nothing.
"""

import asyncio
import contextlib
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

AGAIN_S = 0.01  # the read may not have reached the store when it is told to end it


class Waiting:
    """One reader's calls that block, each on a connection of `blocking`; `client` ends them."""

    def __init__(self, client: Redis, blocking: Redis) -> None:
        self._client, self._blocking = client, blocking
        self._reading = self._stopped = False
        self._connection = 0  # as the store counts them; 0: not told (yet)
        self._ending: asyncio.Task[None] | None = None

    async def read(self, *words: str | int) -> object:
        """The store's answer, as it was sent; None at once after `stop`. Raises redis-py's errors."""
        pool = self._blocking.connection_pool
        connection = cast("Any", await pool.get_connection())
        try:
            if self._stopped:
                return None
            self._reading = True
            packed = [*connection.pack_command("CLIENT", "ID"), *connection.pack_command(*words)]
            await connection.send_packed_command(packed)
            with contextlib.suppress(ResponseError):  # not allowed to us: then a read ends by itself
                self._connection = int(await connection.read_response())
            return await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)  # what comes on it now would answer another call
            raise
        finally:
            self._reading, self._connection = False, 0
            await pool.release(connection)

    def stop(self) -> None:
        """The read that waits ends with what it has been given; none waits from now on."""
        self._stopped = True
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        while self._reading:
            if self._connection:
                with contextlib.suppress(RedisError, OSError):
                    await cast("Any", self._client).client_unblock(self._connection)
            await asyncio.sleep(AGAIN_S)
