"""Texts that people send, in the store: parts joined, repeats written once, and what they answer."""

import pytest

from smsd.provider import Inbound
from smsd.store import keys, optouts, texts
from smsd.store.optouts import of_sender, of_tenant
from smsd.store.texts import Change, Written
from tests.support.world import HOUR, SECOND, World, ask

ANNA, US = "+353861234567", "+353860000000"
WAIT = 180 * SECOND


def part(number: int, of: int = 3, group: str = "g", **more: str) -> Inbound:
    """One part of a text."""
    fields = {"provider_id": f"{group}{number}", "body": f"[{number}]"} | more
    return Inbound(fields["provider_id"], ANNA, US, fields["body"], of, number, group)


async def inbound(world: World) -> list[dict[str, str]]:
    """What the platform reads."""
    entries = await ask(world.client, "XRANGE", keys.key(0, "inbound"), "-", "+")
    return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in entries]


# ---- Parts -----------------------------------------------------------------------------------------------------------


async def test_parts_are_joined_in_their_order(world: World) -> None:
    """However they come, and a repeated one counts once."""
    for number in (3, 1, 3):
        assert await texts.keep(world.shard, "main", part(number), WAIT) is None
    whole = await texts.keep(world.shard, "main", part(2), WAIT)
    assert whole is not None
    assert whole.text == Inbound("g1", ANNA, US, "[1][2][3]", 3)
    await texts.drop(world.shard, whole)
    assert await ask(world.client, "EXISTS", keys.key(0, "parts"), keys.key(0, "partsat")) == 0


async def test_a_whole_text_that_was_not_written_is_there_again(world: World) -> None:
    """Whoever died between joining and writing, its provider's repeat brings the same text."""
    await texts.keep(world.shard, "main", part(1, 2), WAIT)
    first = await texts.keep(world.shard, "main", part(2, 2), WAIT)
    assert await texts.keep(world.shard, "main", part(2, 2), WAIT) == first


async def test_an_incomplete_text_is_told_after_a_while(world: World) -> None:
    """To one process, and to another when that one did not write it."""
    await texts.keep(world.shard, "main", part(3), WAIT)
    await texts.keep(world.shard, "main", part(1), WAIT)
    assert await texts.late(world.shard) == []
    world.pass_time(WAIT)
    [(provider, whole)] = await texts.late(world.shard)
    assert (provider, whole.text.body, whole.text.parts) == ("main", "[1][3]", 3)
    assert await texts.late(world.shard) == []
    world.pass_time(texts.HELD_US)
    assert await texts.late(world.shard) == [(provider, whole)]
    await texts.drop(world.shard, whole)
    assert await texts.keep(world.shard, "main", part(3), WAIT) is None, "a repeat"
    assert await ask(world.client, "EXISTS", keys.key(0, "parts"), keys.key(0, "partsat")) == 0


@pytest.mark.parametrize("written", [False, True])
async def test_a_part_that_comes_while_the_rest_is_written_late_is_a_text_of_its_own(
    world: World, written: bool
) -> None:
    """What is written does not change any more: the part is neither lost nor told twice."""
    await texts.keep(world.shard, "main", part(3), WAIT)
    await texts.keep(world.shard, "main", part(1), WAIT)
    world.pass_time(WAIT)
    [(_, rest)] = await texts.late(world.shard)
    for late, body in ((False, "[1][3]"), (True, "[2]")):
        if late or not written:
            assert await texts.keep(world.shard, "main", part(2), WAIT) is None
        whole = rest
        if late:
            world.pass_time(WAIT)
            [(_, whole)] = await texts.late(world.shard)
        assert whole.text.body == body
        fields = {"body": whole.text.body}
        assert not (await texts.write(world.shard, "main", whole.text.provider_id, None, fields, 100)).repeated
        await texts.drop(world.shard, whole)
    assert [one["body"] for one in await inbound(world)] == ["[1][3]", "[2]"]


async def test_parts_of_too_many_texts_go_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, and what is kept is bounded."""
    monkeypatch.setattr(texts, "GROUPS_MOST", 1)
    assert await texts.keep(world.shard, "main", part(1, group="a"), WAIT) is None
    alone = await texts.keep(world.shard, "main", part(1, group="b"), WAIT)
    assert alone is not None
    assert (alone.text.body, alone.group) == ("[1]", "")


async def test_a_part_that_comes_again_after_its_text_changes_nothing(world: World) -> None:
    """Its provider had not heard that it was taken; a day later it is a new one."""
    for number in (1, 2):
        whole = await texts.keep(world.shard, "main", part(number, 2), WAIT)
    assert whole is not None
    await texts.drop(world.shard, whole)
    assert await texts.keep(world.shard, "main", part(2, 2), WAIT) is None
    assert await ask(world.client, "EXISTS", keys.key(0, "parts")) == 0
    world.pass_time(25 * HOUR)
    await texts.keep(world.shard, "main", part(2, 2), WAIT)
    assert await ask(world.client, "EXISTS", keys.key(0, "parts")) == 1


async def test_a_group_that_is_used_again_loses_nothing(world: World) -> None:
    """Vendors count groups to 255: a part of another text goes alone."""
    await texts.keep(world.shard, "main", part(1, 2), WAIT)
    alone = await texts.keep(world.shard, "main", part(1, 2, provider_id="other", body="Hello"), WAIT)
    assert alone is not None
    assert (alone.text.body, alone.text.provider_id, alone.group) == ("Hello", "other", "")


# ---- Writing ---------------------------------------------------------------------------------------------------------


async def test_a_text_and_what_it_closes_are_one_step(world: World) -> None:
    """The event says the scope; a repeat within a day changes nothing, not even after a START."""
    stop = Change((of_tenant("acme"),), ANNA, "marketing", "main")
    start = Change((of_tenant("acme"), of_sender(US)), ANNA, None, "main")
    assert await texts.write(world.shard, "main", "1", stop, {"body": "STOP"}, 100) == Written(False, None, 1)
    assert await texts.write(world.shard, "main", "2", start, {"body": "START"}, 100) == Written(False, "marketing", 0)
    assert (await texts.write(world.shard, "main", "1", stop, {"body": "STOP"}, 100)).repeated
    assert (await optouts.page(world.shard)).found == []
    told = [(one["body"], one["opt_out"]) for one in await inbound(world)]
    assert told == [("STOP", "marketing"), ("START", "marketing")]
    world.pass_time(25 * HOUR)
    assert not (await texts.write(world.shard, "main", "1", stop, {"body": "STOP"}, 100)).repeated


async def test_another_shard_gets_the_change_without_the_text(world: World) -> None:
    """A sender's entry is in every shard, the text in one."""
    stop = Change((of_sender(US),), ANNA, "all", "main")
    assert await texts.write(world.shard, "main", "1", stop, {}, 100) == Written(False, None, 1)
    assert await inbound(world) == []
    [(field, _)] = (await optouts.page(world.shard)).found
    assert field == optouts.field(of_sender(US), ANNA)


async def test_a_text_without_an_id_is_always_written(world: World) -> None:
    """No repeat can be told then."""
    for _ in range(2):
        assert not (await texts.write(world.shard, "main", "", None, {"body": "Hi"}, 100)).repeated
    assert [one["opt_out"] for one in await inbound(world)] == ["", ""]


async def test_what_a_text_is_told_with_is_decided_once(world: World) -> None:
    """Whoever asks first, within a day."""
    assert await texts.told(world.shard, "main", "1", b"first") == b"first"
    assert await texts.told(world.shard, "main", "1", b"second") == b"first"
    assert await texts.told(world.shard, "spare", "1", b"other") == b"other"
    world.pass_time(25 * HOUR)
    assert await texts.told(world.shard, "main", "1", b"second") == b"second"
    assert await ask(world.client, "HLEN", keys.key(0, "told")) == 1


# ---- What it answers -------------------------------------------------------------------------------------------------


async def test_the_last_message_to_a_person_is_known_by_its_sender(world: World) -> None:
    """Whichever tenant's, until its record goes; a name that nobody can answer is not in the index."""
    for tenant, id_, sender in (("acme", "a", US), ("other", "b", US), ("acme", "c", "Salon"), ("acme", "d", "")):
        await world.send(tenant, id_, sender=sender)
        [leased] = await world.take(1)
        await world.accept(leased, f"SM-{id_}")
    found = await texts.last_to(world.shard, US, ANNA)
    assert found is not None
    assert found[0] == "other/b"
    found = await texts.last_to(world.shard, "", ANNA)
    assert found is not None
    assert found[0] == "acme/d"
    assert await texts.last_to(world.shard, US, "+353869999999") is None
    assert await ask(world.client, "HLEN", keys.key(0, "last")) == 2
    for hours in (49, 73):
        world.pass_time(hours * HOUR)
        await world.sweep()
    assert await ask(world.client, "EXISTS", keys.key(0, "last")) == 0
