"""tenant set, show, drop and import, typed as an operator does."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.config import write
from tests.support.running import Said, smsd

Typed = Callable[..., Said]


def test_settings_are_set_shown_and_dropped(typed: Typed) -> None:
    """What is not given stays; what holds with the config is told beside it."""
    assert typed("tenant set acme --limit 50/s --limit 1000/d --class-limit marketing=10/s").code == 0
    done = typed("tenant set acme --class-limit reminder=5/s --region GB --json").json()
    assert done["settings"] == {
        "limits": ["50/s", "1000/d"],
        "class_limits": {"marketing": ["10/s"], "reminder": ["5/s"]},
        "region": "GB",
    }
    shown = typed("tenant show acme --json").json()
    assert (shown["in_force"]["limits"], shown["in_force"]["sender"]) == (["50/s", "1000/d"], "Salon")
    assert "  limits         50/s, 1000/d" in typed("tenant show acme").out
    assert "no sender pool" in typed("tenant set acme --sender-pool uk").err
    assert typed("tenant set acme --unset limits --unset class_limits --json").json()["settings"] == {"region": "GB"}
    assert typed("tenant drop acme").code == 2
    assert typed("tenant drop acme --yes").code == 0
    again = typed("tenant drop acme --yes")
    assert (again.code, again.out) == (1, "nothing was set for acme: smsd tenant show tells what holds\n")
    assert typed("tenant show acme").out.startswith("nothing is set by command or API\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tenant set acme", "nothing to set is given"),
        ("tenant set acme --limit many", "tenants.acme.limits"),
        ("tenant set acme --plan gold --zone Nowhere/City", "(1 more)"),
        ("tenant set acme --class-limit 10/s", "is not CLASS=LIMIT, as marketing=10/s"),
        ("tenant set acme --unset limit", "invalid choice"),
        ("tenant import none.csv", "none.csv: cannot be read"),
    ],
)
def test_a_mistake_says_what_would_be_right(typed: Typed, line: str, said: str) -> None:
    """Each is one line, with 2, and nothing is set."""
    done = typed(line)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert said in done.err
    assert typed("tenant show acme --json").json()["settings"] is None


def test_a_file_is_imported_as_a_whole_or_not_at_all(typed: Typed, tmp_path: Path) -> None:
    """One mistake stops all of it, told with its line, unless those are to be left out."""
    path = tmp_path / "tenants.csv"
    path.write_text("tenant,limits\na,5/s\nb,many\n")
    said = typed("tenant import", str(path))
    assert said.code == 2
    assert said.out.splitlines()[0].startswith(f"{path}:3: tenants.b.limits")
    assert said.out.endswith("1 mistake; nothing was set\n")
    done = typed("tenant import --skip-mistakes --json", str(path))
    assert (done.code, done.json()["set"], done.json()["mistakes"][0]["line"]) == (1, 1, 3)
    assert typed("tenant show a --json").json()["settings"] == {"limits": ["5/s"]}


def test_ten_thousand_are_imported_from_standard_input(tmp_path: Path, store_url: str) -> None:
    """Thousands go in by one command, as JSON lines too."""
    lines = "".join(f'{{"tenant": "t{i}", "limits": ["{i % 50 + 1}/s"]}}\n' for i in range(10_000))
    command = [sys.executable, "-m", "smsd", "tenant", "import", "-", "--config", str(write(tmp_path, store=store_url))]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    assert done.stdout == "10,000 tenants are set\n"
    shown = smsd("tenant", "show", "t49", "--config", str(tmp_path / "smsd.toml"), "--json").json()
    assert shown["in_force"]["limits"] == ["50/s"]
