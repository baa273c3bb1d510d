"""The lease: who gets the next turn, and what stands in nobody's way."""

from collections import Counter

from smsd.core.twin.values import Class, Offer
from tests.support.twin import SECOND, limits, send, shard, take, taken_ids


def test_many_marketing_tenants_together_do_not_outweigh_reminders() -> None:
    """Fairness between classes comes first: eight reminders leave for each marketing message."""
    twin = shard(max_in_flight={"main": 1000})
    for i in range(90):
        send(twin, f"m{i}", "a", "marketing")
        send(twin, "acme", f"r{i}")
    got = Counter(m.message.class_ for m in take(twin, 90, q=1))
    assert got == {"reminder": 80, "marketing": 10}


def test_a_tenant_with_many_senders_has_one_share() -> None:
    """Fairness is between flows, not between lanes."""
    twin = shard()
    for i in range(40):
        send(twin, "many", f"a{i}", sender=f"S{i}")
        send(twin, "one", f"a{i}")
    got = Counter(m.message.tenant for m in take(twin, 40))
    assert got == {"many": 20, "one": 20}


def test_the_same_request_gives_the_same_messages() -> None:
    """A process whose reply was lost asks again and gets what it had got."""
    twin = shard()
    for i in range(4):
        send(twin, "acme", f"a{i}")
    first = take(twin, 2, request="same")
    assert take(twin, 2, request="same") == first
    assert len(take(twin, 9)) == 2


def test_a_class_at_its_share_is_skipped() -> None:
    """Marketing holds at most its share of the room of the offered providers."""
    classes = {"reminder": Class(8, 1000, SECOND), "marketing": Class(1, 500, SECOND)}
    twin = shard(classes=classes, max_in_flight={"main": 10})
    for i in range(20):
        send(twin, "acme", f"m{i}", "marketing")
    assert len(take(twin, 20)) == 5
    for i in range(20):
        send(twin, "acme", f"r{i}")
    assert Counter(m.message.class_ for m in take(twin, 20)) == {"reminder": 5}


def test_a_provider_without_room_ends_the_pass_and_keeps_the_order() -> None:
    """A route's room is no place to wait: lanes stay ready, and the time to wake at is told."""
    twin = shard(providers={"main": limits("1/s")})
    send(twin, "t1", "a")
    send(twin, "t2", "a")
    offers = [Offer("main", 1, 100)]
    got = twin.lease("default", offers, n=9, request="x", process="p", span_us=1)
    assert len(got.messages) == 1
    assert got.wake_us == twin.now_us + SECOND + 20_000
    assert twin.book.lines == {}


def test_a_route_that_a_providers_limit_refused_has_its_turn_before_another() -> None:
    """Who was refused first is waited for; one that does not look any more is not."""
    twin = shard(providers={"main": limits("1/s")})
    for route in ("default", "us"):
        for i in range(3):
            send(twin, route, f"{route}{i}", route=route)

    def ask(route: str) -> list[str]:
        got = twin.lease(route, [Offer("main", 1, 9)], n=9, request=f"{route}{twin.now_us}", process="p", span_us=1)
        return [m.message.id for m in got.messages]

    assert ask("default") == ["default0"]
    twin.now_us += 1
    assert ask("us") == []
    twin.now_us += SECOND + 20_000
    assert ask("default") == ["default1"]
    assert ask("us") == []
    twin.now_us += SECOND + 20_000
    assert ask("default") == []
    assert ask("us") == ["us0"]
    twin.now_us += 3 * SECOND
    assert ask("us") == ["us1"]


def test_weights_choose_among_providers() -> None:
    """Over many messages each provider gets about its weight."""
    twin = shard(max_in_flight={"main": 1000, "spare": 1000})
    for i in range(100):
        send(twin, "acme", f"a{i}")
    got = Counter[str]()
    for seed in range(100):
        offers = [Offer("main", 9, 100), Offer("spare", 1, 100)]
        one = twin.lease("default", offers, n=1, request=f"s{seed}", process="p", span_us=1, seed=seed * 7919)
        got[one.messages[0].provider] += 1
    assert 75 <= got["main"] <= 97


def test_the_deadline_of_heads_decides_inside_a_flow() -> None:
    """Of a flow's lanes the one with the earliest head is served first."""
    twin = shard()
    send(twin, "acme", "later", sender="A", span=20)
    send(twin, "acme", "sooner", sender="B", span=10)
    assert taken_ids(twin) == ["acme/sooner", "acme/later"]
