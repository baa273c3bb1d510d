"""Processes that push status webhooks, over one store and in one event loop, and the events that they push.

Never waits for time to pass, and never has a daemon around it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from smsd.control.revision import publish
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.status_post import Poster
from smsd.shell.status_webhooks import StatusWebhooks
from smsd.store import keys
from smsd.store.connect import connect
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.logs import Logs
from tests.support.receiver import PATIENCE_S, SECRET

ENV = {"HOOK_SECRET": SECRET}


def endpoint(name: str, url: str, *more: str) -> str:
    """A table of the config."""
    lines = [f"[status_webhooks.{name}]", f'url = "{url}"', 'secret = "env:HOOK_SECRET"', *more]
    return "\n".join([*lines, ""])


class Pusher:
    """One process, and what a test asks of its store."""

    def __init__(self, url: str, folder: Path, extra: str, guard: Poster | None = None, shards: int = 1) -> None:
        self.store = connect(url)
        self.client: Any = self.store.client
        self.config = config(folder, env=ENV, store=url, extra=extra)
        self.live = Live(self.config, [Shard(self.store.client, number) for number in range(shards)])
        self.shard = self.live.shards[0]
        self.logs, self.metrics = Logs(), Metrics()
        # What tenants chose is on loopback here: the guard has tests of its own.
        self.status = StatusWebhooks(
            self.live, self.store.blocking, self.metrics, self.logs.logger, guard=guard or Poster()
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.live.swap(self.config, await publish(self.config, self.live.shards))
        await self.status.__aenter__()
        self._task = asyncio.create_task(self.status.run())

    async def stop(self) -> None:
        """As a worker that drains."""
        await self.status.stop()
        if self._task is not None:
            async with asyncio.timeout(20):
                await self._task

    async def die(self) -> None:
        """As one that is killed: nothing more is written."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for task in [task for desk in self.status.desks for task in desk.tasks()]:
            task.cancel()

    async def swap(self, folder: Path, extra: str) -> None:
        """Another config is in force."""
        new = config(folder, env=ENV, store=self.config.store.url.text, extra=extra)
        self.live.swap(new, await publish(new, self.live.shards))

    async def close(self) -> None:
        await self.status.__aexit__()
        await self.store.aclose()

    async def tell(self, id_: str, tenant: str = "acme", state: str = "delivered", shard: int = 0, **more: str) -> str:
        """An event, as the scripts write it. Returns its entry's id."""
        seconds, micros = await self.client.time()
        fields = {
            "v": "1", "event_id": f"{tenant}/{id_}/2", "id": id_, "tenant": tenant, "class": "reminder", "seq": "2",
            "state": state, "final": "1", "at": str(seconds * 1000 + micros // 1000), **more,
        }  # fmt: skip
        return (await self.client.xadd(keys.key(shard, "events"), fields)).decode()

    async def until(self, true: Callable[[], Awaitable[object]]) -> None:
        """Returns once that is so in the store, which tells nobody."""
        async with asyncio.timeout(PATIENCE_S):
            while not await true():  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def reads(self, shard: int = 0) -> bool:
        """Whether there is a group that reads the events."""
        name = keys.key(shard, "events")
        return bool(await self.client.exists(name)) and bool(await self.client.xinfo_groups(name))

    async def empty(self) -> bool:
        """Whether nothing is kept for anybody."""
        return not await self.count("push")

    async def count(self, kind: str) -> int:
        """How much is kept of a kind."""
        name = keys.key(0, kind)
        return await (self.client.zcard(name) if kind == "push" else self.client.hlen(name))


@asynccontextmanager
async def pushing(
    url: str, folder: Path, extra: str, *, guard: Poster | None = None, shards: int = 1
) -> AsyncGenerator[Pusher]:
    """One that runs."""
    one = Pusher(url, folder, extra, guard, shards)
    try:
        await one.start()
        yield one
    finally:
        await one.die()
        await one.close()
