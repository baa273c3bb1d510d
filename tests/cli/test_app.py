"""The command line itself: names, help, exit codes, mistakes, and that it starts at once."""

import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_origin

import pytest

from smsd.cli.app import call
from smsd.cli.command import Command
from smsd.cli.commands import COMMANDS
from tests.support.running import smsd

HEAVY = ("aiohttp", "phonenumbers", "prometheus_client", "redis", "smsd.config", "structlog", "twilio", "uvloop")
NEEDED = {  # what a command may import of them; those that are not named import none
    ("health", "--config", "none.toml"): ["smsd.config"],
    ("check", "--config", "none.toml"): ["smsd.config"],
    ("segments", "hello"): [],
    ("send", "--help"): [],
    ("pause", "--help"): [],
    ("tenant", "set", "acme"): [],
    ("--help",): [],
    ("sned",): [],
}


def test_help_names_every_command_and_the_exit_codes() -> None:
    """Whoever types only `smsd --help` sees what there is and what an exit code means."""
    said = smsd("--help")
    assert said.code == 0
    assert [name for name in COMMANDS if not re.search(rf"^  {name} ", said.out, re.MULTILINE)] == []
    assert "Exit codes: 0" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_a_bare_name_is_help_but_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the same is shown, with 2."""
    assert call([]) == 2
    assert "Usage: smsd COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_each_command_has_help(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command says what it does and all that it takes."""
    assert call([*command.name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert f"smsd {command.name}" in said
    assert [takes for takes in command.takes if (takes.flag or takes.shown) not in said] == []


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_each_function_takes_what_its_row_says(command: Command) -> None:
    """The table and the functions do not drift apart, nor do names, kinds and defaults."""
    module, _, name = command.call.partition(":")
    parameters = inspect.signature(getattr(import_module(module), name), eval_str=True).parameters
    assert list(parameters) == (["flags"] if command.own_parser else [takes.name for takes in command.takes])
    for takes in command.takes:
        kind = parameters[takes.name].annotation
        if takes.name != "config":
            assert isinstance(takes.default, list if get_origin(kind) is list else kind), takes


@pytest.mark.parametrize(("typed", "needed"), NEEDED.items(), ids=lambda value: " ".join(value))
def test_commands_import_only_what_they_need(typed: tuple[str, ...], needed: list[str]) -> None:
    """Everything heavy is imported by the command that needs it, so that any starts at once."""
    code = f"import sys, smsd.cli; smsd.cli.main({typed!r}); print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(needed)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["sned"], 'did you mean "send"?'),
        (["segments"], "smsd segments --help"),
        (["segments", "a", "--nosuch"], 'no option "--nosuch"'),
        (["segments", "a", "--jsno"], 'did you mean "--json"?'),
        (["segments", "a", "b"], "goes in quotes"),
        (["completion", "csh"], "bash"),
        (["demo", "--messages", "many"], "many"),
        (["demo", "--messages", "0"], "--messages must be at least 1"),
        (["demo", "--limit-s", "-1"], "--limit-s must be more than 0"),
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


def test_options_stand_anywhere_and_texts_may_look_like_them(capsys: pytest.CaptureFixture[str]) -> None:
    """An option may stand before, between and after words; what follows -- is never one."""
    assert call(["segments", "--json", "--", "-20%"]) == 0
    assert call(["segments", "-20%"]) == 2
    assert call(["vet", "--json", "fake", "--vectors", "none.json"]) == 2
    assert "none.json: cannot be read" in capsys.readouterr().err


def test_a_mistake_shows_no_traceback() -> None:
    """From outside a mistake is a line and an exit code, and nothing else."""
    done = smsd("sned")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)


def test_a_fault_of_our_own_is_no_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 70 and not with 1, which would mean that all went well but for the outcome."""
    monkeypatch.setitem(COMMANDS, "broken", Command("broken", "json:loads", "Take nothing, though something is needed"))
    assert call(["broken"]) == 70
    assert "Traceback" in (said := capsys.readouterr().err)
    assert "report it" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("closed", "words", "code", "err"),
    [("<&-", "tenant import - --config none.toml", 2, 1), (">&-", "segments hi", 0, 0), ("2>&-", "sned", 2, 0)],
)
def test_streams_may_be_closed(closed: str, words: str, code: int, err: int) -> None:
    """A caller that closes a standard stream, as some schedulers do, gets an exit code and no traceback."""
    line = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "smsd", *words.split()]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (code, err)


def test_an_answer_that_cannot_be_written_is_no_success() -> None:
    """As on a full disk: one line says why, with 1."""
    with Path(os.devnull).open("rb") as nothing:
        line = [sys.executable, "-m", "smsd", "segments", "hi"]
        done = subprocess.run(line, stdout=nothing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("smsd: the answer cannot be written (")


def test_an_output_that_takes_ascii_only_gets_the_rest_written_out() -> None:
    """A name with an accent in an answer is no reason to fail."""
    code = "from smsd.cli.app import call; from smsd.cli.say import say; call(['--version']); say('zo\\xeb')"
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "zo\\xeb"


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
