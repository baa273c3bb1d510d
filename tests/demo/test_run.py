"""The parts of the demo's run that need no carrier; the whole is in tests/e2e/test_demo.py."""

from typing import Any

from smsd.demo.messages import entries
from smsd.demo.run import produce
from smsd.store import keys


async def test_every_entry_is_written_in_its_order(redis: Any) -> None:
    """The inboxes hold what was made, and each message is remembered once however often it was written."""
    made = list(entries(seed=1, messages=500, tenant_count=50))
    enqueued: set[str] = set()
    await produce(redis, made, enqueued)
    assert len(enqueued) == 500
    for class_ in ("reminder", "marketing"):
        written = await redis.xrange(keys.inbox(0, class_))
        expected = [entry.fields for entry in made if entry.class_ == class_]
        assert [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in written] == expected
