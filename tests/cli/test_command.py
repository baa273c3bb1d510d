"""What a command is made of."""

import pytest

from smsd.cli.command import number, option, switch, whole, word


def test_a_parameter_has_the_name_of_its_flag() -> None:
    """A flag's dashes become what Python can name; another name may be given."""
    assert option("--not-before", "TIME", "when").name == "not_before"
    assert option("--from", "SENDER", "who", name="sender").name == "sender"
    assert (word("TENANT", "whose").name, switch("--yes", "do not ask").name) == ("tenant", "yes")


def test_numbers_say_what_would_be_right() -> None:
    """What is no number is told in words."""
    assert (whole("10"), number("2.5")) == (10, 2.5)
    for read in (whole, number):
        with pytest.raises(ValueError, match='"many" is no'):
            read("many")
