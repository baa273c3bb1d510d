"""The log: one JSON object a line, or for a terminal a line to be read; and the one line of each settled message.

Never writes the text of a message, and no phone number in full: whatever a line is given passes `mask` first.
"""

import logging
import re
import sys
from collections.abc import Callable, Sequence
from select import PIPE_BUF
from typing import BinaryIO, cast

import msgspec
import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from smsd.message import Leased
from smsd.number import mask as mask_number

# E.164, also percent-encoded as in a URL; in what vendors and libraries say, national numbers too.
_E164 = re.compile(r"(\+|%2[Bb])([1-9][0-9]{6,14})(?![0-9])")
_DIGITS = re.compile(r"(?<![\w+.-])0?[0-9](?:[ ().-]?[0-9]){7,14}(?![\w.-])")
_HIDDEN = "***"


def setup(*, verbose: bool = False, file: BinaryIO | None = None) -> FilteringBoundLogger:
    """Configures structlog for the process and returns its logger. `file`: standard error where none is given."""
    out = file or cast("BinaryIO", sys.stderr.buffer)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _for_people() if out.isatty() else _for_machines,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", _Pieces(out))),
        cache_logger_on_first_use=True,
    )
    return logger()


def logger() -> FilteringBoundLogger:
    """The process's logger, as `setup` has configured it."""
    return cast("FilteringBoundLogger", structlog.get_logger().bind())  # bound: else each call makes it anew


def mask(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Hides numbers, wherever they stand, and the fields that a message's text could come in."""
    for name, value in line.items():
        if value is None or isinstance(value, int | float):
            continue
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        rule = _RULES.get(name)
        if rule is not None:
            line[name] = rule(text)
        elif not isinstance(value, str):
            line[name] = _said(text)
        elif "+" in text or "%2" in text:
            line[name] = _masked(text)
    return line


class Settled(msgspec.Struct, frozen=True, gc=False):
    """The canonical line of an attempt that was settled, once for each; `settled` adds what all lines begin with."""

    message: str
    tenant: str
    class_: str = msgspec.field(name="class")
    provider: str
    attempt: int
    segments: int
    state: str
    reason: str
    delays: str  # queue/limit/submit in ms: taken to leaving, of that spent at limits, and first byte to answer

    @classmethod
    def of(cls, leased: Leased, state: str, reason: str, queue_us: int, limit_us: int, submit_us: int) -> "Settled":
        message = leased.message
        delays = f"{queue_us // 1000}/{limit_us // 1000}/{submit_us // 1000}"
        return cls(message.key, message.tenant, message.class_, leased.provider, leased.attempt, message.segments,
                   state, reason, delays)  # fmt: skip


def settled(log: FilteringBoundLogger, lines: Sequence[Settled]) -> None:
    """One line for each, by one call and one write: on the path of every message a line by itself costs the most."""
    log.info("settled", **{_LINES: lines})


# ---- Rendering -------------------------------------------------------------------------------------------------------

_LINES = "_lines"
_encode_lines = msgspec.json.Encoder().encode_lines


def _for_machines(logger: WrappedLogger, method: str, line: EventDict) -> bytes:
    lines = line.pop(_LINES, None)
    head = orjson.dumps(mask(logger, method, line), default=str)
    if lines is None:
        return head
    # In JSON a line's end stands only behind a whole object, so that the head goes into all of them at once.
    block = _encode_lines(lines).replace(b"}\n", b"," + head[1:] + b"\n")[:-1]
    return _masked(block.decode()).encode() if b"+" in block or b"%2" in block else block


def _for_people() -> Processor:
    console = structlog.dev.ConsoleRenderer()

    def rendered(logger: WrappedLogger, method: str, line: EventDict) -> bytes:
        lines: Sequence[Settled] | None = line.pop(_LINES, None)
        whole = [line] if lines is None else [{**msgspec.to_builtins(one), **line} for one in lines]
        texts = [str(console(logger, method, mask(logger, method, one))) for one in whole]
        return "\n".join(texts).encode("utf-8", "replace")

    return rendered


class _Pieces:
    """A file that takes a block of lines in pieces: of whole lines, each no longer than what a pipe takes undivided
    (PIPE_BUF of POSIX), so that the lines of workers that share their parent's standard error never mix.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._write, self.flush = file.write, file.flush

    def write(self, block: bytes) -> None:
        while len(block) > PIPE_BUF and (end := block.rfind(b"\n", 0, PIPE_BUF) + 1):
            self._write(block[:end])
            self.flush()
            block = block[end:]
        self._write(block)


# ---- Masking ---------------------------------------------------------------------------------------------------------


def _hidden(_: str) -> str:
    return _HIDDEN


def _number(text: str) -> str:
    """A sender may be a name, which is no secret."""
    return mask_number(text) if any(map(str.isdigit, text)) else text


def _said(text: str) -> str:
    """What a vendor or a library wrote, in which numbers take any form."""
    return _DIGITS.sub(_HIDDEN, _masked(text))


def _masked(text: str) -> str:
    return _E164.sub(lambda match: match[1] + mask_number(f"+{match[2]}")[1:], text)


_RULES: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("body", "text", "fields", "json"), _hidden),
    **dict.fromkeys(("to", "from", "sender", "number"), _number),
    **dict.fromkeys(("detail", "error", "exception", "said"), _said),
}
