"""The alert rules of config/: each fires when it should and only then, is told of whole, and has its runbook.

They are evaluated by tests/support/promql.py, so that this runs on every machine; where promtool is installed (in PATH,
or named by PROMTOOL), it judges the same files, and the evaluator is held against it.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.support.promql import Labels, Number, Series, by_labels, parse, seconds, selectors
from tests.support.scrape import PROMTOOL, strange

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "config" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
TESTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.test.yaml").read_text())["tests"]
OPERATING = (ROOT / "docs" / "OPERATING.md").read_text()
RUNBOOKS = dict(re.findall(r"^### (Smsd\w+)\n\n(.*?)(?=^#|\Z)", OPERATING, re.MULTILINE | re.DOTALL))
STEP_S = 60

NAMES = pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def values(written: str) -> Iterator[float | None]:
    """Of promtool's notation: "1 2+3x4 _x2 stale"; None is missing, nan an end."""
    for part in written.split():
        if part == "stale":
            yield float("nan")
        elif part.startswith("_"):
            yield from [None] * int(part[2:] or 1)
        else:
            found = re.fullmatch(r"(-?[\d.]+)(?:([+-][\d.]+))?(?:x(\d+))?", part)
            assert found, part
            start, step, times = float(found[1]), float(found[2] or 0), int(found[3] or 0)
            yield from (start + step * n for n in range(times + 1))


def labels_of(series: str) -> tuple[str, dict[str, str]]:
    name, _, labels = series.partition("{")
    return name, dict(re.findall(r'(\w+)="([^"]*)"', labels))


def series_of(test: dict[str, Any], *, left_open: bool) -> Series:
    made = Series(left_open=left_open)
    for one in test["input_series"]:
        for n, value in enumerate(values(str(one["values"]))):
            if value is not None:
                made.add(*labels_of(one["series"]), n * STEP_S, value)
    return made


def firing(series: Series, at_s: float) -> Series:
    """ALERTS as Prometheus tells it: what was true at each step for as long as the rule asks."""
    told = Series(left_open=False)
    for rule in RULES:
        since: dict[Labels, float] = {}
        query, for_s = parse(rule["expr"]), seconds(rule["for"])
        for step in range(int(at_s / STEP_S) + 1):
            now_s = step * STEP_S
            since = {labels: since.get(labels, now_s) for labels in series.vector(query, now_s)}
        for labels, began_s in since.items():
            if at_s - began_s >= for_s:
                more = {"alertname": rule["alert"], "alertstate": "firing", **rule["labels"]}
                told.add("ALERTS", {**dict(labels), **more}, at_s, 1)
    return told


@pytest.mark.parametrize("left_open", [True, False], ids=["3.x", "2.x"])
@pytest.mark.parametrize("test", TESTS, ids=[test["name"].split(":")[0] for test in TESTS])
def test_each_alert_fires_when_it_should(test: dict[str, Any], left_open: bool) -> None:
    """Every expectation of alerts.test.yaml holds, by Prometheus 2 and 3 alike."""
    series = series_of(test, left_open=left_open)
    for asked in test["promql_expr_test"]:
        at_s = seconds(asked["eval_time"])
        found = firing(series, at_s).vector(parse(asked["expr"]), at_s)
        expected = {frozenset(labels_of(one["labels"])[1].items()): one["value"] for one in asked["exp_samples"]}
        assert found == expected, asked["eval_time"]


@NAMES
def test_each_alert_is_tested_both_ways(rule: dict[str, Any]) -> None:
    """For each alert there is an instant at which it fires and one at which it does not, with its series there."""
    asked = [a for test in TESTS for a in test["promql_expr_test"] if f'alertname="{rule["alert"]}"' in a["expr"]]
    assert {bool(one["exp_samples"]) for one in asked} == {True, False}


@NAMES
def test_each_alert_asks_for_what_is_there(rule: dict[str, Any]) -> None:
    """Its metrics and their labels are those that smsd shows."""
    assert list(strange(parse(rule["expr"]))) == []


@NAMES
def test_each_alert_is_told_whole(rule: dict[str, Any]) -> None:
    """It says how urgent it is, waits for more than one breach, and uses only labels that its query leaves."""
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert seconds(rule["for"]) >= STEP_S
    notes = rule["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert not notes["summary"].endswith(".")
    assert notes["description"].endswith(".")
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(notes.values())))
    assert used <= set(by_labels(parse(rule["expr"])))


@NAMES
def test_each_alert_has_its_runbook(rule: dict[str, Any]) -> None:
    """The paragraph that it points to says what is seen, what it means for clients, where to look and what to do."""
    assert rule["annotations"]["runbook_url"] == f"docs/OPERATING.md#{rule['alert'].lower()}"
    text = RUNBOOKS[rule["alert"]]
    assert [word for word in ("**Seen:**", "**For clients:**", "**Look:**", "**Do:**") if word not in text] == []


def test_no_runbook_is_left_over() -> None:
    """Each paragraph belongs to an alert, in the same order."""
    assert list(RUNBOOKS) == [rule["alert"] for rule in RULES]


# ---- promtool --------------------------------------------------------------------------------------------------------


def promtool(*words: str, folder: Path = FOLDER) -> "subprocess.CompletedProcess[str]":
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *words], cwd=folder, capture_output=True, text=True, check=False)


@needs_promtool
@pytest.mark.parametrize(
    "words", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")], ids=["check", "test"]
)
def test_promtool_says_the_same(words: tuple[str, ...]) -> None:
    """The rules and their tests are right by Prometheus' own tool."""
    done = promtool(*words)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_evaluator_agrees_with_promtool(tmp_path: Path) -> None:
    """Every query of every rule, over the series of every test, comes to the same value at several instants."""
    said = promtool("--version")
    version = re.search(r"version (\d+)", said.stdout + said.stderr)
    assert version
    tests: list[dict[str, Any]] = []
    compared = 0
    for test in TESTS:
        series, asked = series_of(test, left_open=int(version[1]) >= 3), list[dict[str, Any]]()
        for rule in RULES:
            if not {one.name for one in selectors(parse(rule["expr"]))} & {
                labels_of(one["series"])[0] for one in test["input_series"]
            }:
                continue
            for minutes in (0, 3, 7, 12, 25, 45, 70):
                found = series.vector(parse(rule["expr"]), minutes * 60)
                samples = [{"labels": _written(labels), "value": round(v * 1e6)} for labels, v in found.items()]
                query = f"round(1000000 * ({rule['expr']}))"  # millionths: sums differ in their last bit
                asked.append({"expr": query, "eval_time": f"{minutes}m", "exp_samples": samples})
                compared += len(samples)
        tests.append({"interval": "1m", "input_series": test["input_series"], "promql_expr_test": asked})
    assert compared > 100
    whole = {"rule_files": [], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "compare.yaml").write_bytes(msgspec.json.encode(whole))  # JSON is YAML too
    done = promtool("test", "rules", "compare.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def _written(labels: Labels) -> str:
    return "{" + ", ".join(f'{name}="{text}"' for name, text in sorted(labels)) + "}"


# ---- The evaluator ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["rate(a[5m", "a{b=~}", "topk(3, a)", "a ^ 2", "sum(a) without (b)", "a offset 5m", ""]
)
def test_what_the_evaluator_does_not_know_is_a_mistake(query: str) -> None:
    """It never guesses: what lies outside its part of PromQL fails at once."""
    with pytest.raises(AssertionError):
        parse(query)


def test_a_counter_that_starts_anew_goes_on() -> None:
    """A restart is no fall: the growth before and after is added up."""
    series = Series(left_open=True)
    for at_s, value in enumerate([10.0, 20.0, 0.0, 10.0]):
        series.add("a_total", {}, at_s * 60, value)
    found = series.vector(parse("increase(a_total[4m])"), 180)
    assert found[frozenset()] == pytest.approx(20 * (180 + 60 + 0) / 180)


def test_signs_bind_as_in_promql() -> None:
    """Multiplication before addition, comparison before `and`, `and` before `or`; from the left where alike."""
    assert Series(left_open=True).value(parse("1 + 2 * 3 - 4 / 2"), 0) == 5
    assert parse("1") == Number(1)
    assert parse("a > 1 and b > 2 or c") == parse("((a > 1) and (b > 2)) or c")
