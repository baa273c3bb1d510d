"""Opt-outs over HTTP: closed, shown, listed in pages, opened; and that they are their tenant's alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from smsd.shell.server import BODY_MAX
from smsd.store import optouts
from smsd.store.optouts import OptOut, of_sender
from tests.support.site import ACME, ALL, Got, Site, site

ANNA, BEN, CARL = "+353861234567", "+353861234568", "+353861234569"
LIST = "/v1/tenants/acme/opt-outs"
AT_MS = 1_764_288_000_000


@pytest.fixture
async def several(store_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Of three shards."""
    async with site(store_url, tmp_path, shards=3) as one:
        yield one


async def test_a_number_is_closed_shown_and_opened(api: Site) -> None:
    """By its number, with what is closed and how; a message to it is suppressed at once."""
    got = await api.ask("PUT", f"{LIST}/{ANNA}", json={"scope": "marketing"})
    assert got.status == 200
    assert {**got.json, "at_ms": 0} == {
        "number": ANNA, "scope": "marketing", "at_ms": 0, "source": "api", "provider": ""
    }  # fmt: skip
    assert (await api.send(class_="marketing", id="m1", to=ANNA)).json["state"] == "suppressed"
    assert (await api.send(class_="reminder", id="r1", to=ANNA)).json["state"] == "queued"
    assert (await api.ask("PUT", f"{LIST}/{ANNA}", json={})).json["scope"] == "all"
    assert (await api.ask("PUT", f"{LIST}/%2B353861234567", json={"scope": "marketing"})).json["scope"] == "marketing"
    assert (await api.ask("GET", f"{LIST}/{ANNA}")).json["scope"] == "marketing"
    assert (await api.ask("DELETE", f"{LIST}/{ANNA}")).status == 204
    assert [(await api.ask(method, f"{LIST}/{ANNA}")).status for method in ("GET", "DELETE")] == [404, 404]
    assert api.counted("smsd_opt_outs_total") == {
        f'class="",provider="",scope="{scope}",source="api"': n for scope, n in (("marketing", 2.0), ("all", 1.0))
    }


async def test_many_are_closed_at_once_and_come_in_pages(api: Site) -> None:
    """The answer says how many are new; national numbers are the tenant's region's."""
    many = [{"number": f"08612345{n:02}", "scope": "marketing"} for n in range(25)]
    assert (await api.ask("POST", LIST, json={"opt_outs": many})).json == {"closed": 25}
    assert (await api.ask("POST", LIST, json={"opt_outs": [*many[:2], {"number": ANNA, "at_ms": AT_MS}]})).json == {
        "closed": 1
    }
    found, after, pages = list[str](), "", 0
    while pages == 0 or after:
        got = await api.ask("GET", f"{LIST}?limit=10&after={after}")
        found, after, pages = [*found, *(one["number"] for one in got.json["opt_outs"])], got.json["after"], pages + 1
    assert (len(set(found)), len(found), pages) == (26, 26, 3)
    assert (await api.ask("GET", f"{LIST}/{ANNA}")).json["at_ms"] == AT_MS


async def test_a_thousand_at_once_may_have_all_their_fields(several: Site) -> None:
    """Which are more than most bodies have; so may a sender's list."""
    many = [{"number": f"+3538612{n:05}", "scope": "marketing", "at_ms": AT_MS} for n in range(1000)]
    assert len(msgspec.json.encode({"opt_outs": many})) > BODY_MAX
    for path in (LIST, "/v1/senders/Salon/opt-outs"):
        assert (await several.ask("POST", path, json={"opt_outs": many})).json == {"closed": 1000}
        assert (await several.ask("POST", path, json={"opt_outs": many}, key="wrong")).status == 401


async def test_a_number_is_the_same_however_the_path_writes_it(api: Site) -> None:
    """With the zero that is dialled at home, too: what PUT closes, GET shows and DELETE opens on the same path."""
    path = f"{LIST}/+3530861234567"
    assert (await api.ask("PUT", path, json={})).json["number"] == ANNA
    assert (await api.ask("GET", path)).json["number"] == ANNA
    assert [(await api.ask("DELETE", path)).status for _ in range(2)] == [204, 404]
    assert (await api.ask("GET", f"{LIST}/+35386123456789")).status == 404


async def test_a_number_that_cannot_be_one_is_refused(api: Site) -> None:
    """With a pointer to it and without a word of it, and nothing of the list is done."""
    got = await api.ask("POST", LIST, json={"opt_outs": [{"number": ANNA}, {"number": "123"}]})
    assert got.status == 422
    assert got.json["errors"][0]["pointer"] == "/opt_outs/1/number"
    assert (await api.ask("GET", LIST)).json == {"opt_outs": [], "after": ""}
    assert (await api.ask("PUT", f"{LIST}/+99999999", json={})).status == 422
    assert (await api.ask("POST", LIST, json={"opt_outs": []})).status == 400
    assert (await api.ask("PUT", f"{LIST}/{ANNA}", json={"scope": "some"})).status == 400


@pytest.mark.parametrize("at_ms", [1_764_288_000, 1_764_288_000_000_000, 2**53])
async def test_a_time_in_another_unit_is_refused(api: Site, at_ms: int) -> None:
    """Seconds and microseconds are told with a pointer; the list can be exported afterwards as before."""
    got = await api.ask("POST", LIST, json={"opt_outs": [{"number": BEN}, {"number": ANNA, "at_ms": at_ms}]})
    assert (got.status, got.json["errors"][0]["pointer"]) == (422, "/opt_outs/1/at_ms")
    assert (await api.ask("GET", "/v1/opt-outs.csv")).body.count(b"\n") == 1


SALON = "/v1/senders/%2B353861111111/opt-outs"


async def test_a_senders_list_is_an_operators(several: Site) -> None:
    """Closed, shown, listed and opened in every shard; a tenant's key learns nothing of it."""
    assert (await several.ask("PUT", f"{SALON}/{ANNA}", json={})).json["source"] == "api"
    assert (await several.ask("POST", SALON, json={"opt_outs": [{"number": BEN}, {"number": ANNA}]})).json == {
        "closed": 1
    }
    for tenant in ("acme", "other", "third"):
        sent = await several.send(tenant=tenant, id="r1", to=ANNA, from_="+353861111111")
        assert sent.json["state"] == "suppressed"
    # What a provider has told of Carl is in one shard.
    await optouts.close(several.live.shards[1], of_sender("+353861111111"), [OptOut(CARL, "all", source="provider")])
    assert (await several.ask("PUT", f"{SALON}/{CARL}", json={})).status == 200
    for tenant in ("acme", "other", "third"):
        sent = await several.send(tenant=tenant, id="r2", to=CARL, from_="+353861111111")
        assert sent.json["state"] == "suppressed"
    assert (await several.ask("DELETE", f"{SALON}/{CARL}")).status == 204
    assert len((await several.ask("GET", f"{SALON}?limit=10")).json["opt_outs"]) == 2
    assert (await several.ask("GET", f"{SALON}/{ANNA}")).json["scope"] == "all"
    assert (await several.ask("DELETE", f"{SALON}/{ANNA}")).status == 204
    assert (await several.ask("GET", f"{SALON}/{ANNA}")).status == 404
    for method, path, json in (("GET", SALON, None), ("PUT", f"{SALON}/{ANNA}", {}), ("GET", "/v1/opt-outs", None)):
        assert (await several.ask(method, path, json, key=ACME)).status == 403


async def test_all_lists_are_told_with_whose_each_is(several: Site) -> None:
    """In pages over all shards; a name with a blank, and the choice of a provider, are senders too."""
    for path in (
        LIST,
        "/v1/tenants/other/opt-outs",
        SALON,
        "/v1/senders/My%20Salon/opt-outs",
        "/v1/senders/*/opt-outs",
    ):
        assert (await several.ask("POST", path, json={"opt_outs": [{"number": ANNA}, {"number": BEN}]})).status == 200
    found, after, pages = list[tuple[str, str, str]](), "", 0
    while pages == 0 or after:
        got = await several.ask("GET", f"/v1/opt-outs?limit=3&after={after}")
        found += [(one["tenant"], one["sender"], one["number"]) for one in got.json["opt_outs"]]
        after, pages = got.json["after"], pages + 1
    whose = [("acme", ""), ("other", ""), ("", "+353861111111"), ("", "My Salon"), ("", "*")]
    assert sorted(found) == sorted((*one, number) for one in whose for number in (ANNA, BEN))


FILE = "/v1/opt-outs.csv"
HEAD = b"number,scope,tenant,sender,at,source,provider\n"


async def upload(site: Site, text: str, key: str = ALL, kind: str = "text/csv; charset=utf-8") -> Got:
    return await site.ask("POST", FILE, key=key, data=text.encode(), headers={"Content-Type": kind})


async def test_a_file_is_imported_and_exported(several: Site) -> None:
    """As the commands do: what is exported, in pages, can be imported; lists of tenants and senders in one."""
    numbers = [f"08612345{n:02}" for n in range(5)]
    text = "number,scope,tenant,sender\n" + "".join(f"{one},marketing,acme,\n" for one in numbers)
    assert (await upload(several, f"{text}{BEN},all,,Salon\n")).json == {"closed": 6}
    assert several.counted("smsd_opt_outs_total")['class="",provider="",scope="marketing",source="api"'] == 5
    assert (await several.ask("GET", f"/v1/senders/Salon/opt-outs/{BEN}")).json["source"] == "import"
    path, pages = f"{FILE}?limit=4", list[bytes]()
    while path:
        got = await several.ask("GET", path)
        assert (got.status, got.headers["Content-Type"]) == (200, "text/csv")
        path = got.headers.get("Link", "").partition("<")[2].partition(">")[0]
        pages.append(got.body)
    assert [page.startswith(HEAD) for page in pages] == [True, True]
    whole = HEAD + b"".join(page.removeprefix(HEAD) for page in pages)
    assert whole.count(b"\n") == 7
    assert (await upload(several, whole.decode())).json == {"closed": 0}


async def test_a_file_with_a_mistake_is_not_imported(api: Site) -> None:
    """Each line is told with what is wrong, and without a number; only CSV is read, and for operators."""
    got = await upload(api, f"number,tenant\n{ANNA},acme\n12,acme\n{BEN},\n")
    assert (got.status, [one["detail"].partition(":")[0] for one in got.json["errors"]]) == (422, ["line 3", "line 4"])
    assert ANNA not in got.body.decode()
    assert (await api.ask("GET", FILE)).body == HEAD
    assert (await upload(api, "number\n", kind="application/json")).status == 415
    assert (await upload(api, "number\n", key=ACME)).status == 403
    assert (await api.ask("GET", f"{FILE}?after=x")).status == 400


async def test_what_can_be_no_sender_and_no_page_is_refused(api: Site) -> None:
    """Nothing of the list is done; and no made-up `after` leads to another's."""
    assert (await api.ask("PUT", f"/v1/senders/12/opt-outs/{ANNA}", json={})).status == 422
    assert (await api.ask("PUT", f"/v1/senders/0861111111111/opt-outs/{ANNA}", json={})).status == 404
    assert (await api.ask("GET", "/v1/opt-outs")).json == {"opt_outs": [], "after": ""}
    await api.ask("PUT", f"/v1/tenants/abe/opt-outs/{ANNA}", json={})
    assert (await api.ask("GET", f"{LIST}?after=0.dDphYmU", key=ACME)).status == 400


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_another_tenants_key_sees_nothing(api: Site, method: str) -> None:
    """As if there were no such thing."""
    await api.ask("PUT", f"/v1/tenants/stranger/opt-outs/{BEN}", json={})
    json = {} if method == "PUT" else None
    assert (await api.ask(method, f"/v1/tenants/stranger/opt-outs/{BEN}", json, key=ACME)).status == 404
