"""The commands that need no store."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import smsd


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("See you at 10:00", {"encoding": "GSM-7", "segments": 1, "units": 16}),
        ("a" * 161, {"encoding": "GSM-7", "segments": 2, "units": 161}),
        ("See you 💇", {"encoding": "UCS-2", "segments": 1, "units": 10}),
    ],
)
def test_segments_are_counted(text: str, counted: dict[str, object]) -> None:
    """The count is that of smsd.text, as JSON and in words."""
    assert smsd("segments", text, "--json").json() == counted
    said = smsd("segments", text)
    assert said.code == 0
    assert f"{counted['segments']} segment" in said.out


def test_segments_say_how_much_is_left() -> None:
    """Whoever writes a text learns what still fits."""
    assert smsd("segments", "a" * 159).out == "1 segment of GSM-7: 159 units, room for 1 more\n"
    assert smsd("segments", "a" * 161).out == "2 segments of GSM-7: 161 units, room for 145 more\n"


def test_vet_tells_that_a_provider_conforms() -> None:
    """The built-in carrier's provider conforms, and each check is named."""
    said = smsd("vet", "fake")
    assert (said.code, said.out.splitlines()[0]) == (0, "fake: conforms")
    report = smsd("vet", "fake", "--json").json()
    assert report["ok"]
    assert {result["outcome"] for result in report["results"]} <= {"ok", "skipped"}


def test_vet_tells_that_a_provider_does_not(tmp_path: Path) -> None:
    """A provider that takes every answer for a success does not conform: the exit code is 1 and says where."""
    (tmp_path / "eager.py").write_text(
        "from smsd.provider import Accepted\n"
        "from smsd_providers.fake import Fake\n"
        "class Eager(Fake):\n"
        "    def answer(self, response):\n"
        "        return Accepted('1')\n"
    )
    said = smsd("vet", "eager:Eager", env={"PYTHONPATH": str(tmp_path)})
    assert said.code == 1
    assert "does not conform" in said.out


def test_vet_says_what_is_no_provider(tmp_path: Path) -> None:
    """A name that leads nowhere, and vectors that cannot be read, are mistakes with one line."""
    for words, said in (
        (("nosuch",), "nosuch"),
        (("twilio",), 'what it needs stands in an entry of kind "options": --vectors FILE'),
        (("fake", "--vectors", str(tmp_path / "none.json")), "none.json: cannot be read"),
    ):
        done = smsd("vet", *words)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert said in done.err


def test_carrier_runs_by_itself() -> None:
    """`smsd carrier` prints where it listens and ends with who started it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "smsd", "carrier", "--listen", "127.0.0.1:0", "--with-parent"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["listening"].startswith("http://127.0.0.1:")
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_carrier_has_its_own_help_and_mistakes() -> None:
    """Its flags are its own; a wrong one ends with 2."""
    assert "--receipt-missing" in smsd("carrier", "--help").out
    done = smsd("carrier", "--nosuch")
    assert done.code == 2
    assert "--nosuch" in done.err


def test_schema_prints_what_editors_need() -> None:
    """The JSON Schema of the config comes out whole, ready to be written to a file."""
    said = smsd("schema")
    assert said.code == 0
    assert said.json()["properties"]["providers"]
