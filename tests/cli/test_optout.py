"""optout list, add, remove, import and export, typed as an operator does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.config import write
from tests.support.running import Said

Typed = Callable[..., Said]
ANNA = "+353861234567"


def test_a_number_is_added_listed_and_removed(typed: Typed) -> None:
    """Masked unless the whole of it is asked for; a repeat says that it was there."""
    assert typed(f"optout add {ANNA} --tenant acme").out == "all of tenant acme is closed\n"
    assert typed("optout add 0861234567 --tenant acme --scope marketing").out.endswith("was closed already\n")
    typed(f"optout add {ANNA} --sender Salon --scope marketing")
    said = typed("optout list").out
    assert "+353*******67     all" in said
    assert "tenant acme, by a command" in said
    assert ANNA not in said
    assert ANNA in typed("optout list --private --sender Salon").out
    [one] = typed("optout list --tenant acme --json").json()
    assert (one["number"], one["scope"], one["tenant"], one["source"]) == ("+353*******67", "all", "acme", "command")
    assert typed("optout list --limit 1").out.splitlines()[-1].startswith("these are 1: ")
    assert typed(f"optout remove {ANNA} --tenant acme").code == 2
    assert typed(f"optout remove {ANNA} --tenant acme --yes").code == 0
    assert typed(f"optout remove {ANNA} --tenant acme --yes").code == 1
    assert typed("optout list --tenant acme").out == "nobody has opted out, or nobody of these\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"optout add {ANNA}", "--tenant TENANT or --sender SENDER"),
        (f"optout add {ANNA} --tenant a --sender b", "not both"),
        ("optout add 12 --tenant acme", "NUMBER: "),
        ("optout list --tenant a/b", "can be no tenant"),
        (f"optout add {ANNA} --sender 353861111111", "--sender: a sender is a number like +353"),
        ("optout import none.csv", "none.csv: cannot be read"),
    ],
)
def test_a_mistake_says_what_would_be_right(typed: Typed, line: str, said: str) -> None:
    """Each is one line, with 2, and nothing is closed."""
    done = typed(line)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert said in done.err
    assert typed("optout list --json").json() == []


def test_a_file_is_imported_as_a_whole_or_not_at_all(typed: Typed, tmp_path: Path) -> None:
    """One mistake stops all of it, told with its line, unless those are to be left out."""
    path = tmp_path / "stopped.csv"
    path.write_text(f"number,scope\n{ANNA},marketing\n12,all\n")
    said = typed("optout import --tenant acme", str(path))
    assert (said.code, said.out.splitlines()[-1]) == (2, "1 mistake; nothing was closed")
    done = typed("optout import --tenant acme --skip-mistakes --json", str(path))
    assert (done.code, done.json()["read"], done.json()["closed"]) == (1, 1, 1)
    exported = typed("optout export").out
    assert exported.splitlines()[0] == "number,scope,tenant,sender,at,source,provider"
    path.write_text(exported)
    assert typed("optout import", str(path)).out == "0 of 1 were closed now\n"
    assert typed("optout export --json --tenant acme").json()["source"] == "import"


def test_many_are_imported_and_exported(tmp_path: Path, store_url: str) -> None:
    """From standard input, and out again as a file."""
    lines = "number\n" + "".join(f"+35386{n:07}\n" for n in range(20_000))
    command = [sys.executable, "-m", "smsd", "optout"]
    config = ["--config", str(write(tmp_path, store=store_url))]
    done = subprocess.run(
        [*command, "import", "-", "--tenant", "acme", *config], input=lines, capture_output=True, text=True, check=True
    )
    assert done.stdout == "20,000 of 20,000 were closed now\n"
    out = subprocess.run([*command, "export", *config], capture_output=True, text=True, check=True).stdout
    assert len(out.splitlines()) == 20_001


def test_who_reads_an_export_may_go_away(typed: Typed, tmp_path: Path, store_url: str) -> None:
    """As `smsd optout export | head` does: that is not taken for a store that does not answer."""
    typed(f"optout add {ANNA} --tenant acme")
    reads, writes = os.pipe()
    os.close(reads)
    line = [sys.executable, "-m", "smsd", "optout", "export", "--config", str(write(tmp_path, store=store_url))]
    done = subprocess.run(line, stdout=writes, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, "")
