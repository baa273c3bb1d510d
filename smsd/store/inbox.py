"""The inboxes of one shard, read as one consumer of the group: what is new, what is pending, what the dead have left.

Never judges an entry and never acknowledges one that is there: the admit script does, in the step that takes it.
"""

from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from smsd.store import keys
from smsd.store.connect import BLOCK_MS
from smsd.store.scripts import Scripts
from smsd.store.waiting import Waiting

BATCH = 100  # entries of one class

Read = tuple[str, tuple[tuple[bytes, bytes], ...]]
"""An entry as it was written: its id and its fields, in their order, also such as come twice."""

FORGET_MOST = 20


class Inbox:
    """A consumer of every inbox of a shard. `blocking` waits in reads, `client` does the rest."""

    def __init__(self, shard: int, client: Redis, blocking: Redis, consumer: str) -> None:
        self._shard, self._client, self._consumer = shard, client, consumer
        self._waiting = Waiting(client, blocking)
        self._scripts = Scripts(client)
        # As the server sends them: redis-py would make dicts of the fields, and lose one that comes twice.
        client.set_response_callback("XAUTOCLAIM", _as_sent)

    async def open(self, classes: Sequence[str]) -> list[str]:
        """Makes the consumer groups that are missing, from the start: for what was written before anybody read. Returns
        the classes whose inbox is there; where its key is no stream but a list, say, it cannot be read.
        """
        there: list[str] = []
        for class_ in classes:
            try:
                await self._client.xgroup_create(keys.inbox(self._shard, class_), keys.GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if str(error).startswith("WRONGTYPE"):
                    continue
                if not str(error).startswith("BUSYGROUP"):
                    raise
            there.append(class_)
        return there

    async def read(self, classes: Sequence[str]) -> dict[str, list[Read]]:
        """What is new, in the order of `classes`, up to BATCH of each; waits up to BLOCK_MS for something."""
        return await self._read(classes, ["COUNT", BATCH, "BLOCK", BLOCK_MS], ">")

    def stop(self) -> None:
        """Ends the wait of `read`, which answers with what it was handed by then; nothing waits from now on."""
        self._waiting.stop()

    async def pending(self, class_: str, after: str) -> list[Read]:
        """What this consumer has read and nobody has acknowledged, behind an entry's id ("0": from the first)."""
        return (await self._read([class_], ["COUNT", BATCH], after)).get(class_, [])

    async def _read(self, classes: Sequence[str], how: list[str | int], after: str) -> dict[str, list[Read]]:
        inboxes = [keys.inbox(self._shard, class_) for class_ in classes]
        command = [
            "XREADGROUP",
            "GROUP",
            keys.GROUP,
            self._consumer,
            *how,
            "STREAMS",
            *inboxes,
            *[after] * len(inboxes),
        ]
        answer = cast("list[tuple[bytes, list[Any]]] | None", await self._waiting.read(*command))
        found = {stream.decode(): entries for stream, entries in answer or ()}
        got: dict[str, list[Read]] = {}
        for class_, inbox in zip(classes, inboxes, strict=True):
            if reads := await self._there(class_, found.get(inbox, ())):
                got[class_] = reads
        return got

    async def claim(self, class_: str, idle_ms: int, cursor: str) -> tuple[str, list[Read]]:
        """A page of what has been pending with anybody for so long; it is this consumer's now. Cursor "0-0" is the
        first page's, and means in the answer that there is no other.
        """
        command = ["XAUTOCLAIM", keys.inbox(self._shard, class_), keys.GROUP, self._consumer, idle_ms, cursor]
        answer = cast("list[Any]", await cast("Any", self._client).execute_command(*command, "COUNT", BATCH))
        return cast("bytes", answer[0]).decode(), await self._there(class_, answer[1])

    async def forget(self, class_: str, idle_ms: int, *names: str) -> int:
        """Forgets consumers (only those named, if any are) that are idle for so long and have nothing pending."""
        inbox = keys.inbox(self._shard, class_)
        return cast("int", await self._scripts.run("consumers", [inbox], [keys.GROUP, idle_ms, FORGET_MOST, *names]))

    async def _there(self, class_: str, entries: Sequence[Any]) -> list[Read]:
        """The entries that still have fields. One that somebody deleted while it was pending is pending no more."""
        reads: list[Read] = []
        gone: list[bytes] = []
        for entry_id, flat in (entry for entry in entries if entry is not None):
            if flat is None:
                gone.append(entry_id)
            else:
                reads.append((entry_id.decode(), tuple(zip(flat[::2], flat[1::2], strict=True))))
        if gone:
            await self._client.xack(keys.inbox(self._shard, class_), keys.GROUP, *gone)
        return reads


def _as_sent(response: Any, **_: Any) -> Any:
    return response
