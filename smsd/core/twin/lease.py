"""The lease: up to n messages of one route, picked fairly on three levels, each charged to every limit that applies.

Classes in turn, flows in turn, then the flow's ready lanes by the deadline of their heads. Never looks at more than a
constant of lanes, and never takes a message that one of its limits, its provider's or its class's room does not allow.
"""

from collections.abc import Sequence

from smsd.core.twin import lanes, optouts
from smsd.core.twin.book import Book
from smsd.core.twin.limits import admits_at
from smsd.core.twin.values import HeldBack, Lane, Lease, Offer, Record
from smsd.core.twin.waking import POLL_US, move_due, next_wake, wake_limits
from smsd.core.twin.ways import expire, unserved
from smsd.core.wait import Order
from smsd.message import Leased, State

DUE_MOST, WAKE_MOST = 100, 50  # messages that become due, and lanes that limits let through, in one call
BEHIND_US = 50_000  # how much later than the one who looks first the others look
LOOK_US, LATE_US = 1_200_000, 50_000  # a route that a provider's limit refused looks within this, and may be so late
ROOM_ANY = 64  # in flight, of a provider that the config does not name


def repeated(book: Book, route: str, request: str, process: str) -> Lease | None:
    """The same request again: what it leased and has not settled. None: a new request."""
    last, fence = book.asked.get((process, route), ("", 0))
    keys = book.batches.get(fence)
    if last != request or keys is None:
        return None
    held = [r for r in map(book.records.get, keys) if r and r.state is State.LEASED and r.fence == fence]
    return Lease([_leased(book, r, 0) for r in held], False, 0, book.revision)


def _leased(book: Book, r: Record, refused_us: int, *, punctual: bool = False) -> Leased:
    body, bound = book.bodies[r.key], r.lane.rpartition("|")[2]
    return Leased(
        body,
        r.provider,
        r.attempt,
        r.fence,
        r.entered,
        r.deadline,
        refused_us,
        r.double,
        r.tries,
        bound,
        punctual,
        r.leased,
        r.since or r.entered,
        r.keyed,
    )


class Pass:
    """One call of the lease."""

    def __init__(
        self,
        book: Book,
        route: str,
        offers: Sequence[Offer],
        *,
        n: int,
        seed: int,
        looks: int,
        q: int,
        ahead_us: int = 0,
    ) -> None:
        self.book, self.route, self.most, self.q = book, route, n, q
        self.seed, self.looks = seed % 2147483646 + 1, looks
        self.taken: list[tuple[Record, int, bool]] = []  # first refused by a limit at, punctual
        self.ahead_us, self.horizon_us = ahead_us, book.now_us + ahead_us
        self.fence = 0
        self.stop = False
        self.wake_us: int | None = None
        self.offers = [Offer(o.provider, o.weight, self._room(o)) for o in offers]
        self.rooms = self._shares()

    def run(self, request: str, process: str, span_us: int) -> Lease:
        """Moves what is due, wakes what limits admit, and takes what has its turn."""
        book = self.book
        moved = move_due(book, DUE_MOST)
        rooms = {offer.provider: offer.room for offer in self.offers}
        more, without_room = wake_limits(book, WAKE_MOST, self.ahead_us, rooms)
        if book.is_paused("all"):
            self._end_at(book.now_us + 1_000_000)
        elif not any(offer.room > 0 for offer in self.offers):
            self._end_at(book.now_us + POLL_US)
        while not self.stop and len(self.taken) < self.most and self.looks > 0:
            class_ = self._next_class()
            if class_ is None:
                break
            self._serve_flow(class_)
        limit_us = next_wake(book, without_room)
        times = (self.wake_us, moved.next_us, None if limit_us is None else self._before(limit_us))
        wake_us = min((at for at in times if at is not None), default=0)
        if self.fence:
            book.batches[self.fence] = [r.key for r, _, _ in self.taken]
            book.asked[process, self.route] = request, self.fence
            book.leases.set(str(self.fence), book.now_us + span_us)
        book.high_us = book.now_us
        again = moved.messages >= DUE_MOST or more or self.looks <= 0
        if wake_us and not again and len(self.taken) < self.most:
            wake_us = self._look_at(wake_us, process)
        leased = [_leased(book, r, at, punctual=punctual) for r, at, punctual in self.taken]
        return Lease(leased, again, wake_us, book.revision)

    def _look_at(self, wake_us: int, process: str) -> int:
        """One process looks when the time has come, the others only in case it does not."""
        at_us, who = self.book.looks.get(self.route, (0, ""))
        if who != process and self.book.now_us < at_us <= wake_us:
            return wake_us + BEHIND_US
        self.book.looks[self.route] = wake_us, process
        return wake_us

    # ---- Room --------------------------------------------------------------------------------------------------------

    def _room(self, offer: Offer) -> int:
        name = f"p:{offer.provider}"
        if self.book.is_paused(name):
            return 0
        most = self.book.settings.max_in_flight.get(offer.provider, ROOM_ANY)
        return min(offer.room, most - self.book.in_flight[name])

    def _shares(self) -> dict[str, int]:
        """What is left of the route's room to the classes that may have only a share of it."""
        most = self.book.settings.max_in_flight
        total = sum(most.get(offer.provider, ROOM_ANY) for offer in self.offers)
        return {
            name: max(1, total * c.share_permille // 1000) - self.book.in_flight[f"c:{self.route}|{name}"]
            for name, c in self.book.settings.classes.items()
            if c.share_permille < 1000
        }

    def _has_room(self, class_: str) -> bool:
        return self.rooms.get(class_, 1) > 0

    def _end_at(self, wake_us: int) -> None:
        self.stop, self.wake_us = True, wake_us

    # ---- Three levels ------------------------------------------------------------------------------------------------

    def _next_class(self) -> str | None:
        """Of the classes that have something ready and room in their share, the one with the least start tag."""
        book, able = self.book, list[str]()
        for name in book.settings.classes:
            if not book.flows[self.route, name]:
                continue
            if self._has_room(name):
                able.append(name)
            else:
                poll_us = book.now_us + POLL_US
                self.wake_us = poll_us if self.wake_us is None else min(self.wake_us, poll_us)
        return min(able, key=book.turns[self.route].start, default=None)

    def _serve_flow(self, class_: str) -> None:
        """One turn of the flow whose start tag is the least: q segments, at least one message."""
        book, queue = self.book, self.book.flows[self.route, class_]
        start, tenant = queue.first() or (0, "")
        flow, served = f"{tenant}|{class_}|{self.route}", 0
        while served < self.q and not self._is_full(class_) and flow in book.ready:
            lane = book.lanes[book.ready[flow][0][1]]
            served += self._serve_lane(lane, self.q - served)
        if served:
            queue.served(tenant, start, served)
            classes = book.turns[self.route]
            classes.served(class_, classes.start(class_), served, book.class_(class_).weight)

    def _is_full(self, class_: str) -> bool:
        return self.stop or self.looks <= 0 or len(self.taken) >= self.most or not self._has_room(class_)

    def _serve_lane(self, lane: Lane, budget: int) -> int:
        """Takes from one lane until so many segments are reached, something refuses, or it is empty."""
        book = self.book
        self.looks -= 1
        mark = book.paused_by(lane)
        if mark:
            lanes.leave_ready(book, lane)
            lanes.pause(book, lane, mark)
            return 0
        served, gone, refused = 0, list[tuple[int, int, str]](), None
        for i, message in enumerate(lane.messages[:budget]):
            if served >= budget or len(self.taken) >= self.most or not self._has_room(lane.class_):
                break
            r, refused_us = book.records[message[2]], lane.refused_us if i == 0 else 0
            if r.deadline <= book.now_us:
                expire(book, r, "throttled_out" if lane.refused_us else unserved(book, r))
            elif closed := optouts.covers(book, r):
                optouts.suppress(book, r, closed)
            else:
                refused = self._try(lane, r, refused_us)
                if refused is not None:
                    break
                served += r.cost
            gone.append(message)
        if gone:
            lanes.remove(book, lane, gone)
        if refused is not None:
            scope, at_us = refused
            if scope:
                lanes.park(book, lane, scope, at_us)
            else:
                self._end_at(at_us)
        return served

    # ---- One message -------------------------------------------------------------------------------------------------

    def _try(self, lane: Lane, r: Record, refused_us: int) -> tuple[str, int] | None:
        """None: taken. Else the limit to wait at ("": no provider has room, no place to wait), and until when."""
        book, now_us = self.book, self.book.now_us
        order = Order(-book.class_(lane.class_).weight, refused_us or now_us)
        scopes = [s for s in _scopes(lane) if book.limits.defined(s)]
        scope, latest = "", now_us
        for one in scopes:
            at_us = admits_at(book.limits.states(one, now_us), r.cost, now_us)
            at_us = max(at_us, self._behind(one, order, 1))
            if at_us > max(latest, self.horizon_us):
                scope = one
            latest = max(latest, at_us)
        if scope:
            return scope, latest
        offer, opens_us, where = self._choose(lane.bound, r.cost, order)
        if offer is None and lane.bound:
            return f"p:{','.join(lane.bound)}", max(opens_us or 0, now_us + POLL_US)
        if offer is None and opens_us:
            book.full[self.route] = now_us
            self._note_turn(where, opens_us)
            return "", self._before(opens_us)
        if offer is None:
            return "", now_us + POLL_US
        self._take(r, offer, scopes, max(latest, opens_us or 0), refused_us)
        return None

    def _behind(self, scope: str, order: Order, least_us: int) -> int:
        """When somebody who waits at a limit comes first: the time at which that one is looked at; else 0."""
        line, now_us = self.book.lines.get(scope), self.book.now_us
        front = line.front(now_us) if line else None
        if line is None or front is None or front.order >= order:
            return 0
        return max(line.wake_us or 0, self.horizon_us + least_us)

    def _before(self, at_us: int) -> int:
        """When to look again for what a limit admits at that instant."""
        return max(at_us - self.ahead_us, self.book.now_us + 1000) if self.ahead_us else at_us

    def _choose(self, bound: tuple[str, ...], cost: int, order: Order) -> tuple[Offer | None, int | None, str]:
        """A provider with room for this message, by weight, and from when on; else when whose limit makes room."""
        now_us, able, at_us, where = self.book.now_us, list[tuple[Offer, int]](), None, ""
        for offer in self.offers:
            if offer.room <= 0 or (bound and offer.provider not in bound):
                continue
            scope = f"p:{offer.provider}"
            opens_us = admits_at(self.book.limits.states(scope, now_us), cost, now_us)
            since_us = order.refused_us if bound else now_us
            opens_us = max(opens_us, self._behind(scope, order, 1000), self._turn_before(scope, since_us))
            if opens_us <= self.horizon_us:
                able.append((offer, opens_us))
            elif at_us is None or opens_us < at_us:
                at_us, where = opens_us, scope
        if not able:
            return None, at_us, where
        point = self._dice() * sum(offer.weight for offer, _ in able)
        for offer, opens_us in able:
            point -= offer.weight
            if point < 0:
                return offer, opens_us, ""
        return *able[-1], ""

    def _turn_before(self, scope: str, since_us: int) -> int:
        """When a provider's limit opens for another route, which it refused before this message; else 0."""
        if not self.book.limits.defined(scope):
            return 0
        held = {route: one for route, one in self.book.held_back[scope].items() if one.till_us > self.book.now_us}
        if own := held.pop(self.route, None):
            since_us = min(since_us, own.since_us)
        first = min(held.values(), key=lambda one: one.since_us, default=None)
        return max(first.opens_us, self.horizon_us + 1000) if first and first.since_us < since_us else 0

    def _note_turn(self, scope: str, opens_us: int) -> None:
        """A provider's limit holds this route back; it looks again within a second."""
        now_us, held = self.book.now_us, self.book.held_back[scope]
        own = held.pop(self.route, None)
        since_us = own.since_us if own and own.till_us > now_us else now_us
        held[self.route] = HeldBack(since_us, opens_us, max(now_us, min(opens_us, now_us + LOOK_US)) + LATE_US)

    def _dice(self) -> float:
        """In (0, 1), from the call's seed."""
        self.seed = self.seed * 48271 % 2147483647  # Park and Miller's
        return self.seed / 2147483647

    def _take(self, r: Record, offer: Offer, scopes: Sequence[str], at_us: int, refused_us: int) -> None:
        book = self.book
        if not self.fence:
            self.fence = book.fence = max(book.fence + 1, book.now_us)
        book.set_state(r, State.LEASED)
        r.attempt, r.fence, r.provider, r.leased = r.attempt + 1, self.fence, offer.provider, at_us
        r.lead = max(0, at_us - book.now_us)
        for scope in (*scopes, f"p:{offer.provider}"):
            book.limits.charge(scope, r.cost, book.now_us, at_us)
        if book.limits.defined(f"p:{offer.provider}"):
            book.held_back[f"p:{offer.provider}"].pop(self.route, None)
        offer.room -= 1
        if r.class_ in self.rooms:
            self.rooms[r.class_] -= 1
        for name in (f"p:{offer.provider}", f"c:{self.route}|{r.class_}", f"n:{self.fence}"):
            book.in_flight[name] += 1
        charged = (*scopes, f"p:{offer.provider}")
        punctual = any(
            s.nearly_used(book.now_us, at_us) for scope in charged for s in book.limits.states(scope, book.now_us)
        )
        self.taken.append((r, refused_us, punctual))


def _scopes(lane: Lane) -> tuple[str, str, str]:
    return f"t:{lane.tenant}", f"c:{lane.tenant}|{lane.class_}", f"s:{lane.sender}"
