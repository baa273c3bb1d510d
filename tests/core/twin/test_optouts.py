"""The list of those who have opted out, in the twin: what keeps a message from leaving, and what closes a scope."""

import pytest

from smsd.core.optout import Scope
from smsd.core.twin.values import Class, Receipt
from tests.support import twin
from tests.support.twin import SECOND, accepted, fail, shard, states, take, taken_ids

CLASSES = {"reminder": Class(8, 1000, SECOND), "marketing": Class(1, 1000, SECOND, "marketing")}
ANNA, BEN = "+353861234567", "+353861234568"


@pytest.mark.parametrize(
    ("mark", "scope", "leave"),
    [
        ("t:acme", "marketing", ["acme/r", "other/r", "other/m"]),
        ("t:acme", "all", ["other/r", "other/m"]),
        ("s:Salon", "marketing", ["acme/r", "other/r"]),
        ("s:Salon", "all", []),
        ("s:Other", "all", ["acme/r", "other/r", "acme/m", "other/m"]),
    ],
)
def test_what_is_closed_does_not_leave(mark: str, scope: Scope, leave: list[str]) -> None:
    """Of that tenant or sender, in classes of that scope; also what was queued before."""
    queued, fresh = shard(classes=CLASSES), shard(classes=CLASSES)
    for one in (queued, fresh):
        if one is fresh:
            one.opt_out(mark, ANNA, scope)
        for tenant in ("acme", "other"):
            twin.send(one, tenant, "r")
            twin.send(one, tenant, "m", "marketing")
        one.opt_out(mark, ANNA, scope)
        assert sorted(taken_ids(one)) == sorted(leave)
    assert all(e["reason"] == "opted_out" for e in fresh.events if e["state"] == "suppressed")


def test_another_recipient_is_not_meant() -> None:
    """An entry is one number's."""
    one = shard()
    one.opt_out("t:acme", BEN, "all")
    assert twin.send(one, "acme", "a") == "taken"
    assert one.opt_in("t:acme", BEN) == "all"
    assert twin.send(one, "acme", "b", to=BEN) == "taken"


def test_a_provider_that_says_opted_out_closes_the_sender() -> None:
    """By its answer or by a receipt; a receipt that is another's closes nothing."""
    one = shard()
    for id_ in ("a", "b", "c"):
        twin.send(one, "acme", id_, to=f"+35386123456{id_ == 'a':d}")
    a, b, c = sorted(take(one), key=lambda m: m.message.id)
    one.settle([fail(a, "opted_out"), accepted(b, "SM-b"), accepted(c, "SM-c")])
    assert set(one.book.opt_outs) == {("s:Salon", "+353861234561")}
    one.receipts([Receipt("acme/b", 9, "main", "", "undelivered", "opted_out")])
    assert len(one.book.opt_outs) == 1
    one.receipts([Receipt("acme/b", 1, "main", "", "undelivered", "opted_out")])
    assert len(one.book.opt_outs) == 2
    assert states(one, "acme/c") == ["queued", "submitted"]
