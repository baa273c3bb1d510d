"""How long each command takes to start: the whole process, from outside, beside a Python that does nothing.

Each command is typed so that it comes as far as it can without a daemon: help for those that would change something, an
answer for those that need no store, and a store of this bench's own for those that ask one. Medians of wall and CPU
time; with --check it ends with 1 when one needs more CPU time than the goal.
Never measures what a command does afterwards, nor Python's compiling: smsd is compiled first, as an installed one is.
"""

import argparse
import compileall
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.ports import free_port
from smsd.cli.commands import COMMANDS
from smsd.store.embedded import Embedded

ROOT = Path(__file__).resolve().parents[1]
GOAL_S = 0.3

CONFIG = """\
[store]
url = "{url}"
[http]
listen = "127.0.0.1:{port}"
[tenant_defaults]
region = "IE"
[routes.default]
providers = [{{ use = "main" }}]
[providers.main]
type = "twilio"
account_sid = "env:NO_SID"
auth_token = "env:NO_TOKEN"
"""

TYPED = {
    "check": (),
    "reload": ("--help",),
    "send": ("acme", "+353861234567", "See you at 10:00", "--timeout", "0"),
    "trace": ("acme", "r-1"),
    "status": (),
    "health": (),
    "segments": ("See you at 10:00",),
    "completion": ("bash",),
    "pause": (),
    "cancel": (),
    "tenant show": ("acme",),
    "tenant set": ("acme", "--limit", "5/s"),
    "dead list": (),
}
"""What is typed behind a command; --help for all others."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="of each command (%(default)s)")
    parser.add_argument("--check", action="store_true", help=f"end with 1 when one takes {GOAL_S} s of CPU or more")
    args = parser.parse_args()
    for sources in ("smsd", "providers"):
        compileall.compile_dir(ROOT / sources, quiet=1)
    with tempfile.TemporaryDirectory(prefix="smsd-start-") as folder:
        store = Embedded(Path(folder) / "store", "127.0.0.1:0")
        config = Path(folder) / "smsd.toml"
        config.write_text(CONFIG.format(url=store.start(), port=free_port()))
        try:
            return _measured(config, args.runs, check=args.check)
        finally:
            store.stop()


def _measured(config: Path, runs: int, *, check: bool) -> int:
    rows = {"python -c pass": [sys.executable, "-c", "pass"]}
    for name in COMMANDS:
        words = TYPED.get(name, ("--help",))
        rows[" ".join((name, *words))] = [sys.executable, "-m", "smsd", *name.split(), *words]
    print(f"{'command':50}{'wall s':>8}{'CPU s':>8}")
    slow: list[str] = []
    for title, command in rows.items():
        took = [_once(command, config) for _ in range(runs)]
        wall, cpu = (statistics.median(column) for column in zip(*took, strict=True))
        print(f"{title[:49]:50}{wall:8.3f}{cpu:8.3f}", flush=True)
        slow += [title] if cpu >= GOAL_S else []
    return 1 if slow and check else 0


def _once(command: list[str], config: Path) -> tuple[float, float]:
    """Seconds by the clock and of CPU, of one run."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, "SMSD_CONFIG": str(config)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # it was waited for here
    return time.perf_counter() - began, used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
