"""Every reason that an event can give, with what it means and what to do: one table, and the page made of it.

Never decides which reason applies; whoever gives one takes its name from here or from core.admit.REASONS.
"""

from typing import Final

from smsd.core.admit import REASONS

ENDS: Final[dict[str, str]] = {
    "refused": "The provider or the network said no, or all attempts were used up. `detail` and `error_code` say more.",
    "bad_number": "The number does not exist or takes no texts. Correct it where it is kept.",
    "opted_out": "The person has opted out, at the provider or by the list here. Stop such texts to this number.",
    "blocked": "The recipient or the carrier blocks the sender. Ask the person to allow it; a repeat does not help.",
    "filtered": "A carrier took the text for spam. Look at its wording and links, and at the sender's registration.",
    "sender": "The sender may not be used there. Register it with the provider, or give another one.",
    "content": "The text cannot be sent as it is. Look at its length and characters.",
    "funds": "The account at the provider is empty or suspended. Fill it; what waits goes on by itself.",
    "config": "The provider's account is not set up for this message. Mend it there or in the route.",
    "unlisted": "The provider gave a code that its table does not have. Look it up there, and report it to us.",
    "no_receipt": "It left, or may have, and no receipt came in time. Ask the provider by `provider_id`.",
    "cancelled": "It was withdrawn before it left.",
    "cancel_too_late": "The cancel came when it had left, or ended without leaving; the state is unchanged.",
    "internal": "smsd itself failed on the message; its log has the error.",
    "throttled_out": "Until its deadline a limit held it back. Raise the limit, or send less or earlier.",
    "provider_down": "Until its deadline no provider of its route took messages. Look at the providers' health.",
    "paused": "It was paused until its deadline.",
    "expired": "Its deadline passed while it waited its turn. Enqueue earlier, or give it longer.",
}
"""Reasons of ends, and of `expired` (contract §3)."""


def page() -> str:
    """The page docs/REASONS.md, whole."""
    lines = [
        "# Reasons",
        "",
        "Made by `make docs` from `smsd/core/reasons.py` and `smsd/core/admit.py`; do not edit.",
        "",
        "## Why an entry is rejected",
        "",
        "The event's state is `rejected`; the entry is kept in `smsd:{N}:dead`.",
        "",
        *_table(REASONS),
        "",
        "## Why a message ended as it did",
        "",
        *_table(ENDS),
    ]
    return "\n".join(lines) + "\n"


def _table(reasons: dict[str, str]) -> list[str]:
    return [
        "| reason | what it means, and what to do |",
        "|---|---|",
        *(f"| `{k}` | {v} |" for k, v in reasons.items()),
    ]
