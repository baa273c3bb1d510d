"""What smsd.config.plugin must hold: a provider's class is found by name or path, and what is none is explained."""

from importlib.metadata import EntryPoint

import msgspec
import pytest

from smsd.config import plugin
from tests.config.dummy import Dummy, DummyOptions


def test_a_class_is_found_by_its_path():
    """ "package.module:Class" names a provider that no distribution registers."""
    assert plugin.provider_class("tests.config.dummy:Dummy") is Dummy


def test_a_class_is_found_by_its_entry_point():
    """A type without a colon is the name of an entry point of the group smsd.providers."""
    found = plugin.provider_class("twilio")
    assert f"{found.__module__}:{found.__qualname__}" == "smsd_providers.twilio:Twilio"
    assert "twilio" in plugin.known_types()


@pytest.mark.parametrize(
    ("type_", "says"),
    [
        ("twillio", 'no provider of type "twillio" is installed (did you mean "twilio"?): there are "'),
        ("nowhere.to:Go", "cannot be imported (ModuleNotFoundError: No module named 'nowhere'); installed are "),
        ("tests.config.dummy:Gone", "cannot be imported (AttributeError"),
        (":Dummy", "cannot be imported (ValueError"),
        ("tests.config.dummy:", "cannot be imported (AttributeError"),
        ("tests.config.dummy:Broken.x.y", "cannot be imported (RuntimeError: it fails)"),
        ("tests.config.dummy:DummyOptions", "needs to be a class with a msgspec.Struct named Options"),
        ("tests.config.dummy:Silent", "lacks submit, answer, receipts, inbound, look_up, found, secrets"),
    ],
)
def test_what_is_no_provider_is_explained(type_: str, says: str):
    """Each way of naming the wrong thing has its sentence, and those that exist are listed."""
    with pytest.raises(ValueError, match=r".+") as caught:
        plugin.provider_class(type_)
    assert says in str(caught.value)


def test_an_entry_point_that_cannot_be_imported_is_explained(monkeypatch: pytest.MonkeyPatch):
    """A provider whose library is not installed is a mistake of the config, not a crash of smsd."""
    broken = EntryPoint(name="broken", value="nowhere.to:Go", group=plugin.GROUP)
    monkeypatch.setattr(plugin, "entry_points", lambda **_: [broken])
    with pytest.raises(ValueError, match="No module named 'nowhere'"):
        plugin.provider_class("broken")


def test_what_comes_with_smsd_is_found_without_a_search(monkeypatch: pytest.MonkeyPatch):
    """Nothing else that is installed is asked, nor can it take the name."""
    monkeypatch.setattr(plugin, "entry_points", lambda **_: [])
    assert plugin.provider_class("twilio").__module__ == "smsd_providers.twilio"


@pytest.mark.parametrize(
    ("type_", "settle_s"), [("twilio", 5), ("sinch", 60), ("infobip", 60), ("bird", 60), ("http", 5)]
)
def test_a_class_says_how_soon_a_look_up_is_believed(type_: str, settle_s: float):
    """Lists and logs that are written some time after the message take a minute; what says nothing has the default."""
    assert plugin.settle_s(plugin.provider_class(type_)) == settle_s


def test_an_instance_gets_its_name_and_its_options():
    """Every provider is made alike."""
    made = plugin.make(Dummy, "main", DummyOptions(base_url="x"))
    assert isinstance(made, Dummy)
    assert (made.name, made.options) == ("main", DummyOptions(base_url="x"))
    assert isinstance(made.options, msgspec.Struct)
