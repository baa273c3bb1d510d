"""`make bench-fairness`: how long single messages wait beside floods, from XADD to the carrier, on real processes.

A route that takes 500 messages a second; six scenarios, one after the other. Prints a line of JSON for each and a
table; exit code 1 when one of them does not hold. `--scale 0.1` floods with a tenth of the messages, for a quick look.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from bench.rig import Entry, Rig, number, rig
from smsd.store import keys
from smsd.store.record import decode

CAPACITY_PER_S = 500
WITHIN_S = 1.0
WEIGHTS = {"reminder": 8, "marketing": 1}
LEAST = 5 * CAPACITY_PER_S  # a flood lasts for seconds, whatever the scale
SHARE_OF_DUE = 0.95  # of its weight's share, marketing must get so much
BATCH_S = 0.02  # between the writes of a trickle
TAKEN_S = 300.0  # for a flood to be admitted
BODY = "Your appointment is tomorrow at ten. Reply C to confirm."

CONFIG = """\
[dispatch]
drain_s = 2
[classes.reminder]
weight = 8
expire_after = "12h"
[classes.marketing]
weight = 1
expire_after = "24h"
max_in_flight_share = 0.8
[tenant_defaults]
limits = ["100000/s"]
sender = "Salon"
region = "IE"
route = "default"
[tenants.small]
limits = ["5/s"]
[routes.default]
providers = [{{ use = "carrier" }}]
[providers.carrier]
type = "fake"
base_url = "{carrier}"
limits = ["@capacity@/s"]
max_in_flight = 64
"""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A flood that is there first, and a trickle whose messages are timed."""

    name: str
    flood: tuple[str, int, int]  # class, tenants, messages of each
    trickle: tuple[str, int]  # class, messages, each of a tenant of its own
    per_s: float
    own: bool = False  # both are one tenant's, whose limit is 5/s
    while_read: bool = False  # the trickle begins with the flood still in its inbox
    share: bool = False  # the trickle is no trickle: the flood's share of the route is what is judged


class Waited(msgspec.Struct, frozen=True, kw_only=True):
    """How long the timed messages waited, in seconds, and what of the flood left meanwhile."""

    name: str
    flood: int
    timed: int
    never_left: int
    p50_s: float
    p99_s: float
    most_s: float
    flood_per_s: float  # left per second, while the timed ones came
    per_s: float  # all that left per second in that time
    share: float  # of the flood in these
    failed: list[str]


def scenarios(scale: float) -> list[Scenario]:
    """All, in order. `scale` takes a part of the floods and of what is timed."""

    def of(count: int) -> int:
        return max(1, int(count * scale))

    reminders = ("reminder", of(1000))
    return [
        Scenario(name="reminders beside one tenant's blast", flood=("marketing", 1, of(200_000)), trickle=reminders,
                 per_s=100),
        Scenario(name="the same while the blast is still being read", flood=("marketing", 1, of(200_000)),
                 trickle=reminders, per_s=100, while_read=True),
        Scenario(name="reminders beside many tenants' marketing", flood=("marketing", of(500), 400), trickle=reminders,
                 per_s=100),
        Scenario(name="single marketing beside one tenant's", flood=("marketing", 1, max(LEAST, of(20_000))),
                 trickle=("marketing", of(200)), per_s=20),
        Scenario(name="own reminders beside the own blast at 5/s", flood=("marketing", 1, of(2_000)),
                 trickle=("reminder", max(5, of(30))), per_s=1, own=True),
        Scenario(name="marketing's share under a flood of reminders", flood=("marketing", 1, of(20_000)),
                 trickle=("reminder", of(20_000)), per_s=of(20_000) / max(4.0, 30 * scale), share=True),
    ]  # fmt: skip


def flood_of(scenario: Scenario) -> Iterator[Entry]:
    """The tenants' messages, the tenants in turn."""
    class_, tenants, each = scenario.flood
    for i in range(tenants * each):
        tenant = "small" if scenario.own else f"flood{i % tenants}"
        yield class_, {"tenant": tenant, "id": f"f{i}", "to": number(i), "body": BODY}


def trickle_of(scenario: Scenario) -> Iterator[Entry]:
    """One message of a tenant each."""
    class_, count = scenario.trickle
    for i in range(count):
        tenant = "small" if scenario.own else f"single{i}"
        yield class_, {"tenant": tenant, "id": f"s{i}", "to": number(5_000_000 + i), "body": BODY}


def trickle(made: Rig, scenario: Scenario) -> dict[str, int]:
    """Writes the timed messages at their rate; the instant (us) just before each one's XADD."""
    written: dict[str, int] = {}
    left, since = list(trickle_of(scenario)), time.monotonic()
    while len(written) < len(left):
        due = min(len(left), int((time.monotonic() - since) * scenario.per_s) + 1)
        batch = left[len(written) : due]
        now_us = time.time_ns() // 1000
        written |= {f"{fields['tenant']}/{fields['id']}": now_us for _, fields in batch}
        made.enqueue(batch)
        made.pass_time(BATCH_S)
    return written


def left(made: Rig, names: Iterable[str]) -> bool:
    """Whether the provider has answered for each of these messages."""
    records = cast("list[bytes | None]", made.redis.hmget(keys.key(0, "msg"), list(names)))
    return all(packed and decode(packed).state not in ("queued", "leased") for packed in records)


def run(scenario: Scenario, workers: int) -> Waited:
    """Floods, times, and judges by the carrier's book."""
    with rig(CONFIG.replace("@capacity@", str(CAPACITY_PER_S))) as made:
        made.start_daemon(workers)
        flood = made.enqueue(flood_of(scenario))
        if not scenario.while_read:
            inbox = keys.inbox(0, scenario.flood[0])
            made.wait_for(lambda: made.redis.xlen(inbox) == 0, TAKEN_S, "the flood is not taken")
        made.wait_for(lambda: made.carrier.stats().taken > 0, 30, "nothing leaves")
        from_us = time.time_ns() // 1000
        written = trickle(made, scenario)
        until_us = time.time_ns() // 1000
        made.comes(lambda: left(made, written), WITHIN_S + 1.0)  # what has not left by then, the judge finds
        arrived = {line.reference.partition(".")[2]: line.at_us for line in made.carrier.ledger()}
    return judge(scenario, flood, written, arrived, from_us, until_us)


def judge(
    scenario: Scenario, flood: int, written: dict[str, int], arrived: dict[str, int], from_us: int, until_us: int
) -> Waited:
    """Compares what was written with the carrier's book, over the time in which it was written."""
    waits = sorted((arrived[key] - at_us) / 1e6 for key, at_us in written.items() if key in arrived)
    inside = [key for key, at_us in arrived.items() if from_us <= at_us < until_us]
    of_flood = sum(key not in written for key in inside)
    seconds = (until_us - from_us) / 1e6
    share = of_flood / max(1, len(inside))
    failed: list[str] = []
    if scenario.share:
        due = WEIGHTS["marketing"] / sum(WEIGHTS.values())
        if share < SHARE_OF_DUE * due:
            failed.append(f"marketing has {share:.1%} of the route, its weight is worth {due:.1%}")
    else:
        if len(waits) < len(written):
            failed.append(f"{len(written) - len(waits)} have not left {WITHIN_S + 1:.0f} s after the last was written")
        if late := sum(wait > WITHIN_S for wait in waits):
            failed.append(f"{late} of {len(written)} left later than {WITHIN_S:.0f} s after their XADD")
        if of_flood == 0:
            failed.append("nothing of the flood left meanwhile")
    return Waited(
        name=scenario.name,
        flood=flood,
        timed=len(written),
        never_left=len(written) - len(waits),
        p50_s=_at(waits, 0.5),
        p99_s=_at(waits, 0.99),
        most_s=_at(waits, 1.0),
        flood_per_s=round(of_flood / seconds, 1),
        per_s=round(len(inside) / seconds, 1),
        share=round(share, 4),
        failed=failed,
    )


def _at(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3) if ordered else 0.0


def show(results: Iterable[Waited]) -> None:
    """The table."""
    print(f"{'':48}{'flood':>8}{'timed':>7}{'p50 s':>8}{'p99 s':>8}{'most s':>8}{'flood/s':>9}{'all/s':>8}{'share':>8}")
    for one in results:
        print(f"{one.name:48}{one.flood:8}{one.timed:7}{one.p50_s:8.3f}{one.p99_s:8.3f}{one.most_s:8.3f}"
              f"{one.flood_per_s:9.1f}{one.per_s:8.1f}{one.share:8.1%}")  # fmt: skip
        for said in one.failed:
            print(f"    FAILED {said}")


def main() -> int:
    """Runs all scenarios, or some. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the floods and of how many are timed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int, action="append", help="a scenario's number, from 1")
    args = parser.parse_args()
    results: list[Waited] = []
    for i, scenario in enumerate(scenarios(args.scale), 1):
        if not args.only or i in args.only:
            results.append(run(scenario, args.workers))
            print(msgspec.json.encode(results[-1]).decode(), flush=True)
    show(results)
    return 1 if any(one.failed for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
