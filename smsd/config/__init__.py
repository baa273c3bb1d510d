"""smsd.toml: read with every mistake explained (`load`), and what it means to the rest of smsd (`Config`).

files: where each value stands. read: tables into structs. settings: every key and its default. check: what must hold
between keys. meaning: what others ask. sandbox: what it brings. loading: all of it. plugin: the classes of providers.
"""

from smsd.config.files import Mistake
from smsd.config.loading import ConfigErrors, follow, load, tenant_settings
from smsd.config.meaning import Config, compiled, compiled_tenant, diff_scopes, shared
from smsd.config.sandbox import SANDBOX, told_by
from smsd.config.settings import (
    ClassConfig,
    DispatchConfig,
    HttpConfig,
    OtelConfig,
    ProviderConfig,
    RetentionConfig,
    RouteConfig,
    SandboxConfig,
    StoreConfig,
    TenantConfig,
    Terms,
    WebhooksConfig,
)

__all__ = [
    "SANDBOX",
    "ClassConfig",
    "Config",
    "ConfigErrors",
    "DispatchConfig",
    "HttpConfig",
    "Mistake",
    "OtelConfig",
    "ProviderConfig",
    "RetentionConfig",
    "RouteConfig",
    "SandboxConfig",
    "StoreConfig",
    "TenantConfig",
    "Terms",
    "WebhooksConfig",
    "compiled",
    "compiled_tenant",
    "diff_scopes",
    "follow",
    "load",
    "shared",
    "tenant_settings",
    "told_by",
]
