"""Messages that come by HTTP, judged and admitted as entries of the streams are: by the same rules and script.

Never leaves a trace of an element that it refuses but a count: whoever sent it is told, so there is no event and no
dead letter. Never repeats what it was given, but for ids that are ids.
"""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, cast

import msgspec
from redis.exceptions import RedisError

from smsd.core.admit import judge, unknown_fields
from smsd.core.reasons import ENDS
from smsd.message import Cancel, Entry, Rejection, Send
from smsd.shell.api_batch import NOT_TRIED, UNSURE, Batch
from smsd.shell.api_keys import Key
from smsd.shell.api_problems import REASONS, Fault, fault
from smsd.shell.intake import CONFLICT, count
from smsd.shell.live import Live, look
from smsd.shell.metrics import Metrics
from smsd.store import keys
from smsd.store.connect import AWAY
from smsd.store.record import Record, decode

if TYPE_CHECKING:
    from smsd.shell.traces import Traces

SLICE = 50  # elements that are judged in one go: meanwhile this process does nothing else
_STATES = {
    "taken": "queued",
    "cancelled": "cancelled",
    "suppressed": "suppressed",
    "leaving": "cancelling",
    "unknown": "cancelling",
}
_LOOKED_UP = frozenset({"repeated", "left"})  # words whose message stands where only its record knows


StateName = Literal[
    "queued", "submitted", "unknown", "delivered", "undelivered", "unconfirmed", "failed", "expired", "rejected",
    "suppressed", "cancelled",
]  # fmt: skip
"""The states of events (contract §3)."""


def public_state(state: str) -> StateName:
    """As events tell it: that a process is sending it is no state of its own there."""
    return cast("StateName", "queued" if state == "leased" else state)


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one element. `state` is the message's, or `cancelling` for a cancel that is kept: its message is
    just leaving, or not known yet. `errors`: why it was not done; then `state` is `rejected`, or the unchanged one, or
    `unsure` where the store did not say whether it was done.
    """

    state: str
    tenant: str = ""  # with the id, where they could be read
    id: str = ""
    due_ms: int = 0  # it waits until then (epoch milliseconds)
    repeated: bool = False  # it had been taken before; nothing has changed
    errors: tuple[Fault, ...] = ()


class _Head(msgspec.Struct):
    """What is looked at before an element is judged."""

    class_: object = msgspec.field(name="class", default=None)
    tenant: object = None
    op: object = None


_read_head = msgspec.json.Decoder(_Head).decode


class _Judged(msgspec.Struct):
    """One element: its entry, what it is counted under, and where it stands in the body."""

    entry: Entry
    class_: str  # "" for none of the config's
    shard: int
    base: str
    unknown: int = 0  # fields that are none of the contract's
    shed: bool = False
    word: str = "rejected"


class Admission:
    """All messages that this process takes by HTTP. `sheds` names the classes of which a shard takes nothing now."""

    def __init__(
        self,
        live: Live,
        metrics: Metrics,
        nudge: Callable[[str], None],
        sheds: Callable[[int], frozenset[str]],
        traces: "Traces | None" = None,
    ) -> None:
        self._live, self._metrics, self._nudge, self._sheds, self._traces = live, metrics, nudge, sheds, traces
        self._batches = {shard.number: Batch(shard, metrics) for shard in live.shards}

    async def take(self, elements: Sequence[bytes], key: Key, made_ids: Sequence[str], base: str) -> list[Outcome]:
        """What became of each. `made_ids`: for those without an id, in order; () makes some up. `base` begins the
        pointers; with more than one element their index follows.
        """
        judged = await self._judge_each(elements, key, made_ids, base)
        if any(isinstance(one.entry, Rejection) for one in judged) and await self._is_behind():
            judged = await self._judge_each(elements, key, made_ids, base)
        await self._admit(judged)
        await self._find_repeats(judged)
        self._count(judged)
        states = await self._look_up(judged)
        return [_outcome(one, states) for one in judged]

    async def cancel(self, tenant: str, id: str) -> Outcome:
        """Withdraws one message."""
        one = _Judged(Cancel(tenant, id, ""), "", self._live.shard_of(tenant).number, "")
        await self._admit([one])
        self._count([one])
        return _outcome(one, await self._look_up([one]))

    # ---- One element -------------------------------------------------------------------------------------------------

    async def _judge_each(
        self, elements: Sequence[bytes], key: Key, made_ids: Sequence[str], base: str
    ) -> list[_Judged]:
        judged: list[_Judged] = []
        for i, element in enumerate(elements):
            if i and i % SLICE == 0:
                await asyncio.sleep(0)
            judged.append(self._judge(element, key, made_ids[i] if made_ids else "", base.format(i)))
        return judged

    async def _is_behind(self) -> bool:
        """Whether something was published that was not in force here, and is now."""
        try:
            return await look(self._live)
        except AWAY:
            return False

    def _judge(self, element: bytes, key: Key, made_id: str, base: str) -> _Judged:
        rules = self._live.config
        try:
            head = _read_head(element)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            head = _Head()  # not an object; the judge says so
            known = True
        else:
            known = head.class_ in rules.classes if isinstance(head.class_, str) else head.op == "cancel"
        unknown = unknown_fields(((b"json", element),)) - (head.class_ is not None)
        class_ = head.class_ if known and isinstance(head.class_, str) else ""
        tenant = head.tenant if isinstance(head.tenant, str) else ""
        stranger = _refusal("unknown_tenant", "tenant: this key knows no such tenant")
        if tenant and not key.may(tenant):
            return _Judged(stranger, class_, 0, base, unknown)
        if not known:
            wanted = f"class: one of {', '.join(sorted(rules.classes))}"
            return _Judged(_refusal("bad_class", wanted), "", 0, base, unknown)
        shard = self._live.shard_of(tenant) if tenant.isascii() else self._live.shards[0]
        now_us = shard.now_us or time.time_ns() // 1000
        entry = judge(
            ((b"json", element),), class_=class_, shard=shard.number, entry_id="", now_us=now_us, rules=rules,
            made_id=made_id or f"{class_}-{now_us // 1000}-x{secrets.token_hex(6)}",
        )  # fmt: skip
        if isinstance(entry, Rejection) and not entry.given_id:
            entry = msgspec.structs.replace(entry, given_id=made_id)
        asks = not isinstance(entry, Rejection) or entry.repeats
        if asks and not key.may(_names(entry)[0]):  # two tenants in one object, say
            entry = stranger
        shed = isinstance(entry, Send) and class_ in self._sheds(shard.number)
        return _Judged(entry, class_, shard.number, base, unknown, shed)

    # ---- The store ---------------------------------------------------------------------------------------------------

    async def _admit(self, judged: Sequence[_Judged]) -> None:
        """Each shard's in their order, so that what replaces another comes after it."""
        of_shard: defaultdict[int, list[_Judged]] = defaultdict(list)
        for one in judged:
            if not one.shed and not isinstance(one.entry, Rejection):
                of_shard[one.shard].append(one)
        routes: set[str] = set()
        since_ns = time.time_ns()
        each = [self._batches[shard].put([one.entry for one in mine]) for shard, mine in of_shard.items()]
        for (shard, mine), words in zip(of_shard.items(), await asyncio.gather(*each), strict=True):
            if self._traces is not None:
                self._traces.admitted(shard, "", [one.entry for one in mine], words, since_ns)
            for one, word in zip(mine, words, strict=True):
                one.word = word
                if word == "taken" and isinstance(one.entry, Send):
                    routes.add(one.entry.message.route)
                elif word == "conflict":
                    one.entry, one.word = _refusal("id_conflict", CONFLICT, one.entry), "rejected"
                elif word == "rejected":  # the script failed on it, and it lies in dead
                    one.entry = _refusal("internal", "smsd failed on this entry; its log has more", one.entry)
        for route in routes:
            self._nudge(route)

    async def _find_repeats(self, judged: Sequence[_Judged]) -> None:
        """What cannot be taken any more, and was: after its not_after, say, or under other settings."""
        of_shard: defaultdict[int, list[tuple[_Judged, Rejection]]] = defaultdict(list)
        for one in judged:
            if isinstance(one.entry, Rejection) and one.entry.repeats:
                of_shard[one.shard].append((one, one.entry))
        with suppress(RedisError, OSError):  # then they are rejected, as they would be without a record
            for shard, mine in of_shard.items():
                records = await self._records(shard, [entry.repeats for _, entry in mine])
                for (one, entry), record in zip(mine, records, strict=True):
                    if record is not None and record.print == entry.fingerprint:
                        one.word = "repeated"

    async def _look_up(self, judged: Sequence[_Judged]) -> dict[str, str]:
        """Where those stand now of which only their records know, by their keys; they become UNSURE where the store
        does not tell.
        """
        asked = [one for one in judged if one.word in _LOOKED_UP]
        of_shard: defaultdict[int, list[str]] = defaultdict(list)
        for one in asked:
            of_shard[one.shard].append("/".join(_names(one.entry)))
        try:
            return await self._states(of_shard)
        except (RedisError, OSError):
            for one in asked:
                one.word = UNSURE
            return {}

    async def _states(self, of_shard: Mapping[int, Sequence[str]]) -> dict[str, str]:
        found: dict[str, str] = {}
        for shard, mine in of_shard.items():
            for key, record in zip(mine, await self._records(shard, mine), strict=True):
                if record is not None:
                    found[key] = public_state(record.state)
        return found

    async def _records(self, shard: int, named: Sequence[str]) -> list[Record | None]:
        """Those of messages, by key; None where there is none, or only a cancel that came first."""
        reading = self._live.shards[shard].client.hmget(keys.key(shard, "msg"), list(named))
        packed = await cast("Awaitable[list[bytes | None]]", reading)
        records = [decode(one) if one else None for one in packed]
        return [one if one is None or one.state != "tomb" else None for one in records]

    def _count(self, judged: Sequence[_Judged]) -> None:
        of_class: defaultdict[str, list[_Judged]] = defaultdict(list)
        for one in judged:
            of_class[one.class_].append(one)
        for class_, mine in of_class.items():
            done = [one for one in mine if not one.shed]
            count(self._metrics, class_, [one.entry for one in done], [one.word for one in done])
            if len(done) < len(mine):
                self._metrics.intake(class_, "shed", len(mine) - len(done))
            if unknown := sum(one.unknown for one in mine):
                self._metrics.unknown_fields(class_, unknown)


def _refusal(reason: str, detail: str, entry: Entry | None = None) -> Rejection:
    tenant, given = _names(entry) if entry is not None else ("", "")
    return Rejection(reason, detail, "", tenant, given, ())


def _names(entry: Entry) -> tuple[str, str]:
    """Tenant and id; of a rejection the id only where the store has said that it is one."""
    match entry:
        case Send(message=message):
            return message.tenant, message.id
        case Cancel():
            return entry.tenant, entry.id
        case Rejection():
            told = entry.reason == "id_conflict" or entry.repeats
            return entry.tenant, entry.given_id if told else ""


def _outcome(one: _Judged, states: dict[str, str]) -> Outcome:
    tenant, id_ = _names(one.entry)
    if one.shed:
        return Outcome("rejected", tenant, id_, errors=(Fault(one.base, "shed", REASONS["shed"]),))
    if one.word == NOT_TRIED:
        return Outcome("rejected", tenant, id_, errors=(Fault(one.base, NOT_TRIED, REASONS[NOT_TRIED]),))
    if one.word == UNSURE:
        told = f"the store did not say whether it took this: send it again with the id {id_}, which is taken once"
        return Outcome(UNSURE, tenant, id_, errors=(Fault(one.base, UNSURE, told),))
    if one.word == "repeated":
        return Outcome(states.get(f"{tenant}/{id_}", "queued"), tenant, id_, repeated=True)
    match one.entry:
        case Rejection(reason=reason, detail=detail):
            return Outcome("rejected", tenant, id_, errors=(fault(reason, detail, one.base),))
        case Send(not_before_us=not_before_us) if one.word == "due":
            return Outcome("queued", tenant, id_, not_before_us // 1000)
        case Cancel() if one.word == "left":
            state = states.get(f"{tenant}/{id_}", "submitted")
            late = Fault(one.base, "cancel_too_late", ENDS["cancel_too_late"])
            return Outcome(state, tenant, id_, errors=(late,))
        case _:
            return Outcome(_STATES[one.word], tenant, id_)


def made_ids(key: str, size: int | None) -> list[str]:
    """What an Idempotency-Key makes of the ids that are missing; `size` None: of a single message."""
    return [key] if size is None else [f"{key}:{i}" for i in range(size)]
