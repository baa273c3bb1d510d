"""Who this process tells of events, by the config in force: each receiver with its room, its health and its secrets.

Never talks to one and never keeps an event.
"""

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from structlog.typing import FilteringBoundLogger

from smsd.config.settings import StatusWebhook
from smsd.core.health import Health, Ticket
from smsd.core.push import BACKOFF_US, Receiver, Receivers
from smsd.provider import Accepted, Refused, Throttled
from smsd.secret import Secret, SecretError
from smsd.shell.live import Live
from smsd.shell.status_post import Reply
from smsd.store.hooks import Hook, name_of

if TYPE_CHECKING:
    from standardwebhooks import Webhook

WELL_US: Final = BACKOFF_US[1]  # who has taken something within this is no receiver that is down
SECRETS_S: Final = 30.0  # until a secret that could not be read is tried again
OWN_MOST: Final = 4  # requests under way at once to a tenant's own receiver, for each process
TENANTS: Final = "tenants"  # the label of all of these: no metric has one that strangers choose
TAKEN: Final = Accepted("")
REFUSED: Final = Refused("refused")
OURS: Final = frozenset({408, 425, 429})  # 4xx that are not about the event (RFC 9110 §15.5.9, RFC 8470, RFC 6585)


Secrets = Callable[[], list[str]]
"""Reads them anew. Raises SecretError."""


class Lane:
    """One receiver as this process sees it. All shards share its room. `guarded`: a tenant chose its URL."""

    def __init__(
        self, receiver: Receiver, secrets: Secrets, log: FilteringBoundLogger, *, guarded: bool = False
    ) -> None:
        self.receiver, self._secrets, self._log, self.guarded = receiver, secrets, log, guarded
        self.name, self.label = receiver.name, TENANTS if guarded else receiver.name
        self.health = Health(receiver.most)
        self.trouble = ""  # why nothing can be signed
        self._reserved = 0
        self._took_us = -WELL_US
        self._signers: list[Webhook] = []
        self._again_at = 0.0

    # ---- Room --------------------------------------------------------------------------------------------------------

    def room(self) -> int:
        """How many more pushes may be under way."""
        return max(0, self.health.room(_now_us()) - self._reserved)

    def reserve(self) -> bool:
        """Takes one place, where there is one, until `unreserve`."""
        if self.room() < 1:
            return False
        self._reserved += 1
        return True

    def reserve_all(self) -> int:
        """All places; returns how many."""
        room = self.room()
        self._reserved += room
        return room

    def unreserve(self, n: int = 1) -> None:
        self._reserved -= n

    # ---- Health ------------------------------------------------------------------------------------------------------

    @contextmanager
    def under_way(self) -> Generator[Ticket]:
        """While one push is."""
        ticket = self.health.begin(_now_us())
        try:
            yield ticket
        finally:
            self.health.release(ticket)

    def probe_us(self) -> int | None:
        """In how long it is probed; None: it is not down."""
        now_us = _now_us()
        return max(0, (self.health.wake_us(now_us) or now_us) - now_us) if self.health.dead else None

    def hear(self, ticket: Ticket, reply: Reply) -> None:
        """Takes an answer to heart: no 2xx is a failure, but for a wait that was asked for, and a 4xx, which is about
        the event.
        """
        now_us, was = _now_us(), self.health.dead
        if reply.ok:
            self._took_us = now_us
            self.health.hear(ticket, TAKEN, now_us)
        elif reply.status in (429, 503) and reply.after_s is not None and not was:
            self.health.hear(ticket, Throttled(reply.after_s), now_us)
        elif 400 <= reply.status < 500 and reply.status not in OURS:
            self.health.hear(ticket, REFUSED, now_us)
        else:
            self.health.unreachable(ticket, now_us)
        if self.health.dead and not was:
            self._log.warning("status_down", receiver=self.name, detail=reply.detail)
        elif was and not self.health.dead:
            self._log.info("status_back", receiver=self.name)

    def well(self) -> bool:
        """Whether it has taken something lately."""
        return _now_us() - self._took_us < WELL_US

    def adopt(self, other: "Lane") -> None:
        """Takes over what was learnt of the same receiver under the config before."""
        self.health, self._took_us = other.health, other._took_us

    # ---- Secrets -----------------------------------------------------------------------------------------------------

    def signers(self) -> "list[Webhook]":
        """One for each secret; none, with the reason in `trouble`, while one cannot be read."""
        if not self._signers and time.monotonic() >= self._again_at:
            from standardwebhooks import Webhook

            try:
                self._signers, self.trouble = [Webhook(secret) for secret in self._secrets()], ""
            except (SecretError, ValueError, RuntimeError) as error:
                self._again_at = time.monotonic() + SECRETS_S
                was, self.trouble = self.trouble, str(error) if isinstance(error, SecretError) else "it is no base64"
                if self.trouble != was:
                    self._log.error("status_secret", receiver=self.name, detail=self.trouble)
        return self._signers


class Lanes:
    """All receivers: those of the config in force, and tenants' own."""

    def __init__(self, live: Live, log: FilteringBoundLogger) -> None:
        self._live, self._log = live, log
        self._hooks: dict[int, dict[str, Hook]] = {}  # shard -> tenant -> its own
        self.receivers = Receivers(())
        self.of: dict[str, Lane] = {}
        self._some = {shard.number: asyncio.Event() for shard in live.shards}
        live.on_swap(self.follow)

    def follow_hooks(self, shard: int, hooks: dict[str, Hook]) -> None:
        """Takes over what the tenants of a shard have set."""
        self._hooks[shard] = hooks
        self.follow()

    def follow(self) -> None:
        """Takes over what the config says; what was learnt of a receiver that stays is kept."""
        made = [self._configured(name, said) for name, said in self._live.config.status_webhooks.items()]
        made += [self._own(tenant, hook) for hooks in self._hooks.values() for tenant, hook in hooks.items()]
        for lane in made:
            known = self.of.get(lane.name)
            if known is not None and known.receiver.url == lane.receiver.url:
                lane.adopt(known)
        self.of = {lane.name: lane for lane in made}
        self.receivers = Receivers(lane.receiver for lane in made)
        for shard, some in self._some.items():
            if self.any_of(shard):
                some.set()
            else:
                some.clear()

    def _configured(self, name: str, said: StatusWebhook) -> Lane:
        secrets = [said.secret] if isinstance(said.secret, Secret) else list(said.secret)
        receiver = Receiver(name, said.url, frozenset(said.tenants), frozenset(said.states))
        return Lane(receiver, lambda: [secret.reveal() for secret in secrets], self._log)

    def _own(self, tenant: str, hook: Hook) -> Lane:
        receiver = Receiver(name_of(tenant), hook.url, frozenset((tenant,)), frozenset(hook.states), OWN_MOST)
        return Lane(receiver, lambda: [hook.secret], self._log, guarded=True)

    def any_of(self, shard: int) -> bool:
        """Whether anybody is to be told of a shard's events: all that the config names, and its own tenants'."""
        return bool(self._live.config.status_webhooks or self._hooks.get(shard))

    async def some(self, shard: int) -> None:
        """Returns once there is one, or the process stops."""
        await self._some[shard].wait()

    def stop(self) -> None:
        for some in self._some.values():
            some.set()


def _now_us() -> int:
    return time.monotonic_ns() // 1000
