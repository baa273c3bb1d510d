"""webhooks list, enable and replay, typed as an operator does."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.store import keys
from smsd.store.push import Shut, gaps, shuts
from smsd.store.shard import Shard
from tests.support.config import write
from tests.support.pushing import endpoint
from tests.support.running import Said, smsd

Typed = Callable[..., Said]
PLATFORM = endpoint("platform", "https://rails.example.com/events?token=1".partition("?")[0])


@pytest.fixture
def typed(tmp_path: Path, store_url: str) -> Typed:
    """Runs a command on a store whose config names one receiver."""
    config = write(tmp_path, store=store_url, extra=PLATFORM)
    return lambda line: smsd(*line.split(), "--config", str(config), env=dict(os.environ))


async def tell(redis: Redis, n: int) -> None:
    """So many events, of two tenants in turns."""
    for i in range(n):
        tenant = ("acme", "other")[i % 2]
        fields = {"event_id": f"{tenant}/m{i}/1", "tenant": tenant, "state": "delivered", "at": "1"}
        await redis.xadd(keys.key(0, "events"), fields)  # pyright: ignore[reportArgumentType]


async def shut(redis: Redis) -> None:
    told = Shut(1_000, "it answered 410 Gone", "https://rails.example.com/events")
    await redis.hset(keys.key(0, "shut"), "platform", f'{{"at_ms":{told.at_ms},"why":"{told.why}","url":"{told.url}"}}')


async def test_a_list_tells_who_waits_and_who_is_disabled(typed: Typed, redis: Redis) -> None:
    """One line each, without the path of its URL; the code says that one is disabled."""
    said = typed("webhooks list")
    assert (said.code, said.out) == (0, "platform at https://rails.example.com: nothing waits\n")
    await shut(redis)
    await redis.zadd(keys.key(0, "push"), {f"platform\0{1:016d}\x001-0\x000\x000": 0})
    said = typed("webhooks list")
    assert said.code == 1
    assert "1 waiting (oldest" in said.out
    assert "disabled since 1970-01-01 00:00:01Z, it answered 410 Gone: smsd webhooks enable platform" in said.out
    assert "webhooks   platform at https://rails.example.com: 1 waiting" in typed("status").out
    (one,) = typed("webhooks list --json").json()
    assert (one["waiting"], one["disabled_at_ms"], one["replaying"]) == (1, 1000, False)


async def test_one_that_is_disabled_is_enabled(typed: Typed, redis: Redis) -> None:
    """Once; a name that the config does not have is a mistake that tells those that it has."""
    await shut(redis)
    assert typed("webhooks enable platform").out == "platform is told again, from where it stopped\n"
    assert await shuts(Shard(redis)) == {}
    assert typed("webhooks enable platform --json").json() == {"enabled": False}
    said = typed("webhooks enable plattform")
    assert (said.code, "there are platform" in said.err) == (2, True)


async def test_a_replay_says_how_many_and_wants_a_yes(typed: Typed, redis: Redis) -> None:
    """Of one tenant or of all; a second one while it is under way is refused."""
    await tell(redis, 5)
    said = typed("webhooks replay platform --since 1h")
    assert (said.code, "tells platform 5 events again (none before" in said.err) == (2, True)
    assert await gaps(Shard(redis)) == []
    done = typed("webhooks replay platform --since 1h --tenant acme --yes --json")
    assert (done.code, done.json()["events"]) == (0, 3)
    (gap,) = await gaps(Shard(redis))
    assert (gap.field, gap.tenant) == ("platform|replay", "acme")
    said = typed("webhooks replay platform --since 1h --yes")
    assert (said.code, "is not over yet" in said.err) == (1, True)
    assert "a replay is under way" in typed("webhooks list").out


async def test_a_replay_of_nothing_does_nothing(typed: Typed, redis: Redis) -> None:
    """And times that make no sense are a mistake."""
    await tell(redis, 1)
    assert "can be no tenant" in typed("webhooks replay platform --since 2h --tenant acme,other").err
    said = typed("webhooks replay platform --since 2h --until 1h")
    assert said.out == "no such event is kept for platform\n"
    assert await gaps(Shard(redis)) == []
    assert typed("webhooks replay platform").code == 2
    assert typed("webhooks replay platform --since 1h --until 2h").code == 2
    assert typed("webhooks replay platform --since yesterday").code == 2


async def test_a_tenants_own_is_set_shown_and_dropped(typed: Typed, redis: Redis) -> None:
    """With a secret that is shown once; what leads inside is a mistake; enable and replay know it by its name."""
    made = typed("webhooks set acme --url https://acme.example/x --state delivered --json").json()
    assert made["secret"].startswith("whsec_")
    said = typed("webhooks show acme")
    assert (said.code, said.out) == (0, "acme is told of delivered at https://acme.example/x: nothing waits\n")
    await redis.hset(keys.key(0, "shut"), "tenant:acme", '{"at_ms":1,"why":"it answered 410 Gone"}')
    said = typed("webhooks show acme")
    assert (said.code, "disabled, for it answered 410: smsd webhooks enable tenant:acme" in said.out) == (1, True)
    assert typed("webhooks enable tenant:acme").out == "tenant:acme is told again, from where it stopped\n"
    await tell(redis, 4)
    assert typed("webhooks replay tenant:acme --since 1h --yes --json").json()["events"] == 2
    assert typed("webhooks drop acme").code == 0
    assert typed("webhooks drop acme").code == 1
    assert typed("webhooks show acme").code == 1
    assert typed("webhooks enable tenant:acme").code == 2
    said = typed("webhooks set acme --url https://10.0.0.1/")
    assert (said.code, "--url: expected a public URL" in said.err) == (2, True)
    assert typed("webhooks set acme --url https://acme.example/ --state sent").code == 2
    assert typed("webhooks set a/b --url https://acme.example/").code == 2
