"""Finds out what became of messages whose attempt may have left: claims them, asks their providers, writes the answer.

Never decides: core/resolve.py does. Never sends a message: one that goes again is leased like any other.
"""

import asyncio
from collections.abc import Awaitable
from typing import cast

from redis.exceptions import ResponseError
from structlog.typing import FilteringBoundLogger

from smsd.core import outcome, resolve
from smsd.core.attempt import idempotency_key
from smsd.message import Message
from smsd.provider import Attempt, Found, HttpRequest, Inconclusive, LookUpResult, More, Provider
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
        outcomes = await asyncio.gather(*(self._decide(shard, unsure) for unsure in claimed))
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

    async def _decide(self, shard: Shard, unsure: Unsure) -> outcome.Outcome:
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
            looked = await self._look(provider, unsure.provider, self._attempt(provider, message, unsure))
        foreign = await _foreign(shard, unsure, looked) if isinstance(looked, Found) else frozenset[str]()
        return resolve.decide(unsure, looked, foreign, provider.capabilities, policy, now_us=wall_us(shard))

    def _attempt(self, provider: Provider, message: Message, unsure: Unsure) -> Attempt:
        reference = f"{unsure.attempt}.{unsure.key}"
        key = idempotency_key(unsure.key, unsure.entered_us) if provider.capabilities.idempotency_s else ""
        url = self._live.callback_url(unsure.provider, reference)
        return Attempt(message, reference, url, key, unsure.leased_us)

    async def _look(self, provider: Provider, name: str, attempt: Attempt) -> LookUpResult:
        """The whole look-up, page after page."""
        timeout_s = self._live.config.providers[name].timeout_s
        try:
            request: HttpRequest = provider.look_up(attempt)
            for _ in range(PAGES_MAX):
                sent = await self._transport.fetch(name, request, timeout_s=timeout_s)
                if not isinstance(sent, Answered):
                    return Inconclusive(sent.detail)
                looked = provider.found(attempt, sent.response)
                if not isinstance(looked, More):
                    return looked
                request = looked.request
        except Exception as error:  # noqa: BLE001 - a provider's fault must not keep the others from being looked at
            return Inconclusive(f"the provider could not look: {type(error).__name__}: {error}")
        return Inconclusive(f"the listing has more than {PAGES_MAX} pages")


async def _foreign(shard: Shard, unsure: Unsure, found: Found) -> frozenset[str]:
    """The candidates' ids that are known to belong to other messages."""
    ids = [candidate.provider_id for candidate in found.candidates]
    if not ids:
        return frozenset()
    names = [f"{unsure.provider}/{provider_id}" for provider_id in ids]
    asked = shard.client.hmget(keys.key(shard.number, "ref"), names)
    references = await cast("Awaitable[list[bytes | None]]", asked)
    ours = unsure.key.encode()
    return frozenset(
        provider_id
        for provider_id, reference in zip(ids, references, strict=True)
        if reference is not None and reference.partition(b".")[2] != ours
    )
