"""The kit's face: reports, names, and what it says where a provider cannot be made or vectors cannot be read."""

from pathlib import Path

import pytest

from smsd.testing import conformance
from smsd.testing.conformance import Check, Outcome, checks, vet
from smsd_providers.twilio import Twilio
from tests.support.broken import TWILIO, Blaming


def test_a_report_says_whether_it_conforms() -> None:
    """A provider that keeps every rule conforms, by its class, its type or its path alike."""
    for target in (Twilio, "twilio", "smsd_providers.twilio:Twilio"):
        report = vet(target, TWILIO)
        assert report.ok, str(report)
        assert str(report).startswith(f"{report.target}: conforms\n")


def test_a_report_says_what_is_broken() -> None:
    """One broken rule is enough, and its sentence is in the report."""
    report = vet(Blaming, TWILIO)
    assert not report.ok
    assert str(report).startswith("Blaming: does not conform\n")
    assert "failed  unusable: a 401 is refused, not Unusable" in str(report).splitlines()


def test_without_options_a_provider_may_need_none() -> None:
    """The fake is vetted without a file; rules that need vectors are skipped with the reason."""
    report = vet("fake")
    assert report.ok, str(report)
    skipped = {result.name: result.detail for result in report.results if result.outcome is Outcome.SKIPPED}
    assert skipped["covered"] == "there are no vectors"


def test_options_that_are_missing_are_named() -> None:
    """A provider that needs options says which, and where to put them."""
    with pytest.raises(ValueError, match=r'options: the key "account_sid" is missing.*of kind "options"'):
        vet("twilio")


def test_an_unknown_type_is_named() -> None:
    """A type that nobody installed is an error that lists what there is."""
    with pytest.raises(ValueError, match=r'no provider of type "twillio".*"twilio"'):
        vet("twillio")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        ("{", "not a list of vectors"),
        ('[{"name": "x"}]', "kind"),
        ('[{"kind": "poem"}]', "poem"),
        ('[{"kind": "options", "options": {"colour": "red"}}]', "colour: unknown key"),
        ('[{"kind": "options", "options": {"account_sid": "AC1", "auth_token": []}}]', "env:NAME"),
    ],
)
def test_vectors_that_cannot_be_used_are_explained(tmp_path: Path, content: str | None, sentence: str) -> None:
    """A file that is no vector file is an error that says why."""
    path = tmp_path / "vectors.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=sentence):
        checks("twilio", path)


def test_checks_are_named_for_a_test_runner() -> None:
    """Each check has a name of its own, by rule and vector."""
    names = [str(check) for check in checks(Twilio, TWILIO)]
    assert len(names) == len(set(names)) > len(conformance.RULES)
    assert {"purity", "receipt (opted-out)", "reference (opted-out)", "look-up (listed)"} <= set(names)
    assert "tampering (forged)" not in names
    assert "reference (status-sending)" not in names


def test_whatever_a_provider_raises_is_a_failure() -> None:
    """A provider's exception fails the check; its text, which may hold a secret, is not told."""

    def rule() -> None:
        raise KeyError("hunter2")

    result = Check("rule", rule).run()
    assert (result.outcome, result.detail) == (Outcome.FAILED, "raised KeyError, which the contract does not allow")
