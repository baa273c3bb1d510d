"""Callbacks over real HTTP into a real store: who is let in, what is stored before the answer, and what comes again."""

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import aiohttp
import jwt
import msgspec
import pytest
from twilio.request_validator import RequestValidator
from yarl import URL

from smsd.config.sandbox import TOKEN as TOKEN_NAME
from smsd.control.revision import publish
from smsd.core.outcome import Accepted
from smsd.message import Message, Send
from smsd.shell import server as serving
from smsd.shell import webhooks_store as storing
from smsd.shell.documents import FETCH_S, Documents
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.server import BODY_MAX, Reply, Request, Response
from smsd.shell.transport import Transport
from smsd.shell.webhooks import RETRY_AFTER_S, Called, Webhooks, read_path
from smsd.store import keys
from smsd.store.connect import Store, connect
from smsd.store.shard import Offer, Shard
from smsd_providers.fake import ACCOUNT_SID, AUTH_TOKEN
from tests.support import config as configs
from tests.support.logs import Logs
from tests.support.scrape import counted
from tests.support.serving import served
from tests.support.valkey import Valkey

PUBLIC = "https://sms.example.com/edge"
MORE = """
[tenants.acme]
sender = "+353861111111"
[tenants.other]
sender = "+353862222222"
[tenants.twin]
sender = "+353862222222"

[providers.gateway]
type = "http"
url = "https://gateway.example.com/send"
id_at = "/id"
fields = { to = "{to}", text = "{body}" }
[providers.gateway.receipts]
format = "json"
list_at = "/all"
id_at = "/id"
reference_at = "/ref"
status_at = "/status"
statuses = { ok = "delivered", no = "undelivered" }
[providers.gateway.callbacks]
by = "path"
secrets = ["env:GATEWAY_TOKEN"]
"""
TOKEN = "a-long-token"


class Answer(NamedTuple):
    """An HTTP answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Edge:
    """The callbacks' server over one store, its log and metrics, and a client."""

    def __init__(self, store: Store, live: Live, url: str, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self.store, self.live, self.url, self.session, self.metrics = store, live, url, session, metrics
        self.logs = Logs()
        self.transport = Transport(live.barred)
        documents = Documents(partial(self.transport.fetch, timeout_s=FETCH_S))
        self.hooks = Webhooks(live, metrics, documents, self.logs.logger)

    async def call(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        """A POST of raw bytes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(URL(self.url + path, encoded=True), data=body, headers=named) as response:
            return Answer(response.status, response.headers, await response.read())

    async def told(self, path: str, **fields: str) -> Answer:
        """A callback as the built-in carrier signs it."""
        form = {"AccountSid": ACCOUNT_SID, **fields}
        signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + path, form)
        body = urlencode(form).encode()
        return await self.call(
            path, body, X_Twilio_Signature=signature, Content_Type="application/x-www-form-urlencoded"
        )

    async def receipt(self, sid: str, status: str, reference: str = "") -> Answer:
        """A signed receipt."""
        ref = f"?ref={quote(reference, safe='')}" if reference else ""
        return await self.told(f"/webhooks/main/status{ref}", MessageSid=sid, MessageStatus=status)

    async def submitted(self, *ids: str, tenant: str = "acme", provider: str = "main") -> list[str]:
        """Messages that a provider has taken, with provider ids after `sid`; returns our references."""
        shard = self.live.shard_of(tenant)
        far = time.time_ns() // 1000 + 3600 * 10**6
        messages = [
            Message(tenant, id_, "+353861234567", "Salon", "Hello", "reminder", "default", "GSM-7", 1, "IE")
            for id_ in ids
        ]
        await shard.admit([Send(m, "", m.id, 0, far) for m in messages], "reminder", from_inbox=False)
        references: list[str] = []
        while len(references) < len(ids):  # no more at once than the provider's max_in_flight
            offers = [Offer(provider, 1, 100)]
            request = f"r{ids[0]}-{len(references)}"
            got = await shard.lease("default", offers, n=100, request=request, process="p", span_us=10**7)
            await shard.settle(
                [
                    Accepted(one.message.key, one.fence, "accepted", one.attempt, provider, sid(one.message.id))
                    for one in got.messages
                ]
            )
            references += [one.reference for one in got.messages]
        return references

    async def state(self, key: str) -> str:
        record = await self.live.shard_of(key.partition("/")[0]).record(key)
        return record.state if record else "none"

    def counted(self, metric: str) -> dict[str, float]:
        """The counter's values by their labels, as they are written."""
        return counted(self.metrics.render(), metric)


def sid(id_: str) -> str:
    """A carrier's id for one of ours."""
    return "SM" + id_.encode().hex().rjust(32, "0")


Make = Callable[..., Any]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Serves callbacks over the store of a url: `await make(url, shards=1)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def one(
            url: str, shards: int = 1, extra: str = "", env: Mapping[str, str] | None = None, proxies: str = "[]"
        ) -> Edge:
            env = {**os.environ, "GATEWAY_TOKEN": TOKEN, **(env or {})}
            config = configs.config(
                tmp_path, env=env, extra=MORE + extra, public_url=PUBLIC, limit="100000/s", proxies=proxies
            )
            store = connect(url)
            stack.push_async_callback(store.aclose)
            live = Live(config, [Shard(store.client, n) for n in range(shards)])
            await publish(config, live.shards)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            edge = Edge(store, live, "", session, Metrics())
            await edge.transport.start()
            stack.push_async_callback(edge.transport.close)
            _, at = await stack.enter_async_context(served(edge.hooks.handle))
            edge.url = f"http://{at}"
            return edge

        yield one


@pytest.fixture
async def edge(make: Make, store_url: str) -> Edge:
    """One shard on the shared server."""
    return await make(store_url)


# ---- Receipts --------------------------------------------------------------------------------------------------------


async def test_a_receipt_ends_its_message_before_the_answer(edge: Edge) -> None:
    """204 means that the store has it: the message is delivered, counted, and its time to the receipt measured."""
    [reference] = await edge.submitted("m1")
    response = await edge.receipt(sid("m1"), "delivered", reference)
    assert (response.status, response.body) == (204, b"")
    assert await edge.state("acme/m1") == "delivered"
    assert edge.counted("smsd_receipts_total") == {'outcome="delivered",provider="main"': 1.0}
    edge.metrics.take_over(edge.live.shards[0])
    assert edge.counted("smsd_receipt_seconds_count") == {'provider="main"': 1.0}


async def test_a_receipt_without_our_reference_is_found_by_the_providers_id(make: Make, store_url: str) -> None:
    """In whichever shard the message lives, the carrier's id alone finds it."""
    edge = await make(store_url, shards=4)
    tenants = ["acme", "b", "c", "d", "e"]
    assert len({edge.live.shard_of(tenant).number for tenant in tenants}) > 1
    for tenant in tenants:
        await edge.submitted(f"m-{tenant}", tenant=tenant)
        assert (await edge.receipt(sid(f"m-{tenant}"), "delivered")).status == 204
        assert await edge.state(f"{tenant}/m-{tenant}") == "delivered"
    assert edge.counted("smsd_receipts_total") == {'outcome="delivered",provider="main"': len(tenants)}


async def test_receipts_that_come_together_are_all_stored(edge: Edge) -> None:
    """Three hundred callbacks at once, more than one call of the store takes, each end their own message."""
    ids = [f"m{i}" for i in range(300)]
    references = [one for at in range(0, 300, 100) for one in await edge.submitted(*ids[at : at + 100])]
    by_id = {reference.rpartition("/")[2]: reference for reference in references}
    answers = await asyncio.gather(*(edge.receipt(sid(id_), "delivered", by_id[id_]) for id_ in ids))
    assert {answer.status for answer in answers} == {204}
    assert {await edge.state(f"acme/{id_}") for id_ in ids} == {"delivered"}


async def test_a_repeat_changes_nothing(edge: Edge) -> None:
    """A receipt that is told twice is answered alike, and counted as a repeat."""
    [reference] = await edge.submitted("m1")
    await edge.receipt(sid("m1"), "delivered", reference)
    events = await edge.store.client.xlen(keys.key(0, "events"))
    assert (await edge.receipt(sid("m1"), "delivered", reference)).status == 204
    assert await edge.store.client.xlen(keys.key(0, "events")) == events
    assert 'outcome="repeated",provider="main"' in edge.counted("smsd_receipts_total")


@pytest.mark.parametrize(
    "reference", ["1.acme/none", "0.acme/m1", "1.acme", "x", "1.a b/m1", "1." + "a" * 65 + "/m1", "99.acme/m1"]
)
async def test_a_receipt_that_nobody_waits_for_is_taken(edge: Edge, reference: str) -> None:
    """A signed receipt with a reference that leads nowhere is answered 204, lest it come again, and does no harm."""
    await edge.submitted("m1")
    assert (await edge.receipt("SM" + "f" * 32, "delivered", reference)).status == 204
    assert await edge.state("acme/m1") == "submitted"


async def test_a_status_that_changes_nothing_here_is_taken(edge: Edge) -> None:
    """`sent` is noted, and the message goes on waiting for its end."""
    [reference] = await edge.submitted("m1")
    assert (await edge.receipt(sid("m1"), "sent", reference)).status == 204
    assert await edge.state("acme/m1") == "submitted"
    assert edge.counted("smsd_receipts_total") == {'outcome="noted",provider="main"': 1.0}


async def test_many_receipts_in_one_callback(edge: Edge) -> None:
    """A gateway that tells several at once, with its secret in the path, is answered when all of them are stored."""
    one, two = await edge.submitted("m1", "m2", provider="gateway")
    body = f'{{"all": [{{"id": "a", "ref": "{one}", "status": "ok"}}, {{"id": "b", "ref": "{two}", "status": "no"}}]}}'
    assert (await edge.call(f"/webhooks/gateway/{TOKEN}/status", body.encode())).status == 204
    assert [await edge.state(f"acme/{one.rpartition('/')[2]}"), await edge.state(f"acme/{two.rpartition('/')[2]}")] == [
        "delivered",
        "undelivered",
    ]
    assert (await edge.call("/webhooks/gateway/wrong-token/status", body.encode())).status == 403


async def test_a_provider_tells_of_its_own_attempts_only(edge: Edge) -> None:
    """A receipt that refers to an attempt of another provider is taken, counted as nobody's, and changes nothing."""
    [reference] = await edge.submitted("m1")
    body = f'{{"all": [{{"id": "a", "ref": "{reference}", "status": "ok"}}]}}'
    assert (await edge.call(f"/webhooks/gateway/{TOKEN}/status", body.encode())).status == 204
    assert await edge.state("acme/m1") == "submitted"
    assert edge.counted("smsd_receipts_total") == {'outcome="orphan",provider="gateway"': 1.0}


# ---- Who is not let in -----------------------------------------------------------------------------------------------


async def test_a_forged_callback_changes_nothing(edge: Edge) -> None:
    """Without the right signature the answer is a bare 403, which is counted, and the log hints once at public_url."""
    [reference] = await edge.submitted("m1")
    path = f"/webhooks/main/status?ref={quote(reference, safe='')}"
    body = urlencode({"AccountSid": ACCOUNT_SID, "MessageSid": sid("m1"), "MessageStatus": "delivered"}).encode()
    for signature in ({}, {"X_Twilio_Signature": "AAAA"}):
        response = await edge.call(path, body, **signature)
        assert (response.status, response.body) == (403, b"")
    assert await edge.state("acme/m1") == "submitted"
    assert edge.counted("smsd_receipts_total") == {'outcome="forged",provider="main"': 2.0}
    assert [line["detail"] for line in edge.logs.lines] == ["the proof fails: is public_url what the provider calls?"]


async def test_the_host_header_is_not_believed(edge: Edge) -> None:
    """A signature over the URL that the caller claims by its headers does not count, only one over public_url's."""
    form = {"AccountSid": ACCOUNT_SID, "MessageSid": "SM1", "MessageStatus": "delivered"}
    signature = RequestValidator(AUTH_TOKEN).compute_signature("https://evil.example.com/webhooks/main/status", form)
    response = await edge.call(
        "/webhooks/main/status",
        urlencode(form).encode(),
        X_Twilio_Signature=signature,
        Host="evil.example.com",
        X_Forwarded_Host="evil.example.com",
        X_Forwarded_Proto="https",
    )
    assert response.status == 403


async def test_the_proxy_may_leave_the_prefix_in_place(edge: Edge) -> None:
    """Whether or not the proxy cuts off the path of public_url, the same URL is checked."""
    [reference] = await edge.submitted("m1")
    path = f"/webhooks/main/status?ref={quote(reference, safe='')}"
    form = {"AccountSid": ACCOUNT_SID, "MessageSid": sid("m1"), "MessageStatus": "delivered"}
    signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + path, form)
    assert (await edge.call("/edge" + path, urlencode(form).encode(), X_Twilio_Signature=signature)).status == 204
    assert await edge.state("acme/m1") == "delivered"


PLAIN = """
[providers.plain]
type = "kannel"
base_url = "http://127.0.0.1:13013/cgi-bin/sendsms"
username = "smsd"
password = "env:GATEWAY_TOKEN"
callback_networks = {networks}
callbacks = {callbacks}
"""
BEHIND_PROXY = {"networks": '["192.0.2.0/24", "2001:db8::/32"]', "callbacks": '{ by = "network" }'}
SECRET_TOO = '{ by = "query", name = "token", secrets = ["env:GATEWAY_TOKEN"] }'


async def plain(make: Make, store_url: str, **keys: str) -> tuple[Edge, str]:
    """An edge with a gateway that signs nothing, behind a proxy on loopback, and the path of a receipt of it."""
    edge = await make(store_url, extra=PLAIN.format(**{**BEHIND_PROXY, **keys}), proxies='["127.0.0.0/8"]')
    [reference] = await edge.submitted("m1", provider="plain")
    return edge, f"/webhooks/plain/status?ref={quote(reference, safe='')}&type=1"


@pytest.mark.parametrize("caller", ["192.0.2.7", "203.0.113.9, 192.0.2.7", "::ffff:192.0.2.7", "[2001:db8::7]:8080"])
async def test_where_nothing_is_signed_the_network_is_the_proof(make: Make, store_url: str, caller: str) -> None:
    """From the networks that the operator names, as the trusted proxy tells, a receipt is taken."""
    edge, path = await plain(make, store_url)
    assert (await edge.call(path, X_Forwarded_For=caller)).status == 204
    assert await edge.state("acme/m1") == "delivered"


@pytest.mark.parametrize("caller", ["203.0.113.9", "192.0.2.7, 203.0.113.9", "192.0.2.7, unknown", ""])
async def test_a_callback_from_elsewhere_is_forged(make: Make, store_url: str, caller: str) -> None:
    """It is a bare 403, is counted, changes nothing, and the log says where it came from and what would mend it."""
    edge, path = await plain(make, store_url)
    headers = {"X_Forwarded_For": caller} if caller else {}
    response = await edge.call(path, b"", **headers)
    assert (response.status, response.body) == (403, b"")
    assert await edge.state("acme/m1") == "submitted"
    assert edge.counted("smsd_receipts_total") == {'outcome="forged",provider="plain"': 1.0}
    [line] = edge.logs.lines
    assert re.search("it comes from .*, outside callback_networks; .*trusted_proxies", line["detail"])


async def test_no_proxy_is_trusted_by_itself(make: Make, store_url: str) -> None:
    """Without trusted_proxies the header says nothing, whoever sends it; the address of the connection counts."""
    edge = await make(store_url, extra=PLAIN.format(**BEHIND_PROXY))
    assert (await edge.call("/webhooks/plain/status?ref=x&type=1", X_Forwarded_For="192.0.2.7")).status == 403
    near = {**BEHIND_PROXY, "networks": '["127.0.0.1"]'}
    edge = await make(store_url, extra=PLAIN.format(**near))
    [reference] = await edge.submitted("m2", provider="plain")
    path = f"/webhooks/plain/status?ref={quote(reference, safe='')}&type=1"
    assert (await edge.call(path, X_Forwarded_For="203.0.113.9")).status == 204


async def test_network_and_secret_must_both_hold(make: Make, store_url: str) -> None:
    """Each alone is refused: the network is an addition to what else proves a callback."""
    edge, path = await plain(make, store_url, callbacks=SECRET_TOO)
    assert (await edge.call(path, X_Forwarded_For="192.0.2.7")).status == 403
    assert (await edge.call(f"{path}&token={TOKEN}", X_Forwarded_For="203.0.113.9")).status == 403
    assert await edge.state("acme/m1") == "submitted"
    assert (await edge.call(f"{path}&token={TOKEN}", X_Forwarded_For="192.0.2.7")).status == 204


@pytest.mark.parametrize(
    "path", ["/webhooks/nobody/status", "/webhooks/", "/webhooks", "/", "/webhooks/main/a/b/status", "/metrics"]
)
async def test_an_unknown_path_is_not_found(edge: Edge, path: str) -> None:
    """A provider that is not configured, and any other path, are a bare 404."""
    response = await edge.call(path, b"x")
    assert (response.status, response.body) == (404, b"")


async def test_a_provider_that_was_put_in_force_a_moment_ago_is_known(edge: Edge, tmp_path: Path) -> None:
    """Another process has sent by it already: its receipt is taken by one that has not followed the config yet."""
    [reference] = await edge.submitted("m1", provider="spare")
    told = partial(
        edge.told, f"/webhooks/spare/status?ref={quote(reference, safe='')}", MessageSid=sid("m1"),
        MessageStatus="delivered",
    )  # fmt: skip
    assert (await told()).status == 404
    spare = '[providers.spare]\ntype = "fake"\nbase_url = "http://127.0.0.1:9"\n'
    await publish(configs.config(tmp_path, extra=spare, public_url=PUBLIC), edge.live.shards)
    assert (await told()).status == 204
    assert await edge.state("acme/m1") == "delivered"


async def test_an_unknown_provider_while_the_store_is_away_is_asked_to_come_again(
    make: Make, start_valkey: Callable[..., Valkey]
) -> None:
    """503: whether somebody has put it in force cannot be told."""
    server = start_valkey()
    edge = await make(server.url)
    server.stop()
    response = await edge.call("/webhooks/nobody/status", b"x")
    assert (response.status, response.headers["Retry-After"]) == (503, str(RETRY_AFTER_S))


async def test_what_cannot_be_read_is_told_apart_from_forgery(edge: Edge) -> None:
    """A signed callback that is no receipt is 400 and counted as unreadable."""
    assert (await edge.told("/webhooks/main/status", MessageSid="SM1")).status == 400
    assert edge.counted("smsd_receipts_total") == {'outcome="unreadable",provider="main"': 1.0}


async def test_other_methods_are_refused(edge: Edge) -> None:
    """Only GET and POST are callbacks; a GET without proof is forged."""
    async with edge.session.put(edge.url + "/webhooks/main/status") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, POST")
    async with edge.session.get(edge.url + "/webhooks/main/status") as response:
        assert response.status == 403


async def test_a_large_body_is_refused_unread(edge: Edge) -> None:
    """More than 64 KB is 413, whether the length is declared, or found out while reading."""
    assert (await edge.call("/webhooks/main/status", b"x" * (BODY_MAX + 1))).status == 413

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1024

    with contextlib.suppress(aiohttp.ClientConnectionError):  # the connection ends under the writer
        async with edge.session.post(edge.url + "/webhooks/main/status", data=pieces()) as response:
            assert response.status == 413
    assert edge.counted("smsd_receipts_total") == {'outcome="too_large",provider="main"': 2.0}


async def test_a_body_of_the_allowed_size_in_pieces_is_read(edge: Edge) -> None:
    """What comes slowly and in pieces is read whole before it is judged."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(BODY_MAX // 1024):
            yield b"x" * 1024
            await asyncio.sleep(0)

    async with edge.session.post(edge.url + "/webhooks/main/status", data=pieces()) as response:
        assert response.status == 403


async def test_a_body_that_does_not_come_is_given_up(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that declares a body and sends none is answered 408 and hung up on."""
    monkeypatch.setattr(serving, "READ_S", 0.05)
    host, _, port = edge.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /webhooks/main/status HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_provider_that_fails_is_told_again_and_logged_once(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in a provider's own code is 503, lest the receipt be lost, and does not fill the log."""

    def fail(_provider: object, _callback: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(edge.live.config.provider("main")), "receipts", fail)
    assert [(await edge.receipt("SM1", "delivered")).status for _ in range(3)] == [503, 503, 503]
    assert [line["exc_info"] for line in edge.logs.lines] == [True]


# ---- When the store does not take it ---------------------------------------------------------------------------------


async def test_a_store_that_is_away_asks_for_a_repeat(make: Make, start_valkey: Callable[..., Valkey]) -> None:
    """While the store is down the answer is 503 with Retry-After, and when it is back the repeat is taken."""
    server = start_valkey(appendonly=True, fsync="always")
    edge = await make(server.url)
    [reference] = await edge.submitted("m1")
    server.kill()
    response = await edge.receipt(sid("m1"), "delivered", reference)
    assert (response.status, response.headers["Retry-After"]) == (503, str(RETRY_AFTER_S))
    server.start()
    assert (await edge.receipt(sid("m1"), "delivered", reference)).status == 204
    assert await edge.state("acme/m1") == "delivered"
    assert edge.counted("smsd_receipts_total")['outcome="unavailable",provider="main"'] == 1.0


async def test_a_store_that_is_slow_asks_for_a_repeat(
    make: Make, start_valkey: Callable[..., Valkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that stands still is waited for no longer than a second, and a late write does no harm."""
    monkeypatch.setattr(storing, "STORE_S", 0.2)
    server = start_valkey()
    edge = await make(server.url)
    [reference] = await edge.submitted("m1")
    os.kill(server.pid, signal.SIGSTOP)
    answers = await asyncio.gather(
        *(edge.receipt(sid("m1"), "delivered", reference) for _ in range(5)),
        edge.told("/webhooks/main/inbound", MessageSid="SM2", From="+353861234567", To="Salon", Body="Yes"),
    )
    assert {answer.status for answer in answers} == {503}
    os.kill(server.pid, signal.SIGCONT)
    monkeypatch.undo()
    assert (await edge.receipt(sid("m1"), "delivered", reference)).status == 204
    assert await edge.state("acme/m1") == "delivered"


async def test_what_waits_for_the_store_is_bounded(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """More receipts than the bound are asked to come again at once, instead of filling the memory."""
    monkeypatch.setattr(storing, "WAITING_MAX", 0)
    assert (await edge.receipt("SM1", "delivered", "1.acme/m1")).status == 503


async def test_one_receipt_that_the_store_cannot_take_holds_up_no_other(edge: Edge) -> None:
    """A message whose record is spoilt costs its own callback only."""
    references = await edge.submitted("m1", "m2", "m3")
    await edge.store.client.hset(keys.key(0, "msg"), "acme/m2", b"\xc1")
    answers = await asyncio.gather(*(edge.receipt(sid(one.rpartition("/")[2]), "delivered", one) for one in references))
    assert sorted(answer.status for answer in answers) == [204, 204, 503]
    assert [await edge.state("acme/m1"), await edge.state("acme/m3")] == ["delivered", "delivered"]


async def test_the_sandbox_s_carrier_is_known_by_its_token_and_its_way(make: Make, store_url: str) -> None:
    """Its receipts are signed for the way over loopback with this host's token; what the public way signs, or the
    token that is in the code, is forged.
    """
    edge = await make(store_url, extra="[sandbox]\nenabled = true\n", env={TOKEN_NAME: "host's own"})
    edge.live.loopback = edge.url
    (reference,) = await edge.submitted("m1", provider="sandbox")
    path = f"/webhooks/sandbox/status?ref={quote(reference, safe='')}"
    form = {"AccountSid": ACCOUNT_SID, "MessageSid": sid("m1"), "MessageStatus": "delivered"}
    for token, url, status in (
        (AUTH_TOKEN, edge.url, 403), ("host's own", PUBLIC, 403), ("host's own", edge.url, 204),
    ):  # fmt: skip
        assert await edge.state("acme/m1") == "submitted"
        proof = RequestValidator(token).compute_signature(url + path, form)
        answer = await edge.call(
            path, urlencode(form).encode(), X_Twilio_Signature=proof,
            Content_Type="application/x-www-form-urlencoded",
        )  # fmt: skip
        assert answer.status == status
    assert await edge.state("acme/m1") == "delivered"


async def test_without_the_sandbox_there_is_no_such_provider(edge: Edge) -> None:
    """While it is off its path is unknown, so that nobody outside can tell of receipts by it."""
    assert (await edge.call("/webhooks/sandbox/status?ref=1.acme%2Fm1", b"a=1")).status == 404


VONAGE = """
[providers.von]
type = "vonage"
api_key = "env:GATEWAY_TOKEN"
api_secret = "env:GATEWAY_TOKEN"
signature_secret = ["env:VONAGE_KEY"]
"""
VONAGE_KEY = "v" * 32


async def vonage(edge: Edge, path: str, age_s: int = 0, **fields: str) -> int:
    """A callback as Vonage signs it, `age_s` ago; how it was answered."""
    body = msgspec.json.encode(fields)
    claims = {"iat": int(time.time()) - age_s, "payload_hash": hashlib.sha256(body).hexdigest()}
    token = jwt.encode(claims, VONAGE_KEY, "HS256")
    return (await edge.call(path, body, Authorization=f"Bearer {token}", Content_Type="application/json")).status


async def known(edge: Edge, key: str) -> tuple[int, object]:
    """How many events there are, and the message's record without its history."""
    record = await edge.live.shards[0].record(key)
    assert record is not None
    return await edge.store.client.xlen(keys.key(0, "events")), msgspec.structs.replace(record, hist="")


@pytest.mark.parametrize("first", ["undeliverable", "rejected", "submitted", "delivered"])
async def test_a_callback_of_yesterday_is_taken_and_its_replay_changes_nothing(
    make: Make, store_url: str, first: str
) -> None:
    """Vonage tries for a day: what it signed then is believed, and told again it makes no event and no other state."""
    edge = await make(store_url, extra=VONAGE, env={"VONAGE_KEY": VONAGE_KEY})
    [reference] = await edge.submitted("m1", provider="von")
    told = {"message_uuid": sid("m1"), "client_ref": reference, "status": first}
    assert await vonage(edge, "/webhooks/von/status", age_s=86_000, **told) == 204
    assert await vonage(edge, "/webhooks/von/status", **{**told, "status": "delivered"}) == 204
    assert await edge.state("acme/m1") == "delivered"
    before = await known(edge, "acme/m1")
    assert await vonage(edge, "/webhooks/von/status", age_s=86_000, **told) == 204
    assert await known(edge, "acme/m1") == before
    assert await vonage(edge, "/webhooks/von/status", age_s=87_000, **told) == 403


async def test_a_receipt_cannot_be_pointed_at_another_message(make: Make, store_url: str) -> None:
    """Vonage signs the body alone: whatever the URL says, the receipt is of the message that the body names."""
    edge = await make(store_url, extra=VONAGE, env={"VONAGE_KEY": VONAGE_KEY})
    one, other = await edge.submitted("m1", "m2", provider="von")
    path = f"/webhooks/von/status?ref={quote(other, safe='')}"
    assert await vonage(edge, path, message_uuid=sid("m1"), status="delivered") == 204
    assert [await edge.state("acme/m1"), await edge.state("acme/m2")] == ["delivered", "submitted"]
    assert await vonage(edge, path, message_uuid="u-9", status="delivered", client_ref=one) == 204
    assert await edge.state("acme/m2") == "submitted"


# ---- Texts that people send ------------------------------------------------------------------------------------------


async def _texts(edge: Edge, shard: int = 0) -> Sequence[dict[bytes, bytes]]:
    entries: Any = await edge.store.client.xrange(keys.key(shard, "inbound"))
    return [fields for _, fields in entries]


async def test_a_text_comes_to_the_inbound_stream(edge: Edge) -> None:
    """A signed text is in the stream with the contract's fields, for the tenant whose number was texted."""
    response = await edge.told(
        "/webhooks/main/inbound",
        MessageSid="SM7",
        From="+353861234567",
        To="+353861111111",
        Body="Yes ✓",
        NumSegments="2",
    )
    assert response.status == 204
    [fields] = await _texts(edge)
    assert abs(int(fields.pop(b"at")) - time.time() * 1000) < 60_000
    assert {name.decode(): value.decode() for name, value in fields.items()} == {
        "v": "1",
        "provider": "main",
        "provider_id": "SM7",
        "from": "+353861234567",
        "to": "+353861111111",
        "body": "Yes ✓",
        "parts": "2",
        "tenant": "acme",
        "in_reply_to": "",
        "intent": "confirm",
        "opt_out": "",
    }
    assert edge.counted("smsd_inbound_total") == {'intent="confirm",provider="main"': 1.0}


async def test_a_text_goes_to_its_tenants_shard(make: Make, store_url: str) -> None:
    """The tenant's shard has it; shard 0 those whose tenant cannot be told."""
    edge = await make(store_url, shards=4)
    home = edge.live.shard_of("acme").number
    assert home != 0
    for n, to in enumerate(("+353861111111", "+353862222222", "+353869999999")):
        await edge.told("/webhooks/main/inbound", MessageSid=f"SM{n}", From="+353861234567", To=to, Body="Yes")
    assert [fields[b"tenant"] for fields in await _texts(edge, home)] == [b"acme"]
    assert [(fields[b"to"], fields[b"tenant"]) for fields in await _texts(edge)] == [
        (b"+353862222222", b""),
        (b"+353869999999", b""),
    ]


async def test_a_forged_text_is_not_written(edge: Edge) -> None:
    """The proof is wanted for texts as for receipts."""
    body = urlencode({"AccountSid": ACCOUNT_SID, "MessageSid": "SM7", "From": "+353861234567", "Body": "x"}).encode()
    assert (await edge.call("/webhooks/main/inbound", body, X_Twilio_Signature="AAAA")).status == 403
    assert await _texts(edge) == []


# ---- Paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "public", "called"),
    [
        ("/webhooks/main/status", "https://h", Called("main", "status", "https://h/webhooks/main/status")),
        ("/webhooks/main/inbound", "https://h", Called("main", "inbound", "https://h/webhooks/main/inbound")),
        ("/webhooks/main", "https://h", Called("main", "status", "https://h/webhooks/main")),
        ("/webhooks/main/tok/inbound", "https://h", Called("main", "inbound", "https://h/webhooks/main/tok/inbound")),
        ("/webhooks/main/tok", "https://h", Called("main", "status", "https://h/webhooks/main/tok")),
        ("/x/y/webhooks/main", "https://h/x/y", Called("main", "status", "https://h/x/y/webhooks/main")),
        ("/webhooks/main", "https://h/x/y", Called("main", "status", "https://h/x/y/webhooks/main")),
        ("/webhooks/webhooks/a", "https://h/webhooks", Called("a", "status", "https://h/webhooks/webhooks/a")),
        ("/webhooks/a", "https://h/webhooks", Called("a", "status", "https://h/webhooks/webhooks/a")),
        ("/webhooks/main/status", "", Called("main", "status", "/webhooks/main/status")),
        ("/webhooks//status", "https://h", None),
        ("/webhooks/main//status", "https://h", None),
        ("/webhooks/main/a/b/status", "https://h", None),
        ("http://h/webhooks/main/status", "https://h", None),
        ("/other", "https://h", None),
    ],
)
def test_a_path_is_read(path: str, public: str, called: Called | None) -> None:
    """Provider, kind and the URL that the provider knows are told with and without token, suffix and public prefix,
    and nothing else is a callback.
    """
    assert read_path(path, public) == called


# ---- Proofs that need a document, and handshakes ---------------------------------------------------------------------


@pytest.fixture
async def certified(make: Make, store_url: str) -> AsyncIterator[tuple[Edge, list[str]]]:
    """An edge with a provider whose document says `proof`, and what its site was asked for."""
    asked: list[str] = []

    def handle(request: Request, _: Reply) -> Response:
        asked.append(request.target)
        return Response(404) if request.target == "/gone" else Response(200, (), b"proof")

    async with served(handle) as (_, at):
        tables = "".join(
            f'\n[providers.{name}]\ntype = "tests.support.certified:Certified"\n'
            f'document = "http://{at}/{document}"\nconfirm = "http://{at}/confirm"\n'
            for name, document in (("certified", "cert"), ("lost", "gone"))
        )
        yield await make(store_url, extra=tables), asked


async def test_a_proof_that_needs_a_document_gets_it_once(certified: tuple[Edge, list[str]]) -> None:
    """The first callback waits for the document, the next ones find it there; a forgery is a forgery."""
    edge, asked = certified
    answers = [await edge.call("/webhooks/certified/status", body) for body in (b"proof PM1", b"proof PM2", b"no PM3")]
    assert [answer.status for answer in answers] == [204, 204, 403]
    assert asked == ["/cert"]


async def test_a_proof_whose_document_is_away_is_asked_again(certified: tuple[Edge, list[str]]) -> None:
    """The vendor repeats what we could not judge."""
    edge, _ = certified
    assert (await edge.call("/webhooks/lost/status", b"proof PM1")).status == 503
    assert (await edge.call("/webhooks/lost/inbound", b"proof PM1")).status == 503


async def test_a_handshake_is_confirmed_and_answered(certified: tuple[Edge, list[str]]) -> None:
    """Only a proven greeting makes us call the vendor, and its answer is the provider's."""
    edge, asked = certified
    assert (await edge.call("/webhooks/certified/status", b"no hello")).status == 403
    assert "/confirm" not in asked
    answer = await edge.call("/webhooks/certified/status", b"proof hello")
    assert (answer.status, answer.body) == (200, b"welcome")
    assert asked[-1] == "/confirm"


GRID = """
[providers.grid]
type = "azure"
base_url = "https://res.communication.azure.com"
access_key = "env:GRID_KEY"
callbacks = { by = "query", name = "code", secrets = ["env:GATEWAY_TOKEN"] }
"""
CLOUD_EVENT = (
    '{"specversion": "1.0", "type": "Microsoft.Communication.SMSDeliveryReportReceived", "data":'
    ' {"messageId": "g1", "deliveryStatus": "Delivered", "tag": "REFERENCE"}}'
)


async def test_a_handshake_may_come_by_options(make: Make, store_url: str) -> None:
    """As CloudEvents have it: once the caller has shown our secret, and only where the vendor asks so."""
    edge = await make(store_url, extra=GRID, env={"GRID_KEY": "MDEyMw=="})

    async def asks(path: str) -> Answer:
        asked = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}
        async with edge.session.options(edge.url + path, headers=asked) as response:
            return Answer(response.status, response.headers, await response.read())

    welcome = await asks(f"/webhooks/grid/status?code={TOKEN}")
    assert (welcome.status, welcome.headers["WebHook-Allowed-Origin"]) == (200, "eventgrid.azure.net")
    assert welcome.headers["WebHook-Allowed-Rate"] == "*"
    assert (await asks("/webhooks/grid/status?code=guess")).status == 403
    assert [(await asks(f"/webhooks/{name}/status")).status for name in ("main", "gateway", "nobody")] == [
        405,
        405,
        404,
    ]
    [reference] = await edge.submitted("m1", provider="grid")
    told = CLOUD_EVENT.replace("REFERENCE", reference).encode()
    assert (await edge.call(f"/webhooks/grid/status?code={TOKEN}", told)).status == 204
    assert await edge.state("acme/m1") == "delivered"


BASIC = """
[providers.band]
type = "bandwidth"
account_id = "1"
application_id = "a"
user = "u"
password = "env:GATEWAY_TOKEN"
[providers.band.callbacks]
by = "basic"
name = "us"
secrets = ["env:GATEWAY_TOKEN"]
"""
EVENTS = (
    b'[{"type": "message-delivered", "to": "+14255550002", "message": {"id": "b1", "tag": "1.acme/m1"}},'
    b' {"type": "message-received", "to": "+14255550001", "message": {"id": "t1", "from": "+14255550002",'
    b' "to": ["+14255550001"], "text": "STOP"}}]'
)


async def test_one_url_takes_receipts_and_texts_once_credentials_were_asked_for(make: Make, store_url: str) -> None:
    """Without credentials a challenge, with wrong ones 403; with the right ones neither kind is thrown away."""
    edge = await make(store_url, extra=BASIC)
    bare = await edge.call("/webhooks/band/status", EVENTS)
    assert (bare.status, bare.headers["WWW-Authenticate"]) == (401, 'Basic realm="smsd"')
    wrong = "Basic " + base64.b64encode(b"us:wrong").decode()
    assert (await edge.call("/webhooks/band/status", EVENTS, Authorization=wrong)).status == 403
    right = "Basic " + base64.b64encode(f"us:{TOKEN}".encode()).decode()
    assert (await edge.call("/webhooks/band/status", EVENTS, Authorization=right)).status == 204
    assert sum(edge.counted("smsd_receipts_total").values()) >= 1
    assert sum(edge.counted("smsd_inbound_total").values()) == 1
