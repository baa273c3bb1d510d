"""Which sender a text leaves under, and that a person keeps the same one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.senders import NoSender, SenderRule, choose, pick, sender_type

NUMBERS = SenderRule(frozenset({"e164", "short"}))
REGISTERED = SenderRule(frozenset({"alpha", "e164"}), frozenset({"salon"}))
NOBODY = SenderRule(frozenset())
US = "+12025550100"


def chosen(given: str = "", own: str = "Salon", pool: tuple[str, ...] = (), rule: SenderRule | None = None) -> str:
    return choose(given, own, pool, rule, tenant="acme", to="+12025550123", country="US")


@pytest.mark.parametrize(
    ("sender", "kind"), [("+353861234567", "e164"), ("12345", "short"), ("Salon 1", "alpha"), ("", "")]
)
def test_a_sender_has_a_type(sender: str, kind: str) -> None:
    """By what it looks like; the empty one is the provider's choice."""
    assert sender_type(sender) == kind


def test_without_a_rule_everybody_may_send() -> None:
    """The entry's own goes before the pool's, and that before the tenant's."""
    assert (chosen(), chosen("Cut & Go"), chosen(pool=(US,)), chosen("Cut", pool=(US,))) == (
        "Salon",
        "Cut & Go",
        US,
        "Cut",
    )


def test_what_an_entry_names_is_never_replaced() -> None:
    """It may send there, or is told that it may not and what could."""
    assert chosen(US, rule=NUMBERS) == US
    with pytest.raises(NoSender, match="from: an alphanumeric sender may not send to US: use a number or a short code"):
        chosen("Cut", pool=(US,), rule=NUMBERS)


def test_a_tenant_s_own_sender_gives_way_to_one_that_may() -> None:
    """To one of the pool, else to the rule's; where there is none the entry is told so."""
    instead = SenderRule(frozenset({"e164"}), frozenset(), US)
    assert chosen(pool=("Salon", US), rule=NUMBERS) == US
    assert chosen(rule=instead) == US
    assert chosen(pool=("Salon",), rule=instead) == US
    with pytest.raises(NoSender, match="the tenant's sender, an alphanumeric sender, may not send to US"):
        chosen(rule=NUMBERS)
    with pytest.raises(NoSender, match="no sender of the tenant's pool may send to US"):
        chosen(pool=("Salon", "Cut"), rule=NUMBERS)


def test_a_registered_sender_is_known_whatever_its_case() -> None:
    """Others of its type may not send there; numbers are not registered."""
    assert chosen("SALON", rule=REGISTERED) == "SALON"
    assert chosen(US, rule=REGISTERED) == US
    with pytest.raises(NoSender, match="that is not registered there"):
        chosen("Cut", rule=REGISTERED)


def test_the_provider_s_choice_always_may() -> None:
    """An empty sender is nobody's, also where no sender may."""
    assert chosen(own="", rule=NOBODY) == ""
    with pytest.raises(NoSender, match="no sender may"):
        chosen(rule=NOBODY)


POOL = tuple(f"+44770090{n:04}" for n in range(8))
PEOPLE = [f"+4477{n:08}" for n in range(4000)]


def test_each_person_keeps_one_sender_and_all_are_used() -> None:
    """The shares of a pool are even, within what chance allows."""
    shares = [sum(pick(POOL, "acme", to) == sender for to in PEOPLE) for sender in POOL]
    assert min(shares) > 400 and max(shares) < 600  # noqa: PT018 - one range
    assert any(pick(POOL, "acme", to) != pick(POOL, "other", to) for to in PEOPLE)


@given(st.integers(0, 7))
def test_a_sender_that_goes_moves_only_its_own_people(gone: int) -> None:
    """Everybody else keeps the sender that they know."""
    left = POOL[:gone] + POOL[gone + 1 :]
    moved = [to for to in PEOPLE[:500] if pick(left, "acme", to) != pick(POOL, "acme", to)]
    assert all(pick(POOL, "acme", to) == POOL[gone] for to in moved)


def test_the_order_of_a_pool_does_not_matter() -> None:
    """Two hosts whose files list it otherwise agree."""
    assert [pick(POOL, "acme", to) for to in PEOPLE[:100]] == [pick(POOL[::-1], "acme", to) for to in PEOPLE[:100]]
