"""Which of two lists of limits lets more leave, and values as a file writes them."""

import pytest

from smsd.config.settings import ClassConfig, RetentionConfig
from smsd.control.difference_words import compare, fields, word
from smsd.core.limit import Limit, parse


def limits(text: str) -> list[Limit]:
    return [parse(one) for one in text.split(", ")] if text else []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("20/s", "20/s", None),
        ("20/s, 50000/d", "50000/d, 20/s", None),
        ("20/s, 50000/d", "10/s, 50000/d", ("slower", "20/s -> 10/s")),
        ("20/s", "20/s, 50000/d", ("slower", "50000/d is new")),
        ("20/s, 50000/d", "20/s", ("faster", "50000/d is gone")),
        ("", "1/s", ("slower", "1/s is new")),
        ("1/s", "", ("faster", "1/s is gone")),
        ("20/s, 50000/d", "50/s, 40000/d", ("changed", "20/s -> 50/s, 50000/d -> 40000/d")),
        ("10/s", "10 segments/s", ("slower", "10/s is gone, 10 segments/s is new")),
        ("60/m", "1/s", ("slower", "1/s is new, 60/m is gone")),
        ("50/s burst 5", "50/s burst 1", ("changed", "50/s burst 5 -> 50/s")),
    ],
)
def test_lists_of_limits_are_compared_by_what_they_admit(old: str, new: str, expected: tuple[str, str] | None) -> None:
    """Faster or slower is what every period says; a list that is both is only changed."""
    assert compare(limits(old), limits(new)) == expected


def test_fields_are_told_under_their_names_in_the_file() -> None:
    """Each key that differs, with durations and lists as the file has them; what is left out is left out."""
    old, new = ClassConfig(), ClassConfig(weight=2, expire_after_us=3_600_000_000, backoff_us=(500_000, 10_000_000))
    assert fields(old, new) == ["weight 1 -> 2", "expire_after none -> 1h", "backoff 2s, 10m -> 500ms, 10s"]
    assert fields(old, new, ("weight", "backoff")) == ["expire_after none -> 1h"]
    assert fields(RetentionConfig(), RetentionConfig(bodies_us=86_400_000_000)) == ["bodies end -> 1d"]


def test_words_are_those_of_the_file() -> None:
    """Truth values, empty texts and lists have a word of their own."""
    assert [word(value) for value in (True, "", (), None, ("a", "b"), 5, 1.0, {"a": 1})] == [
        "true", "nothing", "nothing", "none", "a, b", "5", "1", "",
    ]  # fmt: skip
