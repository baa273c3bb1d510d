"""The command line itself: names, help, exit codes, mistakes, and that it starts at once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from smsd.cli.app import call, made
from tests.support.running import smsd

COMMANDS = ["carrier", "check", "demo", "health", "reload", "run", "segments", "send", "status", "trace", "vet"]
HEAVY = ("redis", "aiohttp", "phonenumbers", "prometheus_client", "twilio", "uvloop", "structlog", "smsd.config")


def test_help_names_every_command_and_the_exit_codes() -> None:
    """Whoever types only `smsd --help` sees what there is and what an exit code means."""
    said = smsd("--help")
    assert said.code == 0
    assert [name for name in COMMANDS if not re.search(rf"\b{name}\b", said.out)] == []
    assert "Exit codes: 0" in said.out


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "carrier"])
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command says what it does and what it takes; those that read the config name its option."""
    assert call([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"smsd {command}" in said
    assert ("--config" in said) == (command not in ("demo", "segments", "vet"))


def test_no_command_imports_what_it_may_not_need() -> None:
    """Everything heavy is imported by the command that needs it, so that any starts at once."""
    code = f"import sys, smsd.cli.app; smsd.cli.app.made(); print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_is_registered() -> None:
    """The command line and this list of commands do not drift apart."""
    assert sorted(name for name in made() if not name.startswith("-")) == COMMANDS


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["sned"], "sned"),
        (["segments"], "smsd segments --help"),
        (["segments", "a", "--nosuch"], "nosuch"),
        (["demo", "--messages", "many"], "many"),
        (["demo", "--messages", "0"], "--messages must be at least 1"),
        (["run", "--workers", "0"], "--workers must be from 1"),
    ],
    ids=" ".join,
)
def test_a_mistyped_line_is_one_line_and_a_code(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake in what was typed ends with 2 and one line that says what would mend it."""
    assert call(typed) == 2
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    assert said in told.err


def test_a_mistake_shows_no_traceback() -> None:
    """From outside a mistake is a line and an exit code, and nothing else."""
    done = smsd("sned")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)


def test_the_version_is_told() -> None:
    """`--version` prints one line."""
    done = smsd("--version")
    assert done.code == 0
    assert re.match(r"\d+\.\d+|unknown", done.out)


def test_python_m_smsd_is_the_command(tmp_path: Path) -> None:
    """The installed command and the module are one."""
    installed = Path(sys.executable).with_name("smsd")
    done = subprocess.run([installed, "segments", "hi"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == smsd("segments", "hi").out
