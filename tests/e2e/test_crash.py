"""Processes die at random moments, and the independent checker finds nothing lost and nothing doubled in silence.

Real processes, real HTTP, a store that syncs each write; the seeds are fixed, the moments are the machine's. `make
chaos` does the same for minutes.
"""

import pytest

from bench.chaos import Plan, run

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
