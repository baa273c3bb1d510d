"""`smsd doctor`: what is wrong, and what would mend it."""

from smsd.cli.say import CONFIG, Code, ConfigPath, Json, answer, run


def doctor(*, config: ConfigPath = CONFIG, json: Json = False) -> Code:
    """Look for what is wrong with the store, the processes, their configs and this host, and say what would mend it.

    Changes nothing. Exits with 1 when something was found.
    """
    return run(_doctor(config, json))


async def _doctor(config: ConfigPath, json: bool) -> Code:
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
