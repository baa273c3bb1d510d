"""What the demo enqueues."""

from collections import Counter

import phonenumbers

from smsd.demo.messages import CHAIN, REGIONS, entries, tenants
from smsd.text import segment

MADE = list(entries(seed=1, messages=2000, tenant_count=400))
SENDS = [entry for entry in MADE if "op" not in entry.fields]


def test_the_same_seed_makes_the_same_messages() -> None:
    """A run can be repeated, and another seed is another run."""
    assert list(entries(seed=1, messages=50, tenant_count=10)) == list(entries(seed=1, messages=50, tenant_count=10))
    assert list(entries(seed=2, messages=50, tenant_count=10)) != list(entries(seed=1, messages=50, tenant_count=10))


def test_as_many_messages_and_tenants_as_asked() -> None:
    """Repeats and cancels are beside the number of messages, and every tenant sends one."""
    assert len({entry.key for entry in SENDS}) == 2000
    assert {entry.fields["tenant"] for entry in SENDS} == set(tenants(400))


def test_a_blast_and_reminders() -> None:
    """One chain's campaign comes first, so that the reminders of all others have to overtake it."""
    assert Counter(entry.class_ for entry in SENDS)["marketing"] in range(700, 900)
    assert {entry.fields["tenant"] for entry in SENDS if entry.class_ == "marketing"} == {CHAIN}
    classes = [entry.class_ for entry in MADE]
    assert classes == sorted(classes)


def test_libphonenumber_accepts_every_number() -> None:
    """All are valid, and of all five regions."""
    numbers = [phonenumbers.parse(entry.fields["to"]) for entry in SENDS]
    assert all(map(phonenumbers.is_valid_number, numbers))
    assert {phonenumbers.region_code_for_number(number) for number in numbers} == set(REGIONS)


def test_texts_are_of_both_alphabets_and_of_several_segments() -> None:
    """GSM-7 and UCS-2 with emoji, some longer than one segment, and each within ten."""
    counted = [segment(entry.fields["body"]) for entry in SENDS]
    assert {one.encoding for one in counted} == {"GSM-7", "UCS-2"}
    assert {one.count for one in counted} >= {1, 2}
    assert max(one.count for one in counted) <= 10


def test_a_few_come_twice_and_a_few_are_withdrawn() -> None:
    """Repeats are equal to the first in everything, and a cancel comes after its message."""
    times = Counter((entry.key, tuple(entry.fields.items())) for entry in SENDS)
    assert 5 < sum(n > 1 for n in times.values()) < 60
    seen: set[str] = set()
    cancelled = 0
    for entry in MADE:
        if "op" in entry.fields:
            assert entry.key in seen
            cancelled += 1
        seen.add(entry.key)
    assert 0 < cancelled < 20


def test_one_tenant_is_enough() -> None:
    """With a single tenant, the chain sends the reminders as well."""
    assert {entry.fields["tenant"] for entry in entries(seed=1, messages=20, tenant_count=1)} == {CHAIN}
