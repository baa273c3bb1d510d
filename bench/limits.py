"""`make bench-limits`: tenants' limits against many worker processes, all of them with more to send than they may.

Looks from three sides: the instants at which the store charged (its records), the carrier's book, and how much of
what a limit leaves was used. Prints a line of JSON per limit and a table; exit code 1 when a claim does not hold.
"""

import argparse
import bisect
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from bench.rig import Entry, Rig, number, rig
from smsd.core.limit import Limit, parse
from smsd.store.record import decode

MIX: tuple[tuple[str, ...], ...] = (
    ("20/s",),
    ("5/s burst 2",),
    ("10/s",),
    ("30 segments/s",),
    ("20/s", "300/m"),
    ("3/s",),
    ("25/s burst 1", "60 segments/2s"),
    ("50/5s",),
    ("12 segments/s burst 4", "10/s"),
    ("100/2m",),  # counted: all of it may leave at once
)
"""What the tenants are limited to, in turn."""

LATE = "smsd_late_starts_total"
TAKEN_S = 60.0
SLACK_US = 20_000  # dispatch.slack_ms
USED_OF_BURST = 0.95
LATE_SHARE = 1 / 1000
LATE_OF = 5_000  # messages at least, for that share to be one
AHEAD = 1.5  # of what a tenant may send in the time, so much is enqueued
SEGMENTS = (1, 1, 2, 1, 3)  # of the messages, in turn
LINE = "Your appointment is tomorrow at ten, call us to move it. "

CONFIG = """\
[dispatch]
drain_s = 5
[tenant_defaults]
sender = "Salon"
region = "IE"
route = "default"
[routes.default]
providers = [{{ use = "carrier" }}]
[providers.carrier]
type = "fake"
base_url = "{carrier}"
limits = []
max_in_flight = 256
"""


class Charge(msgspec.Struct, frozen=True):
    """One message that left."""

    tenant: str
    segments: int
    charged_us: int  # by the store's clock, when smsd took it to send it
    arrived_us: int  # by the carrier's, when the request was there; one machine, one wall clock


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one limit."""

    tenant: str
    limit: str
    n: int
    left: int  # what was charged in the time, in the limit's unit
    fullest_charged: int
    fullest_arrived: int
    fullest_punctual: int  # the same without those that arrived later than the slack after their charge
    late: int  # those
    grain: float  # what one message more or less at the edges makes of `used`
    used: float  # share of n per period; of a counted limit, of the n that its first window holds
    due: float | None  # the share that it must reach; None: another limit of the tenant holds it below


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run."""

    limits: list[Held]
    messages: int
    late_starts: int  # as the metric counts them, from the very first on
    steady: int  # messages that left while the use was measured
    steady_late: int  # late starts in that time
    lag_ms: dict[str, float]  # from charge to arrival: p50, p99, most
    cpu: dict[str, float]  # cores that each used, while the use was measured
    failed: list[str]  # claims that do not hold, a sentence each


def config_of(tenants: Sequence[tuple[str, ...]]) -> str:
    """The shared part of a config with these tenants, t0 and on."""
    own = "".join(f"[tenants.t{i}]\nlimits = {json.dumps(limits)}\n" for i, limits in enumerate(tenants))
    return CONFIG + own


def entries(tenants: Sequence[tuple[str, ...]], seconds: float) -> Iterator[Entry]:
    """More of each tenant than it may send, the tenants in turn."""
    wanted = [int(AHEAD * seconds * min(_per_s(parse(text), seconds) for text in limits)) + 20 for limits in tenants]
    serial = 0
    for i in range(max(wanted)):
        for tenant, most in enumerate(wanted):
            if i < most:
                body = LINE if SEGMENTS[i % len(SEGMENTS)] == 1 else LINE * (3 * SEGMENTS[i % len(SEGMENTS)] - 2)
                fields = {"tenant": f"t{tenant}", "id": f"m{i}", "to": number(serial), "body": body}
                serial += 1
                yield ("reminder" if i % 3 == 0 else "marketing"), fields


def _per_s(limit: Limit, seconds: float) -> float:
    """Messages at most, on average over the time; of a counted limit all at once."""
    return limit.n / min(limit.period_us / 1e6, seconds) if not limit.paced else limit.n * 1e6 / limit.period_us


def charges(made: Rig) -> list[Charge]:
    """What left, by the carrier's book and the store's records. Each message left once: the carrier has no faults."""
    book = made.carrier.ledger()  # before the records: what leaves meanwhile is in those alone
    charged = {key: decode(packed).leased for key, packed in made.records()}
    out: list[Charge] = []
    for line in book:
        key = line.reference.partition(".")[2]
        out.append(Charge(key.partition("/")[0], line.segments, charged[key], line.at_us))
    return out


def fullest(instants_and_costs: Sequence[tuple[int, int]], period_us: int) -> int:
    """The largest sum of costs in any half-open window of this length, wherever it starts."""
    ordered = sorted(instants_and_costs)
    instants = [at for at, _ in ordered]
    sums = [0]
    for _, cost in ordered:
        sums.append(sums[-1] + cost)
    return max((sums[bisect.bisect_left(instants, at + period_us)] - sums[i] for i, at in enumerate(instants)),
               default=0)  # fmt: skip


def _fullest(limit: Limit, left: Sequence[Charge], instant: Callable[[Charge], int]) -> int:
    return fullest([(instant(c), limit.cost(c.segments)) for c in left], limit.period_us)


def due_share(limit: Limit) -> float:
    """What of n per period must be used: 95 % of what the burst and the slack leave; all of a counted one."""
    if not limit.paced:
        return 1.0
    left = (limit.n - limit.burst + 1) / limit.n * limit.period_us / (limit.period_us + SLACK_US)
    return USED_OF_BURST * left


def held(tenant: str, limits: Sequence[str], left: Sequence[Charge], from_us: int, until_us: int) -> list[Held]:
    """One tenant's limits, judged by what it sent. Its use is measured in [from_us, until_us)."""
    parsed = [parse(text) for text in limits]
    cost = sum(SEGMENTS) / len(SEGMENTS)  # of a message under a segment limit, on average
    steady = [due_share(one) * one.n / one.period_us / (cost if one.segments else 1) for one in parsed]
    out: list[Held] = []
    for text, one, rate in zip(limits, parsed, steady, strict=True):
        late = sum(c.arrived_us - c.charged_us > SLACK_US for c in left)
        inside = [c for c in left if from_us <= c.charged_us < until_us] if one.paced else left
        used = sum(one.cost(c.segments) for c in inside)
        periods = (until_us - from_us) / one.period_us if one.paced else 1
        out.append(
            Held(
                tenant=tenant,
                limit=text,
                n=one.n,
                left=used,
                fullest_charged=_fullest(one, left, lambda c: c.charged_us),
                fullest_arrived=_fullest(one, left, lambda c: c.arrived_us),
                fullest_punctual=_fullest(
                    one, [c for c in left if c.arrived_us - c.charged_us <= SLACK_US], lambda c: c.arrived_us
                ),
                late=late,
                grain=round(one.cost(max(SEGMENTS)) / (one.n * periods), 4) if one.paced else 0.0,
                used=round(used / (one.n * periods), 4),
                due=round(due_share(one), 4) if rate == min(steady) else None,
            )
        )
    return out


def judge(limits: Sequence[Held], late: int, steady: int, steady_late: int) -> list[str]:
    """The claims that do not hold. `late` of all starts and `steady_late` of the `steady` ones were late."""
    failed: list[str] = []
    for one in limits:
        name = f"{one.tenant} {one.limit}"
        if one.fullest_charged > one.n:
            failed.append(f"{name}: {one.fullest_charged} in one window by the store's clock")
        if one.fullest_punctual > one.n:
            failed.append(f"{name}: {one.fullest_punctual} in one window at the carrier, and none of them was late")
        if one.due is not None and one.used + one.grain < one.due:
            failed.append(f"{name}: only {one.used:.1%} of it was used, {one.due:.1%} must be")
    over = {one.tenant: one.late for one in limits if one.fullest_arrived > one.n}
    if sum(over.values()) > late:
        failed.append(f"{sum(over.values())} came late to windows that are over, but {late} late starts were counted")
    if steady >= LATE_OF and steady_late >= steady * LATE_SHARE:
        failed.append(f"{steady_late} of {steady} starts were late: fewer than {LATE_SHARE:.1%} may be")
    return failed


def run(tenants: Sequence[tuple[str, ...]], workers: int, seconds: float, settle_s: float = 2.0) -> Shown:
    """Runs it. The use is measured over `seconds`, from `settle_s` after the whole backlog is there."""
    with rig(config_of(tenants)) as made:
        made.start_daemon(workers)
        count = made.enqueue(entries(tenants, seconds + settle_s + 2))
        made.wait_for(lambda: made.admitted() >= count, TAKEN_S, "the backlog is not taken")
        from_us = time.time_ns() // 1000 + int(settle_s * 1e6)
        made.pass_time(from_us / 1e6 - time.time())
        before, since, late_before = made.cpu(), time.monotonic(), int(made.metric(LATE))
        made.pass_time(from_us / 1e6 + seconds - time.time())
        cpu = {name: round((s - before[name]) / (time.monotonic() - since), 2) for name, s in made.cpu().items()}
        until_us = from_us + int(seconds * 1e6)
        late = int(made.metric(LATE))
        left = [c for c in charges(made) if c.charged_us < until_us]
    by_tenant: dict[str, list[Charge]] = {}
    for one in left:
        by_tenant.setdefault(one.tenant, []).append(one)
    limits = [
        one
        for i, texts in enumerate(tenants)
        for one in held(f"t{i}", texts, by_tenant.get(f"t{i}", []), from_us, until_us)
    ]
    lags = sorted(c.arrived_us - c.charged_us for c in left if c.charged_us >= from_us)
    shares = {"p50": 0.5, "p99": 0.99, "most": 1.0}
    lag_ms = {name: lags[min(len(lags) - 1, int(len(lags) * at))] / 1000 for name, at in shares.items() if lags}
    return Shown(
        limits=limits,
        messages=len(left),
        late_starts=late,
        steady=len(lags),
        steady_late=late - late_before,
        lag_ms=lag_ms,
        cpu=cpu,
        failed=judge(limits, late, len(lags), late - late_before),
    )


def main() -> int:
    """Prints it. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=50)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    shown = run([MIX[i % len(MIX)] for i in range(args.tenants)], args.workers, args.seconds)
    heads = ("left", "charged", "arrived", "punctual", "late", "used", "due")
    print(f"{'tenant':7}{'limit':24}" + "".join(f"{head:>9}" for head in heads))
    for one in shown.limits:
        counts = (one.left, one.fullest_charged, one.fullest_arrived, one.fullest_punctual, one.late)
        due = f"{one.due:9.1%}" if one.due is not None else f"{'-':>9}"
        print(f"{one.tenant:7}{one.limit:24}" + "".join(f"{n:9}" for n in counts) + f"{one.used:9.1%}{due}")
    for one in shown.limits:
        print(msgspec.json.encode(one).decode())
    print(msgspec.json.encode(msgspec.structs.replace(shown, limits=[])).decode())
    return 1 if shown.failed else 0


if __name__ == "__main__":
    sys.exit(main())
