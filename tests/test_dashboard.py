"""config/grafana/smsd.json: every query asks for what smsd shows, and every panel can be read."""

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.promql import by_labels, parse, selectors
from tests.support.scrape import CONTRACT, PROMTOOL, strange

BOARD: dict[str, Any] = json.loads((Path(__file__).parents[1] / "config" / "grafana" / "smsd.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
WIDTH = 24  # columns of Grafana's grid

NAMES = pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])


def queries(panel: dict[str, Any]) -> list[str]:
    """Its queries, the interval that Grafana chooses filled in."""
    return [target["expr"].replace("$__rate_interval", "5m") for target in panel["targets"]]


@NAMES
def test_each_query_asks_for_what_is_there(panel: dict[str, Any]) -> None:
    """Its metrics and their labels are those that smsd shows, and its legend names labels that it leaves."""
    for target, query in zip(panel["targets"], queries(panel), strict=True):
        node = parse(query)
        assert list(strange(node)) == []
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= set(by_labels(node))


@NAMES
def test_each_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    """It has a title, a sentence that explains it, and a unit; its data comes from the source that was chosen."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_what_is_counted_is_never_added_up_from_its_start() -> None:
    """A counter is shown as a rate or an increase: by itself it only ever grows."""
    for query in itertools.chain.from_iterable(map(queries, PANELS)):
        for asked in selectors(parse(query)):
            assert bool(asked.range_s) == asked.name.endswith(("_total", "_bucket")), query


def test_what_the_store_knows_is_not_added_up_over_hosts() -> None:
    """Every host tells the same of the store: a sum of it stands around a max, never around the metric itself."""
    for query in itertools.chain.from_iterable(map(queries, PANELS)):
        assert re.search(r"sum(?: by \([^)]*\))? ?\(smsd_", query) is None, query


def test_panels_do_not_overlap() -> None:
    """No two lie on the same place, and none leaves the board."""
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert at["x"] + at["w"] <= WIDTH
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_every_stable_metric_is_shown() -> None:
    """What the contract promises is on the board, but for what only tells the revision of one process."""
    shown = {
        asked.name.removesuffix("_bucket") for panel in PANELS for q in queries(panel) for asked in selectors(parse(q))
    }
    promised = {name.removesuffix("_count") for name in CONTRACT}
    assert promised - shown == {"smsd_config_info"}


def test_choices_are_asked_from_metrics_that_are_there() -> None:
    """The lists of classes and providers come from labels of metrics that always tell all of them."""
    asked = [one["query"]["query"] for one in BOARD["templating"]["list"] if one["type"] == "query"]
    assert asked == ["label_values(smsd_backlog_messages, class)", "label_values(smsd_in_flight, provider)"]
    assert [list(strange(parse(one["expr"]))) for one in BOARD["annotations"]["list"]] == [[]]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_reads_each_query(tmp_path: Path) -> None:
    """Prometheus' own parser takes every query, with an interval in its place and a choice made."""
    every = [query.replace("$", "x") for panel in PANELS for query in queries(panel)]
    rules = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(every)]
    (tmp_path / "board.yaml").write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))
    words = [str(PROMTOOL), "check", "rules", str(tmp_path / "board.yaml")]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
