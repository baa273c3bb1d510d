"""The client for asyncio. What it says to the store is client_talk.py's; here is only how that goes over a wire."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from smsd.client import client_talk as talk
from smsd.client import received
from smsd.client.letters import Letter, Outgoing, cancel, letter
from smsd.client.received import Event, Inbound

T = TypeVar("T")


class Client:
    """Writes messages and reads what became of them. May be used by many tasks at once."""

    def __init__(self, url: str = "redis://127.0.0.1:8777/0", *, shards: int | None = None) -> None:
        """`url`: the store's, as [store] has it. `shards`: only needed before any smsd has used the store."""
        options: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), 0)}
        self._redis: Any = Redis.from_url(url, **options)  # pyright: ignore[reportUnknownMemberType]
        self._shards = shards
        self._map: talk.Map | None = None

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends its connections."""
        await self._redis.aclose()

    async def send(
        self,
        tenant: str,
        to: str,
        body: str,
        *,
        class_: str = "reminder",
        id: str = "",
        sender: str = "",
        region: str = "",
        not_before: datetime | int | None = None,
        not_after: datetime | int | None = None,
        campaign: str = "",
        meta: dict[str, object] | None = None,
        traceparent: str = "",
        replaces: str = "",
    ) -> str:
        """Enqueues one message; returns its id, made up where none is given. Raises BadMessage, or redis-py's
        ConnectionError once the store has been away for ten seconds; then it may be there, and the same id is safe.
        """
        message = Outgoing(
            tenant=tenant, to=to, body=body, class_=class_, id=id, sender=sender, region=region, not_before=not_before,
            not_after=not_after, campaign=campaign, meta=meta, traceparent=traceparent, replaces=replaces,
        )  # fmt: skip
        return (await self.send_many([message]))[0]

    async def send_many(self, messages: Iterable[Outgoing]) -> list[str]:
        """Enqueues many, hundreds in a round trip; returns their ids. All are checked before the first is written."""
        letters = [letter(message) for message in messages]
        await self._write(letters)
        return [one.id for one in letters]

    async def cancel(self, tenant: str, id: str, *, class_: str = "reminder") -> None:
        """Withdraws a message; events say what became of it. One that is not known yet is remembered."""
        await self._write([cancel(tenant, id, class_)])

    def events(self, group: str, consumer: str = "", *, start: str = "0") -> AsyncGenerator[Event]:
        """Every event, without end, none lost; `consumer` names this one, and should be the same after a restart.

        Acknowledged when the loop comes back for the next, a hundred at a time: a consumer that is killed sees up to so
        many again. Consumers of one group share the events. `start`: where a new group begins, "0" or "$".
        """
        return self._read("events", group, consumer, received.event, start)

    def inbound(self, group: str, consumer: str = "", *, start: str = "0") -> AsyncGenerator[Inbound]:
        """Every text that people sent, likewise."""
        return self._read("inbound", group, consumer, received.inbound, start)

    async def _write(self, letters: list[Letter]) -> None:
        await self._run(talk.write(letters, await self._there()))

    async def _there(self) -> talk.Map:
        if self._map is None:
            self._map = await self._run(talk.learn(self._shards))
        return self._map

    async def _read(
        self, kind: str, group: str, consumer: str, parse: Callable[[Any], T], start: str
    ) -> AsyncGenerator[T]:
        name = consumer or socket.gethostname()
        reader = talk.Reader(kind, await self._there(), group, name, parse, start=start)
        try:
            while True:
                for place, value in await self._run(reader.batch()):
                    if value is not None:
                        yield value
                    reader.handled(place)
        finally:
            await self._run(reader.close())

    async def _run(self, spoken: talk.Talk[T]) -> T:
        reply: Any = None
        try:
            asked = spoken.send(None)
            while True:
                try:
                    reply = await self._do(asked)
                except Exception as error:  # noqa: BLE001 - whoever asked decides
                    asked = spoken.throw(error)
                else:
                    asked = spoken.send(reply)
        except StopIteration as end:
            return end.value

    async def _do(self, asked: talk.Commands | talk.Rest) -> Any:
        if isinstance(asked, talk.Rest):
            return await asyncio.sleep(asked.seconds)
        if len(asked.all) == 1:
            return [await self._redis.execute_command(*asked.all[0])]
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in asked.all:
                pipe.execute_command(*command)
            return await pipe.execute()
