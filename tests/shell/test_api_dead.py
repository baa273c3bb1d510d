"""Dead letters over HTTP: listed in pages, shown, redriven, purged; and that nothing is done to what was not named."""

from typing import Any

import pytest

from smsd.core.admit import judge
from smsd.store import keys
from tests.support.site import ACME, Site
from tests.support.world import ask


async def bury(api: Site, *bodies: str) -> None:
    """Entries of the stream of reminders that are rejected; none has a number that can be called."""
    for i, body in enumerate(bodies):
        fields = ((b"tenant", b"acme"), (b"id", f"r-{i}".encode()), (b"to", b"12"), (b"body", body.encode()))
        entry = judge(fields, class_="reminder", shard=0, entry_id=f"{i}-1", now_us=1, rules=api.live.config)
        await api.live.shards[0].admit([entry], "reminder", from_inbox=False)


async def test_dead_letters_are_listed_in_pages(api: Site) -> None:
    """The oldest first, by what was asked for, and without what they say to whom."""
    await bury(api, "a secret", "another")
    got = await api.ask("GET", "/v1/dead?tenant=acme&class=reminder&limit=1")
    assert (got.status, got.json["kept"], [one["given_id"] for one in got.json["dead"]]) == (200, 2, ["r-0"])
    assert got.json["dead"][0]["reason"] == "bad_number"
    assert b"secret" not in got.body
    rest = await api.ask("GET", f"/v1/dead?limit=1&after={got.json['next']}")
    assert ([one["given_id"] for one in rest.json["dead"]], rest.json["next"]) == (["r-1"], "")
    assert (await api.ask("GET", "/v1/dead?after=7")).status == 400
    for query in ("reason=bad_body", "tenant=other", "since_ms=9000000000000", "before_ms=1"):
        assert (await api.ask("GET", f"/v1/dead?{query}")).json == {"dead": [], "next": "", "kept": 2}


async def test_one_is_shown_whole(api: Site) -> None:
    """Without what it says to whom, unless that is asked for; 404 once it is gone."""
    await bury(api, "a secret")
    path = f"/v1/dead/{(await api.ask('GET', '/v1/dead')).json['dead'][0]['id']}"
    got = await api.ask("GET", path)
    assert (got.status, got.json["reason"], got.json["fields"]["in.id"]) == (200, "bad_number", "r-0")
    assert (got.json["hidden"], b"secret" in got.body) == ({"in.to": 2, "in.body": 8}, False)
    assert (await api.ask("GET", f"{path}?private=true")).json["fields"]["in.body"] == "a secret"
    assert (await api.ask("GET", path, key=ACME)).status == 403
    await api.ask("POST", "/v1/dead/purge", json={"all": True})
    assert (await api.ask("GET", path)).status == 404


async def test_they_go_back_into_their_inbox(api: Site) -> None:
    """All that were found, once; those that are named by their ids alone."""
    await bury(api, "a", "b")
    first = (await api.ask("GET", "/v1/dead")).json["dead"][0]["id"]
    got = await api.ask("POST", "/v1/dead/redrive", json={"ids": [first]})
    assert (got.status, got.json) == (200, {"redriven": 1, "gone": 0, "left": 0})
    assert (await api.ask("POST", "/v1/dead/redrive", json={"tenant": "acme"})).json["redriven"] == 1
    assert (await api.ask("POST", "/v1/dead/redrive", json={"all": True})).json["redriven"] == 0
    assert await ask(api.client, "XLEN", keys.inbox(0, "reminder")) == 2


async def test_they_are_forgotten_on_demand(api: Site) -> None:
    """Only those that were named."""
    await bury(api, "a", "b")
    assert (await api.ask("POST", "/v1/dead/purge", json={"reason": "bad_body"})).json == {"purged": 0}
    assert (await api.ask("POST", "/v1/dead/purge", json={"all": True})).json == {"purged": 2}
    assert (await api.ask("GET", "/v1/dead")).json["kept"] == 0


@pytest.mark.parametrize("verb", ["redrive", "purge"])
@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({}, 422),
        ({"all": True, "tenant": "acme"}, 422),
        ({"colour": "red"}, 400),
        ([], 400),
        ({"tenant": "acme", "reason": ""}, 400),
    ],
)
async def test_what_names_nothing_is_refused(api: Site, verb: str, wanted: Any, status: int) -> None:
    """Nothing is done by default."""
    await bury(api, "a")
    assert (await api.ask("POST", f"/v1/dead/{verb}", json=wanted)).status == status
    assert (await api.ask("GET", "/v1/dead")).json["kept"] == 1
