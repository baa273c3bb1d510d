"""Who has opted out, in the store: kept per tenant or sender, checked at intake and right before the attempt."""

import msgspec
import pytest

from smsd.core.optout import Scope
from smsd.store import holds, keys, optouts
from smsd.store.optouts import OptOut, of_sender, of_tenant
from tests.support.world import HOUR, SECOND, World, ask, back, clear, fail, resend, retry, unknown

ANNA, BEN = "+353861234567", "+353861234568"
ACME, SALON = of_tenant("acme"), of_sender("Salon")


@pytest.fixture
async def closed(world: World) -> World:
    """Classes with their scopes in force."""
    rows = [["reminder", 8, 1000, 48 * HOUR, 0], ["marketing", 1, 1000, 48 * HOUR, 1]]
    await world.put(classes=rows)
    return world


async def out(world: World, whose: str = ACME, scope: Scope = "all", number: str = ANNA) -> None:
    """Somebody opts out."""
    await optouts.close(world.shard, whose, [OptOut(number, scope, source="inbound", provider="main")])


async def lists(world: World) -> list[str]:
    """Whose lists there are."""
    found = (await optouts.page(world.shard)).found
    return sorted({field.partition("\0")[0] for field, _ in found})


# ---- The list --------------------------------------------------------------------------------------------------------


async def test_a_wider_scope_that_is_closed_stays(world: World) -> None:
    """Closing marketing after all changes nothing; all after marketing does, and a repeat never."""
    assert await optouts.close(world.shard, ACME, [OptOut(ANNA, "marketing"), OptOut(ANNA, "marketing")]) == 1
    assert await optouts.close(world.shard, ACME, [OptOut(ANNA, "all")]) == 1
    assert await optouts.close(world.shard, ACME, [OptOut(ANNA, "marketing")]) == 0
    known = await optouts.get(world.shard, ACME, ANNA)
    assert known == OptOut(ANNA, "all", world.now // 1000)


@pytest.mark.parametrize(("first", "told"), [("marketing", ("all", 2, "provider")), ("all", ("all", 1, "inbound"))])
async def test_a_number_that_was_known_stays_known(world: World, first: Scope, told: tuple[str, int, str]) -> None:
    """A provider's code may come when the message's number is erased: the list goes on to show whom it is about."""
    for turn in ("known first", "learnt later"):
        field = optouts.field(of_sender(turn), ANNA)
        stop, code = [field, first[0], ANNA, 1, "inbound", "main"], [field, "a", "", 2, "provider", "main"]
        for one in (stop, code) if turn == "known first" else (code, stop):
            await world.shard.run("optout", msgspec.msgpack.encode([one]))
        known = await optouts.get(world.shard, of_sender(turn), ANNA)
        assert known is not None
        assert known.number == ANNA
        want = told if turn == "known first" else ("all", 2, "provider")
        assert (known.scope, known.at_ms, known.source) == want


async def test_what_is_set_holds_as_it_is_given(world: World) -> None:
    """Also where it is narrower than before."""
    await optouts.set_(world.shard, ACME, OptOut(ANNA, "all", source="api"))
    await optouts.set_(world.shard, ACME, OptOut(ANNA, "marketing", source="api"))
    assert await optouts.get(world.shard, ACME, ANNA) == OptOut(ANNA, "marketing", world.now // 1000, "api")


async def test_a_list_comes_in_pages(world: World) -> None:
    """Each entry once, and none of another's; the names of lists are told too."""
    numbers = [f"+3538612345{n:02}" for n in range(25)]
    await optouts.close(world.shard, ACME, [OptOut(number, "all") for number in numbers])
    await optouts.close(world.shard, of_tenant("acme2"), [OptOut(ANNA, "all")])
    await optouts.close(world.shard, SALON, [OptOut(ANNA, "all")])
    found, after, pages = list[str](), "", 0
    while pages == 0 or after:
        page = await optouts.page(world.shard, ACME, after, 10)
        found, after, pages = [*found, *(one.number for _, one in page.found)], page.after, pages + 1
    assert (sorted(found), pages) == (numbers, 3)
    assert await lists(world) == [SALON, ACME, of_tenant("acme2")]
    with pytest.raises(ValueError, match="none of t:acme"):
        await optouts.page(world.shard, ACME, optouts.field(SALON, ANNA))
    assert await optouts.open_(world.shard, ACME, [*numbers, BEN]) == 25
    assert await lists(world) == [SALON, of_tenant("acme2")]


# ---- Intake ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whose", "scope", "words"),
    [
        (ACME, "marketing", ["taken", "suppressed"]),
        (ACME, "all", ["suppressed", "suppressed"]),
        (SALON, "marketing", ["taken", "suppressed"]),
        (of_tenant("other"), "all", ["taken", "taken"]),
        (of_sender("Other"), "all", ["taken", "taken"]),
    ],
)
async def test_intake_suppresses_what_is_closed(closed: World, whose: str, scope: Scope, words: list[str]) -> None:
    """Marketing by either scope, a reminder by `all` only; per tenant or per sender."""
    await out(closed, whose, scope)
    assert [await closed.send("acme", "r"), await closed.send("acme", "m", "marketing")] == words


async def test_a_suppressed_message_is_told_and_kept(closed: World) -> None:
    """One event with why, a record that a repeat is known by, no body, and the count."""
    await out(closed)
    assert await closed.send("acme", "a") == "suppressed"
    [event] = await closed.events("acme/a")
    told = ("state", "final", "reason", "detail")
    assert [event[name] for name in told] == ["suppressed", "1", "opted_out", "all of this tenant"]
    assert await closed.send("acme", "a") == "repeated"
    assert await closed.shard.message("acme/a") is None
    assert closed.shard.ended["reminder", "suppressed", "opted_out"] == 1
    assert ANNA not in str(await closed.events())


async def test_a_suppressed_message_still_replaces(closed: World) -> None:
    """The moved appointment's old time must not go out."""
    await closed.send("acme", "old")
    await out(closed, scope="all")
    assert await closed.send("acme", "new", replaces="old") == "suppressed"
    assert (await closed.last("acme/new"))["replaced"] == "cancelled"
    assert await closed.states("acme/old") == ["queued", "cancelled"]


async def test_a_cancel_that_came_first_goes_before(closed: World) -> None:
    """It was withdrawn, whoever has opted out."""
    await out(closed)
    await closed.cancel("acme", "a")
    assert await closed.send("acme", "a") == "cancelled"


async def test_a_batch_is_judged_one_by_one(closed: World) -> None:
    """Each by its own recipient."""
    await out(closed)
    entries = [closed.message("acme", f"m{i}", to=(ANNA, BEN)[i % 2]) for i in range(4)]
    words = await closed.shard.admit(entries, "reminder", from_inbox=False)
    assert words == ["suppressed", "taken", "suppressed", "taken"]


# ---- Right before the attempt ----------------------------------------------------------------------------------------


async def test_what_was_queued_before_does_not_leave(closed: World) -> None:
    """Neither what lies in a lane nor what is due later; another's goes on, and the counts are right."""
    await closed.send("acme", "a")
    await closed.send("acme", "later", not_before=closed.now + SECOND)
    await closed.send("acme", "b", to=BEN)
    await out(closed, SALON, "all")
    closed.pass_time(2 * SECOND)
    assert [m.message.id for m in await closed.take()] == ["b"]
    assert await closed.states("acme/a") == ["queued", "suppressed"]
    assert await closed.states("acme/later") == ["queued", "suppressed"]
    assert (await closed.last("acme/a"))["detail"] == "all of this sender"
    assert await ask(closed.client, "HGET", keys.key(0, "meta"), "n:reminder") == b"0"


async def test_a_lane_full_of_suppressed_messages_is_passed(closed: World) -> None:
    """In bounded steps, and what lies behind them leaves."""
    for i in range(40):
        await closed.send("acme", f"a{i}")
    await closed.send("acme", "z", to=BEN, deadline=closed.now + 20 * HOUR)
    await out(closed)
    assert [m.message.id for m in await closed.take(1)] == ["z"]


async def test_start_before_the_attempt_lets_it_go(closed: World) -> None:
    """The list counts as it is when the attempt is made."""
    await closed.send("acme", "a")
    await out(closed)
    await optouts.open_(closed.shard, ACME, [ANNA])
    assert len(await closed.take()) == 1


async def test_what_is_leaving_is_not_called_back_but_not_tried_again(closed: World) -> None:
    """A retry, a give-back or a clear of an attempt that was surely not taken ends suppressed."""
    for id_ in ("retry", "back", "clear"):
        await closed.send("acme", id_)
    leased = {m.message.id: m for m in await closed.take()}
    await out(closed)
    one = leased["clear"]
    await closed.settle(retry(leased["retry"], closed.now), back(leased["back"]), unknown(one, closed.now))
    await closed.settle(clear(one))
    assert await closed.take() == []
    assert await closed.states("acme/retry") == ["queued", "queued", "suppressed"]
    assert await closed.states("acme/back") == ["queued", "suppressed"]
    assert await closed.states("acme/clear") == ["queued", "unknown", "queued", "suppressed"]


async def test_what_may_have_left_is_never_sent_again(closed: World) -> None:
    """The resend is held until a receipt comes, as one that was withdrawn."""
    await closed.send("acme", "a")
    [leased] = await closed.take()
    await out(closed)
    await closed.settle(unknown(leased, closed.now))
    await closed.settle(resend(leased))
    assert await closed.take() == []
    assert await closed.states("acme/a") == ["queued", "unknown", "queued", "unknown"]
    assert await closed.receipt(leased, "delivered") == "delivered"


async def test_a_paused_message_is_suppressed_once_it_could_leave(closed: World) -> None:
    """It stays where it is until then."""
    await closed.send("acme", "a")
    await holds.pause(closed.shard, "t:acme")
    await out(closed)
    assert await closed.take() == []
    await holds.resume(closed.shard, "t:acme")
    await closed.sweep()
    assert await closed.take() == []
    assert await closed.states("acme/a") == ["queued", "suppressed"]


# ---- Providers -------------------------------------------------------------------------------------------------------


async def test_an_answer_that_says_opted_out_closes_the_sender(closed: World) -> None:
    """With the number, for all tenants of the sender, and for everything it sends."""
    await closed.send("acme", "a")
    [leased] = await closed.take()
    await closed.settle(fail(leased, "opted_out"))
    known = await optouts.get(closed.shard, SALON, ANNA)
    assert known == OptOut(ANNA, "all", closed.now // 1000, "provider", "main")
    assert await closed.send("other", "b") == "suppressed"


async def test_a_receipt_that_says_opted_out_closes_the_sender(closed: World) -> None:
    """Also a late one, when the body is gone and with it the number."""
    await closed.send("acme", "a")
    [leased] = await closed.take()
    await closed.accept(leased)
    closed.pass_time(49 * HOUR)
    await closed.sweep()
    assert await closed.receipt(leased, "undelivered", reason="opted_out") == "late"
    known = await optouts.get(closed.shard, SALON, ANNA)
    assert known is not None
    assert (known.number, known.scope) == ("", "all")


async def test_a_receipt_that_ends_nothing_closes_the_sender_too(closed: World) -> None:
    """That of a first attempt while the resend may still be delivered; told again, it closes nothing any more."""
    await closed.send("acme", "a")
    [first] = await closed.take()
    await closed.settle(unknown(first, closed.now))
    await closed.settle(resend(first))
    [second] = await closed.take()
    await closed.settle(unknown(second, closed.now))
    assert await closed.receipt(first, "undelivered", provider_id="X", reason="opted_out") == "noted"
    assert (await optouts.get(closed.shard, SALON, ANNA)) == OptOut(ANNA, "all", closed.now // 1000, "provider", "main")
    await optouts.open_(closed.shard, SALON, [ANNA])
    assert await closed.receipt(first, "undelivered", provider_id="X", reason="opted_out") == "repeated"
    assert await lists(closed) == []


async def test_the_sandbox_speaks_for_nobody(closed: World) -> None:
    """Its carrier's codes are made up, and its numbers are real people's."""
    await closed.put(p__sandbox=[1000, []])
    await closed.send("acme", "a")
    [leased] = await closed.take(offers={"sandbox": (1, 10)})
    await closed.settle(fail(leased, "opted_out"))
    assert await lists(closed) == []
