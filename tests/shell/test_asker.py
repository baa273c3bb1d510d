"""shell/asker.py: messages without a receipt, on a real store, asked about at a gateway under a virtual clock."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.config import load
from smsd.provider import Found, Inconclusive, NotFound, Receipt, ReceiptStatus
from smsd.shell import live as lives
from smsd.shell import log as logs
from smsd.shell.asker import TURN_US, Asker
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.transport import Transport
from tests.support.gateway import Gateway, Lines
from tests.support.scrape import counted
from tests.support.world import HOUR, SECOND, World

BASE = """
[store]
url = "embedded"
data_dir = "store"
[classes.reminder]
ask_after = "1h"
receipt_timeout = "5h"
[tenant_defaults]
limits = []
[routes.default]
providers = [{ use = "main" }]
"""


class Waiting(World):
    """A shard with messages that a provider took, and an asker that the test runs pass by pass."""

    def __init__(self, client: Redis, gateway: Gateway, folder: Path) -> None:
        super().__init__(client)
        self.gateway, self.lines, self.metrics = gateway, Lines(), Metrics()
        self.transport = Transport(lambda _provider, _to: False)
        self._file = folder / "smsd.toml"

    async def open(self, look_up: str = "reference") -> None:
        self._file.write_text(BASE + self.gateway.provider("main", look_up=look_up))
        self.live = Live(load(self._file, {}, secrets=False), [self.shard])
        await lives.agree(self.live)
        await self.transport.start()
        self.asker = self.another()

    def another(self, process: str = "") -> Asker:
        live = self.live
        if process:
            live = Live(self.live.config, [self.shard])
            live.process = process
        return Asker(live, self.transport, self.metrics, logs.setup(file=self.lines))

    async def taken(self, id_: str = "m1") -> None:
        await self.send("acme", id_)
        (leased,) = await self.take(1)
        await self.accept(leased, f"SM-{id_}")

    async def ask_on(self, after_us: int = 0) -> int:
        self.pass_time(after_us)
        return await self.asker.ask(self.shard)

    def counted(self, outcome: str) -> float:
        return counted(self.metrics.render(), "smsd_receipts_asked_total").get(
            f'outcome="{outcome}",provider="main"', 0.0
        )


@pytest.fixture
async def waiting(redis: Redis, gateway: Gateway, tmp_path: Path) -> AsyncIterator[Waiting]:
    waiting = Waiting(redis, gateway, tmp_path)
    yield waiting
    await waiting.transport.close()


async def test_a_receipt_that_never_comes_is_asked_for(waiting: Waiting, gateway: Gateway) -> None:
    """After ask_after the provider's word ends the message, as its receipt would have."""
    await waiting.open()
    gateway.find = lambda _: Found((Receipt(ReceiptStatus.DELIVERED, "SM-m1"),))
    await waiting.taken()
    assert await waiting.ask_on() == 0
    assert await waiting.ask_on(HOUR - SECOND) == 0
    assert await waiting.ask_on(2 * SECOND) == 1
    assert gateway.looked == ["1.acme/m1"]
    assert (await waiting.last("acme/m1"))["state"] == "delivered"
    assert (waiting.counted("ended"), await waiting.ask_on(HOUR)) == (1, 0)
    assert (await waiting.lines.until("receipt_asked_for"))[0]["word"] == "delivered"


async def test_it_is_asked_again_after_twice_as_long(waiting: Waiting, gateway: Gateway) -> None:
    """While it is open there too; never about one that ended meanwhile, and never after its receipt_timeout."""
    await waiting.open()
    gateway.find = lambda _: Found((Receipt(ReceiptStatus.SENT, "SM-m1"),))
    await waiting.taken()
    assert [await waiting.ask_on(HOUR // 2) for _ in range(12)] == [0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]
    assert (await waiting.last("acme/m1"))["state"] == "submitted"
    assert waiting.counted("open") == 3


async def test_another_message_s_word_is_not_taken(waiting: Waiting, gateway: Gateway) -> None:
    """What the provider says of an id that is not this message's own changes nothing."""
    await waiting.open("listing")
    gateway.find = lambda _: Found((Receipt(ReceiptStatus.DELIVERED, "SM-other"),))
    await waiting.taken()
    assert await waiting.ask_on(HOUR + SECOND) == 1
    assert (await waiting.last("acme/m1"))["state"] == "submitted"
    assert waiting.counted("not_found") == 1


@pytest.mark.parametrize(("answer", "told"), [(NotFound(), "not_found"), (Inconclusive("no"), "failed")])
async def test_no_word_changes_nothing(
    waiting: Waiting, gateway: Gateway, answer: NotFound | Inconclusive, told: str
) -> None:
    """A provider that does not know, or cannot say, is counted."""
    await waiting.open()
    gateway.find = lambda _: answer
    await waiting.taken()
    assert await waiting.ask_on(HOUR + SECOND) == 1
    assert (await waiting.last("acme/m1"))["state"] == "submitted"
    assert waiting.counted(told) == 1


async def test_who_cannot_be_asked_is_not(waiting: Waiting, gateway: Gateway) -> None:
    """A provider without a look-up is left alone."""
    await waiting.open("none")
    await waiting.taken()
    assert await waiting.ask_on(HOUR + SECOND) == 0
    assert gateway.looked == []


async def test_one_process_asks(waiting: Waiting, gateway: Gateway) -> None:
    """Another one takes over when the first has not come back."""
    await waiting.open()
    gateway.find = lambda _: NotFound()
    await waiting.taken()
    other = waiting.another("elsewhere-1")
    assert await waiting.ask_on() == 0
    waiting.pass_time(TURN_US - SECOND)
    assert await other.ask(waiting.shard) == 0
    waiting.pass_time(HOUR)
    assert await other.ask(waiting.shard) == 1
    assert await waiting.ask_on() == 0
    assert len(gateway.looked) == 1
