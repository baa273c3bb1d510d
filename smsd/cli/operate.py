"""The commands that run smsd and change its config: run, check, reload."""

import os
import signal
from pathlib import Path

from smsd.cli.say import Code, Trouble, answer
from smsd.cli.say import run as run_async

OWN_KEYS = "[http.api_keys] are each host's own: a SIGHUP there takes new ones over and drops old ones"


def run(*, workers: int, config: Path, with_parent: bool, verbose: bool) -> int:
    """Run the daemon until SIGTERM or SIGINT, which drain it; SIGHUP reloads the config."""
    hups: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: hups.append(number))  # it would end us until somebody listens
    from smsd.shell.daemon import Settings, run_one
    from smsd.shell.supervisor import run_many

    if not 1 <= workers <= 256:
        raise Trouble("--workers must be from 1 to 256", Code.MISTAKE)
    settings = Settings(config=config, with_parent=with_parent, verbose=verbose, hups=hups)
    return run_one(settings) if workers == 1 else run_many(settings, workers)


def check(*, diff: bool, config: Path, json: bool) -> Code:
    """Print every mistake in the config, with file and line and what would be right; 2 when there is one."""
    from smsd.config import ConfigErrors, load

    try:
        load(config, os.environ)
    except ConfigErrors as errors:
        mistakes = errors.mistakes
    else:
        mistakes = []
    if diff and not mistakes:
        from smsd.cli.operate_diff import compared, shown

        found = run_async(compared(config))
        answer({"ok": True, "mistakes": [], "diff": found}, f"{config}: no mistakes\n{shown(found)}", json=json)
        return Code.NOT if found.held else Code.OK
    count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
    told = [*map(str, mistakes), f"{config}: {count}"] if mistakes else [f"{config}: no mistakes"]
    answer({"ok": not mistakes, "mistakes": mistakes}, "\n".join(told), json=json)
    return Code.MISTAKE if mistakes else Code.OK


def reload(*, force: bool, config: Path, json: bool) -> Code:
    """Check the config and put it in force in every process of every host, also backwards."""
    return run_async(_reload(config, force, json))


async def _reload(config: Path, force: bool, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control.dropping import Held
    from smsd.control.revision import content_hash, publish, published

    warnings: list[str] = []
    async with reach(config, secrets=True) as store:
        before = await published(store.shards[0])
        try:
            revision = await publish(
                store.config, store.shards, force=force, warn=lambda waiting: warnings.append(str(waiting))
            )
        except Held as held:
            raise Trouble(f"{held}. smsd reload --force publishes it anyway") from None
        changed = before.hash != content_hash(store.config)
    told = (
        f"revision {revision} is in force" if changed else f"revision {revision} was in force already: nothing changed"
    )
    notes = [*warnings, *([OWN_KEYS] if store.config.http.api_keys else [])]
    text = "\n".join([told, *(f"note: {note}" for note in notes)])
    answer({"revision": revision, "changed": changed, "warnings": warnings}, text, json=json)
    return Code.OK
