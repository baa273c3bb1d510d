"""Which sender a text leaves under: the one that its entry names, else one of the tenant's pool, else the tenant's own;
and whether that may send to the country.

Pure: never keeps who got which. The same person gets the same sender of a pool in every process, by rendezvous hashing
(Thaler and Ravishankar 1998): each sender is weighed with the person, the heaviest wins, so that one that comes or goes
moves only its own share of the people.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

import msgspec

SenderType = Literal["e164", "short", "alpha", ""]
SPOKEN: dict[str, str] = {"e164": "a number", "short": "a short code", "alpha": "an alphanumeric sender"}


class SenderRule(msgspec.Struct, frozen=True):
    """Who may send to the countries that it is for."""

    types: frozenset[str]  # of SenderType; "" (the provider chooses) always may
    registered: frozenset[str] | None = None  # in lower case: of alphanumeric senders only these; None: any
    instead: str = ""  # for a tenant's own sender that may not

    def allows(self, sender: str) -> bool:
        kind = sender_type(sender)
        if kind == "alpha" and self.registered is not None and sender.lower() not in self.registered:
            return False
        return kind == "" or kind in self.types


class NoSender(Exception):
    """No sender that may be used; the text says what would mend it."""


def sender_type(sender: str) -> SenderType:
    """ "" where the provider chooses."""
    if sender.startswith("+"):
        return "e164"
    if sender.isdigit():
        return "short"
    return "alpha" if sender else ""


def choose(
    given: str, own: str, pool: Sequence[str], rule: SenderRule | None, *, tenant: str, to: str, country: str
) -> str:
    """The sender of one text. Raises NoSender."""
    if given:
        if rule is None or rule.allows(given):
            return given
        raise NoSender(f"from: {_told(given, rule)} may not send to {country}: {_mend(rule)}")
    able = [sender for sender in pool if rule is None or rule.allows(sender)]
    if able:
        return pick(able, tenant, to)
    if not pool and (rule is None or rule.allows(own)):
        return own
    if rule is not None and rule.instead:
        return rule.instead
    if rule is not None and rule.allows(own):
        return own
    told = (
        "no sender of the tenant's pool may send" if pool else f"the tenant's sender, {_told(own, rule)}, may not send"
    )
    raise NoSender(f"{told} to {country}: {_mend(rule)}")


def pick(pool: Sequence[str], tenant: str, to: str) -> str:
    """The same one for the same person of a tenant, as long as it is in the pool."""
    if len(pool) == 1:
        return pool[0]
    person = f"{tenant}/{to}/".encode()
    return max(pool, key=lambda sender: (blake2b(person + sender.encode(), digest_size=8).digest(), sender))


def _told(sender: str, rule: SenderRule | None) -> str:
    kind = sender_type(sender)
    unregistered = rule is not None and kind in rule.types
    return f"{SPOKEN.get(kind, 'it')}{' that is not registered there' if unregistered else ''}"


def _mend(rule: SenderRule | None) -> str:
    types = [SPOKEN[kind] for kind in SPOKEN if rule is not None and kind in rule.types]
    if types and types[-1] == SPOKEN["alpha"] and rule is not None and rule.registered is not None:
        types[-1] += " that its rule in [[sender_rules]] lists as registered"
    return f"use {' or '.join(types)}" if types else "no sender may, by [[sender_rules]]"
