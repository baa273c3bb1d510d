"""Two values of a config in words, and which of two lists of limits lets more leave.

Pure. Never judges what a change means to a tenant: difference.py does.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

import msgspec

from smsd.config.read import keys_of
from smsd.config.settings import show_duration
from smsd.core.limit import Limit, show
from smsd.secret import Secret, SecretUrl

Speed = Literal["slower", "faster", "changed"]

COSTS = (1, 3)  # segments of the messages by which limits are compared: a limit in segments bites with the second


def compare(old: Sequence[Limit], new: Sequence[Limit]) -> tuple[Speed, str] | None:
    """How a list of limits changes, by what it admits in each period of either; None where it stays."""
    if set(old) == set(new):
        return None
    periods = {limit.period_us for limit in (*old, *new)}
    signs = {
        (after > before) - (after < before)
        for period_us in periods
        for cost in COSTS
        for before, after in [(_cap(old, period_us, cost), _cap(new, period_us, cost))]
    } - {0}
    speed: Speed = "changed"
    if len(signs) == 1:
        speed = "faster" if signs == {1} else "slower"
    return speed, _limits(old, new)


def _cap(limits: Iterable[Limit], period_us: int, cost: int) -> float:
    """How many messages of so many segments leave in such a period at most."""
    return min(
        (math.ceil(period_us / limit.period_us) * limit.n / limit.cost(cost) for limit in limits), default=math.inf
    )


def _limits(old: Sequence[Limit], new: Sequence[Limit]) -> str:
    before, after = {limit.key: limit for limit in old}, {limit.key: limit for limit in new}
    told: list[str] = []
    for key in sorted(before.keys() | after.keys(), key=lambda key: (key[1], key[0])):
        one, other = before.get(key), after.get(key)
        if one is None and other is not None:
            told.append(f"{show(other)} is new")
        elif one is not None and other is None:
            told.append(f"{show(one)} is gone")
        elif one is not None and other is not None and one != other:
            told.append(f"{show(one)} -> {show(other)}")
    return ", ".join(told)


def fields(old: msgspec.Struct, new: msgspec.Struct, but: Iterable[str] = ()) -> list[str]:
    """`key old -> new` for each key of two structs of one type that differs, under its name in the file.

    A secret is never shown, not even its reference: only that it is another.
    """
    told: list[str] = []
    for key, field in keys_of(type(new)).items():
        before, after = getattr(old, field.name), getattr(new, field.name)
        if key in but or before == after:
            continue
        shown = (word(before, field.name), word(after, field.name))
        told.append(f"{key} {shown[0]} -> {shown[1]}" if all(shown) else f"another {key}")
    return told


def word(value: Any, name: str = "") -> str:
    """A value as the file writes it; "" for one that is not to be shown. `name` tells durations by their `_us`."""
    match value:
        case Secret() | SecretUrl() | msgspec.Struct() if not isinstance(value, Limit):
            return ""
        case Limit():
            return show(value)
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case int() if name.endswith("_us"):
            return show_duration(value)
        case list() | tuple():
            words = [word(one, name) for one in cast("Sequence[Any]", value)]
            return ", ".join(words) if words and all(words) else "" if words else "nothing"
        case dict():
            return ""
        case _:
            return str(value) or "nothing"
