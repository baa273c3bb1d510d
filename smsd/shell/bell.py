"""Hears the store's bell: a route has something ready, a config was published, somebody paused something.

Never polls and never decides what a ring is worth. After each (re)connect it tells everything at once, since rings are
not kept for who was away.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from smsd.shell.live import Live
from smsd.store import keys

CONFIG, PAUSE = "config", "pause"  # payloads that are no route
ALL = ""
"""The route that `on_ring` hears of when any may have something ready."""

SILENCE_S = 5.0  # after so long without a ring the line is tried, and after as long again given up
BACKOFF_S = (0.05, 2.0)

Ring = Callable[[str, str], None]
"""A route, and the process that is to look first ("": all of them)."""
Told = Callable[[], None]


class Bell:
    """One subscription to the bells of all shards. The callbacks return at once."""

    def __init__(
        self, live: Live, blocking: Redis, *, on_ring: Ring, on_config: Told, on_pause: Told, log: FilteringBoundLogger
    ) -> None:
        """`on_pause`: a mark was set or lifted; lifting one makes lanes ready in the sweeps that follow."""
        self._blocking, self._log = blocking, log
        self._channels = [keys.key(shard.number, "bell") for shard in live.shards]
        self._on_ring = on_ring
        self._special = {CONFIG: on_config, PAUSE: on_pause}
        self._stopped = asyncio.Event()
        self._failures = 0

    async def run(self) -> None:
        """Until `stop`; a store that is away is waited for."""
        listening = asyncio.create_task(self._listen())
        await self._stopped.wait()
        while not listening.done():  # redis-py may swallow a cancellation while the pool is being closed
            listening.cancel()  # a subscription has no call that could be lost
            await asyncio.wait([listening], timeout=0.1)

    def stop(self) -> None:
        self._stopped.set()

    async def _listen(self) -> None:
        while True:
            line = self._blocking.pubsub()  # pyright: ignore[reportUnknownMemberType]
            try:
                await line.subscribe(*self._channels)  # pyright: ignore[reportUnknownMemberType]
                await self._hear(line)
            except (RedisError, OSError) as error:
                if self._failures == 0:
                    self._log.warning("store_away", what="bell", error=f"{type(error).__name__}: {error}")
            finally:
                await line.aclose()
            await asyncio.sleep(_backoff_s(self._failures))
            self._failures += 1

    async def _hear(self, line: Any) -> None:
        """Hands on what rings. Raises TimeoutError when the line is dead without having said so."""
        asked, waited_for = False, len(self._channels)
        while True:
            message = cast("dict[str, Any] | None", await line.get_message(timeout=SILENCE_S))
            if message is None:
                if asked:
                    raise TimeoutError("the line is dead")
                await line.ping()
                asked = True
                continue
            asked = False
            match message["type"]:
                case "message":
                    self._tell(cast("bytes", message["data"]).decode("utf-8", "replace"))
                case "subscribe":
                    waited_for -= 1
                    if waited_for == 0:  # whatever rings from now on is heard
                        self._well()
                        self._everything()
                case _:
                    pass

    def _tell(self, payload: str) -> None:
        special = self._special.get(payload)
        if special is None:
            route, _, who = payload.partition("\t")
            self._on_ring(route, who)
        else:
            special()

    def _everything(self) -> None:
        for told in self._special.values():
            told()
        self._on_ring(ALL, "")

    def _well(self) -> None:
        if self._failures:
            self._log.info("store_back", what="bell")
            self._failures = 0


def _backoff_s(failures: int) -> float:
    return random.uniform(0.5, 1.0) * min(BACKOFF_S[1], BACKOFF_S[0] * 2 ** min(failures, 10))
