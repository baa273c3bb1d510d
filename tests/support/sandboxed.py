"""Histories of two hosts that share one store while the sandbox is switched on and off under them, over real HTTP: one
server stands in the place of every provider, and the built-in carrier runs as a process of its own.

Never asserts anything but at the end: what reached a provider of a host whose sandbox barred it is in `leaked`.
"""

import asyncio
import io
import random
import time
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from smsd.config import Config, load
from smsd.config.sandbox import TOKEN, URL
from smsd.control.revision import publish
from smsd.core.admit import judge
from smsd.message import Send
from smsd.provider import Accepted, Answer, Deferred, Refused, Throttled
from smsd.shell import live as lives
from smsd.shell import log as logs
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.resolver import Resolver
from smsd.shell.sender import Sender
from smsd.shell.transport import Transport
from smsd.store import keys
from smsd.store.shard import Shard
from smsd.testing.carrier import AUTH_TOKEN, CarrierProcess
from tests.support.gateway import Gateway, Received
from tests.support.world import SECOND, START, ask

NUMBERS = ("+353861234567", "+353871234567", "+447400123456", "+14155550123", "+4915112345678")
ALLOWED = ((), ("+353",), ("+35386", "+44"), ("+353861234567",))
CONFIG = """
[store]
url = "embedded"
data_dir = "store"
[webhooks]
public_url = "https://{host}.example.com"
[dispatch]
slack_ms = 1000
[classes.reminder]
weight = 8
max_attempts = 50
backoff = ["1s", "1s"]
on_unknown = "resend"
[classes.marketing]
on_unknown = "hold"
[tenant_defaults]
limits = []
[routes.default]
providers = [{{ use = "main" }}, {{ use = "spare" }}]
[routes.uk]
providers = [{{ use = "third" }}]
{rule}
{providers}
[sandbox]
enabled = {on}
allow_to = [{allowed}]
"""
RULES = ("", '[[route_rules]]\nprefixes = ["+44", "+1"]\nroute = "uk"\n')
NOWHERE = "http://127.0.0.1:9"  # the carrier of these stories is told to send no receipts
PATIENCE_S = 30.0


class Host:
    """One process of one host."""

    def __init__(self, name: str, client: Redis, folder: Path, carrier: CarrierProcess, gateway: Gateway) -> None:
        self.name, self.shard = name, Shard(client, 0, clock_step_us=0)
        self.shard.now_us = START
        self._file = folder / f"{name}.toml"
        self._env = {URL: carrier.url, TOKEN: AUTH_TOKEN}
        looks = (("main", "none", 0), ("spare", "none", 3600), ("third", "reference", 0))
        self._providers = "".join(gateway.provider(p, look_up=look, idempotency_s=s) for p, look, s in looks)

    def config(self, *, on: bool, allowed: tuple[str, ...] = (), rule: str = "") -> Config:
        listed = ", ".join(f'"{prefix}"' for prefix in allowed)
        text = CONFIG.format(host=self.name, rule=rule, providers=self._providers, on=str(on).lower(), allowed=listed)
        self._file.write_text(text)
        return load(self._file, self._env)

    async def open(self, config: Config) -> None:
        self.live = Live(config, [self.shard], process=self.name)
        self.live.loopback = NOWHERE
        await lives.agree(self.live)
        self.transport = Transport(self.live.barred)
        await self.transport.start()
        log, metrics = logs.setup(verbose=False, file=io.BytesIO()), Metrics()
        self.sender = Sender(self.live, self.transport, metrics, log)
        self.resolver = Resolver(self.live, self.transport, metrics, log)
        self.swaps = [Swap()]
        self.live.on_swap(lambda: self.swaps.append(Swap()))
        self.running = asyncio.create_task(self.sender.run())

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.sender.drain(2)
        await self.transport.close()

    async def quiet(self) -> None:
        """Until every attempt that is on its way has its answer, and that is written."""
        while self.sender.unsettled:
            await asyncio.wait([*self.sender.attempts, asyncio.create_task(ask(self.shard.client, "PING"))])


class Swap(msgspec.Struct):
    """A config came into force in a process; no lease up to this fence was asked for under it alone."""

    fence: int = 0


class Barred(msgspec.Struct, frozen=True):
    """A text that a provider got when the config of the host that it came from barred it."""

    reference: str
    fence: int  # of its lease
    swap: Swap  # the last one before it came


class Story:
    """One history. Of `barred`, what was leased before the swap is `excused`: its bytes may have left before."""

    def __init__(self, seed: int, client: Redis, folder: Path, carrier: CarrierProcess, gateway: Gateway) -> None:
        self.rng, self.client, self.gateway, self.carrier = random.Random(seed), client, gateway, carrier
        self.hosts = {name: Host(name, client, folder, carrier, gateway) for name in ("a", "b")}
        self.shard = self.hosts["a"].shard
        self.now, self.put_in = START, 0
        self.barred: list[Barred] = []
        self.at_ease = False
        gateway.reply = self.reply

    async def open(self) -> None:
        """Both start with the same file, in which the sandbox is off."""
        for host in self.hosts.values():
            await host.open(host.config(on=False))

    async def play(self, steps: int) -> None:
        """So many steps, by the seed."""
        for _ in range(steps):
            await getattr(self, self.rng.choices(("enqueue", "swap", "follow", "pass_time"), (6, 3, 2, 3))[0])()
            for _ in range(self.rng.choice((0, 5, 50))):  # meanwhile the senders go on
                await ask(self.client, "PING")

    async def close(self) -> None:
        for host in self.hosts.values():
            await host.close()

    async def reply(self, received: Received) -> Answer | None:
        """Any answer; before it, the judgement of whether this may have come at all."""
        host = "a" if "//a." in received.callback_url else "b"
        if self.hosts[host].live.barred(received.provider, received.to):
            swap = self.hosts[host].swaps[-1]
            record = await self.shard.record(received.reference.partition(".")[2])
            self.barred.append(Barred(received.reference, record.fence if record else 0, swap))
        if self.at_ease:
            return Accepted(f"id-{received.reference}")
        answers = (Accepted(f"id-{received.reference}"), Throttled(after_s=1), Deferred("1"), None,
                   Refused("sender", elsewhere=True))  # fmt: skip
        return self.rng.choices(answers, (6, 4, 2, 1, 2))[0]

    @property
    def leaked(self) -> list[str]:
        return [one.reference for one in self.barred if one.fence > one.swap.fence]

    @property
    def excused(self) -> list[str]:
        return [one.reference for one in self.barred if one.fence <= one.swap.fence]

    # ---- What may happen ---------------------------------------------------------------------------------------------

    async def enqueue(self) -> None:
        """Some messages, judged by the config of either host."""
        host = self.rng.choice(list(self.hosts.values()))
        for _ in range(self.rng.randint(1, 6)):
            self.put_in += 1
            class_ = self.rng.choice(("reminder", "reminder", "marketing"))
            fields = {"tenant": "acme", "id": f"m{self.put_in}", "to": self.rng.choice(NUMBERS), "body": "Hello"}
            raw = [(name.encode(), value.encode()) for name, value in fields.items()]
            entry = judge(raw, class_=class_, shard=0, entry_id="", now_us=self.now, rules=host.live.config)
            assert isinstance(entry, Send)
            assert await self.shard.admit([entry], class_, from_inbox=False) == ["taken"]
        self.nudge()

    async def swap(self) -> None:
        """One host publishes another config; the other follows at once, or at a later step."""
        config = {"on": self.rng.random() < 0.6, "allowed": self.rng.choice(ALLOWED), "rule": self.rng.choice(RULES)}
        await self.put_in_force(**config)  # pyright: ignore[reportArgumentType]
        if self.rng.random() < 0.5:
            await self.follow()

    async def put_in_force(self, *, on: bool, allowed: tuple[str, ...] = (), rule: str = "") -> None:
        host = self.rng.choice(list(self.hosts.values()))
        config = host.config(on=on, allowed=allowed, rule=rule)
        await publish(config, host.live.shards, force=True)  # also off while something waits there
        if await lives.catch_up(host.live) != "kept":
            await self._swapped(host)

    async def follow(self) -> None:
        for host in self.hosts.values():
            if await lives.catch_up(host.live) != "kept":
                await self._swapped(host)

    async def _swapped(self, host: Host) -> None:
        host.swaps[-1].fence = int(await ask(self.client, "HGET", keys.key(0, "meta"), "fence") or 0)

    async def pass_time(self, us: int = 2 * SECOND) -> None:
        """What was put off becomes due, and what is unknown is looked at."""
        for host in self.hosts.values():
            await host.quiet()
        self.now += us
        for host in self.hosts.values():
            host.shard.now_us = self.now
        await self.shard.sweep({})
        await self.rng.choice(list(self.hosts.values())).resolver.resolve(self.shard)
        self.nudge()

    def nudge(self) -> None:
        for host in self.hosts.values():
            host.sender.nudge()

    # ---- The end -----------------------------------------------------------------------------------------------------

    async def come_to_rest(self) -> None:
        """Everything that can leave does."""
        self.at_ease = True
        until = time.monotonic() + PATIENCE_S
        while left := await self.waiting():
            assert time.monotonic() < until, f"{left} messages still wait"
            await self.pass_time(SECOND // 10)

    async def waiting(self) -> int:
        """How many are queued, or unknown and not held; and the leases that are not over."""
        for host in self.hosts.values():
            await host.quiet()
        counted = await ask(self.client, "HMGET", keys.key(0, "meta"), "n:reminder", "n:marketing")
        unsure = int(await ask(self.client, "ZCARD", keys.key(0, "unsure")))
        leases = int(await ask(self.client, "ZCARD", keys.key(0, "lease")))
        return sum(int(n or 0) for n in counted) + unsure + leases

    async def events(self) -> list[dict[str, str]]:
        entries = await ask(self.client, "XRANGE", keys.key(0, "events"), "-", "+")
        return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in entries]
