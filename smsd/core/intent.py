"""What a person means by a text of one word: the words as data, and where each comes from (docs/OPT_OUT.md).

Pure. Only a whole text is judged, once case, accents, punctuation and spaces are out of the way: a sentence that has
"stop" in it is the platform's to read. Never decides what a word does; core/optout.py does.
"""

import re
import unicodedata
from typing import Final, Literal, NamedTuple

Intent = Literal["", "stop", "start", "help", "confirm", "cancel"]
"""As the inbound stream tells it (contract §3); "": none of these."""

LONGEST = 160  # characters, blanks and signs with them; what is longer is no word

SOURCES: Final[dict[str, str]] = {
    "FCC": "47 CFR 64.1200(a)(10), 89 FR 15756 of 2024-03-05, in force since 2025-04-11",
    "Twilio": "twilio.com/en-us/blog/update-to-fcc-s-sms-opt-out-keywords (2025); Twilio's article 223134027",
    "Twilio FR": "twilio.com/docs/proxy/opt-out-keywords, read 2026-11-28",
    "AWS": "docs.aws.amazon.com/sms-voice/latest/userguide/keywords-required.html, read 2026-11-28",
    "AWS FR": "docs.aws.amazon.com/end-user-messaging/latest/userguide/nx-rcs-launch-ca-french.md, read 2026-11-28",
    "Brevo DE": "help.brevo.com/hc/de/articles/115001945670, read 2026-11-28",
    "MMA ES": "the words that the Mobile Marketing Association's guidelines name in Spanish, by a secondary source "
    "(inteligentes.online, read 2026-11-28)",
    "Reminder": "support.appointmentreminder.com/en/articles/5638337, read 2026-11-28",
    "usage": "the language's plain word for it; in no published list that was found",
}
"""Where words come from, as they are named in ROWS."""


class Row(NamedTuple):
    """Some words of one language that mean the same. `booking`: what they mean where a tenant's CANCEL is about its
    appointments; None: the same.
    """

    intent: Intent
    language: str  # ISO 639-1
    words: str  # as people write them, separated by commas
    source: str
    booking: Intent | None = None


ROWS: Final = (
    Row("stop", "en", "stop, quit, end, revoke, opt out, unsubscribe", "FCC"),
    Row("stop", "en", "cancel", "FCC", booking="cancel"),
    Row("stop", "en", "stopall, optout", "Twilio"),
    Row("stop", "en", "remove", "AWS"),
    Row("stop", "en", "stop all, stop sms, stop texts, unsub", "usage"),
    Row("stop", "fr", "arret, arrete, arrett", "Twilio FR"),
    Row("stop", "fr", "arreter, arretez, desabonner, desinscrire, desinscription", "usage"),
    Row("stop", "de", "stopp", "Brevo DE"),
    Row("stop", "de", "abmelden, abbestellen, abmeldung", "usage"),
    Row("stop", "fi", "lopeta, poista", "usage"),
    Row("stop", "es", "baja", "MMA ES"),
    Row("stop", "es", "cancelar", "MMA ES", booking="cancel"),
    Row("stop", "es", "alto, parar, detener, darme de baja", "usage"),
    Row("start", "en", "start, unstop", "Twilio"),
    Row("start", "en", "subscribe, opt in, optin", "usage"),
    Row("start", "fr", "abonner, reprendre", "usage"),
    Row("start", "de", "anmelden", "usage"),
    Row("start", "fi", "aloita, tilaa", "usage"),
    Row("start", "es", "alta, iniciar, empezar", "usage"),
    Row("help", "en", "help, info", "Twilio"),
    Row("help", "fr", "aide", "AWS FR"),
    Row("help", "de", "hilfe", "usage"),
    Row("help", "fi", "apua, ohje", "usage"),
    Row("help", "es", "ayuda", "usage"),
    Row("confirm", "en", "yes, y, ok, okay, confirmed", "Reminder"),
    Row("confirm", "en", "confirm", "usage"),
    Row("confirm", "fr", "oui, confirmer, je confirme", "usage"),
    Row("confirm", "de", "ja, bestatigen", "usage"),
    Row("confirm", "fi", "kylla, joo, vahvista", "usage"),
    Row("confirm", "es", "si, confirmar, confirmo", "usage"),
    Row("cancel", "en", "no, n, x", "Reminder"),
    Row("", "en", "c", "usage", booking="cancel"),
    Row("cancel", "fr", "non, annuler, annule", "usage"),
    Row("cancel", "de", "nein, absagen, storno, stornieren", "usage"),
    Row("cancel", "fi", "ei, peru, peruuta", "usage"),
)
"""Every word. One that two languages share stands once."""


def plain(text: str) -> str:
    """A text without case, accents, punctuation, signs and needless spaces."""
    apart = unicodedata.normalize("NFKD", text.casefold()).casefold()  # of letters in a fancy dress, too
    letters = "".join(one for one in apart if not unicodedata.combining(one))
    return re.sub(r"[\W_]+", " ", letters).strip()


_WORDS: Final = {plain(word): row for row in ROWS for word in row.words.split(",")}


def read(text: str, *, booking: bool = False) -> Intent:
    """What the whole text means. `booking`: CANCEL and its like are about an appointment here."""
    row = _WORDS.get(plain(text)) if len(text) <= LONGEST else None
    if row is None:
        return ""
    return row.booking if booking and row.booking is not None else row.intent


def page() -> str:
    """The page docs/OPT_OUT_WORDS.md, whole."""
    lines = [
        "# Words in texts that people send",
        "",
        "Made by `make docs` from `smsd/core/intent.py`; do not edit. What each does is on the page",
        "[opt-outs](OPT_OUT.md). A text counts as a word only as a whole, whatever its case, accents and punctuation.",
        "",
        *_table(),
    ]
    return "\n".join(lines) + "\n"


def _table() -> list[str]:
    lines = ['| means | language | words | where `cancel_words = "appointment"` | source |', "|---|---|---|---|---|"]
    for row in ROWS:
        words = ", ".join(f"`{word.strip().upper()}`" for word in row.words.split(","))
        booking = "" if row.booking is None else row.booking
        lines.append(f"| {row.intent or 'nothing'} | {row.language} | {words} | {booking} | {row.source} |")
    return [*lines, "", "| source | what it is |", "|---|---|", *(f"| {k} | {v} |" for k, v in SOURCES.items())]
