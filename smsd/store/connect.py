"""Clients of the store as smsd needs them, and what must hold of a server before a process uses it.

Never repeats a call by itself: one whose reply was lost may have run (redis-py 8 would send it up to 11 times), so what
may be repeated is its caller's decision. Never changes the server's configuration.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import hiredis
import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - redis-py's is not the built-in one
    DataError,
    MasterDownError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the same
)

from smsd.config.check import NOT_YET, NOT_YET_TOLD
from smsd.store import keys

POOL_SIZE = 32
BLOCKING_POOL_SIZE = 8  # readers of the inboxes and of the events and a bell for each shard; more shards get more
POOL_WAIT_S = 2.0
CONNECT_S = 2.0
CALL_S = 5.0
BLOCK_MS = 1000  # of a blocking read; its socket waits for longer than that
BLOCKING_CALL_S = BLOCK_MS / 1000 + 4

OLDEST = (7, 0)  # the first with #!lua flags in EVAL scripts

_URL_OPTIONS = frozenset({"db", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"})


class StoreError(Exception):
    """The store cannot be used. The text says why, what would mend it, and no password."""


class StoreAway(StoreError):
    """It does not answer, or is loading: it may be there in a moment."""


_DROPPED = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, MasterDownError)
AWAY = (*_DROPPED, OSError)
"""What a call raises when the store is away, loading, or failing over: worth another try, with backoff."""


class Facts(msgspec.Struct, frozen=True):
    """What was found at the start. `warnings`: sentences for the log."""

    version: str
    maxmemory: int  # 0: none is set
    warnings: tuple[str, ...]


class Store:
    """Both clients of one server."""

    def __init__(self, client: Redis, blocking: Redis, address: str) -> None:
        self.client = client
        """For calls that are answered at once: scripts, look-ups, pipelines."""
        self.blocking = blocking
        """For XREADGROUP BLOCK and SUBSCRIBE, whose connections wait."""
        self.address = address
        """The url without what is secret, for messages."""

    async def aclose(self) -> None:
        await self.client.aclose()
        await self.blocking.aclose()


def connect(url: str, *, shards: int = 1, size: int = POOL_SIZE) -> Store:
    """Clients for redis://, rediss:// or unix://, secrets put in. Dials nothing yet. Raises StoreError for others."""
    address = _checked(url)
    blocking_size = max(BLOCKING_POOL_SIZE, 4 * shards)
    return Store(_client(url, size, CALL_S), _client(url, blocking_size, BLOCKING_CALL_S), address)


async def open_store(
    url: str, *, shards: int, classes: Iterable[str], size: int = POOL_SIZE, strict: bool = False
) -> tuple[Store, Facts]:
    """`connect`, `check` and `settle_meta`; closed again when one of them fails. Raises StoreError, StoreAway."""
    store = connect(url, shards=shards, size=size)
    try:
        facts = await check(store, strict=strict)
        await settle_meta(store, shards=shards, classes=classes)
    except BaseException:
        await store.aclose()
        raise
    return store, facts


class _Packing:
    """Writes commands by hiredis, which redis-py uses to read only: a call of a script has some forty arguments."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name, *rest = args
        words = name.split() if isinstance(name, bytes) else str(name).encode().split()
        try:
            return [_pack((*words, *rest))]
        except TypeError as error:
            raise DataError(str(error)) from None


_pack = cast("Callable[[tuple[Any, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]


class _Tcp(_Packing, Connection): ...


class _Tls(_Packing, SSLConnection): ...


class _Socket(_Packing, UnixDomainSocketConnection): ...


_CONNECTIONS: dict[str, type[Connection | UnixDomainSocketConnection]] = {
    "redis": _Tcp,
    "rediss": _Tls,
    "unix": _Socket,
}


def _client(url: str, size: int, call_s: float) -> Redis:
    options = cast("dict[str, Any]", {**parse_url(url), "connection_class": _CONNECTIONS[urlsplit(url).scheme]})
    pool = BlockingConnectionPool(
        **options,
        max_connections=size,
        timeout=POOL_WAIT_S,
        # A connection whose server turned out to be a replica, or cut off from its primary, is dropped, so that the
        # next call resolves the name anew: redis-py keeps it otherwise (redis-py #3874).
        retry=Retry(NoBackoff(), 0, supported_errors=_DROPPED),
        socket_timeout=call_s,
        socket_connect_timeout=CONNECT_S,
        protocol=2,
    )
    return Redis.from_pool(pool)


# ---- The url ---------------------------------------------------------------------------------------------------------


def _checked(url: str) -> str:
    """The url without its secrets. Raises StoreError where it cannot be used, without quoting it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise StoreError("[store] url cannot be read: write redis://HOST:PORT/DB") from None
    if parts.scheme in NOT_YET:
        raise StoreError(f"[store] url: {NOT_YET_TOLD.format(NOT_YET[parts.scheme], parts.scheme)}")
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise StoreError('[store] url is "embedded", or begins with redis://, rediss:// or unix://')
    if parts.scheme == "unix" and not parts.path:
        raise StoreError("[store] url names no socket: write unix:///path/to/socket")
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise StoreError("[store] url: what follows the host is a database's number, as in redis://HOST:PORT/0")
    unknown = sorted(name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if name not in _URL_OPTIONS)
    if unknown:
        known = ", ".join(sorted(_URL_OPTIONS))
        raise StoreError(f"[store] url: {unknown[0]} cannot be set there; what can: {known}")
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    return f"{parts.scheme}://{parts.hostname or 'localhost'}:{port or 6379}/{database or 0}"


# ---- What must hold --------------------------------------------------------------------------------------------------


async def check(store: Store, *, strict: bool = False) -> Facts:
    """Refuses a server that would lose messages or cannot run the scripts. Raises StoreError, StoreAway."""
    info = await _info(store)
    name, version = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    if tuple(int(part) for part in str(info["redis_version"]).split(".")[:2]) < OLDEST:
        raise StoreError(
            f"the store at {store.address} is {name} {version}: Redis 7.0 or Valkey 7.2 is the oldest that works"
        )
    if info.get("redis_mode") == "cluster" or info.get("server_mode") == "cluster":
        raise StoreError(f"the store at {store.address} is a node of a cluster, which is not supported yet")
    if info.get("role") != "master":
        raise StoreError(f"the store at {store.address} is a replica: give its primary's address")
    if info.get("loading") or info.get("async_loading"):
        raise StoreAway(f"the store at {store.address} is still loading its data")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise StoreError(
            f"the store at {store.address} has maxmemory-policy {policy}, under which it throws messages away:"
            " set maxmemory-policy noeviction"
        )
    warnings: list[str] = []
    if strict and not info.get("aof_enabled"):
        raise StoreError(
            f'[store] durability = "strict" needs an append-only file, which {store.address} does not keep:'
            " set appendonly yes there"
        )
    if not info.get("aof_enabled"):
        warnings.append("the store keeps no append-only file, so a crash of it loses messages: set appendonly yes")
    if not info.get("maxmemory"):
        warnings.append(
            "the store has no maxmemory, so intake cannot be held back before memory runs out: set maxmemory"
        )
    return Facts(f"{name} {version}", int(info.get("maxmemory", 0)), tuple(warnings))


async def _info(store: Store) -> dict[str, Any]:
    where = f"the store at {store.address}"
    try:
        return await store.client.info()  # pyright: ignore[reportUnknownMemberType]
    except (AuthenticationError, NoPermissionError) as error:
        raise StoreError(f"{where} refuses this user or password: {error}") from None
    except BusyLoadingError:
        raise StoreAway(f"{where} is still loading its data") from None
    except AWAY as error:
        raise StoreAway(f"{where} does not answer: {_why(error)}") from None
    except ResponseError as error:
        raise StoreError(f"{where} refuses INFO: {error}") from None
    except RedisError as error:
        raise StoreError(f"{where} does not speak the Redis protocol: {error}") from None


def _why(error: BaseException) -> str:
    return str(error).strip(" .") or type(error).__name__


async def settle_meta(store: Store, *, shards: int, classes: Iterable[str]) -> None:
    """Fixes the number of shards and the schema when the store is first used, and refuses to go against them.

    `classes` are published as they are now, comma separated, for whoever writes the inboxes. Raises StoreError.
    """
    try:
        async with store.client.pipeline(transaction=True) as pipe:
            pipe.hsetnx(keys.META, "shards", str(shards))
            pipe.hsetnx(keys.META, "schema", str(keys.SCHEMA))
            pipe.hmget(keys.META, ["shards", "schema"])
            *_, (there, schema) = await cast("Awaitable[list[Any]]", pipe.execute())
        _agree(store.address, int(there), int(schema), shards)
        await store.client.hset(keys.META, "classes", ",".join(classes))
    except AWAY as error:
        raise StoreAway(f"the store at {store.address} does not answer: {_why(error)}") from None
    except NoPermissionError as error:
        raise StoreError(f"the store at {store.address} allows this user too little: {error}") from None
    except ResponseError as error:
        raise StoreError(f"the store at {store.address} does not take {keys.META}: {error}") from None


def _agree(address: str, there: int, schema: int, shards: int) -> None:
    if there != shards:
        raise StoreError(
            f"the store at {address} was first used with shards = {there}, the config says {shards}:"
            f" set [store] shards = {there}, or use another database"
        )
    if schema > keys.SCHEMA:
        raise StoreError(
            f"the store at {address} was written by a newer release (schema {schema}, this one knows {keys.SCHEMA}):"
            " run that release"
        )
