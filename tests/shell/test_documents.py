"""Public documents over real HTTP: fetched once, kept for a while, and not believed when they are no answer."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from smsd.provider import HttpRequest
from smsd.shell.documents import DOCUMENT_MAX, KEPT_MAX, KEPT_S, Documents, NotFetched
from smsd.shell.server import Reply, Request, Response
from smsd.shell.transport import Transport
from tests.support.serving import served


class Site:
    """A vendor's site, which counts how often it is asked."""

    def __init__(self) -> None:
        self.url, self.asked = "", list[str]()
        self.now_s = 0.0
        self.pages: dict[str, Response] = {}

    def handle(self, request: Request, _: Reply) -> Response:
        self.asked.append(request.target)
        return self.pages.get(request.target, Response(200, (), request.target.encode()))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    async with served(made.handle) as (_, at):
        made.url = f"http://{at}"
        yield made


@pytest.fixture
async def documents(site: Site) -> AsyncIterator[Documents]:
    transport = Transport(lambda provider, to: False)
    await transport.start()
    yield Documents(partial(transport.fetch, timeout_s=5), lambda: site.now_s)
    await transport.close()


async def test_a_document_is_kept_for_a_day(site: Site, documents: Documents) -> None:
    """What was fetched is there until its time is over."""
    await documents.get("aws", site.url + "/cert.pem")
    assert documents.kept == {site.url + "/cert.pem": b"/cert.pem"}
    site.now_s = KEPT_S
    assert documents.kept == {}


async def test_many_who_want_it_ask_once(site: Site, documents: Documents) -> None:
    """A burst of callbacks fetches the certificate once."""
    await asyncio.gather(*(documents.get("aws", site.url + "/cert.pem") for _ in range(20)))
    assert site.asked == ["/cert.pem"]


async def test_only_so_many_are_kept(site: Site, documents: Documents) -> None:
    """The oldest goes when there are too many."""
    for n in range(KEPT_MAX + 1):
        await documents.get("aws", f"{site.url}/{n}")
    assert len(documents.kept) == KEPT_MAX
    assert f"{site.url}/0" not in documents.kept


@pytest.mark.parametrize(
    "page",
    [Response(302, (("Location", "/elsewhere"),)), Response(404), Response(200, (), b"x" * (DOCUMENT_MAX + 1))],
    ids=["redirect", "missing", "too large"],
)
async def test_what_is_no_document_is_not_kept(site: Site, documents: Documents, page: Response) -> None:
    """A redirect is not followed, an error and a flood are no document."""
    site.pages["/cert.pem"] = page
    with pytest.raises(NotFetched):
        await documents.get("aws", site.url + "/cert.pem")
    assert documents.kept == {}
    assert site.asked == ["/cert.pem"]


async def test_a_site_that_is_away_is_told(documents: Documents) -> None:
    """Nothing that listens there is a sentence, not a crash."""
    with pytest.raises(NotFetched, match="aws"):
        await documents.ask("aws", HttpRequest("GET", "http://127.0.0.1:1/cert.pem"))
