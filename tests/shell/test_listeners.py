"""The listeners over real HTTP on loopback: health, metrics, callbacks, and what is refused."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from smsd.shell.api_problems import problem
from smsd.shell.listeners import Listeners
from smsd.shell.listening import PortTaken, address, bind
from smsd.shell.server import Answer, Reply, Request, Response
from tests.support.config import config, free_address


class Told:
    """What the process says of itself; tests change it."""

    def __init__(self) -> None:
        self.trouble = ""

    async def ready(self) -> str:
        return self.trouble

    async def metrics(self) -> bytes:
        return b"smsd_build_info 1\n"

    def api(self, request: Request, _: Reply) -> Answer:
        return problem(404, f"{len(request.body)} bytes, and no such path")

    def room(self, method: str, target: str, _: Mapping[str, str]) -> int:
        return 100_000 if (method, target) == ("POST", "/v1/large") else 0

    def callback(self, request: Request, _: Reply) -> Answer:
        return Response(204, (("X-Path", request.target),))


@asynccontextmanager
async def listening(folder: Path, **addresses: Any) -> AsyncIterator[tuple[Listeners, Told, aiohttp.ClientSession]]:
    told = Told()
    made = Listeners(
        config(folder, **addresses),
        ready=told.ready,
        metrics=told.metrics,
        webhooks=told.callback,
        api=told.api,
        room=told.room,
    )
    await made.start()
    try:
        async with aiohttp.ClientSession() as client:
            yield made, told, client
    finally:
        await made.close()


async def test_health_and_metrics_are_told(tmp_path: Path) -> None:
    """The pages of [http] answer as Prometheus and an orchestrator expect."""
    async with listening(tmp_path) as (made, _, client):
        async with client.get(f"http://{made.http}/livez") as live:
            assert live.status == 200
        async with client.get(f"http://{made.http}/readyz") as ready:
            assert (ready.status, await ready.text()) == (200, "ready\n")
        async with client.get(f"http://{made.http}/metrics") as metrics:
            assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert await metrics.read() == b"smsd_build_info 1\n"


async def test_what_is_not_ready_says_why(tmp_path: Path) -> None:
    """A process in trouble is alive but not ready, and the answer says what is wrong."""
    async with listening(tmp_path) as (made, told, client):
        told.trouble = "the store does not answer"
        async with client.get(f"http://{made.http}/readyz") as ready:
            assert (ready.status, await ready.text()) == (503, "the store does not answer\n")
        async with client.get(f"http://{made.http}/livez") as live:
            assert live.status == 200


async def test_other_pages_are_problems(tmp_path: Path) -> None:
    """What is not there is 404, what may only be read 405, both as RFC 9457 wants it."""
    async with listening(tmp_path) as (made, _, client):
        async with client.get(f"http://{made.http}/v1/nothing") as missing:
            assert (missing.status, missing.content_type) == (404, "application/problem+json")
            assert (await missing.json(content_type=None))["status"] == 404
        async with client.post(f"http://{made.http}/metrics") as wrong:
            assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, HEAD")
        async with client.head(f"http://{made.http}/readyz?verbose") as head:
            assert (head.status, head.content_length) == (200, len("ready\n"))


async def test_callbacks_reach_only_who_takes_them(tmp_path: Path) -> None:
    """What providers call is handed on untouched, and the public listener tells nothing of health or metrics."""
    async with listening(tmp_path) as (made, _, client):
        url = URL(f"http://{made.webhooks}/webhooks/main/status?ref=1.a%2Fb", encoded=True)
        async with client.post(url) as answer:
            assert (answer.status, answer.headers["X-Path"]) == (204, "/webhooks/main/status?ref=1.a%2Fb")
        async with client.get(f"http://{made.webhooks}/metrics") as metrics:
            assert metrics.headers["X-Path"] == "/metrics"
        async with client.post(f"http://{made.http}/webhooks/main/status") as foreign:
            assert foreign.status == 404


async def test_a_large_body_is_read_where_the_api_has_room_for_it(tmp_path: Path) -> None:
    """The API says for which requests more than 64 KB are read; what providers call has no more than that."""
    async with listening(tmp_path) as (made, _, client):
        large = b"x" * 90_000
        async with client.post(f"http://{made.http}/v1/large", data=large) as taken:
            assert "90000 bytes" in await taken.text()
        for url in (f"http://{made.http}/v1/other", f"http://{made.http}/v1/large?"):
            async with client.post(url, data=large) as refused:
                assert "0 bytes" in await refused.text()


async def test_both_may_be_one_address(tmp_path: Path) -> None:
    """One port serves health, metrics and callbacks where the config says so."""
    one = free_address()
    async with listening(tmp_path, http=one, webhooks=one) as (made, _, client):
        assert made.http == made.webhooks == address(one)
        async with client.get(f"http://{one}/readyz") as ready:
            assert ready.status == 200
        async with client.post(f"http://{one}/webhooks/main/status") as answer:
            assert answer.status == 204


async def test_a_taken_port_binds_nothing(tmp_path: Path) -> None:
    """When the second address is somebody else's, the first is let go again."""
    http, webhooks = free_address(), free_address()
    with bind(address(webhooks), "webhooks", shared=False) as other:
        other.listen()
        told = Told()
        made = Listeners(
            config(tmp_path, http=http, webhooks=webhooks),
            ready=told.ready, metrics=told.metrics, webhooks=told.callback, api=told.api, room=told.room,
        )  # fmt: skip
        with pytest.raises(PortTaken, match=r"\[webhooks\] listen"):
            await made.start()
        assert not made.bound
        bind(address(http), "http", shared=False).close()


async def test_workers_share_both_ports(tmp_path: Path) -> None:
    """Two processes of one parent listen on the same addresses."""
    told, mine = Told(), config(tmp_path)
    both = [
        Listeners(
            mine,
            ready=told.ready,
            metrics=told.metrics,
            webhooks=told.callback,
            api=told.api,
            room=told.room,
            shared=True,
        )
        for _ in range(2)
    ]
    for made in both:
        await made.start()
    assert both[0].http == both[1].http
    for made in both:
        await made.close()
