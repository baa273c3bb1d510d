"""What the events stream tells while the demo runs, kept per message and as counts for the view.

Never asks smsd itself: it reads the stream as a platform would.
"""

from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Redis

from smsd.demo.ledger import Told

COUNT = 2000
BLOCK_MS = 500
MOST = 0.95
"""The rate is that of the first 95 in 100: the last ones wait for look-ups and retries, not for capacity."""

_READ = ("state", "final", "reason", "possible_duplicate", "tenant", "id", "given_id", "at", "seq")
_NAMES = {name.encode(): name for name in _READ}


class Watch:
    """The events so far."""

    def __init__(self, client: Redis, stream: str) -> None:
        self._client, self._stream, self._after = client, stream, "0"
        self.told: dict[str, Told] = {}
        self.states = Counter[str]()
        self.final = 0
        self.flagged = 0
        self.first_ms = 0
        self.submitted_ms: list[int] = []

    async def read(self, *, block: bool = True) -> bool:
        """Takes the next events; False when there were none."""
        asked = self._client.xread({self._stream: self._after}, count=COUNT, block=BLOCK_MS if block else None)
        answered = await cast("Awaitable[list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]]", asked)
        entries = answered[0][1] if answered else []
        self.hear(pairs for _, pairs in entries)
        if entries:
            self._after = entries[-1][0].decode()
        return bool(entries)

    def hear(self, events: Iterable[Mapping[bytes, bytes]]) -> None:
        """Takes events, in their order."""
        for pairs in events:
            event = {_NAMES[name]: value.decode() for name, value in pairs.items() if name in _NAMES}
            heard = self.told.setdefault(f"{event['tenant']}/{event.get('given_id') or event['id']}", Told())
            before, was_final, was_flagged, was_submitted = heard.state, heard.final, heard.flagged, heard.submitted
            heard.hear(event)
            self.states[before] -= bool(before)
            self.states[heard.state] += 1
            self.final += heard.final - was_final
            self.flagged += heard.flagged - was_flagged
            at_ms = int(event["at"])
            self.first_ms = self.first_ms or at_ms
            if heard.submitted and not was_submitted:
                self.submitted_ms.append(at_ms)

    def rate_per_s(self) -> float:
        """Messages that providers took per second, from the first event on."""
        return rate(self.first_ms, self.submitted_ms)


def rate(first_ms: int, submitted_ms: Sequence[int]) -> float:
    """Of the first MOST of them; 0 where nothing was submitted."""
    most = sorted(submitted_ms)[: max(1, int(len(submitted_ms) * MOST))]
    return len(most) / max(0.001, (most[-1] - first_ms) / 1000) if most else 0.0


async def standing(client: Redis, shard: str) -> dict[str, Any]:
    """Backlog by class and messages in flight, as the store counts them. `shard`: the keys' prefix, `smsd:{0}`."""
    async with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(f"{shard}:meta")
        pipe.hgetall(f"{shard}:inflight")
        meta, flying = await cast("Awaitable[list[dict[bytes, bytes]]]", pipe.execute())
    return {
        "backlog": {name[2:].decode(): max(0, int(n)) for name, n in meta.items() if name.startswith(b"n:")},
        "in_flight": sum(int(n) for name, n in flying.items() if name.startswith(b"p:")),
    }
