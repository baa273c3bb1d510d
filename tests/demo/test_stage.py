"""The demo's processes: there when it begins, gone when it ends."""

import os
import select
from pathlib import Path

import pytest

from smsd.demo import stage as stages
from smsd.demo.stage import Unstaged, stage


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All temporary folders are made here."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def ended(pid: int) -> bool:
    """Whether a process ends within a while; a child of ours has been waited for by who started it."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 20)[0])
    finally:
        os.close(handle)


def test_it_sets_up_and_puts_everything_away(folder: Path) -> None:
    """Inside, a worker is ready and the carrier answers; after it no process and no file is left."""
    with stage(seed=3, workers=1, keep=False) as made:
        assert made.ready()
        assert made.carrier.stats().requests == 0
        assert made.carrier.faults().throttle > 0
        pids = [made.daemon.pid, made.carrier.pid]
        assert [path.parent for path in folder.glob("*/smsd.toml")] == [made.folder]
    assert all(map(ended, pids))
    assert list(folder.iterdir()) == []


def test_the_folder_can_be_kept(folder: Path) -> None:
    """With `keep` config, log and data stay, and still no process."""
    with stage(seed=3, workers=1, keep=True) as made:
        pid = made.daemon.pid
    assert ended(pid)
    assert {path.name for path in made.folder.iterdir()} == {"smsd.toml", "smsd.log", "store"}
    assert not (made.folder / "store" / "store.json").exists()


def test_a_daemon_that_does_not_start_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said last is in the error, and everything else is put away."""
    monkeypatch.setattr(stages, "CONFIG", stages.CONFIG.replace("weight = 8", "wieght = 8"))
    with pytest.raises(Unstaged, match="wieght"), stage(seed=3, workers=1, keep=False):
        pass
    assert list(folder.iterdir()) == []
