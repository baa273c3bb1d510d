"""Finds out what became of messages whose attempt may have left: claims them, asks their providers, writes the answer.

Never decides: core/resolve.py does. Never sends a message: one that goes again is leased like any other.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import cast

import msgspec
from redis.exceptions import ResponseError
from structlog.typing import FilteringBoundLogger

from smsd.core import outcome, resolve
from smsd.core.attempt import Policy, idempotency_key
from smsd.message import Message
from smsd.provider import Attempt, Capabilities, Found, HttpRequest, Inconclusive, LookUpResult, More, Provider
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.sender import wall_us
from smsd.shell.sender_providers import policy_of
from smsd.shell.transport import Answered, Transport
from smsd.store import keys
from smsd.store.connect import AWAY
from smsd.store.shard import ClockDiffers, Shard, Unsure

CLAIM_MAX = 50
LOOKING_MAX = 10  # look-ups at a time
PAGES_MAX = 20  # of one listing; beyond them the look-up counts as failed
PERIOD_S = 1.0
HOLD_LEAST_S = 10.0


class Resolver:
    """The look-ups of one process, over all shards."""

    def __init__(self, live: Live, transport: Transport, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._live, self._transport, self._metrics, self._log = live, transport, metrics, log
        self._looking = asyncio.Semaphore(LOOKING_MAX)

    async def run(self) -> None:
        """Until cancelled. What a cancelled pass had claimed is claimed again when its hold is over."""
        while True:
            full = False
            for shard in self._live.shards:
                try:
                    full = await self.resolve(shard) >= CLAIM_MAX or full
                except (*AWAY, ClockDiffers, ResponseError) as error:
                    self._metrics.store_error("resolve")
                    self._log.warning("resolve_failed", shard=shard.number, error=str(error))
            if not full:
                await asyncio.sleep(PERIOD_S)

    async def resolve(self, shard: Shard) -> int:
        """One pass: claims what is due, looks, and writes what came of it. Returns how many were claimed."""
        claimed = await shard.claim(CLAIM_MAX, self._hold_us())
        if not claimed:
            return 0
        outcomes = await self._decide_all(shard, await asyncio.gather(*(self._ask(shard, one) for one in claimed)))
        words = await shard.settle(outcomes)
        for unsure, decided, word in zip(claimed, outcomes, words, strict=True):
            if not isinstance(decided, outcome.Look):
                self._log.info("resolved", message=unsure.key, provider=unsure.provider, attempt=unsure.attempt,
                               found=decided.kind, state=word)  # fmt: skip
        return len(claimed)

    def _hold_us(self) -> int:
        """How long nobody else sees what was claimed: two whole answers for each that is looked at before."""
        slowest_s = max((p.timeout_s for p in self._live.config.providers.values()), default=0.0)
        return int((HOLD_LEAST_S + 2 * slowest_s * CLAIM_MAX / LOOKING_MAX) * 1_000_000)

    async def _ask(self, shard: Shard, unsure: Unsure) -> "outcome.Outcome | _Looked":
        """What is to be done with a message where that is plain, else what its provider answers."""
        config, message = self._live.config, unsure.message
        policy = policy_of(config, message.class_ if message is not None else "")
        provider = None
        if unsure.provider in config.providers:
            try:
                provider = config.provider(unsure.provider)
            except ValueError:  # a secret that this host cannot read: another one may
                return resolve.later(unsure, now_us=wall_us(shard))
        planned = resolve.plan(
            unsure, provider.capabilities if provider else None, policy, now_us=wall_us(shard),
            has_message=message is not None,
        )  # fmt: skip
        if planned != "look" or provider is None or message is None:
            return planned if planned != "look" else resolve.later(unsure, now_us=wall_us(shard))
        async with self._looking:
            attempt, timeout_s = self._attempt(provider, message, unsure), config.providers[unsure.provider].timeout_s
            looked = await look_up(self._transport, unsure.provider, provider, attempt, timeout_s)
        return _Looked(unsure, looked, provider.capabilities, policy)

    async def _decide_all(self, shard: Shard, asked: "Sequence[outcome.Outcome | _Looked]") -> list[outcome.Outcome]:
        """One after the other, for two messages of the same text to the same number may both find the same one: what
        the first of them takes is not there for the second. Whose the others are is read last, right before it counts.
        """
        owners = await self._owners([name for one in asked if isinstance(one, _Looked) for name in one.names])
        outcomes: list[outcome.Outcome] = []
        for one in asked:
            if not isinstance(one, _Looked):
                outcomes.append(one)
                continue
            unsure = one.unsure
            foreign = {id_ for name, id_ in one.names.items() if owners.get(name, unsure.key) != unsure.key}
            decided = resolve.decide(
                unsure, one.looked, foreign, one.capabilities, one.policy, now_us=wall_us(shard)
            )  # fmt: skip
            if isinstance(decided, outcome.Found):
                owners[f"{unsure.provider}/{decided.provider_id}"] = unsure.key
            outcomes.append(decided)
        return outcomes

    async def _owners(self, names: Sequence[str]) -> dict[str, str]:
        """The messages that these ids are known to belong to, in whichever shard."""
        owners: dict[str, str] = {}
        for shard in self._live.shards if names else ():
            asked = shard.client.hmget(keys.key(shard.number, "ref"), list(names))
            for name, reference in zip(names, await cast("Awaitable[list[bytes | None]]", asked), strict=True):
                if reference is not None:
                    owners[name] = reference.partition(b".")[2].decode()
        return owners

    def _attempt(self, provider: Provider, message: Message, unsure: Unsure) -> Attempt:
        reference = f"{unsure.attempt}.{unsure.key}"
        key = idempotency_key(unsure.key, unsure.entered_us) if provider.capabilities.idempotency_s else ""
        url = self._live.callback_url(unsure.provider, reference)
        return Attempt(message, reference, url, key, unsure.leased_us)


async def look_up(
    transport: Transport, name: str, provider: Provider, attempt: Attempt, timeout_s: float
) -> LookUpResult:
    """The whole look-up, page after page. Raises nothing."""
    try:
        request: HttpRequest = provider.look_up(attempt)
        for _ in range(PAGES_MAX):
            sent = await transport.fetch(name, request, timeout_s=timeout_s)
            if not isinstance(sent, Answered):
                return Inconclusive(sent.detail)
            looked = provider.found(attempt, sent.response)
            if not isinstance(looked, More):
                msgspec.msgpack.encode(looked)  # raises for an id that is no text, which could not be written
                return looked
            request = looked.request
    except Exception as error:  # noqa: BLE001 - a provider's fault must not keep the others from being looked at
        return Inconclusive(f"the provider could not look: {type(error).__name__}: {error}")
    return Inconclusive(f"the listing has more than {PAGES_MAX} pages")


class _Looked(msgspec.Struct, frozen=True):
    """What a look-up answered about a message, and what it is to be judged by."""

    unsure: Unsure
    looked: LookUpResult
    capabilities: Capabilities
    policy: Policy

    @property
    def names(self) -> dict[str, str]:
        """The candidates' ids by their names in the store."""
        found = self.looked.candidates if isinstance(self.looked, Found) else ()
        return {f"{self.unsure.provider}/{one.provider_id}": one.provider_id for one in found}
