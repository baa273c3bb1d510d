"""One heap and one loop timer for everything that the carrier does later: receipts, slow answers, timeouts.

Never makes a task, a loop timer or an entry in the heap per message: at thousands of messages a second that would cost
more than the work. Time is cut into ticks; what is due in the same one is a list.
"""

import asyncio
import heapq
import math
import time
from collections.abc import Callable

TICK_S = 0.002


class Timers:
    """Calls back at instants of `time.monotonic()`: never earlier, up to a tick later; in a tick as asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ticks: list[int] = []  # a heap of the keys of _calls
        self._calls: dict[int, list[Callable[[], None]]] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._wake_at: float = math.inf  # a tick

    def at(self, due_s: float, call: Callable[[], None]) -> None:
        """Calls `call` at `due_s`. There is no cancel: let the call be moot."""
        tick = math.ceil(due_s / TICK_S)
        calls = self._calls.get(tick)
        if calls is not None:
            calls.append(call)
            return
        self._calls[tick] = [call]
        heapq.heappush(self._ticks, tick)
        if tick < self._wake_at:
            self._arm()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._wake_at = self._ticks[0]
        self._handle = self._loop.call_later(max(0.0, self._wake_at * TICK_S - time.monotonic()), self._fire)

    def _fire(self) -> None:
        self._handle = None
        self._wake_at = -math.inf  # what is called may ask for more: it is armed once, below
        now = time.monotonic() / TICK_S
        try:
            while self._ticks and self._ticks[0] <= now:
                for call in self._calls.pop(heapq.heappop(self._ticks)):
                    call()
        finally:
            self._wake_at = math.inf
            if self._ticks:
                self._arm()
