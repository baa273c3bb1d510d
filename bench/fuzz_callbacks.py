"""`make fuzz-callbacks`: every provider's callbacks under a fuzzer that sees which lines it reaches (atheris).

Holds, for millions of cases, that nothing but BadSignature, BadCallback and Needs is raised; that what was changed
after it was signed, or has another proof, is never believed; and that what is signed rightly but nonsense is read
properly or refused. Needs the project's own tests beside it: the vectors, and each vendor's way to sign. Ends with 1 on
a finding.

Twilio signs names and values run together, so that where a name ends may be moved without a trace (`MessageStatusf` and
`ailed`). No such move makes another meaning of a genuine callback, and this is held too: what is believed though it was
changed says what a genuine one said.
"""

import argparse
import importlib
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import atheris  # pyright: ignore[reportMissingImports]
import msgspec

from smsd.config.plugin import known_types, provider_class
from smsd.provider import REFUSALS, BadCallback, BadSignature, Callback, Inbound, Needs, Receipt, ReceiptStatus
from smsd.testing.conformance import subject
from smsd.testing.conformance_subject import Sign, Subject, Vector

with atheris.instrument_imports(include=["smsd_providers"]):  # pyright: ignore
    PROVIDERS = {name: provider_class(name) for name in known_types("smsd_providers.")}

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "tests" / "providers" / "vectors"
FILES = {"http": "http_json", "fake": ""}
SIGNED, PROOF = 1, 2  # bits of a case's second byte: sign it anew; put its text into the headers instead of the body


class Finding(Exception):
    """What may not be."""


def one_case(under_test: Subject, genuine: list[Vector], said: list[Receipt | Inbound], data: bytes) -> None:
    """The first byte chooses a genuine callback, the second what is done with the rest."""
    if len(data) < 2:
        return
    vector, how, text = genuine[data[0] % len(genuine)], data[1], data[2:]
    callback = vector.callback
    verb = under_test.provider.inbound if vector.kind == "inbound" else under_test.provider.receipts
    if how & PROOF:
        shown = text.decode("latin-1")
        headers = {k: v if k == "content-type" else shown for k, v in callback.headers.items()}
        forged = msgspec.structs.replace(callback, headers=headers)
        believed = headers == callback.headers or vector.proof == "url"
    else:
        forged = msgspec.structs.replace(callback, body=text)
        believed = text == callback.body or "body" not in vector.covers
    if how & SIGNED and under_test.sign is not None:
        try:
            forged, believed = under_test.sign(forged), True
        except (ValueError, UnicodeError):  # what the vendor could not have signed
            return
    for read in _read(verb, forged):
        if not believed and read not in said:
            raise Finding(f"{vector.name}: believed though it was changed: {forged!r}")
        _proper(read)


def _read(verb: Callable[[Callback], list[Receipt] | list[Inbound]], callback: Callback) -> list[Receipt | Inbound]:
    try:
        return [*verb(callback)]
    except (BadSignature, BadCallback, Needs):
        return []


def _proper(read: Receipt | Inbound) -> None:
    if isinstance(read, Inbound):
        if not (read.provider_id and read.sender and read.parts >= 1):
            raise Finding(f"a text without an id or a sender: {read!r}")
    elif not (read.provider_id or read.reference):
        raise Finding(f"a receipt that names no message: {read!r}")
    elif read.status is ReceiptStatus.UNDELIVERED and read.reason not in REFUSALS:
        raise Finding(f"{read.reason!r} is none of REFUSALS")


def fuzz(name: str, runs: int, seed: int) -> None:
    """One provider, in this process; never returns."""
    file = FILES.get(name, name.replace("-", "_"))
    sign: Sign | None = getattr(importlib.import_module(f"tests.providers.test_{name.replace('-', '_')}"), "sign", None)
    under_test = subject(PROVIDERS[name], VECTORS / f"{file}.json" if file else VECTORS / "twilio.json", sign)
    genuine = [v for v in under_test.of_kind("receipt", "inbound", "signature") if v.genuine]
    provider = under_test.provider
    verbs = {vector.name: provider.inbound if vector.kind == "inbound" else provider.receipts for vector in genuine}
    said = [read for vector in genuine for read in _read(verbs[vector.name], vector.callback)]
    with TemporaryDirectory() as corpus:
        for i, vector in enumerate(genuine):
            for how in (0, SIGNED, PROOF):
                (Path(corpus) / f"{i}-{how}").write_bytes(bytes([i, how]) + vector.callback.body)
        flags = [
            f"-artifact_prefix={corpus}/",
            f"-runs={runs}",
            f"-seed={seed}",
            "-max_len=4096",
            "-verbosity=0",
            "-print_final_stats=1",
        ]
        case = partial(one_case, under_test, genuine, said)
        atheris.Setup([sys.argv[0], *flags, corpus], case)  # pyright: ignore
        atheris.Fuzz()  # pyright: ignore


def main() -> int:
    """Runs each provider in a process of its own, for the fuzzer ends its process. Returns an exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="providers; all for none")
    parser.add_argument("--runs", type=int, default=300_000, help="cases of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--here", action="store_true", help="one provider, in this process")
    args = parser.parse_args()
    if args.here:
        fuzz(args.names[0], args.runs, args.seed)
    names = args.names or [name for name in PROVIDERS if name != "fake"]  # which is twilio's code
    failed: list[str] = []
    for name in names:
        command = [sys.executable, __file__, name, "--here", f"--runs={args.runs}", f"--seed={args.seed}"]
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        told = {line.split(":")[2]: line.split()[-1] for line in ended.stderr.splitlines() if line.startswith("stat::")}
        cases = told.get("number_of_executed_units", "0")
        sys.stdout.write(f"{name}: {cases} cases, {'a finding' if ended.returncode else 'nothing found'}\n")
        sys.stdout.flush()
        if ended.returncode:
            failed.append(name)
            sys.stdout.write(ended.stderr[-3000:])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
