"""What a text that a person sends does to the list of those who have opted out: the scope that it closes or opens.

Pure: never reads the list, never reads a text's words (core/intent.py does). Where two rules speak, the wider scope
holds: it is safer to send too little to somebody who said stop (docs/decisions/0014).
"""

from typing import Literal

import msgspec

from smsd.core.intent import Intent, read

Scope = Literal["marketing", "all"]
"""What is closed: what classes of `opt_out = "marketing"` send, or everything."""

CancelWords = Literal["stop", "appointment"]
"""What CANCEL means to a tenant's recipients."""

SOURCES = ("inbound", "provider", "command", "api", "import")
"""How somebody came to be on the list: by a text, a provider's own code, an operator, a platform, a file."""


class Rules(msgspec.Struct, frozen=True):
    """What holds for the text: of the tenant that was texted, and of the person's country."""

    stop_closes: Scope = "marketing"
    cancel_words: CancelWords = "stop"
    closes_all: bool = False  # by the law of the person's country


class Decision(msgspec.Struct, frozen=True):
    """What is to be done. Never both a scope to close and one to open."""

    intent: Intent
    close: Scope | None = None
    open: bool = False


def decide(
    body: str, rules: Rules, *, answered: Scope | None, said: Literal["", "stop", "start", "help"] = ""
) -> Decision:
    """`answered`: what closes the class of the message that the text answers, None where none is known. `said`: what
    the provider itself took the text for; it has acted on it already, for all that the sender sends.
    """
    booking = rules.cancel_words == "appointment" and answered != "marketing"
    intent = read(body, booking=booking)
    if said == "stop":
        return Decision(intent if intent == "cancel" else "stop", "all")
    if said == "start":
        return Decision(intent or "start", open=True)
    if intent == "stop":
        wide = rules.closes_all or "all" in (rules.stop_closes, answered)
        return Decision("stop", "all" if wide else "marketing")
    return Decision(intent or said, open=intent == "start")


def closes(scope: str, class_scope: Scope) -> bool:
    """Whether an entry of the list keeps a message of a class from leaving; "" is no entry."""
    return scope == "all" or (scope == "marketing" and class_scope == "marketing")
