"""The parts of the demo's run that need no carrier; the whole is in tests/e2e/test_demo.py."""

from typing import Any

from smsd.demo.ledger import Taken
from smsd.demo.messages import entries
from smsd.demo.run import copies, produce
from smsd.store import keys
from smsd.testing.carrier_faults import Outcome
from smsd.testing.carrier_ledger import Line, digest


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


def test_a_copy_is_known_by_our_reference_or_by_its_number_and_text() -> None:
    """Some vendors are told no reference; a text that nobody enqueued keeps the carrier's id, and is strange."""
    one, other = list(entries(seed=1, messages=2, tenant_count=2))[:2]

    def line(sid: str | None, reference: str, to: str, body: str) -> Line:
        said = {"sender": "", "service": "", "body": "", "segments": 1, "at_us": 0, "mono_us": 0, "code": 0}
        told = {"n": 1, "sid": sid, "reference": reference, "to": to, "body_hash": digest(body), "error_code": 0}
        return Line(**said, **told, outcome=Outcome.ACCEPTED, ends="delivered", receipts=())  # pyright: ignore

    book = [
        line("S1", f"2.{one.key}", one.fields["to"], one.fields["body"]),
        line("S2", "", other.fields["to"], other.fields["body"]),
        line("S3", "", other.fields["to"], "Something else"),
        line(None, "", one.fields["to"], one.fields["body"]),
    ]
    assert copies(book, [one, other]) == [Taken(key, "delivered") for key in (one.key, other.key, "S3")]
