"""Rehearses every provider: a demo run against the carrier in each vendor's dialect, one after the other.

Never sends to a vendor. Prints one line of JSON for each dialect, and ends with 1 when a message was lost or doubled.
"""

import subprocess
import sys

import msgspec

from smsd.testing.carrier_dialect import DIALECTS

MESSAGES, TENANTS = 2000, 400
TOLD = ("enqueued", "submitted", "delivered", "failed", "unconfirmed", "possible_duplicates", "lost", "duplicated")


def main(names: list[str]) -> int:
    """`names`: the dialects, all for none. Returns an exit code."""
    if unknown := [name for name in names if name not in DIALECTS]:
        sys.stderr.write(f"rehearse: there is no dialect {unknown[0]}; there are {', '.join(DIALECTS)}\n")
        return 2
    failed = False
    for name in names or list(DIALECTS):
        command = [sys.executable, "-m", "smsd", "demo", "--json", "--dialect", name]
        ended = subprocess.run(
            [*command, "--messages", str(MESSAGES), "--tenants", str(TENANTS)], stdout=subprocess.PIPE, check=False
        )
        ledger = msgspec.json.decode(ended.stdout or b"{}", type=dict[str, object])
        told = {"dialect": name, "exit": ended.returncode, **{key: ledger.get(key) for key in TOLD}}
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        sys.stdout.flush()
        failed |= ended.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
