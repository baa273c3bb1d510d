"""To which message a receipt belongs."""

from smsd.core.twin.values import Receipt
from tests.support.twin import accepted, send, shard, states, take


def test_a_receipt_before_its_settle_is_merged_after_it() -> None:
    """What overtook the answer waits with the message, once."""
    twin = shard()
    send(twin, "acme", "a")
    [leased] = take(twin)
    one = Receipt("acme/a", 1, "main", "", "delivered")
    assert twin.receipts([one, one]) == ["parked", "repeated"]
    twin.settle([accepted(leased)])
    assert states(twin, "acme/a") == ["queued", "submitted", "delivered"]


def test_a_receipt_under_an_unknown_id_is_found_when_the_id_comes() -> None:
    """A receipt that names only the provider's id waits for it, in bounded number."""
    twin = shard()
    send(twin, "acme", "a")
    [leased] = take(twin)
    early = [Receipt("", 0, "main", id_, "delivered") for id_ in ("SM-1", "SM-2")]
    assert twin.receipts(early, most_early=1) == ["early", "dropped"]
    assert twin.settle([accepted(leased, "SM-1")]) == ["delivered"]


def test_a_second_id_leads_to_the_message_too() -> None:
    """Every id that a provider told for an attempt finds it."""
    twin = shard()
    send(twin, "acme", "a")
    [leased] = take(twin)
    twin.settle([accepted(leased, "SM-1")])
    told = [Receipt("acme/a", 1, "main", "SM-2", "sent"), Receipt("", 0, "main", "SM-2", "delivered")]
    assert twin.receipts(told) == ["noted", "delivered"]
