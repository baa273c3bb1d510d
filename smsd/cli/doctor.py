"""`smsd doctor`: what is wrong, and what would mend it."""

from pathlib import Path

from smsd.cli.say import Code, answer, run


def doctor(*, config: Path, json: bool) -> Code:
    """Look for what is wrong with the store, the processes, their configs and this host; 1 when something is."""
    return run(_doctor(config, json))


async def _doctor(config: Path, json: bool) -> Code:
    from smsd.cli.reach import reach
    from smsd.control.doctor import CHECKS, examine

    async with reach(config) as store:
        report = await examine(store.config, store.shards)
    sick = {finding.check for finding in report.findings}
    lines = [f"{name}: {finding.what}\n  {finding.mend}" for name in CHECKS for finding in report.findings
             if finding.check == name]  # fmt: skip
    well = [name for name in report.checked if name not in sick]
    lines.append(f"{len(report.findings) or 'no'} finding{'' if len(report.findings) == 1 else 's'}; "
                 f"well: {', '.join(well) or 'nothing'}")  # fmt: skip
    answer(report, "\n".join(lines), json=json)
    return Code.OK if report.ok else Code.NOT
