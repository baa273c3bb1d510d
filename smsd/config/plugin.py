"""Finds the class of a provider by its `type`: an entry point of the group smsd.providers, or "package.module:Class".

Never makes an instance, never keeps what it found: modules are cached by Python itself.
"""

import importlib
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any, cast

import msgspec

from smsd.config.read import suggestion
from smsd.provider import Capabilities, Provider

GROUP = "smsd.providers"
_VERBS = ("submit", "answer", "receipts", "inbound", "look_up", "found", "secrets")


def known_types(within: str = "") -> list[str]:
    """The names of all installed providers, or of those whose module's name begins so."""
    return sorted({point.name for point in entry_points(group=GROUP) if point.value.startswith(within)})


def provider_class(type_: str) -> type[Provider]:
    """The class that a provider's `type` names. Raises ValueError with a sentence that says what is right."""
    if ":" in type_:
        point = EntryPoint(name=type_, value=type_, group=GROUP)
    else:
        found = _ours(type_) or entry_points(group=GROUP, name=type_)
        if not found:
            known = known_types()
            listed = ", ".join(f'"{name}"' for name in known) or "none"
            raise ValueError(
                f'no provider of type "{type_}" is installed{suggestion(type_, known)}: '
                f'there are {listed}, or give "package.module:Class"'
            )
        point = next(iter(found))
    try:
        module, _, name = point.value.partition(":")
        found_class: Any = importlib.import_module(module)
        for part in name.split("."):
            found_class = getattr(found_class, part)
    except Exception as error:  # noqa: BLE001 - a plugin's module may fail in any way, and `check` must go on
        raise ValueError(
            f'the type "{type_}" cannot be imported ({type(error).__name__}: {error}); '
            f"installed are {', '.join(known_types()) or 'none'}"
        ) from None
    return _judged(type_, found_class)


def _ours(type_: str) -> Sequence[EntryPoint]:
    """One that comes with smsd: to ask that one distribution is soon done, to ask all that are installed is not."""
    try:
        mine = distribution("smsd-dispatch").entry_points
    except PackageNotFoundError:  # from a source folder that nobody installed
        return ()
    return mine.select(group=GROUP, name=type_)


def make(provider: type[Provider], name: str, options: msgspec.Struct) -> Provider:
    """An instance, by the signature that every provider has: its name in the config, and its Options."""
    return cast("Callable[[str, msgspec.Struct], Provider]", provider)(name, options)


def settle_s(provider: type[Provider]) -> float:
    """How long after a lease's end a look-up is believed where the config does not say: as the class does, in seconds.
    What a provider can do may depend on its options; then its class says nothing.
    """
    can = getattr(provider, "capabilities", None)
    return (can if isinstance(can, Capabilities) else Capabilities()).settle_s


def _judged(type_: str, found: Any) -> type[Provider]:
    options = getattr(found, "Options", None)
    if not isinstance(found, type) or not isinstance(options, type) or not issubclass(options, msgspec.Struct):
        raise ValueError(f'"{type_}" is no provider: it needs to be a class with a msgspec.Struct named Options')
    missing = [verb for verb in _VERBS if not callable(getattr(cast("Any", found), verb, None))]
    if missing:
        raise ValueError(f'"{type_}" is no provider: it lacks {", ".join(missing)} (see smsd.provider.Provider)')
    return cast("type[Provider]", found)
