"""Outgoing status webhooks, as pure decisions: who wants an event, what is written to them, when it is tried again.

Never reads a clock, never touches a network. A receiver is whoever is told; a push is one event on its way to one of
them. (What providers call is something else: shell/webhooks.py.)
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from smsd.core.retry import Rng, equal_jitter_us

BACKOFF_US: Final = (5_000_000, 600_000_000)  # first and largest, doubled between
PROBE_MARGIN_US: Final = 1_000_000  # a probe is made up to a tick after its time
GIVE_UP_US: Final = 24 * 3600 * 1_000_000  # after the first try
NUMBERS: Final = frozenset({"v", "seq", "at", "attempt", "segments", "due"})
FLAGS: Final = frozenset({"final", "late", "possible_duplicate"})
AT_DIGITS: Final = 14  # of epoch ms: until the year 5138
INNER: Final = frozenset({"event_id"})  # of the entry, and told otherwise: it is the header webhook-id

Outcome = Literal["delivered", "refused", "failed", "gone", "given_up", "lost"]
"""What became of a try: taken (2xx); answered otherwise; no answer; 410; the last one there will be; or the event was
trimmed from its stream before it was delivered."""


class Receiver(msgspec.Struct, frozen=True):
    """Who is told of which events. `tenants` ("*": all) and `states` must both hold."""

    name: str
    url: str
    tenants: frozenset[str]
    states: frozenset[str]
    most: int = 32  # requests under way at once, for each process

    def wants(self, event: Mapping[str, str]) -> bool:
        of = "*" in self.tenants or event.get("tenant", "") in self.tenants
        return of and event.get("state", "") in self.states and _whole(event)


class Receivers:
    """All of them, found by tenant: thousands may want the events of one tenant each."""

    def __init__(self, every: Iterable[Receiver]) -> None:
        self.by_name = {one.name: one for one in every}
        self._all = [one for one in self.by_name.values() if "*" in one.tenants]
        self._of: dict[str, list[Receiver]] = {}
        for one in self.by_name.values():
            for tenant in one.tenants if "*" not in one.tenants else ():
                self._of.setdefault(tenant, []).append(one)

    def of(self, event: Mapping[str, str]) -> list[Receiver]:
        """Who wants an event. One without a tenant, a rejected entry that named none, goes to those of all."""
        return [one for one in (*self._all, *self._of.get(event.get("tenant", ""), ())) if one.wants(event)]


def payload(event: Mapping[str, str]) -> bytes:
    """The body of a webhook: `type`, `timestamp`, `data`, as Standard Webhooks 1.0 advises. No text, no number."""
    data = {name: _typed(name, value) for name, value in event.items() if name not in INNER}
    at = datetime.fromtimestamp(int(event["at"]) / 1000, UTC)
    told = {
        "type": f"message.{event['state']}",
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": data,
    }
    return msgspec.json.encode(told)


def _whole(event: Mapping[str, str]) -> bool:
    """Whether smsd wrote it: others may write the stream too."""
    at = event.get("at", "")
    return "event_id" in event and at.isascii() and at.isdecimal() and len(at) <= AT_DIGITS


def _typed(name: str, value: str) -> object:
    if name in NUMBERS and value.isascii() and value.isdecimal():
        return int(value)
    if name in FLAGS:
        return value not in ("", "0")
    if name == "meta":  # JSON text, handed back as what it says
        try:
            msgspec.json.decode(value, type=msgspec.Raw)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return value
        return msgspec.Raw(value.encode())
    return value


def again_us(now_us: int, tries: int, after_s: float | None, *, probe_us: int | None, rng: Rng) -> int:
    """When a push that failed is due again; `tries` were made before this one.

    `probe_us`: the receiver is down, and its next probe is in so long. It is soon due, for probes bound how often the
    receiver is asked, but behind that probe: else one event that cannot be taken would be every probe.
    """
    wait_us = equal_jitter_us(*BACKOFF_US, tries if probe_us is None else 0, rng)
    behind_us = 0 if probe_us is None else probe_us + PROBE_MARGIN_US
    asked_us = int(min(max(after_s or 0.0, 0.0), BACKOFF_US[1] / 1e6) * 1_000_000)
    return now_us + max(wait_us, behind_us, asked_us)


def over(now_us: int, first_us: int, *, well: bool) -> bool:
    """Whether a push that failed is given up: after a day, by a receiver that takes others (`well`).

    One that takes nothing is waited for as long as events are kept.
    """
    return well and now_us - first_us >= GIVE_UP_US
