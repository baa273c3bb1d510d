"""The scripts of the store against their twin in pure Python, over random histories of everything that can happen.

`make test` plays a fixed few. More: SEEDS=2000 python -m pytest tests/store/test_differential.py, from FIRST_SEED on; a
history that fails is cut to the operations that matter, and what is left is printed: SHRINK=0 prints it whole.
"""

import os
import random

import pytest
from redis.asyncio import Redis

from tests.support.histories import Op, Player, Setting, config, history
from tests.support.twins import Pair, left_behind

SEEDS = int(os.environ.get("SEEDS", "40"))
FIRST = int(os.environ.get("FIRST_SEED", "0"))
SHRINK = int(os.environ.get("SHRINK", "150"))  # how many shorter histories are tried
CHUNK = 10  # histories in one test
LENGTH = 120
EVERY = 6  # operations between two comparisons of everything


async def play(redis: Redis, seed: int, setting: Setting, ops: list[Op], every: int = EVERY) -> None:
    """Raises AssertionError where the two differ or a promise is broken."""
    await redis.flushall()
    pair = Pair(redis, config(random.Random(seed), setting))
    player = Player(pair, setting)
    await pair.start()
    for i, op in enumerate(ops):
        await player.play(op)
        if i % every == 0:
            await pair.compare()
    await pair.compare()
    await player.drain()
    await pair.compare()
    pair.windows()
    left = await left_behind(redis)
    assert not left, f"left behind when everything had ended: {left}"


async def fails(redis: Redis, seed: int, setting: Setting, ops: list[Op]) -> str:
    """What a history shows to be wrong; "" if nothing."""
    try:
        await play(redis, seed, setting, ops, every=1)
    except AssertionError as error:
        return str(error)[:3000]
    return ""


async def shortest(redis: Redis, seed: int, setting: Setting, ops: list[Op], tries: int) -> list[Op]:
    """The history without what the failure does not need, as far as so many tries show."""
    size = max(1, len(ops) // 2)
    while tries > 0:
        at = 0
        while at < len(ops) and tries > 0:
            shorter = ops[:at] + ops[at + size :]
            tries -= 1
            if await fails(redis, seed, setting, shorter):
                ops = shorter
            else:
                at += size
        if size == 1:
            break
        size = max(1, size // 2)
    return ops


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
async def test_the_scripts_and_their_twin_agree(redis: Redis, first: int) -> None:
    """Over random histories both say the same words, write the same events, keep the same state, and leak nothing."""
    for seed in range(first, min(first + CHUNK, FIRST + SEEDS)):
        setting, ops = history(seed, LENGTH)
        try:
            await play(redis, seed, setting, ops)
        except AssertionError as error:
            if SHRINK:
                ops = await shortest(redis, seed, setting, ops, SHRINK)
            why = await fails(redis, seed, setting, ops)
            text = "\n".join(f"  {op.name} {op.seed}" for op in ops)
            raise AssertionError(f"seed {seed}: {why or error}\nafter:\n{text}") from None
