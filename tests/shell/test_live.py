"""What is in force: the store's newest revision, on every host, whole."""

import asyncio
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from smsd.config import Config, ConfigErrors, shared
from smsd.control import revision
from smsd.control.dropping import Held
from smsd.shell import live as lives
from smsd.shell.live import Live
from smsd.store import keys
from smsd.store.shard import Shard
from tests.support.config import config
from tests.support.world import World


def made(client: Redis, mine: Config, shards: int = 1) -> Live:
    return Live(mine, [Shard(client, number) for number in range(shards)])


async def in_force(client: Any, shard: int = 0) -> dict[bytes, bytes]:
    return await client.hgetall(keys.key(shard, "conf"))


async def test_tenant_lives_in_the_shard_that_the_contract_says(redis: Redis, tmp_path: Path) -> None:
    """A producer in any language finds the shard by zlib's crc32 of the tenant."""
    live = made(redis, config(tmp_path), shards=3)
    for tenant in ("acme", "salon-42", "a.b:c_d"):
        assert live.shard_of(tenant).number == zlib.crc32(tenant.encode()) % 3


async def test_callback_url_carries_the_reference_whole(redis: Redis, tmp_path: Path) -> None:
    """Whatever stands in a reference, it is one percent-encoded value of the query."""
    live = made(redis, config(tmp_path, public_url="https://sms.example.com/in"))
    url = live.callback_url("main", "1.acme/r:1")
    assert url == "https://sms.example.com/in/webhooks/main/status?ref=1.acme%2Fr%3A1"


async def test_no_callback_is_asked_for_without_a_public_url(redis: Redis, tmp_path: Path) -> None:
    """Where nobody could call back, no URL is made up."""
    assert made(redis, config(tmp_path, public_url="")).callback_url("main", "1.a/b") == ""


async def test_processes_have_names_of_their_own() -> None:
    """Two processes are never the same one to the store, not even after a restart with the same pid."""
    assert lives.name_process() != lives.name_process()


async def test_a_config_never_seen_is_published(redis: Redis, tmp_path: Path) -> None:
    """The first process of a store puts its config in force, with all that the scripts read."""
    live = made(redis, config(tmp_path))
    assert await lives.agree(live) == "published"
    stored = await in_force(redis)
    assert (live.revision, stored[b"revision"]) == (1, b"1")
    classes = msgspec.msgpack.decode(stored[b"classes"])
    assert classes == [["reminder", 8, 1000, 60_000_000, 0], ["marketing", 1, 800, 60_000_000, 1]]
    assert msgspec.msgpack.decode(stored[b"keep"]) == [72 * 3_600_000_000, 1, 20_000]


async def test_the_same_config_changes_nothing(redis: Redis, tmp_path: Path) -> None:
    """A second process, or a restart, takes the revision that is there."""
    await lives.agree(made(redis, config(tmp_path)))
    second = made(redis, config(tmp_path))
    assert await lives.agree(second) == "kept"
    assert second.revision == 1


async def test_a_superseded_file_follows_the_store(redis: Redis, tmp_path: Path) -> None:
    """An old host that restarts does not undo a change."""
    old = config(tmp_path, limit="5/s")
    await lives.agree(made(redis, old))
    await lives.agree(made(redis, config(tmp_path, limit="9/s")))
    restarted = made(redis, old)
    assert await lives.agree(restarted) == "superseded"
    assert restarted.revision == 2
    assert restarted.config.tenant_defaults.limits[0].n == 9


async def test_a_reload_publishes_on_purpose_also_backwards(redis: Redis, tmp_path: Path) -> None:
    """What an operator reloads is in force, even if it was superseded before."""
    old = config(tmp_path, limit="5/s")
    await lives.agree(made(redis, old))
    live = made(redis, config(tmp_path, limit="9/s"))
    await lives.agree(live)
    assert await lives.reload(live, old) == "published"
    assert (live.revision, live.config.tenant_defaults.limits[0].n) == (3, 5)
    assert await lives.reload(live, old) == "kept"


async def test_a_file_that_drops_what_waits_is_held(redis: Redis, tmp_path: Path) -> None:
    """A host whose new file drops a class with backlog follows the store, says why, and publishes it once empty."""
    await lives.agree(made(redis, config(tmp_path, extra="[classes.otp]\n")))
    world = World(redis)
    await world.send("acme", "a", "otp")
    started = made(redis, config(tmp_path))
    assert await lives.agree(started) == "held"
    assert (started.revision, "otp" in started.config.classes) == (1, True)
    assert "class otp: 1 queued" in started.refused
    running = made(redis, config(tmp_path, extra="[classes.otp]\n"))
    await lives.agree(running)
    before = running.local
    with pytest.raises(Held):
        await lives.reload(running, config(tmp_path))
    assert running.local is before
    await world.cancel("acme", "a")
    assert await lives.agree(made(redis, config(tmp_path))) == "published"


async def test_a_reload_tells_of_receipts_that_it_gives_up(redis: Redis, tmp_path: Path) -> None:
    """A provider that has taken everything may be dropped, and whoever reloads hears what becomes of its receipts."""
    live = made(redis, config(tmp_path, extra='[providers.spare]\ntype = "fake"\n'))
    await lives.agree(live)
    world = World(redis)
    await world.send("acme", "a")
    (leased,) = await world.take(1, offers={"spare": (1, 10)})
    await world.accept(leased)
    told: list[str] = []
    assert await lives.reload(live, config(tmp_path), warn=lambda one: told.append(str(one))) == "published"
    assert told == [
        "provider spare: 1 submitted and waiting for a receipt; "
        "without [providers.spare] their receipts are refused, and they end as unconfirmed"
    ]


async def test_what_became_of_the_file(redis: Redis, tmp_path: Path) -> None:
    """A file is in force, superseded or refused, and in force again once what is published is what it says."""
    old, new = config(tmp_path, limit="5/s"), config(tmp_path, limit="9/s")
    live = made(redis, old)
    await lives.agree(live)
    assert live.file == "in_force"
    await revision.publish(new, live.shards)
    await lives.catch_up(live)
    assert live.file == "superseded"
    live.refused = "it has mistakes"
    assert live.file == "refused"
    live.read = revision.content_hash(new)
    assert live.file == "in_force"
    await lives.reload(live, old)
    assert (live.file, live.refused) == ("in_force", "")


async def test_a_newer_revision_is_followed_with_this_hosts_own_sections(redis: Redis, tmp_path: Path) -> None:
    """Limits come from the store, addresses from the own file."""
    live = made(redis, config(tmp_path, limit="5/s", public_url="https://one.example.com"))
    await lives.agree(live)
    told: list[int] = []
    live.on_swap(lambda: told.append(live.revision))
    assert await lives.catch_up(live) == "kept"
    await revision.publish(config(tmp_path, limit="9/s", public_url="https://two.example.com"), live.shards)
    assert await lives.catch_up(live) == "followed"
    assert live.config.tenant_defaults.limits[0].n == 9
    assert live.config.webhooks.public_url == "https://one.example.com"
    assert told == [2]


async def test_a_config_that_cannot_be_used_here_changes_nothing(redis: Redis, tmp_path: Path) -> None:
    """A host that lacks a secret keeps what it had, says why, and follows once it has it."""
    env: dict[str, str] = {}
    live = made(redis, config(tmp_path, env=env))
    await lives.agree(live)
    named = '[providers.spare]\ntype = "twilio"\naccount_sid = "env:SID"\nauth_token = "env:TOKEN"\n'
    there = {"SID": "AC" + "0" * 32, "TOKEN": "secret"}
    await revision.publish(config(tmp_path, env=there, extra=named), live.shards)
    before = live.config
    with pytest.raises(ConfigErrors, match="SID"):
        await lives.catch_up(live)
    assert live.config is before
    assert "revision 2" in live.trouble
    env.update(there)
    assert await lives.catch_up(live) == "followed"
    assert (live.revision, live.trouble) == (2, "")


async def test_a_sandbox_bars_also_where_the_rest_of_its_config_cannot_be_used(redis: Redis, tmp_path: Path) -> None:
    """A host that keeps what it had, for a secret is missing, texts nobody whom the store's newest config forbids."""
    live = made(redis, config(tmp_path, env={}))
    await lives.agree(live)
    assert not live.barred("main", "+447400123456")
    there = {"SID": "AC" + "0" * 32, "TOKEN": "secret"}
    named = '[providers.spare]\ntype = "twilio"\naccount_sid = "env:SID"\nauth_token = "env:TOKEN"\n'
    sandbox = '[sandbox]\nenabled = true\nallow_to = ["+35386"]\n'
    await revision.publish(config(tmp_path, env=there, extra=named + sandbox), live.shards)
    with pytest.raises(ConfigErrors, match="SID"):
        await lives.catch_up(live)
    assert live.barred("main", "+447400123456")
    assert not live.barred("main", "+353861234567")
    await revision.publish(config(tmp_path, limit="7/s"), live.shards)
    assert await lives.catch_up(live) == "followed"
    assert not live.barred("main", "+447400123456")


async def test_the_carrier_is_barred_from_nothing_and_called_back_over_loopback(redis: Redis, tmp_path: Path) -> None:
    """What the sandbox keeps goes there; its receipts do not take the way by public_url."""
    live = made(redis, config(tmp_path, public_url="https://sms.example.com", extra="[sandbox]\nenabled = true\n"))
    live.loopback = "http://127.0.0.1:8776"
    assert live.barred("main", "+353861234567")
    assert not live.barred("sandbox", "+353861234567")
    assert live.callback_url("sandbox", "1.a/b") == "http://127.0.0.1:8776/webhooks/sandbox/status?ref=1.a%2Fb"
    assert live.callback_url("main", "1.a/b").startswith("https://sms.example.com/")


async def test_a_store_that_lost_its_config_gets_it_again(redis: Redis, tmp_path: Path) -> None:
    """An emptied store is served with the config that the process has."""
    live = made(redis, config(tmp_path))
    await lives.agree(live)
    await redis.flushall()
    assert await lives.catch_up(live) == "published"
    assert b"classes" in await in_force(redis)


async def test_a_shard_that_was_left_behind_is_repaired(redis: Redis, tmp_path: Path) -> None:
    """When a publisher dies half-way, the next process that looks brings the other shards along."""
    live = made(redis, config(tmp_path, limit="5/s"), shards=2)
    await lives.agree(live)
    newer = config(tmp_path, limit="9/s")
    await live.shards[0].publish(revision.content_hash(newer), shared(newer), revision.for_scripts(newer))
    await lives.catch_up(live)
    assert (await in_force(redis, 1))[b"hash"] == (await in_force(redis, 0))[b"hash"]


async def test_a_shard_that_was_set_back_is_repaired_too(redis: Redis, tmp_path: Path) -> None:
    """Of two publishers at once the late one's last writes do not stay: who has followed looks at all shards again."""
    live = made(redis, older := config(tmp_path, limit="5/s"), shards=2)
    await lives.agree(live)
    await lives.reload(live, config(tmp_path, limit="9/s"))
    await live.shards[1].publish(revision.content_hash(older), shared(older), revision.for_scripts(older))
    for _ in range(lives.LOOKS_TO_REPAIR):
        assert await lives.catch_up(live) == "kept"
    assert (await in_force(redis, 1))[b"hash"] == (await in_force(redis, 0))[b"hash"]


async def test_only_the_last_hashes_are_remembered(redis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of what was published is bounded; the oldest goes first."""
    monkeypatch.setattr(revision, "HASHES_KEPT", 2)
    live = made(redis, config(tmp_path, limit="1/s"))
    for limit in ("1/s", "2/s", "3/s", "4/s"):
        await lives.reload(live, config(tmp_path, limit=limit))
    known = [name for name in await redis.hkeys(keys.META) if name.startswith(b"config:")]
    assert len(known) == 2
    assert f"config:{revision.content_hash(live.config)}".encode() in known


async def test_who_would_refuse_looks_first(redis: Redis, tmp_path: Path) -> None:
    """A look follows what was published before it, says whether there was anything, and is one for all who ask."""
    live = made(redis, config(tmp_path, limit="5/s"))
    await lives.agree(live)
    assert not await lives.look(live)
    await revision.publish(config(tmp_path, limit="9/s"), live.shards)
    before = live.looks
    assert await asyncio.gather(*[lives.look(live) for _ in range(20)]) == [True] * 20
    assert live.looks - before <= 2  # that of the first, and of all who asked when it had begun
    assert live.config.tenant_defaults.limits[0].n == 9
    assert live.followed == [(1, "followed")]


async def test_a_look_at_what_cannot_be_used_here_changes_nothing(redis: Redis, tmp_path: Path) -> None:
    """The old config holds, nobody is troubled by it, and the next look does not read it again."""
    live = made(redis, config(tmp_path, env={}))
    await lives.agree(live)
    named = '[providers.spare]\ntype = "twilio"\naccount_sid = "env:SID"\nauth_token = "env:TOKEN"\n'
    there = {"SID": "AC" + "0" * 32, "TOKEN": "secret"}
    await revision.publish(config(tmp_path, env=there, extra=named), live.shards)
    assert not await lives.look(live)
    assert (live.revision, "revision 2 cannot be used here" in live.trouble) == (1, True)
    before = live.looks
    assert not await lives.look(live)
    assert live.looks == before
