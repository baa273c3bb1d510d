"""The page docs/METRICS.md, made from the tables that the metrics themselves are made of.

Never names a metric of its own.
"""

from collections.abc import Mapping

from smsd.shell.metrics import COUNTERS, HISTOGRAMS, TOLD
from smsd.shell.metrics_store import GAUGES

HEAD = """\
# Metrics

Made by `make docs` from `smsd/shell/metrics.py` and `smsd/shell/metrics_store.py`; do not edit.

`GET /metrics` on the `[http]` listener, in Prometheus' text format, for all workers of the host together. Counters and
histograms are the host's own: add them up over hosts with `sum`. What only the store knows is the same whichever host
is asked: take `max` over hosts, never `sum`. A counter appears when it first counts. Names and labels that the
dashboard and the alerts in `config/` use stay as they are, but for a release that says so in the changelog.

No label has values that strangers choose: there is no label for tenants, numbers or ids.
"""

SECTIONS = (
    ("Counters", "Of each host, since its parent started.", "_total"),
    ("Histograms", "Of each host: `_bucket` with `le`, `_sum` and `_count`.", ""),
    ("What the store knows", "Read from the store at each scrape, at most once a second.", ""),
    ("What a process is", "", ""),
)


def page() -> str:
    """The page, whole."""
    tables = (
        COUNTERS,
        {name: (labels, f"{told} (upper bounds in s: {_bounds(buckets)})")
         for name, (labels, buckets, told) in HISTOGRAMS.items()},
        GAUGES,
        TOLD,
    )  # fmt: skip
    lines = [HEAD]
    for (title, told, suffix), table in zip(SECTIONS, tables, strict=True):
        lines += [f"## {title}", "", *([told, ""] if told else []), *_rows(table, suffix), ""]
    return "\n".join(lines)


def _bounds(buckets: tuple[float, ...]) -> str:
    return " ".join(f"{bound:g}" for bound in buckets)


def _rows(table: Mapping[str, tuple[tuple[str, ...], str]], suffix: str) -> list[str]:
    return [
        "| metric | labels | meaning |",
        "|---|---|---|",
        *(
            f"| `{name}{suffix}` | {', '.join(f'`{label}`' for label in labels)} | {told}. |"
            for name, (labels, told) in table.items()
        ),
    ]
