"""The passes that every process makes again and again over each shard: ends what is over, follows the config, and
says in the store what this process has in force.

Never decides what is over: the sweep script does. A pass is bounded; while it says `again`, the next one follows at
once. A failed pass is logged and tried again; nothing here ends the process.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from smsd.config import SANDBOX, ConfigErrors
from smsd.shell.live import Live, catch_up
from smsd.shell.presence import Presence
from smsd.store.holds import pauses
from smsd.store.shard import ClockDiffers, Shard, Swept

PERIOD_S = 0.5
JITTER = 0.2  # of a period, so that processes drift apart
CATCH_UP_S = 0.8  # with its jitter still within the second that the contract gives
MEND_S = 10.0  # until a config that could not be used here is tried again: a missing secret may have come


class Sweeper:
    """The passes of one process. `dead_providers` tells whom this process does not send by now."""

    def __init__(
        self,
        live: Live,
        log: FilteringBoundLogger,
        *,
        dead_providers: Callable[[], Collection[str]] = tuple,
        swept: Callable[[Shard, Swept], None] | None = None,
        swapped: Callable[[], Awaitable[None]] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._live, self._log = live, log
        self._dead_providers, self._swept, self._swapped = dead_providers, swept, swapped
        self._rng = rng or random.Random()
        self.presence = Presence(live, dead_providers=dead_providers)
        self._config_rung, self._hurried = asyncio.Event(), asyncio.Event()

    def config_rung(self) -> None:
        """The bell: a config was published."""
        self._config_rung.set()

    def hurry(self) -> None:
        """The next passes are made at once: a pause was lifted, and they make what it held ready."""
        self._hurried.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for shard in self._live.shards:
                group.create_task(self._repeat(PERIOD_S, partial(self.sweep, shard)))
            group.create_task(self._follow())

    async def sweep(self, shard: Shard) -> Swept:
        """Passes over one shard until one had nothing left to do; their sum."""
        total = [0] * len(Swept.__struct_fields__)
        again = True
        while again:
            config = self._live.config
            settle_us = {name: round(p.settle_s * 1e6) for name, p in config.providers.items()}
            again, swept = await shard.sweep(
                settle_us,
                dead_routes=await self._unserved(shard),
                events_max=config.retention.events_max,
                events_us=config.retention.events_us,
                dead_max=config.retention.dead_max,
            )
            counts = [getattr(swept, field) for field in Swept.__struct_fields__]
            total = [a + b for a, b in zip(total, counts, strict=True)]
            if swept.miscounted:
                self._log.warning("in_flight_mended", shard=shard.number, counts=swept.miscounted)
            if self._swept is not None:
                self._swept(shard, swept)
        return Swept(*total)

    async def _unserved(self, shard: Shard) -> list[str]:
        """Routes of which every provider is dead or paused: what expires there was waiting for a provider."""
        config, now_us = self._live.config, shard.now_us or time.time_ns() // 1000
        marks = await pauses(shard, [f"p:{name}" for name in config.providers])
        away = {mark.what[2:] for mark in marks if not 0 < mark.until_us <= now_us} | {*self._dead_providers()}
        routes = [name for name, route in config.routes.items() if all(use.use in away for use in route.providers)]
        return routes if config.sandbox.enabled else [*routes, SANDBOX]

    async def follow(self) -> bool:
        """One look at the store's revision; False: it cannot be used on this host, and the old one stays in force."""
        live = self._live
        try:
            await catch_up(live)
        except ConfigErrors as error:
            self._log.error("config_not_followed", kept=live.revision, mistakes="; ".join(map(str, error.mistakes)))
            return False
        told, live.followed = live.followed, []  # also what others have looked for meanwhile
        if told:
            for shard in live.shards:
                await shard.rewake()  # who published it may have ended before it woke those that wait at limits
            if self._swapped is not None:
                await self._swapped()
            await self.presence.tell()  # whoever reads of it in the log finds it in the list of processes
        for before, how in told:
            self._log.info("config_swapped", revision=live.revision, was=before, how=how)
        return True

    async def _follow(self) -> None:
        while True:
            usable = True
            self._config_rung.clear()
            try:
                usable = await self.follow()
                await self.presence.tell()
            except (RedisError, OSError) as error:
                self._log.warning("store_away", what="config", error=str(error))
            await self._rest(self._config_rung, CATCH_UP_S if usable else MEND_S)

    async def _repeat(self, period_s: float, act: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await act()
            except ClockDiffers as error:
                self._log.error("clock_differs", error=str(error))
            except (RedisError, OSError) as error:
                self._log.warning("store_away", what="sweep", error=str(error))
            await self._rest(self._hurried, period_s)
            self._hurried.clear()

    async def _rest(self, until: asyncio.Event, period_s: float) -> None:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # redis-py may have swallowed it, and a group cancels only once
            raise asyncio.CancelledError
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(period_s * (1 + JITTER * (self._rng.random() * 2 - 1))):
                await until.wait()
