"""Counts of what is queued, held against what was put there."""

import pytest

from smsd.store import count
from smsd.store.count import queued
from tests.support.world import HOUR, World

COUNTED = [
    ({}, 24),
    ({"tenant": "acme"}, 12),
    ({"tenant": "ac"}, 0),
    ({"tenant": "acme", "class_": "marketing"}, 8),
    ({"class_": "marketing"}, 16),
    ({"class_": "market"}, 0),
    ({"tenant": "acme", "campaign": "spring"}, 4),
    ({"tenant": "acme", "class_": "marketing", "campaign": "spring"}, 4),
    ({"tenant": "acme", "class_": "reminder", "campaign": "spring"}, 0),
    ({"tenant": "nobody"}, 0),
]


@pytest.mark.parametrize("step", [1, 3, 2000])
async def test_what_is_queued_is_counted(world: World, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Of a tenant, class and campaign, what waits for its turn and what is due later, however small the steps."""
    monkeypatch.setattr(count, "STEP", step)
    for tenant in ("acme", "acme2"):
        for i in range(4):
            later = {"not_before": world.now + HOUR} if i % 2 else {}
            await world.send(tenant, f"r{i}", "reminder", **later)
            await world.send(tenant, f"m{i}", "marketing", **later)
            await world.send(tenant, f"s{i}", "marketing", campaign="spring", **later)
    assert [(names, await queued(world.shard, **names)) for names, _ in COUNTED] == COUNTED
