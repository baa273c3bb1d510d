"""The providers as this process sees them: each one's instance, settings and health, and what a route may be offered.

Never judges: core/health.py does. Tells the log when a provider dies, comes back, or refuses us; shares with all
processes that an account refused us.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec
from structlog.typing import FilteringBoundLogger

from smsd.config import SANDBOX, Config, ProviderConfig
from smsd.core.attempt import Policy, clean
from smsd.core.health import UNUSABLE_US, Health, Ticket
from smsd.provider import Answer, Provider, Unusable
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.store.connect import AWAY
from smsd.store.holds import pause
from smsd.store.shard import ClockDiffers, Offer

WEIGHT_SCALE = 100  # a weight as the store gets it is the config's, times this and the provider's share
SPARE_US = 60_000_000  # beyond its timeout: a message with less is too pressed to probe a dead provider with


class Seat(msgspec.Struct, frozen=True):
    """One provider under the config in force."""

    name: str
    settings: ProviderConfig
    provider: Provider
    health: Health


class Choice(msgspec.Struct, frozen=True):
    """What may be asked for now on one route."""

    offers: Sequence[Offer]
    seats: Mapping[str, Seat]  # of the offered: a reload meanwhile does not change who is used
    room: int
    capacity: int  # the room of the offered when nothing is in flight
    wake_us: int | None  # when time alone may bring more, monotonic
    timeout_s: float  # the longest of the offered


def policy_of(config: Config, class_: str) -> Policy:
    """What a class says about attempts."""
    said = config.class_config(class_)
    return Policy(said.max_attempts, *said.backoff_us, said.on_unknown == "resend")


class Providers:
    """All providers that the config names. Follows each swap of it; health outlives it."""

    def __init__(self, live: Live, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._live, self._metrics, self._log = live, metrics, log
        self._healths: dict[str, Health] = {}
        self._seats: dict[str, Seat] = {}
        self._policies: dict[str, Policy] = {}
        self._config: Config | None = None
        self._sharing: set[asyncio.Task[None]] = set()
        self.follow()

    def follow(self) -> None:
        """Takes over the config in force: new settings, new instances, and another try for who was stopped."""
        config = self._live.config
        if config is self._config:
            return
        self._config, self._seats, self._policies = config, {}, {}
        for name, settings in config.providers.items():
            health = self._healths.setdefault(name, Health(settings.max_in_flight))
            health.resize(settings.max_in_flight)
            health.lift()
            try:
                self._seats[name] = Seat(name, settings, config.provider(name), health)
            except ValueError as error:  # a secret that cannot be read on this host, or is none
                self._log.error("provider_unusable", provider=name, detail=str(error))

    def seat(self, name: str) -> Seat | None:
        """A provider; None when it is not configured (any more) or its secrets cannot be read here."""
        return self._seats.get(name)

    def policy(self, class_: str) -> Policy:
        """What a message's class says about attempts."""
        known = self._policies.get(class_)
        if known is None:
            known = self._policies[class_] = policy_of(self._live.config, class_)
        return known

    def others(self, route: str, name: str, bound: str = "") -> tuple[str, ...]:
        """The route's providers but this one; of a message that is bound, only those that have not refused it. Nobody
        stands in for the sandbox's, whatever route a message had before.
        """
        if name == SANDBOX:
            return ()
        config = self._live.config.routes.get(route)
        able = bound.split(",") if bound else None
        uses = config.providers if config else ()
        return tuple(use.use for use in uses if use.use != name and (able is None or use.use in able))

    def choice(self, route: str) -> Choice:
        """The healthy providers of a route with their free room."""
        now_us = time.monotonic_ns() // 1000
        offers: list[Offer] = []
        seats: dict[str, Seat] = {}
        wakes: list[int] = []
        timeout_s, capacity = 0.0, 0
        config = self._live.config.routes.get(route)
        for use in config.providers if config else ():
            seat = self._seats.get(use.use)
            if seat is None:
                continue
            room = seat.health.room(now_us)
            if room > 0:
                weight = use.weight and max(1, round(use.weight * WEIGHT_SCALE * seat.health.share))
                offers.append(Offer(use.use, weight, room))
                seats[use.use] = seat
                capacity += room + seat.health.in_flight
                timeout_s = max(timeout_s, seat.settings.timeout_s)
            elif (wake_us := seat.health.wake_us(now_us)) is not None:
                wakes.append(wake_us)
        return Choice(offers, seats, sum(o.room for o in offers), capacity, min(wakes, default=None), timeout_s)

    def dead(self) -> list[str]:
        """Providers that this process does not send by now: dead, stopped, or with secrets that it cannot read."""
        names = self._live.config.providers
        return [n for n in names if (seat := self._seats.get(n)) is None or seat.health.dead or seat.health.stopped]

    def too_pressed(self, seat: Seat, route: str, left_us: int, now_us: int) -> bool:
        """Whether a message must not be risked on a probe: little time, and somebody alive to send it by."""
        if left_us > seat.settings.timeout_s * 1_000_000 + SPARE_US:
            return False
        alive = (self._seats.get(name) for name in self.others(route, seat.name))
        if not any(other is not None and not other.health.dead for other in alive):
            return False
        seat.health.postpone(now_us)
        return True

    def heard(self, seat: Seat, ticket: Ticket, answer: Answer, now_us: int) -> Answer:
        """An answer, as the provider's health takes it."""
        health = seat.health
        dead, stopped = health.dead, health.stopped
        answer = health.hear(ticket, answer, now_us)
        if health.dead != dead or health.stopped != stopped:
            self._tell(seat)
        if isinstance(answer, Unusable) and answer.scope == "account" and not stopped:
            self._share(seat.name, answer.reason)
        return answer

    def unreachable(self, seat: Seat, ticket: Ticket, detail: str, now_us: int) -> None:
        """No connection could be made."""
        dead = seat.health.dead
        seat.health.unreachable(ticket, now_us)
        if seat.health.dead != dead:
            self._tell(seat, detail)

    def _tell(self, seat: Seat, detail: str = "") -> None:
        if seat.health.stopped:
            self._log.error("provider_stopped", provider=seat.name, detail=clean(seat.health.stopped))
        elif seat.health.dead:
            self._log.warning("provider_dead", provider=seat.name, detail=clean(detail))
        else:
            self._log.info("provider_alive", provider=seat.name)

    def _share(self, name: str, reason: str) -> None:
        task = asyncio.get_running_loop().create_task(self._pause(name, clean(reason)))
        self._sharing.add(task)
        task.add_done_callback(self._sharing.discard)

    async def _pause(self, name: str, reason: str) -> None:
        for shard in self._live.shards:
            until_us = (shard.now_us or time.time_ns() // 1000) + UNUSABLE_US
            try:
                # Where an operator has paused it, that holds.
                await pause(shard, f"p:{name}", until_us=until_us, reason=reason, by=self._live.process, over=False)
            except (*AWAY, ClockDiffers):
                self._metrics.store_error("pause")  # each process finds out by itself
