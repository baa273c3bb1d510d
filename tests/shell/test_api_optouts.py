"""Opt-outs over HTTP: closed, shown, listed in pages, opened; and that they are their tenant's alone."""

import pytest

from tests.support.site import ACME, Site

ANNA, BEN = "+353861234567", "+353861234568"
LIST = "/v1/tenants/acme/opt-outs"


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
    assert (await api.ask("POST", LIST, json={"opt_outs": [*many[:2], {"number": ANNA, "at_ms": 5}]})).json == {
        "closed": 1
    }
    found, after, pages = list[str](), "", 0
    while pages == 0 or after:
        got = await api.ask("GET", f"{LIST}?limit=10&after={after}")
        found, after, pages = [*found, *(one["number"] for one in got.json["opt_outs"])], got.json["after"], pages + 1
    assert (len(set(found)), len(found), pages) == (26, 26, 3)
    assert (await api.ask("GET", f"{LIST}/{ANNA}")).json["at_ms"] == 5


async def test_a_number_that_cannot_be_one_is_refused(api: Site) -> None:
    """With a pointer to it and without a word of it, and nothing of the list is done."""
    got = await api.ask("POST", LIST, json={"opt_outs": [{"number": ANNA}, {"number": "123"}]})
    assert got.status == 422
    assert got.json["errors"][0]["pointer"] == "/opt_outs/1/number"
    assert (await api.ask("GET", LIST)).json == {"opt_outs": [], "after": ""}
    assert (await api.ask("PUT", f"{LIST}/+99999999", json={})).status == 422
    assert (await api.ask("POST", LIST, json={"opt_outs": []})).status == 400
    assert (await api.ask("PUT", f"{LIST}/{ANNA}", json={"scope": "some"})).status == 400


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_another_tenants_key_sees_nothing(api: Site, method: str) -> None:
    """As if there were no such thing."""
    await api.ask("PUT", f"/v1/tenants/stranger/opt-outs/{BEN}", json={})
    json = {} if method == "PUT" else None
    assert (await api.ask(method, f"/v1/tenants/stranger/opt-outs/{BEN}", json, key=ACME)).status == 404
