"""The page docs/PROVIDERS.md: what each provider that comes with smsd can do and wants to be told, from its own class.

Never makes an instance: what a capability depends on in the config is said in words.
"""

import inspect
import sys
import typing
from collections.abc import Iterator

import msgspec

from smsd.config.plugin import known_types, provider_class
from smsd.provider import Capabilities, Provider
from smsd.secret import Secret
from smsd.testing.carrier_dialect import DIALECTS, kind_of

BY_CONFIG = frozenset({"http"})  # what these can do stands in their tables of the config, not in their class

HEAD = """\
# Providers

Made from the code by `make docs`. What a provider says here, the conformance kit holds it to (`smsd vet TYPE`), over
vectors of the vendor's own documents (`tests/providers/vectors/`). `smsd carrier --dialect TYPE` speaks its API and its
receipts on loopback, so that any of them can be rehearsed without an account: `make rehearse ARGS=TYPE`. To write one
that is not here: [ADDING_A_PROVIDER.md](ADDING_A_PROVIDER.md); a gateway with a simple API needs none: type `http`.

- **Sent twice?** What happens when an answer is lost: *key*: the same request under the same key is taken once, for so
  long; *reference*: the vendor is asked for our reference, and then knows; *listing*: its list of messages to that
  number is compared; either so long after the attempt's end, unless `settle_s` is given, and again 10 s later;
  *policy*: nobody can tell, so the class's `on_unknown` decides (resend once, flagged, or hold).
- **Receipts**: *each*: the callback URL travels with each message and carries our reference; *account*: set the URL
  `…/webhooks/<name>/status` in the vendor's portal; *segment*: one for each segment, made one truth here.
- **Texts**: whether what people send back comes here, to `…/webhooks/<name>/inbound`.
- **Callbacks** are proven by the vendor's signature where it signs, else by `callbacks`: a secret in the URL (`by` is
  "path" or "query"), in a header, by Basic or an HMAC; or by the "network" alone. `callback_networks`, a key of any
  provider, names the networks that they may come from ([OPERATING.md](OPERATING.md#run-it-day-by-day)).
- **Opt-outs**: where the vendor says that the person has opted out at its side, which closes the sender to them
  ([OPT_OUT.md](OPT_OUT.md)): in the *answer* or in a *receipt*; *untold*: it has no word that means this alone.
- **Rehearsed**: whether the built-in carrier speaks it.

| type | speaks | sent twice? | receipts | texts | opt-outs | rehearsed |
|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    types = known_types("smsd_providers.")
    rows = [_row(name) for name in types]
    sections = ["\n".join(_section(name)) for name in types]
    return HEAD + "\n".join(rows) + "\n\n" + "\n\n".join(sections) + "\n"


def _row(name: str) -> str:
    provider, dialect = provider_class(name), "twilio" if name == "fake" else name
    can = provider.capabilities if name not in BY_CONFIG else None
    told = [kind_of(dialect).opt_outs, "yes"] if dialect in DIALECTS else ["as configured", "no"]
    cells = [f"[`{name}`](#{name})", _speaks(provider), *_can(can), *told]
    return f"| {' | '.join(cells)} |"


def _can(can: Capabilities | None) -> list[str]:
    if can is None:
        return ["as configured"] * 3
    twice = [f"key, {can.idempotency_s // 3600} h"] if can.idempotency_s else []
    twice += [f"{can.look_up} after {can.settle_s:g} s"] if can.look_up != "none" else []
    each = "each" if can.callback_per_message else "account"
    told = f"{each}, segment" if can.receipts_per_segment else each
    return [" then ".join(twice) or "policy", told if can.receipts else "none", "yes" if can.inbound else "no"]


def _speaks(provider: type[Provider]) -> str:
    """The first line of its module: what it is, before the colon."""
    return _told(provider).partition("\n")[0].partition(":")[0].rstrip(".")


def _told(provider: type[Provider]) -> str:
    return sys.modules[provider.__module__].__doc__ or ""


def _section(name: str) -> Iterator[str]:
    provider = provider_class(name)
    yield f"## {name}"
    yield ""
    yield _told(provider).strip().replace("Never does IO, never decides. ", "")
    yield ""
    _, more, advice = inspect.cleandoc(provider.Options.__doc__ or "").partition(". ")
    if more:  # after "The keys of a provider of type ..."
        yield advice
        yield ""
    yield "| key | takes | default |"
    yield "|---|---|---|"
    hints = typing.get_type_hints(provider.Options)
    for field in msgspec.structs.fields(provider.Options):
        yield f"| `{field.encode_name}` | {_kind(hints[field.name])} | {_default(field)} |"


def _kind(hint: object) -> str:
    args = [arg for arg in typing.get_args(hint) if arg not in (type(None), Ellipsis)]
    origin = typing.get_origin(hint)
    if hint is Secret:
        return "secret: `env:NAME` or `file:PATH`"
    if origin is typing.Literal:
        return " or ".join(f"`{arg}`" for arg in args)
    if origin in (tuple, list):
        return f"one or a list: {_kind(args[0])}"
    if args and origin is not dict:
        return _kind(args[0])
    plain = {str: "text", int: "number", float: "number", bool: "true or false"}
    return plain[hint] if isinstance(hint, type) and hint in plain else "table"


def _default(field: "msgspec.structs.FieldInfo") -> str:
    if field.required:
        return "**needed**"
    if field.default is msgspec.NODEFAULT or field.default is None or field.default in ("", ()):
        return ""
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"`{field.default}`" if isinstance(field.default, str | int | float) else ""
