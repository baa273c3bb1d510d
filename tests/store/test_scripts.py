"""Scripts as the server gets them: whole, with every name resolved."""

import re
from importlib import resources

import pytest
from redis.asyncio import Redis

from smsd.store import keys
from smsd.store.scripts import Scripts, digest, source

VERBS = sorted(
    path.name[:-4] for path in (resources.files("smsd.store") / "lua").iterdir() if path.name.endswith(".lua")
)


@pytest.mark.parametrize("verb", VERBS)
async def test_every_script_loads_under_the_name_that_we_call_it_by(redis: Redis, verb: str) -> None:
    """The server compiles it, and its digest is ours."""
    assert (await redis.script_load(source(verb))) in (digest(verb), digest(verb).encode())


@pytest.mark.parametrize("verb", VERBS)
def test_no_name_is_left_to_be_resolved(verb: str) -> None:
    """No K.<kind> and no m[FIELD] remains, outside of comments."""
    code = re.sub(r"--.*", "", source(verb))
    assert not re.search(r"\bK\.\w+|\[[A-Z_]+\]", code)


async def test_a_script_that_the_server_forgot_is_sent_whole(redis: Redis) -> None:
    """After SCRIPT FLUSH the call goes through all the same."""
    scripts = Scripts(redis)
    args = ["0", "0", "0", "0", "", ""]
    await scripts.run("rewake", keys.every(0), ["0", "0", "0", "0"])
    await redis.script_flush()
    assert await scripts.run("rewake", keys.every(0), args[:4]) == b"0"


def test_only_what_grows_the_data_is_refused_when_memory_is_short() -> None:
    """admit and lease stop at the server's mark; all others carry allow-oom."""
    refused = {verb for verb in VERBS if "allow-oom" not in source(verb).splitlines()[0]}
    assert refused == {"admit", "lease"}
