"""Kannel: held to the contract by the kit, to its documents and source by vectors."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from smsd.secret import Secret
from smsd.testing.conformance import Check, Outcome, checks
from smsd.testing.conformance_subject import attempt
from smsd_providers._proof import Callbacks
from smsd_providers.kannel import Kannel, KannelOptions

VECTORS = Path(__file__).parent / "vectors" / "kannel.json"
ENV = {"PASSWORD": "kannel-password", "TOKEN": "kannel-token", "ODD": "50%+"}


def options(token: str = "TOKEN") -> KannelOptions:
    proven = Callbacks(by="path", secrets=(Secret(f"env:{token}", env=ENV),))
    password = Secret("env:PASSWORD", env=ENV)
    return KannelOptions(
        base_url="http://127.0.0.1:13013/cgi-bin/sendsms", username="smsd", password=password, callbacks=proven
    )


@pytest.mark.parametrize("check", checks(Kannel, VECTORS), ids=str)
def test_conforms(check: Check) -> None:
    """Kannel keeps the contract."""
    result = check.run()
    assert result.outcome is not Outcome.FAILED, result.detail


def test_nothing_is_left_unchecked() -> None:
    """The kit skips only what Kannel does not have: a look-up, a key that it recognises, a signature."""
    skipped = [check.name for check in checks(Kannel, VECTORS) if check.run().outcome is Outcome.SKIPPED]
    assert skipped == ["idempotency", "look-up", "hostile contents"]


def test_by_get_all_is_in_the_query() -> None:
    """The same fields, and the text among them."""
    provider = Kannel("main", msgspec.structs.replace(options(), method="GET"))
    made = provider.submit(attempt("Grüße 👋"))
    said = {name: values[0] for name, values in parse_qs(urlsplit(made.url).query).items()}
    assert (made.method, made.body) == ("GET", b"")
    assert said == {
        "username": "smsd",
        "password": "kannel-password",
        "from": "+353861234567",
        "to": "+447700900123",
        "coding": "2",
        "validity": "120",
        "dlr-mask": "31",
        "dlr-url": "https://sms.example.com/webhooks/vetted/kannel-token/status?ref=1.acme/m1&type=%d&answer=%A",
        "charset": "UTF-8",
        "text": "Grüße 👋",
    }


def test_by_post_the_fields_are_headers() -> None:
    """The password is in no URL, and the text is the body."""
    made = Kannel("main", options()).submit(attempt(callback_url=""))
    assert made.url == "http://127.0.0.1:13013/cgi-bin/sendsms"
    assert dict(made.headers) == {
        "Content-Type": "text/plain; charset=UTF-8",
        "X-Kannel-Username": "smsd",
        "X-Kannel-Password": "kannel-password",
        "X-Kannel-From": "+353861234567",
        "X-Kannel-To": "+447700900123",
        "X-Kannel-Coding": "0",
        "X-Kannel-Validity": "120",
    }


def test_a_secret_that_kannel_would_read_as_an_escape_is_a_mistake() -> None:
    """A % in a dlr-url is Kannel's own."""
    with pytest.raises(ValueError, match=r"callbacks\.secrets: may have letters, digits"):
        options("ODD")
