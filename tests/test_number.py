"""Numbers against phonenumbers itself: the short way must give what the long way gives."""

import string

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberFormat

from smsd.number import BadNumber, Number, countries, mask, normalise, sender_ok

CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
SHARED = [code for code in CODES if len(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]) > 1]
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
TYPES = range(11)


def oracle(to: str, region: str, check: str) -> Number | None:
    """What phonenumbers alone says; None: not a number that a text can go to."""
    try:
        parsed = phonenumbers.parse(to, region or None)
    except NumberParseException:
        return None
    accepted = phonenumbers.is_possible_number if check == "possible" else phonenumbers.is_valid_number
    if not accepted(parsed) or not phonenumbers.is_possible_number(parsed):
        return None
    country = phonenumbers.region_code_for_number(parsed)
    e164 = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    return Number(e164, "" if country in (None, "001") else country)


def ours(to: str, region: str, check: str) -> Number | None:
    try:
        return normalise(to, region, check)
    except BadNumber:
        return None


def examples() -> list[str]:
    found = [phonenumbers.example_number_for_type(region, kind) for region in REGIONS for kind in TYPES]
    found += [phonenumbers.example_number_for_non_geo_entity(code) for code in CODES]
    return sorted({phonenumbers.format_number(number, PhoneNumberFormat.E164) for number in found if number})


EXAMPLES = examples()


def test_every_example_number() -> None:
    """Every kind of number of every country gives the E.164 form and the country that phonenumbers gives."""
    assert len(EXAMPLES) > 1000
    for e164 in EXAMPLES:
        for check in ("possible", "valid"):
            assert ours(e164, "", check) == oracle(e164, "", check), e164


def test_near_every_example_number() -> None:
    """So does each of them with another ending, another start, a digit more or fewer, and a national prefix kept."""
    for e164 in EXAMPLES:
        code = str(phonenumbers.parse(e164).country_code)
        national = e164[1 + len(code) :]
        near = (
            national[:-1],
            national + "7",
            national[:-4] + "0000",
            "0" + national,
            "1" + national,
            "8" + national[1:],
        )
        for other in near:
            assert ours(f"+{code}{other}", "", "possible") == oracle(f"+{code}{other}", "", "possible"), (code, other)


@given(st.sampled_from(CODES), st.text(string.digits, max_size=18))
def test_any_digits(code: int, national: str) -> None:
    """Any digits after any country code are judged as phonenumbers judges them."""
    to = f"+{code}{national}"
    assert ours(to, "", "possible") == oracle(to, "", "possible")


@given(st.sampled_from(SHARED), st.text(string.digits, min_size=6, max_size=11))
def test_shared_codes(code: int, national: str) -> None:
    """Where countries share a code, the country is the one that phonenumbers finds."""
    to = f"+{code}{national}"
    assert ours(to, "", "possible") == oracle(to, "", "possible")


@given(st.text("0123456789", min_size=1, max_size=14), st.sampled_from(REGIONS), st.sampled_from(["possible", "valid"]))
def test_national(national: str, region: str, check: str) -> None:
    """A national number is that of its region, as phonenumbers reads it, in either case of the region."""
    assert ours(national, region, check) == oracle(national, region, check)
    assert ours(national, region.lower(), check) == oracle(national, region, check)


@given(st.text(max_size=50), st.sampled_from(["", "IE", "ie", "US", "XX", "ireland", "\x00", "ß"]))
def test_any_text(to: str, region: str) -> None:
    """Any text gives a number in E.164 or BadNumber, nothing else."""
    number = ours(to, region, "possible")
    assert number is None or (number.e164[0] == "+" and number.e164[1:].isdecimal() and number.e164.isascii())


KINDS = ("mobile", "fixed_line", "voip", "toll_free", "premium_rate", "shared_cost", "pager", "uan", "general_desc")
PATTERNS = [
    (code, desc.national_number_pattern)
    for code in SHARED
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
    for metadata in [PhoneMetadata.metadata_for_region(region)]
    for kind in KINDS
    if metadata and (desc := getattr(metadata, kind)) is not None
]


@given(st.sampled_from(PATTERNS), st.data())
def test_patterns_of_shared_codes(plan: tuple[int, str], data: st.DataObject) -> None:
    """So it is for numbers drawn from the very patterns of the countries, whatever their length."""
    code, pattern = plan
    to = f"+{code}{data.draw(st.from_regex(pattern, fullmatch=True, alphabet=string.digits))}"
    assert ours(to, "", "possible") == oracle(to, "", "possible")


@pytest.mark.parametrize(
    ("to", "region", "expected"),
    [
        ("+353861234567", "", Number("+353861234567", "IE")),
        ("+353 (0)86 123-4567", "", Number("+353861234567", "IE")),
        ("(+353) 86 123 4567", "", Number("+353861234567", "IE")),
        ("086 123 4567", "IE", Number("+353861234567", "IE")),
        ("00447400123456", "IE", Number("+447400123456", "GB")),
        ("+353٨٦1234567", "", Number("+353861234567", "IE")),
        ("+12530000", "", Number("+12530000", "")),  # libphonenumber calls what only neighbours can dial possible
        ("+447400123456", "IE", Number("+447400123456", "GB")),
        ("+447400123456", "XX", Number("+447400123456", "GB")),  # a region matters to national numbers alone
        ("+15145551234", "", Number("+15145551234", "CA")),
        ("+390612345678", "", Number("+390612345678", "IT")),  # Italy keeps its zero
        ("+882123456789", "", Number("+882123456789", "")),  # an international network: no country
    ],
)
def test_spellings(to: str, region: str, expected: Number) -> None:
    """Usual spellings become E.164."""
    assert normalise(to, region, "possible") == expected


@pytest.mark.parametrize(
    ("to", "region", "says"),
    [
        ("", "IE", "digits"),
        ("0861234567", "", "region"),
        ("0861234567", "XX", "region"),
        ("+999123456", "", "country code"),
        ("+35386", "", "too short"),
        ("+3538612345678901", "", "too long"),
        ("+49 1", "", "too short"),
        ("+353861234567 ext. 12", "", "digits"),
        ("1-800-FLOWERS", "US", "digits"),
        ("tel:+353861234567", "", "digits"),
        ("+353861234567;phone-context=+1", "", "digits"),
        ("+353861234567\x00", "", "digits"),
        ("1" * 41, "IE", "digits"),
        ("++353861234567", "", "digits"),
    ],
)
def test_refusals(to: str, region: str, says: str) -> None:
    """What is no number that a text can go to is refused with a sentence, which never quotes it."""
    with pytest.raises(BadNumber, match=says) as caught:
        normalise(to, region, "possible")
    assert not to or to not in str(caught.value)


def test_where_a_number_may_be_of() -> None:
    """Its country; of an area code that no metadata names, all that share the country code; else nowhere."""
    assert countries(Number("+353861234567", "IE")) == ("IE",)
    unknown = normalise("+14575550100", "", "possible")
    assert unknown.country == ""
    assert {"US", "CA", "PR", "JM"} <= set(countries(unknown))
    assert [countries(Number(text, "")) for text in ("12345", "Salon", "", "+999123", "+883130100000")] == [()] * 5


def test_valid_is_stricter() -> None:
    """A number whose length is right but whose digits nobody has is possible and not valid."""
    assert normalise("+353300000000", "", "possible") == Number("+353300000000", "IE")
    with pytest.raises(BadNumber, match="given out"):
        normalise("+353300000000", "", "valid")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+353861234567", "+353*******67"),
        ("+12025550123", "+1********23"),
        ("Salon", "***on"),
        ("12", "**"),
        ("", ""),
        ("+1", "**"),
        ("+999123", "*****23"),
    ],
)
def test_mask(number: str, expected: str) -> None:
    """A masked number shows its country code and its last two digits, and never the rest."""
    assert mask(number) == expected


@given(st.text(max_size=30))
def test_mask_any(text: str) -> None:
    """A mask is as long as what it hides, whatever that is."""
    assert len(mask(text)) == len(text)


@pytest.mark.parametrize(
    "sender", ["+353861234567", "12345", "123", "12345678", "Salon", "A", "Bob & Co. ", "H+M_x-y 12", "3M"]
)
def test_senders(sender: str) -> None:
    """Numbers, short codes and names are senders."""
    assert sender_ok(sender) is None


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "12",
        "123456789",
        "+0123456789",
        "+1234567890123456",
        "Twelve chars",
        "Café",
        "1 2 3",
        "a\n",
        "a\x00",
        "+",
        "{a}",
        "١٢٣٤",
    ],
)
def test_no_senders(sender: str) -> None:
    """Everything else is answered by a sentence that says what a sender is."""
    assert "short code" in (sender_ok(sender) or "")
