"""What the API does with messages: takes them, tells of one, finds those of a recipient, withdraws one.

Never decides what an entry comes to: api_admit and the store do.
"""

import json
import re
import time
from collections.abc import Awaitable, Sequence
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from smsd.control.story import Story, held_by_nobody, story
from smsd.core.fields import parse_json
from smsd.number import BadNumber, normalise
from smsd.shell.api_admit import Admission, Outcome, StateName, made_ids, public_state
from smsd.shell.api_batch import NOT_TRIED, UNSURE
from smsd.shell.api_keys import Key
from smsd.shell.api_problems import Fault, answer, problem, refused, unreadable
from smsd.shell.live import Live
from smsd.shell.server import Request, Response
from smsd.store import keys
from smsd.store.find import find
from smsd.store.record import decode

ARRAY_MAX = 1000
_CONFLICTS = {"id_conflict": 409, "cancel_too_late": 409, "shed": 429, "internal": 500, NOT_TRIED: 503, UNSURE: 503}
_is_key = re.compile(r"[A-Za-z0-9_.:-]{1,120}").fullmatch
_read_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class MessageShown(Story, frozen=True, kw_only=True):
    """All that is known of one message. While it is being sent it is `queued`, and held by `leaving`."""

    state: StateName


class FindQuery(msgspec.Struct, frozen=True):
    """`to`: E.164, or national where the tenant has a region."""

    to: Annotated[str, Meta(min_length=1, max_length=32, examples=["+353861234567"])]
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class Found(msgspec.Struct, frozen=True):
    """One message to the recipient."""

    id: str
    state: StateName
    class_: str = msgspec.field(name="class")
    entered_ms: int


class FoundAll(msgspec.Struct, frozen=True):
    """The newest first."""

    messages: list[Found]


class Cancelled(msgspec.Struct, frozen=True):
    """`cancelled`: it will not leave. `cancelling`: it is just leaving, or not known yet; the cancel is kept."""

    tenant: str
    id: str
    state: str


class Messages:
    """The verbs of messages, each from what was asked to the answer."""

    def __init__(self, live: Live, admission: Admission) -> None:
        self._live, self._admission = live, admission

    async def send(self, key: Key, request: Request) -> Response:
        """POST /v1/messages. Raises Refused."""
        given = _idempotency_key(request)
        try:
            request.body.decode()
        except UnicodeDecodeError as error:
            raise _no_json(request.body, error, "UTF-8 is wanted") from None
        body = request.body.lstrip(b" \t\r\n")
        if body[:1] != b"[":
            return await self._send_one(key, body, made_ids(given, None) if given else ())
        elements = _elements(body)
        if not 1 <= len(elements) <= ARRAY_MAX:
            what = f"an array of 1 to {ARRAY_MAX} messages is taken; this one has {len(elements)}"
            raise refused(400, what, Fault("", "bad_request", what))
        ids = made_ids(given, len(elements)) if given else ()
        outcomes = await self._admission.take(elements, key, ids, "/{}")
        faults = [one.errors[0] for one in outcomes if one.errors]
        statuses = {_CONFLICTS.get(fault.reason) for fault in faults}
        if len(faults) < len(outcomes) or not statuses <= {429, 503}:
            return answer(202, outcomes)
        return problem(max(filter(None, statuses)), "none of them was surely taken: send them again later", *faults)

    async def _send_one(self, key: Key, body: bytes, ids: Sequence[str]) -> Response:
        try:
            msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise _no_json(body, error, "an object or an array of objects is wanted") from None
        (outcome,) = await self._admission.take([body], key, ids, "")
        if not outcome.errors:
            return answer(202, outcome)
        (error,) = outcome.errors
        return _not_done(_CONFLICTS.get(error.reason, 422), error)

    async def show(self, tenant: str, id: str) -> Response:
        """GET /v1/tenants/{tenant}/messages/{id}."""
        shard = self._live.shard_of(tenant)
        config, now_us = self._live.config, shard.now_us or time.time_ns() // 1000
        told = await story(config, shard, tenant, id, now_us)
        if told is None or told.state == "tomb":  # of which only a cancel is known
            return unknown_message()
        told = await held_by_nobody(config, told, self._live.shards[0], now_us, here=True)
        fields: dict[str, Any] = {name: getattr(told, name) for name in told.__struct_fields__}
        fields["state"] = public_state(told.state)
        return answer(200, MessageShown(**fields))

    async def find(self, tenant: str, query: FindQuery) -> Response:
        """GET /v1/tenants/{tenant}/messages?to=. Raises Refused."""
        config = self._live.config
        try:
            to = normalise(query.to, config.tenant(tenant).region, config.number_check).e164
        except BadNumber as error:
            raise refused(400, f"to: {error}", Fault("", "bad_number", f"to: {error}")) from None
        shard = self._live.shard_of(tenant)
        ids = await find(shard, tenant, to, query.limit)
        if not ids:
            return answer(200, FoundAll([]))
        asked = shard.client.hmget(keys.key(shard.number, "msg"), [f"{tenant}/{id_}" for id_ in ids])
        packed = await cast("Awaitable[list[bytes | None]]", asked)
        records = [(id_, decode(one)) for id_, one in zip(ids, packed, strict=True) if one]
        return answer(
            200, FoundAll([Found(id_, public_state(r.state), r.class_, r.entered // 1000) for id_, r in records])
        )  # fmt: skip

    async def cancel(self, tenant: str, id: str) -> Response:
        """POST /v1/tenants/{tenant}/messages/{id}/cancel."""
        outcome: Outcome = await self._admission.cancel(tenant, id)
        if outcome.errors and outcome.errors[0].reason in (NOT_TRIED, UNSURE):
            return _not_done(503, outcome.errors[0])
        if outcome.errors:
            return problem(409, f"too late to cancel: it is {outcome.state}", *outcome.errors)
        return answer(200 if outcome.state == "cancelled" else 202, Cancelled(tenant, id, outcome.state))


def _not_done(status: int, error: Fault) -> Response:
    return problem(status, f"not done: {error.reason}" if status != 503 else "the store is away or slow", error)


def unknown_message() -> Response:
    """Also for another tenant's: who may not see it learns nothing."""
    return problem(404, "no such message: it was never taken, or its record is gone ([retention] messages)")


def _idempotency_key(request: Request) -> str:
    """ "" where there is none. A key in quotes is taken as without them: the draft of the header has them."""
    given = request.headers.get("idempotency-key", "")
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if given and not _is_key(key):
        raise refused(400, "Idempotency-Key: 1 to 120 of the characters A-Z a-z 0-9 _ . : -")
    return key


def _elements(body: bytes) -> list[bytes]:
    try:
        return [bytes(one) for one in _read_array(body)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        try:  # what is wrong with a text in one of them, as half of an emoji, is wrong with that one alone
            return [_written(one) for one in cast("list[object]", json.loads(body))]
        except (ValueError, RecursionError):
            raise _no_json(body, error, "a JSON array is wanted") from None


def _written(element: object) -> bytes:
    try:
        return json.dumps(element, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(element).encode()


def _no_json(body: bytes, error: Exception, wanted: str) -> Exception:
    what = unreadable(error)
    try:
        parse_json(body)
    except ValueError as why:  # the same in words that help
        what = Fault("", "bad_json", str(why))
    detail = f"the body cannot be read as JSON: {wanted}"
    return refused(400, detail, Fault(what.pointer, "bad_json", what.detail))
