"""The commands that need no store: segments, schema, vet, carrier, demo. Never read the config."""

from pathlib import Path

from smsd.cli.say import Code, Trouble, answer, say


def segments(*, text: str, json: bool) -> Code:
    """Count the segments of a text, as providers bill them."""
    from smsd.text import segment

    try:
        counted = segment(text)
    except ValueError as error:
        raise Trouble(f"this is no text that can be sent: {error}", Code.MISTAKE) from None
    room = {"GSM-7": (160, 153), "UCS-2": (70, 67)}[counted.encoding][counted.count > 1]
    left = counted.count * room - counted.units
    parts = "segment" if counted.count == 1 else "segments"
    told = f"{counted.count} {parts} of {counted.encoding}: {counted.units} units, room for {left} more"
    answer({"encoding": counted.encoding, "segments": counted.count, "units": counted.units}, told, json=json)
    return Code.OK


def schema() -> Code:
    """Print the JSON Schema of smsd.toml, with the options of every provider that is installed, for editors."""
    from smsd.config.schema import installed

    say(installed().rstrip())
    return Code.OK


def vet(*, target: str, vectors: Path | None, json: bool) -> Code:
    """Hold a provider to its contract, without a network and without an account."""
    from smsd.testing.conformance import vet as vet_provider

    try:
        report = vet_provider(target, vectors)
    except ValueError as error:
        raise Trouble(str(error), Code.MISTAKE) from None
    results = [{"name": r.name, "outcome": r.outcome, "detail": r.detail} for r in report.results]
    answer({"target": report.target, "ok": report.ok, "results": results}, str(report), json=json)
    return Code.OK if report.ok else Code.NOT


def carrier(*, flags: list[str]) -> int:
    """Run the built-in carrier by itself, to try a config against: see smsd carrier --help."""
    from smsd.testing.carrier import main

    try:
        return main(flags)
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else Code.MISTAKE


def demo(
    *, messages: int, tenants: int, workers: int, seed: int, dialect: str, limit_s: float, keep: bool, json: bool
) -> Code:
    """Run thousands of messages from the streams to the built-in carrier and back, and account for each."""
    from smsd.demo.run import Plan, run
    from smsd.demo.stage import Unstaged
    from smsd.testing.carrier_dialect import DIALECTS

    wrong = [
        f"--{name} must be at least {least}"
        for name, given, least in (("messages", messages, 1), ("tenants", tenants, 1), ("workers", workers, 1))
        if given < least
    ]
    if limit_s <= 0:
        wrong.append("--limit-s must be more than 0")
    if dialect not in DIALECTS:
        wrong.append(f"--dialect is one of {', '.join(DIALECTS)}")
    if wrong:
        raise Trouble("; ".join(wrong), Code.MISTAKE)
    plan = Plan(
        messages=messages, tenants=tenants, workers=workers, seed=seed, limit_s=limit_s, keep=keep, dialect=dialect
    )
    try:
        ledger = run(plan, quiet=json, say=say)
    except Unstaged as error:
        raise Trouble(str(error), Code.NOT) from None
    return Code.OK if ledger.clean else Code.NOT
