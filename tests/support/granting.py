"""A vendor that gives access tokens and wants to see them, over real HTTP; the test says what it answers.

Never decides when: what it does meanwhile are the test's own events.
"""

import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from smsd.provider import HttpRequest
from smsd.shell.server import Answer, Reply, Request, Response
from tests.support.serving import served

SECRET = "s3cret/of~ours"


def response(status: int, **told: object) -> Response:
    return Response(status, (("Content-Type", "application/json"),), msgspec.json.encode(told))


class Vendor:
    """Gives tokens at /token, "t1" first, and takes messages at /send from whoever shows one that holds."""

    def __init__(self) -> None:
        self.url = ""
        self.now = 1000.0  # of the transport's clock for tokens
        self.given = 0
        self.life: dict[str, object] = {"expires_in": 3600}
        self.holds: Callable[[str], bool] = lambda token: token == f"t{self.given}"
        self.grant: Callable[[], Response | Awaitable[Response]] = self.give
        self.granting = self.most = 0
        self.asked: list[Request] = []
        self.shown: list[str] = []

    def give(self) -> Response:
        self.given += 1
        return response(200, access_token=f"t{self.given}", token_type="bearer", **self.life)

    def handle(self, request: Request, _: Reply) -> Answer:
        if request.target == "/token":
            return self._granted(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.shown.append(token)
        return response(201, id="1") if self.holds(token) else response(401, code="unauthorized")

    async def _granted(self, request: Request) -> Response:
        self.asked.append(request)
        self.granting += 1
        self.most = max(self.most, self.granting)
        granted = self.grant()
        granted = granted if isinstance(granted, Response) else await granted
        self.granting -= 1
        return granted

    def message(self) -> HttpRequest:
        known = base64.b64encode(f"us:{SECRET}".encode()).decode()
        form = (("Content-Type", "application/x-www-form-urlencoded"),)
        by = HttpRequest("POST", f"{self.url}/token", (("Authorization", f"Basic {known}"), *form), b"grant_type=x")
        return HttpRequest("POST", f"{self.url}/send", (("Content-Type", "text/plain"),), b"hello", by)


@contextlib.asynccontextmanager
async def vendor() -> AsyncIterator[Vendor]:
    """One, on a port of its own."""
    vendor = Vendor()
    async with served(vendor.handle) as (_, at):
        vendor.url = f"http://{at}"
        yield vendor
