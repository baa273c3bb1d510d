"""shell/resolver.py: messages of unknown outcome on a real store, looked up at a gateway under a virtual clock."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from smsd.config import load
from smsd.message import Leased
from smsd.provider import Attempt, Found, HttpRequest, Inconclusive, LookUpResult, More, Receipt, ReceiptStatus
from smsd.shell import live as lives
from smsd.shell import log as logs
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.resolver import PAGES_MAX, Resolver
from smsd.shell.transport import Answered, Lost, Transport
from smsd.store import keys
from smsd.store.shard import Shard
from smsd.testing.carrier import CarrierProcess, start
from tests.support.gateway import Gateway, Lines
from tests.support.world import SECOND, World, unknown

BASE = """
[store]
url = "embedded"
data_dir = "store"
[classes.reminder]
on_unknown = "{policy}"
[tenant_defaults]
limits = []
[routes.default]
providers = [{{ use = "main" }}]
"""


class Doubts(World):
    """A shard, and a resolver that the test runs pass by pass."""

    def __init__(self, client: Redis, gateway: Gateway, folder: Path) -> None:
        super().__init__(client)
        self.gateway, self.lines, self.transport = gateway, Lines(), Transport(lambda _provider, _to: False)
        self._file = folder / "smsd.toml"

    async def open(
        self, policy: str = "resend", *, providers: str = "", env: dict[str, str] | None = None, **settings: object
    ) -> None:
        tables = providers or self.gateway.provider("main", **settings)
        self._file.write_text(BASE.format(policy=policy) + tables)
        self.live = Live(load(self._file, {}, secrets=False), [self.shard])
        await lives.agree(self.live)
        await self.transport.start()
        log = logs.setup(file=self.lines)
        self.resolver = Resolver(self.live, self.transport, Metrics(), log)

    async def doubtful(self, id_: str = "m1", **more: Any) -> Leased:
        """A message that may have left; it is to be looked at now."""
        await self.send("acme", id_, **more)
        (leased,) = await self.take(1)
        await self.settle(unknown(leased, self.now))
        return leased

    async def look(self, after_us: int = 0) -> int:
        self.pass_time(after_us)
        return await self.resolver.resolve(self.shard)


@pytest.fixture
async def doubts(redis: Redis, gateway: Gateway, tmp_path: Path) -> AsyncIterator[Doubts]:
    doubts = Doubts(redis, gateway, tmp_path)
    yield doubts
    await doubts.transport.close()


def found(*ids: str, status: ReceiptStatus = ReceiptStatus.SENT) -> Found:
    return Found(tuple(Receipt(status, provider_id) for provider_id in ids))


async def test_nothing_in_doubt_costs_one_call(doubts: Doubts, gateway: Gateway) -> None:
    """Without an unknown outcome nothing is claimed and nobody is asked."""
    await doubts.open(look_up="reference")
    assert await doubts.look() == 0
    assert gateway.looked == []


async def test_what_is_found_was_taken(doubts: Doubts, gateway: Gateway) -> None:
    """A message that the provider has becomes submitted under its id, by one look-up with our reference."""
    await doubts.open(look_up="reference")
    gateway.find = lambda _: found("SM1")
    await doubts.doubtful()
    assert await doubts.look() == 1
    told = await doubts.last("acme/m1")
    assert (told["state"], told["provider_id"]) == ("submitted", "SM1")
    assert gateway.looked == ["1.acme/m1"]
    assert (await doubts.lines.until("resolved"))[0]["found"] == "found"
    assert await doubts.look(3600 * SECOND) == 0


async def test_what_the_listing_says_ends_the_message(doubts: Doubts, gateway: Gateway) -> None:
    """A listing that already knows the message as delivered is its receipt."""
    await doubts.open(look_up="listing")
    gateway.find = lambda _: found("SM1", status=ReceiptStatus.DELIVERED)
    await doubts.doubtful()
    await doubts.look()
    assert await doubts.states("acme/m1") == ["queued", "unknown", "submitted", "delivered"]


@pytest.mark.parametrize(("look_up", "flagged"), [("listing", "1"), ("reference", None)])
@pytest.mark.parametrize("policy", ["resend", "hold"])
async def test_two_noes_send_it_again(
    doubts: Doubts, gateway: Gateway, look_up: str, flagged: str | None, policy: str
) -> None:
    """A second look ten seconds later that finds nothing either puts the message back, flagged unless it is sure."""
    await doubts.open(policy, look_up=look_up)
    await doubts.doubtful()
    assert await doubts.look() == 1
    assert (await doubts.last("acme/m1"))["state"] == "unknown"
    assert await doubts.look(9 * SECOND) == 0
    assert await doubts.look(SECOND) == 1
    told = await doubts.last("acme/m1")
    assert (told["state"], told.get("possible_duplicate")) == ("queued", flagged)
    assert len(gateway.looked) == 2
    (again,) = await doubts.take(1)
    assert again.attempt == 2


async def test_an_id_of_another_message_is_not_ours(doubts: Doubts, gateway: Gateway) -> None:
    """Of the same text to the same number, the one that is known as another message's does not count."""
    await doubts.open(look_up="listing")
    await doubts.send("acme", "twin")
    (twin,) = await doubts.take(1)
    await doubts.accept(twin, "SM-twin")
    gateway.find = lambda _: found("SM-twin")
    await doubts.doubtful("m1")
    await doubts.look()
    gateway.find = lambda _: found("SM-twin", "SM-ours")
    await doubts.look(10 * SECOND)
    assert (await doubts.last("acme/m1"))["provider_id"] == "SM-ours"
    assert await doubts.client.hget(keys.key(0, "ref"), "main/SM-twin") == b"1.acme/twin"  # pyright: ignore


async def test_an_id_of_another_shards_message_is_not_ours(doubts: Doubts, gateway: Gateway) -> None:
    """The message that an id belongs to may live in any shard."""
    await doubts.open(look_up="listing")
    doubts.live.shards.append(Shard(doubts.client, 1))
    await doubts.client.hset(keys.key(1, "ref"), "main/SM-theirs", "1.elsewhere/m1")  # pyright: ignore
    await doubts.doubtful()
    gateway.find = lambda _: found("SM-theirs", "SM-ours")
    await doubts.look()
    assert (await doubts.last("acme/m1"))["provider_id"] == "SM-ours"


async def test_an_id_of_our_own_counts(doubts: Doubts, gateway: Gateway) -> None:
    """An id that the store already knows as this very message's is no other's."""
    await doubts.open(look_up="listing")
    await doubts.doubtful()
    await doubts.client.hset(keys.key(0, "ref"), "main/SM1", "1.acme/m1")  # pyright: ignore
    gateway.find = lambda _: found("SM1")
    await doubts.look()
    assert (await doubts.last("acme/m1"))["state"] == "submitted"


async def test_a_listing_is_read_page_by_page(doubts: Doubts, gateway: Gateway) -> None:
    """Whatever page it is on, the message is found in one pass."""
    await doubts.open(look_up="reference")

    def page(reference: str) -> LookUpResult:
        if reference == "p2":
            return found("SM1")
        return More(HttpRequest("GET", f"{gateway.url}/main/look?ref=p2"))

    gateway.find = page
    await doubts.doubtful()
    await doubts.look()
    assert (await doubts.last("acme/m1"))["state"] == "submitted"
    assert gateway.looked == ["1.acme/m1", "p2"]


async def test_a_listing_without_end_is_given_up(doubts: Doubts, gateway: Gateway) -> None:
    """After so many pages the look-up has failed, and is made again later."""
    await doubts.open(look_up="reference")
    gateway.find = lambda _: More(HttpRequest("GET", f"{gateway.url}/main/look?ref=more"))
    await doubts.doubtful()
    await doubts.look()
    assert len(gateway.looked) == PAGES_MAX
    record = await doubts.shard.record("acme/m1")
    assert record is not None
    assert (record.nos, record.fails) == (0, 1)


@pytest.mark.parametrize(("policy", "state"), [("resend", "queued"), ("hold", "unknown")])
async def test_five_failures_leave_it_to_the_class(doubts: Doubts, gateway: Gateway, policy: str, state: str) -> None:
    """Look-ups that cannot be believed end with the class's policy, after the fifth."""
    await doubts.open(policy, look_up="reference")
    gateway.find = lambda _: Inconclusive("busy")
    await doubts.doubtful()
    for wait_s in (0, 10, 20, 40, 80):
        assert await doubts.look(wait_s * SECOND) == 1
    assert (await doubts.last("acme/m1"))["state"] == state
    assert await doubts.look(3600 * SECOND) == 0


async def test_a_provider_that_is_away_has_failed_the_look_up(doubts: Doubts, gateway: Gateway) -> None:
    """No connection is no answer: nothing is concluded from it."""
    await doubts.open(look_up="reference")
    await gateway.stop()
    await doubts.doubtful()
    await doubts.look()
    record = await doubts.shard.record("acme/m1")
    assert record is not None
    assert (record.state, record.nos, record.fails) == ("unknown", 0, 1)


@pytest.mark.parametrize("body", ["fault in look_up", "no text in found"])
async def test_a_fault_in_one_look_up_hinders_no_other(doubts: Doubts, gateway: Gateway, body: str) -> None:
    """A provider that fails over one message, or finds an id that is no text, has looked in vain there only."""
    await doubts.open(look_up="reference")
    gateway.find = lambda _: found("SM1")
    await doubts.doubtful("bad", body=body)
    await doubts.doubtful("good")
    assert await doubts.look() == 2
    assert (await doubts.last("acme/bad"))["state"] == "unknown"
    assert (await doubts.last("acme/good"))["state"] == "submitted"
    record = await doubts.shard.record("acme/bad")
    assert record is not None
    assert (record.nos, record.fails) == (0, 1)


async def test_a_key_is_used_before_anybody_looks(doubts: Doubts, gateway: Gateway) -> None:
    """Where the provider honours keys, the message is bound to it and goes again without a look-up."""
    await doubts.open("hold", look_up="reference", idempotency_s=3600)
    await doubts.doubtful()
    await doubts.look()
    assert (await doubts.last("acme/m1"))["state"] == "queued"
    assert await doubts.take(1, offers={"spare": (1, 10)}) == []
    doubts.pass_time(SECOND)
    (again,) = await doubts.take(1)
    assert (again.provider, again.resend) == ("main", False)  # the same request again, no doubt to be flagged
    assert gateway.looked == []


@pytest.mark.parametrize(("policy", "states"), [("resend", ["queued"]), ("hold", [])])
async def test_without_a_look_up_the_class_decides(doubts: Doubts, policy: str, states: list[str]) -> None:
    """Nothing can be asked: it is sent once more, flagged, or held."""
    await doubts.open(policy)
    await doubts.doubtful()
    await doubts.look()
    assert await doubts.states("acme/m1") == ["queued", "unknown", *states]
    assert (await doubts.last("acme/m1")).get("possible_duplicate") == ("1" if states else None)


async def test_the_policy_resends_once(doubts: Doubts) -> None:
    """A resend that stays unknown as well is held."""
    await doubts.open("resend")
    await doubts.doubtful()
    await doubts.look()
    (again,) = await doubts.take(1)
    await doubts.settle(unknown(again, doubts.now))
    await doubts.look()
    assert await doubts.states("acme/m1") == ["queued", "unknown", "queued", "unknown"]
    assert await doubts.look(3600 * SECOND) == 0


async def test_a_provider_that_was_removed_can_not_be_asked(doubts: Doubts, gateway: Gateway) -> None:
    """Whose provider is configured no more is left to the class's policy."""
    await doubts.open("hold", providers=gateway.provider("main", look_up="reference"))
    await doubts.send("acme", "m1")
    (leased,) = await doubts.take(1, offers={"gone": (1, 10)})
    await doubts.settle(unknown(leased, doubts.now))
    assert await doubts.look() == 1
    assert await doubts.look(3600 * SECOND) == 0
    assert gateway.looked == []


async def test_a_secret_that_is_not_here_leaves_it_to_others(doubts: Doubts) -> None:
    """A host that cannot read the provider's secret concludes nothing: another one may look."""
    lines = ('type = "twilio"', 'account_sid = "env:SID"', 'auth_token = "env:T"', 'base_url = "http://127.0.0.1:9"')
    await doubts.open("resend", providers="\n".join(("[providers.main]", *lines, "")))
    await doubts.doubtful()
    await doubts.look()
    record = await doubts.shard.record("acme/m1")
    assert record is not None
    assert (record.state, record.nos, record.fails) == ("unknown", 0, 0)
    assert await doubts.look(10 * SECOND) == 1


async def test_what_one_process_looks_at_no_other_claims(doubts: Doubts) -> None:
    """While a pass is under way, its messages are nobody else's."""
    await doubts.open(look_up="reference")
    await doubts.doubtful()
    claims: list[int] = []

    class Nosy(Transport):
        async def fetch(self, provider: str, request: HttpRequest, *, timeout_s: float) -> Any:
            claims.append(len(await doubts.shard.claim(10, SECOND)))
            return await doubts.transport.fetch(provider, request, timeout_s=timeout_s)

    doubts.resolver = Resolver(doubts.live, Nosy(doubts.live.barred), Metrics(), logs.logger())
    await doubts.look()
    assert claims == [0]


async def test_the_loop_passes_over_each_shard_and_bears_a_store_that_fails(doubts: Doubts, redis: Redis) -> None:
    """A pass that fails is told and made again; the loop goes on."""

    await doubts.open(look_up="reference")
    await doubts.doubtful()
    await redis.rename(keys.key(0, "unsure"), "aside")  # pyright: ignore
    await redis.set(keys.key(0, "unsure"), "of another type")
    running = asyncio.create_task(doubts.resolver.run())
    await doubts.lines.until("resolve_failed", shard=0)
    await redis.rename("aside", keys.key(0, "unsure"))  # pyright: ignore
    doubts.gateway.find = lambda _: found("SM1")
    await doubts.lines.until("resolved", found="found")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# ---- Twins: the same text to the same number, twice, at the built-in carrier -----------------------------------------

TWINS = ("acme/m1", "acme/m2")


@pytest.fixture(scope="module")
def shared_carrier() -> Iterator[CarrierProcess]:
    with start(receipt_tries=1) as running:
        yield running


@pytest.fixture
async def twins(doubts: Doubts, shared_carrier: CarrierProcess) -> "Twins":
    shared_carrier.reset()
    await doubts.open(providers=f'[providers.main]\ntype = "fake"\nbase_url = "{shared_carrier.url}"\n')
    return Twins(doubts, shared_carrier)


class Twins:
    """Messages that nobody can tell apart but by our reference, which a listing does not show."""

    def __init__(self, doubts: Doubts, carrier: CarrierProcess) -> None:
        self.doubts, self.carrier = doubts, carrier

    async def leaves(self, leased: Leased) -> bool:
        """Sends it; whether it was answered."""
        provider = self.doubts.live.config.provider("main")
        url = f"http://127.0.0.1:9/?ref={leased.reference}"
        request = provider.submit(Attempt(leased.message, leased.reference, url, "", leased.entered_us))
        sent = await self.doubts.transport.submit("main", "+353861234567", request, timeout_s=10, start_by=None)
        assert isinstance(sent, Answered | Lost)
        return isinstance(sent, Answered)

    async def lost(self, *taken: bool) -> None:
        """Both leave and no answer comes; the carrier took one, or did not."""
        for key, took in zip(TWINS, taken, strict=True):
            self.carrier.faults(reset_after=float(took), reset_before=float(not took))
            await self.doubts.send(*key.split("/"))
            (leased,) = await self.doubts.take(1)
            assert not await self.leaves(leased)
            await self.doubts.settle(unknown(leased, self.doubts.now))
        self.carrier.faults(reset_after=0, reset_before=0)

    async def matched(self) -> bool:
        """Whether each message is said to be submitted under its own one of the ids that the carrier gave."""
        taken = [line.sid for line in self.carrier.ledger() if line.sid]
        return sorted([(await self.doubts.last(key))["provider_id"] for key in TWINS]) == sorted(taken)


@pytest.mark.parametrize("most", [50, 1], ids=["in one pass", "in passes of their own"])
async def test_twins_both_taken_are_both_found(twins: Twins, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is submitted under an id of its own, and neither is sent again."""
    monkeypatch.setattr("smsd.shell.resolver.CLAIM_MAX", most)
    await twins.lost(True, True)
    assert sum([await twins.doubts.look() for _ in TWINS]) == 2
    assert [await twins.doubts.states(key) for key in TWINS] == [["queued", "unknown", "submitted"]] * 2
    assert await twins.matched()
    assert await twins.doubts.look(3600 * SECOND) == 0
    assert await twins.doubts.take(2) == []


@pytest.mark.parametrize("taken", [(True, False), (False, True)], ids=["the first", "the second"])
async def test_of_twins_one_was_taken_and_one_is_sent_again(twins: Twins, taken: tuple[bool, bool]) -> None:
    """The carrier's one text counts for one of them, and the other goes again: two texts in all, and none is lost."""
    doubts = twins.doubts
    await twins.lost(*taken)
    assert await doubts.look() == 2
    assert sorted([(await doubts.last(key))["state"] for key in TWINS]) == ["submitted", "unknown"]
    assert await doubts.look(10 * SECOND) == 1
    (again,) = await doubts.take(2)
    assert again.attempt == 2
    assert await twins.leaves(again)
    await doubts.accept(again, twins.carrier.ledger()[-1].sid or "")
    assert await twins.matched()
    assert await doubts.look(3600 * SECOND) == 0
