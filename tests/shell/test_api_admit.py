"""The streams and the API share one intake: the same entry comes to the same, and an id by both is taken once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from smsd.control.tenants import Tenants
from smsd.shell.intake import Intake
from smsd.store import inbox, keys
from tests.support.site import GOOD, KEYS, Site, site
from tests.support.valkey import Valkey
from tests.support.world import ask

ENTRIES: list[tuple[str, dict[str, Any] | bytes]] = [
    ("good", {}),
    ("national", {"to": "086 123 4567", "region": "IE"}),
    ("marketing", {"class": "marketing", "campaign": "spring", "meta": {"a": [1, 2.5]}}),
    ("waits", {"not_before": 4_000_000_000_000, "not_after": "2097-01-01T00:00:00+01:00"}),
    ("two-parts", {"body": "x" * 200}),
    ("unicode", {"body": "Grüße 👋"}),
    ("unknown-field", {"colour": "red", "meta": "{}"}),
    ("traced", {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}),
    ("bad-trace", {"traceparent": "nonsense"}),
    ("replaces", {"replaces": "good", "body": "At eleven."}),
    ("replaces-none", {"replaces": "nobody"}),
    ("no-tenant", {"tenant": None}),
    ("no-to", {"to": None}),
    ("no-body", {"body": None}),
    ("bad-tenant", {"tenant": "a b"}),
    ("number-tenant", {"tenant": 7}),
    ("bad-number", {"to": "+3538612345678901"}),
    ("short-number", {"to": "50123"}),
    ("bad-region", {"to": "086 123 4567", "region": "XX"}),
    ("bad-sender", {"from": "much too long a name"}),
    ("bad-campaign", {"campaign": "a b"}),
    ("bad-replaces", {"replaces": "a/b"}),
    ("empty", {"body": ""}),
    ("nul", {"body": "a\0b"}),
    ("long", {"body": "x" * 1600}),
    ("large", {"body": "x" * 70_000}),
    ("seconds", {"not_before": 1_700_000_000}),
    ("past", {"not_after": "2020-01-01T00:00:00Z"}),
    ("no-offset", {"not_before": "2096-01-01T00:00:00"}),
    ("bad-meta", {"meta": "{"}),
    ("large-meta", {"meta": "x" * 2100}),
    ("bad-op", {"op": "delete"}),
    ("null-fields", {"campaign": None, "from": None}),
    ("list", b"[]"),
    ("text", b'"x"'),
]
NAMES = frozenset(name for name, _ in ENTRIES)
OF_MESSAGES = ("state", "segments", "encoding", "to_country", "campaign", "meta", "due", "replaced", "class", "final")


def element(id_: str, changed: dict[str, Any] | bytes, tenant: str) -> bytes:
    if isinstance(changed, bytes):
        return changed
    kept = {**GOOD, "tenant": tenant, "id": id_, **changed}
    return msgspec.json.encode({name: value for name, value in kept.items() if value is not None})


@pytest.fixture
async def intake(api: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Intake]:
    """The other way in, over the same shard."""
    monkeypatch.setattr(inbox, "BLOCK_MS", 50)
    made = Intake(api.live, api.store.blocking, api.metrics, api.nudged.append, api.logs.logger)
    task = asyncio.create_task(made.run())
    yield made
    made.stop()
    await task


async def events(api: Site, count: int) -> list[dict[str, str]]:
    """The stream's events, once there are so many."""
    stream = keys.key(0, "events")
    async with asyncio.timeout(20):
        while (entries := await ask(api.client, "XRANGE", stream, "-", "+")) is None or len(entries) < count:
            last = entries[-1][0] if entries else "0"
            await ask(api.client, "XREAD", "BLOCK", 1000, "STREAMS", stream, last)
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]


async def by_stream(api: Site, id_: str, changed: dict[str, Any] | bytes, tenant: str = "acme") -> None:
    class_ = changed.get("class", "reminder") if isinstance(changed, dict) else "reminder"
    await api.client.xadd(keys.inbox(0, class_), {"json": element(id_, changed, tenant)})


@pytest.mark.usefixtures("intake")
async def test_the_same_entry_comes_to_the_same_by_either_way(api: Site) -> None:
    """Good or bad, what its event tells or why it is rejected is alike, word for word, and it is counted alike."""
    for name, changed in ENTRIES:
        await by_stream(api, name, changed)
    replaced = 1  # has an event of its own
    told = await events(api, len(ENTRIES) + replaced)
    counted, reasons = api.counted(), api.counted("smsd_rejected_total")
    got = await api.send([msgspec.Raw(element(name, changed, "apex")) for name, changed in ENTRIES])
    mine = await events(api, len(told) + sum(one["state"] != "rejected" for one in got.json) + replaced)
    rejected = {one.get("given_id") or one["entry_id"]: one for one in told if one["state"] == "rejected"}
    seen: list[str] = []
    for (name, changed), outcome in zip(ENTRIES, got.json, strict=True):
        if outcome["state"] == "rejected":
            (fault,) = outcome["errors"]
            same = [(one["reason"], one["detail"]) for key, one in rejected.items() if key == name or key not in NAMES]
            assert (fault["reason"], fault["detail"]) in same, name
            seen.append(name)
        else:
            ours, theirs = (
                [{field: one.get(field) for field in OF_MESSAGES} for one in mine if (one["tenant"], one["id"]) == key]
                for key in (("apex", name), ("acme", name))
            )
            assert ours == theirs != [], name
            assert isinstance(changed, dict)
    assert len(seen) == len(rejected)
    assert by_outcome(api.counted()) == {labels: 2 * n for labels, n in by_outcome(counted).items()}
    assert by_outcome(api.counted("smsd_rejected_total")) == {k: 2 * n for k, n in by_outcome(reasons).items()}


def by_outcome(counted: dict[str, float]) -> dict[str, float]:
    """Over all classes, for what is no object has none by HTTP."""
    total: Counter[str] = Counter()
    for labels, n in counted.items():
        total[labels.partition(",")[2]] += int(n)
    return dict(total)


@pytest.mark.usefixtures("intake")
async def test_an_id_that_comes_by_both_ways_is_taken_once(api: Site) -> None:
    """Whichever is first; and with other content it is a conflict, told where it came from."""
    await api.send(id="a")
    await by_stream(api, "a", {})
    await by_stream(api, "b", {})
    await by_stream(api, "a", {"body": "other"})
    told = await events(api, 3)
    assert [(one["state"], one["id"], one.get("reason")) for one in told if one["state"] == "queued"] == [
        ("queued", "a", None), ("queued", "b", None),
    ]  # fmt: skip
    assert [one["given_id"] for one in told if one.get("reason") == "id_conflict"] == ["a"]
    again, other = await api.send(id="b"), await api.send(id="b", body="other")
    assert (again.status, again.json["repeated"], other.status) == (202, True, 409)
    assert len(await events(api, 3)) == 3


async def test_what_the_api_makes_of_types(api: Site) -> None:
    """Numbers are taken for times and anything for meta, as in the json field of a stream's entry, and no others."""
    got = await api.send(id="r", meta={"order": 12345678901234567890, "of": [1.50]}, not_before=4_000_000_000_000)
    assert got.status == 202
    (event,) = await events(api, 1)
    assert event["meta"] == '{"order":12345678901234567890,"of":[1.5]}'
    assert (await api.send(body=7)).json["errors"][0]["detail"] == "body: a JSON string is wanted"


async def test_what_smsd_fails_on_is_told_and_kept(api: Site) -> None:
    """500 for one whose script call fails, with a dead letter, for then there is something to mend."""
    await ask(api.client, "SET", keys.key(0, "msg"), "no hash")
    got = await api.send(id="r-1")
    assert (got.status, got.json["errors"][0]["reason"]) == (500, "internal")
    assert await ask(api.client, "XLEN", keys.key(0, "dead")) == 1


async def test_a_list_that_the_store_takes_a_part_of(tmp_path: Path, start_valkey: Callable[..., Valkey]) -> None:
    """Each element says where it stands; those that are not sure, sent again by the ids that were told, come to one."""
    async with site(start_valkey().url, tmp_path) as api:
        await api.send()  # the script is known now
        memory: Any = await api.client.info("memory")  # pyright: ignore[reportUnknownMemberType]
        await api.client.config_set("maxmemory", memory["used_memory"] + 1_000_000)
        many: list[Any] = [{**GOOD, "body": "x" * 1000} for _ in range(1000)]
        got = await api.send([*many[:999], {**GOOD, "to": "12"}])
        assert (got.status, len(got.json)) == (202, 1000)
        told = Counter((one["state"], one["errors"][0]["reason"] if "errors" in one else "") for one in got.json)
        assert set(told) == {
            ("queued", ""),
            ("unsure", "unsure"),
            ("rejected", "not_tried"),
            ("rejected", "bad_number"),
        }
        unsure = next(i for i, one in enumerate(got.json) if one["state"] == "unsure")
        assert got.json[unsure]["errors"][0]["pointer"] == f"/{unsure}"
        await api.client.config_set("maxmemory", "1")
        away = await api.send(many[:150])
        assert (away.status, away.headers["Retry-After"]) == (503, "5")
        assert [one["reason"] for one in away.json["errors"]] == ["unsure"] * 100 + ["not_tried"] * 50
        await api.client.config_set("maxmemory", "0")
        again = await api.send([{**many[i], "id": one["id"]} for i, one in enumerate(got.json[:999])])
        assert Counter(one.get("repeated", False) for one in again.json)[True] == told["queued", ""]
        assert await ask(api.client, "HLEN", keys.key(0, "msg")) == 1000


async def test_a_tenant_that_another_process_made_a_moment_ago_is_known(store_url: str, tmp_path: Path) -> None:
    """Where unknown tenants are rejected, a process that has not followed yet looks before it says so."""
    extra = KEYS + '[unknown_tenants]\npolicy = "reject"\n'
    async with site(store_url, tmp_path, extra=extra) as api:
        await Tenants(api.live.config, api.live.shards).put("acme", {"limits": ["9/s"]})
        got = await api.send([GOOD, {**GOOD, "tenant": "nobody"}])
        assert [one["state"] for one in got.json] == ["queued", "rejected"]
        assert got.json[1]["errors"][0]["reason"] == "unknown_tenant"
