"""What more than one check of the doctor looks at, read once; and the form of a finding.

Never judges.
"""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from smsd.config import Config
from smsd.control.standing import Standing, config_in_force, standing
from smsd.store.shard import Shard


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, and what would mend it."""

    check: str = ""  # its name in doctor.CHECKS, set there
    what: str
    mend: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand. `config` is this host's with the shared part that is in force."""

    config: Config
    shards: Sequence[Shard]
    standing: Standing
    info: dict[str, Any]  # the server's INFO
    now_us: int  # by this host's clock, at `server_us`
    server_us: int  # by the server's

    @property
    def client(self) -> Any:
        """redis-py's, whose signatures are too loose to be worth repeating."""
        return self.shards[0].client

    @property
    def now_ms(self) -> int:
        """By the server's clock, which stamps entries and messages."""
        return self.server_us // 1000


async def gather(config: Config, shards: Sequence[Shard], *, now_us: int = 0) -> Facts:
    """`now_us` 0: this machine's clock."""
    client: Any = shards[0].client
    now, force = await standing(config, shards), await config_in_force(config, shards[0])
    info: dict[str, Any] = await client.info()
    asked_us = time.time_ns() // 1000
    seconds, us = await client.time()
    middle_us = (asked_us + time.time_ns() // 1000) // 2
    return Facts(
        config=force,
        shards=shards,
        standing=now,
        info=info,
        now_us=now_us or middle_us,
        server_us=seconds * 1_000_000 + us,
    )
