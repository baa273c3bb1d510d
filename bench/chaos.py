"""`make chaos`: kill -9 of workers and of the store, and workers that are stopped past their leases, at random moments.

Enqueues while it hurts, waits until every message has an end, and lets the independent checker compare the books: first
with a provider that can be asked what became of a message, then with one that cannot. One line of JSON for each run;
exit code 1 when something was lost, doubled or told wrongly. The same seed brings the same moments.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
from redis.exceptions import RedisError

from bench.checker import Found, Sight, Wanted, check, failures
from bench.rig import Entry, Rig, number, rig
from smsd.testing.carrier_ledger import ReceiptCounts

TICK_S = 0.05
STORE_AWAY_S = (0.2, 1.5)
START_BY_S, TIMEOUT_S = 0.5, 1.0
LEASE_S = START_BY_S + TIMEOUT_S + 2  # start_by_s + timeout_s + 2 s (contract.md §5)
STOPPED_S = (LEASE_S + 1.5, LEASE_S + 4)  # past the lease and the settle time
ENDS_S = 60.0  # a death's lease ends after 3.5 s, its two looks are 10 s apart, a receipt is waited for 5 s

CONFIG = """\
[dispatch]
drain_s = 5
start_by_s = @start_by_s@
[classes.reminder]
weight = 8
expire_after = "12h"
receipt_timeout = "5s"
backoff = ["200ms", "2s"]
on_unknown = "resend"
[classes.marketing]
weight = 1
expire_after = "24h"
receipt_timeout = "5s"
max_in_flight_share = 0.8
backoff = ["200ms", "2s"]
on_unknown = "hold"
[tenant_defaults]
limits = ["200/s", "50000/d"]
sender = "Salon"
region = "IE"
route = "default"
[routes.default]
providers = [{{ use = "carrier" }}]
[providers.carrier]
type = "fake"
base_url = "{carrier}"
blind = @blind@
max_in_flight = 64
timeout_s = @timeout_s@
settle_s = 0.5
"""

FAULTS: dict[str, float] = {
    "latency_ms": 20,
    "jitter_ms": 60,
    "error_after": 0.01,
    "hang_after": 0.004,
    "reset_after": 0.01,
    "error_before": 0.01,
    "hang_before": 0.002,
    "reset_before": 0.01,
    "throttle": 0.01,
    "undelivered": 0.02,
    "receipt_duplicate": 0.02,
    "receipt_early": 0.01,
    "receipt_disorder": 0.02,
    "receipt_min_ms": 100,
    "receipt_max_ms": 500,
}
"""Of the carrier, while the processes die."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is run, and how it is hurt."""

    sight: Sight = "look-up"
    messages: int = 20_000
    seconds: float = 60.0  # in which they are enqueued, and in which everything happens
    tenants: int = 200
    workers: int = 4
    kills: int = 20  # of a random worker
    stops: int = 4  # of a random worker, until after its leases' ends
    store_kills: int = 3
    faults: bool = True
    seed: int = 1


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    plan: Plan
    done: dict[str, int]  # how often it was hurt: a worker may have been dead already
    seconds: float
    receipts: ReceiptCounts  # by the carrier's book
    found: Found
    failed: list[str]
    log: str  # the daemon's, if something failed


def messages(plan: Plan) -> Iterator[tuple[str, Entry]]:
    """Key and entry of each: a number and a text of its own, so that no look-up can take one for another."""
    for i in range(plan.messages):
        class_ = "reminder" if i % 2 else "marketing"
        tenant, id_ = f"t{i % plan.tenants}", f"m{i}"
        emoji = " 💇" if i % 5 == 0 else ""
        body = f"Number {i}: see you tomorrow at ten.{emoji}"
        yield f"{tenant}/{id_}", (class_, {"tenant": tenant, "id": id_, "to": number(i), "body": body})


class Producer:
    """Writes the entries at an even rate. One that may have been lost is written again: its id makes that harmless."""

    def __init__(self, made: Rig, plan: Plan) -> None:
        self.wanted: dict[str, Wanted] = {}
        self._made, self._rate, self._count = made, plan.messages / plan.seconds, plan.messages
        self._left = messages(plan)
        self._unsure: list[Entry] = []

    def write(self, elapsed_s: float) -> None:
        """Writes what is due by now."""
        while len(self.wanted) < min(self._count, self._rate * elapsed_s):
            key, entry = next(self._left)
            self.wanted[key] = Wanted(entry[0], entry[1]["to"], entry[1]["body"])
            self._unsure.append(entry)
        with contextlib.suppress(RedisError, OSError):
            self._made.enqueue(self._unsure)
            self._unsure = []

    @property
    def done(self) -> bool:
        return not self._unsure and len(self.wanted) == self._count


class Trouble:
    """What happens to the processes, at moments that the seed decides."""

    def __init__(self, made: Rig, plan: Plan) -> None:
        self._made, self._luck = made, random.Random(plan.seed)
        self.done = {"kills": 0, "stops": 0, "store_kills": 0}
        self._to_come: list[tuple[float, Callable[[float], None]]] = []
        for count, act in ((plan.kills, self._kill), (plan.stops, self._stop), (plan.store_kills, self._kill_store)):
            for _ in range(count):
                self._at(self._luck.uniform(0.05, 0.95) * plan.seconds, act)
        self._store_back_at = 0.0

    def act(self, elapsed_s: float) -> None:
        """Does what is due by now."""
        while self._to_come and self._to_come[0][0] <= elapsed_s:
            _, act = self._to_come.pop(0)
            act(elapsed_s)

    @property
    def over(self) -> bool:
        return not self._to_come

    def _at(self, at_s: float, act: Callable[[float], None]) -> None:
        self._to_come.append((at_s, act))
        self._to_come.sort(key=lambda one: one[0])

    def _pick(self) -> int | None:
        workers = sorted(self._made.workers())
        return self._luck.choice(workers) if workers else None

    def _kill(self, elapsed_s: float) -> None:
        pid = self._pick()
        if pid is not None and _signal(pid, signal.SIGKILL):
            self.done["kills"] += 1

    def _stop(self, elapsed_s: float) -> None:
        pid = self._pick()
        if pid is not None and _signal(pid, signal.SIGSTOP):
            self.done["stops"] += 1
            self._at(elapsed_s + self._luck.uniform(*STOPPED_S), lambda _: _go_on(pid))

    def _kill_store(self, elapsed_s: float) -> None:
        if elapsed_s < self._store_back_at:
            self._at(self._store_back_at + 0.1, self._kill_store)
            return
        self._made.kill_store()
        self.done["store_kills"] += 1
        self._store_back_at = elapsed_s + self._luck.uniform(*STORE_AWAY_S)
        self._at(self._store_back_at, lambda _: self._made.start_store())


def _signal(pid: int, what: signal.Signals) -> bool:
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return False
    return True


def _go_on(pid: int) -> None:
    _signal(pid, signal.SIGCONT)


@contextlib.contextmanager
def stage(plan: Plan, *, start_by_s: float = START_BY_S, timeout_s: float = TIMEOUT_S) -> Generator[Rig]:
    """Its store, which syncs each write, and its carrier."""
    config = CONFIG.replace("@blind@", "true" if plan.sight == "blind" else "false")
    config = config.replace("@start_by_s@", str(start_by_s)).replace("@timeout_s@", str(timeout_s))
    faults = FAULTS if plan.faults else {}
    carrier = {**faults, "blind": plan.sight == "blind", "callback_timeout_s": 1.0}
    with rig(config, profile="plain", seed=plan.seed, fsync="always", **carrier) as made:
        yield made


def run(plan: Plan) -> Result:
    """Runs it and asks the checker."""
    with stage(plan) as made:
        made.start_daemon(plan.workers)
        producer, trouble = Producer(made, plan), Trouble(made, plan)
        since = time.monotonic()
        while not (producer.done and trouble.over):
            elapsed_s = time.monotonic() - since
            trouble.act(elapsed_s)
            producer.write(elapsed_s)
            made.pass_time(TICK_S)
        made.comes(lambda: made.ended() >= plan.messages, ENDS_S)  # what has no end by then, the checker finds
        seconds = time.monotonic() - since
        made.carrier.wait_idle(10)  # late receipts are part of the story
        made.end_daemon()
        receipts = made.carrier.stats().receipts
        found = check(producer.wanted, made.carrier.ledger(), made.events())
        failed = failures(found, plan.sight)
        log = made.last_lines() if failed else ""
    return Result(
        plan=plan,
        done=trouble.done,
        seconds=round(seconds, 1),
        receipts=receipts,
        found=found,
        failed=failed,
        log=log,
    )


def main() -> int:
    """Runs both. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, field in Plan.__annotations__.items():
        if field in (int, float):
            parser.add_argument(f"--{name.replace('_', '-')}", type=field, default=getattr(Plan(), name))
    parser.add_argument("--sight", choices=["look-up", "blind"], action="append")
    parser.add_argument("--runs", type=int, default=1, help="of each, with seeds that follow one another")
    args = vars(parser.parse_args())
    sights: list[Sight] = args.pop("sight") or ["look-up", "blind"]
    runs, seed = args.pop("runs"), args.pop("seed")
    results: list[Result] = []
    for i in range(runs):
        for sight in sights:
            results.append(run(Plan(sight=sight, seed=seed + i, **args)))
            print(msgspec.json.encode(results[-1]).decode(), flush=True)
    return 1 if any(result.failed for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
