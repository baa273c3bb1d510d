"""A logger for tests that keeps its lines and lets a test wait for one.

Never formats and never masks: smsd/shell/log.py has tests of its own.
"""

import asyncio
from typing import Any

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

PATIENCE_S = 30.0


class Logs:
    """The lines so far, as dicts, and whoever waits for the next."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._came = asyncio.Event()
        self.logger: FilteringBoundLogger = structlog.wrap_logger(
            None, processors=[self._keep], wrapper_class=structlog.make_filtering_bound_logger(0)
        )

    def events(self) -> list[str]:
        """The names of the lines, in their order."""
        return [line["event"] for line in self.lines]

    async def wait(self, event: str) -> dict[str, Any]:
        """The first line of that name, once it has been written."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for line in self.lines:
                    if line["event"] == event:
                        return line
                self._came.clear()
                await self._came.wait()

    def _keep(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        self.lines.append(dict(line))
        self._came.set()
        raise structlog.DropEvent
