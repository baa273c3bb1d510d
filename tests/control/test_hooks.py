"""A tenant's own status webhook: what may be set, the secret that is made for it, and how it stands."""

import pytest
from redis.asyncio import Redis
from standardwebhooks import Webhook

from smsd.control.hooks import Bad, drop, put, show
from smsd.store import keys
from smsd.store.hooks import hook
from tests.support.world import World


@pytest.fixture
async def world(redis: Redis) -> World:
    """An empty shard."""
    return World(redis)


URL = "https://acme.example/sms-events?k=1"


async def test_it_gets_a_secret_of_its_own(world: World) -> None:
    """Each time another one, by which the library signs; the states are those of the config's default."""
    made = await put(world.shard, "acme", URL)
    assert made.secret.startswith("whsec_")
    Webhook(made.secret)
    assert made.states == ["delivered", "undelivered", "failed", "expired", "unconfirmed"]
    again = await put(world.shard, "acme", URL, ["queued", "queued"])
    assert (again.states, again.secret != made.secret) == (["queued"], True)
    there = await hook(world.shard, "acme")
    assert there is not None
    assert there.secret == again.secret


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("http://acme.example/", "url"),
        ("https://127.0.0.1/", "url"),
        ("https://169.254.169.254/latest/meta-data", "url"),
        ("https://[fd00::1]/", "url"),
        ("https://user:pw@acme.example/", "url"),
        ("https://acme.example/a b", "url"),
        ("https://acme.example/\nHost: x", "url"),
        ("https://acme.example/" + "x" * 2000, "url"),
        ("", "url"),
    ],
)
async def test_a_url_that_leads_inside_is_refused(world: World, url: str, field: str) -> None:
    """What its text tells is refused at once, and nothing is set; the rest is for each connection."""
    with pytest.raises(Bad) as bad:
        await put(world.shard, "acme", url)
    assert bad.value.field == field
    assert await show(world.shard, "acme") is None


async def test_a_state_that_is_none_is_refused(world: World) -> None:
    """With those that there are."""
    with pytest.raises(Bad, match="expected any of queued, submitted"):
        await put(world.shard, "acme", URL, ["sent"])


async def test_it_is_shown_with_how_it_stands_and_without_its_secret(world: World) -> None:
    """How much waits, since when, and whether it is disabled."""
    await put(world.shard, "acme", URL)
    at_ms = world.now // 1000 - 5000
    await world.client.zadd(keys.key(0, "push"), {f"tenant:acme\0{0:016d}\0{at_ms}-0\0000\0000": 0})
    await world.client.hset(keys.key(0, "shut"), "tenant:acme", '{"at_ms":1,"why":"it answered 410 Gone"}')
    there = await show(world.shard, "acme")
    assert there is not None
    assert (there.url, there.waiting, there.oldest_s, there.disabled) == (URL, 1, 5.0, True)
    assert "secret" not in there.__struct_fields__
    assert await drop(world.shard, "acme")
    assert not await drop(world.shard, "acme")
