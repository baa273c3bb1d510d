"""Reads on in gaps: events that a receiver is told by and by, from the stream, when it has room for them.

Never pushes one: it is kept to be due, as any other. Never holds more than a page in memory.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from structlog.typing import FilteringBoundLogger

from smsd.shell.metrics import Metrics
from smsd.shell.status_receivers import Lane, Lanes
from smsd.store.push import MOST, PAGE, Gap, Pushes

TRIMMED: Final = "events were trimmed before they were delivered: [retention] events and events_max bound what is kept"
PAGES_MOST: Final = 20  # of a gap, between two looks at what is due


class Gaps:
    """Those of one shard."""

    def __init__(self, pushes: Pushes, lanes: Lanes, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._pushes, self._lanes, self._metrics, self._log = pushes, lanes, metrics, log

    async def fill(self, kept: Mapping[str, int]) -> Counter[str]:
        """Some pages for each receiver that has room, and of whom less than half of the bound is `kept`.

        Returns how many events were kept for each.
        """
        filled = Counter[str]()
        gaps = [gap for gap in await self._pushes.gaps() if gap.open]
        shut = await self._pushes.shut_now() if gaps else ()  # who is shut takes nothing, however often it is read
        for gap in gaps:
            lane = self._lanes.of.get(gap.receiver)
            if (
                lane is not None
                and gap.receiver not in shut
                and lane.room() > 0
                and kept.get(gap.receiver, 0) < MOST // 2
            ):
                await self._pages(lane, gap, filled)
        return filled

    def lost(self, lane: Lane, entry: str) -> None:
        """The stream was trimmed before this receiver was told of what is behind that entry."""
        self._metrics.status(lane.label, "lost")
        self._log.error("status_lost", receiver=lane.name, since=entry, detail=TRIMMED)

    def lost_pending(self) -> None:
        """Events were trimmed that somebody had read and nobody had kept; nobody knows who wanted them."""
        for entry in self._pushes.gone:
            self.lost_unread(entry)
        self._pushes.gone.clear()

    def lost_unread(self, entry: str) -> None:
        """It was trimmed before anybody had read what is behind that entry, or kept it."""
        for label in {lane.label for lane in self._lanes.of.values()}:
            self._metrics.status(label, "lost")
        self._log.error("status_lost", receiver="*", since=entry, detail=TRIMMED)

    async def _pages(self, lane: Lane, gap: Gap, filled: Counter[str]) -> None:
        for _ in range(PAGES_MOST):
            if await self._page(lane, gap, filled) < PAGE:
                break  # there is no more of it, or no room
            still = [one for one in await self._pushes.gaps() if one.field == gap.field and one.open]
            if not still:
                break
            (gap,) = still

    async def _page(self, lane: Lane, gap: Gap, filled: Counter[str]) -> int:
        """Returns how many events were looked at."""
        page = await self._pushes.page(gap)
        wanted = [
            entry
            for entry, fields in page.events
            if gap.tenant in ("", "*", fields.get("tenant")) and lane.receiver.wants(fields)
        ]
        if not await self._pushes.fill(gap, page, wanted):
            return 0
        if page.trimmed and not gap.replay:
            self.lost(lane, gap.cursor)  # and nobody knows how many
        filled[lane.name] += len(wanted)
        return len(page.events)
