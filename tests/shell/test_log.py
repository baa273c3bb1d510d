"""The log's lines: JSON for machines, text for people, numbers hidden wherever they stand, and no text of a message."""

import io
import json
import os
import pty
from collections.abc import Iterator
from select import PIPE_BUF
from typing import Any

import msgspec
import pytest
import structlog

from smsd.message import Leased, Message
from smsd.shell.log import Settled, mask, settled, setup

NUMBER = "+353861234567"
MESSAGE = Message("acme", "m1", NUMBER, "Salon", "Bring your dog", "reminder", "default", "GSM-7", 2, "IE")


LEASED = Leased(MESSAGE, "main", 3, 7, 0, 0)


class Writes(io.BytesIO):
    """A file that remembers what was written at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[bytes] = []

    def write(self, some: Any) -> int:
        self.all.append(bytes(some))
        return super().write(some)


class Lines:
    """A logger of the process that writes here."""

    def __init__(self, *, verbose: bool = False) -> None:
        self._file = Writes()
        self.writes = self._file.all
        self.log = setup(verbose=verbose, file=self._file)

    def text(self) -> str:
        return self._file.getvalue().decode()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The process's logging, as other tests expect it."""
    yield
    structlog.reset_defaults()


def test_a_line_is_one_json_object() -> None:
    """Each line says when, how grave and what, with its fields."""
    lines = Lines()
    lines.log.warning("store_away", what="intake", tries=3)
    [line] = lines.all()
    assert (line["event"], line["level"], line["what"], line["tries"]) == ("store_away", "warning", "intake", 3)
    assert line["timestamp"].endswith("Z")


def test_debug_is_for_the_verbose() -> None:
    """Lines for debugging appear only when asked for."""
    lines = Lines()
    lines.log.debug("detail")
    assert lines.all() == []
    lines = Lines(verbose=True)
    lines.log.debug("detail")
    assert [line["event"] for line in lines.all()] == ["detail"]


def test_a_terminal_gets_lines_to_read() -> None:
    """On a terminal a line is text, with the numbers hidden all the same."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "wb", buffering=0) as terminal:
        log = setup(file=terminal)  # pyright: ignore[reportArgumentType]
        log.info("asked", to=NUMBER)
        shown = os.read(ours, 4096).decode()
        leased = msgspec.structs.replace(LEASED, provider=NUMBER)
        settled(log, [Settled.of(one, "submitted", "", 0, 0, 0) for one in (LEASED, leased)])
        batch = os.read(ours, 4096).decode().strip().splitlines()
    os.close(ours)
    assert "asked" in shown
    assert not shown.startswith("{")
    assert "+353*******67" in shown
    assert NUMBER not in shown
    assert [("settled" in line, "acme/m1" in line, "+353*******67" in line) for line in batch] == [
        (True, True, False), (True, True, True),
    ]  # fmt: skip


def test_the_settled_line_is_canonical() -> None:
    """Every attempt that was settled is one line of the same fields, its delays in milliseconds."""
    lines = Lines()
    settled(lines.log, [Settled.of(LEASED, "failed", "bad_number", 12_900, 400, 35_000)])
    [line] = lines.all()
    del line["timestamp"]
    assert line == {
        "event": "settled",
        "level": "info",
        "message": "acme/m1",
        "tenant": "acme",
        "class": "reminder",
        "provider": "main",
        "attempt": 3,
        "segments": 2,
        "state": "failed",
        "reason": "bad_number",
        "delays": "12/0/35",
    }


def test_a_batch_that_was_settled_is_one_write() -> None:
    """Each attempt of a batch has its own whole line, also with signs that JSON writes otherwise; they come at once."""
    lines = Lines()
    odd = msgspec.structs.replace(LEASED, provider='a"}\n{b')
    settled(lines.log, [Settled.of(one, "submitted", "", 0, 0, 0) for one in (LEASED, odd, LEASED)])
    assert [(line["event"], line["provider"]) for line in lines.all()] == [
        ("settled", "main"), ("settled", 'a"}\n{b'), ("settled", "main"),
    ]  # fmt: skip
    assert len(lines.writes) == 1


def test_a_batch_keeps_what_is_bound() -> None:
    """What a logger carries with it stands in every line of a batch."""
    lines = Lines()
    settled(lines.log.bind(shard=3, to=NUMBER), [Settled.of(LEASED, "submitted", "", 0, 0, 0)] * 2)
    assert [(line["shard"], line["to"]) for line in lines.all()] == [(3, "+353*******67")] * 2


def test_lines_of_workers_never_mix() -> None:
    """A long block is written in pieces of whole lines, each short enough to go through a pipe undivided."""
    lines = Lines()
    settled(lines.log, [Settled.of(LEASED, "submitted", "", 0, 0, 0)] * 100)
    assert len(lines.all()) == 100
    assert all(one.endswith(b"}\n") and len(one) <= PIPE_BUF for one in lines.writes)
    assert len(lines.writes) <= 10
    lines.log.info("long", what="x" * 2 * PIPE_BUF)
    assert len(lines.writes[-1]) > 2 * PIPE_BUF


@pytest.mark.parametrize("number", [NUMBER, f"%2B{NUMBER[1:]}", f"%2b{NUMBER[1:]}"])
def test_numbers_in_settled_lines_are_hidden(number: str) -> None:
    """A platform's id that is a phone number is hidden there as in any other line."""
    lines = Lines()
    message = msgspec.structs.replace(MESSAGE, id=number, tenant=number)
    leased = msgspec.structs.replace(LEASED, message=message)
    settled(lines.log, [Settled.of(one, "submitted", "", 0, 0, 0) for one in (LEASED, leased)])
    first, second = lines.all()
    assert first["message"] == "acme/m1"
    for field in ("message", "tenant"):
        assert second[field] == mask(None, "info", {field: getattr(Settled.of(leased, "", "", 0, 0, 0), field)})[field]
    assert NUMBER[1:] not in lines.text()


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("to", NUMBER, "+353*******67"),
        ("sender", "Salon", "Salon"),
        ("from", "0861234567", "********67"),
        ("url", f"https://h/x?To=%2B{NUMBER[1:]}&a=1", "https://h/x?To=%2B353*******67&a=1"),
        ("anything", f"sent to {NUMBER}, twice", "sent to +353*******67, twice"),
        ("detail", "The 'To' number 086 123 4567 is not valid", "The 'To' number *** is not valid"),
        ("error", "TimeoutError: 0861234567", "TimeoutError: ***"),
        ("body", "Bring your dog", "***"),
        ("body", b"Bring your dog", "***"),
        ("fields", {"body": "Bring your dog"}, "***"),
        ("what", [NUMBER, "x"], "['+353*******67', 'x']"),
        ("raw", NUMBER.encode(), "+353*******67"),
        ("entry_id", "1764025125000-0", "1764025125000-0"),
        ("message", "acme/m-1234567890", "acme/m-1234567890"),
        ("used", 123_456_789_012, 123_456_789_012),
        ("share", 0.5, 0.5),
        ("nothing", None, None),
        ("ok", True, True),
        ("offset", "2026-03-29T09:00:00+01:00", "2026-03-29T09:00:00+01:00"),
    ],
)
def test_numbers_and_texts_are_hidden(field: str, value: object, shown: object) -> None:
    """Phone numbers keep their country and last two digits, texts of messages nothing, and all else stays as it is."""
    assert mask(None, "info", {field: value})[field] == shown


def test_an_exception_hides_numbers_too() -> None:
    """What an error says, in its text and its trace, is masked like any other text."""
    lines = Lines()
    try:
        raise ValueError(f"cannot send to {NUMBER} or 086 123 4567")
    except ValueError as error:
        lines.log.exception("failed", error=error)
    assert NUMBER not in lines.text()
    assert "123 4567" not in lines.text()
    assert "cannot send to +353*******67" in lines.all()[0]["exception"]


def test_no_line_of_a_message_holds_its_text() -> None:
    """Even a whole message that was logged by mistake shows neither number nor text under their names."""
    lines = Lines()
    lines.log.info("x", to=MESSAGE.to, body=MESSAGE.body)
    assert MESSAGE.body not in lines.text()
    assert MESSAGE.to not in lines.text()
