"""Clients and start-up checks on real servers: what is refused, what is warned of, and that no call is repeated."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, ReadOnlyError

from smsd.store import keys
from smsd.store.connect import (
    BLOCK_MS,
    CALL_S,
    Store,
    StoreAway,
    StoreError,
    check,
    connect,
    open_store,
    settle_meta,
)
from tests.support.valkey import Valkey

CLASSES = ["reminder", "marketing"]


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """Clients of the empty shared server."""
    made = connect(store_url)
    yield made
    await made.aclose()


@asynccontextmanager
async def _opened(url: str, shards: int = 1) -> AsyncIterator[Store]:
    made, _ = await open_store(url, shards=shards, classes=CLASSES)
    try:
        yield made
    finally:
        await made.aclose()


# ---- The url ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+cluster://h:1", r"a cluster \(redis\+cluster://\) is not supported yet"),
        ("redis+sentinel://h:1/main", r"Sentinel \(redis\+sentinel://\) is not supported yet"),
        ("http://h", "begins with redis://, rediss:// or unix://"),
        ("embedded", "begins with redis://, rediss:// or unix://"),
        ("redis://h:port/0", "cannot be read"),
        ("redis://h:1/zero", "a database's number"),
        ("unix://", "names no socket"),
        ("redis://h:1/0?retry_on_timeout=yes", "retry_on_timeout cannot be set there; what can: db, ssl_ca_certs"),
    ],
)
def test_a_url_that_cannot_be_used_is_told(url: str, said: str) -> None:
    """Each url that smsd cannot work with is refused with what would be right."""
    with pytest.raises(StoreError, match=said):
        connect(url)


def test_a_password_is_in_no_message() -> None:
    """The address that messages show holds neither user nor password nor options."""
    assert connect("redis://me:s3cret@db:7/2").address == "redis://db:7/2"
    assert connect("unix://me:s3cret@/run/store.sock?db=1").address == "unix:///run/store.sock"
    with pytest.raises(StoreError) as raised:
        connect("redis://me:s3cret@db:x/2")
    assert "s3cret" not in str(raised.value)


def test_tls_verifies_the_server() -> None:
    """rediss:// means TLS with the certificate and the host name checked, whatever the url asks for."""
    made = connect("rediss://db:6380/0?ssl_ca_certs=ca.pem")
    connection = made.client.connection_pool.connection_class(**made.client.connection_pool.connection_kwargs)
    assert isinstance(connection, SSLConnection)
    assert str(connection.cert_reqs) == "VerifyMode.CERT_REQUIRED" or connection.cert_reqs == 2
    assert connection.check_hostname
    with pytest.raises(StoreError, match="ssl_cert_reqs cannot be set"):
        connect("rediss://db:6380/0?ssl_cert_reqs=none")


def test_a_socket_is_a_unix_connection() -> None:
    """unix:// dials a socket."""
    made = connect("unix:///run/store.sock").client.connection_pool.connection_class
    assert issubclass(made, UnixDomainSocketConnection)


# ---- Calls -----------------------------------------------------------------------------------------------------------


async def test_a_call_whose_reply_is_lost_is_not_repeated(store: Store, valkey: Valkey) -> None:
    """A command that ran while its answer was cut off runs once, and the caller is told."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hands through until a command with XADD comes, whose answer is awaited and thrown away."""
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", valkey.port)
        while asked := await reader.read(65536):
            inner_writer.write(asked)
            answer = await inner_reader.read(65536)
            if b"XADD" in asked:
                break
            writer.write(answer)
        inner_writer.close()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    through = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    with pytest.raises(RedisConnectionError):
        await through.client.xadd("once", {"a": "1"})
    assert await store.client.xlen("once") == 1
    await through.aclose()
    server.close()


async def test_a_connection_to_a_replica_is_dropped(start_valkey: Callable[..., Valkey]) -> None:
    """After READONLY the next call comes on a new connection, so that a failed-over name is looked up anew."""
    made = connect(start_valkey().url)
    before = await made.client.client_id()
    await made.client.replicaof("127.0.0.1", "1")
    with pytest.raises(ReadOnlyError):
        await made.client.set("a", "1")
    assert await made.client.client_id() != before
    await made.aclose()


async def test_more_calls_than_connections_wait_for_one(store_url: str) -> None:
    """The pool's size is a bound, and beyond it calls take turns instead of failing."""
    made = connect(store_url, size=2)
    assert all(await asyncio.gather(*(made.client.ping() for _ in range(50))))
    assert len(await made.client.client_list()) <= 2 + 1
    await made.aclose()


async def test_blocking_reads_end_before_their_socket_does(store: Store) -> None:
    """A blocking read that gets nothing returns empty, and its client's socket waits for longer than that."""
    assert await store.blocking.xread({"nothing": "$"}, block=1) in ([], {}, None)
    assert store.blocking.connection_pool.connection_kwargs["socket_timeout"] > BLOCK_MS / 1000 + 1
    assert store.client.connection_pool.connection_kwargs["socket_timeout"] == CALL_S


async def test_arguments_of_every_kind_arrive(store: Store) -> None:
    """Texts, bytes and numbers come as redis-py would write them, and what is none of these is refused."""
    await store.client.rpush("all", "é", b"\x00\r\n", 7, 1.5, "")
    assert await store.client.lrange("all", 0, -1) == ["é".encode(), b"\x00\r\n", b"7", b"1.5", b""]
    assert await store.client.config_get("save") == {"save": ""}
    with pytest.raises(DataError):
        await store.client.rpush("all", None)  # pyright: ignore[reportArgumentType]


# ---- The server ------------------------------------------------------------------------------------------------------


async def test_a_server_that_evicts_is_refused(start_valkey: Callable[..., Valkey]) -> None:
    """A maxmemory-policy under which messages could be thrown away is an error that names the setting."""
    url = start_valkey(maxmemory_policy="allkeys-lru").url
    with pytest.raises(StoreError, match=r"maxmemory-policy allkeys-lru.*set maxmemory-policy noeviction"):
        await open_store(url, shards=1, classes=CLASSES)


async def test_a_server_without_append_only_file_is_warned_of(start_valkey: Callable[..., Valkey]) -> None:
    """Missing safety is told in a sentence each, and a server that has all of it gives none."""
    made, facts = await open_store(start_valkey().url, shards=1, classes=CLASSES)
    assert [said.split(",")[0] for said in facts.warnings] == [
        "the store keeps no append-only file",
        "the store has no maxmemory",
    ]
    await made.aclose()
    made, facts = await open_store(start_valkey(appendonly=True, maxmemory="100mb").url, shards=1, classes=CLASSES)
    assert facts.warnings == ()
    assert facts.maxmemory == 100 * 1024 * 1024
    assert facts.version.startswith("Valkey ")
    await made.aclose()


async def test_a_replica_is_refused(start_valkey: Callable[..., Valkey]) -> None:
    """A server that takes no writes is an error that asks for its primary."""
    url = start_valkey(replicaof="127.0.0.1 1").url
    with pytest.raises(StoreError, match="is a replica: give its primary"):
        await open_store(url, shards=1, classes=CLASSES)


async def test_a_cluster_node_is_refused(start_valkey: Callable[..., Valkey]) -> None:
    """A node of a cluster is told as not supported yet, before a script meets a slot that is elsewhere."""
    url = start_valkey(cluster_enabled="yes").url
    with pytest.raises(StoreError, match="node of a cluster"):
        await open_store(url, shards=1, classes=CLASSES)


async def test_a_wrong_password_is_told(start_valkey: Callable[..., Valkey]) -> None:
    """Credentials that the server refuses are an error of their own, without the password in it."""
    url = start_valkey(requirepass="right").url
    with pytest.raises(StoreError, match="refuses this user or password") as raised:
        await open_store(url.replace("redis://", "redis://:wr0ng@"), shards=1, classes=CLASSES)
    assert not isinstance(raised.value, StoreAway)
    assert "wr0ng" not in str(raised.value)


async def test_a_server_that_is_not_there_may_come(start_valkey: Callable[..., Valkey]) -> None:
    """A store that does not answer is told as away, which is worth another try."""
    server = start_valkey()
    server.kill()
    with pytest.raises(StoreAway, match="does not answer"):
        await open_store(server.url, shards=1, classes=CLASSES)


async def test_something_else_that_listens_is_told() -> None:
    """A server of another protocol is an error in a sentence."""

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    with pytest.raises(StoreError, match=r"the store at redis://127.0.0.1"):
        await open_store(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", shards=1, classes=CLASSES)
    server.close()


# ---- What the store was first used with ------------------------------------------------------------------------------


async def test_the_first_use_fixes_the_shards(store_url: str, redis: Redis) -> None:
    """smsd:meta publishes shards, schema and classes, and a config with other shards is refused."""
    async with _opened(store_url, shards=4):
        pass
    assert await redis.hgetall(keys.META) == {
        b"shards": b"4",
        b"schema": str(keys.SCHEMA).encode(),
        b"classes": b"reminder,marketing",
    }
    with pytest.raises(StoreError, match=r"first used with shards = 4, the config says 1: set \[store\] shards = 4"):
        await open_store(store_url, shards=1, classes=CLASSES)
    async with _opened(store_url, shards=4):
        pass


async def test_the_classes_follow_the_config(store: Store, redis: Redis) -> None:
    """The published classes are those of the last start, for they may change."""
    await settle_meta(store, shards=1, classes=CLASSES)
    await settle_meta(store, shards=1, classes=["otp", *CLASSES])
    assert await redis.hget(keys.META, "classes") == b"otp,reminder,marketing"


async def test_a_newer_schema_is_refused(store: Store, redis: Redis) -> None:
    """A store that a newer release has written is left alone."""
    await redis.hset(keys.META, "schema", str(keys.SCHEMA + 1))
    with pytest.raises(StoreError, match="written by a newer release"):
        await settle_meta(store, shards=1, classes=CLASSES)


async def test_a_key_of_somebody_else_is_told(store: Store, redis: Redis) -> None:
    """Where smsd:meta is something else, the error names the key."""
    await redis.set(keys.META, "mine")
    with pytest.raises(StoreError, match=keys.META):
        await settle_meta(store, shards=1, classes=CLASSES)


async def test_checking_changes_nothing(store: Store, redis: Redis) -> None:
    """The look at a server writes no key."""
    await check(store)
    assert await redis.dbsize() == 0


async def test_strict_durability_refuses_a_store_without_an_append_only_file(
    start_valkey: Callable[..., Valkey],
) -> None:
    """What cannot be promised is refused at the start, with what would mend it."""
    with pytest.raises(StoreError, match="appendonly yes"):
        await open_store(start_valkey().url, shards=1, classes=CLASSES, strict=True)
