"""What comes before a process, or the parent of several, has an event loop: the config, and the embedded store.

Never starts half of it: what cannot start is refused, with every reason. Imports nothing that only a worker needs.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec
from structlog.typing import FilteringBoundLogger

from smsd.config import Config, ConfigErrors, load
from smsd.store.connect import StoreError
from smsd.store.embedded import Embedded

EXIT_OK, EXIT_PART_FAILED, EXIT_MISTAKE, EXIT_STORE = 0, 1, 2, 3


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What `smsd run` was told."""

    config: Path
    with_parent: bool = False  # drain and end when standard input does
    shared_ports: bool = False  # other workers of the same parent listen there too
    verbose: bool = False
    hups: list[int] = []  # SIGHUPs that no reading of the file has answered yet, also of before anybody could


class Refused(Exception):
    """The process cannot start. `code` is its exit code, `said` the lines for the log, each with what would mend it."""

    def __init__(self, code: int, said: Sequence[str]) -> None:
        super().__init__("; ".join(said))
        self.code, self.said = code, list(said)


def prepare(settings: Settings) -> tuple[Config, Embedded | None]:
    """The config, and this process's hold on the embedded store where there is one. Raises Refused."""
    try:
        config = load(settings.config, os.environ)
    except ConfigErrors as errors:
        raise Refused(EXIT_MISTAKE, [str(mistake) for mistake in errors.mistakes]) from None
    if not config.store.embedded:
        return config, None
    fsync = "always" if config.store.durability == "strict" else "everysec"
    embedded = Embedded(config.data_dir, config.store.listen, fsync=fsync)
    try:
        embedded.start()
    except StoreError as error:
        raise Refused(EXIT_MISTAKE, [str(error)]) from None
    return config, embedded


def end(embedded: Embedded | None, log: FilteringBoundLogger) -> None:
    """When the event loop is over: lets go of the embedded store. One that hangs is told of and left: it may still be
    writing its file. From now on signals are ignored: one could only end us before the store, or in place of our code.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        if embedded is not None:
            embedded.stop()
    except StoreError as error:
        log.error("store_left", detail=str(error))
