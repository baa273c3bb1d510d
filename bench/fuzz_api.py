"""`make fuzz-api`: about 10,000 requests that schemathesis makes of the OpenAPI, against `smsd run` on a real store.

Ends with 1 on a 5xx, on an answer that the OpenAPI does not tell of, or on one that is not shaped as it says. Bodies
that are wrong are judged by the message, for in a list each element succeeds or fails by itself, so "wrong in, 4xx out"
is no check here; nor is "right in, 2xx out", for no schema knows which numbers can be called.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.rig import rig

KEY = "fuzzed"
CONFIG = """\
[http.api_keys.fuzz]
key = "env:SMSD_API_KEY"
tenants = ["*"]
[tenant_defaults]
limits = ["100000/s"]
[routes.default]
providers = [{{ use = "carrier" }}]
[providers.carrier]
type = "fake"
base_url = "{carrier}"
"""
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth",
)  # fmt: skip


def command(url: str, examples: int, seed: int, key: str = KEY) -> list[str]:
    """What runs schemathesis: so many requests of each path, beside those that come of each schema's corners."""
    said = f"--header=Authorization: Bearer {key}"
    return [
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", said,
        f"--checks={','.join(CHECKS)}", "--phases=examples,coverage,fuzzing", "--mode=all", f"--seed={seed}",
        f"--max-examples={examples}", "--suppress-health-check=all", "--continue-on-failure", "--warnings=off",
        "--generation-database=none", "--no-color",
    ]  # fmt: skip


def main() -> None:
    """Runs it once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=800, help="of each path and method")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    os.environ["SMSD_API_KEY"] = KEY
    with rig(CONFIG) as made:
        made.start_daemon()
        done = subprocess.run(command(f"http://{made.http}", args.examples, args.seed), cwd=made.folder, check=False)
        answered = made.metric("smsd_intake_total")
    print(f"messages and cancels that smsd judged meanwhile: {answered:.0f}")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
