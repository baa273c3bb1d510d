"""The inboxes as a consumer sees them: every byte as it was written, what is pending, what others left behind."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from smsd.store import inbox as module
from smsd.store import keys
from smsd.store.connect import Store, connect
from smsd.store.inbox import BATCH, Inbox
from tests.support.world import ask

REMINDERS = keys.inbox(0, "reminder")


@pytest.fixture
async def store(store_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """Clients of the empty shared server; a blocking read ends at once."""
    monkeypatch.setattr(module, "BLOCK_MS", 10)
    made = connect(store_url)
    yield made
    await made.aclose()


@pytest.fixture
async def inbox(store: Store) -> Inbox:
    """The consumer "me" of both classes' inboxes."""
    made = Inbox(0, store.client, store.blocking, "me")
    await made.open(["reminder", "marketing"])
    return made


async def _raw(store: Store, *pairs: str | bytes) -> str:
    entry_id: Any = await store.client.execute_command("XADD", REMINDERS, "*", *pairs)
    return entry_id.decode()


async def _other(store: Store, consumer: str = "other") -> None:
    await store.client.xreadgroup(keys.GROUP, consumer, {REMINDERS: ">"})


async def test_opening_twice_does_no_harm(store: Store, inbox: Inbox) -> None:
    """Groups that are there stay as they are."""
    await _raw(store, "a", "1")
    assert await inbox.open(["reminder", "marketing"]) == ["reminder", "marketing"]
    assert list(await inbox.read(["reminder"])) == ["reminder"]


async def test_what_is_no_stream_is_left_out(store: Store, inbox: Inbox) -> None:
    """The others are opened, and the list stays as it is."""
    await ask(store.client, "LPUSH", keys.inbox(0, "otp"), "a text")
    assert await inbox.open(["otp", "vip", "reminder"]) == ["vip", "reminder"]
    assert await ask(store.client, "LLEN", keys.inbox(0, "otp")) == 1


async def test_entries_come_as_they_were_written(store: Store, inbox: Inbox) -> None:
    """Fields keep their order and their bytes, and one that comes twice comes twice."""
    entry_id = await _raw(store, "b", "1", b"\xff", b"\x00", "b", "2")
    assert await inbox.read(["reminder"]) == {
        "reminder": [(entry_id, ((b"b", b"1"), (b"\xff", b"\x00"), (b"b", b"2")))]
    }
    assert await inbox.read(["reminder"]) == {}


async def test_classes_come_in_the_order_asked_for(store: Store, inbox: Inbox) -> None:
    """Whichever was written first, the class that is asked for first comes first, and an empty one not at all."""
    await store.client.xadd(keys.inbox(0, "marketing"), {"a": "1"})
    await _raw(store, "a", "1")
    assert list(await inbox.read(["reminder", "marketing"])) == ["reminder", "marketing"]
    await _raw(store, "a", "1")
    assert list(await inbox.read(["marketing", "reminder"])) == ["reminder"]


async def test_a_read_is_bounded(store: Store, inbox: Inbox) -> None:
    """No more than a batch comes at once, and what is pending comes again in pages."""
    ids = [await _raw(store, "a", "1") for _ in range(BATCH + 5)]
    assert [one for one, _ in (await inbox.read(["reminder"]))["reminder"]] == ids[:BATCH]
    await inbox.read(["reminder"])
    first = await inbox.pending("reminder", "0")
    assert [one for one, _ in first] == ids[:BATCH]
    assert [one for one, _ in await inbox.pending("reminder", first[-1][0])] == ids[BATCH:]


async def test_only_what_is_idle_is_claimed(store: Store, inbox: Inbox) -> None:
    """Another consumer's entries are claimed when they have been pending long enough, in pages up to the end."""
    ids = [await _raw(store, "a", "1") for _ in range(BATCH + 5)]
    await _other(store)
    assert await inbox.claim("reminder", 60_000, "0-0") == ("0-0", [])
    cursor, first = await inbox.claim("reminder", 0, "0-0")
    assert cursor != "0-0"
    cursor, second = await inbox.claim("reminder", 0, cursor)
    assert cursor == "0-0"
    assert [one for one, _ in first + second] == ids
    assert len(await inbox.pending("reminder", "0")) == BATCH


async def test_what_was_deleted_while_pending_is_acknowledged(store: Store, inbox: Inbox) -> None:
    """An entry without fields is neither returned nor pending any more, be it its own or another's."""
    mine, kept = await _raw(store, "a", "1"), await _raw(store, "a", "2")
    await inbox.read(["reminder"])
    theirs = await _raw(store, "a", "3")
    await _other(store)
    await store.client.xdel(REMINDERS, mine, theirs)
    assert [one for one, _ in await inbox.pending("reminder", "0")] == [kept]
    await inbox.claim("reminder", 0, "0-0")
    pending: Any = await store.client.xpending(REMINDERS, keys.GROUP)
    assert pending["pending"] == 1


async def test_only_idle_consumers_with_nothing_pending_are_forgotten(store: Store, inbox: Inbox) -> None:
    """Those that hold entries stay, lest these be lost with them, and so do those that have just read."""
    await _raw(store, "a", "1")
    await _other(store, "holds")
    await _other(store, "empty")
    assert await inbox.forget("reminder", 60_000) == 0
    assert await inbox.forget("reminder", 0) == 1
    assert await _names(store) == {"holds"}


async def test_forgetting_is_bounded(store: Store, inbox: Inbox) -> None:
    """However many are dead, one call forgets a bounded number."""
    for n in range(module.FORGET_MOST + 5):
        await store.client.xgroup_createconsumer(REMINDERS, keys.GROUP, f"dead{n}")
    assert await inbox.forget("reminder", 0) == module.FORGET_MOST
    assert await inbox.forget("reminder", 0) == 5


async def test_only_the_named_are_forgotten(store: Store, inbox: Inbox) -> None:
    """A process that ends takes away its own name and no other."""
    await _other(store, "mine")
    await _other(store, "theirs")
    assert await inbox.forget("reminder", 0, "mine") == 1
    assert await _names(store) == {"theirs"}


async def _names(store: Store) -> set[str]:
    rows: Any = await store.client.xinfo_consumers(REMINDERS, keys.GROUP)
    return {row["name"].decode() for row in rows}
