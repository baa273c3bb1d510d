"""Tenants' settings over HTTP: made, shown with what holds, judged, dropped."""

from typing import Any

import pytest

from tests.support.site import ACME, Site

TENANT = "/v1/tenants/acme"


async def test_settings_are_made_shown_and_dropped(api: Site) -> None:
    """What is made goes before the defaults, field by field, and is gone when it is dropped."""
    assert (await api.ask("GET", TENANT)).status == 404
    made = {"limits": ["5/s"], "sender": "Acme", "class_limits": {"marketing": ["10/s", "30 segments/m"]}}
    put = await api.ask("PUT", TENANT, json=made)
    assert (put.status, put.json["settings"]) == (200, made)
    held = put.json["in_force"]
    assert (held["limits"], held["sender"], held["region"], held["route"]) == (["5/s"], "Acme", "IE", "default")
    assert held["class_limits"] == made["class_limits"]
    assert (await api.ask("GET", TENANT)).json == put.json
    again = await api.ask("PUT", TENANT, json={"region": "GB"})
    assert (again.json["settings"], again.json["in_force"]["limits"]) == ({"region": "GB"}, ["1000/s"])
    gone = await api.ask("DELETE", TENANT)
    assert (gone.status, gone.body) == (204, b"")
    assert (await api.ask("GET", TENANT)).status == 404
    assert (await api.ask("DELETE", TENANT)).status == 404


async def test_a_pool_is_a_setting_of_a_tenant(api: Site) -> None:
    """One that the config does not have is told at its place."""
    wrong = await api.ask("PUT", TENANT, json={"sender_pool": "uk"})
    assert (wrong.status, wrong.json["errors"][0]["pointer"]) == (422, "/sender_pool")
    assert (await api.ask("PUT", TENANT, json={"sender_pool": ""})).json["in_force"]["sender_pool"] == ""


async def test_a_message_is_judged_by_what_was_made(api: Site) -> None:
    """Once this process has followed, the tenant's sender and region are those that were put."""
    await api.ask("PUT", TENANT, json={"countries": ["GB"]})
    await api.live.follow_tenants()
    got = await api.send()
    assert (got.status, got.json["errors"][0]["reason"]) == (422, "country_not_allowed")
    assert (await api.ask("GET", TENANT)).json["in_force"]["countries"] == ["GB"]


@pytest.mark.parametrize(
    ("made", "pointer"),
    [
        ({"limits": ["5/s", "fast"]}, "/limits/1"),
        ({"limits": "5/s"}, "/limits"),
        ({"class_limits": {"otp": ["5/s"]}}, "/class_limits/otp"),
        ({"class_limits": {"marketing": ["5/s", 7]}}, "/class_limits/marketing/1"),
        ({"plan": "gold"}, "/plan"),
        ({"route": "nowhere"}, "/route"),
        ({"sender": "much too long a name"}, "/sender"),
        ({"region": "UK"}, "/region"),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_settings_that_cannot_hold_are_refused(api: Site, made: dict[str, Any], pointer: str) -> None:
    """422 with a pointer to each mistake, and nothing is made."""
    got = await api.ask("PUT", TENANT, json=made)
    assert (got.status, [one["pointer"] for one in got.json["errors"]]) == (422, [pointer])
    assert {one["reason"] for one in got.json["errors"]} == {"bad_setting"}
    assert (await api.ask("GET", TENANT)).status == 404


async def test_a_tenants_limits_are_told_as_they_stand(api: Site) -> None:
    """What was made is there with its source, also to a key of that tenant alone."""
    await api.ask("PUT", TENANT, json={"limits": ["5/s"]})
    await api.live.follow_tenants()
    await api.send()
    got = await api.ask("GET", f"{TENANT}/limits", key=ACME)
    assert (got.status, got.json["tenant"], got.json["known"], got.json["queued"]) == (200, "acme", True, 1)
    assert [(one["scope"], one["limit"]) for one in got.json["uses"]] == [("tenant", "5/s")]


async def test_many_are_made_one_by_one(api: Site) -> None:
    """An outcome for each, in order; a mistake is told where it is, and leaves the others alone."""
    await api.ask("PUT", "/v1/tenants/c", json={"limits": ["1/s"]})
    got = await api.ask(
        "PUT",
        "/v1/tenants",
        json=[
            {"tenant": "acme", "limits": ["5/s"]},
            {"tenant": "b", "limits": ["5/s", "fast"], "colour": "red"},
            {"tenant": "b d"},
            7,
            {"tenant": "acme", "limits": ["9/s"]},
            {"tenant": "c"},
        ],
    )
    assert got.status == 200
    assert [(one["tenant"], one["made"]) for one in got.json] == [
        ("acme", True), ("b", False), ("", False), ("", False), ("acme", False), ("c", True),
    ]  # fmt: skip
    pointers = [sorted(fault["pointer"] for fault in one.get("errors", ())) for one in got.json]
    assert pointers == [[], ["/1/colour", "/1/limits/1"], ["/2/tenant"], ["/3/tenant"], ["/4/tenant"], []]
    assert (await api.ask("GET", TENANT)).json["settings"] == {"limits": ["5/s"]}
    assert (await api.ask("GET", "/v1/tenants/c")).json["settings"] == {}


async def test_a_thousand_are_made_at_once(api: Site) -> None:
    """In one request, however long it is; only by a key of all tenants."""
    many = [{"tenant": f"t-{i}", "limits": [f"{i + 1}/s"], "countries": ["IE"] * 20} for i in range(1000)]
    got = await api.ask("PUT", "/v1/tenants", json=many)
    assert (got.status, sum(one["made"] for one in got.json)) == (200, 1000)
    assert (await api.ask("GET", "/v1/tenants/t-999")).json["in_force"]["limits"] == ["1000/s"]
    assert (await api.ask("PUT", "/v1/tenants", json=many[:1], key=ACME)).status == 403
    for wrong in ([], [*many, {"tenant": "one-more"}], {"tenant": "acme"}):
        assert (await api.ask("PUT", "/v1/tenants", json=wrong)).status == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b"null", b'{"a":"\xff"}'])
async def test_settings_are_an_object(api: Site, body: bytes) -> None:
    """400 for anything else."""
    got = await api.ask("PUT", TENANT, data=body, headers={"Content-Type": "application/json"})
    assert (got.status, len(got.json["errors"])) == (400, 1)
