"""Tenants' own status webhooks in the store: who has one, and what has changed."""

from smsd.store import keys
from smsd.store.hooks import Hook, changed, drop, hook, name_of, put, tenant_of
from smsd.store.push import Shut, shuts
from tests.support.world import World

ACME = Hook("https://acme.example/x", ("delivered",), "whsec_" + "QUJD" * 8)


async def test_each_change_is_seen_once(world: World) -> None:
    """By its version; who has seen it hears nothing more until the next."""
    assert await changed(world.shard, -1) == (0, {})
    assert await changed(world.shard, 0) is None
    await put(world.shard, "acme", ACME)
    assert await changed(world.shard, 0) == (1, {"acme": ACME})
    assert await hook(world.shard, "acme") == ACME
    assert await drop(world.shard, "acme")
    assert not await drop(world.shard, "acme")
    assert await changed(world.shard, 1) == (3, {})
    assert await hook(world.shard, "acme") is None


async def test_setting_one_enables_it(world: World) -> None:
    """Whoever answered 410 and sets it anew means it."""
    name = keys.key(0, "shut")
    await world.client.hset(name, name_of("acme"), '{"at_ms":1,"why":"it answered 410 Gone"}')
    assert await shuts(world.shard) == {"tenant:acme": Shut(1, "it answered 410 Gone")}
    await put(world.shard, "acme", ACME)
    assert await shuts(world.shard) == {}


def test_a_name_is_that_of_no_table_of_the_config() -> None:
    """It has a colon; the tenant may have some too."""
    assert tenant_of(name_of("a:b")) == "a:b"
    assert tenant_of("platform") == ""
    assert "whsec" not in repr(ACME)
