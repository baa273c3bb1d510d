"""Makes a Config of a file, or of what another host published; or tells every mistake at once.

Never keeps half a config: what has a mistake is not loaded.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from smsd.config import plugin, sandbox
from smsd.config.check import Checker
from smsd.config.files import OVERRIDABLE, Document, KeyPath, Mistake, Table, dotted
from smsd.config.meaning import Config, Origin
from smsd.config.read import BAD, Reader, keys_of
from smsd.config.settings import CLASSES, ClassConfig, Name, NoOptions, ProviderConfig, Settings, TenantConfig, TenantId
from smsd.provider import Provider
from smsd.secret import Secret, SecretError

_PUBLISHED = "the published config"
SIGNS = re.compile(r"(?:whsec_)?[A-Za-z0-9+/]{32,86}={0,2}", re.ASCII)


class ConfigErrors(Exception):
    """A config that cannot be used, with every mistake in it; as a text, one line each."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


def load(path: str | Path, env: Mapping[str, str] = os.environ, *, secrets: bool = True) -> Config:
    """The config of a file and what it includes. Raises ConfigErrors.

    `secrets` False: a reference that leads nowhere is no mistake here, and providers are not tried: for commands that
    only talk to the store.
    """
    document = Document(Path(path), env)
    if not document.whole:
        raise ConfigErrors(document.mistakes)
    origin = Origin(document.table, str(document.folder), env, frozenset(document.overridden))
    reader = Reader(origin.folder, env, lax=origin.overridden)
    config = _config(reader, origin, secrets=secrets)
    named = {secret.reference.removeprefix("env:") for _, secret in reader.secrets}
    mistakes = [*document.mistakes, *document.misplaced(env, named)]
    mistakes += [document.mistake(path, message) for path, message in reader.mistakes]
    if mistakes:
        raise ConfigErrors(mistakes)
    return config


def tenant_settings(config: Config, tenant: str, table: object, *, strict: bool = True) -> TenantConfig:
    """What a table such as [tenants.NAME] says, read and checked as that of the file. Raises ConfigErrors.

    `strict` False: what another release wrote is read as far as it can be.
    """
    reader = Reader(config.origin.folder, config.origin.env)
    path: KeyPath = ("tenants", tenant)
    if strict:
        reader.value(TenantId, tenant, path)
    read = reader.struct(TenantConfig, table, path) or TenantConfig()
    if strict:
        Checker(config, lambda section: getattr(config, section).keys() - {sandbox.SANDBOX}, reader.note).tenant(
            read, path
        )  # the sandbox's route is nobody's choice
        if reader.mistakes:
            raise ConfigErrors(Mistake("", 0, dotted(at), said) for at, said in reader.mistakes)
    return read


def follow(local: Config, published: bytes, *, secrets: bool = True) -> Config:
    """This host's own sections with a shared part that another host published (meaning.shared). Raises ConfigErrors.

    `secrets`: as for `load`.
    """
    try:
        theirs = msgspec.json.decode(published, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ConfigErrors([Mistake(_PUBLISHED, 0, "", f"cannot be read: {error}")]) from None
    table: Table = {key: value for key, value in theirs.items() if key not in OVERRIDABLE}
    table.update((key, value) for key, value in local.origin.table.items() if key in OVERRIDABLE)
    origin = Origin(table, local.origin.folder, local.origin.env, local.origin.overridden)
    reader = Reader(origin.folder, origin.env, lax=origin.overridden)
    config = _config(reader, origin, secrets=secrets)
    if reader.mistakes:
        raise ConfigErrors(Mistake(_PUBLISHED, 0, dotted(path), said) for path, said in reader.mistakes)
    return config


def _config(reader: Reader, origin: Origin, *, secrets: bool) -> Config:
    """Reads and checks the whole table; what is wrong is in reader.mistakes, and the config then is not to be used."""
    table = dict(origin.table)
    classes = _classes(reader, table.pop("classes", {}))
    providers, types = _providers(reader, table.pop("providers", {}))
    settings = reader.struct(Settings, table, (), also=("include",)) or Settings()
    settings = msgspec.structs.replace(settings, classes=classes or dict(CLASSES), providers=providers)
    Checker(settings, _names(origin.table), reader.note).run(secrets=secrets)
    settings = sandbox.furnished(settings, types, origin.env)
    config = Config(**msgspec.structs.asdict(settings), origin=origin, provider_types=types)
    if secrets:
        _try_secrets(reader)
        _try_providers(reader, config)
        _try_status_webhooks(reader, config)
    return config


def _names(table: Table) -> Callable[[str], list[str]]:
    """What a section names, whether or not it could be read: so that one mistake is not told twice."""

    def names(section: str) -> list[str]:
        named = table.get(section, {})
        return list(cast("Table", named)) if isinstance(named, dict) else []

    return names


def _tables(reader: Reader, raw: object, section: str) -> list[tuple[str, Table]]:
    """The tables of a section, by names that are right."""
    if not isinstance(raw, dict):
        reader.note((section,), f"expected tables: [{section}.NAME]")
        return []
    tables: list[tuple[str, Table]] = []
    for name, table in cast("dict[str, object]", raw).items():
        if not isinstance(table, dict):
            reader.note((section, name), f"expected a table: [{section}.{name}]")
        elif reader.value(Name, name, (section, name)) is not BAD:
            tables.append((name, cast("Table", table)))
    return tables


def _classes(reader: Reader, raw: object) -> dict[str, ClassConfig]:
    classes: dict[str, ClassConfig] = {}
    for name, table in _tables(reader, raw, "classes"):
        read = reader.struct(ClassConfig, table, ("classes", name), base=CLASSES.get(name))
        if read is not None:
            classes[name] = read
    return classes


def _providers(reader: Reader, raw: object) -> tuple[dict[str, ProviderConfig], dict[str, type[Provider]]]:
    providers: dict[str, ProviderConfig] = {}
    types: dict[str, type[Provider]] = {}
    for name, table in _tables(reader, raw, "providers"):
        path: KeyPath = ("providers", name)
        common = keys_of(ProviderConfig).keys() - {"options"}
        read = reader.struct(ProviderConfig, {k: v for k, v in table.items() if k in common}, path)
        if read is None:
            continue
        options: msgspec.Struct | None = None
        try:
            found = plugin.provider_class(read.type)
        except ValueError as error:
            reader.note((*path, "type"), str(error))
        else:
            rest: dict[str, Any] = {k: v for k, v in table.items() if k not in common}
            try:
                options = reader.struct(found.Options, rest, path, also=common)
            except Exception as error:  # noqa: BLE001 - what a plugin's struct does with its keys may fail in any way
                reader.note(path, _fails(error))
            types[name] = found
            if "settle_s" not in table:
                read = msgspec.structs.replace(read, settle_s=plugin.settle_s(found))
            if _by_network(options) and "callback_networks" not in table:
                said = f'"network" needs callback_networks in [providers.{name}]: which they may come from'
                reader.note((*path, "callbacks", "by"), said)
        providers[name] = msgspec.structs.replace(read, options=options or NoOptions())
    return providers, types


def _by_network(options: msgspec.Struct | None) -> bool:
    """Whether nothing proves the provider's callbacks but where they come from."""
    return getattr(getattr(options, "callbacks", None), "by", "") == "network"


def _try_secrets(reader: Reader) -> None:
    for path, secret in reader.secrets:
        try:
            secret.reveal()
        except SecretError as error:
            reader.note(path, str(error))


def _try_providers(reader: Reader, config: Config) -> None:
    """A provider may find mistakes that only show when it is made."""
    for name, provider in config.providers.items():
        if not isinstance(provider.options, NoOptions):
            try:
                config.provider(name)
            except SecretError:
                pass  # noted with all other secrets
            except ValueError as error:
                reader.note(("providers", name), str(error))
            except Exception as error:  # noqa: BLE001 - a plugin may fail in any way, and no daemon ends of it
                reader.note(("providers", name), _fails(error))


def _fails(error: Exception) -> str:
    """Without what the error says, which may be a secret."""
    return f"its class fails with these keys ({type(error).__name__}): that is a fault of the provider's own code"


def _try_status_webhooks(reader: Reader, config: Config) -> None:
    """A secret by which no library would verify what is signed."""
    for name, told in config.status_webhooks.items():
        for secret in [told.secret] if isinstance(told.secret, Secret) else told.secret:
            try:
                signs = SIGNS.fullmatch(secret.reveal()) is not None
            except SecretError:
                continue  # noted with all other secrets
            if not signs:
                said = "is no secret of Standard Webhooks: whsec_ and 24 to 64 bytes in base64 (docs/WEBHOOKS.md)"
                reader.note(("status_webhooks", name, "secret"), f"{secret.reference} {said}")
