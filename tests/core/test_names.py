"""What tenants and messages may be called."""

import pytest

from smsd.core.names import is_id, is_tenant


@pytest.mark.parametrize("good", ["a", "a-b_c.d:E9", "x" * 64])
def test_names_of_the_contract_are_taken(good: str) -> None:
    """For tenants and messages alike."""
    assert is_tenant(good)
    assert is_id(good)


@pytest.mark.parametrize("bad", ["", "a b", "a/b", "é", "a\n", "٣", "x" * 129])
def test_others_are_not(bad: str) -> None:
    """Nothing outside ASCII, no blank, no end of a line."""
    assert not is_tenant(bad)
    assert not is_id(bad)


def test_an_id_may_be_longer() -> None:
    """Up to 128 characters."""
    assert is_id("x" * 128)
    assert not is_tenant("x" * 65)
