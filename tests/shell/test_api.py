"""The form of requests: paths, methods, keys, queries, types and sizes of bodies, and what each mistake is answered."""

import asyncio
import gzip
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from smsd.config import load
from smsd.shell import server
from smsd.shell.api_routes import LARGE_MAX, OF_PATH, ROUTES
from smsd.shell.server import BODY_MAX
from tests.support.config import write
from tests.support.site import ACME, ALL, GOOD, KEYS, SECRETS, Site
from tests.support.site import site as make_site
from tests.support.valkey import Valkey

JSON = {"Content-Type": "application/json"}


def filled(path: str) -> str:
    """A path of the table with values in it."""
    values = {"id": "r-1", "entry": "1-0", "number": "+353861234567", "receiver": "platform", "sender": "Salon"}
    return path.format(tenant="acme", **values)


PATHS = sorted(map(filled, OF_PATH))


@pytest.mark.parametrize("key", ["", "wrong", ALL + "x", ALL[:-1], "ключ"])
@pytest.mark.parametrize("path", PATHS)
async def test_every_path_wants_a_key(api: Site, path: str, key: str) -> None:
    """401 with WWW-Authenticate for none and for a wrong one, and nothing else is told."""
    for methods in (methods for name, methods in OF_PATH.items() if name.count("/") == path.count("/")):
        for method in methods:
            got = await api.ask(method, path, key=key)
            assert got.status in (401, 405)
            if got.status == 401:
                assert got.headers["WWW-Authenticate"] == 'Bearer realm="smsd"'
                assert got.json["title"] == "Unauthorized"


async def test_without_keys_nobody_gets_in(store_url: str, tmp_path: Path) -> None:
    """An API without configured keys answers 401, whatever is shown."""
    async with make_site(store_url, tmp_path, extra="") as api:
        for key in ("", ALL):
            assert (await api.send(key=key)).status == 401


async def test_other_schemes_open_nothing(api: Site) -> None:
    """Only `Bearer` counts, in any case."""
    for scheme, status in (("Basic", 401), ("", 401), ("bearer", 202), ("BEARER", 202)):
        got = await api.ask("POST", "/v1/messages", GOOD, key="", headers={"Authorization": f"{scheme} {ALL}"})
        assert got.status == status


async def test_keys_follow_a_reload(api: Site, tmp_path: Path) -> None:
    """A key that the host's file has no more opens nothing, a new one does, and one that cannot be read is told of."""
    extra = KEYS.replace("RAILS_KEY", "NEW_KEY").replace("SALON_KEY", "NO_KEY")
    local = load(write(tmp_path, extra=extra), {**SECRETS, "NEW_KEY": "new"}, secrets=False)
    api.live.local = local
    api.live.swap(local, 2)
    assert (await api.send(key=ALL)).status == 401
    assert (await api.send(key=ACME)).status == 401
    assert (await api.send(key="new")).status == 202
    assert [line["key"] for line in api.logs.lines if line["event"] == "api_key_unreadable"] == ["salon"]


async def test_paths_and_methods_that_are_not_there(api: Site) -> None:
    """404 for any other path, 405 with Allow for another method; both as problems, and with a key or without."""
    for path in (
        "/v1", "/v1/", "/v2/messages", "/v1/messages/", "/v1/tenants/a b/messages/x", "/v1/tenants/acme/messages/a/b",
        "/v1/tenants/acme/messages/a%2Fb", "/v1/tenants/%ff", "/v1/tenants/", "/v1/tenants/" + "x" * 65,
    ):  # fmt: skip
        for key in ("", ALL):
            got = await api.ask("GET", path, key=key)
            assert (got.status, got.headers["Content-Type"]) == (404, "application/problem+json"), path
    for path, methods in OF_PATH.items():
        got = await api.ask("PATCH", filled(path))
        assert got.status == 405
        assert set(got.headers["Allow"].split(", ")) >= set(methods)


async def test_percent_encoded_values_are_decoded(api: Site) -> None:
    """An id with a colon is found however it is written."""
    await api.send(id="a:1")
    for written in ("a:1", "a%3A1", "%61%3a1"):
        assert (await api.ask("GET", f"/v1/tenants/acme/messages/{written}")).status == 200


async def test_head_is_answered_as_get(api: Site) -> None:
    """Without the body."""
    await api.send(id="r-1")
    got = await api.ask("HEAD", "/v1/tenants/acme/messages/r-1")
    assert (got.status, got.body) == (200, b"")
    assert int(got.headers["Content-Length"]) > 100


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"])
async def test_a_body_has_to_be_json(api: Site, kind: str) -> None:
    """415 for any other type."""
    body = msgspec.json.encode(GOOD)
    got = await api.ask("POST", "/v1/messages", data=body, headers={"Content-Type": kind})
    assert (got.status, "application/json" in got.json["detail"]) == (415, True)


async def test_json_may_name_its_charset(api: Site) -> None:
    """Parameters of the type are no matter."""
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        got = await api.ask("POST", "/v1/messages", data=msgspec.json.encode(GOOD), headers={"Content-Type": kind})
        assert got.status == 202


async def test_unknown_query_parameters_are_refused(api: Site) -> None:
    """400 on every path, and what is taken is said, not what was given."""
    for path in PATHS:
        for method in next(methods for name, methods in OF_PATH.items() if name.count("/") == path.count("/")):
            got = await api.ask(method, f"{path}?colour=%2B353861234567", json={}, key=ALL)
            if got.status != 405:
                assert (got.status, got.json["errors"][0]["reason"]) == (400, "bad_request")
                assert b"35386" not in got.body


async def test_a_large_body_is_read_for_those_who_have_a_key(api: Site) -> None:
    """A list of messages may have megabytes; a larger one is 413, and a stranger's is not read at all."""
    many = [{**GOOD, "id": f"m-{i}", "meta": "x" * 1500} for i in range(1000)]
    size = len(msgspec.json.encode(many))
    assert BODY_MAX < size < LARGE_MAX
    got = await api.send(many)
    assert (got.status, len(got.json)) == (202, 1000)
    assert (await api.send(many, key="wrong")).status == 401
    too_large = b" " * (LARGE_MAX + 1)
    got = await api.ask("POST", "/v1/messages", data=too_large, headers=JSON)
    assert (got.status, str(LARGE_MAX) in got.json["detail"]) == (413, True)
    got = await api.ask("PUT", "/v1/tenants/acme", data=b" " * (BODY_MAX + 1), headers=JSON)
    assert (got.status, str(BODY_MAX) in got.json["detail"]) == (413, True)


async def test_admin_paths_are_for_keys_of_all_tenants(api: Site) -> None:
    """A key that is bound to tenants may not steer, nor change limits, but sees its own tenant's settings."""
    for route in ROUTES:
        path = filled(route.path)
        got = await api.ask(route.method, path, json={}, key=ACME)
        assert (got.status == 403) is route.admin, route.path
    assert (await api.ask("GET", "/v1/tenants/other", key=ACME)).status == 404


async def test_a_store_that_is_away_is_told_with_retry_after(
    tmp_path: Path, start_valkey: Callable[..., Valkey]
) -> None:
    """503 on each path that asks it, and nothing is counted as taken."""
    valkey = start_valkey()
    async with make_site(valkey.url, tmp_path) as api:
        valkey.kill()
        for method, path, body in (
            ("POST", "/v1/messages", GOOD), ("POST", "/v1/messages", [GOOD]), ("GET", "/v1/pauses", None),
            ("GET", "/v1/tenants/acme/messages/r-1", None), ("GET", "/v1/tenants/acme/messages?to=0861234567", None),
            ("POST", "/v1/tenants/acme/messages/r-1/cancel", None), ("PUT", "/v1/tenants/acme", {}),
        ):  # fmt: skip
            got = await api.ask(method, path, json=body)
            assert (got.status, got.json["status"]) == (503, 503), path
            assert got.headers["Retry-After"] == "5"
        assert {labels.partition('outcome="')[2] for labels in api.counted()} == {'unsure"', 'cancel_unsure"'}
        valkey.start()
        assert (await api.send()).status == 202


async def test_a_body_that_does_not_come_is_not_waited_for(api: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """408, as a problem, for one who has a key."""
    monkeypatch.setattr(server, "READ_S", 0.0)
    host, _, port = api.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALL}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: 9\r\n\r\n[".encode())
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 20)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    writer.close()


# ---- The reference ---------------------------------------------------------------------------------------------------


async def test_the_reference_needs_no_key_and_no_other_host(api: Site) -> None:
    """The page names only files of its own, its policy allows no other and no inline script, and each file is there."""
    page = await api.ask("GET", "/docs", key="")
    assert page.status == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]
    text = page.body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|https?://|//[a-z]", text)
    named = re.findall(r'(?:src|href)="(/[^"]+)"', text)
    assert len(named) == 4
    for path in named:
        one = await api.ask("GET", path, key="")
        assert (one.status, one.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert len(one.body) > 100


async def test_packed_files_are_unpacked_for_who_cannot(api: Site) -> None:
    """What is served compressed is the same as what is served plain."""
    path = "/docs/swagger-ui.css"
    packed = await api.ask("GET", path, key="", headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
    plain = await api.ask("GET", path, key="", headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body
