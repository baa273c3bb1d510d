"""The log: one JSON object a line, or for a terminal a line to be read; and the one line of each settled message.

Never writes the text of a message, and no phone number in full: whatever a line is given passes `mask` first.
"""

import logging
import re
import sys
from collections.abc import Callable
from typing import BinaryIO, cast

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
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    for_people = out.isatty()
    if for_people:
        last: list[Processor] = [structlog.processors.format_exc_info, mask, structlog.dev.ConsoleRenderer(), _encoded]
    else:
        last = [structlog.processors.format_exc_info, mask, structlog.processors.JSONRenderer(serializer=_json)]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(out),
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


def settled_line(
    log: FilteringBoundLogger,
    leased: Leased,
    *,
    state: str,
    reason: str = "",
    queue_us: int,
    limit_us: int,
    submit_us: int,
) -> None:
    """The canonical line of an attempt that was settled, once for each. `delays` are queue/limit/submit in ms:
    taken to leaving, the part of that spent at limits, and first byte to answer.
    """
    message = leased.message
    log.info(
        "settled",
        message=message.key,
        tenant=message.tenant,
        **{"class": message.class_},
        provider=leased.provider,
        attempt=leased.attempt,
        segments=message.segments,
        state=state,
        reason=reason,
        delays=f"{queue_us // 1000}/{limit_us // 1000}/{submit_us // 1000}",
    )


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


def _json(line: EventDict, **_: object) -> bytes:
    return orjson.dumps(line, default=str)


def _encoded(_logger: WrappedLogger, _method: str, line: EventDict) -> bytes:
    return str(line).encode("utf-8", "replace")


_RULES: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("body", "text", "fields", "json"), _hidden),
    **dict.fromkeys(("to", "from", "sender", "number"), _number),
    **dict.fromkeys(("detail", "error", "exception", "said"), _said),
}
