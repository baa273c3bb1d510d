"""Pauses and cancels of many over HTTP: set, listed, lifted; and that they hold."""

from typing import Any

import pytest

from smsd.store.shard import Offer
from tests.support.site import Site


async def leased(api: Site) -> list[str]:
    """The ids that may leave now."""
    offers = [Offer("main", 1, 10)]
    lease = await api.live.shards[0].lease("default", offers, n=10, request="r", process="p", span_us=10_000_000)
    return [one.message.id for one in lease.messages]


@pytest.mark.parametrize(
    "which",
    [{"all": True}, {"tenant": "acme"}, {"class": "reminder"}, {"tenant": "acme", "campaign": "spring"},
     {"sender": "Salon"}, {"provider": "main"}],
)  # fmt: skip
async def test_a_pause_holds_until_it_is_resumed(api: Site, which: dict[str, Any]) -> None:
    """It is listed with who set it and why, a second one changes nothing, and lifting it is told."""
    await api.send(id="r-1", campaign="spring", from_="Salon")
    wanted = {**which, "reason": "a storm"}
    assert (await api.ask("POST", "/v1/pauses", json=wanted)).json == {"changed": True}
    assert (await api.ask("POST", "/v1/pauses", json=wanted)).json == {"changed": False}
    (told,) = (await api.ask("GET", "/v1/pauses")).json["pauses"]
    assert told["what"] == {name: value for name, value in which.items() if name != "all"}
    assert (told["by"], told["reason"], told["until_ms"]) == ("api:rails", "a storm", 0)
    if "provider" not in which:  # of a paused provider nothing is offered; that is the sender's
        assert await leased(api) == []
    query = "&".join(f"{name}={str(value).lower() if value is True else value}" for name, value in which.items())
    assert (await api.ask("DELETE", f"/v1/pauses?{query}")).json == {"changed": True}
    assert (await api.ask("DELETE", f"/v1/pauses?{query}")).json == {"changed": False}
    assert (await api.ask("GET", "/v1/pauses")).json == {"pauses": []}


async def test_a_pause_may_end_by_itself(api: Site) -> None:
    """`for` is a duration; one that is over is not listed."""
    await api.ask("POST", "/v1/pauses", json={"tenant": "acme", "for": "2h"})
    await api.ask("POST", "/v1/pauses", json={"tenant": "other", "for": "1ms"})
    got = await api.ask("GET", "/v1/pauses")
    (told,) = [one for one in got.json["pauses"] if one["what"] == {"tenant": "acme"}]
    assert told["until_ms"] - told["at_ms"] == pytest.approx(7_200_000, abs=60_000)
    bad = await api.ask("POST", "/v1/pauses", json={"tenant": "acme", "for": "soon"})
    assert (bad.status, bad.json["errors"][0]["pointer"]) == (422, "/for")


@pytest.mark.parametrize(
    "which", [{"tenant": "acme"}, {"class": "reminder"}, {"tenant": "acme", "class": "reminder"},
              {"tenant": "acme", "campaign": "spring"}],
)  # fmt: skip
async def test_a_cancel_of_many_holds_and_can_be_lifted(api: Site, which: dict[str, Any]) -> None:
    """Nothing of it leaves, sweeps end each message, and it is listed as done; another tenant's goes on."""
    await api.send(id="r-1", campaign="spring")
    await api.send(id="m-1", tenant="other", class_="marketing")
    done = await api.ask("POST", "/v1/cancels", json={**which, "reason": "wrong"})
    assert done.json == {"changed": True, "queued": 1}
    assert await leased(api) == ["m-1"]
    shard = api.live.shards[0]
    while (await shard.sweep({}))[0]:
        pass
    assert (await api.ask("GET", "/v1/tenants/acme/messages/r-1")).json["state"] == "cancelled"
    cancels = (await api.ask("GET", "/v1/cancels")).json["cancels"]
    if "campaign" in which:
        (told,) = cancels
        assert (told["what"], told["done"], told["by"], told["reason"]) == (which, True, "api:rails", "wrong")
        assert (await api.send(id="r-2", campaign="spring")).json["state"] == "cancelled"
        assert (await api.ask("DELETE", "/v1/cancels?tenant=acme&campaign=spring")).json == {"changed": True}
        assert (await api.send(id="r-3", campaign="spring")).json["state"] == "queued"
    else:
        assert (await api.send(id="r-2")).json["state"] == "queued"


@pytest.mark.parametrize(
    ("path", "wanted", "status", "pointer"),
    [
        ("pauses", {}, 422, ""), ("pauses", {"all": True, "tenant": "acme"}, 422, ""),
        ("pauses", {"campaign": "spring"}, 422, ""), ("pauses", {"class": "otp"}, 422, "/class"),
        ("pauses", {"provider": "nobody"}, 422, "/provider"), ("pauses", {"tenant": "a b"}, 422, "/tenant"),
        ("pauses", {"tenant": 7}, 400, "/tenant"), ("pauses", {"tenant": "acme", "colour": "red"}, 400, ""),
        ("pauses", [], 400, ""), ("cancels", {"all": True}, 422, ""), ("cancels", {"sender": "Salon"}, 422, ""),
        ("cancels", {"tenant": "acme", "for": "2h"}, 400, ""), ("pauses", {"sender": ""}, 400, "/sender"),
        ("cancels", {"tenant": "acme", "campaign": ""}, 400, "/campaign"),
    ],
)  # fmt: skip
async def test_what_names_nothing_is_refused(api: Site, path: str, wanted: Any, status: int, pointer: str) -> None:
    """With what would be right, and nothing is set."""
    got = await api.ask("POST", f"/v1/{path}", json=wanted)
    assert (got.status, got.json["errors"][0]["pointer"]) == (status, pointer)
    assert (await api.ask("GET", f"/v1/{path}")).json == {path: []}


async def test_how_smsd_stands_is_told(api: Site) -> None:
    """As the command tells it: what waits, what is paused, which revision holds."""
    await api.send(id="r-1")
    await api.ask("POST", "/v1/pauses", json={"class": "marketing"})
    told = (await api.ask("GET", "/v1/status")).json
    assert (told["backlog"], told["revision"], told["config_is_file"]) == ({"reminder": 1, "marketing": 0}, 1, True)
    assert [one["what"] for one in told["paused"]] == ["c:marketing"]
