"""The limits of every scope and where they stand: t:tenant, c:tenant|class, s:sender, p:provider.

Never decides who waits. All limits of a scope must allow; core.limit says when each does and how it takes a change.
"""

from collections.abc import Sequence

from smsd.core.limit import Counted, Limit, Paced, idle
from smsd.core.twin.values import Settings

States = list[Paced | Counted]


def admits_at(states: Sequence[Paced | Counted], segments: int, now_us: int) -> int:
    """When all of them admit so many segments; `now_us`: at once."""
    return max([now_us, *(state.admit(now_us, state.limit.cost(segments)) or now_us for state in states)])


def charged(states: Sequence[Paced | Counted], segments: int, now_us: int, at_us: int = 0) -> States:
    """The states after a message of so many segments has left, or will at `at_us`."""
    return [state.charge(now_us, state.limit.cost(segments), at_us) for state in states]


class Limits:
    """All scopes of a shard. A change of the config is taken in when a scope is next looked at."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._states: dict[str, States] = {}
        self._since: dict[tuple[str, bool, int], int] = {}  # scope and limit -> counts charges from then on

    def defined(self, scope: str) -> Sequence[Limit]:
        """What the config says of a scope; a tenant without settings of its own has those of "*"."""
        settings, name = self.settings, scope[2:]
        match scope[0]:
            case "t":
                return settings.tenants.get(name, settings.tenants.get("*", ()))
            case "c":
                tenant, class_ = name.split("|")
                return settings.tenant_classes.get(tenant, settings.tenant_classes.get("*", {})).get(class_, ())
            case "s":
                return settings.senders.get(name, ())
            case _:
                return settings.providers.get(name, ())

    def states(self, scope: str, now_us: int) -> States:
        """Where the limits of a scope stand, in the order of their definitions."""
        defined = self.defined(scope)
        if not defined:
            return []
        known = self._states.get(scope, ())
        live = {s.limit.key: s for s in known if self._lives(s, now_us)}
        rested = {s.limit.key for s in known} - live.keys()
        busy = bool(live)
        self._since |= {(scope, *limit.key): now_us for limit in defined if limit.key not in live}
        states = [
            self._taken_over(limit, live.pop(limit.key, None), now_us, busy=busy and limit.key not in rested)
            for limit in defined
        ]
        counted_before = [state for state in live.values() if isinstance(state, Counted)]
        self._since |= {(scope, *state.limit.key): now_us + 1 for state in counted_before}
        self._states[scope] = [*states, *counted_before]
        return states

    def charge(self, scope: str, segments: int, now_us: int, at_us: int = 0) -> None:
        """A message has left, or will at `at_us`."""
        states = self.states(scope, now_us)
        if states:
            self._states[scope] = charged(states, segments, now_us, at_us) + self._states[scope][len(states) :]

    def refund(self, scope: str, segments: int, charged_us: int, counted_us: int, now_us: int) -> None:
        """A message that was charged for that instant is known not to have left. Limits that did not count it, because
        they came after it was charged (`counted_us`), are not refunded: that would be taken from others.
        """
        states = self.states(scope, now_us)
        if not states:
            return
        given: States = []
        for state in states:
            cost, since_us = state.limit.cost(segments), self._since[scope, *state.limit.key]
            if isinstance(state, Paced):
                given.append(state.refund(charged_us, cost))
            elif counted_us >= since_us:
                given.append(state.refund(state.part(charged_us, cost), cost))
            else:
                given.append(state)
        self._states[scope] = given + self._states[scope][len(states) :]

    def forget(self, now_us: int) -> None:
        """Drops what binds nothing any more; it would be judged the same without."""
        for scope, states in list(self._states.items()):
            if not any(self._lives(state, now_us) for state in states):
                del self._states[scope]
        self._since = {name: since for name, since in self._since.items() if name[0] in self._states}

    def _taken_over(self, limit: Limit, old: Paced | Counted | None, now_us: int, *, busy: bool) -> Paced | Counted:
        """`busy`: messages may just have left under other limits of the scope; a new one starts without its burst."""
        slack_us = self.settings.slack_us
        if old is None:
            return Paced.rekeyed(limit, slack_us, now_us) if busy and limit.paced else idle(limit, slack_us)
        if isinstance(old, Counted):
            return old.changed(limit, slack_us, now_us)
        same = (old.limit, old.slack_us) == (limit, slack_us)
        return old if same else old.changed(limit, slack_us, now_us)

    def _lives(self, state: Paced | Counted, now_us: int) -> bool:
        """Whether a charge may still be inside a window that ends now."""
        if isinstance(state, Paced):
            return state.tat_us + state.limit.period_us + self.settings.slack_us > now_us
        return state.admit(now_us, state.limit.n) is not None
