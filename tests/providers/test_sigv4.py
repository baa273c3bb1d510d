"""AWS Signature Version 4: held to AWS's own test suite."""

import pytest

from smsd_providers._sigv4 import Key, authorization, date

KEY = Key("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service")
AT = "20150830T123600Z"
HEADERS = {"Host": "example.amazonaws.com", "X-Amz-Date": AT}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("target", "more", "body", "signature"),
    [
        (("GET", "/", ""), {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            ("GET", "/", "Param1=value1&Param2=value2"),
            {},
            b"",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (("POST", "/", ""), {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            ("POST", "/", ""),
            FORM,
            b"Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
    ids=["get-vanilla", "get-vanilla-query-order-key-case", "post-vanilla", "post-x-www-form-urlencoded"],
)
def test_the_suite_is_signed_rightly(
    target: tuple[str, str, str], more: dict[str, str], body: bytes, signature: str
) -> None:
    """As aws-sig-v4-test-suite has it."""
    names = "content-type;host;x-amz-date" if more else "host;x-amz-date"
    assert authorization(KEY, target, {**HEADERS, **more}, body, AT) == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
        f" SignedHeaders={names}, Signature={signature}"
    )


def test_blanks_in_a_header_count_as_one() -> None:
    """Those around it do not count at all."""
    spaced = authorization(KEY, ("GET", "/", ""), {**HEADERS, "My-Header": "  a   b  "}, b"", AT)
    assert spaced == authorization(KEY, ("GET", "/", ""), {**HEADERS, "My-Header": "a b"}, b"", AT)


def test_an_instant_is_written_in_seconds() -> None:
    """In UTC, as X-Amz-Date has it."""
    assert date(1_440_938_160_999_999) == AT
