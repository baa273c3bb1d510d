"""Completion, asked of real shells as Tab asks them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from smsd.cli.commands import COMMANDS
from tests.support.running import smsd

ASK_BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_shtab_smsd smsd "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("completion")
    made = {shell: folder / shell for shell in ("bash", "zsh", "fish")}
    for shell, path in made.items():
        said = smsd("completion", shell)
        assert said.code == 0
        path.write_text(said.out)
    return made


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["smsd", "pa"], ["pause"]),
        (["smsd", "pause", "cam"], ["campaign"]),
        (["smsd", "dead", "re"], ["redrive"]),
        (["smsd", "completion", ""], ["bash", "zsh", "fish"]),
        (["smsd", "demo", "--me"], ["--messages"]),
        (["smsd", "carrier", "--pro"], ["--profile"]),
        (["smsd", "carrier", "--profile", "p"], ["plain"]),
    ],
    ids=" ".join,
)
def test_bash_completes(scripts: dict[str, Path], typed: list[str], offered: list[str]) -> None:
    """Bash offers the commands, options and choices that begin with what was typed."""
    done = subprocess.run(
        ["bash", "-c", ASK_BASH, "bash", scripts["bash"], *typed], capture_output=True, text=True, check=True
    )
    assert (done.stdout.split(), done.stderr) == (offered, "")


def test_bash_completes_files_of_a_config(scripts: dict[str, Path], tmp_path: Path) -> None:
    """Where a file is wanted, files are offered."""
    (tmp_path / "mine.toml").touch()
    done = subprocess.run(
        ["bash", "-c", ASK_BASH, "bash", scripts["bash"], "smsd", "check", "--config", "mi"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.split() == ["mine.toml"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_can_read_its_script(scripts: dict[str, Path], shell: str) -> None:
    """The script names every command, and the shell, where it is at hand, finds no mistake in it."""
    text = scripts[shell].read_text()
    assert [name for name in COMMANDS if name.split()[-1] not in text] == []
    if shutil.which(shell):
        subprocess.run([shell, "-n", scripts[shell]], check=True)
