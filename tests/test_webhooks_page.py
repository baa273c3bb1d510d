"""docs/WEBHOOKS.md says what is: its program verifies what smsd signs, and its example is what smsd writes."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import fields
from standardwebhooks import Webhook

from smsd.config.settings import StatusWebhook
from smsd.core.push import payload
from smsd.shell.status_post import TIMEOUT_S
from tests.support.receiver import SECRET

PAGE = (Path(__file__).parents[1] / "docs" / "WEBHOOKS.md").read_text()
EVENT = {
    "v": "1", "event_id": "acme/r-1/3", "id": "r-1", "tenant": "acme", "class": "reminder", "seq": "3",
    "state": "delivered", "final": "1", "at": "1764288000123", "provider": "main", "provider_id": "SM1",
    "meta": '{"appointment": 17}',
}  # fmt: skip


def test_its_program_takes_an_event_once() -> None:
    """It refuses what was forged, and drops a repeat by its id."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(program, "WEBHOOKS.md", "exec"), names)  # noqa: S102 - our own page
    body, now, seen = payload(EVENT), datetime.now(UTC), set[str]()
    headers = {
        "webhook-id": "acme/r-1/3",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("acme/r-1/3", now, body.decode()),
    }
    assert [names["receive"](SECRET, body, headers, seen) for _ in range(2)] == [204, 204]
    assert seen == {"acme/r-1/3"}
    assert names["receive"](SECRET, body + b" ", headers, seen) == 400


def test_its_example_is_what_comes() -> None:
    """Byte by byte the same values."""
    (example,) = re.findall(r"^(\{\"type\".*?\}\}\})$", PAGE, re.MULTILINE | re.DOTALL)
    assert json.loads(example) == json.loads(payload(EVENT))


def test_its_figures_and_defaults_are_those_of_the_code() -> None:
    """The states that are told unless others are named, and the time that an answer has."""
    (states,) = re.findall(r"^states = (\[.*?\])", PAGE, re.MULTILINE)
    (default,) = [field.default for field in fields(StatusWebhook) if field.name == "states"]
    assert tuple(json.loads(states)) == default
    assert TIMEOUT_S == 10
