"""The verbs of one shard: typed values in, one script call, typed values out.

Never decides, never retries a call that may have run, never touches another shard.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ClusterDownError, MasterDownError, OutOfMemoryError, ReadOnlyError, ResponseError

from smsd.core.outcome import Outcome
from smsd.message import Cancel, Entry, Leased, Message, Rejection, Send
from smsd.store import keys
from smsd.store.durable import DurableScripts
from smsd.store.find import hashed
from smsd.store.record import FLAG_DOUBLE, Record, echo_of
from smsd.store.record import decode as decode_record
from smsd.store.scripts import Scripts
from smsd.store.values import Lease, Offer, ReceiptFor, Swept, Unsure

PASSING = (OutOfMemoryError, ReadOnlyError, MasterDownError, ClusterDownError)
"""What the store answers when it cannot write now, whatever the entry is."""

UNFIT = (ResponseError, ValueError, TypeError)
"""What a call raises when one of its entries cannot be taken, or not even be written (a text that has no UTF-8). Those
of PASSING and of connect.AWAY come first.
"""

Fields = tuple[tuple[bytes, bytes], ...]
"""An entry's original fields."""


class ClockDiffers(Exception):
    """The store's clock and this process's differ by more than the step that is believed: nothing was done."""


_encode = msgspec.msgpack.Encoder().encode
_decode_message = msgspec.msgpack.Decoder(Message).decode
_Row = tuple[str, int, int, int, int, int, int, int, str, int, int, int, int]
_Ended = dict[str, int] | list[int]  # an empty table of Lua is an empty array
_decode_lease = msgspec.msgpack.Decoder(tuple[int, int, int, list[_Row], _Ended, dict[str, int], int]).decode
_decode_told = msgspec.msgpack.Decoder(tuple[_Ended, dict[str, list[int]] | list[int]]).decode
_decode_ended = msgspec.msgpack.Decoder(_Ended).decode
_decode_unsure = msgspec.msgpack.Decoder(list[tuple[str, str, int, int, int, int, int, int, int, int]]).decode
_decode_swept = msgspec.msgpack.Decoder(tuple[int, Swept, _Ended]).decode
_RESENT = 8
_SCOPES = {"t": "tenant", "c": "class", "s": "sender", "p": "provider"}


def lane_of(message: Message, bound: str = "") -> str:
    """tenant|class|route|sender|campaign|providers: whatever can be limited, paused or cancelled by itself."""
    m = message
    return f"{m.tenant}|{m.class_}|{m.route}|{m.sender}|{m.campaign}|{bound}"


class Shard:
    """One shard of the store. `now_us` 0 means the server's clock; tests set it to a virtual instant.

    `strict`: a lease, which is the intent to send, is on the store's disk before it is returned; and so is what is
    admitted not from an inbox, for whoever handed it over is told that it is taken.
    """

    def __init__(self, client: Redis, number: int = 0, *, clock_step_us: int = 5_000_000, strict: bool = False) -> None:
        self.client = client
        self.number = number
        self.now_us = 0
        self.clock_step_us = clock_step_us
        self.ended: Counter[tuple[str, str, str]] = Counter()
        """(class, state, reason) of messages that ended in calls of this process; whoever counts them empties it."""
        self.took_us: defaultdict[str, list[int]] = defaultdict(list)
        """From each provider's taking a message to the receipt that ended it; likewise."""
        self.limited: Counter[str] = Counter()
        """How often a limit of a tenant, class, sender or provider refused; likewise."""
        self._keys = keys.every(number)
        self._scripts = Scripts(client)
        self._strict = DurableScripts(client) if strict else self._scripts

    async def run(
        self, verb: str, *args: bytes | str | int, more_keys: Sequence[str] = (), strict: bool = False
    ) -> Any:
        """A script of lua/, on this shard's keys and clock. For the modules of this package."""
        clock = (self.now_us, int(time.time() * 1e6), self.clock_step_us)
        scripts = self._strict if strict else self._scripts
        try:
            return await scripts.run(verb, [*self._keys, *more_keys], [*clock, *args])
        except ResponseError as error:
            if str(error).startswith("CLOCK"):
                raise ClockDiffers(f"{error}: set this host's clock, or the store's") from None
            raise

    def _words(self, reply: list[bytes]) -> list[str]:
        *words, ended = reply
        self._count(_decode_ended(ended))
        return [word.decode() for word in words]

    def _count(self, ended: _Ended) -> None:
        if isinstance(ended, dict):
            for name, n in ended.items():
                class_, state, reason = name.split("\x1f")
                self.ended[class_, state, reason] += n

    # ---- in ----------------------------------------------------------------------------------------------------------

    async def admit(
        self,
        entries: Sequence[Entry],
        class_: str,
        *,
        from_inbox: bool = True,
        originals: Mapping[str, Fields] | None = None,
    ) -> list[str]:
        """One word per entry, as lua/admit.lua says them. An entry that `conflict`s has not been acknowledged yet.
        `class_` is the inbox's; where there is none, messages may be of any classes, and rejections are told under it.

        When the script fails, the entries are tried one by one, and the guilty one is rejected as `internal`, with its
        `originals` (by entry id) for the dead stream. Raises one of PASSING when the store takes no writes now.
        """
        inbox = keys.inbox(self.number, class_) if from_inbox else ""
        blobs: list[bytes | str] = []
        batch = [self._admission(entry, class_, blobs) for entry in entries]
        try:
            words = await self.run("admit", _encode(batch), *blobs, more_keys=[inbox], strict=not from_inbox)
        except PASSING:
            raise
        except ResponseError as error:
            fields = originals or {}
            if len(entries) > 1:
                apart = [[entry] for entry in entries]
            elif isinstance(entries[0], Rejection):
                raise
            else:
                apart = [[_internal(entries[0], str(error), fields.get(entries[0].entry_id, ()))]]
            return [(await self.admit(one, class_, from_inbox=from_inbox, originals=fields))[0] for one in apart]
        return self._words(words)

    def _admission(self, entry: Entry, class_: str, blobs: list[bytes | str]) -> list[object]:
        match entry:
            case Send(message=m):
                blobs.append(_encode(m))
                replaces = f"{m.tenant}/{entry.replaces}" if entry.replaces else ""
                return [
                    "send",
                    m.key,
                    entry.fingerprint,
                    m.class_,
                    m.route,
                    lane_of(m),
                    entry.deadline_us,
                    entry.not_before_us,
                    m.segments,
                    _echo(m, entry.entry_id),
                    replaces,
                    entry.entry_id,
                    hashed(m.to),
                ]
            case Cancel():
                return ["cancel", f"{entry.tenant}/{entry.id}", entry.entry_id]
            case Rejection():
                dead = self._dead(entry, class_)
                blobs.extend(dead)
                told = _rejected(entry, class_)
                return ["reject", told, len(dead), entry.entry_id, entry.repeats, entry.fingerprint]

    def _dead(self, entry: Rejection, class_: str) -> list[bytes | str]:
        out: list[bytes | str] = ["reason", entry.reason, "detail", entry.detail]
        out += ["stream", keys.inbox(self.number, class_), "entry_id", entry.entry_id]
        for name, value in entry.fields:
            out += [b"in." + name, value]
        return out

    # ---- out ---------------------------------------------------------------------------------------------------------

    async def lease(
        self,
        route: str,
        offers: Sequence[Offer],
        *,
        n: int,
        request: str,
        process: str,
        span_us: int,
        seed: int = 1,
        looks: int = 0,
        q: int = 4,
        ahead_us: int = 0,
    ) -> Lease:
        """Up to n ≤ 100 messages that the caller starts at once, or at their `start_us` within `ahead_us`.

        Safe to ask again under the same `request`.
        """
        ask = [route, n, request, process, span_us, offers, seed, looks or 2 * n + 20, q, ahead_us]
        head, *bodies = await self.run("lease", _encode(ask), strict=True)
        again, wake_us, revision, rows, ended, refusals, taken_us = _decode_lease(head)
        self._count(ended)
        for kind, times in refusals.items():
            if times:
                self.limited[_SCOPES[kind]] += times
        messages = [
            Leased(
                message=_decode_message(body),
                provider=row[0],
                attempt=row[1],
                fence=row[2],
                entered_us=row[3],
                deadline_us=row[4],
                first_refused_us=row[5],
                resend=row[6] & FLAG_DOUBLE != 0,
                tries=row[7],
                bound=row[8],
                punctual=row[9] == 1,
                start_us=row[10],
                since_us=row[11],
                key_until_us=row[12],
            )
            for row, body in zip(rows, bodies, strict=True)
        ]
        return Lease(messages, bool(again), wake_us, revision, taken_us)

    async def settle(self, outcomes: Sequence[Outcome]) -> list[str]:
        """The state that each message is in now; or `late`, `gone`."""
        return self._words(await self.run("settle", _encode(outcomes)))

    async def claim(self, n: int, hold_us: int) -> list[Unsure]:
        """Messages of unknown outcome whose time has come; nobody else sees them for `hold_us`."""
        head, *bodies = await self.run("claim", n, hold_us)
        out: list[Unsure] = []
        for row, body in zip(_decode_unsure(head), bodies, strict=True):
            key, provider, attempt, leased, deadline, noes, failures, flags, tries, entered = row
            message = _decode_message(body) if body else None
            out.append(
                Unsure(
                    message,
                    key,
                    provider,
                    attempt,
                    leased,
                    deadline,
                    noes,
                    failures,
                    flags & _RESENT != 0,
                    tries,
                    entered,
                )
            )
        return out

    async def receipts(self, receipts: Sequence[ReceiptFor], *, most_early: int = 100_000) -> list[str]:
        """What became of each, as lua/receipt.lua says it; the words are the metric's outcomes."""
        *words, told = await self.run("receipt", most_early, _encode(receipts))
        ended, took = _decode_told(told)
        self._count(ended)
        for provider, us in took.items() if isinstance(took, dict) else ():
            self.took_us[provider] += us
        return [word.decode() for word in words]

    async def sweep(
        self,
        settle_us: Mapping[str, int],
        *,
        most: int = 100,
        dead_routes: Sequence[str] = (),
        early_us: int = 3_600_000_000,
        events_max: int = 5_000_000,
        events_us: int = 604_800_000_000,
        dead_max: int = 100_000,
    ) -> tuple[bool, Swept]:
        """One bounded pass; True: there is more to do at once."""
        ask = [most, dict(settle_us), dead_routes, early_us, events_max, events_us, dead_max]
        again, swept, ended = _decode_swept(await self.run("sweep", _encode(ask)))
        self._count(ended)
        return bool(again), swept

    # ---- steering ----------------------------------------------------------------------------------------------------

    async def publish(
        self, content_hash: str, source: bytes, compiled: Mapping[str, object], *, tenants: int = 0
    ) -> int:
        """Puts a config in force; returns its revision. `compiled` is everything that the scripts read.

        `tenants`: the version of the tenants' settings that it was compiled with; -1 where that or the config has
        changed meanwhile.
        """
        old = await cast("Awaitable[dict[bytes, bytes]]", self.client.hgetall(keys.key(self.number, "conf")))
        new = {name: _encode(value) for name, value in compiled.items()}
        read_at, kept = int(old.get(b"revision", b"0")), {b"revision", b"hash", b"source"}
        pairs: list[bytes | str] = []
        for name, value in new.items():
            if old.get(name.encode()) != value:
                pairs += [name, value]
        for name in old.keys() - kept - {name.encode() for name in new}:
            pairs += [name, b""]
        revision = int(await self.run("publish", content_hash, source, tenants, read_at, *pairs))
        if revision > 0:  # also where nothing differs: it may be repeated because the reply was lost
            await self.rewake()
        return revision

    async def rewake(self) -> None:
        """Lets every limit that somebody waits at be looked at again, in bounded steps."""
        cursor = b"0"
        while True:
            cursor = await self.run("rewake", cursor)
            if cursor == b"0":
                return

    # ---- looking -----------------------------------------------------------------------------------------------------

    async def record(self, key: str) -> Record | None:
        """The record of `tenant/id`."""
        packed = await cast("Awaitable[bytes | None]", self.client.hget(keys.key(self.number, "msg"), key))
        return decode_record(packed) if packed else None

    async def message(self, key: str) -> Message | None:
        """The message of `tenant/id`; None once its body was erased."""
        packed = await cast("Awaitable[bytes | None]", self.client.hget(keys.key(self.number, "body"), key))
        return _decode_message(packed) if packed else None


def _echo(m: Message, entry_id: str) -> msgspec.Raw:
    pairs = {
        "segments": str(m.segments),
        "encoding": m.encoding,
        "to_country": m.to_country,
        "campaign": m.campaign,
        "meta": m.meta,
        "entry_id": entry_id,
    }
    return echo_of({name: value for name, value in pairs.items() if value})


def _rejected(entry: Rejection, class_: str) -> list[str]:
    id_ = f"{class_}-{entry.entry_id}"
    fields = {
        "v": "1",
        "event_id": f"{entry.tenant}/{id_}/0",
        "id": id_,
        "tenant": entry.tenant,
        "class": class_,
        "seq": "0",
        "state": "rejected",
        "final": "1",
        "reason": entry.reason,
        "detail": entry.detail,
        "given_id": entry.given_id,
        "entry_id": entry.entry_id,
        "campaign": entry.campaign,
        "meta": entry.meta,
    }
    return [text for pair in fields.items() if pair[1] or pair[0] == "tenant" for text in pair]


def _internal(entry: Send | Cancel, error: str, fields: Fields) -> Rejection:
    detail = f"the store could not take this entry ({error.splitlines()[0][:200]}); redrive it when that is mended"
    if isinstance(entry, Cancel):
        return Rejection("internal", detail, entry.entry_id, entry.tenant, entry.id, fields)
    m = entry.message
    return Rejection("internal", detail, entry.entry_id, m.tenant, m.id, fields, campaign=m.campaign, meta=m.meta)
