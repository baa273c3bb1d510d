"""A tenant's own status webhook over HTTP."""

from smsd.store import keys
from smsd.store.push import gaps, shuts
from tests.support.site import ACME, Site
from tests.support.world import ask

PATH = "/v1/tenants/acme/status_webhook"
URL = "https://acme.example/sms-events"


async def test_a_tenant_sets_sees_and_drops_its_own(api: Site) -> None:
    """With its own key; the secret is shown once."""
    assert (await api.ask("GET", PATH, key=ACME)).status == 404
    made = await api.ask("PUT", PATH, json={"url": URL, "states": ["delivered"]}, key=ACME)
    assert (made.status, made.json["url"], made.json["states"]) == (200, URL, ["delivered"])
    assert made.json["secret"].startswith("whsec_")
    shown = await api.ask("GET", PATH, key=ACME)
    assert shown.json == {"url": URL, "states": ["delivered"], "waiting": 0, "oldest_s": 0.0, "disabled": False}
    gone = await api.ask("DELETE", PATH, key=ACME)
    assert (gone.status, gone.body) == (204, b"")
    assert (await api.ask("DELETE", PATH, key=ACME)).status == 404


async def test_another_tenants_is_not_there(api: Site) -> None:
    """A key of one tenant neither sees nor sets it."""
    other = PATH.replace("acme", "other")
    assert (await api.ask("PUT", other, json={"url": URL})).status == 200
    for method, body in (("GET", None), ("PUT", {"url": URL}), ("DELETE", None)):
        assert (await api.ask(method, other, json=body, key=ACME)).status == 404
    assert (await api.ask("GET", other)).status == 200


async def test_what_cannot_be_set_is_told_with_a_pointer(api: Site) -> None:
    """An address inside, a state that is none, a key that is none."""
    inside = await api.ask("PUT", PATH, json={"url": "https://10.0.0.1/"})
    assert (inside.status, inside.json["errors"][0]["pointer"]) == (422, "/url")
    state = await api.ask("PUT", PATH, json={"url": URL, "states": ["sent"]})
    assert (state.status, state.json["errors"][0]["pointer"]) == (422, "/states")
    assert (await api.ask("PUT", PATH, json={"url": URL, "secret": "whsec_x"})).status == 400
    assert (await api.ask("GET", PATH)).status == 404


# ---- For operators ---------------------------------------------------------------------------------------------------

OWN = "/v1/status_webhooks/tenant:acme"


async def test_receivers_are_for_keys_of_all_tenants(api: Site) -> None:
    """A tenant's key is told nothing of them; without any in the config the list is empty."""
    assert (await api.ask("GET", "/v1/status_webhooks")).json == {"receivers": []}
    for method, path in (("GET", ""), ("POST", "/tenant:acme/enable"), ("POST", "/tenant:acme/replay")):
        assert (await api.ask(method, f"/v1/status_webhooks{path}", json={}, key=ACME)).status == 403


async def test_one_that_is_disabled_is_enabled_once(api: Site) -> None:
    """404 where there is none of that name."""
    assert (await api.ask("POST", f"{OWN}/enable")).status == 404
    await api.ask("PUT", PATH, json={"url": URL})
    await api.client.hset(keys.key(0, "shut"), "tenant:acme", '{"at_ms":1,"why":"it answered 410 Gone"}')
    assert (await api.ask("GET", PATH)).json["disabled"] is True
    assert (await api.ask("POST", f"{OWN}/enable")).json == {"enabled": True}
    assert (await api.ask("POST", f"{OWN}/enable")).json == {"enabled": False}
    assert await shuts(api.live.shards[0]) == {}


async def test_a_replay_tells_how_many_events_it_tells_again(api: Site) -> None:
    """A second one while it is under way is a conflict; what makes no sense is a fault, and nothing is done."""
    await api.ask("PUT", PATH, json={"url": URL})
    fields = {"event_id": "acme/m/1", "tenant": "acme", "state": "delivered", "at": "1"}
    await ask(api.client, "XADD", keys.key(0, "events"), "5000-1", *[word for pair in fields.items() for word in pair])
    assert (await api.ask("POST", f"{OWN}/replay", json={"since_ms": 7000, "until_ms": 6000})).status == 422
    assert (await api.ask("POST", f"{OWN}/replay", json={"since": "2h"})).status == 400
    assert (await api.ask("POST", f"{OWN}/replay", json={"since_ms": 1000, "tenant": "acme "})).status == 400
    nothing = await api.ask("POST", f"{OWN}/replay", json={"since_ms": 1000, "until_ms": 4000})
    assert (nothing.status, nothing.json) == (200, {"events": 0, "at_least": False, "first_ms": 5000})
    assert await gaps(api.live.shards[0]) == []
    assert (await api.ask("POST", f"{OWN}/replay", json={"since_ms": 1000})).json["events"] == 1
    (gap,) = await gaps(api.live.shards[0])
    assert gap.field == "tenant:acme|replay"
    assert (await api.ask("POST", f"{OWN}/replay", json={"since_ms": 1000})).status == 409
    assert (await api.ask("POST", "/v1/status_webhooks/nosuch/replay", json={"since_ms": 1000})).status == 404
