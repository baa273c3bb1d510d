"""The page of providers says what their classes say, and the page on adding one works as it stands."""

import re
import sys
from pathlib import Path

import pytest

from smsd.config.plugin import known_types
from smsd.testing.catalogue import page
from smsd.testing.conformance import Outcome, checks

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_code_says() -> None:
    """docs/PROVIDERS.md has a row and a section for each provider; `make docs` writes it."""
    text = page()
    assert (DOCS / "PROVIDERS.md").read_text() == text
    assert all(f"| [`{name}`](#{name}) |" in text for name in known_types("smsd_providers."))


def test_the_page_tells_what_has_to_be_set_up() -> None:
    """What the docstring of Options says beyond its first sentence stands above the keys."""
    section = page().partition("## kannel\n")[2].partition("\n## ")[0]
    assert "max-messages = 0" in section.partition("| key |")[0]


def test_no_default_is_a_secret(tmp_path: Path) -> None:
    """The page shows no secret but the built-in carrier's, which guards nothing."""
    assert not re.findall(r"\| secret: [^|]*\| `", page())


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the page on adding a provider has the reader write."""
    text = (DOCS / "ADDING_A_PROVIDER.md").read_text()
    (tmp_path / "acme_sms.py").write_text(_block(text, "python"))
    (tmp_path / "acme.json").write_text(_block(text, "json"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_sms", raising=False)
    return tmp_path


def _block(text: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_provider_on_the_page_conforms(written: Path) -> None:
    """What a reader copies keeps the contract, and nothing of it is left unchecked but what the vendor lacks."""
    results = [check.run() for check in checks("acme_sms:Acme", written / "acme.json")]
    assert [result for result in results if result.outcome is Outcome.FAILED] == []
    skipped = {result.name for result in results if result.outcome is Outcome.SKIPPED}
    assert skipped == {"idempotency", "look-up", "hostile contents"}
