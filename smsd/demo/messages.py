"""What the demo enqueues: reminders of thousands of salons and one chain's marketing blast, the same for the same seed.

Never does IO. Numbers are variations of libphonenumber's example mobile numbers that it accepts as valid: of nobody.
"""

import random
from collections.abc import Iterator

import msgspec
import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType

REGIONS = {"IE": 5, "GB": 4, "DE": 3, "FI": 2, "US": 2}  # weights
BLAST_SHARE = 0.4
CHAIN = "chain"
CAMPAIGN = "spring"
REPEATED = 0.01  # of the entries come twice, as from a producer that was not sure
CANCELLED = 0.005  # of the blast is withdrawn right after it was enqueued

REMINDERS = (
    "Hi {name}, this is a reminder of your appointment tomorrow at {time}. Reply C to confirm.",
    "{name}, see you at {time} tomorrow! Can't make it? Please tell us by 6 pm: {link}",
    "Hallo {name}, wir freuen uns auf Sie: morgen um {time} Uhr. Absagen bitte bis 18 Uhr: {link} Grüße, Ihr Salon",
    "Hei {name}, muistutus ajastasi huomenna klo {time}. Nähdään pian!",
    "Hi {name} 💇‍♀️ your appointment is tomorrow at {time}. See you soon! ✨",
    "{name}, your colour appointment 🎨 is at {time} tomorrow; it takes two hours, so bring a good book or a friend.",
)
OFFERS = (
    "{name}, spring is here: 20% off cut & colour until Sunday. Book: {link} Reply STOP to opt out.",
    "Spring treat for you, {name} 🌷 20% off until Sunday: {link} Reply STOP to opt out.",
    "{name}, 20 % off until Sunday. [Members: 25 %] Prices from 29 €. {link} Reply STOP to opt out.",
)
NAMES = ("Aoife", "Seán", "Ella", "Oliver", "Grace", "Jürgen", "Anke", "Aino", "Väinö", "Emma", "Noah", "Sofía")


class Entry(msgspec.Struct, frozen=True):
    """One entry of an inbox, as a producer writes it."""

    class_: str
    fields: dict[str, str]

    @property
    def key(self) -> str:
        return f"{self.fields['tenant']}/{self.fields['id']}"


def tenants(count: int) -> list[str]:
    """The chain that sends the blast, and `count - 1` salons."""
    return [CHAIN, *(f"salon-{i:05d}" for i in range(1, count))]


def entries(seed: int, messages: int, tenant_count: int) -> Iterator[Entry]:
    """`messages` messages, a few of them twice, a few cancels. The blast comes first: reminders must overtake it."""
    luck = random.Random(seed)
    salons = tenants(tenant_count)[1:] or [CHAIN]
    numbers = Numbers(luck)
    blast = round(messages * BLAST_SHARE)
    for i in range(messages):
        if i < blast:
            entry = _offer(luck, numbers, i)
        else:
            entry = _reminder(luck, numbers, i, salons[(i - blast) % len(salons)])
        yield entry
        if luck.random() < REPEATED:
            yield entry
        if i < blast and luck.random() < CANCELLED:
            yield Entry("marketing", {"op": "cancel", "tenant": CHAIN, "id": entry.fields["id"]})


def _offer(luck: random.Random, numbers: "Numbers", i: int) -> Entry:
    text = _filled(luck, OFFERS, i)
    return Entry(
        "marketing", {"tenant": CHAIN, "id": f"m-{i}", "to": numbers.next(), "body": text, "campaign": CAMPAIGN}
    )


def _reminder(luck: random.Random, numbers: "Numbers", i: int, tenant: str) -> Entry:
    return Entry(
        "reminder", {"tenant": tenant, "id": f"r-{i}", "to": numbers.next(), "body": _filled(luck, REMINDERS, i)}
    )


def _filled(luck: random.Random, texts: tuple[str, ...], i: int) -> str:
    at = f"{luck.randrange(8, 19)}:{luck.choice(('00', '15', '30', '45'))}"
    return luck.choice(texts).format(name=luck.choice(NAMES), time=at, link=f"https://b.example/{i:x}")


class Numbers:
    """Valid mobile numbers of the regions, drawn at random."""

    def __init__(self, luck: random.Random) -> None:
        self._luck = luck
        self._regions, self._weights = list(REGIONS), list(REGIONS.values())
        self._examples = {region: _example(region) for region in REGIONS}

    def next(self) -> str:
        """A number in E.164 that libphonenumber accepts as valid."""
        region = self._luck.choices(self._regions, self._weights)[0]
        example = self._examples[region]
        while True:
            national = example.national_number // 10**6 * 10**6 + self._luck.randrange(10**6)
            if phonenumbers.is_valid_number(PhoneNumber(example.country_code, national)):
                return f"+{example.country_code}{national}"


class _Example(msgspec.Struct, frozen=True):
    country_code: int
    national_number: int


def _example(region: str) -> _Example:
    number = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
    if number is None or number.country_code is None or number.national_number is None:
        raise ValueError(f"libphonenumber has no example of a mobile number in {region}")
    return _Example(number.country_code, number.national_number)
