"""`make bench-routes`: a provider from healthy to dead, hung and back, beside a route that has nothing to do with it.

Two routes get the same steady stream of reminders. One has two providers by weight, of which the greater is taken away
(nobody listens), comes back, is stopped in its tracks (SIGSTOP: it hangs) and goes on; the other has a provider of its
own. The carriers' own ledgers say who took what and when. Prints a line of JSON; exit code 1 when the other route lost
more than 5 % of its rate, when failover kept more than a second's worth of messages, or when anything was lost.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from bench.ports import free_port
from bench.rig import Entry, Rig, number, rig
from smsd.testing.carrier import CarrierProcess, start
from smsd.testing.carrier_ledger import Line

COST_MOST = 0.05  # of the other route's rate
SERVED_LEAST = 0.9  # of what came in a phase of trouble went out in it, by the spare
TICK_S = 0.05
QUIET_S = 60.0

CONFIG = """\
[dispatch]
drain_s = 5
[classes.reminder]
receipt_timeout = "4s"
backoff = ["200ms", "1s"]
[tenant_defaults]
limits = ["100000/s"]
[routes.default]
providers = [{{ use = "main", weight = 90 }}, {{ use = "spare", weight = 10 }}]
[routes.other]
providers = [{{ use = "other" }}]
[tenants.elsewhere]
route = "other"
[providers.main]
type = "fake"
base_url = "http://127.0.0.1:MAIN_PORT"
timeout_s = 2
settle_s = 0.5
max_in_flight = 64
[providers.spare]
type = "fake"
base_url = "SPARE_URL"
timeout_s = 2
settle_s = 0.5
max_in_flight = 64
[providers.other]
type = "fake"
base_url = "{carrier}"
timeout_s = 2
max_in_flight = 64
"""

ANSWERED_US = 500_000  # the latency many times over, for a busy machine


class Phase(msgspec.Struct, kw_only=True):
    """What one stretch of the run came to. Rates are messages a second that the carriers took first."""

    name: str
    came: int  # messages written to each route
    main: int = 0
    spare: int = 0
    other: int = 0
    main_share: float = 0.0
    other_rate: float = 0.0
    probes: int = 0  # attempts at main
    main_by_s: list[int] = []  # in each second of the phase


class Run:
    """The daemon and three carriers, of which one is taken away and brought back."""

    def __init__(self, made: Rig, spare: CarrierProcess, port: int, rate: int, phase_s: float) -> None:
        self.made, self.spare, self.port = made, spare, port
        self.rate, self.phase_s = rate, phase_s
        self.lines: dict[str, list[Line]] = {"main": [], "spare": [], "other": []}
        self.sent = 0
        self.phases: list[tuple[Phase, int, int]] = []
        self.main = self._carrier()

    def _carrier(self) -> CarrierProcess:
        return start(listen=f"127.0.0.1:{self.port}", profile="bench", latency_ms=20)

    def phase(self, name: str) -> None:
        """Both routes get `rate` messages a second for so long."""
        before, tried = self.sent, self.made.metric("smsd_attempts_total", 'provider="main"')
        begin, at_us = time.monotonic(), time.time_ns() // 1000
        while (gone_s := time.monotonic() - begin) < self.phase_s:
            upto = before + int(gone_s * self.rate)
            self.made.enqueue(entry for i in range(self.sent, upto) for entry in _entries(i))
            self.sent = max(self.sent, upto)
            self.made.pass_time(TICK_S)
        probes = int(self.made.metric("smsd_attempts_total", 'provider="main"') - tried)
        phase = Phase(name=name, came=self.sent - before, probes=probes)
        self.phases.append((phase, at_us, time.time_ns() // 1000))

    def take_main_away(self) -> None:
        """Nobody listens there any more; its ledger is kept, so it takes nothing more after it was read."""
        self.main.faults(throttle=1.0)
        lines = self.main.ledger()
        # What it took is answered before it goes: its successor knows of nothing, and would be believed.
        until_us = max((line.at_us for line in lines if line.sid), default=0) + ANSWERED_US
        self.made.wait_for(lambda: self.main.stats().now_us > until_us, QUIET_S, "main's clock stands")
        self.lines["main"] += lines
        self.main.stop()

    def bring_main_back(self) -> None:
        self.main = self._carrier()

    def close(self) -> None:
        self.main.stop()

    def end(self) -> tuple[list[Phase], int, int]:
        """Waits for every message; the phases, and how many were lost and taken twice."""
        self.made.wait_for(lambda: self.made.ended() >= 2 * self.sent, QUIET_S, "messages have not ended")
        for name, carrier in (("main", self.main), ("spare", self.spare), ("other", self.made.carrier)):
            self.lines[name] += carrier.ledger()
        taken = Counter(line.reference.partition(".")[2] for lines in self.lines.values() for line in lines if line.sid)
        for phase, from_us, until_us in self.phases:
            self._count(phase, from_us, until_us)
        lost = 2 * self.sent - len(taken)
        return [phase for phase, _, _ in self.phases], lost, sum(n > 1 for n in taken.values())

    def _count(self, phase: Phase, from_us: int, until_us: int) -> None:
        counts: dict[str, int] = {}
        for name, lines in self.lines.items():
            at = [line.at_us for line in lines if line.sid and from_us <= line.at_us < until_us]
            counts[name] = len(at)
            if name == "main":
                by_s = Counter((one - from_us) // 1_000_000 for one in at)
                phase.main_by_s = [by_s[s] for s in range(int((until_us - from_us) / 1e6))]
        phase.main, phase.spare, phase.other = counts["main"], counts["spare"], counts["other"]
        phase.main_share = round(phase.main / max(1, phase.main + phase.spare), 3)
        phase.other_rate = round(phase.other * 1e6 / (until_us - from_us), 1)


def run(rate: int, phase_s: float, *, hang: bool = True) -> dict[str, object]:
    """The whole run, or the first half of it; what it came to."""
    port = free_port()
    with start(profile="bench", latency_ms=20) as spare, contextlib.ExitStack() as down:
        config = CONFIG.replace("MAIN_PORT", str(port)).replace("SPARE_URL", spare.url)
        with rig(config, latency_ms=20) as made:
            made.start_daemon()
            one = down.enter_context(contextlib.closing(Run(made, spare, port, rate, phase_s)))
            one.phase("healthy")
            one.take_main_away()
            one.phase("away")
            one.bring_main_back()
            one.phase("back")
            if hang:
                os.kill(one.main.pid, signal.SIGSTOP)
                one.phase("hung")
                os.kill(one.main.pid, signal.SIGCONT)
                one.phase("again")
            phases, lost, twice = one.end()
    healthy, *others = phases
    cost = 1 - min(phase.other_rate for phase in others) / healthy.other_rate
    served = {p.name: round((p.main + p.spare) / p.came, 3) for p in phases}
    kept = cost <= COST_MOST and lost == 0 and served["away"] >= SERVED_LEAST
    return {
        "ok": kept,
        "rate_per_route": rate,
        "other_route_lost": round(cost, 3),
        "served_in_phase": served,
        "lost": lost,
        "taken_twice": twice,
        "phases": phases,
    }


def _entries(i: int) -> list[Entry]:
    return [
        (
            "reminder",
            {
                "tenant": tenant,
                "to": number(2 * i + k),
                "body": f"Your appointment is at 10:{i % 60:02}",
                "id": f"m{i}",
            },
        )
        for k, tenant in enumerate(("here", "elsewhere"))
    ]


def main(argv: list[str] | None = None) -> int:
    """Runs it. Returns an exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=int, default=150, help="messages a second for each route (%(default)s)")
    parser.add_argument("--phase-s", type=float, default=12.0, help="how long each phase takes (%(default)s)")
    args = parser.parse_args(argv)
    told = run(args.rate, args.phase_s)
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
