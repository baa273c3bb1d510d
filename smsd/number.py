"""Phone numbers: the normal form E.164 and its country, senders, and the mask for logs.

Never guesses: a national number without a region is an error. Never quotes a number in an error, because errors travel
to logs and to the events stream. All knowledge of numbering plans is libphonenumber's (the package phonenumbers).
"""

import functools
import re
from collections.abc import Callable

import msgspec
import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberFormat, ValidationResult
from phonenumbers.re_util import enable_pattern_cache

# Else a mix of countries overflows re's own cache of 512 patterns, and each number compiles some of them anew.
enable_pattern_cache()


class Number(msgspec.Struct, frozen=True, gc=False):
    """A recipient in the normal form."""

    e164: str
    country: str  # ISO 3166 alpha-2; "" where the numbering plan names none, or where it cannot be told


class BadNumber(ValueError):
    """Not a number that a text can go to. The text says what would mend it."""


def normalise(to: str, region: str, check: str) -> Number:
    """The E.164 form of `to`: a number with `+`, or a national one of `region` (ISO 3166 alpha-2, any case; "": none).

    `check` is "possible" (its length is one of its country's) or "valid" (its digits are in use there as well); both
    as libphonenumber defines them. Raises BadNumber.
    """
    if check == "possible" and to.isascii() and to[:1] == "+" and to[1:].isdigit():
        plan = _plan(to[1:4])
        if plan is not None:
            national = to[plan.skip :]
            if len(national) in plan.lengths and not plan.prefixed(national):
                return Number(to, _country(plan.countries, national) if plan.countries else plan.country)
    return _parse(to, region.upper(), check)


def countries(number: Number) -> tuple[str, ...]:
    """Where a number may be of: its country, or all that share its code where the plan that is known names none, for
    metadata lags behind new area codes; () for what is none.
    """
    if number.country:
        return (number.country,)
    plan = _plan(number.e164[1:4]) if number.e164[:1] == "+" else None
    return plan.countries if plan is not None else ()


def mask(e164: str) -> str:
    """A number for logs: country code and last two digits stay, `+353*******67`. Other texts keep their last two."""
    plan = _plan(e164[1:4]) if e164[:1] == "+" else None
    kept = plan.skip if plan is not None else 0
    hidden = len(e164) - kept - 2
    return f"{e164[:kept]}{'*' * hidden}{e164[-2:]}" if hidden > 0 else "*" * len(e164)


# ---- Senders ---------------------------------------------------------------------------------------------------------

_is_sender = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 _.&+-]{1,11}").fullmatch


def sender_ok(sender: str) -> str | None:
    """None for what can be a sender: E.164, a short code, or alphanumeric; else a sentence that says what is right."""
    if _is_sender(sender):
        return None
    return (
        "a sender is a number like +353861234567, a short code of 3 to 8 digits, or 1 to 11 of the characters "
        "A-Z a-z 0-9 space _ . & + - with at least one letter"
    )


# ---- E.164 already, the usual case: the answer of phonenumbers, from its own tables, at a tenth of the cost ----------

_Matcher = Callable[[str], object]
_never: _Matcher = re.compile(r"(?!)").match


class _Plan(msgspec.Struct, frozen=True):
    """What one country code needs to be judged by, read once from libphonenumber's metadata."""

    skip: int  # characters of "+" and the country code
    lengths: frozenset[int]  # of the national numbers that are possible, but for those that only neighbours can dial
    prefixed: _Matcher  # finds a national prefix in front; such a number is left to the whole parser
    countries: tuple[str, ...]  # where the code is shared: a number is of the first that it belongs to
    country: str  # of every number where it is not


_REGIONS = {str(code): regions for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()}


@functools.lru_cache(maxsize=1000)
def _plan(digits: str) -> _Plan | None:
    """The plan of the country code that these three digits begin with, or None. Country codes are free of prefixes."""
    code = next((digits[:size] for size in (1, 2, 3) if digits[:size] in _REGIONS), None)
    return None if code is None else _plan_of(code, _REGIONS[code])


@functools.cache
def _plan_of(code: str, regions: tuple[str, ...]) -> _Plan | None:
    # As in phonenumbers.is_possible_number: the main region's lengths stand for all regions of the code.
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0])
    if metadata is None or metadata.general_desc is None:
        return None
    prefix = metadata.national_prefix_for_parsing
    return _Plan(
        skip=1 + len(code),
        lengths=frozenset(metadata.general_desc.possible_length),
        prefixed=re.compile(prefix).match if prefix else _never,
        country=_iso(regions[0]),
        countries=regions if len(regions) > 1 else (),
    )


@functools.cache
def _belongs(region: str) -> _Matcher:
    """phonenumbers.region_code_for_number's test of one region as one expression: leading digits, else any type."""
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        return _never
    if metadata.leading_digits is not None:
        return re.compile(metadata.leading_digits).match
    kinds = (
        *(metadata.mobile, metadata.fixed_line, metadata.voip, metadata.toll_free, metadata.premium_rate),
        *(metadata.shared_cost, metadata.personal_number, metadata.pager, metadata.uan, metadata.voicemail),
    )
    return re.compile("|".join(f"(?:{kind.national_number_pattern})" for kind in kinds if kind is not None)).fullmatch


def _country(countries: tuple[str, ...], national: str) -> str:
    for country in countries:
        if _belongs(country)(national):
            return country
    return ""


def _iso(region: str | None) -> str:
    """libphonenumber's region as ISO 3166: its "001" (codes that belong to no country) and None are ""."""
    return region if region is not None and region.isalpha() else ""


# ---- All other spellings: phonenumbers itself ------------------------------------------------------------------------

_is_dialled = re.compile(r"[\s(]{0,9}\+?[\d\s()./\u2010-\u2015-]{2,40}").fullmatch

_UNREADABLE: dict[int, str] = {
    NumberParseException.INVALID_COUNTRY_CODE: "the digits after + begin with no country code",
    NumberParseException.NOT_A_NUMBER: "not a phone number",
    NumberParseException.TOO_SHORT_AFTER_IDD: "too short after its international prefix",
    NumberParseException.TOO_SHORT_NSN: "too short",
    NumberParseException.TOO_LONG: "too long",
}

_IMPOSSIBLE: dict[int, str] = {
    ValidationResult.INVALID_COUNTRY_CODE: "the digits after + begin with no country code",
    ValidationResult.TOO_SHORT: "too short for its country",
    ValidationResult.INVALID_LENGTH: "no number of its country has this length",
    ValidationResult.TOO_LONG: "too long for its country",
}

_POSSIBLE = (ValidationResult.IS_POSSIBLE, ValidationResult.IS_POSSIBLE_LOCAL_ONLY)


def _parse(to: str, region: str, check: str) -> Number:
    if not _is_dialled(to):
        raise BadNumber("a number is up to 40 digits, spaces and the signs ( ) . / - with at most one + in front")
    if "+" not in to and not region:
        raise BadNumber("a number without + needs a region: write +, country code and number, or set `region`")
    if "+" not in to and region not in phonenumbers.SUPPORTED_REGIONS:
        raise BadNumber("`region` is no ISO 3166 country of two letters with a numbering plan, such as IE")
    try:
        parsed = phonenumbers.parse(to, region if "+" not in to else None)
    except NumberParseException as error:
        raise BadNumber(_UNREADABLE[error.error_type]) from None
    verdict = phonenumbers.is_possible_number_with_reason(parsed)
    if verdict not in _POSSIBLE:
        raise BadNumber(_IMPOSSIBLE[verdict])
    if check == "valid" and not phonenumbers.is_valid_number(parsed):
        raise BadNumber("its length is right, but its country has not given out such numbers")
    e164 = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    return Number(e164, _iso(phonenumbers.region_code_for_number(parsed)))
