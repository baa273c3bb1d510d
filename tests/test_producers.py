"""docs/producers/: what can be judged of the snippets without their languages; `make snippets` runs them."""

import re
from pathlib import Path

import pytest

from bench.snippets import LANGUAGES, main
from smsd.client.received import Event
from smsd.core.fields import FAULT_OF

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "producers"
SNIPPETS = {name: (FOLDER / row[1]).read_text() for name, row in LANGUAGES.items()}
CRC = {
    "node": "crc32(tenant) %",
    "php": "crc32($tenant) %",
    "ruby": 'Zlib.crc32(tenant.encode("UTF-8")) %',
    "go": "crc32.ChecksumIEEE([]byte(tenant))%",
    "java": "crc.update(tenant.getBytes(StandardCharsets.UTF_8))",
}
SENT = {"tenant", "id", "to", "body", "not_after", "meta", "op"}
READ = {"event_id", "tenant", "id", "state", "meta"}
names = pytest.mark.parametrize("name", list(LANGUAGES))


@names
def test_it_writes_and_reads_the_streams_of_the_contract(name: str) -> None:
    """Each key keeps its braces around the shard, and the shard is the tenant's CRC."""
    text = SNIPPETS[name]
    keys = re.findall(r"smsd:\{.+?\}:[a-z:]+", text)
    assert {key.rpartition("}:")[2] for key in keys} == {"in:reminder", "events"}
    assert "smsd:meta" in text
    assert CRC[name] in text


@names
def test_it_knows_the_fields_of_the_contract(name: str) -> None:
    """It writes and reads each that it should, and each is one that smsd knows."""
    quoted = re.compile(r"""["'.\s{](\w+)\b""").findall(SNIPPETS[name])
    assert (SENT | READ) - set(quoted) == set()
    assert SENT - set(FAULT_OF) == set()
    assert READ - set(Event.__struct_fields__) == set()


@names
def test_it_acknowledges_after_its_own_write_and_takes_over(name: str) -> None:
    """The acknowledgement stands after the handling, and a dead reader's entries are claimed."""
    text = SNIPPETS[name].lower()
    assert "xautoclaim" in text
    assert re.search(r"(handle\b|handle\.accept|yield event).*?xack", text, re.DOTALL)


@names
def test_the_page_names_it(name: str) -> None:
    """Every snippet has a row in the table."""
    assert f"({LANGUAGES[name][1]})" in (FOLDER / "README.md").read_text()


def test_a_language_that_cannot_be_run_is_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for by name, it ends with 1 and says what to install; so does one that nobody knows."""
    monkeypatch.setenv("PATH", "")
    assert (main(["go"]), main(["cobol"])) == (1, 1)
    said = capsys.readouterr().err
    assert "install go" in said
    assert "known: node" in said
