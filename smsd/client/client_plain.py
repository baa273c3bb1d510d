"""The client without asyncio. What it says to the store is client_talk.py's; here is only how that goes over a wire."""

import socket
import time
from collections.abc import Callable, Generator, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from smsd.client import client_talk as talk
from smsd.client import received
from smsd.client.letters import Letter, Outgoing, cancel, letter
from smsd.client.received import Event, Inbound

T = TypeVar("T")


class SyncClient:
    """Writes messages and reads what became of them. May be used by many threads at once."""

    def __init__(self, url: str = "redis://127.0.0.1:8777/0", *, shards: int | None = None) -> None:
        """As smsd.client.Client."""
        options: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), 0)}
        self._redis: Any = Redis.from_url(url, **options)  # pyright: ignore[reportUnknownMemberType]
        self._shards = shards
        self._map: talk.Map | None = None

    def __enter__(self) -> "SyncClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends its connections."""
        self._redis.close()

    def send(
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
        """Enqueues one message; returns its id. As Client.send."""
        message = Outgoing(
            tenant=tenant, to=to, body=body, class_=class_, id=id, sender=sender, region=region, not_before=not_before,
            not_after=not_after, campaign=campaign, meta=meta, traceparent=traceparent, replaces=replaces,
        )  # fmt: skip
        return self.send_many([message])[0]

    def send_many(self, messages: Iterable[Outgoing]) -> list[str]:
        """Enqueues many; returns their ids. All are checked before the first is written."""
        letters = [letter(message) for message in messages]
        self._write(letters)
        return [one.id for one in letters]

    def cancel(self, tenant: str, id: str, *, class_: str = "reminder") -> None:
        """Withdraws a message; events say what became of it."""
        self._write([cancel(tenant, id, class_)])

    def events(self, group: str, consumer: str = "", *, start: str = "0") -> Generator[Event]:
        """Every event, without end. As Client.events."""
        return self._read("events", group, consumer, received.event, start)

    def inbound(self, group: str, consumer: str = "", *, start: str = "0") -> Generator[Inbound]:
        """Every text that people sent, likewise."""
        return self._read("inbound", group, consumer, received.inbound, start)

    def _write(self, letters: list[Letter]) -> None:
        self._run(talk.write(letters, self._there()))

    def _there(self) -> talk.Map:
        if self._map is None:
            self._map = self._run(talk.learn(self._shards))
        return self._map

    def _read(self, kind: str, group: str, consumer: str, parse: Callable[[Any], T], start: str) -> Generator[T]:
        reader = talk.Reader(kind, self._there(), group, consumer or socket.gethostname(), parse, start=start)
        try:
            while True:
                for place, value in self._run(reader.batch()):
                    if value is not None:
                        yield value
                    reader.handled(place)
        finally:
            self._run(reader.close())

    def _run(self, spoken: talk.Talk[T]) -> T:
        try:
            asked = spoken.send(None)
            while True:
                try:
                    reply = self._do(asked)
                except Exception as error:  # noqa: BLE001 - whoever asked decides
                    asked = spoken.throw(error)
                else:
                    asked = spoken.send(reply)
        except StopIteration as end:
            return end.value

    def _do(self, asked: talk.Commands | talk.Rest) -> Any:
        if isinstance(asked, talk.Rest):
            time.sleep(asked.seconds)
            return None
        if len(asked.all) == 1:
            return [self._redis.execute_command(*asked.all[0])]
        with self._redis.pipeline(transaction=False) as pipe:
            for command in asked.all:
                pipe.execute_command(*command)
            return pipe.execute()
