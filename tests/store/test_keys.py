"""Key names as the contract publishes them."""

from smsd.store import keys


def test_names_carry_the_shard_in_braces() -> None:
    """The braces are the cluster hash tag: all keys of a shard are in one slot."""
    assert keys.key(0, "events") == "smsd:{0}:events"
    assert keys.inbox(3, "reminder") == "smsd:{3}:in:reminder"
    assert keys.META == "smsd:meta"


def test_every_kind_of_a_shard_has_one_fixed_key() -> None:
    """Scripts declare all kinds in one order, and no name is used twice."""
    every = keys.every(1)
    assert len(set(every)) == len(every) == len(keys.KINDS)
    assert all(name.startswith("smsd:{1}:") for name in every)
