"""What Azure Event Grid calls a webhook with: a question whether we want its events, and the events, in its own schema
or as CloudEvents 1.0.

Never judges who calls: what Event Grid sends proves nothing by itself. Sources, all as of 2026-11-28:
 - https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema (the question)
 - https://learn.microsoft.com/azure/event-grid/end-point-validation-cloud-events-schema (and that of CloudEvents)
 - https://learn.microsoft.com/azure/event-grid/cloudevents-schema (one event, or a list of them)
 - https://github.com/cloudevents/spec/blob/v1.0/http-webhook.md (§4: OPTIONS, what is asked and answered)
"""

import re
from typing import cast

import msgspec

from smsd.provider import BadCallback, Callback, Greeting
from smsd_providers import _vendor, _wire

VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
_ORIGIN = re.compile(r"[A-Za-z0-9.-]{1,255}")


def asks(callback: Callback) -> bool:
    """Whether it is a question, not an event."""
    kind = _wire.scalar(_wire.pick(_wire.decode(callback.body), "/0/eventType"))
    return callback.method == "OPTIONS" or kind == VALIDATION


def welcome(callback: Callback) -> Greeting:
    """The answer to the question, that we do. Raises BadCallback."""
    if callback.method != "OPTIONS":
        code = _wire.scalar(_wire.pick(_wire.decode(callback.body), "/0/data/validationCode"))
        return Greeting(headers=(_vendor.JSON,), body=msgspec.json.encode({"validationResponse": code}))
    origin = callback.headers.get("webhook-request-origin", "")
    if not _ORIGIN.fullmatch(origin):
        raise BadCallback("the question by OPTIONS has WebHook-Request-Origin, the name of a host")
    return Greeting(headers=(("WebHook-Allowed-Origin", origin), ("WebHook-Allowed-Rate", "*")))


def events(callback: Callback) -> list[tuple[str, object]]:
    """The types and the data of the events. Raises BadCallback."""
    told = _wire.decode(callback.body)
    listed = cast("list[object]", told) if isinstance(told, list) else [told]
    found = [
        (_wire.scalar(_wire.pick(event, "/eventType")) or _cloud(event), _wire.pick(event, "/data")) for event in listed
    ]
    if any(not kind for kind, _ in found):
        raise BadCallback("a callback is an event or a list of them, in the Event Grid schema or as CloudEvents 1.0")
    return found


def _cloud(event: object) -> str:
    """The type of what is a CloudEvent; "" for anything else."""
    version, kind = _wire.texts(event, "/specversion", "/type")
    return kind if version == "1.0" else ""
