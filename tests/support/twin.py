"""Short words for tests of the twin: a shard in memory, messages, leases, outcomes. Never needs a store."""

import itertools
from typing import Any

from smsd.core import outcome as o
from smsd.core.limit import Limit, parse
from smsd.core.twin.shard import Shard
from smsd.core.twin.values import HOUR_US, Class, Offer, Settings
from smsd.message import Leased, Message, Send

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
CLASSES = {"reminder": Class(8, 1000, 48 * HOUR_US), "marketing": Class(1, 1000, 48 * HOUR_US)}

_requests = itertools.count(1)


def limits(*texts: str) -> tuple[Limit, ...]:
    """In the config's words."""
    return tuple(map(parse, texts))


def shard(**settings: Any) -> Shard:
    """An empty one; `settings`: fields of Settings."""
    given: dict[str, Any] = {"classes": CLASSES} | settings
    return Shard(Settings(**given), START)


def send(twin: Shard, tenant: str, id_: str, class_: str = "reminder", *, not_before: int = 0, **more: Any) -> str:
    """Admits one message; `more`: fields of Message, and replaces and span (until its deadline)."""
    replaces, span = more.pop("replaces", ""), more.pop("span", 12 * HOUR_US)
    fields: dict[str, Any] = {
        "to": "+353861234567",
        "sender": "Salon",
        "body": "See you.",
        "route": "default",
        "encoding": "GSM-7",
    }
    message = Message(
        **fields | {"tenant": tenant, "id": id_, "class_": class_, "segments": 1, "to_country": ""} | more
    )
    return twin.admit([Send(message, "", message.body, not_before, twin.now_us + span, replaces)], class_)[0]


def take(twin: Shard, n: int = 10, **more: Any) -> list[Leased]:
    """One lease of the provider `main`."""
    given = {"process": "p", "span_us": 13 * SECOND, "request": f"r{next(_requests)}"} | more
    return twin.lease("default", [Offer("main", 1, 100)], n=n, **given).messages


def taken_ids(twin: Shard, n: int = 10) -> list[str]:
    """tenant/id of what one lease gives."""
    return [m.message.key for m in take(twin, n)]


def states(twin: Shard, key: str) -> list[str]:
    """What the events of one message told."""
    return [e["state"] for e in twin.events if f"{e['tenant']}/{e['id']}" == key]


def head(m: Leased) -> tuple[str, int]:
    """Key and fence, as outcomes begin."""
    return m.message.key, m.fence


def accepted(m: Leased, provider_id: str = "SM-1") -> o.Accepted:
    return o.Accepted(*head(m), "accepted", m.attempt, m.provider, provider_id)


def back(m: Leased) -> o.Back:
    return o.Back(*head(m), "back", m.attempt, m.provider)


def retry(m: Leased, at_us: int) -> o.Retry:
    return o.Retry(*head(m), "retry", m.attempt, m.provider, at_us, 1, "", ())


def fail(m: Leased, reason: str = "refused") -> o.Fail:
    return o.Fail(*head(m), "fail", m.attempt, m.provider, reason, ())


def unknown(m: Leased) -> o.Unknown:
    return o.Unknown(*head(m), "unknown", m.attempt, m.provider, 0, ())


def resend(m: Leased) -> o.Resend:
    return o.Resend(m.message.key, 0, "resend", m.attempt, m.provider, "", ())
