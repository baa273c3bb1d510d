"""The API of one process over a real store and real HTTP, without a daemon around it.

Never sends a message: nothing leases what is admitted here.
"""

import io
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from smsd.shell.api import Api
from smsd.shell.listeners import Listeners
from smsd.shell.live import Live, agree
from smsd.shell.metrics import Metrics
from smsd.shell.server import Answer, Reply, Request, Response
from smsd.store.connect import Store, connect
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.logs import Logs
from tests.support.scrape import counted

KEYS = """
[http.api_keys.rails]
key = "env:RAILS_KEY"
tenants = ["*"]
[http.api_keys.salon]
key = "env:SALON_KEY"
tenants = ["acme"]
"""
SECRETS = {"RAILS_KEY": "key-of-all", "SALON_KEY": "key-of-acme"}
ALL, ACME = SECRETS["RAILS_KEY"], SECRETS["SALON_KEY"]
GOOD = {"tenant": "acme", "to": "+353861234567", "body": "See you at ten.", "class": "reminder"}


class Got(msgspec.Struct, frozen=True):
    """An answer."""

    status: int
    headers: Any
    json: Any
    body: bytes


class Site:
    """An API that answers at `url`."""

    def __init__(self, store: Store, live: Live, session: aiohttp.ClientSession) -> None:
        self.store, self.client, self.live, self._session = store, store.client, live, session
        self.logs, self.metrics = Logs(), Metrics()
        self.nudged: list[str] = []
        self.shed: set[str] = set()
        self.api = Api(
            live, self.metrics, self.logs.logger, nudge=self.nudged.append, sheds=lambda _: frozenset(self.shed)
        )
        self.url = ""

    async def ready(self) -> str:
        return ""

    async def scrape(self) -> bytes:
        return self.metrics.render()

    def callback(self, _request: Request, _reply: Reply) -> Answer:
        return Response(404)

    async def ask(self, method: str, path: str, json: Any = None, key: str = ALL, **more: Any) -> Got:
        """One request; `json` is encoded, `data` in `more` is sent as it is; key "": without."""
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}
        if json is not None:
            more["data"], headers["Content-Type"] = msgspec.json.encode(json), "application/json"
        if isinstance(more.get("data"), bytes):
            more["data"] = io.BytesIO(more["data"])
        async with self._session.request(method, self.url + path, headers=headers, **more) as answer:
            body = await answer.read()
            kind = answer.headers.get("Content-Type", "")
            return Got(
                answer.status, answer.headers, msgspec.json.decode(body) if body and "json" in kind else None, body
            )

    async def send(self, json: Any = None, key: str = ALL, **more: Any) -> Got:
        """POST of a message: GOOD with these fields changed, None leaving one out; or of `json`."""
        headers = more.pop("headers", {})
        if json is None:
            changed = {**GOOD, **{name.rstrip("_"): value for name, value in more.items()}}
            json = {name: value for name, value in changed.items() if value is not None}
        return await self.ask("POST", "/v1/messages", json, key, headers=headers)

    def counted(self, metric: str = "smsd_intake_total") -> dict[str, float]:
        """The counter's values by its labels."""
        return counted(self.metrics.render(), metric)


@asynccontextmanager
async def site(url: str, folder: Path, *, extra: str = KEYS, shards: int = 1, **values: Any) -> AsyncGenerator[Site]:
    """One that answers; `extra` and `values` go into its config."""
    env = {**os.environ, **SECRETS, "SMSD_STORE__SHARDS": str(shards)}
    made = config(folder, extra=extra, env=env, **values)
    store = connect(url)
    live = Live(made, [Shard(store.client, number) for number in range(shards)])
    await agree(live)
    async with aiohttp.ClientSession(requote_redirect_url=False) as session:
        one = Site(store, live, session)
        listeners = Listeners(
            made, ready=one.ready, metrics=one.scrape, api=one.api.handle, room=one.api.room, webhooks=one.callback
        )
        await listeners.start()
        one.url = f"http://{listeners.http}"
        try:
            yield one
        finally:
            await listeners.close()
            await store.aclose()
