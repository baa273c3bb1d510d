"""docs/CONTRACT.md: each row of the contract has its proof, and nothing that users build on is without a row."""

import ast
import re
from pathlib import Path

import pytest

from smsd.cli.commands import COMMANDS
from smsd.shell.api_routes import ROUTES
from smsd.shell.metrics import COUNTERS, HISTOGRAMS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "CONTRACT.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py(?:::\w+)?)`", PAGE)))


@pytest.mark.parametrize("name", NAMED)
def test_each_proof_is_there(name: str) -> None:
    """A test that is renamed or dropped takes its row with it."""
    path, _, test = name.partition("::")
    tree = ast.parse((ROOT / "tests" / path).read_text())
    tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert any(one.startswith("test_") for one in tests)
    assert not test or test in tests


def test_every_command_has_a_row() -> None:
    """Also those that came after the contract was written."""
    rows = set(re.findall(r"^\| `([a-z -]+)` \|", PAGE, re.MULTILINE))
    assert {name for name in COMMANDS if name not in rows} == set()


def test_every_path_of_the_contract_is_served() -> None:
    """What the HTTP rows name under /v1 is in the table of routes."""
    named = {path.partition("?")[0] for path in re.findall(r"(/v1/[a-z_/{}-]+\??)", PAGE)}
    assert named <= {route.path for route in ROUTES}


def test_every_metric_of_a_row_is_one_that_is_counted() -> None:
    """Names and labels as the code has them."""
    known = {f"{name}_total": labels for name, (labels, _) in COUNTERS.items()}
    known |= {name: labels for name, (labels, _, _) in HISTOGRAMS.items()}
    rows = dict(re.findall(r"^\| `(smsd_\w+)(?:\{([\w,]+)\})?` \|", PAGE, re.MULTILINE))
    assert len(rows) == 14
    assert {name: tuple(labels.split(",")) for name, labels in rows.items() if name in known} == {
        name: labels for name, labels in known.items() if name in rows
    }
