"""Texts that people send: parts joined, whose they are and what they answer told, what they close or open done.

Never answers a person (the platform does), never says that a text is written before it and what it does are in the
store, and never shows a number or a text in a log.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Literal

import msgspec
from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from smsd.config import Config
from smsd.core.optout import Decision, Rules, Scope, decide
from smsd.number import BadNumber, Number, countries, normalise
from smsd.provider import Inbound
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.webhooks_store import in_time
from smsd.store import texts
from smsd.store.optouts import is_sender, of_sender, of_tenant
from smsd.store.record import Record
from smsd.store.shard import ClockDiffers
from smsd.store.texts import Change, Whole

LATE_S = 15.0  # between two looks for texts whose parts did not all come
_DIGITS = range(8, 16)  # of a number that a provider tells without its plus


class Conversation(msgspec.Struct, frozen=True):
    """Whose text it is, and what it answers. `owner`: the number is this tenant's alone."""

    tenant: str = ""
    owner: bool = False
    id: str = ""  # of the message that it answers
    class_: str = ""  # of the message that it answers
    answered: Scope | None = None  # what closes that class
    borrowed: bool = False  # another tenant's message came from it last: an entry may name any `from`
    chosen: bool = False  # by the provider, as far as can be told: the number is nobody's `from`
    unsure: bool = False  # whether it is, for no message is on record that the text could answer


class Texts:
    """All texts that come to this process. `run` is a part of the worker."""

    def __init__(self, live: Live, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._live, self._metrics, self._log = live, metrics, log
        self._texted = Texted(live)

    async def take(self, provider: str, found: Sequence[Inbound]) -> None:
        """Each is in the store when this returns. Raises Away."""
        for text in found:
            await in_time(self._take(provider, text))

    async def run(self) -> None:
        """Until cancelled: writes texts whose missing parts are waited for no longer, and forgets old ones."""
        while True:
            await asyncio.sleep(LATE_S * random.uniform(0.8, 1.2))
            try:
                await self.write_late()
                await self.forget()
            except (RedisError, OSError, ClockDiffers) as error:
                self._log.warning("store_away", what="texts", error=str(error))

    async def write_late(self) -> int:
        """One look; how many were written."""
        late = await texts.late(self._live.shards[0])
        for provider, whole in late:
            self._log.warning("text_incomplete", provider=provider, parts=whole.text.parts)
            await self._write(provider, whole)
        return len(late)

    async def forget(self) -> None:
        """What people sent is kept as long as events are, and not a text longer: it has numbers and words of theirs."""
        for shard in self._live.shards:
            await texts.trim(shard, self._live.config.retention.events_us)

    async def _take(self, provider: str, text: Inbound) -> None:
        whole: Whole | None = Whole(text)
        if text.group and text.parts > 1:
            whole = await texts.keep(self._live.shards[0], provider, text, self._live.config.opt_out.parts_wait_us)
        if whole is not None:
            await self._write(provider, whole)

    async def _write(self, provider: str, whole: Whole) -> None:
        text, config = whole.text, self._live.config
        person, to = number(text.sender), self._texted.known_as(text.to)
        told = await self._conversation(to, person.e164)
        if text.provider_id and len(self._live.shards) > 1:  # in one, the text's own step knows a repeat
            first = await texts.told(self._live.shards[0], provider, text.provider_id, _encode(told))
            told = _decode(first)
        rules = _rules(config, told, person)
        decision = decide(text.body, rules, answered=told.answered, said=text.opt_out_type)
        change = _change(decision, told, to, person.e164, provider)
        fields: dict[str, str | int] = {
            "v": 1,
            "at": time.time_ns() // 1_000_000,
            "provider": provider,
            "provider_id": text.provider_id,
            "from": person.e164,
            "to": to,
            "body": text.body,
            "parts": text.parts,
            "tenant": told.tenant,
            "in_reply_to": told.id,
            "intent": decision.intent,
        }
        home = self._live.shard_of(told.tenant) if told.tenant else self._live.shards[0]
        opened: Scope | None = None
        # A sender's entry is in every shard; the text's own comes last: a repeat after a crash does what is missing.
        if change is not None and (senders := tuple(filter(is_sender, change.whose))):
            elsewhere = msgspec.structs.replace(change, whose=senders)
            for shard in [one for one in self._live.shards if one is not home]:
                there = await texts.write(shard, provider, text.provider_id, elsewhere, {}, 0, opened=opened)
                opened = there.opened or opened
        most = config.retention.events_max
        written = await texts.write(home, provider, text.provider_id, change, fields, most, opened=opened)
        await texts.drop(self._live.shards[0], whole)
        if not written.repeated:
            self._metrics.inbound(provider, decision.intent)
            if told.unsure and change is not None:
                self._tell_unsure(provider, told, decision)
        if written.closed and decision.close is not None:
            self._metrics.opt_outs("inbound", decision.close, provider=provider, class_=told.class_)

    async def _conversation(self, to: str, person: str) -> Conversation:
        owner = self._texted.tenant(to)
        last = await self._last(to, person)
        if owner:
            answering = Conversation() if last is None else self._answering(last)
            borrowed = answering.tenant not in ("", owner)
            id_ = "" if borrowed else answering.id
            return msgspec.structs.replace(answering, tenant=owner, owner=True, id=id_, borrowed=borrowed)
        if last is not None or self._texted.is_known(to):
            return self._answering(last) if last is not None else Conversation()
        last = await self._last("", person)
        if last is not None:
            return msgspec.structs.replace(self._answering(last), chosen=True)
        # An entry's own `from`, or the choice of a provider: where nobody leaves it to one, it is no choice.
        return Conversation(chosen=self._texted.is_left_open(), unsure=True)

    def _tell_unsure(self, provider: str, told: Conversation, decision: Decision) -> None:
        self._metrics.opt_out_unsure(provider)
        done = "closed" if decision.close is not None else "opened"
        whose = "it and every message that leaves the sender to a provider" if told.chosen else "it alone"
        self._log.warning(
            "opt_out_unsure",
            provider=provider,
            detail=f"a number that no settings name, by somebody to whom no message is on record: {done} for {whose}",
        )

    async def _last(self, sender: str, person: str) -> tuple[str, Record] | None:
        """Over all shards, for any tenant may have used that sender."""
        found = [await texts.last_to(shard, sender, person) for shard in self._live.shards]
        return max((one for one in found if one is not None), key=lambda one: one[1].submitted, default=None)

    def _answering(self, last: tuple[str, Record]) -> Conversation:
        (tenant, _, id_), class_ = last[0].partition("/"), last[1].class_
        return Conversation(tenant, id=id_, class_=class_, answered=self._live.config.class_config(class_).opt_out)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Conversation).decode


def _rules(config: Config, told: Conversation, person: Number) -> Rules:
    """The words are those of whoever's message is answered; what a STOP closes for all is for the defaults to say."""
    closes = config.terms(told.tenant).stop_closes if told.owner else config.tenant_defaults.stop_closes
    words = config.terms(told.tenant).cancel_words if told.tenant else config.tenant_defaults.cancel_words
    return Rules(closes, words, not set(config.opt_out.all_in).isdisjoint(countries(person)))


def _change(decision: Decision, told: Conversation, to: str, person: str, provider: str) -> Change | None:
    """A tenant's own number stands for the tenant, any other one for itself, also where another tenant borrows it; one
    that the provider has chosen for every message that leaves the choice to a provider. START opens whatever STOP and
    the provider's codes have closed.
    """
    if decision.close is None and not decision.open:
        return None
    whose = [of_tenant(told.tenant)] if told.owner else [of_sender(to)]
    if told.chosen:
        whose.append(of_sender(""))
    if told.owner and (decision.open or told.borrowed):
        whose.append(of_sender(to))
    return Change(tuple(whose), person, decision.close, provider)


def number(text: str) -> Number:
    """A number as it is in E.164, also where a provider leaves out the plus; any other text as it is."""
    written = f"+{text}" if text.isascii() and text.isdigit() and len(text) in _DIGITS else text
    try:
        return normalise(written, "", "possible")
    except BadNumber:
        return Number(text, "")


class Texted:
    """Whose number or sender a person has texted, as far as settings tell: that of one tenant alone."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._of: tuple[Config, tuple[int, ...]] | None = None
        self._tenants: dict[str, str] = {}

    def tenant(self, to: str) -> str:
        """ "" where nobody has it, or more than one."""
        return self._senders().get(to, "")

    def is_known(self, to: str) -> bool:
        """Whether any settings name it."""
        return to in self._senders() or to in self._live.config.senders

    def is_left_open(self) -> bool:
        """Whether any settings leave the sender to the provider."""
        return "" in self._senders()

    def known_as(self, to: str) -> str:
        """As settings write it; else in E.164, where it is a number."""
        return to if self.is_known(to) else number(to).e164

    def _senders(self) -> dict[str, str]:
        config = self._live.config
        of = (config, self._live.tenants_at)
        if self._of is None or self._of[0] is not of[0] or self._of[1] != of[1]:
            self._of, self._tenants = of, {config.tenant_defaults.sender: ""}
            for tenant in config.tenants.keys() | config.made.keys():
                pool = config.sender_pools.get(_set(config, tenant, "sender_pool"))
                for sender in {_set(config, tenant, "sender"), *(pool.senders if pool is not None else ())}:
                    self._tenants[sender] = "" if sender in self._tenants else tenant
            for sender in [rule.instead for rule in config.sender_rules if rule.instead]:
                self._tenants[sender] = ""  # of every tenant whose own may not send to a country
        return self._tenants


def _set(config: Config, tenant: str, name: Literal["sender", "sender_pool"]) -> str:
    """As Config.terms tells it, which costs ten times as much, and thousands may have changed."""
    own = [one for one in (config.made.get(tenant), config.tenants.get(tenant)) if one is not None]
    plan = config.plans.get(next((one.plan for one in own if one.plan is not None), ""))
    layers = [*own, *([plan] if plan is not None else [])]
    told: list[str | None] = [getattr(one, name) for one in layers]
    return next((one for one in told if one is not None), getattr(config.tenant_defaults, name))
