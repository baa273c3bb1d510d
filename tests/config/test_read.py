"""What smsd.config.read must hold: every mistake of a table at once, in plain words, and all that is right kept."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from smsd.config.read import BAD, Reader, Reads, keys_of, suggestion
from smsd.secret import HOW, Secret, SecretUrl


def _even(text: str) -> int:
    if not text.isdigit() or int(text) % 2:
        raise ValueError("expected an even number in quotes")
    return int(text)


Even = Annotated[int, Reads(_even, "an even number in quotes")]


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    need: int
    word: Literal["red", "green"] = "red"


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    number: Annotated[int, Meta(ge=1, le=5)] = 3
    part: Annotated[float, Meta(gt=0, le=1)] = 0.5
    flag: bool = False
    text: str = "t"
    span_us: Even = msgspec.field(name="span", default=2)
    evens: tuple[Even, ...] = ()
    pair: tuple[Even, Even] = (2, 4)
    maybe: tuple[Inner, ...] | None = None
    listed: list[Inner] = []
    named: dict[Even, Inner] = {}
    inner: Inner | None = None
    either: int | str = 1
    anything: dict[str, object] = {}
    token: Secret | None = None
    tokens: Secret | list[Secret] | None = None
    keys: tuple[Secret, ...] = ()
    url: SecretUrl = SecretUrl("embedded")


def read(table: object, **options: object) -> tuple[Outer | None, list[tuple[str, str]]]:
    reader = Reader("", {}, **options)  # pyright: ignore[reportArgumentType]
    outer = reader.struct(Outer, table, ())
    return outer, [(".".join(map(str, path)), message) for path, message in reader.mistakes]


def test_what_is_right_is_read_as_its_type_says():
    """Grammars, pairs, tables, lists of tables and secrets become the values of the struct."""
    outer, mistakes = read(
        {
            "number": 5,
            "part": 1,
            "span": "6",
            "evens": ["2", "4"],
            "pair": ["6", "8"],
            "maybe": [{"need": 1}],
            "listed": [{"need": 2, "word": "green"}],
            "named": {"2": {"need": 3}},
            "inner": {"need": 4},
            "either": "x",
            "anything": {"a": [1, {"b": 2}]},
            "token": "env:A",
            "tokens": "env:A",
            "keys": ["env:A", "file:b"],
            "url": "redis://:{env:A}@h",
        }
    )
    assert mistakes == []
    assert outer == Outer(
        number=5,
        part=1.0,
        span_us=6,
        evens=(2, 4),
        pair=(6, 8),
        maybe=(Inner(need=1),),
        listed=[Inner(need=2, word="green")],
        named={2: Inner(need=3)},
        inner=Inner(need=4),
        either="x",
        anything={"a": [1, {"b": 2}]},
        token=Secret("env:A"),
        tokens=(Secret("env:A"),),  # pyright: ignore[reportArgumentType] - one or many is always a tuple
        keys=(Secret("env:A"), Secret("file:b")),
        url=SecretUrl("redis://:{env:A}@h"),
    )


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("number", "3", "expected a whole number, got a text in quotes"),
        ("number", 0, "expected a whole number >= 1, got 0"),
        ("number", 9, "expected a whole number <= 5, got 9"),
        ("number", True, "expected a whole number, got true or false"),
        ("number", 2.5, "expected a whole number, got a number"),
        ("part", float("nan"), "expected a number > 0.0, got nan"),
        ("part", float("inf"), "expected a number <= 1.0, got inf"),
        ("flag", 1, "expected true or false, got a whole number"),
        ("text", 1, "expected a text in quotes, got a whole number"),
        ("span", 2, "expected an even number in quotes, got 2"),
        ("span", False, "expected an even number in quotes, got false"),
        ("span", "3", "expected an even number in quotes"),
        ("evens", "2", "expected a list in [brackets], got a text in quotes"),
        ("pair", ["2"], "expected a list of 2 values, got 1"),
        ("pair", "2", "expected a list of 2 values, got a text in quotes"),
        ("listed", {}, "expected a list in [brackets], got a table"),
        ("named", [], "expected a table, got a list"),
        ("inner", 5, "expected a table, got 5"),
        ("either", 1.5, "expected a whole number or a text in quotes, got a number"),
        ("token", "hunter2", HOW),
        ("token", 7, HOW),
        ("tokens", "hunter2", HOW),
        ("tokens", [], "the list is empty: give at least one secret"),
        ("keys", 5, HOW),
        ("url", 5, "expected a url, got 5"),
        ("url", "redis://:hunter2@h", "the url holds a password"),
        ("nmber", 3, 'unknown key (did you mean "number"?)'),
        ("zzz", 3, "unknown key: known are anything, either"),
    ],
)
def test_a_wrong_value_says_what_is_expected_and_leaves_the_default(key: str, value: object, says: str):
    """Each kind of mistake is one sentence at its key, holds no text of the file, and the rest is read."""
    outer, mistakes = read({key: value})
    assert outer == Outer()
    assert [at for at, _ in mistakes] == [key]
    assert mistakes[0][1].startswith(says)
    assert "hunter2" not in mistakes[0][1]


def test_every_mistake_is_told_at_its_own_place():
    """One pass finds the mistakes of all keys, elements and tables inside, and those do not hide each other."""
    outer, mistakes = read(
        {
            "number": 9,
            "evens": ["2", "3", 4],
            "pair": ["2", "x"],
            "listed": [{"need": 1}, {"word": "blue"}, 7],
            "named": {"2": {"need": "x"}, "3": {"need": 1}, "4": {"need": 1}},
            "inner": {"need": 1, "word": "gren", "x": 1},
            "keys": ["env:A", "hunter2"],
            "anything": {"a": 1},
        }
    )
    assert mistakes == [
        ("number", "expected a whole number <= 5, got 9"),
        ("evens.1", "expected an even number in quotes"),
        ("evens.2", "expected an even number in quotes, got 4"),
        ("pair.1", "expected an even number in quotes"),
        ("listed.1.word", 'expected one of "red", "green"'),
        ("listed.1", 'the key "need" is missing'),
        ("listed.2", "expected a table, got 7"),
        ("named.2.need", "expected a whole number, got a text in quotes"),
        ("named.3", "expected an even number in quotes"),
        ("inner.word", 'expected one of "red", "green" (did you mean "green"?)'),
        ("inner.x", "unknown key: known are need, word"),
        ("keys.1", HOW),
    ]
    assert outer is not None
    assert outer.named == {4: Inner(need=1)}
    assert outer.inner == Inner(need=1)


def test_a_missing_or_wrong_required_key_leaves_no_struct():
    """Without what it must have there is no value, and what is wrong is told once."""
    reader = Reader("", {})
    assert reader.struct(Inner, {}, ("i",)) is None
    assert reader.struct(Inner, {"need": "x"}, ("j",)) is None
    assert reader.mistakes == [
        (("i",), 'the key "need" is missing'),
        (("j", "need"), "expected a whole number, got a text in quotes"),
    ]


def test_what_is_absent_is_taken_from_a_base():
    """A struct can be read over another one instead of over the defaults."""
    base = Outer(number=4, text="base")
    assert Reader("", {}).struct(Outer, {"text": "own"}, (), base=base) == Outer(number=4, text="own")


def test_a_text_from_the_environment_may_stand_for_a_number():
    """Only at the paths that are told to be lax, and it is judged all the same."""
    outer, mistakes = read({"number": "4", "part": "0.25", "text": "7"}, lax=[("number",), ("part",), ("text",)])
    assert mistakes == []
    assert outer == Outer(number=4, part=0.25, text="7")
    assert read({"number": "9"}, lax=[("number",)])[1] == [("number", "expected a whole number <= 5")]
    assert read({"number": "x"}, lax=[("number",)])[1] == [
        ("number", "expected a whole number, got a text in quotes"),
    ]


def test_a_struct_may_judge_its_keys_together():
    """A ValueError that begins with a key of the struct is told at that key, any other at the table."""

    class Judge(msgspec.Struct, frozen=True):
        a: dict[str, int] = {}
        b: str = ""

        def __post_init__(self) -> None:
            if self.b:
                raise ValueError(self.b)

    reader = Reader("", {})
    for sentence in ["a.x[2]: is wrong", "b: is wrong", "c: is wrong", "is wrong"]:
        assert reader.struct(Judge, {"b": sentence}, ("p",)) is None
    assert reader.mistakes == [
        (("p", "a", "x", 2), "is wrong"),
        (("p", "b"), "is wrong"),
        (("p",), "c: is wrong"),
        (("p",), "is wrong"),
    ]


def test_secrets_are_remembered_with_their_places():
    """Whoever checks whether references lead somewhere finds all of them, those inside urls too."""
    reader = Reader("", {})
    reader.struct(Outer, {"token": "env:A", "tokens": ["env:B", "env:C"], "url": "redis://:{env:D}@h"}, ())
    assert [(path, secret.reference) for path, secret in reader.secrets] == [
        (("token",), "env:A"),
        (("tokens", 0), "env:B"),
        (("tokens", 1), "env:C"),
        (("url",), "env:D"),
    ]


def test_keys_that_others_read_are_known_to_the_suggestion():
    """`also` names keys of the same table that belong to another struct."""
    reader = Reader("", {})
    reader.struct(Inner, {"need": 1, "timeot_s": 1}, ("p",), also=["timeout_s"])
    assert reader.mistakes == [(("p", "timeot_s"), 'unknown key (did you mean "timeout_s"?)')]


def test_keys_are_those_of_the_file():
    """A field that is renamed is known by the name that stands in the file."""
    assert keys_of(Outer)["span"].name == "span_us"
    assert "span_us" not in keys_of(Outer)
    assert keys_of(Inner)["need"].required


def test_a_bad_value_is_told_apart_from_every_good_one():
    """None is a value that a type may have, so what could not be read is a value of its own."""
    assert Reader("", {}).value(int, "x", ()) is BAD
    assert Reader("", {}).value(bool, False, ()) is False


def test_a_suggestion_is_made_only_where_something_is_near():
    """A word far from all known ones gets none."""
    assert suggestion("remnder", ["reminder", "marketing"]) == ' (did you mean "reminder"?)'
    assert suggestion("x", ["reminder", "marketing"]) == ""
