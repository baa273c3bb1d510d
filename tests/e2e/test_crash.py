"""Processes die at random moments, and the independent checker finds nothing lost and nothing doubled in silence.

Real processes, real HTTP, a store that syncs each write; the seeds are fixed, the moments are the machine's. `make
chaos` does the same for minutes.
"""

import os
import signal
import time
from collections import Counter
from typing import cast

import msgspec
import pytest

from bench.chaos import Plan, Producer, run, stage
from bench.checker import check, failures
from bench.rig import Rig
from smsd.store import keys
from smsd.store.record import decode

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(150)]

SMALL = Plan(messages=400, seconds=4, tenants=40, workers=2, kills=0, stops=0, store_kills=0)


def hurt(plan: Plan) -> None:
    """Runs it: it was hurt as planned, and the books agree."""
    result = run(plan)
    assert result.done == {"kills": plan.kills, "stops": plan.stops, "store_kills": plan.store_kills}
    assert result.failed == [], f"{result.found}\n{result.log}"
    assert result.found.taken > plan.messages * 0.8


def replace(**changes: object) -> Plan:
    return Plan(**({name: getattr(SMALL, name) for name in SMALL.__struct_fields__} | changes))  # pyright: ignore


def test_workers_that_are_killed_or_stopped_past_their_leases_lose_and_double_nothing() -> None:
    """kill -9, and SIGSTOP for longer than a lease: what may have left is looked up, the rest goes again."""
    hurt(replace(kills=3, stops=1, seed=11))


def test_a_killed_store_loses_and_doubles_nothing() -> None:
    """kill -9 of the store, appendfsync always: all that it had said yes to is there when it is back."""
    hurt(replace(store_kills=2, seed=12))


def test_what_cannot_be_looked_up_is_doubled_only_under_the_flag_and_never_where_the_class_holds() -> None:
    """On a blind provider a reminder is sent again, flagged; a marketing message is held."""
    hurt(replace(sight="blind", kills=2, stops=1, store_kills=1, seed=13))


def leased_since(made: Rig, pid: int, since_us: int) -> set[str]:
    """Messages that this worker has leased since then and not settled, by the store's book."""
    book = cast("dict[bytes, bytes]", made.redis.hgetall(keys.key(0, "batch")))
    asked = [last for name, last in book.items() if name.startswith(b"q:") and b"-%d-" % pid in name]
    found: set[str] = set()
    for last in asked:
        names = msgspec.msgpack.decode(book.get(last.partition(b" ")[2], b"\x90"), type=list[str])
        for name in names:
            record = decode(cast("bytes", made.redis.hget(keys.key(0, "msg"), name)))
            if record.state == "leased" and record.leased >= since_us:
                found.add(name)
    return found


def taken(made: Rig) -> Counter[str]:
    """How many copies of each message the carrier took."""
    return Counter(line.reference.partition(".")[2] for line in made.carrier.ledger() if line.sid)


def test_a_worker_that_sleeps_over_what_it_has_leased_sends_none_of_it_when_it_wakes() -> None:
    """Stopped between lease and first byte: another sends it again meanwhile, and `start_by` holds the sleeper back."""
    # The store is stopped until both workers ask it, then they are: so whatever it leases, it leases to sleepers.
    # Two tenants' limits make 400 a second, so that there is a backlog of seconds once all has been admitted.
    plan = replace(sight="blind", faults=False, messages=2_000, tenants=2)
    with stage(plan, start_by_s=0.2, timeout_s=0.5) as made:
        made.start_daemon(2)
        workers, producer = made.workers(), Producer(made, plan)
        producer.write(plan.seconds)
        made.wait_for(lambda: made.admitted() == plan.messages, 20, "the backlog is not taken")
        os.kill(made.store_pid, signal.SIGSTOP)
        made.pass_time(0.3)  # every answer is in, every limit admits again, and both ask
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        since, since_us = time.monotonic(), time.time_ns() // 1000
        os.kill(made.store_pid, signal.SIGCONT)
        made.wait_for(lambda: any(leased_since(made, pid, since_us) for pid in workers), 10, "nobody asked")
        sleeper = max(workers, key=lambda pid: len(leased_since(made, pid, since_us)))
        held = leased_since(made, sleeper, since_us)
        os.kill(next(pid for pid in workers if pid != sleeper), signal.SIGCONT)
        again = {name for name in held if producer.wanted[name].class_ == "reminder"}
        assert made.comes(lambda: again <= taken(made).keys(), 20), "the other does not take over"
        slept_s = time.monotonic() - since
        os.kill(sleeper, signal.SIGCONT)
        made.wait_for(lambda: made.ended() == plan.messages, 40, "not all have ended")
        made.carrier.wait_idle(10)
        found, copies = check(producer.wanted, made.carrier.ledger(), made.events()), taken(made)
    assert failures(found, "blind") == []
    assert again
    assert {copies[name] for name in again} == {1}, f"after {slept_s:.1f} s of sleep"
