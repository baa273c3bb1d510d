"""The part of PromQL that config/ uses, evaluated over made-up series: so that every machine can test the alerts.

Never more than that part: what it does not know is a mistake, not a guess. tests/test_alerts.py holds it against
promtool where that is installed. Semantics after prometheus.io/docs/prometheus/latest/querying and promql/functions.go.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

LOOKBACK_S = 300.0
Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Points = Sequence[tuple[float, float]]

TOKEN = re.compile(
    r"\s*(?:(?P<word>[a-zA-Z_:][\w:]*)|(?P<span>\[[^\]]*\])|(?P<text>\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?P<sign>==|!=|=~|!~|>=|<=|[-+*/(){},=<>]))"
)
BINARY = {
    "or": 1, "and": 2, "unless": 2, **dict.fromkeys(("==", "!=", ">", "<", ">=", "<="), 3),
    "+": 4, "-": 4, "*": 5, "/": 5,
}  # fmt: skip
AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum, "max": max, "min": min, "count": lambda found: float(len(found)),
}  # fmt: skip
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
COMPARES: dict[str, Callable[[float, float], bool]] = {
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, ">": lambda a, b: a > b,
    "<": lambda a, b: a < b, ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b,
}  # fmt: skip
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else (math.nan if not a or math.isnan(a) else math.copysign(math.inf, a)),
}  # fmt: skip


class Token(NamedTuple):
    kind: str
    text: str


# ---- What a query is made of -----------------------------------------------------------------------------------------


class Number(msgspec.Struct, frozen=True):
    value: float


class Selector(msgspec.Struct, frozen=True):
    name: str
    matchers: tuple[tuple[str, str, str], ...]  # label, sign, text
    range_s: float = 0  # 0: an instant


class Call(msgspec.Struct, frozen=True):
    name: str
    arguments: tuple["Node", ...]


class Aggregate(msgspec.Struct, frozen=True):
    name: str
    by: tuple[str, ...]
    inner: "Node"


class Binary(msgspec.Struct, frozen=True):
    sign: str
    left: "Node"
    right: "Node"


Node = Number | Selector | Call | Aggregate | Binary


def seconds(text: str) -> float:
    """Of a duration as Prometheus writes it: "90s", "1h30m"."""
    parts = re.findall(r"(\d+)([smhd])", text)
    assert "".join(n + unit for n, unit in parts) == text, f"no duration: {text}"
    return sum(int(n) * UNITS_S[unit] for n, unit in parts)


def selectors(node: Node) -> Iterator[Selector]:
    """Every selector in a query."""
    match node:
        case Selector():
            yield node
        case Call():
            for one in node.arguments:
                yield from selectors(one)
        case Aggregate():
            yield from selectors(node.inner)
        case Binary():
            yield from selectors(node.left)
            yield from selectors(node.right)
        case Number():
            pass


def by_labels(node: Node) -> Iterator[str]:
    """Every label that a query groups by."""
    match node:
        case Aggregate():
            yield from node.by
            yield from by_labels(node.inner)
        case Call():
            for one in node.arguments:
                yield from by_labels(one)
        case Binary():
            yield from by_labels(node.left)
            yield from by_labels(node.right)
        case _:
            pass


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._tokens = text, list[Token]()
        at = 0
        while at < len(text.rstrip()):
            found = TOKEN.match(text, at)
            assert found, f"not known here: {text[at:]}"
            kind = found.lastgroup or ""
            self._tokens.append(Token(kind, found[kind]))
            at = found.end()

    def whole(self) -> Node:
        node = self._binary(1)
        assert not self._tokens, f"more than a query: {self._text}"
        return node

    def _next(self, expected: str = "") -> Token:
        assert self._tokens, f"ends too early: {self._text}"
        token = self._tokens.pop(0)
        assert expected in ("", token.text), f"{expected} expected, not {token.text}: {self._text}"
        return token

    def _peek(self) -> str:
        return self._tokens[0].text if self._tokens else ""

    def _binary(self, least: int) -> Node:
        left = self._one()
        while BINARY.get(self._peek(), 0) >= least:
            sign = self._next().text
            left = Binary(sign, left, self._binary(BINARY[sign] + 1))
        return left

    def _one(self) -> Node:
        token = self._next()
        if token.kind == "number":
            return Number(float(token.text))
        if token.text == "(":
            inner = self._binary(1)
            self._next(")")
            return inner
        assert token.kind == "word", f"not known here: {token.text} in {self._text}"
        if token.text in AGGREGATES:
            by = self._list() if self._peek() == "by" and self._next() else ()
            self._next("(")
            inner = self._binary(1)
            self._next(")")
            return Aggregate(token.text, by, inner)
        if self._peek() == "(":
            assert token.text in FUNCTIONS.keys() | READ_ONLY, f"not known here: {token.text}()"
            return Call(token.text, self._arguments())
        return self._selector(token.text)

    def _list(self) -> tuple[str, ...]:
        self._next("(")
        found = [self._next().text]
        while self._next().text == ",":
            found.append(self._next().text)
        return tuple(found)

    def _arguments(self) -> tuple[Node, ...]:
        self._next("(")
        found = [self._binary(1)]
        while self._peek() == ",":
            self._next()
            found.append(self._binary(1))
        self._next(")")
        return tuple(found)

    def _selector(self, name: str) -> Selector:
        matchers: list[tuple[str, str, str]] = []
        if self._peek() == "{":
            while self._next().text in ("{", ","):
                label, sign, text = self._next().text, self._next().text, self._next().text
                matchers.append((label, sign, text[1:-1]))
        range_s = seconds(self._next().text[1:-1]) if self._tokens and self._tokens[0].kind == "span" else 0
        return Selector(name, tuple(matchers), range_s)


def parse(text: str) -> Node:
    """A query, or an AssertionError about what this does not know."""
    return _Parser(text).whole()


# ---- What it comes to ------------------------------------------------------------------------------------------------

MATCHES: dict[str, Callable[[str, str], bool]] = {
    "=": lambda told, asked: told == asked,
    "!=": lambda told, asked: told != asked,
    "=~": lambda told, asked: re.fullmatch(asked, told) is not None,
    "!~": lambda told, asked: re.fullmatch(asked, told) is None,
}


class Series:
    """Samples by metric and labels. `left_open`: a range leaves out its left end, as in Prometheus 3 and not in 2."""

    def __init__(self, *, left_open: bool) -> None:
        self._points: dict[tuple[str, Labels], list[tuple[float, float]]] = {}
        self._left_open = left_open

    def add(self, name: str, labels: Mapping[str, str], at_s: float, value: float) -> None:
        """nan: the series ends there (Prometheus calls it stale)."""
        self._points.setdefault((name, frozenset(labels.items())), []).append((at_s, value))

    def within(self, asked: Selector, at_s: float) -> dict[Labels, Points]:
        """Samples of each series that matches, in the range or, for an instant, of the last five minutes."""
        start = at_s - (asked.range_s or LOOKBACK_S)
        found: dict[Labels, Points] = {}
        for (name, labels), points in self._points.items():
            told = dict(labels)
            if name == asked.name and all(MATCHES[sign](told.get(of, ""), text) for of, sign, text in asked.matchers):
                seen = [(t, v) for t, v in points if start <= t <= at_s and not (t == start and self._left_open)]
                if asked.range_s:
                    seen = [(t, v) for t, v in seen if not math.isnan(v)]
                if seen and not math.isnan(seen[-1][1]):
                    found[labels] = seen
        return found

    def value(self, node: Node, at_s: float) -> Vector | float:
        match node:
            case Number():
                return node.value
            case Selector():
                return {labels: points[-1][1] for labels, points in self.within(node, at_s).items()}
            case Call():
                return FUNCTIONS[node.name](self, node.arguments, at_s)
            case Aggregate():
                groups: dict[Labels, list[float]] = {}
                for labels, value in self.vector(node.inner, at_s).items():
                    groups.setdefault(frozenset(p for p in labels if p[0] in node.by), []).append(value)
                return {labels: AGGREGATES[node.name](values) for labels, values in groups.items()}
            case Binary():
                return _combined(node.sign, self.value(node.left, at_s), self.value(node.right, at_s))

    def vector(self, node: Node, at_s: float) -> Vector:
        found = self.value(node, at_s)
        assert isinstance(found, dict), "a number where series are due"
        return found


def _combined(sign: str, left: Vector | float, right: Vector | float) -> Vector | float:
    """Series meet where all their labels are alike: what config/ compares it has grouped alike before."""
    pairs: dict[Labels, tuple[float, float]]
    match left, right:
        case dict(), dict():
            if sign == "or":
                return {**right, **left}
            if sign in ("and", "unless"):
                return {labels: v for labels, v in left.items() if (labels in right) == (sign == "and")}
            pairs = {labels: (v, right[labels]) for labels, v in left.items() if labels in right}
        case dict(), _:
            pairs = {labels: (v, right) for labels, v in left.items()}
        case _, dict():
            assert sign in ARITHMETIC, "a comparison has its series on the left here"
            pairs = {labels: (left, v) for labels, v in right.items()}
        case _:
            return ARITHMETIC[sign](left, right)
    if sign in COMPARES:
        return {labels: a for labels, (a, b) in pairs.items() if COMPARES[sign](a, b)}
    return {labels: ARITHMETIC[sign](a, b) for labels, (a, b) in pairs.items()}


# ---- Functions -------------------------------------------------------------------------------------------------------


def _extrapolated(points: Points, range_s: float, at_s: float, *, counter: bool) -> float:
    """How much it grew in the range, reckoned on to the range's ends where the samples reach nearly that far."""
    (first_t, first), (last_t, last) = points[0], points[-1]
    grown = last - first
    if counter:
        grown += sum(a for (_, a), (_, b) in itertools.pairwise(points) if b < a)
    sampled_s = last_t - first_t
    between_s = sampled_s / (len(points) - 1)
    to_start_s, to_end_s = first_t - (at_s - range_s), at_s - last_t
    if counter and grown > 0 and first >= 0:
        to_start_s = min(to_start_s, sampled_s * (first / grown))
    reach_s = sampled_s
    for gap_s in (to_start_s, to_end_s):
        reach_s += gap_s if gap_s < between_s * 1.1 else between_s / 2
    return grown * reach_s / sampled_s


def _ranged(reckon: Callable[[Points, float, float], float], least: int) -> "Function":
    """Of each series with so many samples in the range; `reckon` is given these, the range and its end."""

    def of(series: Series, arguments: tuple[Node, ...], at_s: float) -> Vector:
        (asked,) = arguments
        assert isinstance(asked, Selector), "a selector is due"
        assert asked.range_s, "a range is due"
        found = series.within(asked, at_s).items()
        return {labels: reckon(points, asked.range_s, at_s) for labels, points in found if len(points) >= least}

    return of


def _absent(series: Series, arguments: tuple[Node, ...], at_s: float) -> Vector:
    assert isinstance(arguments[0], Binary), "absent of a plain selector would make labels of its matchers"
    return {} if series.vector(arguments[0], at_s) else {frozenset(): 1.0}


def _abs(series: Series, arguments: tuple[Node, ...], at_s: float) -> Vector:
    return {labels: abs(v) for labels, v in series.vector(arguments[0], at_s).items()}


Function = Callable[[Series, tuple[Node, ...], float], Vector]
FUNCTIONS: dict[str, Function] = {
    "rate": _ranged(lambda points, range_s, at_s: _extrapolated(points, range_s, at_s, counter=True) / range_s, 2),
    "increase": _ranged(lambda points, range_s, at_s: _extrapolated(points, range_s, at_s, counter=True), 2),
    "delta": _ranged(lambda points, range_s, at_s: _extrapolated(points, range_s, at_s, counter=False), 2),
    "min_over_time": _ranged(lambda points, *_: min(v for _, v in points), 1),
    "absent": _absent,
    "abs": _abs,
}
READ_ONLY = frozenset({"histogram_quantile"})  # for the dashboard, whose queries are read and not evaluated
