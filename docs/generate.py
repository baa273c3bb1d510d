"""Writes the pages that are made from code, so that they cannot say anything else: `make docs`.

With `--check` it writes nothing and ends with 1 if a page is not what the code says.
"""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "docs/LIFECYCLE.md": "smsd.core.state:lifecycle",
    "docs/REASONS.md": "smsd.core.reasons:page",
    "docs/OPT_OUT_WORDS.md": "smsd.core.intent:page",
    "docs/COMMANDS.md": "smsd.cli.manual:page",
    "docs/PROVIDERS.md": "smsd.testing.catalogue:page",
    "docs/METRICS.md": "smsd.shell.metrics_page:page",
    "config/smsd.schema.json": "smsd.config.schema:page",
}
"""Page -> the function, without arguments, that returns its whole text."""


def main() -> int:
    """Write or check each page; says which ones changed."""
    stale: list[str] = []
    for page, source in PAGES.items():
        module, _, function = source.partition(":")
        text: str = getattr(importlib.import_module(module), function)()
        path = ROOT / page
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(page)
            if "--check" not in sys.argv:
                path.write_text(text, "utf-8")
    sys.stdout.writelines(
        f"{page} {'is out of date: make docs' if '--check' in sys.argv else 'written'}\n" for page in stale
    )
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
