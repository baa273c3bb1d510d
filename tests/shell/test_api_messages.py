"""Messages over real HTTP: taken one by one and in lists, found again, withdrawn; and what is refused, and how."""

import pytest

from smsd.shell.api_messages import ARRAY_MAX
from smsd.store import keys
from smsd.store.shard import Offer
from tests.support.site import ACME, GOOD, Site
from tests.support.world import accepted, ask

# ---- One -------------------------------------------------------------------------------------------------------------


async def test_one_message_is_taken_and_can_be_read_at_once(api: Site) -> None:
    """The answer names it, and its story begins with its being taken."""
    got = await api.send(id="r-1", campaign="spring")
    assert (got.status, got.json) == (202, {"state": "queued", "tenant": "acme", "id": "r-1"})
    told = await api.ask("GET", "/v1/tenants/acme/messages/r-1")
    assert told.status == 200
    assert (told.json["state"], told.json["final"], told.json["class"]) == ("queued", False, "reminder")
    assert told.json["history"][0]["what"] == "taken"
    assert told.json["history"][0]["facts"]["campaign"] == "spring"
    assert api.nudged == ["default"]


async def test_one_that_waits_says_until_when(api: Site) -> None:
    """A message with a not_before in the future is queued, and due then; a number and a time do alike."""
    at_ms = 4_000_000_000_000
    first = await api.send(id="r-1", not_before=at_ms)
    second = await api.send(id="r-2", not_before="2096-10-02T07:06:40Z")
    assert first.json == {"state": "queued", "tenant": "acme", "id": "r-1", "due_ms": at_ms}
    assert second.json["due_ms"] == at_ms
    assert api.nudged == []
    (hold,) = (await api.ask("GET", "/v1/tenants/acme/messages/r-1")).json["holds"]
    assert (hold["kind"], hold["until_ms"], hold["estimate"]) == ("time", at_ms, False)


async def test_an_id_is_made_up_where_none_is_given(api: Site) -> None:
    """It begins with the class, as that of a stream's entry does, and no two are alike."""
    ids = [(await api.send()).json["id"] for _ in range(2)]
    assert all(id_.startswith("reminder-") for id_ in ids)
    assert ids[0] != ids[1]
    assert (await api.ask("GET", f"/v1/tenants/acme/messages/{ids[0]}")).status == 200


async def test_a_repeat_is_taken_once_and_says_where_the_message_stands(api: Site) -> None:
    """The same id with the same content changes nothing; with other content it is a conflict."""
    await api.send(id="r-1")
    await api.ask("POST", "/v1/tenants/acme/messages/r-1/cancel")
    again = await api.send(id="r-1")
    assert (again.status, again.json["state"], again.json["repeated"]) == (202, "cancelled", True)
    other = await api.send(id="r-1", body="another text")
    assert other.status == 409
    assert other.json["errors"] == [
        {"pointer": "/id", "reason": "id_conflict", "detail": "id: was used for a message with other content"}
    ]
    assert api.counted() == {
        'class="reminder",outcome="taken"': 1, 'class="",outcome="cancel_cancelled"': 1,
        'class="reminder",outcome="repeated"': 1, 'class="reminder",outcome="rejected"': 1,
    }  # fmt: skip


async def test_what_is_refused_leaves_nothing_but_a_count(api: Site) -> None:
    """The caller knows: no event is told, no entry is kept, and the problem quotes no number and no text."""
    got = await api.send(to="+35386123456789", body="a secret text", meta="{")
    assert (got.status, got.headers["Content-Type"]) == (422, "application/problem+json")
    assert [(one["pointer"], one["reason"]) for one in got.json["errors"]] == [("/to", "bad_number")]
    assert b"353861" not in got.body
    assert b"secret" not in got.body
    for kind in ("events", "dead"):
        assert await ask(api.client, "EXISTS", keys.key(0, kind)) == 0
    assert api.counted("smsd_rejected_total") == {'class="reminder",reason="bad_number"': 1}


@pytest.mark.parametrize(
    ("changed", "pointer", "reason"),
    [
        ({"tenant": None}, "", "missing_field"),
        ({"to": None, "body": None}, "", "missing_field"),
        ({"tenant": "a b"}, "/tenant", "bad_tenant"),
        ({"tenant": 7}, "/tenant", "bad_tenant"),
        ({"tenant": "Ünter"}, "/tenant", "bad_tenant"),
        ({"to": 353861234567}, "/to", "bad_number"),
        ({"to": ["+353861234567"]}, "/to", "bad_number"),
        ({"body": ""}, "/body", "bad_body"),
        ({"body": "x" * 2000}, "/body", "too_long"),
        ({"body": "x" * 70_000}, "", "too_large"),
        ({"id": ""}, "/id", "bad_id"),
        ({"id": {}}, "/id", "bad_id"),
        ({"from": "much too long a name"}, "/from", "bad_sender"),
        ({"not_before": 1_700_000_000}, "/not_before", "bad_time"),
        ({"not_after": "2020-01-01T00:00:00Z"}, "/not_after", "in_past"),
        ({"meta": "x" * 2100}, "/meta", "bad_meta"),
        ({"op": "delete"}, "/op", "bad_op"),
        ({"op": "cancel"}, "", "missing_field"),
        ({"class": None}, "/class", "bad_class"),
        ({"class": "otp"}, "/class", "bad_class"),
        ({"class": ["reminder"]}, "/class", "bad_class"),
    ],
)
async def test_each_fault_has_its_pointer_and_its_reason(
    api: Site, changed: dict[str, object], pointer: str, reason: str
) -> None:
    """Alone and in a list, the pointer leads to the field, or to the element where no field is to blame."""
    element = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    alone = await api.send(element)
    assert (alone.status, alone.json["status"]) == (422, 422)
    assert [(one["pointer"], one["reason"]) for one in alone.json["errors"]] == [(pointer, reason)]
    among = await api.send([GOOD, element])
    assert among.status == 202
    assert [one["state"] for one in among.json] == ["queued", "rejected"]
    assert [(one["pointer"], one["reason"]) for one in among.json[1]["errors"]] == [(f"/1{pointer}", reason)]


# ---- Many ------------------------------------------------------------------------------------------------------------


async def test_elements_succeed_or_fail_by_themselves(api: Site) -> None:
    """A list of a thousand has an answer for each, in order, whatever they are."""
    given = [{**GOOD, "id": f"m-{i}", "class": ("reminder", "marketing")[i % 2]} for i in range(ARRAY_MAX - 3)]
    odd = [7, {**GOOD, "id": "m-0", "body": "another"}, {"op": "cancel", "tenant": "acme", "id": "m-1"}]
    got = await api.send([*given, *odd])
    assert got.status == 202
    assert [one["id"] for one in got.json[: len(given)]] == [one["id"] for one in given]
    bad, conflict, cancel = got.json[len(given) :]
    assert (bad["state"], bad["errors"][0]["reason"], bad["errors"][0]["pointer"]) == ("rejected", "bad_json", "/997")
    assert (conflict["id"], conflict["errors"][0]["reason"]) == ("m-0", "id_conflict")
    assert cancel == {"state": "cancelled", "tenant": "acme", "id": "m-1"}


@pytest.mark.parametrize("size", [0, ARRAY_MAX + 1])
async def test_a_list_has_one_to_a_thousand_elements(api: Site, size: int) -> None:
    """None, or too many, are refused as a whole."""
    got = await api.send([GOOD] * size)
    assert (got.status, got.json["errors"][0]["reason"]) == (400, "bad_request")


async def test_one_that_replaces_an_earlier_one_of_the_list_withdraws_it(api: Site) -> None:
    """The order of the list holds, also between classes."""
    got = await api.send(
        [{**GOOD, "id": "old", "class": "marketing"}, {**GOOD, "id": "new", "replaces": "old", "body": "At eleven."}]
    )
    assert [one["state"] for one in got.json] == ["queued", "queued"]
    assert (await api.ask("GET", "/v1/tenants/acme/messages/old")).json["state"] == "cancelled"


async def test_half_an_emoji_is_one_elements_fault(api: Site) -> None:
    """As of a text that was cut within one: the others are taken as they are, and it is said what mends it."""
    texts = ["so \\ud83d", "Fáilte 👋 \\ud83d\\udc4b", "so \\udc4b long"]
    every = [f'{{"class": "reminder", "tenant": "acme", "to": "+353861234567", "body": "{text}"}}' for text in texts]
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    got = await api.ask("POST", "/v1/messages", data=f"[{', '.join(every)}, 7]".encode(), headers=headers)
    assert (got.status, [one["state"] for one in got.json]) == (202, ["rejected", "queued", "rejected", "rejected"])
    assert all("surrogate pair" in got.json[i]["errors"][0]["detail"] for i in (0, 2))
    assert (await api.send(id="k:1", body="Fáilte 👋 👋")).json["repeated"]
    alone = await api.ask("POST", "/v1/messages", data=every[0].encode(), headers=headers)
    assert (alone.status, "cut inside an emoji" in alone.json["errors"][0]["detail"]) == (400, True)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'"text"', b"7", b"null", b"[{]", b'{"a":"\xff"}', b"[" * 9000]
)
async def test_what_is_no_json_is_refused_as_a_whole(api: Site, body: bytes) -> None:
    """400, with the place where it goes wrong."""
    got = await api.ask("POST", "/v1/messages", data=body, headers={"Content-Type": "application/json"})
    assert got.status == 400
    assert got.json["errors"][0]["reason"] == "bad_json"


# ---- Idempotency-Key -------------------------------------------------------------------------------------------------


async def test_an_idempotency_key_is_the_id_that_is_missing(api: Site) -> None:
    """Of one message the key itself, in a list the key and the index; a message with an id keeps it."""
    for key in ("k-1", '"k-1"'):
        got = await api.send(headers={"Idempotency-Key": key})
        assert (got.status, got.json["id"], got.json.get("repeated", False)) == (202, "k-1", key != "k-1")
    listed = [{**GOOD}, {**GOOD, "id": "own"}, {**GOOD}]
    for repeated in (False, True):
        got = await api.send(listed, headers={"Idempotency-Key": "k-2"})
        assert [one["id"] for one in got.json] == ["k-2:0", "own", "k-2:2"]
        assert [one.get("repeated", False) for one in got.json] == [repeated] * 3


async def test_a_repeat_stays_one_when_its_time_is_over(api: Site) -> None:
    """After its not_after too the answer says where the message stands, by its id or by the key; a first is refused."""
    at_ms = 1_774_771_200_000
    api.live.shards[0].now_us = at_ms * 1000
    over = {**GOOD, "not_after": at_ms + 1000}
    await api.send({**over, "id": "own"})
    await api.send(over, headers={"Idempotency-Key": "k"})
    api.live.shards[0].now_us = (at_ms + 2000) * 1000
    for again, headers in (({**over, "id": "own"}, {}), (over, {"Idempotency-Key": "k"})):
        got = await api.send(again, headers=headers)
        assert (got.status, got.json["state"], got.json["repeated"]) == (202, "queued", True)
    for new in (over, {**over, "id": "new"}, {**over, "id": "own", "body": "other"}):
        got = await api.send(new)
        assert (got.status, got.json["errors"][0]["reason"]) == (422, "in_past")


async def test_the_same_key_with_other_content_is_a_conflict(api: Site) -> None:
    """409 for one message; in a list only the elements that differ."""
    await api.send(headers={"Idempotency-Key": "k"})
    assert (await api.send(body="other", headers={"Idempotency-Key": "k"})).status == 409
    await api.send([GOOD, GOOD], headers={"Idempotency-Key": "k"})
    got = await api.send([GOOD, {**GOOD, "body": "other"}], headers={"Idempotency-Key": "k"})
    assert [one["state"] for one in got.json] == ["queued", "rejected"]
    assert got.json[1]["errors"][0]["reason"] == "id_conflict"


async def test_a_key_that_is_none_is_refused(api: Site) -> None:
    """400, and it does not make up an id instead."""
    got = await api.send(headers={"Idempotency-Key": "two words"})
    assert got.status == 400
    assert "Idempotency-Key" in got.json["detail"]


async def test_a_cancel_never_takes_its_id_from_the_key(api: Site) -> None:
    """What is withdrawn is named in the element."""
    got = await api.send({"op": "cancel", "tenant": "acme"}, headers={"Idempotency-Key": "k"})
    assert (got.status, got.json["errors"][0]["reason"]) == (422, "missing_field")


# ---- Cancel, find ----------------------------------------------------------------------------------------------------


async def test_a_cancel_says_what_it_found(api: Site) -> None:
    """200 for one that waits, also when repeated; 202 for one that is not known yet, and then it ends cancelled."""
    await api.send(id="r-1")
    for _ in range(2):
        got = await api.ask("POST", "/v1/tenants/acme/messages/r-1/cancel")
        assert (got.status, got.json) == (200, {"tenant": "acme", "id": "r-1", "state": "cancelled"})
    early = await api.ask("POST", "/v1/tenants/acme/messages/r-2/cancel")
    assert (early.status, early.json["state"]) == (202, "cancelling")
    assert (await api.ask("GET", "/v1/tenants/acme/messages/r-2")).status == 404
    assert (await api.send(id="r-2")).json["state"] == "cancelled"


async def test_a_cancel_that_comes_too_late_is_a_conflict(api: Site) -> None:
    """202 while it is just leaving, 409 once it has left; by either way of asking."""
    shard = api.live.shards[0]
    await api.send(id="r-1")
    lease = await shard.lease("default", [Offer("main", 1, 10)], n=1, request="r", process="p", span_us=10_000_000)
    told = (await api.ask("GET", "/v1/tenants/acme/messages/r-1")).json
    assert (told["state"], told["holds"][0]["kind"]) == ("queued", "leaving")
    leaving = await api.ask("POST", "/v1/tenants/acme/messages/r-1/cancel")
    assert (leaving.status, leaving.json["state"]) == (202, "cancelling")
    await shard.settle([accepted(lease.messages[0], "SM1")])
    late = await api.ask("POST", "/v1/tenants/acme/messages/r-1/cancel")
    assert (late.status, late.json["errors"][0]["reason"]) == (409, "cancel_too_late")
    assert "submitted" in late.json["detail"]
    one = {"op": "cancel", "tenant": "acme", "id": "r-1"}
    assert (await api.send(one)).status == 409
    (among,) = (await api.send([one])).json
    assert (among["state"], among["errors"][0]["reason"]) == ("submitted", "cancel_too_late")


async def test_a_cancel_of_what_never_left_does_not_say_that_it_has(api: Site) -> None:
    """It has ended otherwise: the conflict tells how, and no more."""
    await api.ask("PUT", "/v1/tenants/acme/opt-outs/+353861234567", json={})
    assert (await api.send(id="r-1")).json["state"] == "suppressed"
    late = await api.ask("POST", "/v1/tenants/acme/messages/r-1/cancel")
    assert (late.status, late.json["detail"]) == (409, "too late to cancel: it is suppressed")
    assert "without leaving" in late.json["errors"][0]["detail"]


async def test_messages_are_found_by_their_recipient(api: Site) -> None:
    """The newest first, by E.164 or as the tenant's region writes it, and none of another tenant's."""
    for i in range(3):
        await api.send(id=f"r-{i}")
    await api.send(id="other", tenant="globex")
    for to in ("+353861234567", "%2B353861234567", "086%20123%204567"):
        got = await api.ask("GET", f"/v1/tenants/acme/messages?to={to}&limit=2")
        assert (got.status, [one["id"] for one in got.json["messages"]]) == (200, ["r-2", "r-1"])
    assert (await api.ask("GET", "/v1/tenants/acme/messages?to=%2B353861234999")).json == {"messages": []}


@pytest.mark.parametrize(
    "query", ["", "to=nonsense", "to=", "limit=5", "to=%2B353861234567&limit=0", "to=%2B353861234567&limit=x",
              "to=%2B353861234567&to=%2B353861234567", "to=%2B353861234567&page=2"],
)  # fmt: skip
async def test_a_query_that_is_none_is_refused(api: Site, query: str) -> None:
    """A recipient is needed, and what the path does not know is a mistake."""
    got = await api.ask("GET", f"/v1/tenants/acme/messages?{query}")
    assert got.status == 400
    assert b"35386" not in got.body


# ---- What comes from the store ---------------------------------------------------------------------------------------


async def test_what_is_shed_is_asked_to_come_again(api: Site) -> None:
    """429 with Retry-After for one, an error each among others; a cancel, which frees memory, is taken."""
    await api.send(id="r-1", class_="marketing")
    api.shed = {"marketing"}
    got = await api.send(class_="marketing")
    assert (got.status, got.headers["Retry-After"]) == (429, "5")
    assert got.json["errors"][0]["reason"] == "shed"
    assert (await api.send([{**GOOD, "class": "marketing"}] * 2)).status == 429
    cancel = {"op": "cancel", "tenant": "acme", "id": "r-1", "class": "marketing"}
    mixed = await api.send([GOOD, {**GOOD, "class": "marketing"}, cancel])
    assert (mixed.status, [one["state"] for one in mixed.json]) == (202, ["queued", "rejected", "cancelled"])
    assert api.counted()['class="marketing",outcome="shed"'] == 4


async def test_a_key_of_one_tenant_learns_nothing_of_others(api: Site) -> None:
    """Another tenant's message is none, whether or not it is there, and to send for it fails by itself."""
    await api.send(id="r-1", tenant="globex")
    there = await api.ask("GET", "/v1/tenants/globex/messages/r-1", key=ACME)
    not_there = await api.ask("GET", "/v1/tenants/globex/messages/r-2", key=ACME)
    nobody = await api.ask("GET", "/v1/tenants/nobody/messages/r-2", key=ACME)
    assert {there.status, not_there.status, nobody.status} == {404}
    assert there.body == not_there.body == nobody.body
    assert (await api.ask("POST", "/v1/tenants/globex/messages/r-1/cancel", key=ACME)).body == there.body
    assert (await api.ask("GET", "/v1/tenants/globex/messages?to=%2B353861234567", key=ACME)).body == there.body
    mixed = await api.send([GOOD, {**GOOD, "tenant": "globex"}, {**GOOD, "tenant": "nobody"}], key=ACME)
    assert [one["state"] for one in mixed.json] == ["queued", "rejected", "rejected"]
    assert [one["errors"][0]["reason"] for one in mixed.json[1:]] == ["unknown_tenant"] * 2
    assert (await api.ask("GET", "/v1/tenants/globex/messages/r-1")).json["state"] == "queued"


@pytest.mark.parametrize(
    "tenants", ['"tenant":"acme","tenant":"globex"', '"tenant":"globex","tenant":"acme"', '"ten\\u0061nt":"globex"',
                '"tenant":"glob\\u0065x"', '"tenant":null,"tenant":"globex"'],
)  # fmt: skip
async def test_no_way_of_writing_a_tenant_gets_past_the_key(api: Site, tenants: str) -> None:
    """Whichever of two counts, a key of one tenant sends for none but that one."""
    body = f'{{{tenants},"class":"reminder","id":"r-1","to":"+353861234567","body":"x"}}'.encode()
    got = await api.ask("POST", "/v1/messages", key=ACME, data=body, headers={"Content-Type": "application/json"})
    assert got.status in (202, 422)
    assert got.status == 422 or got.json["tenant"] == "acme"
    assert (await api.ask("GET", "/v1/tenants/globex/messages/r-1")).status == 404
