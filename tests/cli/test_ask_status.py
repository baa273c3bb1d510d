"""Status as text: what is to be known on one screen, however many hosts and pauses there are."""

from typing import Any

from smsd.cli.ask_status import shown, span
from smsd.control.processes import Process
from smsd.control.standing import Group, Standing
from smsd.store.holds import Pause

NOW_MS = 1_700_000_000_000


def standing(**more: Any) -> Standing:
    values: dict[str, Any] = {
        "revision": 3, "config_is_file": True, "sandbox": False, "backlog": {"reminder": 0}, "oldest_s": {},
        "inbox": {}, "in_flight": {}, "paused": [], "withdrawing": [], "withdrawn": 0,
        "dead": 0, "events": 0, "groups": [], "store": "Valkey 9.1.0",
        "store_memory_bytes": 2**20, "store_memory_max_bytes": 0, "processes": [],
    }  # fmt: skip
    return Standing(**(values | more))


def process(host: str, pid: int, **more: Any) -> Process:
    values: dict[str, Any] = {"version": "1", "since_ms": NOW_MS - 7_200_000, "at_ms": NOW_MS, "revision": 3}
    values |= {"file": "in_force"} | more
    return Process(process=f"{host}-{pid}-x", host=host, pid=pid, **values)


def test_processes_that_are_alike_are_one_line() -> None:
    """A host's workers are told together; one that differs is told by itself, with why."""
    others = [
        process("web2", 9, revision=2, file="refused", why="no SECRET"),
        process("web3", 4, at_ms=NOW_MS - 40_000),
    ]
    others.append(process("web4", 7, dead=["main"]))
    text = shown(standing(processes=[process("web1", n) for n in range(4)] + others), NOW_MS)
    lines = text[text.index("processes") :].splitlines()
    assert lines == [
        "processes  web1: 4 processes for 2 h, revision 3, its file is in force",
        "           web2: process 9 for 2 h, revision 2 (the store's is 3), its file is not in force: no SECRET",
        "           web3: process 4 for 2 h, not heard of for 40 s",
        "           web4: process 7 for 2 h, revision 3, its file is in force, finds main dead",
    ]


def test_the_answer_is_bounded() -> None:
    """Hundreds of hosts and pauses are told in a few lines, and how to see all."""
    text = shown(
        standing(
            processes=[process(f"h{n:03}", n) for n in range(200)],
            paused=[Pause(f"t:{n}", 0, 0, "-", "") for n in range(500)],
        ),
        NOW_MS,
    )
    assert len(text.splitlines()) < 50
    assert "and 490 more: --json shows all" in text
    assert "and 180 more: --json shows all" in text


def test_what_is_out_of_the_ordinary_is_said() -> None:
    """Pauses, a sandbox, slow readers, dead entries and old messages each have their words."""
    text = shown(
        standing(
            sandbox=True,
            dead=2,
            backlog={"reminder": 1200},
            oldest_s={"reminder": 150.0},
            paused=[
                Pause("c:marketing", 1_700_000_000_000_000, 0, "kim", "a holiday"),
                Pause("k:acme|spring", 0, 0, "-", ""),
                Pause("all", 0, 0, "-", ""),
            ],
            withdrawing=["tc:acme|marketing"],
            groups=[Group(stream="events", shard=0, group="rails", consumers=1, pending=3, lag=4000)],
        ),
        NOW_MS,
    )
    assert text.startswith("sandbox    on: only the numbers of [sandbox] allow_to")
    for told in (
        "reminder 1,200 (oldest 2 min)",
        "paused     class marketing until 2023-11-14 22:13:20Z: a holiday (by kim)",
        "campaign spring of tenant acme until resumed",
        "everything until resumed",
        "cancelling class marketing of tenant acme",
        "rails on events: 4,000 behind, 3 not acknowledged",
        "2: smsd dead list shows them",
        "none: smsd run starts them",
    ):
        assert told in text


def test_spans_are_said_in_the_unit_that_fits() -> None:
    """Seconds, minutes, hours and days, without a fraction."""
    assert [span(s) for s in (0.4, 59, 119, 120, 7199, 7200, 172_799, 172_800)] == [
        "0 s", "59 s", "119 s", "2 min", "120 min", "2 h", "48 h", "2 d",
    ]  # fmt: skip
