"""shell/sender*.py: from the lane to the gateway and back, on a real store, over real HTTP."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from smsd.config import SandboxConfig, load
from smsd.core.outcome import Resend
from smsd.provider import Accepted, Answer, Deferred, Refused, Throttled, Unusable
from smsd.shell import live as lives
from smsd.shell import log as logs
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.sender import Sender
from smsd.shell.transport import Transport
from smsd.store import holds, keys
from smsd.store.shard import ReceiptFor
from tests.support import granting
from tests.support.gateway import Gateway, Lines, Received
from tests.support.granting import Vendor, response
from tests.support.scrape import counted
from tests.support.valkey import Valkey
from tests.support.wire import Wire
from tests.support.world import HOUR, SECOND, World

BASE = """
[store]
url = "embedded"
data_dir = "store"
[webhooks]
public_url = "https://sms.example.com"
[classes.reminder]
weight = 8
expire_after = "12h"
max_attempts = 3
backoff = ["2s", "10s"]
on_unknown = "resend"
[classes.marketing]
on_unknown = "hold"
[tenant_defaults]
limits = []
"""
ROUTE = '[routes.default]\nproviders = [{ use = "main" }]\n'
BOTH = '[routes.default]\nproviders = [{ use = "main", weight = 1000000 }, { use = "spare", weight = 0 }]\n'


class Post(World):
    """A shard with a sender on it. The shard's clock stands still; the process's does not."""

    def __init__(self, client: Redis, gateway: Gateway, folder: Path) -> None:
        super().__init__(client)
        self.gateway, self.lines, self.metrics = gateway, Lines(), Metrics()
        self._file = folder / "smsd.toml"

    def config(self, text: str) -> Any:
        self._file.write_text(text)
        return load(self._file, {})

    async def open(self, *, routes: str = ROUTE, providers: str = "", dispatch: str = "", **settings: object) -> None:
        """Publishes a config and starts the sender. `settings` are those of the provider main."""
        providers = providers or self.gateway.provider("main", **({"timeout_s": 10} | settings))
        self.text = f"{BASE}[dispatch]\nslack_ms = 1000\n{dispatch}\n{routes}{providers}"
        self.live = Live(self.config(self.text), [self.shard])
        await lives.agree(self.live)
        self.transport = Transport(self.live.barred)
        await self.transport.start()
        log = logs.setup(verbose=True, file=self.lines)
        self.sender = Sender(self.live, self.transport, self.metrics, log)
        self.running = asyncio.create_task(self.sender.run())

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.sender.drain(2)
        await self.transport.close()

    async def put_in(self, *ids: str, tenant: str = "acme", **more: Any) -> None:
        """Admits messages and rings."""
        for id_ in ids:
            assert await self.send(tenant, id_, **more) == "taken"
        self.sender.nudge("default")

    async def settled(self, count: int = 1, **fields: object) -> list[dict[str, Any]]:
        return await self.lines.until("settled", count, **fields)

    def counted(self, name: str, **labels: str) -> float:
        """A counter's or histogram's value, from what a scrape would show."""
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        return counted(self.metrics.render(), name).get(wanted, 0.0)

    async def leases(self) -> int:
        return int(await self.client.zcard(keys.key(0, "lease")))


@pytest.fixture
async def post(redis: Redis, gateway: Gateway, tmp_path: Path) -> AsyncIterator[Post]:
    post = Post(redis, gateway, tmp_path)
    yield post
    await post.close()


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with granting.vendor() as vendor:
        yield vendor


class Deaf:
    """Takes connections and never says a word, so that no TLS comes about on them."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.url = ""
        self.ends: list[asyncio.StreamWriter] = []

    def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ends.append(writer)
        self.called.set()


@pytest.fixture
async def deaf() -> AsyncIterator[Deaf]:
    deaf = Deaf()
    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        deaf.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield deaf
        for end in deaf.ends:
            end.transport.abort()


def says(*answers: Answer | bytes | None) -> Callable[[Received], Awaitable[Answer | bytes | None]]:
    """These answers one after another; from then on each message is accepted."""
    left = list(answers)

    async def reply(received: Received) -> Answer | bytes | None:
        return left.pop(0) if left else Accepted(f"id-{received.reference}")

    return reply


# ---- The usual way ---------------------------------------------------------------------------------------------------


async def test_a_message_goes_to_its_provider_and_is_submitted(post: Post, gateway: Gateway) -> None:
    """It leaves once, with our reference in the callback, and the event names the provider's id."""
    await post.open()
    await post.put_in("m1")
    line = (await post.settled())[0]
    assert gateway.received == [
        Received("main", "1.acme/m1", "+353861234567", "See you at ten.",
                 "https://sms.example.com/webhooks/main/status?ref=1.acme%2Fm1", "", 12 * 3600)
    ]  # fmt: skip
    told = await post.last("acme/m1")
    assert (told["state"], told["provider"], told["provider_id"]) == ("submitted", "main", "id-1.acme/m1")
    assert {k: line[k] for k in ("message", "tenant", "class", "provider", "attempt", "segments", "state")} == {
        "message": "acme/m1", "tenant": "acme", "class": "reminder", "provider": "main", "attempt": 1, "segments": 1,
        "state": "submitted",
    }  # fmt: skip
    assert "See you" not in str(post.lines.lines)
    assert await post.leases() == 0


async def test_what_is_settled_is_counted(post: Post) -> None:
    """Attempts by outcome, the time to the answer and the time in the queue are in the metrics."""
    await post.open()
    await post.put_in("m1", "m2")
    await post.settled(2)
    assert post.counted("smsd_attempts_total", outcome="accepted", provider="main") == 2
    assert post.counted("smsd_receipts_expected_total", provider="main") == 2
    assert post.counted("smsd_submit_seconds_count", provider="main") == 2
    assert post.counted("smsd_queue_seconds_count", **{"class": "reminder"}) == 2


async def test_a_crowd_goes_all_out(post: Post, gateway: Gateway) -> None:
    """Hundreds of messages each leave once, never more at a time than the provider's max_in_flight."""
    at_once, most = 0, 0

    async def count(received: Received) -> Answer:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return Accepted(f"id-{received.reference}")

    gateway.reply = count
    await post.open(max_in_flight=7)
    await post.put_in(*(f"m{n}" for n in range(300)))
    await post.settled(300, state="submitted")
    assert sorted(r.reference for r in gateway.received) == sorted(f"1.acme/m{n}" for n in range(300))
    assert most <= 7
    assert await post.leases() == 0


async def test_all_that_fits_starts_at_once(post: Post, gateway: Gateway) -> None:
    """One slow answer holds nobody up: the room of the provider is used."""
    together = asyncio.Barrier(20)

    async def when_all_are_there(received: Received) -> Answer:
        await together.wait()
        return Accepted(f"id-{received.reference}")

    gateway.reply = when_all_are_there
    await post.open(max_in_flight=20)
    await post.put_in(*(f"m{n}" for n in range(20)))
    assert len(await post.settled(20, state="submitted")) == 20


async def test_a_key_goes_along_where_the_provider_honours_one(post: Post, gateway: Gateway) -> None:
    """The key is told to providers with a window for it, and is the same in a second attempt."""
    gateway.reply = says(Throttled(after_s=0.001))
    await post.open(idempotency_s=3600)
    await post.put_in("m1")
    await post.settled(state="queued")
    post.pass_time(SECOND)
    post.sender.nudge()
    await post.settled(state="submitted")
    first, second = gateway.received
    assert first.key == second.key != ""
    assert (first.reference, second.reference) == ("1.acme/m1", "2.acme/m1")


async def test_a_key_that_is_over_lets_the_policy_decide(post: Post, gateway: Gateway) -> None:
    """What waited until the provider may have forgotten its key is sent again flagged, if its class wants that."""
    gateway.reply = says(None, Accepted("id-2"))
    await post.open(idempotency_s=3600)
    await post.put_in("m1")
    await post.settled(state="unknown")
    assert await post.settle(Resend("acme/m1", 0, "resend", 1, "main", "main", (), post.now)) == ["queued"]
    post.sender.nudge()
    await post.settled(state="queued")
    waiting = await post.last("acme/m1")
    assert "key was over" in waiting["detail"]
    post.sender.nudge()
    await post.settled(state="submitted")
    assert [r.reference for r in gateway.received] == ["1.acme/m1", "2.acme/m1"]
    assert waiting["possible_duplicate"] == (await post.last("acme/m1"))["possible_duplicate"] == "1"


async def test_a_key_that_is_over_sends_nothing_again(post: Post, gateway: Gateway) -> None:
    """Of a class that holds it ends by the first attempt's receipt."""
    gateway.reply = says(None)
    await post.open(idempotency_s=3600)
    await post.put_in("m1", class_="marketing")
    await post.settled(state="unknown")
    assert await post.settle(Resend("acme/m1", 0, "resend", 1, "main", "main", (), post.now)) == ["queued"]
    post.sender.nudge()
    await post.settled(2, state="unknown")
    assert len(gateway.received) == 1
    assert "key was over" in (await post.last("acme/m1"))["detail"]
    receipt = ReceiptFor("acme/m1", 1, "main", "id-1", "delivered")
    assert await post.shard.receipts([receipt]) == ["delivered"]


# ---- Each answer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "state", "reason", "heard"),
    [
        (Throttled(after_s=2), "queued", "", "throttled"),
        (Deferred("30001"), "queued", "", "deferred"),
        (Refused("bad_number", "21211"), "failed", "bad_number", "refused"),
        (Unusable("the token was refused"), "queued", "", "unusable"),
        (b"what?", "unknown", "", "unknown"),
        (b"fault in answer", "unknown", "", "unknown"),
        (b"nonsense in answer", "unknown", "", "unknown"),
        (None, "unknown", "", "unknown"),
    ],
)
async def test_each_answer_comes_to_its_state(
    post: Post, gateway: Gateway, answer: Any, state: str, reason: str, heard: str
) -> None:
    """What the provider says becomes the message's state, the log's line and the metric."""
    gateway.reply = says(answer)
    await post.open()
    await post.put_in("m1")
    line = (await post.settled())[0]
    assert (line["state"], line["reason"]) == (state, reason)
    assert (await post.last("acme/m1"))["state"] == state
    assert post.counted("smsd_attempts_total", outcome=heard, provider="main") == 1
    post.metrics.take_over(post.shard)
    finals = post.counted("smsd_messages_final_total", **{"class": "reminder", "reason": reason, "state": state})
    assert finals == (1 if state == "failed" else 0)


async def test_a_timeout_is_unknown(post: Post, gateway: Gateway) -> None:
    """A provider that takes the request and says nothing leaves the message unknown."""
    forever = asyncio.Event()

    async def silence(_: Received) -> None:
        await forever.wait()

    gateway.reply = silence
    await post.open(timeout_s=0.1)
    await post.put_in("m1")
    await post.settled(state="unknown")
    assert "no whole answer within 0.1 s" in (await post.last("acme/m1"))["detail"]


async def test_a_deferred_message_is_tried_again_when_its_time_has_come(post: Post, gateway: Gateway) -> None:
    """After its backoff the message leaves again as a second attempt."""
    gateway.reply = says(Deferred("30001"))
    await post.open()
    await post.put_in("m1")
    await post.settled(state="queued")
    post.pass_time(2 * SECOND)
    post.sender.nudge()
    await post.settled(state="submitted")
    assert [r.reference for r in gateway.received] == ["1.acme/m1", "2.acme/m1"]


async def test_a_fault_of_the_provider_before_the_request_is_a_counted_retry(post: Post, gateway: Gateway) -> None:
    """A provider that cannot write one message's request keeps nobody else from leaving."""
    await post.open()
    await post.put_in("bad", body="fault in submit")
    await post.put_in("good")
    line = (await post.settled(message="acme/bad"))[0]
    assert line["state"] == "queued"
    await post.settled(message="acme/good", state="submitted")
    assert "KeyError" in (await post.last("acme/bad"))["detail"]
    assert [r.reference for r in gateway.received] == ["1.acme/good"]


async def test_a_fault_of_our_own_keeps_no_place(post: Post, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that dies is told, its lease says that it may have left, and its place is free for others."""

    def fault(*_: object) -> Any:
        monkeypatch.undo()
        raise RuntimeError("fault")

    await post.open(max_in_flight=2)
    monkeypatch.setattr(post.sender.providers, "heard", fault)
    await post.put_in("m1")
    assert (await post.lines.until("attempt_failed"))[0]["message"] == "acme/m1"
    assert await post.leases() == 1
    assert post.sender.unsettled == 0
    await post.put_in("m2")
    await post.settled(message="acme/m2", state="submitted")


async def test_whom_the_bell_names_looks_first(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring for this process, or for all, is heeded at once; those for another one once, a little later."""
    await post.open()
    nudged: asyncio.Queue[str | None] = asyncio.Queue()
    monkeypatch.setattr(post.sender, "nudge", nudged.put_nowait)
    post.sender.ring("default", post.live.process)
    post.sender.ring("", "")
    post.sender.ring("us", "another")
    post.sender.ring("us", "another")
    assert [nudged.get_nowait(), nudged.get_nowait(), nudged.empty()] == ["default", None, True]
    assert await nudged.get() == "us"
    post.sender.ring("us", "another")
    assert (await nudged.get(), nudged.empty()) == ("us", True)


async def test_a_loop_that_fails_ends_the_part(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose leasing died does not go on as if nothing were ready: run() raises."""

    def fault(_: str) -> Any:
        raise RuntimeError("fault")

    await post.open()
    monkeypatch.setattr(post.sender.providers, "choice", fault)
    post.sender.nudge()
    with pytest.raises(RuntimeError, match="fault"):
        await post.running


# ---- More than one provider ------------------------------------------------------------------------------------------


async def two(post: Post, gateway: Gateway, **settings: object) -> None:
    providers = gateway.provider("main", **settings) + gateway.provider("spare")
    await post.open(routes=BOTH, providers=providers)


async def test_what_one_refuses_the_other_may_take(post: Post, gateway: Gateway) -> None:
    """A refusal with `elsewhere` is tried at the route's other provider at once."""
    gateway.reply = says(Refused("sender", elsewhere=True))
    await two(post, gateway)
    await post.put_in("m1")
    await post.settled(state="submitted")
    assert [r.provider for r in gateway.received] == ["main", "spare"]


async def test_a_provider_that_cannot_be_reached_costs_nothing(post: Post, gateway: Gateway) -> None:
    """Nothing left, so no attempt is counted; after a cohort of failures the other provider takes all."""
    dead = gateway.provider("main").replace(gateway.url, "http://127.0.0.1:9")
    await post.open(routes=BOTH, providers=dead + gateway.provider("spare"))
    await post.put_in(*(f"m{n}" for n in range(10)))
    await post.settled(10, state="submitted")
    assert {r.provider for r in gateway.received} == {"spare"}
    assert {r.reference.split(".")[0] for r in gateway.received} == {"1"}
    assert post.counted("smsd_attempts_total", outcome="not_started", provider="main") >= 3
    assert len(await post.lines.until("provider_dead", provider="main")) == 1
    assert post.sender.providers.dead() == ["main"]


async def test_unusable_credentials_do_not_fail_the_backlog(post: Post, gateway: Gateway) -> None:
    """Whoever is refused stops offering the provider and says so; its messages leave by the other, unpunished."""

    async def refuse(received: Received) -> Answer:
        return Unusable("no such token") if received.provider == "main" else Accepted(f"id-{received.reference}")

    gateway.reply = refuse
    await two(post, gateway)
    await post.put_in(*(f"m{n}" for n in range(5)))
    await post.settled(5, state="submitted")
    record = await post.shard.record("acme/m0")
    assert record is not None
    assert record.tries == 0
    assert (await post.lines.until("provider_stopped", provider="main"))[0]["detail"] == "no such token"


async def test_without_an_access_token_nothing_leaves(post: Post, gateway: Gateway, vendor: Vendor) -> None:
    """Whoever gives them refuses us: the provider is stopped with a clear sentence, and messages wait unharmed."""
    vendor.grant = lambda: response(401, error="invalid_client", error_description="salt")
    await post.open(token_url=f"{vendor.url}/token")
    await post.put_in("m1")
    [line] = await post.lines.until("provider_stopped", provider="main")
    host = vendor.url.removeprefix("http://")
    why = f"main: no access token: {host} answered 401 (invalid_client): are the id and the secret right?"
    assert line["detail"] == why
    [settled] = await post.settled()
    record = await post.shard.record("acme/m1")
    assert record is not None
    assert (settled["state"], record.state, record.tries, gateway.received) == ("queued", "queued", 0, [])
    vendor.grant = vendor.give
    post.pass_time(60 * SECOND)
    await post.settled(1, state="submitted")
    assert "t1" not in str(post.lines.lines)


async def test_where_tokens_come_from_may_be_dead(post: Post, gateway: Gateway, vendor: Vendor) -> None:
    """Then so is the provider, and its messages leave by the other."""
    vendor.grant = lambda: response(503)
    main = gateway.provider("main", token_url=f"{vendor.url}/token")
    await post.open(routes=BOTH, providers=main + gateway.provider("spare"))
    await post.put_in(*(f"m{n}" for n in range(5)))
    assert {line["provider"] for line in await post.settled(5, state="submitted")} == {"spare"}
    [line] = await post.lines.until("provider_dead", provider="main")
    assert line["detail"].endswith(" answered 503")


async def test_an_account_that_refuses_us_is_paused_for_all(post: Post, gateway: Gateway) -> None:
    """Trouble with the account is shared with every process, for a while."""
    gateway.reply = says(Unusable("no funds", "account"))
    await two(post, gateway)
    await post.put_in("m1")
    await post.settled(state="submitted")
    (mark,) = await holds.pauses(post.shard)
    assert (mark.what, mark.until_us, mark.reason) == ("p:main", post.now + 60 * SECOND, "no funds")


async def test_an_operators_pause_is_not_shortened(post: Post, gateway: Gateway) -> None:
    """A mark that an operator has set meanwhile stays as it is."""
    paused = asyncio.Event()

    async def no_funds(received: Received) -> Answer:
        if received.provider == "spare":
            return Accepted("id")
        await holds.pause(post.shard, "p:main", reason="by hand")
        paused.set()
        return Unusable("no funds", "account")

    gateway.reply = no_funds
    await two(post, gateway)
    await post.put_in("m1")
    await post.settled(state="submitted")
    assert paused.is_set()
    (mark,) = await holds.pauses(post.shard)
    assert (mark.until_us, mark.reason) == (0, "by hand")


async def test_who_is_dead_is_told_to_the_sweep(post: Post, gateway: Gateway) -> None:
    """A dead provider is named, so that what expires on a route of nobody else says why."""
    dead = gateway.provider("main").replace(gateway.url, "http://127.0.0.1:9")
    await post.open(providers=dead)
    await post.put_in("m1", "m2", "m3")
    await post.lines.until("provider_dead")
    assert post.sender.providers.dead() == ["main"]


async def test_a_reload_brings_routes_and_another_try(post: Post, gateway: Gateway) -> None:
    """A provider that was stopped is tried at once under a new config, and a new route is served."""
    gateway.reply = says(Unusable("no such token"))
    await post.open()
    await post.put_in("m1")
    await post.lines.until("provider_stopped")
    more = post.text + '[routes.other]\nproviders = [{ use = "main" }]\n'
    await lives.reload(post.live, post.config(more))
    await post.settled(state="submitted", message="acme/m1")
    assert await post.send("acme", "m2", route="other") == "taken"
    post.sender.nudge("other")
    await post.settled(state="submitted", message="acme/m2")


# ---- What must not leave ---------------------------------------------------------------------------------------------


async def test_a_process_that_slept_gives_back_unsent(
    post: Post, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was leased before a long stop does not leave after it, and leaves later as its first attempt."""
    await post.open()
    now = time.monotonic
    monkeypatch.setattr("smsd.shell.transport.monotonic", lambda: now() + 60.0)
    await post.put_in("m1")
    line = (await post.settled(state="queued"))[0]
    assert gateway.received == []
    assert line["attempt"] == 1
    monkeypatch.undo()
    await post.settled(state="submitted")
    assert [r.reference for r in gateway.received] == ["1.acme/m1"]


async def test_a_message_does_not_leave_after_its_deadline(post: Post, gateway: Gateway, deaf: Deaf) -> None:
    """Near the deadline the remaining time is the bound: what cannot leave in it expires."""
    silent = gateway.provider("main").replace(gateway.url, deaf.url)
    await post.open(providers=silent, dispatch="start_by_s = 60")
    await post.put_in("m1", deadline=post.now + 50_000)
    await post.lines.until("settled", message="acme/m1")
    assert gateway.received == []


async def test_a_late_start_is_counted(post: Post, gateway: Gateway) -> None:
    """A first byte that leaves later than the slack after the lease was asked for is seen in the metrics."""
    await post.open(dispatch="")
    post.live.swap(post.config(post.text.replace("slack_ms = 1000", "slack_ms = 0")), 2)
    await post.put_in("m1")
    await post.settled(state="submitted")
    assert post.counted("smsd_late_starts_total", provider="main") == 1


async def test_what_is_leased_ahead_leaves_at_its_instant(
    post: Post, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However early a lease brings it, no byte of it leaves before the limit admits it."""
    monkeypatch.setattr("smsd.shell.sender.AHEAD_US", 10_000_000)
    await post.open(limits=["20/s"])  # with the slack of these tests, one every 100 ms
    since = time.monotonic()
    await post.put_in("m1", "m2", "m3")
    await post.settled(3, state="submitted")
    assert time.monotonic() - since >= 0.2
    assert [r.reference for r in gateway.received] == ["1.acme/m1", "1.acme/m2", "1.acme/m3"]


async def test_what_would_leave_late_under_a_used_limit_is_given_back(post: Post, gateway: Gateway) -> None:
    """It is leased again at once, and after three times leaves, late or not: a slow machine is not to send nothing."""
    await post.open(limits=["20/s"])
    post.live.swap(post.config(post.text.replace("slack_ms = 1000", "slack_ms = 0")), 2)
    await post.put_in("m1")
    await post.settled(3, state="queued", message="acme/m1")
    await post.settled(state="submitted", message="acme/m1")
    assert [r.reference for r in gateway.received] == ["1.acme/m1"]
    assert post.counted("smsd_late_starts_total", provider="main") == 1
    assert not post.sender.hurried


async def test_a_used_limit_waits_for_a_connection_that_takes_longer_than_the_slack(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vendor far away is not taken for dead: the connection comes about, and the message leaves by it."""
    connect = aiohttp.TCPConnector._create_connection

    async def far(*args: Any) -> Any:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.1)
        return await connect(*args)

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", far)
    await post.open(limits=["20/s"])
    post.live.swap(post.config(post.text.replace("slack_ms = 1000", "slack_ms = 20")), 2)
    await post.put_in("m1")
    assert (await post.settled(state="queued"))[0]["attempt"] == 1
    assert (await post.settled(state="submitted"))[0]["attempt"] == 1
    assert not post.sender.providers.dead()


# ---- The store away --------------------------------------------------------------------------------------------------


@pytest.fixture
async def wire(valkey: Valkey) -> AsyncIterator[Wire]:
    wire = Wire(valkey.port)
    await wire.start()
    yield wire
    await wire.stop()


@pytest.fixture
async def torn(store_url: str, wire: Wire, gateway: Gateway, tmp_path: Path) -> AsyncIterator[Post]:
    """A post whose sender reaches the store by a wire that may break."""
    client = Redis.from_url(wire.url, retry=Retry(NoBackoff(), 0))
    post = Post(client, gateway, tmp_path)
    yield post
    await post.close()
    await client.aclose()


async def test_a_lost_lease_is_asked_for_again(torn: Post, wire: Wire, gateway: Gateway) -> None:
    """What a lost reply gave us leaves under the lease that we have, once, and nothing stays behind."""
    await torn.open()
    for id_ in ("m1", "m2"):
        await torn.send("acme", id_)
    wire.lose("lease", times=2)
    torn.sender.nudge()
    await torn.settled(2, state="submitted")
    assert wire.lost == 2
    assert sorted(r.reference for r in gateway.received) == ["1.acme/m1", "1.acme/m2"]
    assert await torn.leases() == 0
    assert torn.counted("smsd_store_errors_total", part="lease") == 2


async def test_a_lost_settle_is_written_again(torn: Post, wire: Wire) -> None:
    """A settle whose reply was lost is repeated, and changes nothing the second time."""
    await torn.open()
    wire.lose("settle")
    await torn.put_in("m1")
    await torn.settled()
    assert wire.lost == 1
    assert await torn.states("acme/m1") == ["queued", "submitted"]
    assert torn.counted("smsd_store_errors_total", part="settle") == 1


async def test_an_outcome_that_cannot_be_written_hinders_no_other(post: Post, gateway: Gateway) -> None:
    """A provider that answers with an id which is no text leaves its message to be resolved; the others are settled."""
    gateway.reply = says(b"no text in answer")
    await post.open()
    await post.put_in("bad")
    [line] = await post.settled(message="acme/bad")
    assert line["state"] == "refused"
    assert "surrogates" in (await post.lines.until("settle_failed"))[0]["error"]
    await post.put_in("good")
    await post.settled(message="acme/good", state="submitted")
    assert post.sender.unsettled == 0
    post.pass_time(HOUR)
    await post.sweep()
    assert (await post.last("acme/bad"))["state"] == "unknown"


async def test_a_skewed_clock_stops_leasing_and_says_so(post: Post) -> None:
    """While the store's clock and ours differ nothing is leased."""
    await post.open()
    post.shard.now_us, post.shard.clock_step_us = 0, 1  # they are always more than a microsecond apart
    post.sender.nudge()
    [line] = await post.lines.until("lease_failed", route="default")
    assert "CLOCK" in line["error"]
    assert await post.leases() == 0


# ---- The sandbox ---------------------------------------------------------------------------------------------------


async def test_what_the_sandbox_keeps_is_moved_to_its_route(post: Post, gateway: Gateway) -> None:
    """It goes to no provider, no attempt is counted, and the event, the log and the metric say so."""
    await post.open()
    post.live.sandbox = SandboxConfig(enabled=True, allow_to=("+35387",))
    await post.put_in("kept")
    await post.put_in("ours", to="+353871234567")
    (line,) = await post.settled(state="queued")
    assert line["message"] == "acme/kept"
    await post.settled(state="submitted")
    assert [r.to for r in gateway.received] == ["+353871234567"]
    told = await post.last("acme/kept")
    assert (told["state"], told["provider"]) == ("queued", "main")
    assert told["detail"].startswith("the sandbox is on")
    record = await post.shard.record("acme/kept")
    assert record is not None
    assert (record.route, record.attempt) == ("sandbox", 0)
    assert post.counted("smsd_attempts_total", outcome="sandboxed", provider="main") == 1


async def test_nobody_stands_in_for_the_sandbox(post: Post) -> None:
    """A message that was moved there keeps its first route's name; its providers are none of its any more."""
    await post.open(routes=BOTH, providers=post.gateway.provider("main") + post.gateway.provider("spare"))
    assert post.sender.providers.others("default", "sandbox") == ()
    assert post.sender.providers.others("default", "main") == ("spare",)


# ---- The end ---------------------------------------------------------------------------------------------------------


async def test_a_drain_waits_for_what_has_left_and_gives_back_the_rest(
    post: Post, gateway: Gateway, deaf: Deaf
) -> None:
    """The answer to what has left is settled; what waits for a connection goes back unsent; nothing new is leased."""
    let_go = asyncio.Event()

    async def slow(received: Received) -> Answer:
        await let_go.wait()
        return Accepted(f"id-{received.reference}")

    gateway.reply = slow
    silent = gateway.provider("deaf").replace(gateway.url, deaf.url)
    routes = ROUTE + '[routes.deaf]\nproviders = [{ use = "deaf" }]\n'
    await post.open(routes=routes, providers=gateway.provider("main") + silent, dispatch="start_by_s = 60")
    await post.put_in("left")
    assert await post.send("acme", "waits", route="deaf") == "taken"
    post.sender.nudge("deaf")
    await gateway.until(1)
    await deaf.called.wait()
    draining = asyncio.create_task(post.sender.drain(20))
    assert (await post.settled(message="acme/waits"))[0]["state"] == "queued"
    assert not draining.done()
    assert await post.send("acme", "later") == "taken"
    post.sender.nudge()
    let_go.set()
    await draining
    await post.running
    assert (await post.last("acme/left"))["state"] == "submitted"
    assert (await post.last("acme/later"))["state"] == "queued"
    assert [r.reference for r in gateway.received] == ["1.acme/left"]
    assert await post.leases() == 0


async def test_a_drain_ends_with_its_budget(post: Post, gateway: Gateway) -> None:
    """What has left and is not answered in time keeps its lease, whose end says that it may have left."""
    forever = asyncio.Event()

    async def silence(_: Received) -> None:
        await forever.wait()

    gateway.reply = silence
    await post.open()
    await post.put_in("m1")
    await gateway.until(1)
    before = time.monotonic()
    await post.sender.drain(0)
    assert time.monotonic() - before < 5
    assert await post.leases() == 1
    post.pass_time(HOUR)
    await post.sweep()
    assert (await post.last("acme/m1"))["state"] == "unknown"
