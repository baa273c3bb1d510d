"""Tells the service manager how it stands: sd_notify's protocol (systemd, `Type=notify-reload`), by datagrams.

Says nothing where nobody asked, and never fails: a manager that is gone is told nothing.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Notify:
    """What NOTIFY_SOCKET and WATCHDOG_USEC of the environment ask for. Of several workers their parent speaks."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        address = env.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address  # abstract, by systemd's spelling
        mine = env.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._watchdog_s = int(env.get("WATCHDOG_USEC", "0") or 0) / 2e6 if mine else 0.0
        self._timer: asyncio.TimerHandle | None = None

    def ready(self, status: str) -> None:
        """It serves, or a reload has ended. From now on the watchdog hears that the event loop turns."""
        self._say("READY=1", f"STATUS={status}")
        if self._timer is None and self._watchdog_s:
            self._alive()

    def reloading(self) -> None:
        """Followed by `ready`, also where the file was refused and the old config holds."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It drains."""
        self._say("STOPPING=1", "STATUS=draining")

    def _alive(self) -> None:
        self._say("WATCHDOG=1")
        self._timer = asyncio.get_running_loop().call_later(self._watchdog_s, self._alive)

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto("\n".join(lines).encode(), self._address)
