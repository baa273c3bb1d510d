"""The sandbox in a running smsd: what is told of it, and this host's own built-in carrier, which gets its messages.

The carrier is one child process for all workers of one `smsd run`. It starts when the sandbox is first on in any of
them, is started again when it dies, and ends with the last of them, whoever was killed before. It is never switched
off, for an idle one harms nobody, and it never runs inside this process: smsd.testing.carrier is started by its name.
"""

import asyncio
import contextlib
import os
import secrets
import sys
import time
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from smsd.config.sandbox import TOKEN, URL
from smsd.shell.listening import Address, PortTaken, bind, bound_at
from smsd.shell.live import Live
from smsd.shell.startup import EXIT_MISTAKE, Refused

BACKLOG = 1024  # connections that wait while the carrier starts, or starts again
KEEP = 20_000  # messages that the carrier remembers, for look-ups and for whoever wants to read them
FIRST_WAIT_S, LARGEST_WAIT_S = 0.1, 10.0
STEADY_S = 10.0  # a carrier that lived so long is started again at once; the waits of others double

ON = "numbers outside allow_to go to the built-in carrier, never to a provider"
OFF = "every number is texted for real; what waits on the sandbox's route stays there"


class Place:
    """Where the carrier will be, known before anybody needs it: a port of loopback, the token of its account, and its
    lifeline, a pipe that closes when the last process that holds `lifeline` ends. Raises Refused.
    """

    def __init__(self, down: contextlib.ExitStack) -> None:
        try:
            self.socket = bind(Address("127.0.0.1", 0), "sandbox", shared=False)
        except PortTaken as error:
            raise Refused(EXIT_MISTAKE, [str(error)]) from None
        down.callback(self.socket.close)
        self.lives, self.lifeline = os.pipe()
        down.callback(os.close, self.lives)
        down.callback(os.close, self.lifeline)
        self.env = {URL: f"http://{bound_at(self.socket)}", TOKEN: secrets.token_hex(16)}
        """What every worker is told (config/sandbox.py)."""


class Carrier:
    """The child process."""

    def __init__(self, place: Place, log: FilteringBoundLogger) -> None:
        self._place, self._log = place, log
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Harmless when it runs. Connections are taken from now on, and wait until it does."""
        if self._keeping is None:
            self._place.socket.listen(BACKLOG)
            self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Ends it. Harmless when it never ran."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    async def _keep(self) -> None:
        wait_s = 0.0
        while True:
            since = time.monotonic()
            process = await self._spawn()
            self._log.info("sandbox_carrier_started", pid=process.pid, url=self._place.env[URL])
            try:
                code = await process.wait()
            finally:
                if process.returncode is None:  # we are being stopped
                    process.kill()
                    await process.wait()
            steady = time.monotonic() - since > STEADY_S
            wait_s = FIRST_WAIT_S if steady or not wait_s else min(LARGEST_WAIT_S, wait_s * 2)
            self._log.warning("sandbox_carrier_ended", pid=process.pid, code=code, again_in_s=wait_s)
            await asyncio.sleep(wait_s)

    async def _spawn(self) -> asyncio.subprocess.Process:
        """In a session of its own: what a terminal tells all of us to end must not end it before what has left has its
        answer.
        """
        number = self._place.socket.fileno()
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "smsd.testing.carrier", "--adopted", str(number), "--keep", str(KEEP),
            stdin=self._place.lives, stdout=asyncio.subprocess.DEVNULL, pass_fds=[number], start_new_session=True,
            env={**os.environ, **self._place.env},
        )  # fmt: skip


class Watch:
    """Follows the config of one worker: tells at each swap what holds now, and asks for the carrier once it is on."""

    def __init__(self, live: Live, log: FilteringBoundLogger, start: Callable[[], None]) -> None:
        self._live, self._log, self._start = live, log, start
        self._was_on = False
        live.on_swap(self.follow)

    def follow(self) -> None:
        """The config in force now. Never tells a prefix, which may be a whole number."""
        sandbox = self._live.config.sandbox
        if sandbox.enabled:
            self._start()
            self._log.warning("sandbox_on", revision=self._live.revision, prefixes=len(sandbox.allow_to), detail=ON)
        elif self._was_on:
            self._log.warning("sandbox_off", revision=self._live.revision, detail=OFF)
        self._was_on = sandbox.enabled


def loopback(bound: Address) -> str:
    """The URL under which a process of this host finds a listener."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound.host, bound.host)  # noqa: S104 - told apart, not bound
    return f"http://{Address(host, bound.port)}"
