"""The way of a command to the store: by the config, and with every failure as one line that says what would mend it.

Never starts a store and never fixes anything in one: `smsd run` does.
"""

import os
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from smsd.cli.say import Code, Trouble
from smsd.config import Config, ConfigErrors, load

if TYPE_CHECKING:
    from smsd.store.shard import Shard


class Reached:
    """A store that answers. `client` is redis-py's, whose signatures are too loose to be worth repeating."""

    def __init__(self, config: Config, client: Any, shards: "list[Shard]") -> None:
        self.config, self.client, self.shards = config, client, shards


def configured(path: Path, *, secrets: bool = False) -> Config:
    """The config of a command. `secrets`: whether those of the providers are needed."""
    try:
        return load(path, os.environ, secrets=secrets)
    except ConfigErrors as errors:
        first, more = errors.mistakes[0], len(errors.mistakes) - 1
        rest = f" ({more} more: smsd check --config {path})" if more else ""
        raise Trouble(f"{first}{rest}", Code.MISTAKE) from None


@asynccontextmanager
async def reach(path: Path, *, secrets: bool = False) -> AsyncGenerator[Reached]:
    """The store of the config, for as long as the block lasts. Raises Trouble; failures of the store inside it too."""
    from redis.exceptions import AuthenticationError, RedisError, ResponseError

    from smsd.secret import SecretError
    from smsd.store.connect import StoreError, connect
    from smsd.store.shard import ClockDiffers, Shard

    config = configured(path, secrets=secrets)
    try:
        store = connect(_url(config), shards=config.shards, size=4)
    except (StoreError, SecretError) as error:
        raise Trouble(str(error), Code.MISTAKE) from None
    try:
        await _agree(store.client, config.shards, store.address)
        yield Reached(config, store.client, [Shard(store.client, number) for number in range(config.shards)])
    except ClockDiffers as differs:
        raise Trouble(str(differs).removeprefix("CLOCK ")) from None
    except ResponseError as error:
        raise Trouble(f"the store at {store.address} refuses this: {error}", Code.STORE) from None
    except AuthenticationError as error:
        raise Trouble(
            f"the store at {store.address} lets nobody in by that user and password ({error}): mend [store] url",
            Code.STORE,
        ) from None
    except (RedisError, OSError) as error:
        hint = "smsd run starts it" if config.store.embedded else "start it, or mend [store] url"
        raise Trouble(f"the store at {store.address} does not answer ({error}): {hint}", Code.STORE) from None
    finally:
        await store.aclose()


def _url(config: Config) -> str:
    """Of the server that a daemon runs or was told of."""
    from smsd.store.embedded import ADDRESS, Where

    if not config.store.embedded:
        return config.store.url.reveal()
    try:
        return msgspec.json.decode((config.data_dir / ADDRESS).read_bytes(), type=Where).url
    except (OSError, msgspec.MsgspecError):
        raise Trouble(f"no embedded store runs in {config.data_dir}: smsd run starts it", Code.STORE) from None


async def _agree(client: Any, shards: int, address: str) -> None:
    from smsd.store import keys

    there = await cast("Awaitable[bytes | None]", client.hget(keys.META, "shards"))
    if there is not None and int(there) != shards:
        raise Trouble(
            f"the store at {address} has {int(there)} shards, the config says {shards}: mend [store] shards",
            Code.MISTAKE,
        )
